/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/cgroup-resources.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "runtime/device-filter.h"

static const char *const controllers[CGROUP_RESOURCES_CONTROLLERS] = {
        "cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma", "misc",
};

static unsigned controller_bit(const char *file) {
        size_t length = strcspn(file, ".");
        for (unsigned i = 0; i < CGROUP_RESOURCES_CONTROLLERS; i++)
                if (strlen(controllers[i]) == length && strncmp(file, controllers[i], length) == 0)
                        return 1U << i;
        return 0;
}

const char *cgroup_resources_controller_name(unsigned bit) {
        return bit < CGROUP_RESOURCES_CONTROLLERS ? controllers[bit] : NULL;
}

/* As callers of other runtimes have it, 0 is "not given"; and -1, "unlimited", is what a new cgroup is
 * anyway, with or without the controller. */
static bool is_limit(int64_t number) {
        return number > 0;
}

unsigned cgroup_resources_controllers(const RuntimeResources *resources) {
        unsigned wanted = 0;
        if (is_limit(resources->cpu_shares) || is_limit(resources->cpu_quota) ||
            is_limit(resources->cpu_burst) || is_limit(resources->cpu_idle))
                wanted |= controller_bit("cpu.");
        if (resources->cpuset_cpus || resources->cpuset_mems)
                wanted |= controller_bit("cpuset.");
        if (is_limit(resources->memory_limit) || is_limit(resources->memory_reservation) ||
            is_limit(resources->memory_swap))
                wanted |= controller_bit("memory.");
        if (is_limit(resources->pids_limit))
                wanted |= controller_bit("pids.");
        if (is_limit(resources->blkio_weight) || resources->throttle_count > 0 ||
            resources->device_weight_count > 0)
                wanted |= controller_bit("io.");
        if (resources->hugepage_limit_count > 0)
                wanted |= controller_bit("hugetlb.");
        if (resources->rdma_limit_count > 0)
                wanted |= controller_bit("rdma.");
        for (size_t i = 0; i < resources->unified_count; i++)
                wanted |= controller_bit(resources->unified[i].key);
        return wanted;
}

int cgroup_resources_check(const RuntimeResources *resources, Fault *fault) {
        if (resources->v1_only)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.resources.%s: cgroup v2 has nothing like it",
                                 resources->v1_only);
        return 0;
}

static int write_text(int cgroup, const char *file, const char *field, const char *text, Fault *fault) {
        int r = fd_write_file_at(cgroup, file, text);
        if (r == -ENOENT)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.resources.%s: this kernel or this cgroup has no %s", field,
                                 file);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.resources.%s: writing '%s' to %s", field,
                                       text, file)
                     : 0;
}

static int write_number(int cgroup, const char *file, const char *field, int64_t number, Fault *fault) {
        char text[32];
        (void) snprintf(text, sizeof(text), "%" PRIi64, number);
        return write_text(cgroup, file, field, text, fault);
}

/* Taking a limit back: where there is no controller there is none. */
static int write_unlimited(int cgroup, const char *file, const char *field, const char *text, Fault *fault) {
        int r = fd_write_file_at(cgroup, file, text);
        return r < 0 && r != -ENOENT
                       ? fault_set_errno(fault, r, "config.linux.resources.%s: writing '%s' to %s", field,
                                         text, file)
                       : 0;
}

static int write_limit(int cgroup, const char *file, const char *field, int64_t limit, Fault *fault) {
        if (limit == -1)
                return write_unlimited(cgroup, file, field, "max", fault);
        return is_limit(limit) ? write_number(cgroup, file, field, limit, fault) : 0;
}

/* Shares from 2 to 262144 with 1024 in the middle become weights from 1 to 10000 with 100 in the middle: the
 * curve that runc and crun agree on since 2025. */
unsigned cgroup_resources_weight_of_shares(uint64_t shares) {
        if (shares <= 2)
                return 1;
        if (shares >= 262144)
                return 10000;
        double l = log2((double) shares);
        double exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
        return (unsigned) ceil(pow(10.0, exponent));
}

