/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux: config-linux.md, but for what has a file of its own. */

#include <errno.h>
#include <string.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

#define INTERFACE_NAME_MAX 15

static const char *const linux_members[] = {
        "devices",           "uidMappings", "gidMappings",  "namespaces",  "resources",     "cgroupsPath",
        "rootfsPropagation", "seccomp",     "sysctl",       "maskedPaths", "readonlyPaths", "netDevices",
        "mountLabel",        "intelRdt",    "memoryPolicy", "personality", "timeOffsets",   NULL,
};

static int parse_device(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = {
                "type", "path", "major", "minor", "fileMode", "uid", "gid", NULL,
        };
        RuntimeDevice *device = element;
        const char *type;
        int64_t major = -1, minor = -1, mode = 0666;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_string(node, "type", JSON_REQUIRED, &type, fault)) < 0 ||
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

/* dev_valid_name() of the kernel. */
static bool is_interface_name(const char *name) {
        size_t length = strlen(name);
        return length > 0 && length <= INTERFACE_NAME_MAX && !string_equal(name, ".") &&
               !string_equal(name, "..") && strcspn(name, "/: \t\n\r\v\f") == length;
}

static int parse_net_device(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "name", NULL };
        RuntimeNetDevice *device = element;
        config_note_unknown(node, members);
        device->name = device->new_name = node->key;
        int r = json_get_string(node, "name", JSON_OPTIONAL, &device->new_name, fault);
        if (r < 0)
                return r;
        if (string_is_empty(device->new_name))
                device->new_name = device->name;
        if (!is_interface_name(device->name) || strchr(device->name, '%'))
                return json_fault(node, fault, "is not the name of a network interface");
        const char *percent = strchr(device->new_name, '%');
        if (!is_interface_name(device->new_name) ||
            (percent && (percent[1] != 'd' || strchr(percent + 1, '%'))))
                return json_fault_member(node, "name", fault, -EBADMSG,
                                         "'%.32s' is not the name of a network interface", device->new_name);
        return 0;
}

static int parse_net_devices(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r = config_get_members(node, "netDevices", sizeof(RuntimeNetDevice), parse_net_device,
                                   (void **) &config->net_devices, &config->net_device_count, fault);
        if (r <= 0)
                return r;
        for (size_t i = 0; i < config->net_device_count; i++)
                for (size_t k = 0; k < i; k++)
                        if (string_equal(config->net_devices[i].new_name, config->net_devices[k].new_name) &&
                            !strchr(config->net_devices[i].new_name, '%'))
                                return json_fault_member(node, "netDevices", fault, -EBADMSG,
                                                         "two would be named '%s'",
                                                         config->net_devices[i].new_name);
        return 0;
}

static int parse_intel_rdt(const JsonNode *linux_node, RuntimeIntelRdt *rdt, Fault *fault) {
        static const char *const members[] = {
                "closID",           "schemata",  "l3CacheSchema", "memBwSchema",
                "enableMonitoring", "enableCMT", "enableMBM",     NULL,
        };
        JsonNode node;
        int r = json_get(linux_node, "intelRdt", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        if ((r = json_get_string(&node, "closID", JSON_OPTIONAL, &rdt->clos_id, fault)) < 0 ||
            (r = json_get_string(&node, "l3CacheSchema", JSON_OPTIONAL, &rdt->l3_schema, fault)) < 0 ||
            (r = json_get_string(&node, "memBwSchema", JSON_OPTIONAL, &rdt->bandwidth, fault)) < 0 ||
            (r = config_get_strings(&node, "schemata", JSON_OPTIONAL, &rdt->schemata, fault)) < 0 ||
            (r = json_get_bool(&node, "enableMonitoring", JSON_OPTIONAL, &rdt->enable_monitoring, fault)) <
                    0)
                return r;
        if (string_is_empty(rdt->clos_id))
                rdt->clos_id = NULL;
        if (rdt->clos_id && (strchr(rdt->clos_id, '/') || strchr(rdt->clos_id, '\n') ||
                             string_equal(rdt->clos_id, ".") || string_equal(rdt->clos_id, "..")))
                return json_fault_member(&node, "closID", fault, -EBADMSG, "is not the name of a directory");
        if (rdt->bandwidth && (!string_after(rdt->bandwidth, "MB:") || strchr(rdt->bandwidth, '\n')))
                return json_fault_member(&node, "memBwSchema", fault, -EBADMSG,
                                         "must begin with MB: and be one line");
        STRV_FOREACH (line, rdt->schemata)
                if (strchr(line, '\n'))
                        return json_fault_member(&node, "schemata", fault, -EBADMSG,
                                                 "has a newline in an item");
        rdt->given = true;
        return 0;
}

static int parse_mount_label(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r = json_get_string(node, "mountLabel", JSON_OPTIONAL, &config->mount_label, fault);
        if (r < 0)
                return r;
        if (string_is_empty(config->mount_label))
                config->mount_label = NULL;
        else if (!string_is_printable(config->mount_label) || strchr(config->mount_label, '"'))
                return json_fault_member(node, "mountLabel", fault, -EBADMSG, "is not a label");
        return 0;
}

int config_parse_linux(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        JsonNode member;
        int r;
        config_note_unknown(node, linux_members);
        if ((r = config_parse_namespaces(node, config, fault)) < 0 ||
            (r = config_get_items(node, "devices", sizeof(RuntimeDevice), parse_device,
                                  (void **) &config->devices, &config->device_count, fault)) < 0 ||
            (r = parse_cgroups_path(node, config, fault)) < 0 ||
            (r = parse_propagation(node, config, fault)) < 0 ||
            (r = config_get_pairs(node, "sysctl", &config->sysctls, &config->sysctl_count, fault)) < 0 ||
            (r = parse_paths(node, "maskedPaths", &config->masked_paths, fault)) < 0 ||
            (r = parse_paths(node, "readonlyPaths", &config->readonly_paths, fault)) < 0 ||
            (r = parse_net_devices(node, config, fault)) < 0 ||
            (r = parse_intel_rdt(node, &config->intel_rdt, fault)) < 0 ||
            (r = parse_mount_label(node, config, fault)) < 0 ||
            (r = config_parse_platform(node, config, fault)) < 0)
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
