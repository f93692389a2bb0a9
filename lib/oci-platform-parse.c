/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/oci-platform.h"
#include "lib/strv.h"

static int get_part(const JsonNode *node, const char *key, JsonPresence presence, char **part,
                    Fault *fault) {
        const char *value = NULL;
        int r = json_get_string(node, key, presence, &value, fault);
        if (r <= 0)
                return r;
        if (value[0] == '\0' && presence == JSON_OPTIONAL)
                return 0;
        if (!oci_platform_part_is_valid(value))
                return json_fault_member(node, key, fault, -EBADMSG, "is not part of a platform's name");
        *part = (char *) value; /* the document's */
        return 0;
}

int oci_platform_parse_json(const JsonNode *node, OciPlatform *ret, Fault *fault) {
        OciPlatform parts = { 0 };
        int r = get_part(node, "os", JSON_REQUIRED, &parts.os, fault);
        if (r >= 0)
                r = get_part(node, "architecture", JSON_REQUIRED, &parts.architecture, fault);
        if (r >= 0)
                r = get_part(node, "variant", JSON_OPTIONAL, &parts.variant, fault);
        if (r >= 0)
                r = get_part(node, "os.version", JSON_OPTIONAL, &parts.os_version, fault);
        return r < 0 ? r : oci_platform_from_parts(&parts, ret);
}