static int apply_memory(int cgroup, const RuntimeResources *resources, Fault *fault) {
        int r;
        if (resources->memory_check_before_update && resources->memory_limit > 0) {
                _cleanup_free_ char *current = NULL;
                uint64_t used;
                if (fd_read_line_at(cgroup, "memory.current", &current) >= 0 &&
                    string_to_uint64(current, UINT64_MAX, &used) >= 0 &&
                    used > (uint64_t) resources->memory_limit)
                        return fault_set(fault, -EINVAL,
                                         "config.linux.resources.memory.limit: is below what is in use");
        }
        if ((r = write_limit(cgroup, "memory.max", "memory.limit", resources->memory_limit, fault)) < 0 ||
            (r = write_limit(cgroup, "memory.low", "memory.reservation", resources->memory_reservation,
                             fault)) < 0)
                return r;
        /* The specification's swap is memory and swap together. */
        if (!is_limit(resources->memory_swap))
                return write_limit(cgroup, "memory.swap.max", "memory.swap", resources->memory_swap, fault);
        return write_number(cgroup, "memory.swap.max", "memory.swap",
                            resources->memory_swap - MAX_OF(resources->memory_limit, 0), fault);
}

static int apply_cpu(int cgroup, const RuntimeResources *resources, Fault *fault) {
        char text[64];
        /* An idle cgroup takes no weight: out of idleness before it, into it after. */
        int r = resources->cpu_idle == 0 ? write_unlimited(cgroup, "cpu.idle", "cpu.idle", "0", fault) : 0;
        if (r >= 0 && is_limit(resources->cpu_shares)) {
                (void) snprintf(text, sizeof(text), "%u",
                                cgroup_resources_weight_of_shares((uint64_t) resources->cpu_shares));
                r = write_text(cgroup, "cpu.weight", "cpu.shares", text, fault);
        }
        int64_t period = resources->cpu_period > 0 ? resources->cpu_period : 100000;
        if (r >= 0 && is_limit(resources->cpu_quota)) {
                (void) snprintf(text, sizeof(text), "%" PRIi64 " %" PRIi64, resources->cpu_quota, period);
                r = write_text(cgroup, "cpu.max", "cpu.quota", text, fault);
        } else if (r >= 0 && (resources->cpu_quota == -1 || resources->cpu_period > 0)) {
                (void) snprintf(text, sizeof(text), "max %" PRIi64, period);
                r = write_unlimited(cgroup, "cpu.max", "cpu.quota", text, fault);
        }
        if (r >= 0)
                r = write_limit(cgroup, "cpu.max.burst", "cpu.burst", resources->cpu_burst, fault);
        if (r >= 0)
                r = write_limit(cgroup, "cpu.idle", "cpu.idle", resources->cpu_idle, fault);
        if (r >= 0 && resources->cpuset_cpus)
                r = write_text(cgroup, "cpuset.cpus", "cpu.cpus", resources->cpuset_cpus, fault);
        if (r >= 0 && resources->cpuset_mems)
                r = write_text(cgroup, "cpuset.mems", "cpu.mems", resources->cpuset_mems, fault);
        return r;
}

/* BFQ takes the specification's weights as they are, the cost model's are from 1 to 10000. */
static int write_weight(int cgroup, const char *before, int64_t weight, const char *field, Fault *fault) {
        char text[96];
        (void) snprintf(text, sizeof(text), "%s%" PRIi64, before, weight);
        if (fd_write_file_at(cgroup, "io.bfq.weight", text) >= 0)
                return 0;
        (void) snprintf(text, sizeof(text), "%s%" PRIi64, before, 1 + (weight - 10) * 9999 / 990);
        return write_text(cgroup, "io.weight", field, text, fault);
}

static int apply_io(int cgroup, const RuntimeResources *resources, Fault *fault) {
        char text[96];
        int r = is_limit(resources->blkio_weight)
                        ? write_weight(cgroup, "", resources->blkio_weight, "blockIO.weight", fault)
                        : 0;
        for (size_t i = 0; i < resources->device_weight_count && r >= 0; i++) {
                const RuntimeDeviceWeight *w = &resources->device_weights[i];
                (void) snprintf(text, sizeof(text), "%u:%u ", w->major, w->minor);
                r = write_weight(cgroup, text, w->weight, "blockIO.weightDevice", fault);
        }
        for (size_t i = 0; i < resources->throttle_count && r >= 0; i++) {
                const RuntimeThrottle *t = &resources->throttles[i];
                if (t->rate == 0)
                        (void) snprintf(text, sizeof(text), "%u:%u %s=max", t->major, t->minor, t->key);
                else
                        (void) snprintf(text, sizeof(text), "%u:%u %s=%" PRIu64, t->major, t->minor, t->key,
                                        t->rate);
                r = write_text(cgroup, "io.max", "blockIO", text, fault);
        }
        return r;
}

