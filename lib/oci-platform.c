/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-platform.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/strv.h"

#define PART_LENGTH_MAX 64

/* Names that others use, with the variant that they imply. */
static const struct {
        const char *alias, *architecture, *variant;
} aliases[] = {
        { "x86_64", "amd64", NULL },
        { "x86-64", "amd64", NULL },
        { "i386", "386", NULL },
        { "i486", "386", NULL },
        { "i586", "386", NULL },
        { "i686", "386", NULL },
        { "aarch64", "arm64", NULL },
        { "aarch64_be", "arm64be", NULL },
        { "armhf", "arm", "v7" },
        { "armel", "arm", "v6" },
        { "armv8l", "arm", "v8" },
        { "armv7l", "arm", "v7" },
        { "armv6l", "arm", "v6" },
        { "armv5tel", "arm", "v5" },
        { "loongarch64", "loong64", NULL },
        { "mips64el", "mips64le", NULL },
        { "mipsel", "mipsle", NULL },
};

/* Architectures with numbered variants, of which a higher one runs the lower. */
static const struct {
        const char *architecture, *variant;
        bool is_implied; /* not written when it is this one */
} variants[] = {
        { "amd64", "v1", true },
        { "arm64", "v8", true },
        { "arm", "v7", false },
};

static const char *const systems[] = {
        "linux",   "windows",   "darwin",  "freebsd", "netbsd",
        "openbsd", "dragonfly", "solaris", "illumos", "aix",
};

static int replace(char **string, const char *value) {
        char *copy = value ? strdup(value) : NULL;
        if (value && !copy)
                return -ENOMEM;
        free(*string);
        *string = copy;
        return 0;
}

static void to_lower(char *string) {
        for (char *p = string; p && *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char) (*p - 'A' + 'a');
}

static const char *default_variant(const char *architecture, bool *ret_is_implied) {
        for (size_t i = 0; i < ELEMENTS_OF(variants); i++)
                if (string_equal(variants[i].architecture, architecture)) {
                        *ret_is_implied = variants[i].is_implied;
                        return variants[i].variant;
                }
        return NULL;
}

static int normalize_variant(OciPlatform *platform) {
        char text[PART_LENGTH_MAX + 2];
        bool is_implied;
        const char *usual = default_variant(platform->architecture, &is_implied);

        if (string_is_empty(platform->variant))
                return replace(&platform->variant, usual && !is_implied ? usual : NULL);
        if (!usual)
                return 0;
        if (platform->variant[0] >= '0' && platform->variant[0] <= '9') {
                (void) snprintf(text, sizeof(text), "v%s", platform->variant);
                int r = replace(&platform->variant, text);
                if (r < 0)
                        return r;
        }
        if (is_implied && string_equal(platform->variant, usual))
                return replace(&platform->variant, NULL);
        return 0;
}

static int normalize(OciPlatform *platform) {
        int r;
        to_lower(platform->os);
        to_lower(platform->architecture);
        to_lower(platform->variant);
        if (string_equal(platform->os, "macos")) {
                r = replace(&platform->os, "darwin");
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTS_OF(aliases); i++) {
                if (!string_equal(aliases[i].alias, platform->architecture))
                        continue;
                r = replace(&platform->architecture, aliases[i].architecture);
                if (r < 0)
                        return r;
                if (aliases[i].variant && string_is_empty(platform->variant))
                        r = replace(&platform->variant, aliases[i].variant);
                if (r < 0)
                        return r;
                break;
        }
        return normalize_variant(platform);
}

bool oci_platform_part_is_valid(const char *part) {
        size_t length = strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
        return length > 0 && length <= PART_LENGTH_MAX && part[length] == '\0';
}

static int machine_architecture(OciPlatform *platform) {
        struct utsname name;
        if (uname(&name) < 0)
                return -errno;
        return replace(&platform->architecture, name.machine);
}

static int fill_single(const char *part, OciPlatform *platform) {
        for (size_t i = 0; i < ELEMENTS_OF(systems); i++)
                if (strcasecmp(part, systems[i]) == 0) {
                        int r = replace(&platform->os, part);
                        return r < 0 ? r : machine_architecture(platform);
                }
        int r = replace(&platform->os, "linux");
        return r < 0 ? r : replace(&platform->architecture, part);
}

