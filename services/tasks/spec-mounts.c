/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mounts of the runtime configuration: those that every container has, and those that were asked for. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/tasks/spec-internal.h"

#define OPTIONS_MAX 8

typedef struct DefaultMount {
        const char *destination, *type;
        const char *options[OPTIONS_MAX];
} DefaultMount;

static const DefaultMount default_mounts[] = {
        { "/proc", "proc", { "nosuid", "noexec", "nodev" } },
        { "/dev", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
        { "/dev/pts",
          "devpts",
          { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
        { "/sys", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
        { "/sys/fs/cgroup", "cgroup", { "ro", "nosuid", "noexec", "nodev" } },
        { "/dev/mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
        { "/dev/shm", "tmpfs", { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
};

/* What a bind mount may be told. The propagation that reaches back into the host is not among them. */
static const char *const bind_options[] = {
        "bind",   "rbind", "ro",      "rw",       "nosuid",  "suid",     "nodev", "dev",
        "noexec", "exec",  "noatime", "relatime", "private", "rprivate", "slave", "rslave",
};

static json_object *new_mount(const char *destination, const char *type, const char *source,
                              const char *const *options) {
        _cleanup_json_ json_object *mount = json_object_new_object();
        if (spec_add(mount, "destination", json_object_new_string(destination)) < 0 ||
            spec_add(mount, "type", json_object_new_string(type)) < 0 ||
            spec_add(mount, "source", json_object_new_string(source)) < 0 ||
            spec_add(mount, "options", spec_name_array(options)) < 0)
                return NULL;
        return TAKE_PTR(mount);
}

static int check_mount(const SpecMount *mount, size_t index, Fault *fault) {
        const char *option = mount->source ? "mounts" : "binds";
        if (mount->source && !path_is_normal_absolute(mount->source))
                return fault_set(fault, -EINVAL, "%s[%zu]: the source '%s' is not a clean absolute path",
                                 option, index, mount->source);
        if (!path_is_normal_absolute(mount->destination) || strcmp(mount->destination, "/") == 0)
                return fault_set(fault, -EINVAL,
                                 "%s[%zu]: the destination '%s' is not a clean absolute path below /",
                                 option, index, mount->destination);
        for (char *const *p = mount->options; p && *p; p++)
                if (string_table_find(bind_options, ELEMENTS_OF(bind_options), *p) < 0)
                        return fault_set(fault, -EINVAL, "%s[%zu]: unknown option '%s'", option, index, *p);
        return 0;
}

static json_object *new_bind(const SpecMount *mount) {
        _cleanup_strv_ char **options = NULL;
        char source[sizeof(SPEC_DESCRIPTOR_SOURCE) + 16];
        if (strv_copy((const char *const *) mount->options, &options) < 0)
                return NULL;
        const char *const *given = (const char *const *) options;
        if (!strv_contains(given, "bind") && !strv_contains(given, "rbind") &&
            strv_append(&options, "rbind") < 0)
                return NULL;
        (void) snprintf(source, sizeof(source), SPEC_DESCRIPTOR_SOURCE "%u", mount->descriptor);
        return new_mount(mount->destination, "bind", mount->source ? mount->source : source,
                         (const char *const *) options);
}

/* A mount of the caller's takes the place of the default one. */
static bool is_replaced(const SpecRequest *request, const char *destination) {
        for (size_t i = 0; i < request->mount_count; i++)
                if (string_equal(request->mounts[i].destination, destination))
                        return true;
        return false;
}

int spec_mounts_new(const SpecRequest *request, json_object **ret, Fault *fault) {
        _cleanup_json_ json_object *mounts = json_object_new_array();
        if (request->mount_count > SPEC_MOUNTS_MAX)
                return fault_set(fault, -EDQUOT, "mounts: %zu are more than %i", request->mount_count,
                                 SPEC_MOUNTS_MAX);
        for (size_t i = 0; i < ELEMENTS_OF(default_mounts); i++) {
                const DefaultMount *mount = &default_mounts[i];
                if (!is_replaced(request, mount->destination) &&
                    spec_append(mounts,
                                new_mount(mount->destination, mount->type, mount->type, mount->options)) < 0)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < request->mount_count; i++) {
                int r = check_mount(&request->mounts[i], i, fault);
                if (r < 0)
                        return r;
                if (spec_append(mounts, new_bind(&request->mounts[i])) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(mounts);
        return 0;
}
