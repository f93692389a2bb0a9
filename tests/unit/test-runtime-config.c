/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json.h"
#include "lib/runtime-config.h"

#include <linux/capability.h>
#include <sys/resource.h>

#include "tests/unit/check-fault.h"

#define CONFIG(more) "{\"ociVersion\":\"1.0.2\"" more "}"
#define PROCESS(more) CONFIG(",\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"" more "}")
#define LINUX(members) CONFIG(",\"linux\":{" members "}")
#define RESOURCES(members) LINUX("\"resources\":{" members "}")
#define SECCOMP(more) LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"" more "}")

static int parse(const char *text, RuntimeConfig **ret, Fault *fault) {
        return runtime_config_parse(text, strlen(text), ret, fault);
}

static RuntimeConfig *parsed(const char *text) {
        RuntimeConfig *config = NULL;
        CHECK_NO_FAULT(parse(text, &config, &fault));
        return config;
}

static void a_process(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config =
                parsed(PROCESS(",\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},"
                               "\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3,4]},"
                               "\"env\":[\"A=1\"],\"noNewPrivileges\":true,\"oomScoreAdj\":-7,"
                               "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":"
                               "18446744073709551615}]"));
        const RuntimeProcess *process = &config->process;
        CHECK(process->given && process->terminal && process->no_new_privileges);
        CHECK_INT(process->console_height, 24);
        CHECK_INT(process->console_width, 80);
        CHECK_INT(process->uid, 1);
        CHECK_INT(process->gid, 2);
        CHECK_INT(process->umask, 022);
        CHECK_INT(process->additional_gid_count, 2);
        CHECK_INT(process->additional_gids[1], 4);
        CHECK_STRING(process->args[0], "/bin/true");
        CHECK_STRING(process->env[0], "A=1");
        CHECK_INT(process->oom_score_adj, -7);
        CHECK_INT(process->rlimits[0].resource, RLIMIT_NOFILE);
        CHECK(process->rlimits[0].hard == RLIM_INFINITY);
}

static void what_is_not_given(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(PROCESS("")),
                                                      *none = parsed(CONFIG(""));
        CHECK_INT(config->process.umask, RUNTIME_UMASK_UNSET);
        CHECK(config->process.oom_score_adj == RUNTIME_UNSET);
        CHECK(config->resources.memory_limit == RUNTIME_UNSET &&
              config->resources.pids_limit == RUNTIME_UNSET);
        CHECK(!config->seccomp && !config->hostname && !config->cgroups_path && !config->root_path);
        CHECK_INT(config->root_propagation, RUNTIME_PROPAGATION_DEFAULT);
        CHECK(!none->process.given);
}

static void capabilities(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config =
                parsed(PROCESS(",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_CHECKPOINT_RESTORE\"],"
                               "\"permitted\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"],"
                               "\"inheritable\":[\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\",\"CAP_CHOWN\"]}"));
        const RuntimeCapabilities *sets = &config->process.capabilities;
        CHECK(sets->bounding == (UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_CHECKPOINT_RESTORE));
        CHECK(sets->effective == UINT64_C(1) << CAP_KILL);
        /* An ambient capability that is not inheritable is none, as runc has it. */
        CHECK(sets->ambient == UINT64_C(1) << CAP_KILL);
        CHECK_STRING(runtime_capability_to_string(CAP_CHOWN), "CAP_CHOWN");
        CHECK(!runtime_capability_to_string(CAP_LAST_CAP + 1));
        for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
                CHECK(runtime_capability_to_string(i));
        CHECK(!config->process.unknown_capabilities);
}

static void capabilities_that_nobody_knows_are_noted(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config =
                parsed(PROCESS(",\"capabilities\":{\"bounding\":[\"CAP_X\",\"CAP_KILL\"],"
                               "\"permitted\":[\"CAP_X\",\"cap_kill\"]}"));
        CHECK(config->process.capabilities.bounding == UINT64_C(1) << CAP_KILL);
        CHECK(config->process.capabilities.permitted == 0);
        CHECK_STRING(config->process.unknown_capabilities[0], "CAP_X");
        CHECK_STRING(config->process.unknown_capabilities[1], "cap_kill");
        CHECK(!config->process.unknown_capabilities[2]);
}

