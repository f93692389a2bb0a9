/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux.resources: config-linux.md, "Control groups". What only cgroup v1 had is remembered, and
 * refused by who finds that there is a cgroup v2. */

#include <errno.h>
#include <string.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

/* The first of them that asks for something. -1 is "unlimited", which is what v2 does without it. */
static void note_v1(const JsonNode *node, const char *const *keys, RuntimeResources *resources) {
        for (; *keys && !resources->v1_only; keys++) {
                json_object *value = NULL;
                const char *key = strchr(*keys, '.') + 1;
                if (config_asks_for(node, key) && json_object_object_get_ex(node->value, key, &value) &&
                    !(json_object_is_type(value, json_type_int) && json_object_get_int64(value) == -1))
                        resources->v1_only = *keys;
        }
}

static int parse_device_access(const JsonNode *node, RuntimeDeviceRule *rule, Fault *fault) {
        const char *access = NULL;
        int r = json_get_string(node, "access", JSON_OPTIONAL, &access, fault);
        if (r < 0)
                return r;
        if (string_is_empty(access))
                access = "rwm";
        for (const char *p = access; *p; p++)
                if (*p == 'r')
                        rule->read = true;
                else if (*p == 'w')
                        rule->write = true;
                else if (*p == 'm')
                        rule->mknod = true;
                else
                        return json_fault_member(node, "access", fault, -EBADMSG,
                                                 "'%s' has other letters than r, w and m", access);
        return 0;
}

static int parse_device_rule(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "allow", "type", "major", "minor", "access", NULL };
        RuntimeDeviceRule *rule = element;
        const char *type = NULL;
        rule->major = rule->minor = -1;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_bool(node, "allow", JSON_REQUIRED, &rule->allow, fault)) < 0 ||
            (r = json_get_string(node, "type", JSON_OPTIONAL, &type, fault)) < 0 ||
            (r = config_get_number(node, "major", -1, UINT32_MAX, &rule->major, fault)) < 0 ||
            (r = config_get_number(node, "minor", -1, UINT32_MAX, &rule->minor, fault)) < 0)
                return r;
        if (string_is_empty(type))
                type = "a";
        if (type[1] || !strchr("acb", type[0]))
                return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is not one of a, c and b",
                                         type);
        rule->type = type[0];
        return parse_device_access(node, rule, fault);
}

static int parse_memory(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const members[] = {
                "limit",        "reservation",      "swap",
                "kernel",       "kernelTCP",        "swappiness",
                "useHierarchy", "disableOOMKiller", "checkBeforeUpdate",
                NULL,
        };
        static const char *const v1[] = {
                "memory.kernel", "memory.kernelTCP", "memory.swappiness", "memory.disableOOMKiller", NULL,
        };
        bool no_killer = false, hierarchy = true;
        int64_t number = 0;
        JsonNode memory;
        int r = json_get(node, "memory", json_type_object, JSON_OPTIONAL, &memory, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&memory, members);
        note_v1(&memory, v1, resources);
        if ((r = json_get_int64(&memory, "kernel", JSON_OPTIONAL, &number, fault)) < 0 ||
            (r = json_get_int64(&memory, "kernelTCP", JSON_OPTIONAL, &number, fault)) < 0 ||
            (r = config_get_number(&memory, "swappiness", -1, 200, &number, fault)) < 0 ||
            (r = config_get_number(&memory, "limit", -1, INT64_MAX, &resources->memory_limit, fault)) < 0 ||
            (r = config_get_number(&memory, "reservation", -1, INT64_MAX, &resources->memory_reservation,
                                   fault)) < 0 ||
            (r = config_get_number(&memory, "swap", -1, INT64_MAX, &resources->memory_swap, fault)) < 0 ||
            (r = json_get_bool(&memory, "disableOOMKiller", JSON_OPTIONAL, &no_killer, fault)) < 0 ||
            (r = json_get_bool(&memory, "useHierarchy", JSON_OPTIONAL, &hierarchy, fault)) < 0 ||
            (r = json_get_bool(&memory, "checkBeforeUpdate", JSON_OPTIONAL,
                               &resources->memory_check_before_update, fault)) < 0)
                return r;
        if (!hierarchy && !resources->v1_only)
                resources->v1_only = "memory.useHierarchy";

        /* The specification's swap is memory and swap together; v2 wants swap alone. */
        if (resources->memory_swap > 0 && resources->memory_limit < 0)
                return json_fault_member(&memory, "swap", fault, -EBADMSG, "needs a limit of memory");
        if (resources->memory_swap >= 0 && resources->memory_swap < resources->memory_limit)
                return json_fault_member(&memory, "swap", fault, -EBADMSG,
                                         "is memory and swap together, and below limit");
        return 0;
}

