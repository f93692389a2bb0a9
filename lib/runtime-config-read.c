/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/runtime-config-read.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "lib/strv.h"

static bool value_is_empty(json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_null:
                return true;
        case json_type_boolean:
                return !json_object_get_boolean(value);
        case json_type_int:
                return json_object_get_int64(value) == 0;
        case json_type_string:
                return json_object_get_string_len(value) == 0;
        case json_type_array:
                return json_object_array_length(value) == 0;
        case json_type_object:
                return json_object_object_length(value) == 0;
        default:
                return false;
        }
}

bool config_asks_for(const JsonNode *node, const char *key) {
        json_object *value = NULL;
        return json_object_object_get_ex(node->value, key, &value) && !value_is_empty(value);
}

void config_note_unknown(const JsonNode *node, const char *const *known) {
        if (!log_is_enabled(LOG_DEBUG))
                return;
        json_object_object_foreach(node->value, key, value) {
                (void) value;
                if (strv_contains(known, key))
                        continue;
                _cleanup_free_ char *path = json_node_path(node);
                log_debug("%s.%.64s: is not known, and passed over", path ? path : "config", key);
        }
}

int config_get_strings(const JsonNode *node, const char *key, JsonPresence presence, const char ***ret,
                       Fault *fault) {
        JsonNode array;
        int r = json_get(node, key, json_type_array, presence, &array, fault);
        if (r <= 0)
                return r;

        size_t count = json_length(&array);
        _cleanup_free_ const char **strings = new0(const char *, count + 1);
        if (!strings)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_string, &item, fault);
                if (r < 0)
                        return r;
                strings[i] = json_object_get_string(item.value);
        }
        *ret = TAKE_PTR(strings);
        return 1;
}

int config_get_number(const JsonNode *node, const char *key, int64_t minimum, int64_t maximum, int64_t *ret,
                      Fault *fault) {
        int64_t value;
        int r = json_get_int64(node, key, JSON_OPTIONAL, &value, fault);
        if (r <= 0)
                return r;
        if (value < minimum || value > maximum)
                return json_fault_member(node, key, fault, -EBADMSG,
                                         "must be between %" PRIi64 " and %" PRIi64, minimum, maximum);
        *ret = value;
        return 1;
}

int config_get_items(const JsonNode *node, const char *key, size_t element_size, ConfigParseItem parse,
                     void **ret_items, size_t *ret_count, Fault *fault) {
        JsonNode array;
        int r = json_get(node, key, json_type_array, JSON_OPTIONAL, &array, fault);
        if (r <= 0)
                return r;

        size_t count = json_length(&array);
        if (count == 0)
                return 0;
        char *items = calloc(count, element_size);
        if (!items)
                return -ENOMEM;
        *ret_items = items;
        *ret_count = count;
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_object, &item, fault);
                if (r < 0)
                        return r;
                r = parse(&item, items + i * element_size, fault);
                if (r < 0)
                        return r;
        }
        return 1;
}

int config_get_members(const JsonNode *node, const char *key, size_t element_size, ConfigParseItem parse,
                       void **ret_items, size_t *ret_count, Fault *fault) {
        JsonNode object;
        int r = json_get(node, key, json_type_object, JSON_OPTIONAL, &object, fault);
        if (r <= 0)
                return r;

        size_t count = (size_t) json_object_object_length(object.value), i = 0;
        if (count == 0)
                return 0;
        char *items = calloc(count, element_size);
        if (!items)
                return -ENOMEM;
        *ret_items = items;
        *ret_count = count;
        json_object_object_foreach(object.value, name, value) {
                JsonNode member = { .value = value, .parent = &object, .key = name };
                if (!json_object_is_type(value, json_type_object))
                        return json_fault(&member, fault, "must be an object");
                r = parse(&member, items + i++ * element_size, fault);
                if (r < 0)
                        return r;
        }
        return 1;
}

int config_get_pairs(const JsonNode *node, const char *key, RuntimePair **ret, size_t *ret_count,
                     Fault *fault) {
        JsonNode object;
        int r = json_get(node, key, json_type_object, JSON_OPTIONAL, &object, fault);
        if (r <= 0)
                return r;

        size_t count = (size_t) json_object_object_length(object.value), i = 0;
        _cleanup_free_ RuntimePair *pairs = new0(RuntimePair, count + 1);
        if (!pairs)
                return -ENOMEM;
        json_object_object_foreach(object.value, name, value) {
                if (name[0] == '\0')
                        return json_fault(&object, fault, "has a member without a name");
                if (!json_object_is_type(value, json_type_string))
                        return json_fault_member(&object, name, fault, -EBADMSG, "must be a string");
                pairs[i++] = (RuntimePair){ .key = name, .value = json_object_get_string(value) };
        }
        *ret = TAKE_PTR(pairs);
        *ret_count = count;
        return 1;
}

int config_get_word(const JsonNode *node, const char *key, const char *const *words, size_t count,
                    Fault *fault) {
        const char *word;
        int r = json_get_string(node, key, JSON_OPTIONAL, &word, fault);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        r = string_table_find(words, count, word);
        if (r < 0)
                return json_fault_member(node, key, fault, -EBADMSG, "'%s' is not known", word);
        return r;
}
