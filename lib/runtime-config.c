/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/runtime-config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json-check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/runtime-config-read.h"
#include "lib/strv.h"

static const char *const config_members[] = {
        "ociVersion", "process", "root",    "hostname", "domainname", "mounts",  "linux", "annotations",
        "hooks",      "solaris", "windows", "vm",       "zos",        "freebsd", NULL,
};

/* Other platforms' sections, and that of virtual machines. */
static const char *const foreign_members[] = { "solaris", "windows", "vm", "zos", "freebsd" };

static int parse_version(const JsonNode *root, RuntimeConfig *config, Fault *fault) {
        int r = json_get_string(root, "ociVersion", JSON_REQUIRED, &config->oci_version, fault);
        if (r < 0)
                return r;
        /* Semantic versions: what is compatible has the same first number. Before 1.0.0 the format was this
         * already, and generators of that time are around. */
        if (!string_after(config->oci_version, "1.") && !string_after(config->oci_version, "0."))
                return json_fault_member(root, "ociVersion", fault, -EOPNOTSUPP,
                                         "'%s' is not a version that crt knows (1.x)", config->oci_version);
        return 0;
}

static int parse_root(const JsonNode *root, RuntimeConfig *config, Fault *fault) {
        static const char *const members[] = { "path", "readonly", NULL };
        JsonNode node;
        int r = json_get(root, "root", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        if ((r = json_get_string(&node, "path", JSON_REQUIRED, &config->root_path, fault)) < 0 ||
            (r = json_get_bool(&node, "readonly", JSON_OPTIONAL, &config->root_readonly, fault)) < 0)
                return r;
        if (config->root_path[0] == '\0')
                return json_fault_member(&node, "path", fault, -EBADMSG, "is empty");
        return 0;
}

static int parse_mount(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = {
                "destination", "source", "type", "options", "uidMappings", "gidMappings", NULL,
        };
        RuntimeMount *mount = element;
        int r;

        config_note_unknown(node, members);
        if ((r = json_get_string(node, "destination", JSON_REQUIRED, &mount->destination, fault)) < 0 ||
            (r = json_get_string(node, "source", JSON_OPTIONAL, &mount->source, fault)) < 0 ||
            (r = json_get_string(node, "type", JSON_OPTIONAL, &mount->type, fault)) < 0 ||
            (r = config_get_strings(node, "options", JSON_OPTIONAL, &mount->options, fault)) < 0 ||
            (r = config_parse_id_mappings(node, &mount->mappings, fault)) < 0)
                return r;
        if ((mount->mappings.uid_count > 0) != (mount->mappings.gid_count > 0))
                return json_fault_member(node, mount->mappings.uid_count > 0 ? "gidMappings" : "uidMappings",
                                         fault, -EBADMSG, "is missing: one goes with the other");
        if (mount->destination[strspn(mount->destination, "/.")] == '\0')
                return json_fault_member(node, "destination", fault, -EBADMSG,
                                         "'%s' is the root itself, or nothing", mount->destination);
        return 0;
}

/* The runtime does nothing with them; what their schemas refuse is refused all the same. */
static int check_freebsd(const JsonNode *node, Fault *fault) {
        static const char *const sharing[] = { "new", "inherit" };
        JsonNode jail;
        int r = json_get(node, "jail", json_type_object, JSON_OPTIONAL, &jail, fault);
        if (r > 0)
                r = config_get_word(&jail, "vnet", sharing, ELEMENTS_OF(sharing), fault);
        return r == -ENOENT || r >= 0 ? 0 : r;
}

static int note_foreign(const JsonNode *root, RuntimeConfig *config, Fault *fault) {
        for (size_t i = 0; i < ELEMENTS_OF(foreign_members); i++) {
                JsonNode node;
                int r = json_get(root, foreign_members[i], json_type_object, JSON_OPTIONAL, &node, fault);
                if (r > 0 && string_equal(foreign_members[i], "freebsd"))
                        r = check_freebsd(&node, fault) < 0 ? -EBADMSG : 1;
                if (r < 0)
                        return r;
                if (r > 0 && json_object_object_length(node.value) > 0 && !config->foreign)
                        config->foreign = foreign_members[i];
        }
        return 0;
}

static int parse_names(const JsonNode *root, RuntimeConfig *config, Fault *fault) {
        int r;
        if ((r = json_get_string(root, "hostname", JSON_OPTIONAL, &config->hostname, fault)) < 0 ||
            (r = json_get_string(root, "domainname", JSON_OPTIONAL, &config->domainname, fault)) < 0)
                return r;
        if (string_is_empty(config->hostname))
                config->hostname = NULL;
        if (string_is_empty(config->domainname))
                config->domainname = NULL;

        bool uts = config->namespaces[RUNTIME_NAMESPACE_UTS].wanted || config->foreign;
        if (config->hostname && !uts)
                return json_fault_member(root, "hostname", fault, -EBADMSG,
                                         "needs a uts namespace in linux.namespaces");
        if (config->domainname && !uts)
                return json_fault_member(root, "domainname", fault, -EBADMSG,
                                         "needs a uts namespace in linux.namespaces");
        if (config->hostname && strlen(config->hostname) > 64)
                return json_fault_member(root, "hostname", fault, -EBADMSG, "has more than 64 characters");
        if (config->domainname && strlen(config->domainname) > 64)
                return json_fault_member(root, "domainname", fault, -EBADMSG, "has more than 64 characters");
        return 0;
}

static int parse_config(RuntimeConfig *config, Fault *fault) {
        JsonNode root = json_root(config->document, "config"), node;
        int r;

        if (!json_object_is_type(config->document, json_type_object))
                return json_fault(&root, fault, "must be an object");
        config_note_unknown(&root, config_members);
        if ((r = parse_version(&root, config, fault)) < 0 || (r = note_foreign(&root, config, fault)) < 0 ||
            (r = parse_root(&root, config, fault)) < 0 || (r = config_parse_hooks(&root, config, fault)) < 0)
                return r;

        r = json_get(&root, "process", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r > 0)
                r = config_parse_process(&node, &config->process, fault);
        if (r >= 0)
                r = json_get(&root, "linux", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r > 0)
                r = config_parse_linux(&node, config, fault);
        if (r < 0)
                return r;

        if ((r = parse_names(&root, config, fault)) < 0 ||
            (r = config_get_items(&root, "mounts", sizeof(RuntimeMount), parse_mount,
                                  (void **) &config->mounts, &config->mount_count, fault)) < 0)
                return r;
        return config_get_pairs(&root, "annotations", &config->annotations, &config->annotation_count,
                                fault);
}

static int config_from_document(json_object *document, RuntimeConfig **ret, Fault *fault) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = new0(RuntimeConfig, 1);
        if (!config) {
                json_object_put(document);
                return -ENOMEM;
        }
        config->document = document;
        runtime_process_init(&config->process);
        runtime_resources_init(&config->resources);

        int r = parse_config(config, fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(config);
        return 0;
}

/* Rules with escapes could be spelled otherwise than they look. */
static bool can_be_left(const char *rules, size_t size) {
        return !memchr(rules, '\\', size) &&
               !memmem(rules, size, "SCMP_ACT_NOTIFY", strlen("SCMP_ACT_NOTIFY"));
}

/* In a text with an empty list in their place. Where that is malformed is known by the whole text only. */
static int parse_without(const char *data, size_t size, size_t offset, size_t length, json_object **ret) {
        _cleanup_free_ char *rest = malloc(size);
        if (!rest)
                return -ENOMEM;
        memcpy(rest, data, offset + 1);
        memcpy(rest + offset + 1, data + offset + length - 1, size - offset - length + 1);
        return json_parse(rest, size - length + 2, "config", ret, NULL);
}

static int parse(const char *data, size_t size, bool sparing, RuntimeConfig **ret, Fault *fault) {
        static const char *const path[] = { "linux", "seccomp", "syscalls", NULL };
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        json_object *document = NULL;
        size_t offset = 0, length = 0;
        if (size > LIMIT_RUNTIME_CONFIG_SIZE)
                return fault_set(fault, -EBADMSG, "config: larger than %u bytes", LIMIT_RUNTIME_CONFIG_SIZE);

        bool found =
                json_check_find(data, size, path, &offset, &length) && length >= 2 && data[offset] == '[';
        bool left = found && sparing && can_be_left(data + offset, length);
        if (left && parse_without(data, size, offset, length, &document) < 0)
                left = false;
        int r = left ? 0 : json_parse(data, size, "config", &document, fault);
        if (r >= 0)
                r = config_from_document(document, &config, fault);
        if (r < 0)
                return r;
        if (found && config->seccomp) {
                config->seccomp->rules_text = malloc(length);
                if (!config->seccomp->rules_text)
                        return -ENOMEM;
                memcpy(config->seccomp->rules_text, data + offset, length);
                config->seccomp->rules_size = length;
                config->seccomp->rules_left = left;
        }
        *ret = TAKE_PTR(config);
        return 0;
}

static int parse_fd(int fd, bool sparing, RuntimeConfig **ret, Fault *fault) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = fd_read_all(fd, LIMIT_RUNTIME_CONFIG_SIZE, &data, &size);
        if (r == -EFBIG)
                return fault_set(fault, -EBADMSG, "config: larger than %u bytes", LIMIT_RUNTIME_CONFIG_SIZE);
        if (r < 0)
                return fault_set_errno(fault, r, "config: cannot be read");
        return parse(data, size, sparing, ret, fault);
}