static int parse_cpu(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const members[] = {
                "shares", "quota", "period",          "burst",          "idle",
                "cpus",   "mems",  "realtimeRuntime", "realtimePeriod", NULL,
        };
        static const char *const v1[] = { "cpu.realtimeRuntime", "cpu.realtimePeriod", NULL };
        int64_t number = 0;
        JsonNode cpu;
        int r = json_get(node, "cpu", json_type_object, JSON_OPTIONAL, &cpu, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&cpu, members);
        note_v1(&cpu, v1, resources);
        if ((r = json_get_int64(&cpu, "realtimeRuntime", JSON_OPTIONAL, &number, fault)) < 0 ||
            (r = config_get_number(&cpu, "realtimePeriod", 0, INT64_MAX, &number, fault)) < 0 ||
            (r = config_get_number(&cpu, "shares", 0, INT64_MAX, &resources->cpu_shares, fault)) < 0 ||
            (r = config_get_number(&cpu, "quota", -1, INT64_MAX, &resources->cpu_quota, fault)) < 0 ||
            (r = config_get_number(&cpu, "period", 0, INT64_MAX, &resources->cpu_period, fault)) < 0 ||
            (r = config_get_number(&cpu, "burst", 0, INT64_MAX, &resources->cpu_burst, fault)) < 0 ||
            (r = config_get_number(&cpu, "idle", 0, 1, &resources->cpu_idle, fault)) < 0 ||
            (r = json_get_string(&cpu, "cpus", JSON_OPTIONAL, &resources->cpuset_cpus, fault)) < 0 ||
            (r = json_get_string(&cpu, "mems", JSON_OPTIONAL, &resources->cpuset_mems, fault)) < 0)
                return r;
        if (string_is_empty(resources->cpuset_cpus))
                resources->cpuset_cpus = NULL;
        if (string_is_empty(resources->cpuset_mems))
                resources->cpuset_mems = NULL;
        if (resources->cpu_quota > 0 && resources->cpu_burst > resources->cpu_quota)
                return json_fault_member(&cpu, "burst", fault, -EBADMSG, "is above quota");
        return 0;
}

static int parse_throttle(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "major", "minor", "rate", NULL };
        RuntimeThrottle *throttle = element;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_uint32(node, "major", JSON_REQUIRED, &throttle->major, fault)) < 0 ||
            (r = json_get_uint32(node, "minor", JSON_REQUIRED, &throttle->minor, fault)) < 0 ||
            (r = json_get_uint64(node, "rate", JSON_REQUIRED, &throttle->rate, fault)) < 0)
                return r;
        return 0;
}

static int parse_throttles(const JsonNode *block, RuntimeResources *resources, Fault *fault) {
        static const struct {
                const char *member, *key;
        } kinds[] = {
                { "throttleReadBpsDevice", "rbps" },
                { "throttleWriteBpsDevice", "wbps" },
                { "throttleReadIOPSDevice", "riops" },
                { "throttleWriteIOPSDevice", "wiops" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(kinds); i++) {
                _cleanup_free_ RuntimeThrottle *items = NULL;
                size_t count = 0;
                int r = config_get_items(block, kinds[i].member, sizeof(RuntimeThrottle), parse_throttle,
                                         (void **) &items, &count, fault);
                if (r < 0)
                        return r;
                if (count == 0)
                        continue;
                RuntimeThrottle *larger = realloc(resources->throttles, (resources->throttle_count + count) *
                                                                                sizeof(RuntimeThrottle));
                if (!larger)
                        return -ENOMEM;
                resources->throttles = larger;
                for (size_t k = 0; k < count; k++) {
                        items[k].key = kinds[i].key;
                        larger[resources->throttle_count++] = items[k];
                }
        }
        return 0;
}

/* 0 is "not given". */
static int parse_weight(const JsonNode *node, int64_t *ret, Fault *fault) {
        int64_t weight = 0;
        int r = config_get_number(node, "weight", 0, 1000, &weight, fault);
        if (r < 0)
                return r;
        if (weight > 0 && weight < 10)
                return json_fault_member(node, "weight", fault, -EBADMSG, "must be between 10 and 1000");
        *ret = weight > 0 ? weight : RUNTIME_UNSET;
        return 0;
}

static int parse_device_weight(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "major", "minor", "weight", "leafWeight", NULL };
        RuntimeDeviceWeight *device = element;
        int64_t leaf = 0;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_uint32(node, "major", JSON_REQUIRED, &device->major, fault)) < 0 ||
            (r = json_get_uint32(node, "minor", JSON_REQUIRED, &device->minor, fault)) < 0 ||
            (r = config_get_number(node, "leafWeight", 0, 1000, &leaf, fault)) < 0 ||
            (r = parse_weight(node, &device->weight, fault)) < 0)
                return r;
        if (device->weight == RUNTIME_UNSET && leaf == 0)
                return json_fault_member(node, "weight", fault, -EBADMSG, "is missing");
        return 0;
}

