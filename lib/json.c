/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json-check.h"
#include "lib/limits.h"
#include "lib/strv.h"

DEFINE_CLEANUP_VOID(json_tokener *, json_tokener_free);

int json_parse(const char *data, size_t size, const char *name, json_object **ret, Fault *fault) {
        if (size > INT_MAX - 1)
                return fault_set(fault, -EBADMSG, "%s: larger than any document that crt reads", name);

        size_t offset;
        const char *why = json_check_text(data, size, LIMIT_JSON_DEPTH, &offset);
        if (why)
                return fault_set(fault, -EBADMSG, "%s: %s at byte %zu", name, why, offset);

        _cleanup_(json_tokener_freep) json_tokener *tokener = json_tokener_new_ex(LIMIT_JSON_DEPTH + 1);
        if (!tokener)
                return -ENOMEM;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);

        /* json-c learns that a number has ended from what follows it: a NUL here. */
        _cleanup_free_ char *copy = malloc(size + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, data, size);
        copy[size] = '\0';
        _cleanup_json_ json_object *document = json_tokener_parse_ex(tokener, copy, (int) size + 1);
        enum json_tokener_error error = json_tokener_get_error(tokener);
        if (error != json_tokener_success)
                return fault_set(fault, -EBADMSG, "%s: %s at byte %zu", name, json_tokener_error_desc(error),
                                 json_tokener_get_parse_end(tokener));
        if (!document)
                return fault_set(fault, -EBADMSG, "%s: is null", name);
        if (json_check_count_text_members(data, size) != json_check_count_document_members(document))
                return fault_set(fault, -EBADMSG, "%s: a key is given twice in one object", name);
        *ret = TAKE_PTR(document);
        return 0;
}

int json_parse_fd(int fd, size_t limit, const char *name, json_object **ret, Fault *fault) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = fd_read_all(fd, limit, &data, &size);
        if (r == -EFBIG)
                return fault_set(fault, -EBADMSG, "%s: larger than %zu bytes", name, limit);
        if (r < 0)
                return fault_set_errno(fault, r, "%s: cannot be read", name);
        return json_parse(data, size, name, ret, fault);
}

JsonNode json_root(json_object *document, const char *name) {
        return (JsonNode){ .value = document, .key = name };
}

char *json_node_path(const JsonNode *node) {
        _cleanup_free_ char *parent = NULL;
        char *path = NULL;
        int n;

        if (!node->parent)
                return strdup(node->key ? node->key : "");
        parent = json_node_path(node->parent);
        if (!parent)
                return NULL;
        if (node->key)
                n = asprintf(&path, "%s.%.128s", parent, node->key);
        else
                n = asprintf(&path, "%s[%zu]", parent, node->index);
        return n < 0 ? NULL : path;
}

int json_fault(const JsonNode *node, Fault *fault, const char *format, ...) {
        if (!fault || fault->error)
                return -EBADMSG;
        va_list arguments;
        va_start(arguments, format);
        (void) fault_set_va(fault, -EBADMSG, format, arguments);
        va_end(arguments);
        _cleanup_free_ char *path = json_node_path(node);
        return fault_prefix(fault, -EBADMSG, "%s", path ? path : "");
}

int json_fault_member(const JsonNode *node, const char *key, Fault *fault, int error, const char *format,
                      ...) {
        if (!fault || fault->error)
                return error;
        va_list arguments;
        va_start(arguments, format);
        (void) fault_set_va(fault, error, format, arguments);
        va_end(arguments);
        _cleanup_free_ char *path = json_node_path(node);
        return fault_prefix(fault, error, "%s.%s", path ? path : "", key);
}

static const char *type_name(json_type type) {
        switch (type) {
        case json_type_object:
                return "an object";
        case json_type_array:
                return "an array";
        case json_type_string:
                return "a string";
        case json_type_int:
                return "an integer";
        case json_type_boolean:
                return "true or false";
        case json_type_double:
                return "a number";
        case json_type_null:
        default:
                return "null";
        }
}