static void namespaces_mounts_and_devices(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(CONFIG(
                ",\"hostname\":\"box\",\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
                "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"options\":[\"ro\"]}],"
                "\"linux\":{\"namespaces\":[{\"type\":\"uts\"},{\"type\":\"network\",\"path\":\"/n\"}],"
                "\"rootfsPropagation\":\"rslave\",\"sysctl\":{\"a.b\":\"1\"},\"maskedPaths\":[\"/m\"],"
                "\"devices\":[{\"type\":\"u\",\"path\":\"/dev/x\",\"major\":1,\"minor\":2}]}"));
        CHECK_STRING(config->hostname, "box");
        CHECK_STRING(config->root_path, "rootfs");
        CHECK(config->root_readonly);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_UTS].wanted &&
              !config->namespaces[RUNTIME_NAMESPACE_UTS].path);
        CHECK_STRING(config->namespaces[RUNTIME_NAMESPACE_NETWORK].path, "/n");
        CHECK(!config->namespaces[RUNTIME_NAMESPACE_PID].wanted);
        CHECK_INT(config->mount_count, 1);
        CHECK_STRING(config->mounts[0].options[0], "ro");
        CHECK(!config->mounts[0].source);
        CHECK_INT(config->root_propagation, RUNTIME_PROPAGATION_SLAVE);
        CHECK(config->root_propagation_recursive);
        CHECK_STRING(config->sysctls[0].key, "a.b");
        CHECK_STRING(config->masked_paths[0], "/m");
        CHECK_INT(config->devices[0].type, 'c');
        CHECK_INT(config->devices[0].mode, 0666);
        CHECK_INT(config->devices[0].minor, 2);
}

static void resources(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(RESOURCES(
                "\"memory\":{\"limit\":4,\"swap\":5},\"cpu\":{\"shares\":2,\"quota\":3,\"period\":4000},"
                "\"pids\":{\"limit\":9},\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\","
                "\"major\":1,\"access\":\"rm\"}],\"unified\":{\"memory.high\":\"1\"},"
                "\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":1,\"rate\":7}],"
                "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":1,\"rate\":6}]}"));
        const RuntimeResources *r = &config->resources;
        CHECK_INT(r->memory_limit, 4);
        CHECK_INT(r->memory_swap, 5);
        CHECK_INT(r->cpu_quota, 3);
        CHECK_INT(r->pids_limit, 9);
        CHECK_INT(r->device_rule_count, 2);
        CHECK_INT(r->device_rules[0].type, 'a');
        CHECK(r->device_rules[0].major == -1 && r->device_rules[0].write);
        CHECK(r->device_rules[1].read && !r->device_rules[1].write && r->device_rules[1].mknod);
        CHECK_STRING(r->unified[0].key, "memory.high");
        CHECK_INT(r->throttle_count, 2);
        CHECK_STRING(r->throttles[0].key, "rbps");
        CHECK_STRING(r->throttles[1].key, "wiops");
}

static void seccomp(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(SECCOMP(
                ",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"architectures\":[\"SCMP_ARCH_X86\"],"
                "\"syscalls\":["
                "{\"names\":[\"a\",\"b\"],\"action\":\"SCMP_ACT_KILL\"},{\"names\":[\"c\"],\"action\":"
                "\"SCMP_ACT_TRACE\",\"errnoRet\":65535,\"args\":[{\"index\":5,\"value\":1,\"valueTwo\":2,"
                "\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]"));
        const RuntimeSeccomp *s = config->seccomp;
        CHECK_INT(s->default_action, RUNTIME_SECCOMP_ERRNO);
        CHECK_INT(s->default_errno_return, EPERM);
        CHECK(s->flag_log && !s->flag_spec_allow);
        CHECK_STRING(s->architectures[0], "SCMP_ARCH_X86");
        CHECK_INT(s->rule_count, 2);
        CHECK_INT(s->rules[0].action, RUNTIME_SECCOMP_KILL_THREAD);
        CHECK_INT(s->rules[1].errno_return, 65535);
        CHECK_INT(s->rules[1].arguments[0].comparison, RUNTIME_SECCOMP_MASKED_EQUAL);
        CHECK_INT(s->rules[1].arguments[0].value_two, 2);
}

