/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux.namespaces, uidMappings, gidMappings and timeOffsets. */

#include <errno.h>
#include <string.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

static const char *const namespace_names[_RUNTIME_NAMESPACE_MAX] = {
        [RUNTIME_NAMESPACE_USER] = "user",     [RUNTIME_NAMESPACE_MOUNT] = "mount",
        [RUNTIME_NAMESPACE_PID] = "pid",       [RUNTIME_NAMESPACE_NETWORK] = "network",
        [RUNTIME_NAMESPACE_IPC] = "ipc",       [RUNTIME_NAMESPACE_UTS] = "uts",
        [RUNTIME_NAMESPACE_CGROUP] = "cgroup", [RUNTIME_NAMESPACE_TIME] = "time",
};

const char *runtime_namespace_to_string(RuntimeNamespaceType type) {
        return type >= 0 && type < _RUNTIME_NAMESPACE_MAX ? namespace_names[type] : NULL;
}

RuntimeNamespaceType runtime_namespace_from_string(const char *name) {
        return (RuntimeNamespaceType) string_table_find(namespace_names, _RUNTIME_NAMESPACE_MAX, name);
}

static int parse_namespace(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        static const char *const members[] = { "type", "path", NULL };
        const char *name, *path = NULL;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_string(node, "type", JSON_REQUIRED, &name, fault)) < 0 ||
            (r = json_get_string(node, "path", JSON_OPTIONAL, &path, fault)) < 0)
                return r;
        RuntimeNamespaceType type = runtime_namespace_from_string(name);
        if (type < 0)
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is not known", name);
        if (config->namespaces[type].wanted)
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is given twice", name);
        if (string_is_empty(path))
                path = NULL;
        if (path && path[0] != '/')
                return json_fault_member(node, "path", fault, -EBADMSG, "must be an absolute path");
        config->namespaces[type] = (RuntimeNamespace){ .wanted = true, .path = path };
        return 0;
}

static int parse_list(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        JsonNode array;
        int r = json_get(node, "namespaces", json_type_array, JSON_OPTIONAL, &array, fault);
        if (r <= 0)
                return r;
        for (size_t i = 0; i < json_length(&array); i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_object, &item, fault);
                if (r >= 0)
                        r = parse_namespace(&item, config, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_mapping(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "containerID", "hostID", "size", NULL };
        RuntimeIdMapping *mapping = element;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_uint32(node, "containerID", JSON_REQUIRED, &mapping->container_id, fault)) < 0 ||
            (r = json_get_uint32(node, "hostID", JSON_REQUIRED, &mapping->host_id, fault)) < 0 ||
            (r = json_get_uint32(node, "size", JSON_REQUIRED, &mapping->size, fault)) < 0)
                return r;
        if (mapping->size == 0)
                return json_fault_member(node, "size", fault, -EBADMSG, "must not be 0");
        if (mapping->size > UINT32_MAX - mapping->container_id ||
            mapping->size > UINT32_MAX - mapping->host_id)
                return json_fault_member(node, "size", fault, -EBADMSG, "reaches beyond the last id");
        return 0;
}

int config_parse_id_mappings(const JsonNode *node, RuntimeIdMappings *ret, Fault *fault) {
        int r = config_get_items(node, "uidMappings", sizeof(RuntimeIdMapping), parse_mapping,
                                 (void **) &ret->uids, &ret->uid_count, fault);
        if (r >= 0)
                r = config_get_items(node, "gidMappings", sizeof(RuntimeIdMapping), parse_mapping,
                                     (void **) &ret->gids, &ret->gid_count, fault);
        return r < 0 ? r : 0;
}

void config_id_mappings_done(RuntimeIdMappings *mappings) {
        free(mappings->uids);
        free(mappings->gids);
}

static int parse_mappings(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        static const char needs_namespace[] = "needs a user namespace in linux.namespaces";
        static const char is_missing[] = "is missing: a new user namespace needs it";
        int r = config_parse_id_mappings(node, &config->mappings, fault);
        if (r < 0)
                return r;
        const RuntimeNamespace *user = &config->namespaces[RUNTIME_NAMESPACE_USER];
        bool is_new = user->wanted && !user->path;
        if (is_new && config->mappings.uid_count == 0)
                return json_fault_member(node, "uidMappings", fault, -EBADMSG, "%s", is_missing);
        if (is_new && config->mappings.gid_count == 0)
                return json_fault_member(node, "gidMappings", fault, -EBADMSG, "%s", is_missing);
        if (!user->wanted && config->mappings.uid_count > 0)
                return json_fault_member(node, "uidMappings", fault, -EBADMSG, "%s", needs_namespace);
        if (!user->wanted && config->mappings.gid_count > 0)
                return json_fault_member(node, "gidMappings", fault, -EBADMSG, "%s", needs_namespace);
        return 0;
}

static int parse_time_offset(const JsonNode *node, const char *key, RuntimeTimeOffset *ret, Fault *fault) {
        static const char *const members[] = { "secs", "nanosecs", NULL };
        JsonNode clock;
        int64_t nanoseconds = 0;
        int r = json_get(node, key, json_type_object, JSON_OPTIONAL, &clock, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&clock, members);
        if ((r = json_get_int64(&clock, "secs", JSON_OPTIONAL, &ret->seconds, fault)) < 0 ||
            (r = config_get_number(&clock, "nanosecs", 0, 999999999, &nanoseconds, fault)) < 0)
                return r;
        ret->nanoseconds = (uint32_t) nanoseconds;
        ret->given = ret->seconds != 0 || nanoseconds != 0;
        return 0;
}

static int parse_time_offsets(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        static const char *const members[] = { "boottime", "monotonic", NULL };
        const RuntimeNamespace *time = &config->namespaces[RUNTIME_NAMESPACE_TIME];
        JsonNode offsets;
        int r = json_get(node, "timeOffsets", json_type_object, JSON_OPTIONAL, &offsets, fault);
        if (r <= 0)
                return r;
        json_object_object_foreach(offsets.value, key, value) {
                (void) value;
                if (!strv_contains(members, key))
                        return json_fault_member(&offsets, key, fault, -EBADMSG,
                                                 "is no clock that a time namespace has");
        }
        if ((r = parse_time_offset(&offsets, "boottime", &config->boottime_offset, fault)) < 0 ||
            (r = parse_time_offset(&offsets, "monotonic", &config->monotonic_offset, fault)) < 0)
                return r;
        bool given = config->boottime_offset.given || config->monotonic_offset.given;
        if (given && (!time->wanted || time->path))
                return json_fault_member(node, "timeOffsets", fault, -EBADMSG,
                                         "needs a new time namespace in linux.namespaces");
        return 0;
}

int config_parse_namespaces(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r;
        if ((r = parse_list(node, config, fault)) < 0 || (r = parse_mappings(node, config, fault)) < 0)
                return r;
        return parse_time_offsets(node, config, fault);
}