int runtime_config_parse(const char *data, size_t size, RuntimeConfig **ret, Fault *fault) {
        return parse(data, size, false, ret, fault);
}

int runtime_config_parse_fd(int fd, RuntimeConfig **ret, Fault *fault) {
        return parse_fd(fd, false, ret, fault);
}

int runtime_config_parse_sparing(const char *data, size_t size, RuntimeConfig **ret, Fault *fault) {
        return parse(data, size, true, ret, fault);
}

int runtime_config_parse_sparing_fd(int fd, RuntimeConfig **ret, Fault *fault) {
        return parse_fd(fd, true, ret, fault);
}

RuntimeConfig *runtime_config_free(RuntimeConfig *config) {
        if (!config)
                return NULL;
        runtime_process_done(&config->process);
        runtime_resources_done(&config->resources);
        config_seccomp_free(config->seccomp);
        config_hooks_done(config);
        for (size_t i = 0; i < config->mount_count; i++) {
                free(config->mounts[i].options);
                config_id_mappings_done(&config->mounts[i].mappings);
        }
        free(config->mounts);
        config_id_mappings_done(&config->mappings);
        free(config->net_devices);
        free(config->intel_rdt.schemata);
        free(config->devices);
        free(config->sysctls);
        free(config->masked_paths);
        free(config->readonly_paths);
        free(config->annotations);
        json_document_free(config->document);
        return mfree(config);
}
