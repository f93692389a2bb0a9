/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux of the runtime configuration: namespaces, devices, and what of /proc and /sys is out of sight. */

#include "lib/json.h"
#include "services/tasks/spec-internal.h"

static const char *const namespaces[] = { "pid", "ipc", "uts", "mount", "network", "cgroup" };

static const char *const masked_paths[] = {
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
        NULL,
};

static const char *const readonly_paths[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

/* Making nodes is allowed, opening them only for these: null, zero, full, random, urandom, tty, the
 * terminals. */
static const struct {
        char type;
        int major, minor;
        const char *access;
} device_rules[] = {
        { 'c', -1, -1, "m" }, { 'b', -1, -1, "m" },    { 'c', 1, 3, "rwm" }, { 'c', 1, 5, "rwm" },
        { 'c', 1, 7, "rwm" }, { 'c', 1, 8, "rwm" },    { 'c', 1, 9, "rwm" }, { 'c', 5, 0, "rwm" },
        { 'c', 5, 2, "rwm" }, { 'c', 136, -1, "rwm" },
};

static json_object *new_namespaces(void) {
        _cleanup_json_ json_object *array = json_object_new_array();
        for (size_t i = 0; i < ELEMENTS_OF(namespaces); i++) {
                _cleanup_json_ json_object *item = json_object_new_object();
                if (spec_add(item, "type", json_object_new_string(namespaces[i])) < 0 ||
                    spec_append(array, TAKE_PTR(item)) < 0)
                        return NULL;
        }
        return TAKE_PTR(array);
}

static json_object *new_device_rule(size_t index) {
        const char type[] = { device_rules[index].type, '\0' };
        _cleanup_json_ json_object *rule = json_object_new_object();
        if (spec_add(rule, "allow", json_object_new_boolean(true)) < 0 ||
            spec_add(rule, "type", json_object_new_string(type)) < 0 ||
            (device_rules[index].major >= 0 &&
             spec_add(rule, "major", json_object_new_int(device_rules[index].major)) < 0) ||
            (device_rules[index].minor >= 0 &&
             spec_add(rule, "minor", json_object_new_int(device_rules[index].minor)) < 0) ||
            spec_add(rule, "access", json_object_new_string(device_rules[index].access)) < 0)
                return NULL;
        return TAKE_PTR(rule);
}

static json_object *new_resources(void) {
        _cleanup_json_ json_object *resources = json_object_new_object(), *rules = json_object_new_array(),
                                   *deny = json_object_new_object();
        if (spec_add(deny, "allow", json_object_new_boolean(false)) < 0 ||
            spec_add(deny, "access", json_object_new_string("rwm")) < 0 ||
            spec_append(rules, TAKE_PTR(deny)) < 0)
                return NULL;
        for (size_t i = 0; i < ELEMENTS_OF(device_rules); i++)
                if (spec_append(rules, new_device_rule(i)) < 0)
                        return NULL;
        if (spec_add(resources, "devices", TAKE_PTR(rules)) < 0)
                return NULL;
        return TAKE_PTR(resources);
}

json_object *spec_linux_new(void) {
        _cleanup_json_ json_object *object = json_object_new_object();
        if (spec_add(object, "namespaces", new_namespaces()) < 0 ||
            spec_add(object, "resources", new_resources()) < 0 ||
            spec_add(object, "maskedPaths", spec_name_array(masked_paths)) < 0 ||
            spec_add(object, "readonlyPaths", spec_name_array(readonly_paths)) < 0 ||
            spec_add(object, "seccomp", spec_seccomp_new()) < 0)
                return NULL;
        return TAKE_PTR(object);
}
