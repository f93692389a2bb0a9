/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json-check.h"
#include "lib/json.h"
#include "tests/fuzz/fuzz.h"

static int visit(const JsonNode *member, void *userdata, Fault *fault) {
        size_t *members = userdata;
        _cleanup_free_ char *path = json_node_path(member);
        FUZZ_REQUIRE(path);
        (*members)++;
        return 0;
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_json_ json_object *document = NULL;
        int r = json_parse((const char *) data, size, "fuzz", &document, &fault);
        FUZZ_REQUIRE((r >= 0) == (document != NULL));
        if (r >= 0) {
                FUZZ_REQUIRE(json_check_count_text_members((const char *) data, size) ==
                             json_check_count_document_members(document));
                JsonNode root = json_root(document, "fuzz");
                size_t members = 0;
                if (json_object_is_type(document, json_type_object)) {
                        FUZZ_REQUIRE(json_visit_members(&root, visit, &members, NULL) >= 0);
                        FUZZ_REQUIRE(members == (size_t) json_object_object_length(document));
                }
        }
        return fuzz_result(r, &fault);
}
