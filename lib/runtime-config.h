/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The OCI runtime configuration (config.json, runtime-spec config.md and config-linux.md), checked and in
 * the form that the runtime works on. Strings are borrowed from the document that the configuration owns. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef enum RuntimeNamespaceType {
        RUNTIME_NAMESPACE_USER,
        RUNTIME_NAMESPACE_MOUNT,
        RUNTIME_NAMESPACE_PID,
        RUNTIME_NAMESPACE_NETWORK,
        RUNTIME_NAMESPACE_IPC,
        RUNTIME_NAMESPACE_UTS,
        RUNTIME_NAMESPACE_CGROUP,
        RUNTIME_NAMESPACE_TIME,
        _RUNTIME_NAMESPACE_MAX,
        _RUNTIME_NAMESPACE_INVALID = -22,
} RuntimeNamespaceType;

const char *runtime_namespace_to_string(RuntimeNamespaceType type);
RuntimeNamespaceType runtime_namespace_from_string(const char *name);

typedef struct RuntimeNamespace {
        bool wanted;
        const char *path; /* joined; NULL: a new one */
} RuntimeNamespace;

typedef struct RuntimeIdMapping {
        uint32_t container_id, host_id, size;
} RuntimeIdMapping;

typedef struct RuntimeIdMappings {
        RuntimeIdMapping *uids, *gids;
        size_t uid_count, gid_count;
} RuntimeIdMappings;

/* Of a time namespace's clock (time_namespaces(7)). */
typedef struct RuntimeTimeOffset {
        bool given;
        int64_t seconds;
        uint32_t nanoseconds;
} RuntimeTimeOffset;

typedef struct RuntimeMount {
        const char *destination; /* absolute */
        const char *source;      /* NULL if not given */
        const char *type;        /* NULL if not given */
        const char **options;    /* NULL-terminated */
        RuntimeIdMappings mappings;
} RuntimeMount;

typedef enum RuntimeHookKind {
        RUNTIME_HOOK_PRESTART,
        RUNTIME_HOOK_CREATE_RUNTIME,
        RUNTIME_HOOK_CREATE_CONTAINER,
        RUNTIME_HOOK_START_CONTAINER,
        RUNTIME_HOOK_POSTSTART,
        RUNTIME_HOOK_POSTSTOP,
        _RUNTIME_HOOK_KIND_MAX,
        _RUNTIME_HOOK_KIND_INVALID = -22,
} RuntimeHookKind;

const char *runtime_hook_kind_to_string(RuntimeHookKind kind);
RuntimeHookKind runtime_hook_kind_from_string(const char *name);

typedef struct RuntimeHook {
        const char *path;  /* absolute */
        const char **args; /* NULL-terminated; NULL: the path alone */
        const char **env;  /* NULL-terminated; NULL: empty */
        int64_t timeout;   /* seconds; 0: none */
} RuntimeHook;

typedef struct RuntimeHooks {
        RuntimeHook *items; /* in the order in which they run */
        size_t count;
} RuntimeHooks;

typedef struct RuntimeDevice {
        const char *path;
        char type; /* 'c', 'b' or 'p' ('u' is given as 'c') */
        uint32_t major, minor;
        mode_t mode;
        uint32_t uid, gid;
} RuntimeDevice;

typedef struct RuntimeDeviceRule {
        bool allow;
        char type;            /* 'a', 'c' or 'b' */
        int64_t major, minor; /* -1: any */
        bool read, write, mknod;
} RuntimeDeviceRule;

typedef struct RuntimeRlimit {
        int resource; /* RLIMIT_* */
        uint64_t soft, hard;
} RuntimeRlimit;

typedef struct RuntimePair {
        const char *key, *value;
} RuntimePair;

typedef struct RuntimeThrottle {
        const char *key; /* of io.max: rbps, wbps, riops, wiops */
        uint32_t major, minor;
        uint64_t rate;
} RuntimeThrottle;

typedef struct RuntimeDeviceWeight {
        uint32_t major, minor;
        int64_t weight;
} RuntimeDeviceWeight;

typedef struct RuntimeRdmaLimit {
        const char *device;
        int64_t handles, objects; /* RUNTIME_UNSET: not given */
} RuntimeRdmaLimit;

typedef struct RuntimeHugepageLimit {
        const char *page_size; /* "2MB" */
        uint64_t limit;
} RuntimeHugepageLimit;

/* Numbers as the specification has them; what is not given is RUNTIME_UNSET. */
#define RUNTIME_UNSET INT64_MIN