#define RULE "{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_ALLOW\"}"

/* Rules are left unread only where nothing of them can matter to somebody who knows their program. */
static void rules_that_can_be_left(void) {
        static const struct {
                const char *text, *rules; /* NULL: not known */
                bool left;
        } cases[] = {
                { SECCOMP(",\"syscalls\":[" RULE "]"), "[" RULE "]", true },
                { SECCOMP(",\"syscalls\" : [ " RULE " , " RULE " ] "), "[ " RULE " , " RULE " ]", true },
                { SECCOMP(",\"syscalls\":[]"), "[]", true },
                { SECCOMP(",\"syscalls\":[ 5 ]"), "[ 5 ]", true },
                { SECCOMP(",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[" RULE "]"), "[" RULE "]",
                  true },
                { SECCOMP(",\"syscalls\":[{\"names\":[\"chd\\u0069r\"],\"action\":\"SCMP_ACT_ALLOW\"}]"),
                  "[{\"names\":[\"chd\\u0069r\"],\"action\":\"SCMP_ACT_ALLOW\"}]", false },
                { SECCOMP(",\"listenerPath\":\"/a\",\"syscalls\":[{\"names\":[\"chdir\"],\"action\":"
                          "\"SCMP_ACT_NOTIFY\"}]"),
                  "[{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_NOTIFY\"}]", false },
                { SECCOMP(",\"sysc\\u0061lls\":[" RULE "]"), NULL, false },
                { SECCOMP(""), NULL, false },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
                CHECK_NO_FAULT(
                        runtime_config_parse_sparing(cases[i].text, strlen(cases[i].text), &config, &fault));
                const RuntimeSeccomp *s = config->seccomp;
                CHECK_FORMAT(s->rules_left == cases[i].left, "%s", cases[i].text);
                CHECK(s->notifies == (strstr(cases[i].text, "NOTIFY") != NULL));
                CHECK(!cases[i].rules == !s->rules_text);
                CHECK(!cases[i].rules || (s->rules_size == strlen(cases[i].rules) &&
                                          memcmp(s->rules_text, cases[i].rules, s->rules_size) == 0));
                /* Whoever reads all knows the same text, so that a program is found by it. */
                _cleanup_(runtime_config_freep) RuntimeConfig *whole = NULL;
                if (parse(cases[i].text, &whole, NULL) < 0)
                        continue;
                CHECK(!whole->seccomp->rules_left && whole->seccomp->rules_size == s->rules_size);
        }
}

/* Nor does leaving them make anything else pass. */
static void what_is_wrong_around_rules_that_are_left_is_seen(void) {
        static const char *const texts[] = {
                SECCOMP(",\"syscalls\":[" RULE "],\"syscalls\":[]"),
                SECCOMP(",\"syscalls\":[" RULE "],\"sysc\\u0061lls\":[]"),
                SECCOMP(",\"syscalls\":[" RULE "},\"flags\":[]"),
                SECCOMP(",\"syscalls\":[" RULE "],\"flags\":[5]"),
                SECCOMP(",\"syscalls\":[" RULE),
                LINUX("\"seccomp\":{\"syscalls\":[" RULE "]}"),
                LINUX("\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" RULE "]},"
                      "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"}"),
        };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
                RuntimeConfig *config = NULL;
                int r = runtime_config_parse_sparing(texts[i], strlen(texts[i]), &config, NULL);
                CHECK_FORMAT(r == -EBADMSG && !config, "%i: %s", r, texts[i]);
        }
}

typedef struct Refusal {
        const char *text;
        int error;
        const char *sentence;
} Refusal;

