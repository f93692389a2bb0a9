/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line of crt-oci, which is runc's: which command, and every option that was given. */

#include <stdbool.h>
#include <stddef.h>

#include "lib/fault.h"

typedef enum OciCommand {
        OCI_COMMAND_HELP,
        OCI_COMMAND_VERSION,
        OCI_COMMAND_CREATE,
        OCI_COMMAND_START,
        OCI_COMMAND_RUN,
        OCI_COMMAND_STATE,
        OCI_COMMAND_KILL,
        OCI_COMMAND_DELETE,
        OCI_COMMAND_EXEC,
        OCI_COMMAND_PAUSE,
        OCI_COMMAND_RESUME,
        OCI_COMMAND_PS,
        OCI_COMMAND_LIST,
        OCI_COMMAND_UPDATE,
        OCI_COMMAND_EVENTS,
        OCI_COMMAND_SPEC,
        OCI_COMMAND_FEATURES,
        OCI_COMMAND_CHECKPOINT,
        OCI_COMMAND_RESTORE,
        _OCI_COMMAND_MAX,
        _OCI_COMMAND_INVALID = -22,
} OciCommand;

const char *oci_command_to_string(OciCommand command);
OciCommand oci_command_from_string(const char *name);

typedef enum OciRootless {
        OCI_ROOTLESS_AUTO,
        OCI_ROOTLESS_TRUE,
        OCI_ROOTLESS_FALSE,
} OciRootless;

/* What an option that may be given more than once has gathered. NULL-terminated. */
typedef struct OciList {
        const char **items;
        size_t count;
} OciList;

typedef struct OciExecOptions {
        const char *process, *user, *cwd, *apparmor, *label, *cgroup;
        OciList env, capabilities, additional_gids;
        bool tty, no_new_privileges, ignore_paused;
} OciExecOptions;

/* As they were given: NULL where they were not. */
typedef struct OciUpdateOptions {
        const char *resources;
        const char *blkio_weight;
        const char *cpu_period, *cpu_quota, *cpu_burst, *cpu_shares, *cpu_idle;
        const char *cpu_rt_period, *cpu_rt_runtime;
        const char *cpuset_cpus, *cpuset_mems;
        const char *kernel_memory, *kernel_memory_tcp;
        const char *memory, *memory_reservation, *memory_swap;
        const char *pids_limit;
        const char *l3_cache_schema, *mem_bw_schema;
} OciUpdateOptions;

typedef struct OciCheckpointOptions {
        const char *image_path, *work_path, *parent_path, *page_server, *cgroups_mode;
        const char *lsm_profile, *lsm_mount_context;
        const char *status_fd;
        OciList empty_ns;
        bool leave_running, tcp_established, tcp_skip_in_flight, ext_unix_sk, shell_job, lazy_pages;
        bool file_locks, pre_dump, auto_dedup, link_remap;
} OciCheckpointOptions;

typedef struct OciOptions {
        OciCommand command;
        OciCommand topic; /* of help; _OCI_COMMAND_INVALID: all */

        const char *root; /* NULL: the default, which depends on who calls */
        const char *log;  /* NULL: none beside stderr */
        const char *log_level, *cgroup_manager, *criu;
        bool log_json, debug, systemd_cgroup;
        OciRootless rootless;

        const char *id;
        const char **arguments; /* what follows the id; NULL-terminated, owned with the list of all */
        size_t argument_count;

        const char *bundle; /* NULL: the current directory */
        const char *pid_file, *console_socket, *pidfd_socket;
        unsigned preserve_fds;
        bool no_new_keyring, no_pivot, no_subreaper;
        bool detach, keep; /* run, exec, restore */
        bool force;        /* delete */
        bool all;          /* kill */
        int signal;        /* kill */
        bool json, quiet;  /* list and ps */
        bool spec_rootless;
        bool stats;           /* events */
        unsigned interval_ms; /* events */
        OciExecOptions exec;
        OciUpdateOptions update;
        OciCheckpointOptions checkpoint;

        const char **words; /* owns the arrays of arguments */
} OciOptions;

/* ret->log and log_json are set as far as they were read even on failure: the complaint belongs into that
 * log. In any case oci_options_done(). */
int oci_options_parse(int argc, char *argv[], OciOptions *ret, Fault *fault);
void oci_options_done(OciOptions *options);