/* leafWeight was a matter of CFQ, an I/O scheduler that no Linux has had since 5.0. */
static void note_leaf_weights(const JsonNode *block, RuntimeResources *resources) {
        static const char *const v1[] = { "blockIO.leafWeight", NULL };
        JsonNode devices;
        note_v1(block, v1, resources);
        if (json_get(block, "weightDevice", json_type_array, JSON_OPTIONAL, &devices, NULL) <= 0)
                return;
        for (size_t i = 0; i < json_length(&devices) && !resources->v1_only; i++) {
                JsonNode item;
                if (json_item(&devices, i, json_type_object, &item, NULL) >= 0 &&
                    config_asks_for(&item, "leafWeight"))
                        resources->v1_only = "blockIO.weightDevice[].leafWeight";
        }
}

static int parse_block_io(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const members[] = {
                "weight",
                "leafWeight",
                "weightDevice",
                "throttleReadBpsDevice",
                "throttleWriteBpsDevice",
                "throttleReadIOPSDevice",
                "throttleWriteIOPSDevice",
                NULL,
        };
        JsonNode block;
        int64_t leaf = 0;
        int r = json_get(node, "blockIO", json_type_object, JSON_OPTIONAL, &block, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&block, members);
        note_leaf_weights(&block, resources);
        if ((r = parse_weight(&block, &resources->blkio_weight, fault)) < 0 ||
            (r = config_get_number(&block, "leafWeight", 0, 1000, &leaf, fault)) < 0 ||
            (r = config_get_items(&block, "weightDevice", sizeof(RuntimeDeviceWeight), parse_device_weight,
                                  (void **) &resources->device_weights, &resources->device_weight_count,
                                  fault)) < 0)
                return r;
        return parse_throttles(&block, resources, fault);
}

static int parse_rdma_limit(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "hcaHandles", "hcaObjects", NULL };
        RuntimeRdmaLimit *limit = element;
        int r;
        config_note_unknown(node, members);
        limit->device = node->key;
        limit->handles = limit->objects = RUNTIME_UNSET;
        if ((r = config_get_number(node, "hcaHandles", 0, UINT32_MAX, &limit->handles, fault)) < 0 ||
            (r = config_get_number(node, "hcaObjects", 0, UINT32_MAX, &limit->objects, fault)) < 0)
                return r;
        if (limit->handles == RUNTIME_UNSET && limit->objects == RUNTIME_UNSET)
                return json_fault(node, fault, "has neither hcaHandles nor hcaObjects");
        if (limit->device[0] == '\0' || limit->device[strcspn(limit->device, " \t\n")] != '\0')
                return json_fault(node, fault, "is not the name of a device");
        return 0;
}

static int parse_hugepage_limit(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "pageSize", "limit", NULL };
        RuntimeHugepageLimit *limit = element;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_string(node, "pageSize", JSON_REQUIRED, &limit->page_size, fault)) < 0 ||
            (r = json_get_uint64(node, "limit", JSON_REQUIRED, &limit->limit, fault)) < 0)
                return r;
        /* ^[1-9][0-9]*[KMG]B$ */
        const char *size = limit->page_size;
        size_t digits = strspn(size, "0123456789");
        if (digits == 0 || size[0] == '0' || !size[digits] || !strchr("KMG", size[digits]) ||
            strcmp(size + digits + 1, "B") != 0)
                return json_fault_member(node, "pageSize", fault, -EBADMSG, "'%s' is not like 2MB", size);
        return 0;
}

/* Files that do something to the cgroup or to the processes in it, and hold no limit of theirs: what is in
 * the cgroup, and whether it runs, is the runtime's. */
static bool is_operation(const char *file) {
        static const char *const operations[] = {
                "cgroup.procs", "cgroup.threads", "cgroup.subtree_control",
                "cgroup.type",  "cgroup.freeze",  "cgroup.kill",
                NULL,
        };
        return strv_contains(operations, file);
}