static void check_refusals(const Refusal *refusals, size_t count) {
        for (size_t i = 0; i < count; i++) {
                RuntimeConfig *config = NULL;
                CHECK_FAULT(parse(refusals[i].text, &config, &fault), refusals[i].error,
                            refusals[i].sentence);
                CHECK(!config);
        }
}

static void malformed_members_are_named(void) {
        static const Refusal refusals[] = {
                { "[]", -EBADMSG, "config: must be an object" },
                { "{}", -EBADMSG, "config.ociVersion: is missing" },
                { CONFIG(",\"root\":{}"), -EBADMSG, "config.root.path: is missing" },
                { CONFIG(",\"mounts\":[{\"destination\":\"/x\"},{\"destination\":\"/..\"}]"), -EBADMSG,
                  "config.mounts[1].destination: '/..' is the root itself" },
                { CONFIG(",\"hostname\":\"x\""), -EBADMSG, "config.hostname: needs a uts namespace" },
                { CONFIG(",\"process\":{\"args\":[],\"cwd\":\"/\"}"), -EBADMSG,
                  "config.process.args: names no" },
                { CONFIG(",\"process\":{\"args\":[\"a\"],\"cwd\":\"x\"}"), -EBADMSG,
                  "config.process.cwd: must be an absolute path" },
                { PROCESS(",\"env\":[\"A\"]"), -EBADMSG, "config.process.env: 'A' is not NAME=value" },
                { PROCESS(",\"user\":{\"uid\":4294967295}"), -EBADMSG, "config.process.user.uid: must be" },
                { PROCESS(",\"user\":{\"additionalGids\":[1,-1]}"), -EBADMSG,
                  "config.process.user.additionalGids[1]: is not a group number" },
                { PROCESS(",\"capabilities\":{\"effective\":[\"CAP_KILL\"]}"), -EBADMSG,
                  "config.process.capabilities.effective: has what is not in permitted" },
                { LINUX("\"resources\":{\"unified\":{\"cgroup.max.depth\":\"3\",\"cgroup.procs\":\"1\"}}"),
                  -EBADMSG,
                  "config.linux.resources.unified: 'cgroup.procs' is for the runtime, and no limit" },
                { PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]"), -EBADMSG,
                  "config.process.rlimits[0].type: 'RLIMIT_X' is not known" },
                { LINUX("\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]"), -EBADMSG,
                  "config.linux.namespaces[1].type: 'pid' is given twice" },
                { LINUX("\"namespaces\":[{\"type\":\"user\"}]"), -EBADMSG,
                  "config.linux.uidMappings: is missing" },
                { LINUX("\"devices\":[{\"type\":\"c\",\"path\":\"/x\",\"minor\":1}]"), -EBADMSG,
                  "config.linux.devices[0].major: is missing" },
                { LINUX("\"cgroupsPath\":\"/a/../b\""), -EBADMSG,
                  "config.linux.cgroupsPath: must not have" },
                { RESOURCES("\"unified\":{\"../x.y\":\"1\"}"), -EBADMSG,
                  "config.linux.resources.unified: '../x.y'" },
                { RESOURCES("\"memory\":{\"limit\":-1,\"swap\":5}"), -EBADMSG,
                  "config.linux.resources.memory.swap: needs a limit" },
                { RESOURCES("\"devices\":[{}]"), -EBADMSG,
                  "config.linux.resources.devices[0].allow: is missing" },
                { SECCOMP(",\"listenerPath\":\"/"
                          "a\",\"syscalls\":[{\"names\":[\"chdir\",\"write\"],\"action\":"
                          "\"SCMP_ACT_NOTIFY\"}]"),
                  -EBADMSG, "config.linux.seccomp.syscalls: SCMP_ACT_NOTIFY must not be for write" },
                { SECCOMP(",\"syscalls\":[{\"names\":[],\"action\":\"SCMP_ACT_LOG\"}]"), -EBADMSG,
                  "config.linux.seccomp.syscalls[0].names: is empty" },
        };
        check_refusals(refusals, ELEMENTS_OF(refusals));
}

