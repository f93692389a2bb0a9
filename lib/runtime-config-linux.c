/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux: config-linux.md, but for resources and seccomp, which have files of their own. */

#include <errno.h>
#include <string.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

static const char *const linux_members[] = {
        "devices",           "uidMappings", "gidMappings", "namespaces",  "resources",     "cgroupsPath",
        "rootfsPropagation", "seccomp",     "sysctl",      "maskedPaths", "readonlyPaths", NULL,
};
static const char *const linux_unsupported[] = {
        "netDevices", "mountLabel", "intelRdt", "memoryPolicy", "personality", "timeOffsets", NULL,
};

static const char *const namespace_names[_RUNTIME_NAMESPACE_MAX] = {
        [RUNTIME_NAMESPACE_USER] = "user",     [RUNTIME_NAMESPACE_MOUNT] = "mount",
        [RUNTIME_NAMESPACE_PID] = "pid",       [RUNTIME_NAMESPACE_NETWORK] = "network",
        [RUNTIME_NAMESPACE_IPC] = "ipc",       [RUNTIME_NAMESPACE_UTS] = "uts",
        [RUNTIME_NAMESPACE_CGROUP] = "cgroup",
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
        if ((r = config_refuse_members(node, members, NULL, fault)) < 0 ||
            (r = json_get_string(node, "type", JSON_REQUIRED, &name, fault)) < 0 ||
            (r = json_get_string(node, "path", JSON_OPTIONAL, &path, fault)) < 0)
                return r;
        if (string_equal(name, "time"))
                return json_fault_member(node, "type", fault, -EOPNOTSUPP,
                                         "time namespaces are not supported yet");
        RuntimeNamespaceType type = runtime_namespace_from_string(name);
        if (type < 0)
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is not known", name);
        if (config->namespaces[type].wanted)
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is given twice", name);
        if (string_is_empty(path))
                path = NULL;
        if (path && path[0] != '/')
                return json_fault_member(node, "path", fault, -EBADMSG, "must be an absolute path");
        if (path && type == RUNTIME_NAMESPACE_MOUNT)
                return json_fault_member(node, "path", fault, -EOPNOTSUPP,
                                         "joining a mount namespace is not supported");
        config->namespaces[type] = (RuntimeNamespace){ .wanted = true, .path = path };
        return 0;
}