static int parse_unified(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        int r = config_get_pairs(node, "unified", &resources->unified, &resources->unified_count, fault);
        if (r <= 0)
                return r;
        for (size_t i = 0; i < resources->unified_count; i++) {
                const char *key = resources->unified[i].key;
                if (strchr(key, '/') || !strchr(key, '.') || key[0] == '.')
                        return json_fault_member(node, "unified", fault, -EBADMSG,
                                                 "'%s' is not a controller's file", key);
                if (is_operation(key))
                        return json_fault_member(node, "unified", fault, -EBADMSG,
                                                 "'%s' is for the runtime, and no limit", key);
        }
        return 0;
}

/* net_cls and net_prio: eBPF and iptables do that work with cgroup v2, by other names. */
static int parse_network(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const v1[] = { "network.classID", "network.priorities", NULL };
        JsonNode network, priorities;
        uint32_t class_id;
        int r = json_get(node, "network", json_type_object, JSON_OPTIONAL, &network, fault);
        if (r <= 0)
                return r;
        note_v1(&network, v1, resources);
        if ((r = json_get_uint32(&network, "classID", JSON_OPTIONAL, &class_id, fault)) < 0)
                return r;
        r = json_get(&network, "priorities", json_type_array, JSON_OPTIONAL, &priorities, fault);
        return r < 0 ? r : 0;
}

static int parse_pids(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const members[] = { "limit", NULL };
        JsonNode pids;
        int r = json_get(node, "pids", json_type_object, JSON_OPTIONAL, &pids, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&pids, members);
        return config_get_number(&pids, "limit", -1, INT64_MAX, &resources->pids_limit, fault);
}

int config_parse_resources(const JsonNode *node, RuntimeResources *resources, Fault *fault) {
        static const char *const members[] = {
                "devices",        "memory",  "cpu",     "pids", "blockIO",
                "hugepageLimits", "unified", "network", "rdma", NULL,
        };
        int r;
        config_note_unknown(node, members);
        if ((r = config_get_items(node, "devices", sizeof(RuntimeDeviceRule), parse_device_rule,
                                  (void **) &resources->device_rules, &resources->device_rule_count,
                                  fault)) < 0 ||
            (r = parse_memory(node, resources, fault)) < 0 || (r = parse_cpu(node, resources, fault)) < 0 ||
            (r = parse_pids(node, resources, fault)) < 0 ||
            (r = parse_block_io(node, resources, fault)) < 0 ||
            (r = config_get_items(node, "hugepageLimits", sizeof(RuntimeHugepageLimit), parse_hugepage_limit,
                                  (void **) &resources->hugepage_limits, &resources->hugepage_limit_count,
                                  fault)) < 0 ||
            (r = config_get_members(node, "rdma", sizeof(RuntimeRdmaLimit), parse_rdma_limit,
                                    (void **) &resources->rdma_limits, &resources->rdma_limit_count,
                                    fault)) < 0 ||
            (r = parse_network(node, resources, fault)) < 0 ||
            (r = parse_unified(node, resources, fault)) < 0)
                return r;
        return 0;
}

int runtime_resources_parse(json_object *document, RuntimeResources *ret, Fault *fault) {
        JsonNode root = json_root(document, "resources");
        RuntimeResources resources;
        runtime_resources_init(&resources);
        if (!json_object_is_type(document, json_type_object))
                return json_fault(&root, fault, "must be an object");
        int r = config_parse_resources(&root, &resources, fault);
        if (r < 0) {
                runtime_resources_done(&resources);
                return r;
        }
        *ret = resources;
        return 0;
}

void runtime_resources_init(RuntimeResources *resources) {
        *resources = (RuntimeResources){
                .memory_limit = RUNTIME_UNSET,
                .memory_reservation = RUNTIME_UNSET,
                .memory_swap = RUNTIME_UNSET,
                .cpu_shares = RUNTIME_UNSET,
                .cpu_quota = RUNTIME_UNSET,
                .cpu_period = RUNTIME_UNSET,
                .cpu_burst = RUNTIME_UNSET,
                .cpu_idle = RUNTIME_UNSET,
                .pids_limit = RUNTIME_UNSET,
                .blkio_weight = RUNTIME_UNSET,
        };
}

void runtime_resources_done(RuntimeResources *resources) {
        free(resources->device_rules);
        free(resources->throttles);
        free(resources->hugepage_limits);
        free(resources->unified);
        free(resources->device_weights);
        free(resources->rdma_limits);
        runtime_resources_init(resources);
}