static void what_no_host_has_is_said(void) {
        static const Refusal refusals[] = {
                { "{\"ociVersion\":\"2.0\"}", -EOPNOTSUPP, "config.ociVersion: '2.0'" },
                { PROCESS(",\"scheduler\":{\"policy\":\"SCHED_ISO\"}"), -EOPNOTSUPP,
                  "config.process.scheduler.policy: SCHED_ISO is reserved" },
        };
        check_refusals(refusals, ELEMENTS_OF(refusals));
}

/* Whether cgroup v1 or another platform is there is not for the parser to say. */
static void what_only_others_have_is_remembered(void) {
        static const char *const v1[][2] = {
                { "\"memory\":{\"kernel\":1}", "memory.kernel" },
                { "\"memory\":{\"swappiness\":60}", "memory.swappiness" },
                { "\"memory\":{\"disableOOMKiller\":true}", "memory.disableOOMKiller" },
                { "\"memory\":{\"useHierarchy\":false}", "memory.useHierarchy" },
                { "\"memory\":{\"kernel\":-1,\"kernelTCP\":0,\"disableOOMKiller\":false}", NULL },
                { "\"cpu\":{\"realtimeRuntime\":1}", "cpu.realtimeRuntime" },
                { "\"cpu\":{\"realtimeRuntime\":0,\"realtimePeriod\":0}", NULL },
                { "\"network\":{\"classID\":1}", "network.classID" },
                { "\"network\":{\"priorities\":[]}", NULL },
                { "\"blockIO\":{\"leafWeight\":10}", "blockIO.leafWeight" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(v1); i++) {
                char text[512];
                snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.0\",\"linux\":{\"resources\":{%s}}}",
                         v1[i][0]);
                _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(text);
                const char *noted = config->resources.v1_only;
                CHECK_FORMAT(noted && v1[i][1] ? strcmp(noted, v1[i][1]) == 0 : noted == v1[i][1],
                             "%s: '%s'", v1[i][0], noted ? noted : "");
        }
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(CONFIG(",\"vm\":{\"x\":1}"));
        CHECK_STRING(config->foreign, "vm");
}

/* config.md, "Extensibility". */
static void members_that_nobody_knows_are_passed_over(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config =
                parsed(CONFIG(",\"nonsense\":1,\"windows\":{},\"hooks\":{\"poststop\":[],\"x\":1},"
                              "\"process\":{\"args\":[\"x\"],\"cwd\":\"/\",\"apparmorProfile\":\"\","
                              "\"selinuxLabel\":\"\",\"commandLine\":\"x\",\"user\":{\"username\":\"x\"}},"
                              "\"linux\":{\"intelRdt\":null,\"new\":{}}"));
        CHECK(config->process.given && !config->foreign && !config->intel_rdt.given);
        CHECK(!config->process.apparmor_profile);
}

static void hooks(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = parsed(CONFIG(
                ",\"hooks\":{\"poststart\":[{\"path\":\"/a\",\"args\":[\"a\",\"b\"],\"env\":[\"A=1\"],"
                "\"timeout\":3},{\"path\":\"/b\"}]}"));
        const RuntimeHooks *poststart = &config->hooks[RUNTIME_HOOK_POSTSTART];
        CHECK_INT(poststart->count, 2);
        CHECK_STRING(poststart->items[0].path, "/a");
        CHECK_STRING(poststart->items[0].args[1], "b");
        CHECK_STRING(poststart->items[0].env[0], "A=1");
        CHECK_INT(poststart->items[0].timeout, 3);
        CHECK(!poststart->items[1].args && !poststart->items[1].env && poststart->items[1].timeout == 0);
        CHECK_INT(config->hooks[RUNTIME_HOOK_PRESTART].count, 0);
        for (RuntimeHookKind kind = 0; kind < _RUNTIME_HOOK_KIND_MAX; kind++)
                CHECK_INT(runtime_hook_kind_from_string(runtime_hook_kind_to_string(kind)), kind);
}

