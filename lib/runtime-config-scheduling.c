/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.process.scheduler, ioPriority and execCPUAffinity; config.linux.memoryPolicy and personality. */

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/personality.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

/* In bits of sched_setattr(2), ioprio_set(2) and set_mempolicy(2). What the headers of Linux 6.1 lack is
 * given by number. */
#define MPOL_WEIGHTED_INTERLEAVE_NUMBER 6

static const char *const policy_names[] = {
        [0] = "SCHED_OTHER", [1] = "SCHED_FIFO", [2] = "SCHED_RR",       [3] = "SCHED_BATCH",
        [4] = "SCHED_ISO",   [5] = "SCHED_IDLE", [6] = "SCHED_DEADLINE",
};
enum {
        POLICY_FIFO = 1,
        POLICY_RR = 2,
        POLICY_ISO = 4,
        POLICY_DEADLINE = 6,
};

static const char *const scheduler_flag_names[] = {
        "SCHED_FLAG_RESET_ON_FORK",  "SCHED_FLAG_RECLAIM",     "SCHED_FLAG_DL_OVERRUN",
        "SCHED_FLAG_KEEP_POLICY",    "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN",
        "SCHED_FLAG_UTIL_CLAMP_MAX",
};

static int parse_scheduler_flags(const JsonNode *node, RuntimeScheduler *scheduler, Fault *fault) {
        _cleanup_free_ const char **flags = NULL;
        int r = config_get_strings(node, "flags", JSON_OPTIONAL, &flags, fault);
        if (r <= 0)
                return r;
        STRV_FOREACH (flag, flags) {
                int bit = string_table_find(scheduler_flag_names, ELEMENTS_OF(scheduler_flag_names), flag);
                if (bit < 0)
                        return json_fault_member(node, "flags", fault, -EBADMSG, "'%s' is not known", flag);
                scheduler->flags |= UINT64_C(1) << bit;
        }
        return 0;
}

/* Numbers that do not go with the policy: the kernel would leave them out without a word. */
static int check_scheduler(const JsonNode *node, const RuntimeScheduler *scheduler, Fault *fault) {
        bool real_time = scheduler->policy == POLICY_FIFO || scheduler->policy == POLICY_RR;
        bool deadline = scheduler->policy == POLICY_DEADLINE;
        if (scheduler->policy == POLICY_ISO)
                return json_fault_member(node, "policy", fault, -EOPNOTSUPP,
                                         "SCHED_ISO is reserved, no Linux has it");
        if (scheduler->priority != 0 && !real_time)
                return json_fault_member(node, "priority", fault, -EBADMSG,
                                         "goes with SCHED_FIFO and SCHED_RR only");
        if (!deadline && (scheduler->runtime || scheduler->deadline || scheduler->period))
                return json_fault_member(node, "runtime", fault, -EBADMSG,
                                         "and deadline and period go with SCHED_DEADLINE only");
        return 0;
}

