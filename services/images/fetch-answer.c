/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/strv.h"
#include "services/images/http-header.h"
#include "services/images/http-url.h"

#define EXPLANATION_MAX 300

static int check_range(const HttpResponse *response, uint64_t offset, uint64_t size, Fault *fault) {
        HttpContentRange range;

        if (offset == 0)
                return fault_set(fault, -EBADMSG, "a part is sent where all was asked for");
        if (!response->content_range || http_content_range_parse(response->content_range, &range) < 0)
                return fault_set(fault, -EBADMSG, "a part is sent without saying which (Content-Range)");
        if (range.first != offset)
                return fault_set(fault, -EBADMSG,
                                 "the bytes from %llu on are sent, those from %llu on were asked for",
                                 (unsigned long long) range.first, (unsigned long long) offset);
        if (size > 0 && ((range.has_total && range.total != size) || range.last >= size))
                return fault_set(fault, -EBADMSG,
                                 "has %llu bytes by the registry's account, %llu by its descriptor",
                                 (unsigned long long) (range.has_total ? range.total : range.last + 1),
                                 (unsigned long long) size);
        return 0;
}

int fetch_answer_check(const HttpResponse *response, uint64_t offset, uint64_t size, uint64_t limit,
                       uint64_t *ret_position, Fault *fault) {
        if (response->status == 206) {
                int r = check_range(response, offset, size, fault);
                if (r < 0)
                        return r;
                *ret_position = offset;
                return 0;
        }
        if (response->content_length >= 0) {
                uint64_t length = (uint64_t) response->content_length;
                if (size > 0 && length != size)
                        return fault_set(fault, -EBADMSG,
                                         "has %llu bytes by the registry's account, %llu by its descriptor",
                                         (unsigned long long) length, (unsigned long long) size);
                if (length > limit)
                        return fault_set(fault, -EBADMSG, "has %llu bytes, at most %llu are taken",
                                         (unsigned long long) length, (unsigned long long) limit);
        }
        *ret_position = 0;
        return 0;
}

static bool append_printable(char *to, size_t *length, const char *text) {
        if (!string_is_printable(text))
                return false;
        int n = snprintf(to + *length, EXPLANATION_MAX - *length, "%s%s", *length > 0 ? ": " : "", text);
        *length = MIN_OF(*length + (size_t) n, (size_t) EXPLANATION_MAX - 1);
        return true;
}

char *fetch_answer_explain(const char *data, size_t size) {
        _cleanup_json_ json_object *document = NULL;
        JsonNode errors, first;
        const char *code = NULL, *message = NULL;

        if (!data || json_parse(data, size, "answer", &document, NULL) < 0 ||
            !json_object_is_type(document, json_type_object))
                return NULL;
        JsonNode root = json_root(document, "answer");
        if (json_get(&root, "errors", json_type_array, JSON_REQUIRED, &errors, NULL) < 0 ||
            json_length(&errors) == 0 || json_item(&errors, 0, json_type_object, &first, NULL) < 0)
                return NULL;
        char text[EXPLANATION_MAX] = "";
        size_t length = 0;
        if (json_get_string(&first, "code", JSON_OPTIONAL, &code, NULL) > 0)
                append_printable(text, &length, code);
        if (json_get_string(&first, "message", JSON_OPTIONAL, &message, NULL) > 0)
                append_printable(text, &length, message);
        return length > 0 && string_is_utf8(text, length) ? strdup(text) : NULL;
}

bool fetch_answer_is_of_registry(const char *url, const char *host) {
        _cleanup_free_ char *registry = NULL;
        if (asprintf(&registry, "%s://%s/", http_url_is_https(url) ? "https" : "http", host) < 0) {
                registry = NULL;
                return false;
        }
        return http_url_same_origin(url, registry);
}
