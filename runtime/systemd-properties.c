/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux.resources and annotations as properties of a scope. What has none is written into the
 * cgroup's files afterwards; what has one must be known to systemd, or it would be taken back at its next
 * reload. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/strv.h"
#include "runtime/cgroup-resources.h"
#include "runtime/systemd-scope.h"

#define ANNOTATION "org.systemd.property."
#define PERIOD_DEFAULT 100000
#define PROCESSORS_MAX 8192

static int add_number(char ***list, const char *name, uint64_t number) {
        return strv_appendf(list, "%s=t %" PRIu64, name, number);
}

static int add_limit(char ***list, const char *name, int64_t limit) {
        if (limit == -1)
                return add_number(list, name, UINT64_MAX);
        return limit > 0 ? add_number(list, name, (uint64_t) limit) : 0;
}

/* Bits, the lowest first, in bytes: "ay 3 1 0 128". */
static int add_list(char ***list, const char *name, const char *numbers) {
        unsigned long bits[PROCESSORS_MAX / (8 * sizeof(long))];
        if (!numbers)
                return 0;
        int r = runtime_list_to_bits(numbers, bits, PROCESSORS_MAX);
        if (r < 0)
                return r;
        size_t last = 0;
        const unsigned char *bytes = (const unsigned char *) bits;
        for (size_t i = 0; i < sizeof(bits); i++)
                if (bytes[i] != 0)
                        last = i;
        _cleanup_free_ char *text = NULL;
        if (asprintf(&text, "%s=ay %zu", name, last + 1) < 0)
                return -ENOMEM;
        for (size_t i = 0; i <= last; i++) {
                char *longer = NULL;
                if (asprintf(&longer, "%s %u", text, bytes[i]) < 0)
                        return -ENOMEM;
                free(text);
                text = longer;
        }
        return strv_append(list, text);
}

/* systemd keeps quotas by the second, in steps of 10 ms: upwards, so that it never gives less. */
static int add_quota(char ***list, int64_t quota, int64_t period) {
        const uint64_t step = 10000;
        int r = 0;
        if (period <= 0)
                period = PERIOD_DEFAULT;
        if (quota == -1)
                return add_number(list, "CPUQuotaPerSecUSec", UINT64_MAX);
        if (quota <= 0)
                return 0;
        uint64_t by_second = (uint64_t) quota * 1000000 / (uint64_t) period;
        by_second = (by_second + step - 1) / step * step;
        if (period != PERIOD_DEFAULT)
                r = add_number(list, "CPUQuotaPeriodUSec", (uint64_t) period);
        return r < 0 ? r : add_number(list, "CPUQuotaPerSecUSec", by_second);
}

static int add_resources(char ***list, const RuntimeResources *resources) {
        int64_t swap = resources->memory_swap;
        if (swap > 0 && resources->memory_limit > 0)
                swap -= resources->memory_limit;
        int r;
        if ((r = add_limit(list, "MemoryMax", resources->memory_limit)) < 0 ||
            (r = add_limit(list, "MemoryLow", resources->memory_reservation)) < 0 ||
            (r = swap == 0 && resources->memory_swap > 0 ? add_number(list, "MemorySwapMax", 0)
                                                         : add_limit(list, "MemorySwapMax", swap)) < 0 ||
            (r = add_limit(list, "TasksMax", resources->pids_limit)) < 0 ||
            (r = add_quota(list, resources->cpu_quota, resources->cpu_period)) < 0 ||
            (r = add_list(list, "AllowedCPUs", resources->cpuset_cpus)) < 0 ||
            (r = add_list(list, "AllowedMemoryNodes", resources->cpuset_mems)) < 0)
                return r;
        if (resources->cpu_idle == 1)
                return add_number(list, "CPUWeight", 0);
        if (resources->cpu_shares > 0)
                return add_number(list, "CPUWeight",
                                  cgroup_resources_weight_of_shares((uint64_t) resources->cpu_shares));
        return 0;
}

static int add_unified(char ***list, const RuntimePair *pair) {
        static const struct {
                const char *file, *name;
        } known[] = {
                { "memory.max", "MemoryMax" }, { "memory.high", "MemoryHigh" },
                { "memory.low", "MemoryLow" }, { "memory.min", "MemoryMin" },
                { "pids.max", "TasksMax" },    { "memory.swap.max", "MemorySwapMax" },
                { "cpu.weight", "CPUWeight" },
        };
        if (string_equal(pair->key, "cpuset.cpus"))
                return add_list(list, "AllowedCPUs", pair->value);
        if (string_equal(pair->key, "cpuset.mems"))
                return add_list(list, "AllowedMemoryNodes", pair->value);
        if (string_equal(pair->key, "cpu.max")) {
                int64_t quota = -1, period = PERIOD_DEFAULT;
                if (sscanf(pair->value, "max %" SCNi64, &period) < 1 &&
                    sscanf(pair->value, "%" SCNi64 " %" SCNi64, &quota, &period) < 1 &&
                    !string_equal(pair->value, "max"))
                        return -EINVAL;
                return add_quota(list, quota, period);
        }
        for (size_t i = 0; i < ELEMENTS_OF(known); i++) {
                uint64_t number;
                if (!string_equal(known[i].file, pair->key))
                        continue;
                if (string_equal(pair->value, "max"))
                        return add_number(list, known[i].name, UINT64_MAX);
                int r = string_to_uint64(pair->value, UINT64_MAX, &number);
                return r < 0 ? r : add_number(list, known[i].name, number);
        }
        return 0;
}

static int add_annotation(char ***list, const RuntimePair *pair, Fault *fault) {
        const char *name = string_after(pair->key, ANNOTATION);
        if (!name)
                return 0;
        if (geteuid() != 0)
                return fault_set(fault, -EPERM, "config.annotations: %s is for root", pair->key);
        if (!name[0] || name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0')
                return fault_set(fault, -EINVAL, "config.annotations: %s names no property", pair->key);
        return strv_appendf(list, "%s=? %s", name, pair->value);
}

static int add_all_resources(char ***list, const RuntimeResources *resources, Fault *fault) {
        int r = add_resources(list, resources);
        for (size_t i = 0; i < resources->unified_count && r >= 0; i++) {
                const RuntimePair *pair = &resources->unified[i];
                r = add_unified(list, pair);
                if (r == -EINVAL || r == -ERANGE)
                        return fault_set(fault, r, "config.linux.resources.unified: %s: '%s'", pair->key,
                                         pair->value);
        }
        return r;
}

/* A reservation that is lifted is none; a cgroup that is idle no more has the usual weight. */
int systemd_scope_changes(const RuntimeResources *resources, char ***ret, Fault *fault) {
        _cleanup_strv_ char **list = NULL;
        RuntimeResources changed = *resources; /* weak */
        int r = 0;
        if (changed.memory_reservation == -1) {
                changed.memory_reservation = RUNTIME_UNSET;
                r = add_number(&list, "MemoryLow", 0);
        }
        if (r >= 0 && changed.cpu_idle == 0 && changed.cpu_shares <= 0)
                r = add_number(&list, "CPUWeight", UINT64_MAX);
        if (r >= 0)
                r = add_all_resources(&list, &changed, fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(list);
        return 0;
}

int systemd_scope_properties(const RuntimeConfig *config, char ***ret, Fault *fault) {
        _cleanup_strv_ char **list = NULL;
        int r = add_all_resources(&list, &config->resources, fault);
        for (size_t i = 0; i < config->annotation_count && r >= 0; i++)
                r = add_annotation(&list, &config->annotations[i], fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(list);
        return 0;
}