static int parse_scheduler(const JsonNode *process, RuntimeScheduler *scheduler, Fault *fault) {
        static const char *const members[] = {
                "policy", "nice", "priority", "flags", "runtime", "deadline", "period", NULL,
        };
        JsonNode node;
        int64_t nice = 0, priority = 0;
        int r = json_get(process, "scheduler", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        r = config_get_word(&node, "policy", policy_names, ELEMENTS_OF(policy_names), fault);
        if (r == -ENOENT)
                return json_fault_member(&node, "policy", fault, -EBADMSG, "is missing");
        if (r < 0)
                return r;
        scheduler->policy = (uint32_t) r;
        if ((r = config_get_number(&node, "nice", -20, 19, &nice, fault)) < 0 ||
            (r = config_get_number(&node, "priority", 0, 99, &priority, fault)) < 0 ||
            (r = parse_scheduler_flags(&node, scheduler, fault)) < 0 ||
            (r = json_get_uint64(&node, "runtime", JSON_OPTIONAL, &scheduler->runtime, fault)) < 0 ||
            (r = json_get_uint64(&node, "deadline", JSON_OPTIONAL, &scheduler->deadline, fault)) < 0 ||
            (r = json_get_uint64(&node, "period", JSON_OPTIONAL, &scheduler->period, fault)) < 0)
                return r;
        scheduler->nice = (int32_t) nice;
        scheduler->priority = (uint32_t) priority;
        scheduler->given = true;
        return check_scheduler(&node, scheduler, fault);
}

static int parse_io_priority(const JsonNode *process, RuntimeProcess *ret, Fault *fault) {
        static const char *const members[] = { "class", "priority", NULL };
        static const char *const classes[] = {
                [IOPRIO_CLASS_NONE] = "IOPRIO_CLASS_NONE",
                [IOPRIO_CLASS_RT] = "IOPRIO_CLASS_RT",
                [IOPRIO_CLASS_BE] = "IOPRIO_CLASS_BE",
                [IOPRIO_CLASS_IDLE] = "IOPRIO_CLASS_IDLE",
        };
        JsonNode node;
        int64_t level = 0;
        int r = json_get(process, "ioPriority", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        int class = config_get_word(&node, "class", classes, ELEMENTS_OF(classes), fault);
        if (class == -ENOENT)
                return json_fault_member(&node, "class", fault, -EBADMSG, "is missing");
        if (class == IOPRIO_CLASS_NONE)
                return json_fault_member(&node, "class", fault, -EBADMSG,
                                         "'IOPRIO_CLASS_NONE' is not known");
        if (class < 0)
                return class;
        r = config_get_number(&node, "priority", 0, IOPRIO_NR_LEVELS - 1, &level, fault);
        if (r < 0)
                return r;
        ret->io_priority = IOPRIO_PRIO_VALUE(class, (int) level);
        return 0;
}

static int parse_number(const char **at, unsigned long *ret) {
        char *end;
        if (**at < '0' || **at > '9')
                return -EINVAL;
        errno = 0;
        *ret = strtoul(*at, &end, 10);
        *at = end;
        return -errno;
}

int runtime_list_to_bits(const char *list, unsigned long *bits, size_t bit_count) {
        const size_t width = 8 * sizeof(long);
        memset(bits, 0, bit_count / 8);
        for (const char *p = list;; p++) {
                unsigned long first, last;
                p += strspn(p, " ");
                int r = parse_number(&p, &first);
                if (r < 0)
                        return r;
                last = first;
                if (*p == '-') {
                        p++;
                        r = parse_number(&p, &last);
                        if (r < 0)
                                return r;
                }
                p += strspn(p, " ");
                if (last < first || (*p != ',' && *p != '\0'))
                        return -EINVAL;
                if (last >= bit_count)
                        return -ERANGE;
                for (unsigned long i = first; i <= last; i++)
                        bits[i / width] |= 1UL << (i % width);
                if (*p == '\0')
                        return 0;
        }
}

/* One list of the kind that the kernel takes. */
static int parse_numbers(const JsonNode *node, const char *key, const char **ret, Fault *fault) {
        unsigned long bits[8192 / (8 * sizeof(long))];
        const char *list = NULL;
        int r = json_get_string(node, key, JSON_OPTIONAL, &list, fault);
        if (r <= 0 || string_is_empty(list))
                return r;
        if (runtime_list_to_bits(list, bits, 8192) < 0)
                return json_fault_member(node, key, fault, -EBADMSG, "'%.64s' is not a list like 0-2,7",
                                         list);
        *ret = list;
        return 1;
}

static int parse_affinity(const JsonNode *process, RuntimeProcess *ret, Fault *fault) {
        static const char *const members[] = { "initial", "final", NULL };
        JsonNode node;
        int r = json_get(process, "execCPUAffinity", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        r = parse_numbers(&node, "initial", &ret->affinity_initial, fault);
        return r < 0 ? r : parse_numbers(&node, "final", &ret->affinity_final, fault);
}

int config_parse_scheduling(const JsonNode *process, RuntimeProcess *ret, Fault *fault) {
        int r;
        if ((r = parse_scheduler(process, &ret->scheduler, fault)) < 0 ||
            (r = parse_io_priority(process, ret, fault)) < 0 ||
            (r = parse_affinity(process, ret, fault)) < 0)
                return r;
        return 0;
}

static int parse_memory_policy_flags(const JsonNode *node, int *mode, Fault *fault) {
        static const struct {
                const char *name;
                int flag;
        } known[] = {
                { "MPOL_F_NUMA_BALANCING", 1 << 13 },
                { "MPOL_F_RELATIVE_NODES", 1 << 14 },
                { "MPOL_F_STATIC_NODES", 1 << 15 },
        };
        _cleanup_free_ const char **flags = NULL;
        int r = config_get_strings(node, "flags", JSON_OPTIONAL, &flags, fault);
        if (r <= 0)
                return r;
        STRV_FOREACH (flag, flags) {
                size_t i = 0;
                while (i < ELEMENTS_OF(known) && !string_equal(known[i].name, flag))
                        i++;
                if (i == ELEMENTS_OF(known))
                        return json_fault_member(node, "flags", fault, -EBADMSG, "'%s' is not known", flag);
                *mode |= known[i].flag;
        }
        return 0;
}

static int parse_memory_policy(const JsonNode *linux_node, RuntimeMemoryPolicy *policy, Fault *fault) {
        static const char *const members[] = { "mode", "nodes", "flags", NULL };
        static const char *const modes[] = {
                [MPOL_DEFAULT] = "MPOL_DEFAULT",
                [MPOL_PREFERRED] = "MPOL_PREFERRED",
                [MPOL_BIND] = "MPOL_BIND",
                [MPOL_INTERLEAVE] = "MPOL_INTERLEAVE",
                [MPOL_LOCAL] = "MPOL_LOCAL",
                [MPOL_PREFERRED_MANY] = "MPOL_PREFERRED_MANY",
                [MPOL_WEIGHTED_INTERLEAVE_NUMBER] = "MPOL_WEIGHTED_INTERLEAVE",
        };
        JsonNode node;
        int r = json_get(linux_node, "memoryPolicy", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        int mode = config_get_word(&node, "mode", modes, ELEMENTS_OF(modes), fault);
        if (mode == -ENOENT)
                return json_fault_member(&node, "mode", fault, -EBADMSG, "is missing");
        if (mode < 0)
                return mode;
        policy->mode = mode;
        if ((r = parse_memory_policy_flags(&node, &policy->mode, fault)) < 0 ||
            (r = parse_numbers(&node, "nodes", &policy->nodes, fault)) < 0)
                return r;
        bool takes_nodes = mode != MPOL_DEFAULT && mode != MPOL_LOCAL;
        if (!takes_nodes && policy->nodes)
                return json_fault_member(&node, "nodes", fault, -EBADMSG, "does not go with %s",
                                         modes[mode]);
        if (takes_nodes && mode != MPOL_PREFERRED && !policy->nodes)
                return json_fault_member(&node, "nodes", fault, -EBADMSG, "is missing: %s needs it",
                                         modes[mode]);
        policy->given = true;
        return 0;
}

static int parse_personality(const JsonNode *linux_node, RuntimeConfig *config, Fault *fault) {
        static const char *const members[] = { "domain", "flags", NULL };
        static const char *const domains[] = { "LINUX", "LINUX32" };
        JsonNode node;
        int r = json_get(linux_node, "personality", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        r = config_get_word(&node, "domain", domains, ELEMENTS_OF(domains), fault);
        if (r == -ENOENT)
                return json_fault_member(&node, "domain", fault, -EBADMSG, "is missing");
        if (r < 0)
                return r;
        if (config_asks_for(&node, "flags"))
                return json_fault_member(&node, "flags", fault, -EBADMSG,
                                         "the specification knows no flag yet");
        config->personality_given = true;
        config->personality = r == 1 ? PER_LINUX32 : PER_LINUX;
        return 0;
}

int config_parse_platform(const JsonNode *node, RuntimeConfig *config, Fault *fault) {
        int r = parse_memory_policy(node, &config->memory_policy, fault);
        return r < 0 ? r : parse_personality(node, config, fault);
}
