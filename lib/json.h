/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON from others: bounded before it is parsed, and read through nodes that know where they stand, so that
 * each complaint names its place: "manifest.layers[3].digest: must be a string". Values are borrowed from
 * the document. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"

#define _cleanup_json_ _cleanup_(json_document_freep)

static inline json_object *json_document_free(json_object *document) {
        if (document)
                json_object_put(document);
        return NULL;
}
DEFINE_CLEANUP(json_object *, json_document_free);

typedef struct JsonNode {
        json_object *value;
        const struct JsonNode *parent; /* weak: outlives this node, on the caller's stack */
        const char *key;               /* member name, or the document's name for the root */
        size_t index;                  /* position, where key is NULL */
} JsonNode;

typedef enum JsonPresence {
        JSON_OPTIONAL,
        JSON_REQUIRED,
} JsonPresence;

/* Strict RFC 8259, UTF-8, depth at most 64, no duplicate keys, no NUL in strings, nothing after the value.
 * -EBADMSG with a sentence. */
int json_parse(const char *data, size_t size, const char *name, json_object **ret, Fault *fault);
/* The same from the rest of an fd; -EBADMSG beyond limit bytes. */
int json_parse_fd(int fd, size_t limit, const char *name, json_object **ret, Fault *fault);

JsonNode json_root(json_object *document, const char *name);

/* "config.mounts[2].destination" in a fresh string. */
char *json_node_path(const JsonNode *node);

/* -EBADMSG with "<path>: <sentence>". */
int json_fault(const JsonNode *node, Fault *fault, const char *format, ...) _printf_(3, 4);
/* "<path>.<key>: <sentence>" with an error of the caller's choice. */
int json_fault_member(const JsonNode *node, const char *key, Fault *fault, int error, const char *format,
                      ...) _printf_(5, 6);

/* The member of an object. All json_get_*: 1 found, 0 absent or null (when optional), -EBADMSG otherwise;
 * *ret is untouched unless 1 is returned. */
int json_get(const JsonNode *node, const char *key, json_type type, JsonPresence presence, JsonNode *ret,
             Fault *fault);
int json_get_string(const JsonNode *node, const char *key, JsonPresence presence, const char **ret,
                    Fault *fault);
int json_get_bool(const JsonNode *node, const char *key, JsonPresence presence, bool *ret, Fault *fault);
int json_get_int64(const JsonNode *node, const char *key, JsonPresence presence, int64_t *ret, Fault *fault);
int json_get_uint64(const JsonNode *node, const char *key, JsonPresence presence, uint64_t *ret,
                    Fault *fault);
int json_get_uint32(const JsonNode *node, const char *key, JsonPresence presence, uint32_t *ret,
                    Fault *fault);
/* An array of strings as a fresh strv (an empty array gives an empty strv, not NULL). */
int json_get_strv(const JsonNode *node, const char *key, JsonPresence presence, char ***ret, Fault *fault);

/* Array items. json_item() asserts the bound; the item's type is checked: 0 or -EBADMSG. */
size_t json_length(const JsonNode *array);
int json_item(const JsonNode *array, size_t index, json_type type, JsonNode *ret, Fault *fault);

/* -EBADMSG naming the first member that is not in the NULL-terminated list of known keys. */
int json_refuse_unknown(const JsonNode *node, const char *const *known, Fault *fault);

/* Calls visit for every member, in document order, until it returns a negative value. */
typedef int (*JsonVisit)(const JsonNode *member, void *userdata, Fault *fault);
int json_visit_members(const JsonNode *object, JsonVisit visit, void *userdata, Fault *fault);