static void scheduling(void) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config =
                parsed(PROCESS(",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":5,\"nice\":-3,"
                               "\"flags\":[\"SCHED_FLAG_RESET_ON_FORK\",\"SCHED_FLAG_UTIL_CLAMP_MAX\"]},"
                               "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\",\"priority\":7},"
                               "\"execCPUAffinity\":{\"initial\":\"0\",\"final\":\"1-2\"}"));
        const RuntimeProcess *process = &config->process;
        CHECK(process->scheduler.given);
        CHECK_INT(process->scheduler.policy, 1);
        CHECK_INT(process->scheduler.priority, 5);
        CHECK_INT(process->scheduler.nice, -3);
        CHECK_INT(process->scheduler.flags, 0x41);
        CHECK_INT(process->io_priority, 3 << 13 | 7);
        CHECK_STRING(process->affinity_final, "1-2");
}

static void lists_of_numbers(void) {
        static const struct {
                const char *list;
                int result;
                unsigned long bits;
        } cases[] = {
                { "0", 0, 1 },
                { "0-2,7", 0, 0x87 },
                { " 1 , 3-4 ", 0, 0x1a },
                { "63", 0, 1UL << 63 },
                { "64", -ERANGE, 0 },
                { "", -EINVAL, 0 },
                { "2-1", -EINVAL, 0 },
                { "1,", -EINVAL, 0 },
                { "1-", -EINVAL, 0 },
                { "a", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "+1", -EINVAL, 0 },
                { "1;2", -EINVAL, 0 },
                { "99999999999999999999", -ERANGE, 0 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                unsigned long bits = 0;
                int r = runtime_list_to_bits(cases[i].list, &bits, 64);
                CHECK_FORMAT(r == cases[i].result, "'%s' gives %i", cases[i].list, r);
                CHECK_FORMAT(r < 0 || bits == cases[i].bits, "'%s' gives %lx", cases[i].list, bits);
        }
}

static void a_process_and_resources_of_their_own(void) {
        static const char process_text[] = "{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"uid\":5}}";
        static const char resources_text[] = "{\"pids\":{\"limit\":7}}";
        Fault none = FAULT_NULL;
        _cleanup_json_ json_object *document = NULL, *other = NULL;
        CHECK_OK(json_parse(process_text, strlen(process_text), "process", &document, &none));
        CHECK_OK(json_parse(resources_text, strlen(resources_text), "resources", &other, &none));
        RuntimeProcess process;
        CHECK_OK(runtime_process_parse(document, &process, &none));
        CHECK_INT(process.uid, 5);
        CHECK_INT(process.io_priority, 0);
        runtime_process_done(&process);
        RuntimeResources resources;
        CHECK_OK(runtime_resources_parse(other, &resources, &none));
        CHECK_INT(resources.pids_limit, 7);
        CHECK(resources.memory_limit == RUNTIME_UNSET);
        runtime_resources_done(&resources);
        CHECK_FAULT(runtime_process_parse(other, &process, &fault), -EBADMSG, "process.args: is missing");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_process),
                CHECK_CASE(what_is_not_given),
                CHECK_CASE(capabilities),
                CHECK_CASE(capabilities_that_nobody_knows_are_noted),
                CHECK_CASE(namespaces_mounts_and_devices),
                CHECK_CASE(resources),
                CHECK_CASE(seccomp),
                CHECK_CASE(rules_that_can_be_left),
                CHECK_CASE(what_is_wrong_around_rules_that_are_left_is_seen),
                CHECK_CASE(malformed_members_are_named),
                CHECK_CASE(what_no_host_has_is_said),
                CHECK_CASE(what_only_others_have_is_remembered),
                CHECK_CASE(members_that_nobody_knows_are_passed_over),
                CHECK_CASE(hooks),
                CHECK_CASE(scheduling),
                CHECK_CASE(lists_of_numbers),
                CHECK_CASE(a_process_and_resources_of_their_own),
                {},
        });
}
