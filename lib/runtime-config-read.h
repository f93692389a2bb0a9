/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How the sections of config.json are read: borrowed strings, arrays of items, and what is refused. Internal
 * to lib/runtime-config*.c. */

#include "lib/json.h"
#include "lib/runtime-config.h"

/* Members that nobody knows are passed over (config.md, "Extensibility"), and mentioned at debug level. */
void config_note_unknown(const JsonNode *node, const char *const *known);

/* True if a member is there and asks for something: not null, false, 0, "", [] or {}. */
bool config_asks_for(const JsonNode *node, const char *key);

/* An array of borrowed strings, NULL-terminated; only the array itself is to be freed. */
int config_get_strings(const JsonNode *node, const char *key, JsonPresence presence, const char ***ret,
                       Fault *fault);

/* An integer within bounds. */
int config_get_number(const JsonNode *node, const char *key, int64_t minimum, int64_t maximum, int64_t *ret,
                      Fault *fault);

/* An optional array of objects: parse is called for each item with its zeroed element of *ret_items, which
 * the caller frees (also after a failure). */
typedef int (*ConfigParseItem)(const JsonNode *item, void *element, Fault *fault);
int config_get_items(const JsonNode *node, const char *key, size_t element_size, ConfigParseItem parse,
                     void **ret_items, size_t *ret_count, Fault *fault);

/* An optional object whose members are all strings. */
int config_get_pairs(const JsonNode *node, const char *key, RuntimePair **ret, size_t *ret_count,
                     Fault *fault);

/* A string out of a table: its index, or -EBADMSG with a sentence; -ENOENT when it is absent. */
int config_get_word(const JsonNode *node, const char *key, const char *const *words, size_t count,
                    Fault *fault);

/* The sections. */
int config_parse_hooks(const JsonNode *root, RuntimeConfig *config, Fault *fault);
int config_parse_process(const JsonNode *node, RuntimeProcess *process, Fault *fault);
int config_parse_scheduling(const JsonNode *process, RuntimeProcess *ret, Fault *fault);
int config_parse_linux(const JsonNode *node, RuntimeConfig *config, Fault *fault);
int config_parse_namespaces(const JsonNode *node, RuntimeConfig *config, Fault *fault);
int config_parse_id_mappings(const JsonNode *node, RuntimeIdMappings *ret, Fault *fault);
int config_parse_platform(const JsonNode *node, RuntimeConfig *config, Fault *fault);
int config_parse_resources(const JsonNode *node, RuntimeResources *resources, Fault *fault);
int config_parse_seccomp(const JsonNode *node, RuntimeSeccomp **ret, Fault *fault);

/* An array of objects or a map of them: the same with each member, whose key is that of the node. */
int config_get_members(const JsonNode *node, const char *key, size_t element_size, ConfigParseItem parse,
                       void **ret_items, size_t *ret_count, Fault *fault);

void config_hooks_done(RuntimeConfig *config);
void config_id_mappings_done(RuntimeIdMappings *mappings);
RuntimeSeccomp *config_seccomp_free(RuntimeSeccomp *seccomp);
DEFINE_CLEANUP(RuntimeSeccomp *, config_seccomp_free);
