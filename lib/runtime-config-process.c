/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.process: config.md, "Process", "POSIX process" and "Linux process". */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

static const char *const process_members[] = {
        "terminal",
        "consoleSize",
        "user",
        "args",
        "env",
        "cwd",
        "capabilities",
        "rlimits",
        "noNewPrivileges",
        "oomScoreAdj",
        "apparmorProfile",
        "selinuxLabel",
        "scheduler",
        "ioPriority",
        "execCPUAffinity",
        "commandLine", /* of another platform */
        NULL,
};

static const char *const capability_names[] = {
        [CAP_CHOWN] = "CAP_CHOWN",
        [CAP_DAC_OVERRIDE] = "CAP_DAC_OVERRIDE",
        [CAP_DAC_READ_SEARCH] = "CAP_DAC_READ_SEARCH",
        [CAP_FOWNER] = "CAP_FOWNER",
        [CAP_FSETID] = "CAP_FSETID",
        [CAP_KILL] = "CAP_KILL",
        [CAP_SETGID] = "CAP_SETGID",
        [CAP_SETUID] = "CAP_SETUID",
        [CAP_SETPCAP] = "CAP_SETPCAP",
        [CAP_LINUX_IMMUTABLE] = "CAP_LINUX_IMMUTABLE",
        [CAP_NET_BIND_SERVICE] = "CAP_NET_BIND_SERVICE",
        [CAP_NET_BROADCAST] = "CAP_NET_BROADCAST",
        [CAP_NET_ADMIN] = "CAP_NET_ADMIN",
        [CAP_NET_RAW] = "CAP_NET_RAW",
        [CAP_IPC_LOCK] = "CAP_IPC_LOCK",
        [CAP_IPC_OWNER] = "CAP_IPC_OWNER",
        [CAP_SYS_MODULE] = "CAP_SYS_MODULE",
        [CAP_SYS_RAWIO] = "CAP_SYS_RAWIO",
        [CAP_SYS_CHROOT] = "CAP_SYS_CHROOT",
        [CAP_SYS_PTRACE] = "CAP_SYS_PTRACE",
        [CAP_SYS_PACCT] = "CAP_SYS_PACCT",
        [CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
        [CAP_SYS_BOOT] = "CAP_SYS_BOOT",
        [CAP_SYS_NICE] = "CAP_SYS_NICE",
        [CAP_SYS_RESOURCE] = "CAP_SYS_RESOURCE",
        [CAP_SYS_TIME] = "CAP_SYS_TIME",
        [CAP_SYS_TTY_CONFIG] = "CAP_SYS_TTY_CONFIG",
        [CAP_MKNOD] = "CAP_MKNOD",
        [CAP_LEASE] = "CAP_LEASE",
        [CAP_AUDIT_WRITE] = "CAP_AUDIT_WRITE",
        [CAP_AUDIT_CONTROL] = "CAP_AUDIT_CONTROL",
        [CAP_SETFCAP] = "CAP_SETFCAP",
        [CAP_MAC_OVERRIDE] = "CAP_MAC_OVERRIDE",
        [CAP_MAC_ADMIN] = "CAP_MAC_ADMIN",
        [CAP_SYSLOG] = "CAP_SYSLOG",
        [CAP_WAKE_ALARM] = "CAP_WAKE_ALARM",
        [CAP_BLOCK_SUSPEND] = "CAP_BLOCK_SUSPEND",
        [CAP_AUDIT_READ] = "CAP_AUDIT_READ",
        [CAP_PERFMON] = "CAP_PERFMON",
        [CAP_BPF] = "CAP_BPF",
        [CAP_CHECKPOINT_RESTORE] = "CAP_CHECKPOINT_RESTORE",
};

static const struct {
        const char *name;
        int resource;
} rlimit_names[] = {
        { "RLIMIT_AS", RLIMIT_AS },
        { "RLIMIT_CORE", RLIMIT_CORE },
        { "RLIMIT_CPU", RLIMIT_CPU },
        { "RLIMIT_DATA", RLIMIT_DATA },
        { "RLIMIT_FSIZE", RLIMIT_FSIZE },
        { "RLIMIT_LOCKS", RLIMIT_LOCKS },
        { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
        { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
        { "RLIMIT_NICE", RLIMIT_NICE },
        { "RLIMIT_NOFILE", RLIMIT_NOFILE },
        { "RLIMIT_NPROC", RLIMIT_NPROC },
        { "RLIMIT_RSS", RLIMIT_RSS },
        { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
        { "RLIMIT_RTTIME", RLIMIT_RTTIME },
        { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
        { "RLIMIT_STACK", RLIMIT_STACK },
};

const char *runtime_capability_to_string(unsigned number) {
        return number < ELEMENTS_OF(capability_names) ? capability_names[number] : NULL;
}

static int note_unknown_capability(RuntimeProcess *process, const char *name) {
        size_t count = 0;
        for (; process->unknown_capabilities && process->unknown_capabilities[count]; count++)
                if (string_equal(process->unknown_capabilities[count], name))
                        return 0;
        const char **larger = realloc(process->unknown_capabilities, (count + 2) * sizeof(char *));
        if (!larger)
                return -ENOMEM;
        larger[count] = name;
        larger[count + 1] = NULL;
        process->unknown_capabilities = larger;
        return 0;
}

/* "Runtimes SHOULD NOT fail if the container configuration requests capabilities that cannot be granted",
 * and a name that is newer than this program is one of them; whoever makes the container warns of it. */
static int parse_capability_set(const JsonNode *node, const char *key, RuntimeProcess *process,
                                uint64_t *ret, Fault *fault) {
        _cleanup_free_ const char **names = NULL;
        int r = config_get_strings(node, key, JSON_OPTIONAL, &names, fault);
        if (r <= 0)
                return r;
        uint64_t set = 0;
        STRV_FOREACH (name, names) {
                int number = string_table_find(capability_names, ELEMENTS_OF(capability_names), name);
                if (number >= 0)
                        set |= UINT64_C(1) << number;
                else if ((r = note_unknown_capability(process, name)) < 0)
                        return r;
        }
        *ret = set;
        return 0;
}

static int parse_capabilities(const JsonNode *parent, RuntimeProcess *process, Fault *fault) {
        static const char *const members[] = {
                "bounding", "effective", "permitted", "inheritable", "ambient", NULL,
        };
        RuntimeCapabilities *sets = &process->capabilities;
        JsonNode node;
        int r = json_get(parent, "capabilities", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        config_note_unknown(&node, members);
        if ((r = parse_capability_set(&node, "bounding", process, &sets->bounding, fault)) < 0 ||
            (r = parse_capability_set(&node, "effective", process, &sets->effective, fault)) < 0 ||
            (r = parse_capability_set(&node, "permitted", process, &sets->permitted, fault)) < 0 ||
            (r = parse_capability_set(&node, "inheritable", process, &sets->inheritable, fault)) < 0 ||
            (r = parse_capability_set(&node, "ambient", process, &sets->ambient, fault)) < 0)
                return r;
        /* capabilities(7): what the kernel would answer with EPERM, said with the name of the field. */
        if (sets->effective & ~sets->permitted)
                return json_fault_member(&node, "effective", fault, -EBADMSG,
                                         "has what is not in permitted");
        /* What "runc spec" itself writes: an ambient capability that is not inheritable is none. */
        sets->ambient &= sets->permitted & sets->inheritable;
        return 0;
}

static int parse_rlimit(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "type", "soft", "hard", NULL };
        RuntimeRlimit *limit = element;
        const char *name;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_string(node, "type", JSON_REQUIRED, &name, fault)) < 0 ||
            (r = json_get_uint64(node, "soft", JSON_REQUIRED, &limit->soft, fault)) < 0 ||
            (r = json_get_uint64(node, "hard", JSON_REQUIRED, &limit->hard, fault)) < 0)
                return r;
        if (limit->soft > limit->hard)
                return json_fault_member(node, "soft", fault, -EBADMSG, "is above hard");
        for (size_t i = 0; i < ELEMENTS_OF(rlimit_names); i++)
                if (string_equal(rlimit_names[i].name, name)) {
                        limit->resource = rlimit_names[i].resource;
                        return 0;
                }
        return json_fault_member(node, "type", fault, -EBADMSG, "'%s' is not known", name);
}

static int parse_rlimits(const JsonNode *node, RuntimeProcess *process, Fault *fault) {
        int r = config_get_items(node, "rlimits", sizeof(RuntimeRlimit), parse_rlimit,
                                 (void **) &process->rlimits, &process->rlimit_count, fault);
        if (r <= 0)
                return r;
        unsigned seen = 0;
        for (size_t i = 0; i < process->rlimit_count; i++) {
                unsigned bit = 1U << process->rlimits[i].resource;
                if (seen & bit)
                        return json_fault_member(node, "rlimits", fault, -EBADMSG, "a type is given twice");
                seen |= bit;
        }
        return 0;
}

static int parse_additional_gids(const JsonNode *user, RuntimeProcess *process, Fault *fault) {
        JsonNode array;
        int r = json_get(user, "additionalGids", json_type_array, JSON_OPTIONAL, &array, fault);
        if (r <= 0)
                return r;
        size_t count = json_length(&array);
        process->additional_gids = new0(uint32_t, count + 1);
        if (!process->additional_gids)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                JsonNode item;
                r = json_item(&array, i, json_type_int, &item, fault);
                if (r < 0)
                        return r;
                int64_t gid = json_object_get_int64(item.value);
                if (gid < 0 || gid >= UINT32_MAX)
                        return json_fault(&item, fault, "is not a group number");
                process->additional_gids[i] = (uint32_t) gid;
        }
        process->additional_gid_count = count;
        return 0;
}

static int parse_user(const JsonNode *node, RuntimeProcess *process, Fault *fault) {
        static const char *const members[] = {
                "uid",      "gid", "umask", "additionalGids",
                "username", NULL, /* the last is another platform's */
        };
        JsonNode user;
        int r = json_get(node, "user", json_type_object, JSON_OPTIONAL, &user, fault);
        if (r <= 0)
                return r;
        int64_t uid = 0, gid = 0, mask = RUNTIME_UNSET;
        config_note_unknown(&user, members);
        if ((r = config_get_number(&user, "uid", 0, UINT32_MAX - 1, &uid, fault)) < 0 ||
            (r = config_get_number(&user, "gid", 0, UINT32_MAX - 1, &gid, fault)) < 0 ||
            (r = config_get_number(&user, "umask", 0, 0777, &mask, fault)) < 0)
                return r;
        process->uid = (uint32_t) uid;
        process->gid = (uint32_t) gid;
        if (mask != RUNTIME_UNSET)
                process->umask = (mode_t) mask;
        return parse_additional_gids(&user, process, fault);
}

static int parse_console_size(const JsonNode *node, RuntimeProcess *process, Fault *fault) {
        static const char *const members[] = { "height", "width", NULL };
        JsonNode size;
        int r = json_get(node, "consoleSize", json_type_object, JSON_OPTIONAL, &size, fault);
        if (r <= 0)
                return r;
        int64_t height = 0, width = 0;
        config_note_unknown(&size, members);
        if ((r = config_get_number(&size, "height", 0, UINT16_MAX, &height, fault)) < 0 ||
            (r = config_get_number(&size, "width", 0, UINT16_MAX, &width, fault)) < 0)
                return r;
        process->console_height = (uint16_t) height;
        process->console_width = (uint16_t) width;
        return 0;
}

/* Names that the runtime writes into a file of the kernel. */
static int parse_label(const JsonNode *node, const char *key, const char **ret, Fault *fault) {
        const char *label = NULL;
        int r = json_get_string(node, key, JSON_OPTIONAL, &label, fault);
        if (r <= 0 || string_is_empty(label))
                return r;
        if (!string_is_printable(label))
                return json_fault_member(node, key, fault, -EBADMSG, "has control characters");
        *ret = label;
        return 0;
}

int config_parse_process(const JsonNode *node, RuntimeProcess *process, Fault *fault) {
        int r;
        config_note_unknown(node, process_members);
        if ((r = json_get_bool(node, "terminal", JSON_OPTIONAL, &process->terminal, fault)) < 0 ||
            (r = parse_console_size(node, process, fault)) < 0 ||
            (r = parse_user(node, process, fault)) < 0 ||
            (r = config_get_strings(node, "args", JSON_REQUIRED, &process->args, fault)) < 0 ||
            (r = config_get_strings(node, "env", JSON_OPTIONAL, &process->env, fault)) < 0 ||
            (r = json_get_string(node, "cwd", JSON_REQUIRED, &process->cwd, fault)) < 0 ||
            (r = parse_capabilities(node, process, fault)) < 0 ||
            (r = parse_rlimits(node, process, fault)) < 0 ||
            (r = json_get_bool(node, "noNewPrivileges", JSON_OPTIONAL, &process->no_new_privileges, fault)) <
                    0 ||
            (r = config_get_number(node, "oomScoreAdj", -1000, 1000, &process->oom_score_adj, fault)) < 0 ||
            (r = parse_label(node, "apparmorProfile", &process->apparmor_profile, fault)) < 0 ||
            (r = parse_label(node, "selinuxLabel", &process->selinux_label, fault)) < 0 ||
            (r = config_parse_scheduling(node, process, fault)) < 0)
                return r;

        if (!process->args[0] || process->args[0][0] == '\0')
                return json_fault_member(node, "args", fault, -EBADMSG, "names no program");
        if (process->cwd[0] != '/')
                return json_fault_member(node, "cwd", fault, -EBADMSG, "must be an absolute path");
        STRV_FOREACH (assignment, process->env)
                if (!strchr(assignment, '=') || assignment[0] == '=')
                        return json_fault_member(node, "env", fault, -EBADMSG, "'%.64s' is not NAME=value",
                                                 assignment);
        process->given = true;
        return 0;
}

void runtime_process_init(RuntimeProcess *process) {
        *process = (RuntimeProcess){
                .umask = RUNTIME_UMASK_UNSET,
                .oom_score_adj = RUNTIME_UNSET,
        };
}

int runtime_process_parse(json_object *document, RuntimeProcess *ret, Fault *fault) {
        JsonNode root = json_root(document, "process");
        RuntimeProcess process;
        runtime_process_init(&process);
        if (!json_object_is_type(document, json_type_object))
                return json_fault(&root, fault, "must be an object");
        int r = config_parse_process(&root, &process, fault);
        if (r < 0) {
                runtime_process_done(&process);
                return r;
        }
        *ret = process;
        return 0;
}

void runtime_process_done(RuntimeProcess *process) {
        free(process->additional_gids);
        free(process->unknown_capabilities);
        free(process->args);
        free(process->env);
        free(process->rlimits);
        runtime_process_init(process);
}
