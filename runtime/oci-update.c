/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* update: other limits for a container that runs. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/runtime-config.h"
#include "lib/strv.h"
#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"
#include "runtime/intel-rdt.h"
#include "runtime/oci-command.h"
#include "runtime/oci-output.h"
#include "runtime/systemd-scope.h"

#define RESOURCES_SIZE_MAX (4U * 1024U * 1024U)

/* Where an option stands in linux.resources. */
static const struct {
        size_t offset; /* in OciUpdateOptions */
        const char *option, *object, *member;
        bool text;
} places[] = {
#define PLACE(field, option, object, member, text)                                                          \
        { offsetof(OciUpdateOptions, field), option, object, member, text }
        PLACE(blkio_weight, "--blkio-weight", "blockIO", "weight", false),
        PLACE(cpu_period, "--cpu-period", "cpu", "period", false),
        PLACE(cpu_quota, "--cpu-quota", "cpu", "quota", false),
        PLACE(cpu_burst, "--cpu-burst", "cpu", "burst", false),
        PLACE(cpu_shares, "--cpu-share", "cpu", "shares", false),
        PLACE(cpu_idle, "--cpu-idle", "cpu", "idle", false),
        PLACE(cpu_rt_period, "--cpu-rt-period", "cpu", "realtimePeriod", false),
        PLACE(cpu_rt_runtime, "--cpu-rt-runtime", "cpu", "realtimeRuntime", false),
        PLACE(cpuset_cpus, "--cpuset-cpus", "cpu", "cpus", true),
        PLACE(cpuset_mems, "--cpuset-mems", "cpu", "mems", true),
        PLACE(memory, "--memory", "memory", "limit", false),
        PLACE(memory_reservation, "--memory-reservation", "memory", "reservation", false),
        PLACE(memory_swap, "--memory-swap", "memory", "swap", false),
        PLACE(pids_limit, "--pids-limit", "pids", "limit", false),
};

static const char *given(const OciUpdateOptions *update, size_t place) {
        const void *value = (const char *) update + places[place].offset;
        return *(const char *const *) value;
}

static int add_option(json_object *resources, size_t place, const char *value, Fault *fault) {
        json_object *object = NULL;
        int64_t number = 0;
        if (!places[place].text && string_to_int64(value, &number) < 0)
                return fault_set(fault, -EINVAL, "%s: '%s' is not a number", places[place].option, value);
        if (!json_object_object_get_ex(resources, places[place].object, &object)) {
                object = json_object_new_object();
                if (oci_output_add(resources, places[place].object, object) < 0)
                        return -ENOMEM;
        }
        return oci_output_add(object, places[place].member,
                              places[place].text ? json_object_new_string(value)
                                                 : json_object_new_int64(number));
}

static int build_resources(const OciUpdateOptions *update, json_object **ret, Fault *fault) {
        _cleanup_json_ json_object *resources = json_object_new_object();
        bool any = false;
        if (!resources)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTS_OF(places); i++) {
                const char *value = given(update, i);
                int r = value ? add_option(resources, i, value, fault) : 0;
                if (r < 0)
                        return r;
                any |= value != NULL;
        }
        any |= update->kernel_memory || update->kernel_memory_tcp || update->l3_cache_schema ||
               update->mem_bw_schema;
        if (!any)
                return fault_set(fault, -EINVAL, "update: nothing to change is given");
        *ret = TAKE_PTR(resources);
        return 0;
}

static int read_resources(const char *path, json_object **ret, Fault *fault) {
        _cleanup_close_ int fd =
                string_equal(path, "-") ? fd_duplicate(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "--resources: %s", path);
        return json_parse_fd(fd, RESOURCES_SIZE_MAX, "resources", ret, fault);
}