static int parse_namespaces(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
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
        if ((r = config_refuse_members(node, members, NULL, fault)) < 0 ||
            (r = json_get_uint32(node, "containerID", JSON_REQUIRED, &mapping->container_id, fault)) < 0 ||
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

static int parse_mappings(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r;
        if ((r = config_get_items(node, "uidMappings", sizeof(RuntimeIdMapping), parse_mapping,
                                  (void **) &config->uid_mappings, &config->uid_mapping_count, fault)) < 0 ||
            (r = config_get_items(node, "gidMappings", sizeof(RuntimeIdMapping), parse_mapping,
                                  (void **) &config->gid_mappings, &config->gid_mapping_count, fault)) < 0)
                return r;

        const RuntimeNamespace *user = &config->namespaces[RUNTIME_NAMESPACE_USER];
        bool is_new = user->wanted && !user->path;
        if (is_new && config->uid_mapping_count == 0)
                return json_fault_member(node, "uidMappings", fault, -EBADMSG,
                                         "is missing: a new user namespace needs it");
        if (is_new && config->gid_mapping_count == 0)
                return json_fault_member(node, "gidMappings", fault, -EBADMSG,
                                         "is missing: a new user namespace needs it");
        if (!user->wanted && config->uid_mapping_count > 0)
                return json_fault_member(node, "uidMappings", fault, -EBADMSG,
                                         "needs a user namespace in linux.namespaces");
        if (!user->wanted && config->gid_mapping_count > 0)
                return json_fault_member(node, "gidMappings", fault, -EBADMSG,
                                         "needs a user namespace in linux.namespaces");
        return 0;
}

static int parse_device(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = {
                "type", "path", "major", "minor", "fileMode", "uid", "gid", NULL,
        };
        RuntimeDevice *device = element;
        const char *type;
        int64_t major = -1, minor = -1, mode = 0666;
        int r;
        if ((r = config_refuse_members(node, members, NULL, fault)) < 0 ||
            (r = json_get_string(node, "type", JSON_REQUIRED, &type, fault)) < 0 ||
            (r = json_get_string(node, "path", JSON_REQUIRED, &device->path, fault)) < 0 ||
            (r = config_get_number(node, "major", 0, 0xfff, &major, fault)) < 0 ||
            (r = config_get_number(node, "minor", 0, 0xfffff, &minor, fault)) < 0 ||
            (r = config_get_number(node, "fileMode", 0, 07777, &mode, fault)) < 0 ||
            (r = json_get_uint32(node, "uid", JSON_OPTIONAL, &device->uid, fault)) < 0 ||
            (r = json_get_uint32(node, "gid", JSON_OPTIONAL, &device->gid, fault)) < 0)
                return r;
        if (!type[0] || type[1] || !strchr("cbup", type[0]))
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is not one of c, b, u and p",
                                         type);
        if (device->path[0] != '/')
                return json_fault_member(node, "path", fault, -EBADMSG, "must be an absolute path");
        if (type[0] != 'p' && (major < 0 || minor < 0))
                return json_fault_member(node, major < 0 ? "major" : "minor", fault, -EBADMSG, "is missing");
        device->type = type[0] == 'u' ? 'c' : type[0];
        device->major = (uint32_t) MAX_OF(major, 0);
        device->minor = (uint32_t) MAX_OF(minor, 0);
        device->mode = (mode_t) mode & 0777;
        return 0;
}

static int parse_propagation(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        static const char *const words[] = {
                "private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable",
        };
        static const RuntimePropagation values[] = {
                RUNTIME_PROPAGATION_PRIVATE,
                RUNTIME_PROPAGATION_SHARED,
                RUNTIME_PROPAGATION_SLAVE,
                RUNTIME_PROPAGATION_UNBINDABLE,
        };
        const char *word = NULL;
        int r = json_get_string(node, "rootfsPropagation", JSON_OPTIONAL, &word, fault);
        if (r < 0)
                return r;
        if (string_is_empty(word))
                return 0;
        r = config_get_word(node, "rootfsPropagation", words, ELEMENTS_OF(words), fault);
        if (r < 0)
                return r;
        config->root_propagation = values[r % 4];
        config->root_propagation_recursive = r >= 4;
        return 0;
}

static int parse_cgroups_path(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r = json_get_string(node, "cgroupsPath", JSON_OPTIONAL, &config->cgroups_path, fault);
        if (r <= 0)
                return r;
        if (string_is_empty(config->cgroups_path)) {
                config->cgroups_path = NULL;
                return 0;
        }
        for (const char *p = config->cgroups_path; *p; p += strcspn(p, "/")) {
                p += strspn(p, "/");
                size_t n = strcspn(p, "/");
                if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return json_fault_member(node, "cgroupsPath", fault, -EBADMSG,
                                                 "must not have '.' or '..' in it");
        }
        return 0;
}

static int parse_paths(const JsonNode *node, const char *key, const char ***ret, Fault *fault) {
        int r = config_get_strings(node, key, JSON_OPTIONAL, ret, fault);
        if (r <= 0)
                return r;
        STRV_FOREACH (path, *ret)
                if (path[0] != '/')
                        return json_fault_member(node, key, fault, -EBADMSG, "'%s' is not an absolute path",
                                                 path);
        return 0;
}

int config_parse_linux(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        JsonNode member;
        int r;
        if ((r = config_refuse_members(node, linux_members, linux_unsupported, fault)) < 0 ||
            (r = parse_namespaces(node, config, fault)) < 0 ||
            (r = parse_mappings(node, config, fault)) < 0 ||
            (r = config_get_items(node, "devices", sizeof(RuntimeDevice), parse_device,
                                  (void **) &config->devices, &config->device_count, fault)) < 0 ||
            (r = parse_cgroups_path(node, config, fault)) < 0 ||
            (r = parse_propagation(node, config, fault)) < 0 ||
            (r = config_get_pairs(node, "sysctl", &config->sysctls, &config->sysctl_count, fault)) < 0 ||
            (r = parse_paths(node, "maskedPaths", &config->masked_paths, fault)) < 0 ||
            (r = parse_paths(node, "readonlyPaths", &config->readonly_paths, fault)) < 0)
                return r;

        r = json_get(node, "resources", json_type_object, JSON_OPTIONAL, &member, fault);
        if (r > 0)
                r = config_parse_resources(&member, &config->resources, fault);
        if (r >= 0)
                r = json_get(node, "seccomp", json_type_object, JSON_OPTIONAL, &member, fault);
        if (r > 0)
                r = config_parse_seccomp(&member, &config->seccomp, fault);
        return r < 0 ? r : 0;
}