int oci_platform_parse(const char *string, OciPlatform *ret, Fault *fault) {
        _cleanup_(oci_platform_done) OciPlatform platform = { 0 };
        _cleanup_free_ char *copy = strdup(string);
        const char *parts[3];
        size_t count = 0;
        int r = 0;
        if (!copy)
                return -ENOMEM;

        for (char *rest = copy, *part; (part = strsep(&rest, "/"));) {
                if (count >= ELEMENTS_OF(parts) || !oci_platform_part_is_valid(part))
                        return fault_set(fault, -EINVAL, "'%.256s' is not a platform like linux/arm64/v8",
                                         string);
                parts[count++] = part;
        }
        if (count == 1)
                r = fill_single(parts[0], &platform);
        if (count >= 2)
                r = replace(&platform.os, parts[0]);
        if (r >= 0 && count >= 2)
                r = replace(&platform.architecture, parts[1]);
        if (r >= 0 && count == 3)
                r = replace(&platform.variant, parts[2]);
        if (r >= 0)
                r = normalize(&platform);
        if (r < 0)
                return r;
        *ret = TAKE(platform, (OciPlatform){ 0 });
        return 0;
}

static int take_part(const char *part, char **ret) {
        if (string_is_empty(part))
                return 0;
        return oci_platform_part_is_valid(part) ? replace(ret, part) : -EINVAL;
}

int oci_platform_from_parts(const OciPlatform *parts, OciPlatform *ret) {
        _cleanup_(oci_platform_done) OciPlatform platform = { 0 };
        int r = take_part(parts->os, &platform.os);
        if (r >= 0)
                r = take_part(parts->architecture, &platform.architecture);
        if (r >= 0)
                r = take_part(parts->variant, &platform.variant);
        if (r >= 0)
                r = take_part(parts->os_version, &platform.os_version);
        if (r >= 0 && (!platform.os || !platform.architecture))
                r = -EINVAL;
        if (r >= 0)
                r = normalize(&platform);
        if (r < 0)
                return r;
        *ret = TAKE(platform, (OciPlatform){ 0 });
        return 0;
}

int oci_platform_of_machine(OciPlatform *ret) {
        return oci_platform_parse("linux", ret, NULL);
}

int oci_platform_copy(const OciPlatform *platform, OciPlatform *ret) {
        _cleanup_(oci_platform_done) OciPlatform copy = { 0 };
        int r = replace(&copy.os, platform->os);
        if (r >= 0)
                r = replace(&copy.architecture, platform->architecture);
        if (r >= 0)
                r = replace(&copy.variant, platform->variant);
        if (r >= 0)
                r = replace(&copy.os_version, platform->os_version);
        if (r < 0)
                return r;
        *ret = TAKE(copy, (OciPlatform){ 0 });
        return 0;
}

void oci_platform_done(OciPlatform *platform) {
        if (!platform)
                return;
        free(platform->os);
        free(platform->architecture);
        free(platform->variant);
        free(platform->os_version);
        *platform = (OciPlatform){ 0 };
}

char *oci_platform_to_string(const OciPlatform *platform) {
        char *string = NULL;
        if (asprintf(&string, "%s/%s%s%s", platform->os, platform->architecture,
                     platform->variant ? "/" : "", platform->variant ? platform->variant : "") < 0)
                return NULL;
        return string;
}

bool oci_platform_is_unknown(const OciPlatform *platform) {
        return string_equal(platform->os, "unknown") || string_equal(platform->architecture, "unknown");
}

/* "v8" is 800, "v8.2" is 802; -EINVAL for what has no order. */
static int variant_number(const char *architecture, const char *variant) {
        bool is_implied;
        unsigned major, minor = 0;
        int length = 0;
        if (!variant)
                variant = default_variant(architecture, &is_implied);
        if (!variant || sscanf(variant, "v%2u%n.%2u%n", &major, &length, &minor, &length) < 1 ||
            variant[length] != '\0')
                return -EINVAL;
        return (int) (major * 100 + minor);
}

static int variant_rank(const char *architecture, const char *wanted, const char *offered) {
        bool is_implied;
        if (string_equal(wanted, offered))
                return 0;
        if (!default_variant(architecture, &is_implied))
                return offered ? -EINVAL : 1;
        int w = variant_number(architecture, wanted), o = variant_number(architecture, offered);
        return w < 0 || o < 0 || o > w ? -EINVAL : w - o;
}

int oci_platform_rank(const OciPlatform *wanted, const OciPlatform *offered) {
        static const int foreign = 100000; /* behind all variants of the architecture itself */
        if (!string_equal(wanted->os, offered->os))
                return -EINVAL;
        if (string_equal(wanted->architecture, offered->architecture))
                return variant_rank(wanted->architecture, wanted->variant, offered->variant);
        if (string_equal(wanted->architecture, "amd64") && string_equal(offered->architecture, "386"))
                return foreign;
        if (string_equal(wanted->architecture, "arm64") && string_equal(offered->architecture, "arm")) {
                int rank = variant_rank("arm", "v8", offered->variant);
                return rank < 0 ? rank : foreign + rank;
        }
        return -EINVAL;
}
