/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/media-type.h"
#include "lib/oci-annotations.h"
#include "lib/oci-descriptor.h"

int oci_node_digest(const JsonNode *node, Digest *ret, Fault *fault) {
        const char *string = json_object_get_string(node->value);
        int r = digest_parse(string, ret);
        if (r == -EOPNOTSUPP)
                return json_fault(node, fault, "unknown algorithm '%.*s'",
                                  (int) MIN_OF(strcspn(string, ":"), 64U), string);
        if (r < 0)
                return json_fault(node, fault, "is not a digest");
        return 0;
}

int oci_get_digest(const JsonNode *node, const char *key, Digest *ret, Fault *fault) {
        JsonNode member;
        int r = json_get(node, key, json_type_string, JSON_REQUIRED, &member, fault);
        return r < 0 ? r : oci_node_digest(&member, ret, fault);
}

int oci_get_media_type(const JsonNode *node, const char *key, JsonPresence presence, char **ret,
                       Fault *fault) {
        const char *value;
        int r = json_get_string(node, key, presence, &value, fault);
        if (r <= 0)
                return r;
        if (value[0] == '\0' && presence == JSON_OPTIONAL)
                return 0;
        if (!media_type_is_valid(value))
                return json_fault_member(node, key, fault, -EBADMSG, "is not a media type");
        char *copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 1;
}

static int get_size(const JsonNode *node, uint64_t *ret, Fault *fault) {
        int64_t size = 0;
        int r = json_get_int64(node, "size", JSON_REQUIRED, &size, fault);
        if (r < 0)
                return r;
        if (size < 0)
                return json_fault_member(node, "size", fault, -EBADMSG, "must not be negative");
        *ret = (uint64_t) size;
        return 0;
}

static int get_platform(const JsonNode *node, OciDescriptor *descriptor, Fault *fault) {
        JsonNode platform;
        int r = json_get(node, "platform", json_type_object, JSON_OPTIONAL, &platform, fault);
        if (r <= 0)
                return r;
        r = oci_platform_parse_json(&platform, &descriptor->platform, fault);
        descriptor->has_platform = r >= 0;
        return r;
}

int oci_descriptor_parse(const JsonNode *node, OciDescriptor *ret, Fault *fault) {
        _cleanup_(oci_descriptor_done) OciDescriptor descriptor = { 0 };
        int r = oci_get_media_type(node, "mediaType", JSON_REQUIRED, &descriptor.media_type, fault);
        if (r >= 0)
                r = oci_get_digest(node, "digest", &descriptor.digest, fault);
        if (r >= 0)
                r = get_size(node, &descriptor.size, fault);
        if (r >= 0)
                r = oci_get_media_type(node, "artifactType", JSON_OPTIONAL, &descriptor.artifact_type,
                                       fault);
        if (r >= 0)
                r = json_get_strv(node, "urls", JSON_OPTIONAL, &descriptor.urls, fault);
        if (r >= 0)
                r = oci_annotations_parse(node, "annotations", &descriptor.annotations, fault);
        if (r >= 0)
                r = get_platform(node, &descriptor, fault);
        if (r < 0)
                return r;
        *ret = TAKE(descriptor, (OciDescriptor){ 0 });
        return 0;
}

int oci_descriptor_parse_array(const JsonNode *node, const char *key, size_t limit, OciDescriptor **ret,
                               size_t *ret_count, Fault *fault) {
        JsonNode array;
        int r = json_get(node, key, json_type_array, JSON_REQUIRED, &array, fault);
        if (r < 0)
                return r;
        size_t count = json_length(&array);
        if (count > limit)
                return json_fault(&array, fault, "has %zu entries, more than %zu", count, limit);

        OciDescriptor *descriptors = count > 0 ? new0(OciDescriptor, count) : NULL;
        if (count > 0 && !descriptors)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_object, &item, fault);
                if (r >= 0)
                        r = oci_descriptor_parse(&item, &descriptors[i], fault);
                if (r < 0) {
                        oci_descriptor_free_array(descriptors, i);
                        return r;
                }
        }
        *ret = descriptors;
        *ret_count = count;
        return 0;
}