/* "Unlimited" has to be written, other than for a new cgroup, which is so anyway. */
static int lift_limits(int cgroup, RuntimeResources *resources, Fault *fault) {
        struct {
                int64_t *value;
                const char *file, *text;
        } limits[] = {
                { &resources->memory_limit, "memory.max", "max" },
                { &resources->memory_swap, "memory.swap.max", "max" },
                { &resources->memory_reservation, "memory.low", "0" },
                { &resources->pids_limit, "pids.max", "max" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(limits); i++) {
                if (*limits[i].value == RUNTIME_UNSET || *limits[i].value >= 0)
                        continue;
                int r = fd_write_file_at(cgroup, limits[i].file, limits[i].text);
                if (r < 0 && r != -ENOENT) /* without the controller there is no limit */
                        return fault_set_errno(fault, r, "writing '%s' to %s", limits[i].text,
                                               limits[i].file);
                *limits[i].value = RUNTIME_UNSET;
        }
        if (resources->cpu_idle == 0)
                (void) fd_write_file_at(cgroup, "cpu.idle", "0");
        return 0;
}

/* The devices stay what they are: a filter is part of what the container was made with. */
static void leave_devices(RuntimeResources *resources) {
        free(resources->device_rules);
        resources->device_rules = NULL;
        resources->device_rule_count = 0;
}

/* A swap limit is memory and swap together; without the first it counts from what that is. */
static void complete_swap(int cgroup, RuntimeResources *resources) {
        _cleanup_free_ char *text = NULL;
        uint64_t limit;
        if (resources->memory_swap > 0 && resources->memory_limit == RUNTIME_UNSET &&
            fd_read_line_at(cgroup, "memory.max", &text) >= 0 &&
            string_to_uint64(text, INT64_MAX, &limit) >= 0)
                resources->memory_limit = (int64_t) limit;
}

/* Period and quota stand in one file: of the two, the one that is not given stays. */
static void complete_quota(int cgroup, RuntimeResources *resources) {
        _cleanup_free_ char *text = NULL;
        int64_t quota = -1, period = 0;
        bool has_quota = resources->cpu_quota != RUNTIME_UNSET && resources->cpu_quota != 0;
        bool has_period = resources->cpu_period > 0;
        if (has_quota == has_period || fd_read_line_at(cgroup, "cpu.max", &text) < 0)
                return;
        if (sscanf(text, "max %" SCNi64, &period) != 1 &&
            sscanf(text, "%" SCNi64 " %" SCNi64, &quota, &period) != 2)
                return;
        if (has_quota)
                resources->cpu_period = period;
        else
                resources->cpu_quota = quota;
}

static int open_cgroup(const StateFile *state, const RuntimeResources *resources, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int cgroup = oci_open_cgroup(state, fault);
        if (cgroup < 0)
                return cgroup;
        _cleanup_close_ int root = cgroup_open_root(fault);
        int r = root < 0 ? root : state_file_read_cgroup(state, &path);
        if (r >= 0)
                r = cgroup_enable_controllers(root, path, resources, fault);
        if (r < 0)
                fd_close(cgroup);
        return r < 0 ? r : cgroup;
}

/* A copy is enough: what is lifted is taken out of it. */
static int write_limits(int cgroup, RuntimeResources resources, Fault *fault) {
        int r = lift_limits(cgroup, &resources, fault);
        return r < 0 ? r : cgroup_resources_update(cgroup, &resources, fault);
}

/* systemd would otherwise write what it knows of the scope at its next reload. It writes what it is told
 * now, too, some of it rounded: so the exact numbers are written once more. */
static int tell_systemd(const StateFile *state, int cgroup, const RuntimeResources *resources,
                        Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = state_file_read_cgroup(state, &path);
        if (r >= 0)
                r = systemd_scope_update(path, resources, fault);
        return r < 0 ? r : write_limits(cgroup, *resources, fault);
}

static int update_resctrl(const StateFile *state, const OciUpdateOptions *update, Fault *fault) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        if (!update->l3_cache_schema && !update->mem_bw_schema)
                return 0;
        int r = state_file_read_config(state, true, &config, fault);
        return r < 0 ? r
                     : intel_rdt_update(config, state->id, update->l3_cache_schema, update->mem_bw_schema,
                                        fault);
}

int oci_update(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_(runtime_resources_done) RuntimeResources resources;
        _cleanup_json_ json_object *document = NULL;
        _cleanup_close_ int root = -EBADF, cgroup = -EBADF;
        runtime_resources_init(&resources);
        int r = options->update.resources ? read_resources(options->update.resources, &document, fault)
                                          : build_resources(&options->update, &document, fault);
        if (r < 0)
                return r;
        if ((r = runtime_resources_parse(document, &resources, fault)) < 0 ||
            (r = oci_open_container(options, &root, &state, fault)) < 0)
                return r;
        leave_devices(&resources);
        if (state_file_status(&state) == CONTAINER_STOPPED)
                return fault_set(fault, -EBUSY, "container '%s' is not running", options->id);
        cgroup = open_cgroup(&state, &resources, fault);
        if (cgroup < 0)
                return cgroup;
        complete_swap(cgroup, &resources);
        complete_quota(cgroup, &resources);
        r = write_limits(cgroup, resources, fault);
        if (r >= 0 && state_file_is_in_scope(&state))
                r = tell_systemd(&state, cgroup, &resources, fault);
        return r < 0 ? r : update_resctrl(&state, &options->update, fault);
}
