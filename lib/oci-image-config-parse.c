/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/json.h"
#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/oci-descriptor.h"
#include "lib/oci-image-config.h"
#include "lib/strv.h"

static int copy_string(const JsonNode *node, const char *key, char **ret, Fault *fault) {
        const char *value;
        int r = json_get_string(node, key, JSON_OPTIONAL, &value, fault);
        if (r <= 0 || value[0] == '\0')
                return r;
        *ret = strdup(value);
        return *ret ? 1 : -ENOMEM;
}

static int copy_name(const JsonNode *node, const char *key, char **ret, Fault *fault) {
        int r = copy_string(node, key, ret, fault);
        if (r > 0 && *ret && !string_is_printable(*ret))
                return json_fault_member(node, key, fault, -EBADMSG, "has control characters");
        return r;
}

static int append_key(const JsonNode *member, void *userdata, Fault *fault) {
        char ***keys = userdata;
        if (!string_is_printable(member->key) || member->key[0] == '\0')
                return json_fault(member->parent, fault,
                                  "has a key that is empty or has control characters");
        return strv_append(keys, member->key);
}

/* ExposedPorts and Volumes are sets: Go writes them as objects with empty members. */
static int copy_set(const JsonNode *node, const char *key, char ***ret, Fault *fault) {
        JsonNode set;
        int r = json_get(node, key, json_type_object, JSON_OPTIONAL, &set, fault);
        if (r <= 0)
                return r;
        if (json_object_object_length(set.value) > LIMIT_ANNOTATIONS)
                return json_fault(&set, fault, "has more than %i members", LIMIT_ANNOTATIONS);
        return json_visit_members(&set, append_key, ret, fault);
}

static int copy_list(const JsonNode *node, const char *key, char ***ret, JsonNode *ret_array, Fault *fault) {
        int r = json_get(node, key, json_type_array, JSON_OPTIONAL, ret_array, fault);
        if (r <= 0)
                return r;
        if (json_length(ret_array) > LIMIT_CONFIG_STRINGS)
                return json_fault(ret_array, fault, "has more than %i entries", LIMIT_CONFIG_STRINGS);
        return json_get_strv(node, key, JSON_REQUIRED, ret, fault);
}

static int copy_environment(const JsonNode *node, char ***ret, Fault *fault) {
        JsonNode array;
        int r = copy_list(node, "Env", ret, &array, fault);
        if (r <= 0)
                return r;
        for (size_t i = 0; (*ret)[i]; i++) {
                size_t name = strcspn((*ret)[i], "=");
                JsonNode item = { .parent = &array, .index = i };
                if (name == 0 || (*ret)[i][name] == '\0')
                        return json_fault(&item, fault, "must be NAME=value");
        }
        return 1;
}

static int parse_execution(const JsonNode *root, OciImageConfig *config, Fault *fault) {
        JsonNode node, array;
        int r = json_get(root, "config", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        r = copy_name(&node, "User", &config->user, fault);
        if (r >= 0)
                r = copy_name(&node, "WorkingDir", &config->working_directory, fault);
        if (r >= 0)
                r = copy_name(&node, "StopSignal", &config->stop_signal, fault);
        if (r >= 0)
                r = copy_environment(&node, &config->environment, fault);
        if (r >= 0)
                r = copy_list(&node, "Entrypoint", &config->entrypoint, &array, fault);
        if (r >= 0)
                r = copy_list(&node, "Cmd", &config->command, &array, fault);
        if (r >= 0)
                r = copy_set(&node, "ExposedPorts", &config->exposed_ports, fault);
        if (r >= 0)
                r = copy_set(&node, "Volumes", &config->volumes, fault);
        if (r >= 0)
                r = oci_annotations_parse(&node, "Labels", &config->labels, fault);
        if (r >= 0)
                r = json_get_bool(&node, "ArgsEscaped", JSON_OPTIONAL, &config->args_escaped, fault);
        return r;
}

static int parse_diff_ids(const JsonNode *rootfs, OciImageConfig *config, Fault *fault) {
        JsonNode array;
        int r = json_get(rootfs, "diff_ids", json_type_array, JSON_OPTIONAL, &array, fault);
        if (r <= 0) /* Go writes null for an image without layers */
                return r;
        size_t count = json_length(&array);
        if (count > LIMIT_MANIFEST_LAYERS)
                return json_fault(&array, fault, "has %zu entries, more than %i", count,
                                  LIMIT_MANIFEST_LAYERS);
        config->diff_ids = new0(Digest, MAX_OF(count, 1U));
        if (!config->diff_ids)
                return -ENOMEM;
        config->diff_id_count = count;
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_string, &item, fault);
                if (r >= 0)
                        r = oci_node_digest(&item, &config->diff_ids[i], fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_rootfs(const JsonNode *root, OciImageConfig *config, Fault *fault) {
        JsonNode rootfs;
        const char *type = NULL;
        int r = json_get(root, "rootfs", json_type_object, JSON_REQUIRED, &rootfs, fault);
        if (r < 0)
                return r;
        r = json_get_string(&rootfs, "type", JSON_REQUIRED, &type, fault);
        if (r < 0)
                return r;
        if (!string_equal(type, "layers"))
                return json_fault_member(&rootfs, "type", fault, -EBADMSG, "must be \"layers\"");
        return parse_diff_ids(&rootfs, config, fault);
}

/* Nobody runs anything by the history, and images whose history is wrong are about (containerd takes them),
 * so that only its form is an error. */
static int parse_history(const JsonNode *root, OciImageConfig *config, Fault *fault) {
        JsonNode history;
        size_t layers = 0;
        config->history_is_consistent = true;
        int r = json_get(root, "history", json_type_array, JSON_OPTIONAL, &history, fault);
        if (r <= 0)
                return r;
        size_t count = json_length(&history);
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                bool is_empty = false;
                r = json_item(&history, i, json_type_object, &item, fault);
                if (r >= 0)
                        r = json_get_bool(&item, "empty_layer", JSON_OPTIONAL, &is_empty, fault);
                if (r < 0)
                        return r;
                layers += !is_empty;
        }
        config->history_is_consistent = count == 0 || layers == config->diff_id_count;
        return 0;
}

int oci_image_config_parse(const char *data, size_t size, OciImageConfig *ret, Fault *fault) {
        if (size > LIMIT_IMAGE_CONFIG_SIZE)
                return fault_set(fault, -EBADMSG, "image: is larger than %u bytes", LIMIT_IMAGE_CONFIG_SIZE);
        _cleanup_json_ json_object *document = NULL;
        int r = json_parse(data, size, "image", &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document, "image");
        if (!json_object_is_type(document, json_type_object))
                return json_fault(&root, fault, "must be an object");

        _cleanup_(oci_image_config_done) OciImageConfig config = { 0 };
        r = oci_platform_parse_json(&root, &config.platform, fault);
        if (r >= 0)
                r = copy_name(&root, "created", &config.created, fault);
        if (r >= 0)
                r = copy_string(&root, "author", &config.author, fault);
        if (r >= 0)
                r = parse_execution(&root, &config, fault);
        if (r >= 0)
                r = parse_rootfs(&root, &config, fault);
        if (r >= 0)
                r = parse_history(&root, &config, fault);
        if (r < 0)
                return r;
        *ret = TAKE(config, (OciImageConfig){ 0 });
        return 0;
}