/* Reservations are refused when they are made, faults with SIGBUS: both are limited where the kernel can. */
static int apply_hugepages(int cgroup, const RuntimeResources *resources, Fault *fault) {
        char file[64], text[32];
        int r = 0;
        for (size_t i = 0; i < resources->hugepage_limit_count && r >= 0; i++) {
                const RuntimeHugepageLimit *limit = &resources->hugepage_limits[i];
                (void) snprintf(file, sizeof(file), "hugetlb.%.32s.max", limit->page_size);
                (void) snprintf(text, sizeof(text), "%" PRIu64, limit->limit);
                r = write_text(cgroup, file, "hugepageLimits", text, fault);
                (void) snprintf(file, sizeof(file), "hugetlb.%.32s.rsvd.max", limit->page_size);
                if (r >= 0)
                        r = write_unlimited(cgroup, file, "hugepageLimits", text, fault);
        }
        return r;
}

static int apply_rdma(int cgroup, const RuntimeResources *resources, Fault *fault) {
        char text[256];
        int r = 0;
        for (size_t i = 0; i < resources->rdma_limit_count && r >= 0; i++) {
                const RuntimeRdmaLimit *limit = &resources->rdma_limits[i];
                int n = snprintf(text, sizeof(text), "%.64s", limit->device);
                if (limit->handles != RUNTIME_UNSET)
                        n += snprintf(text + n, sizeof(text) - (size_t) n, " hca_handle=%" PRIi64,
                                      limit->handles);
                if (limit->objects != RUNTIME_UNSET)
                        (void) snprintf(text + n, sizeof(text) - (size_t) n, " hca_object=%" PRIi64,
                                        limit->objects);
                r = write_text(cgroup, "rdma.max", "rdma", text, fault);
        }
        return r;
}

/* Files with a line for each device take one line at a time. */
static int write_unified(int cgroup, const RuntimePair *pair, Fault *fault) {
        _cleanup_free_ char *copy = strdup(pair->value);
        char *state = NULL;
        if (!copy)
                return -ENOMEM;
        if (!strchr(copy, '\n'))
                return write_text(cgroup, pair->key, "unified", pair->value, fault);
        int r = 0;
        for (char *line = strtok_r(copy, "\n", &state); line && r >= 0; line = strtok_r(NULL, "\n", &state))
                r = write_text(cgroup, pair->key, "unified", line, fault);
        return r;
}

static int apply_rest(int cgroup, const RuntimeResources *resources, Fault *fault) {
        int r = write_limit(cgroup, "pids.max", "pids.limit", resources->pids_limit, fault);
        if (r >= 0)
                r = apply_hugepages(cgroup, resources, fault);
        if (r >= 0)
                r = apply_rdma(cgroup, resources, fault);
        for (size_t i = 0; i < resources->unified_count && r >= 0; i++)
                r = write_unified(cgroup, &resources->unified[i], fault);
        return r;
}

int cgroup_resources_update(int cgroup, const RuntimeResources *resources, Fault *fault) {
        int r;
        if ((r = cgroup_resources_check(resources, fault)) < 0 ||
            (r = apply_memory(cgroup, resources, fault)) < 0 ||
            (r = apply_cpu(cgroup, resources, fault)) < 0 || (r = apply_io(cgroup, resources, fault)) < 0)
                return r;
        return apply_rest(cgroup, resources, fault);
}

int cgroup_resources_apply(int cgroup, const RuntimeResources *resources, Fault *fault) {
        int r = cgroup_resources_update(cgroup, resources, fault);
        return r < 0 ? r
                     : device_filter_attach(cgroup, resources->device_rules, resources->device_rule_count,
                                            fault);
}