typedef struct RuntimeResources {
        RuntimeDeviceRule *device_rules;
        size_t device_rule_count;
        int64_t memory_limit, memory_reservation, memory_swap;
        bool memory_check_before_update;
        int64_t cpu_shares, cpu_quota, cpu_period, cpu_burst, cpu_idle;
        const char *cpuset_cpus, *cpuset_mems;
        int64_t pids_limit;
        int64_t blkio_weight;
        RuntimeDeviceWeight *device_weights;
        size_t device_weight_count;
        RuntimeThrottle *throttles;
        size_t throttle_count;
        RuntimeHugepageLimit *hugepage_limits;
        size_t hugepage_limit_count;
        RuntimeRdmaLimit *rdma_limits;
        size_t rdma_limit_count;
        RuntimePair *unified; /* cgroup v2 file and what is written into it */
        size_t unified_count;
        const char *v1_only; /* "memory.kernel": what is asked for and no cgroup v2 has; NULL: nothing */
} RuntimeResources;

typedef enum RuntimeSeccompComparison {
        RUNTIME_SECCOMP_NOT_EQUAL,
        RUNTIME_SECCOMP_LESS,
        RUNTIME_SECCOMP_LESS_OR_EQUAL,
        RUNTIME_SECCOMP_EQUAL,
        RUNTIME_SECCOMP_GREATER_OR_EQUAL,
        RUNTIME_SECCOMP_GREATER,
        RUNTIME_SECCOMP_MASKED_EQUAL, /* value is the mask, value_two what must remain */
        _RUNTIME_SECCOMP_COMPARISON_MAX,
        _RUNTIME_SECCOMP_COMPARISON_INVALID = -22,
} RuntimeSeccompComparison;

typedef struct RuntimeSeccompArgument {
        uint32_t index;
        uint64_t value, value_two;
        RuntimeSeccompComparison comparison;
} RuntimeSeccompArgument;

typedef enum RuntimeSeccompAction {
        RUNTIME_SECCOMP_KILL_THREAD,
        RUNTIME_SECCOMP_KILL_PROCESS,
        RUNTIME_SECCOMP_TRAP,
        RUNTIME_SECCOMP_ERRNO,
        RUNTIME_SECCOMP_TRACE,
        RUNTIME_SECCOMP_ALLOW,
        RUNTIME_SECCOMP_LOG,
        RUNTIME_SECCOMP_NOTIFY,
        _RUNTIME_SECCOMP_ACTION_MAX,
        _RUNTIME_SECCOMP_ACTION_INVALID = -22,
} RuntimeSeccompAction;

typedef struct RuntimeSeccompRule {
        const char **names; /* NULL-terminated */
        RuntimeSeccompAction action;
        uint32_t errno_return; /* for ERRNO and TRACE */
        RuntimeSeccompArgument *arguments;
        size_t argument_count;
} RuntimeSeccompRule;

typedef struct RuntimeSeccomp {
        RuntimeSeccompAction default_action;
        uint32_t default_errno_return;
        bool flag_log, flag_spec_allow, flag_wait_killable;
        bool notifies;                                 /* NOTIFY is among its actions */
        const char *listener_path, *listener_metadata; /* NULL: not given */
        const char **architectures; /* "SCMP_ARCH_X86_64", …; NULL-terminated, or NULL for the native one */
        RuntimeSeccompRule *rules;
        size_t rule_count;
        char *rules_text; /* what they were written as, rules_size bytes; NULL: not known */
        size_t rules_size;
        bool rules_left; /* they were not read: see runtime_config_parse_sparing() */
} RuntimeSeccomp;

#define RUNTIME_UMASK_UNSET ((mode_t) -1)

/* One bit for each CAP_* number. */
typedef struct RuntimeCapabilities {
        uint64_t bounding, effective, permitted, inheritable, ambient;
} RuntimeCapabilities;

/* sched_setattr(2). */
typedef struct RuntimeScheduler {
        bool given;
        uint32_t policy; /* SCHED_* */
        uint64_t flags;  /* SCHED_FLAG_* */
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
} RuntimeScheduler;

typedef struct RuntimeProcess {
        bool given;
        bool terminal;
        uint16_t console_height, console_width; /* 0: not given */
        uint32_t uid, gid;
        uint32_t *additional_gids;
        size_t additional_gid_count;
        mode_t umask;      /* RUNTIME_UMASK_UNSET: not given */
        const char **args; /* NULL-terminated, never empty */
        const char **env;  /* NULL-terminated */
        const char *cwd;
        RuntimeCapabilities capabilities;
        const char **unknown_capabilities; /* NULL-terminated, or NULL: to be warned of */
        RuntimeRlimit *rlimits;
        size_t rlimit_count;
        bool no_new_privileges;
        int64_t oom_score_adj;                        /* RUNTIME_UNSET: not given */
        const char *apparmor_profile, *selinux_label; /* NULL: not given */
        RuntimeScheduler scheduler;
        int io_priority;                               /* ioprio_set(2); 0: not given */
        const char *affinity_initial, *affinity_final; /* of exec: lists of processors; NULL: not given */
} RuntimeProcess;

