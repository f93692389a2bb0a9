/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json.h"

#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "tests/unit/check-fault.h"

static int parse(const char *text, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        return json_parse(text, strlen(text), "doc", &document, fault);
}

static json_object *parsed(const char *text) {
        json_object *document = NULL;
        CHECK_NO_FAULT(json_parse(text, strlen(text), "doc", &document, &fault));
        return document;
}

static void refuses_what_is_not_strict_json(void) {
        static const char *const cases[][2] = {
                { "", "doc: " },
                { "{", "doc: " },
                { "{} x", "doc: " },
                { "{}{}", "doc: " },
                { "{'a':1}", "doc: " },
                { "{\"a\":1,}", "doc: " },
                { "[1,]", "doc: " },
                { "{\"a\":NaN}", "doc: " },
                { "{\"a\":Infinity}", "doc: " },
                { "{\"a\":-Infinity}", "doc: " },
                { "{'a\":1,\"a':1}", "doc: " },
                { "[TRUE]", "doc: " },
                { "[truefalse]", "doc: " },
                { "[1.]", "doc: malformed number" },
                { "[.5]", "doc: " },
                { "[00]", "doc: malformed number" },
                { "[-01]", "doc: malformed number" },
                { "[-]", "doc: malformed number" },
                { "[1e]", "doc: malformed number" },
                { "[1e5.5]", "doc: " },
                { "[1-2]", "doc: " },
                { "[+1]", "doc: " },
                { "[0x10]", "doc: " },
                { "[1 2]", "doc: " },
                { "[\"a\" \"b\"]", "doc: " },
                { "{\"a\" 1}", "doc: " },
                { "[\"\\q\"]", "doc: " },
                { "[}", "doc: " },
                { "]", "doc: " },
                { "/* c */{}", "doc: " },
                { "null", "doc: is null" },
                { "{\"a\":1,\"a\":2}", "a key is given twice" },
                { "{\"a\":{\"b\":1,\"b\":1}}", "a key is given twice" },
                { "{\"a\":\"\\u0000\"}", "NUL in a string" },
                { "{\"a\":\"\xff\"}", "invalid UTF-8" },
                { "{\"a\":\"\n\"}", "control character" },
                { "{\"a\":18446744073709551616}", "beyond 64 bits" },
                { "{\"a\":-9223372036854775809}", "beyond 64 bits" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                CHECK_FAULT(parse(cases[i][0], &fault), -EBADMSG, cases[i][1]);
}

static void a_nul_byte_does_not_end_the_text(void) {
        static const char text[] = "{}\0{\"a\":1}";
        _cleanup_json_ json_object *document = NULL;
        CHECK_FAULT(json_parse(text, sizeof(text) - 1, "doc", &document, &fault), -EBADMSG, "NUL byte");
        CHECK(!document);
}

static void depth_has_a_limit(void) {
        char text[2 * 65 + 1] = "";
        memset(text, '[', 64);
        memset(text + 64, ']', 64);
        CHECK_NO_FAULT(parse(text, &fault));
        memset(text, '[', 65);
        memset(text + 65, ']', 65);
        CHECK_FAULT(parse(text, &fault), -EBADMSG, "nested too deeply at byte 65");
}

static void an_fd_has_a_limit(void) {
        _cleanup_close_ int fd = fd_new_sealed_memfd("doc", "{\"a\":1}", 7);
        _cleanup_json_ json_object *document = NULL, *none = NULL;
        CHECK_NO_FAULT(json_parse_fd(fd, 7, "doc", &document, &fault));
        CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
        CHECK_FAULT(json_parse_fd(fd, 6, "doc", &none, &fault), -EBADMSG, "doc: larger than 6 bytes");
}

static void complaints_name_the_place(void) {
        _cleanup_json_ json_object *document = parsed("{\"layers\":[{\"digest\":\"x\"},{\"digest\":5}]}");
        JsonNode root = json_root(document, "manifest"), layers, layer;
        const char *digest = "untouched";
        CHECK_INT(json_get(&root, "layers", json_type_array, JSON_REQUIRED, &layers, NULL), 1);
        CHECK_INT(json_length(&layers), 2);
        CHECK_OK(json_item(&layers, 1, json_type_object, &layer, NULL));
        CHECK_FAULT(json_get_string(&layer, "digest", JSON_REQUIRED, &digest, &fault), -EBADMSG,
                    "manifest.layers[1].digest: must be a string");
        CHECK_STRING(digest, "untouched");
        CHECK_FAULT(json_get_string(&layer, "size", JSON_REQUIRED, &digest, &fault), -EBADMSG,
                    "manifest.layers[1].size: is missing");
        CHECK_INT(json_get_string(&layer, "size", JSON_OPTIONAL, &digest, NULL), 0);
        CHECK_FAULT(json_item(&layers, 0, json_type_string, &layer, &fault), -EBADMSG,
                    "manifest.layers[0]: must be a string");
        CHECK_FAULT(json_fault(&layer, &fault, "is %s", "odd"), -EBADMSG, "manifest.layers[1]: is odd");
}

static void null_is_absent(void) {
        _cleanup_json_ json_object *document = parsed("{\"a\":null}");
        JsonNode root = json_root(document, "doc");
        char **strv = NULL;
        CHECK_INT(json_get_strv(&root, "a", JSON_OPTIONAL, &strv, NULL), 0);
        CHECK_FAULT(json_get_strv(&root, "a", JSON_REQUIRED, &strv, &fault), -EBADMSG, "doc.a: is missing");
}

static void numbers_are_what_they_say(void) {
        _cleanup_json_ json_object *document =
                parsed("{\"max\":9223372036854775807,\"above\":9223372036854775808,"
                       "\"umax\":18446744073709551615,\"minus\":-1,\"half\":0.5,\"u33\":4294967296}");
        JsonNode root = json_root(document, "doc");
        int64_t i = 0;
        uint64_t u = 0;
        uint32_t w = 3;
        CHECK_INT(json_get_int64(&root, "max", JSON_REQUIRED, &i, NULL), 1);
        CHECK(i == INT64_MAX);
        CHECK_FAULT(json_get_int64(&root, "above", JSON_REQUIRED, &i, &fault), -EBADMSG,
                    "doc.above: is too large");
        CHECK_INT(json_get_uint64(&root, "umax", JSON_REQUIRED, &u, NULL), 1);
        CHECK(u == UINT64_MAX);
        CHECK_FAULT(json_get_uint64(&root, "minus", JSON_REQUIRED, &u, &fault), -EBADMSG,
                    "doc.minus: must not be negative");
        CHECK_FAULT(json_get_uint32(&root, "u33", JSON_REQUIRED, &w, &fault), -EBADMSG, "must be at most");
        CHECK_INT(w, 3);
        CHECK_FAULT(json_get_int64(&root, "half", JSON_REQUIRED, &i, &fault), -EBADMSG,
                    "doc.half: must be an integer");
}

static void arrays_of_strings(void) {
        _cleanup_json_ json_object *document =
                parsed("{\"empty\":[],\"ab\":[\"a\",\"b\"],\"mixed\":[\"a\",1]}");
        JsonNode root = json_root(document, "doc");
        _cleanup_strv_ char **empty = NULL, **ab = NULL, **mixed = NULL;
        CHECK_INT(json_get_strv(&root, "empty", JSON_REQUIRED, &empty, NULL), 1);
        CHECK(empty && !empty[0]);
        CHECK_INT(json_get_strv(&root, "ab", JSON_REQUIRED, &ab, NULL), 1);
        CHECK_INT(strv_length(ab), 2);
        CHECK_FAULT(json_get_strv(&root, "mixed", JSON_REQUIRED, &mixed, &fault), -EBADMSG,
                    "doc.mixed[1]: must be a string");
        CHECK(!mixed);
}

static int stop_at_b(const JsonNode *member, void *userdata, Fault *fault) {
        (*(unsigned *) userdata)++;
        return string_equal(member->key, "b") ? json_fault(member, fault, "stop") : 0;
}

static void members_are_visited_in_order(void) {
        _cleanup_json_ json_object *document = parsed("{\"a\":1,\"b\":2,\"c\":3}");
        JsonNode root = json_root(document, "doc");
        unsigned visited = 0;
        CHECK_FAULT(json_visit_members(&root, stop_at_b, &visited, &fault), -EBADMSG, "doc.b: stop");
        CHECK_INT(visited, 2);
        CHECK_FAULT(json_refuse_unknown(&root, (const char *const[]){ "a", "c", NULL }, &fault), -EBADMSG,
                    "doc.b: is not known");
        CHECK_OK(json_refuse_unknown(&root, (const char *const[]){ "a", "b", "c", NULL }, NULL));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(refuses_what_is_not_strict_json),
                CHECK_CASE(a_nul_byte_does_not_end_the_text),
                CHECK_CASE(depth_has_a_limit),
                CHECK_CASE(an_fd_has_a_limit),
                CHECK_CASE(complaints_name_the_place),
                CHECK_CASE(null_is_absent),
                CHECK_CASE(numbers_are_what_they_say),
                CHECK_CASE(arrays_of_strings),
                CHECK_CASE(members_are_visited_in_order),
                {},
        });
}