int json_get(const JsonNode *node, const char *key, json_type type, JsonPresence presence, JsonNode *ret,
             Fault *fault) {
        json_object *value = NULL;
        if (!json_object_is_type(node->value, json_type_object))
                return json_fault(node, fault, "must be an object");
        if (!json_object_object_get_ex(node->value, key, &value) || !value) {
                if (presence == JSON_REQUIRED)
                        return json_fault_member(node, key, fault, -EBADMSG, "is missing");
                return 0;
        }
        if (!json_object_is_type(value, type))
                return json_fault_member(node, key, fault, -EBADMSG, "must be %s", type_name(type));
        *ret = (JsonNode){ .value = value, .parent = node, .key = key };
        return 1;
}

int json_get_string(const JsonNode *node, const char *key, JsonPresence presence, const char **ret,
                    Fault *fault) {
        JsonNode member;
        int r = json_get(node, key, json_type_string, presence, &member, fault);
        if (r > 0)
                *ret = json_object_get_string(member.value);
        return r;
}

int json_get_bool(const JsonNode *node, const char *key, JsonPresence presence, bool *ret, Fault *fault) {
        JsonNode member;
        int r = json_get(node, key, json_type_boolean, presence, &member, fault);
        if (r > 0)
                *ret = json_object_get_boolean(member.value);
        return r;
}

/* json-c saturates instead of failing, and keeps integers above INT64_MAX as unsigned. */
int json_get_int64(const JsonNode *node, const char *key, JsonPresence presence, int64_t *ret,
                   Fault *fault) {
        JsonNode member;
        int r = json_get(node, key, json_type_int, presence, &member, fault);
        if (r <= 0)
                return r;
        int64_t value = json_object_get_int64(member.value);
        if (value == INT64_MAX && json_object_get_uint64(member.value) > (uint64_t) INT64_MAX)
                return json_fault_member(node, key, fault, -EBADMSG, "is too large");
        *ret = value;
        return 1;
}

int json_get_uint64(const JsonNode *node, const char *key, JsonPresence presence, uint64_t *ret,
                    Fault *fault) {
        JsonNode member;
        int r = json_get(node, key, json_type_int, presence, &member, fault);
        if (r <= 0)
                return r;
        if (json_object_get_int64(member.value) < 0)
                return json_fault_member(node, key, fault, -EBADMSG, "must not be negative");
        *ret = json_object_get_uint64(member.value);
        return 1;
}

int json_get_uint32(const JsonNode *node, const char *key, JsonPresence presence, uint32_t *ret,
                    Fault *fault) {
        uint64_t value;
        int r = json_get_uint64(node, key, presence, &value, fault);
        if (r <= 0)
                return r;
        if (value > UINT32_MAX)
                return json_fault_member(node, key, fault, -EBADMSG, "must be at most %u", UINT32_MAX);
        *ret = (uint32_t) value;
        return 1;
}

int json_get_strv(const JsonNode *node, const char *key, JsonPresence presence, char ***ret, Fault *fault) {
        JsonNode array;
        int r = json_get(node, key, json_type_array, presence, &array, fault);
        if (r <= 0)
                return r;

        size_t n = json_length(&array);
        _cleanup_strv_ char **strv = new0(char *, n + 1);
        if (!strv)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_string, &item, fault);
                if (r < 0)
                        return r;
                strv[i] = strdup(json_object_get_string(item.value));
                if (!strv[i])
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(strv);
        return 1;
}

size_t json_length(const JsonNode *array) {
        return json_object_array_length(array->value);
}

int json_item(const JsonNode *array, size_t index, json_type type, JsonNode *ret, Fault *fault) {
        assert(index < json_length(array));
        JsonNode item = {
                .value = json_object_array_get_idx(array->value, index),
                .parent = array,
                .index = index,
        };
        if (!json_object_is_type(item.value, type))
                return json_fault(&item, fault, "must be %s", type_name(type));
        *ret = item;
        return 0;
}

int json_refuse_unknown(const JsonNode *node, const char *const *known, Fault *fault) {
        json_object_object_foreach(node->value, key, value) {
                (void) value;
                if (!strv_contains(known, key))
                        return json_fault_member(node, key, fault, -EBADMSG, "is not known");
        }
        return 0;
}

int json_visit_members(const JsonNode *object, JsonVisit visit, void *userdata, Fault *fault) {
        json_object_object_foreach(object->value, key, value) {
                JsonNode member = { .value = value, .parent = object, .key = key };
                int r = visit(&member, userdata, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}
