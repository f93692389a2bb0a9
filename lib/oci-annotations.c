/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-annotations.h"

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"

typedef struct Collection {
        char **pairs;
        size_t count; /* of strings */
        size_t room;
} Collection;

static int collect(const JsonNode *member, void *userdata, Fault *fault) {
        Collection *collection = userdata;
        if (!json_object_is_type(member->value, json_type_string))
                return json_fault(member, fault, "must be a string");
        if (member->key[0] == '\0')
                return json_fault(member->parent, fault, "has an empty key");
        if (string_after(member->key, OCI_ANNOTATION_RESERVED))
                return 0;

        assert(collection->count + 2 <= collection->room);
        for (size_t i = 0; i < 2; i++) {
                char *copy = strdup(i == 0 ? member->key : json_object_get_string(member->value));
                if (!copy)
                        return -ENOMEM;
                collection->pairs[collection->count++] = copy;
        }
        return 0;
}

int oci_annotations_parse(const JsonNode *node, const char *key, char ***ret, Fault *fault) {
        JsonNode map;
        int r = json_get(node, key, json_type_object, JSON_OPTIONAL, &map, fault);
        if (r <= 0)
                return r;
        size_t members = (size_t) json_object_object_length(map.value);
        if (members > LIMIT_ANNOTATIONS)
                return json_fault(&map, fault, "has more than %i members", LIMIT_ANNOTATIONS);

        _cleanup_strv_ char **pairs = new0(char *, 2 * members + 1);
        if (!pairs)
                return -ENOMEM;
        Collection collection = { .pairs = pairs, .room = 2 * members };
        r = json_visit_members(&map, collect, &collection, fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(pairs);
        return 1;
}

const char *oci_annotations_get(char *const *annotations, const char *key) {
        for (; annotations && annotations[0]; annotations += 2)
                if (string_equal(annotations[0], key))
                        return annotations[1];
        return NULL;
}