/* A process of its own, as "exec --process" brings it. Strings are borrowed from the document. */
void runtime_process_init(RuntimeProcess *process);
int runtime_process_parse(json_object *document, RuntimeProcess *ret, Fault *fault);
void runtime_process_done(RuntimeProcess *process);

/* Resources of their own, as "update --resources" brings them. */
int runtime_resources_parse(json_object *document, RuntimeResources *ret, Fault *fault);
void runtime_resources_init(RuntimeResources *resources);
void runtime_resources_done(RuntimeResources *resources);

/* set_mempolicy(2). */
typedef struct RuntimeMemoryPolicy {
        bool given;
        int mode;          /* MPOL_* with MPOL_F_* */
        const char *nodes; /* a list; NULL: none */
} RuntimeMemoryPolicy;

typedef struct RuntimeIntelRdt {
        bool given, enable_monitoring;
        const char *clos_id;               /* NULL: the container's name */
        const char *l3_schema, *bandwidth; /* NULL: not given */
        const char **schemata;             /* NULL-terminated, or NULL */
} RuntimeIntelRdt;

typedef struct RuntimeNetDevice {
        const char *name;     /* outside */
        const char *new_name; /* inside; may be a pattern "eth%d" */
} RuntimeNetDevice;

/* "0-2,7" as bits. -EINVAL for what is no such list, -ERANGE beyond the last bit. */
int runtime_list_to_bits(const char *list, unsigned long *bits, size_t bit_count);

typedef enum RuntimePropagation {
        RUNTIME_PROPAGATION_DEFAULT,
        RUNTIME_PROPAGATION_PRIVATE,
        RUNTIME_PROPAGATION_SHARED,
        RUNTIME_PROPAGATION_SLAVE,
        RUNTIME_PROPAGATION_UNBINDABLE,
} RuntimePropagation;

const char *runtime_capability_to_string(unsigned number);

typedef struct RuntimeConfig {
        json_object *document; /* owns all strings */
        const char *oci_version;
        const char *hostname, *domainname; /* NULL: not given */
        const char *root_path;             /* NULL: the request brings a mount */
        bool root_readonly;
        RuntimePropagation root_propagation;
        bool root_propagation_recursive;
        RuntimeProcess process;
        RuntimeMount *mounts;
        size_t mount_count;
        RuntimeHooks hooks[_RUNTIME_HOOK_KIND_MAX];
        RuntimeNamespace namespaces[_RUNTIME_NAMESPACE_MAX];
        RuntimeIdMappings mappings;
        RuntimeTimeOffset boottime_offset, monotonic_offset;
        RuntimeNetDevice *net_devices;
        size_t net_device_count;
        RuntimeDevice *devices;
        size_t device_count;
        RuntimePair *sysctls;
        size_t sysctl_count;
        const char **masked_paths, **readonly_paths; /* NULL-terminated */
        const char *cgroups_path;                    /* NULL: not given */
        RuntimeResources resources;
        RuntimeSeccomp *seccomp;
        RuntimeIntelRdt intel_rdt;
        RuntimeMemoryPolicy memory_policy;
        bool personality_given;
        unsigned long personality; /* PER_LINUX or PER_LINUX32 */
        const char *mount_label;   /* NULL: not given */
        const char *foreign; /* "vm": a section for another platform that asks for something; or NULL */
        RuntimePair *annotations;
        size_t annotation_count;
} RuntimeConfig;

/* Refuses, naming the field, what is malformed and values that are not known (-EBADMSG). Members that are
 * not known are passed over, as the specification wants it. What parses is carried out in full, or refused
 * when the container is prepared, with the reason why this host can't. */
int runtime_config_parse(const char *data, size_t size, RuntimeConfig **ret, Fault *fault);
int runtime_config_parse_fd(int fd, RuntimeConfig **ret, Fault *fault);

/* For somebody who may know a program compiled from the same rules. A profile is the longest part of most
 * configurations: if nothing of it but that program is needed, config.linux.seccomp.syscalls is not read,
 * and may be anything. Who does not know it parses again. */
int runtime_config_parse_sparing(const char *data, size_t size, RuntimeConfig **ret, Fault *fault);
int runtime_config_parse_sparing_fd(int fd, RuntimeConfig **ret, Fault *fault);

RuntimeConfig *runtime_config_free(RuntimeConfig *config);
DEFINE_CLEANUP(RuntimeConfig *, runtime_config_free);
