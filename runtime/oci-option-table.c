/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-option-table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/strv.h"

#define COMMAND(name) (1U << OCI_COMMAND_##name)
#define CREATE (COMMAND(CREATE) | COMMAND(RUN))
#define MAKES (CREATE | COMMAND(RESTORE))
#define CRIU (COMMAND(CHECKPOINT) | COMMAND(RESTORE))

#define FLAG(name, letter, member, commands, help)                                                          \
        { name, letter, OCI_OPTION_FLAG, offsetof(OciOptions, member), commands, NULL, help }
#define TEXT(name, letter, member, commands, value, help)                                                   \
        { name, letter, OCI_OPTION_TEXT, offsetof(OciOptions, member), commands, value, help }
#define LIST(name, letter, member, commands, value, help)                                                   \
        { name, letter, OCI_OPTION_LIST, offsetof(OciOptions, member), commands, value, help }
#define WORD(name, letter, commands, value, help)                                                           \
        { name, letter, OCI_OPTION_WORD, 0, commands, value, help }

const OciOption oci_option_table[] = {
        TEXT("root", 0, root, 0, "DIR", "where the state is kept (/run/crt-oci)"),
        TEXT("log", 0, log, 0, "FILE", "also write messages there"),
        WORD("log-format", 0, 0, "FORMAT", "text or json"),
        TEXT("log-level", 0, log_level, 0, "LEVEL", "error, warning, info or debug"),
        FLAG("debug", 0, debug, 0, "say what is done"),
        FLAG("systemd-cgroup", 0, systemd_cgroup, 0, "have systemd make the cgroup, as a scope"),
        TEXT("cgroup-manager", 0, cgroup_manager, 0, "NAME", "cgroupfs or systemd"),
        WORD("rootless", 0, 0, "WHEN", "true, false or auto: without rights over cgroups, do without"),
        TEXT("criu", 0, criu, 0, "FILE", "the program for checkpoint and restore (criu)"),

        TEXT("bundle", 'b', bundle, MAKES | COMMAND(SPEC), "DIR", "the bundle (the current directory)"),
        TEXT("console-socket", 0, console_socket, MAKES | COMMAND(EXEC), "PATH",
             "send the terminal's master to this socket"),
        TEXT("pid-file", 0, pid_file, MAKES | COMMAND(EXEC), "FILE", "write the pid there"),
        TEXT("pidfd-socket", 0, pidfd_socket, CREATE | COMMAND(EXEC), "PATH",
             "send a pidfd of the process to this socket"),
        WORD("preserve-fds", 0, CREATE | COMMAND(EXEC), "N", "hand on N more descriptors, from 3 on"),
        FLAG("no-pivot", 0, no_pivot, MAKES, "move the root over /, out of an initramfs"),
        FLAG("no-new-keyring", 0, no_new_keyring, CREATE, "share the caller's session keyring"),
        FLAG("detach", 'd', detach, COMMAND(RUN) | COMMAND(EXEC) | COMMAND(RESTORE), "do not wait"),
        FLAG("keep", 0, keep, COMMAND(RUN), "do not delete the container at its end"),
        FLAG("no-subreaper", 0, no_subreaper, COMMAND(RUN) | COMMAND(RESTORE),
             "without effect: this runtime never is one"),

        FLAG("rootless", 0, spec_rootless, COMMAND(SPEC), "for an ordinary user"),
        FLAG("all", 'a', all, COMMAND(KILL), "every process of the container"),
        FLAG("force", 'f', force, COMMAND(DELETE), "kill it if it runs; that there is none is no error"),
        WORD("format", 'f', COMMAND(LIST) | COMMAND(PS), "FORMAT", "table or json"),
        FLAG("quiet", 'q', quiet, COMMAND(LIST), "only the names"),

        TEXT("process", 'p', exec.process, COMMAND(EXEC), "FILE", "the process as JSON"),
        FLAG("tty", 't', exec.tty, COMMAND(EXEC), "with a terminal"),
        TEXT("user", 'u', exec.user, COMMAND(EXEC), "UID[:GID]", "as this user"),
        LIST("additional-gids", 'g', exec.additional_gids, COMMAND(EXEC), "GID", "in this group, too"),
        LIST("cap", 'c', exec.capabilities, COMMAND(EXEC), "CAP", "with this capability, too"),
        TEXT("cwd", 0, exec.cwd, COMMAND(EXEC), "DIR", "in this directory"),
        LIST("env", 'e', exec.env, COMMAND(EXEC), "NAME=VALUE", "with this in the environment"),
        TEXT("apparmor", 0, exec.apparmor, COMMAND(EXEC), "PROFILE", "AppArmor's profile"),
        TEXT("process-label", 0, exec.label, COMMAND(EXEC), "LABEL", "SELinux's label"),
        FLAG("no-new-privs", 0, exec.no_new_privileges, COMMAND(EXEC), "set no_new_privs"),
        TEXT("cgroup", 0, exec.cgroup, COMMAND(EXEC), "PATH", "in a cgroup below the container's"),
        FLAG("ignore-paused", 0, exec.ignore_paused, COMMAND(EXEC), "even if the container is paused"),

        TEXT("resources", 'r', update.resources, COMMAND(UPDATE), "FILE",
             "linux.resources as JSON; - is standard input"),
        TEXT("blkio-weight", 0, update.blkio_weight, COMMAND(UPDATE), "N", "10 to 1000"),
        TEXT("cpu-period", 0, update.cpu_period, COMMAND(UPDATE), "USEC", "the period of cpu-quota"),
        TEXT("cpu-quota", 0, update.cpu_quota, COMMAND(UPDATE), "USEC", "CPU time in each period"),
        TEXT("cpu-burst", 0, update.cpu_burst, COMMAND(UPDATE), "USEC", "what may be saved up"),
        TEXT("cpu-share", 0, update.cpu_shares, COMMAND(UPDATE), "N", "against other containers; 1024"),
        TEXT("cpu-rt-period", 0, update.cpu_rt_period, COMMAND(UPDATE), "USEC", "cgroup v1 only"),
        TEXT("cpu-rt-runtime", 0, update.cpu_rt_runtime, COMMAND(UPDATE), "USEC", "cgroup v1 only"),
        TEXT("cpu-idle", 0, update.cpu_idle, COMMAND(UPDATE), "0|1", "run only when nothing else does"),
        TEXT("cpuset-cpus", 0, update.cpuset_cpus, COMMAND(UPDATE), "LIST", "CPUs"),
        TEXT("cpuset-mems", 0, update.cpuset_mems, COMMAND(UPDATE), "LIST", "memory nodes"),
        TEXT("kernel-memory", 0, update.kernel_memory, COMMAND(UPDATE), "BYTES", "no effect in cgroup v2"),
        TEXT("kernel-memory-tcp", 0, update.kernel_memory_tcp, COMMAND(UPDATE), "BYTES",
             "no effect in cgroup v2"),
        TEXT("memory", 0, update.memory, COMMAND(UPDATE), "BYTES", "limit; -1: none"),
        TEXT("memory-reservation", 0, update.memory_reservation, COMMAND(UPDATE), "BYTES", "soft limit"),
        TEXT("memory-swap", 0, update.memory_swap, COMMAND(UPDATE), "BYTES",
             "memory and swap; -1: no limit"),
        TEXT("pids-limit", 0, update.pids_limit, COMMAND(UPDATE), "N", "processes; -1: no limit"),
        TEXT("l3-cache-schema", 0, update.l3_cache_schema, COMMAND(UPDATE), "TEXT", "of Intel RDT"),
        TEXT("mem-bw-schema", 0, update.mem_bw_schema, COMMAND(UPDATE), "TEXT", "of Intel RDT"),

        FLAG("stats", 0, stats, COMMAND(EVENTS), "print the numbers once"),
        WORD("interval", 0, COMMAND(EVENTS), "TIME", "between two reports: 5s, 500ms, 1m (5s)"),

        TEXT("image-path", 0, checkpoint.image_path, CRIU, "DIR", "CRIU's images (./checkpoint)"),
        TEXT("work-path", 0, checkpoint.work_path, CRIU, "DIR", "CRIU's logs (the images' directory)"),
        TEXT("parent-path", 0, checkpoint.parent_path, COMMAND(CHECKPOINT), "DIR",
             "images of an earlier --pre-dump, relative to image-path"),
        FLAG("leave-running", 0, checkpoint.leave_running, COMMAND(CHECKPOINT), "do not stop it"),
        FLAG("tcp-established", 0, checkpoint.tcp_established, CRIU, "with TCP connections"),
        FLAG("tcp-skip-in-flight", 0, checkpoint.tcp_skip_in_flight, COMMAND(CHECKPOINT),
             "without those that are being made"),
        FLAG("ext-unix-sk", 0, checkpoint.ext_unix_sk, CRIU, "with sockets to the outside"),
        FLAG("shell-job", 0, checkpoint.shell_job, CRIU, "with a terminal of the outside"),
        FLAG("lazy-pages", 0, checkpoint.lazy_pages, CRIU, "memory comes when it is touched"),
        TEXT("status-fd", 0, checkpoint.status_fd, COMMAND(CHECKPOINT), "FD", "ready with lazy pages"),
        TEXT("page-server", 0, checkpoint.page_server, COMMAND(CHECKPOINT), "ADDRESS:PORT",
             "memory goes there"),
        FLAG("file-locks", 0, checkpoint.file_locks, CRIU, "with locks of files"),
        FLAG("pre-dump", 0, checkpoint.pre_dump, COMMAND(CHECKPOINT), "only memory, and it runs on"),
        TEXT("manage-cgroups-mode", 0, checkpoint.cgroups_mode, CRIU, "MODE",
             "soft, full, strict or ignore"),
        LIST("empty-ns", 0, checkpoint.empty_ns, CRIU, "NAME", "a namespace without its contents"),
        FLAG("auto-dedup", 0, checkpoint.auto_dedup, CRIU, "no page twice"),
        FLAG("link-remap", 0, checkpoint.link_remap, COMMAND(CHECKPOINT), "with unlinked files"),
        TEXT("lsm-profile", 0, checkpoint.lsm_profile, COMMAND(RESTORE), "TYPE:NAME", "another profile"),
        TEXT("lsm-mount-context", 0, checkpoint.lsm_mount_context, COMMAND(RESTORE), "TEXT",
             "another mount context"),
};

const size_t oci_option_count = ELEMENTS_OF(oci_option_table);

static bool belongs_to(const OciOption *option, OciCommand command) {
        return command < 0 ? option->commands == 0 : (option->commands & (1U << command)) != 0;
}

const OciOption *oci_option_find(OciCommand command, const char *name, size_t length) {
        for (size_t i = 0; i < oci_option_count; i++) {
                const OciOption *option = &oci_option_table[i];
                if (belongs_to(option, command) && strlen(option->name) == length &&
                    strncmp(option->name, name, length) == 0)
                        return option;
        }
        return NULL;
}

const OciOption *oci_option_find_letter(OciCommand command, char letter) {
        for (size_t i = 0; i < oci_option_count; i++)
                if (oci_option_table[i].letter == letter && belongs_to(&oci_option_table[i], command))
                        return &oci_option_table[i];
        return NULL;
}

static const struct {
        const char *name, *arguments, *help;
} commands[_OCI_COMMAND_MAX] = {
        [OCI_COMMAND_HELP] = { "help", "[COMMAND]", "print this" },
        [OCI_COMMAND_VERSION] = { "version", "", "print the version" },
        [OCI_COMMAND_CREATE] = { "create", "CONTAINER", "make a container; its program waits for start" },
        [OCI_COMMAND_START] = { "start", "CONTAINER", "execute the program of a created container" },
        [OCI_COMMAND_RUN] = { "run", "CONTAINER", "create, start, wait and delete" },
        [OCI_COMMAND_STATE] = { "state", "CONTAINER", "print a container's state as JSON" },
        [OCI_COMMAND_KILL] = { "kill", "CONTAINER [SIGNAL]", "send a signal (SIGTERM) to its init" },
        [OCI_COMMAND_DELETE] = { "delete", "CONTAINER", "remove a stopped container" },
        [OCI_COMMAND_EXEC] = { "exec", "CONTAINER PROGRAM [ARGUMENT…]", "one more process in it" },
        [OCI_COMMAND_PAUSE] = { "pause", "CONTAINER", "freeze all its processes" },
        [OCI_COMMAND_RESUME] = { "resume", "CONTAINER", "let them go on" },
        [OCI_COMMAND_PS] = { "ps", "CONTAINER [PS OPTION…]", "list its processes" },
        [OCI_COMMAND_LIST] = { "list", "", "list all containers" },
        [OCI_COMMAND_UPDATE] = { "update", "CONTAINER", "change its limits" },
        [OCI_COMMAND_EVENTS] = { "events", "CONTAINER", "print what it uses, and when memory ends" },
        [OCI_COMMAND_SPEC] = { "spec", "", "write a config.json to begin with" },
        [OCI_COMMAND_FEATURES] = { "features", "", "print what this runtime can do as JSON" },
        [OCI_COMMAND_CHECKPOINT] = { "checkpoint", "CONTAINER", "save it to disk with CRIU" },
        [OCI_COMMAND_RESTORE] = { "restore", "CONTAINER", "make a container of what was saved" },
};

const char *oci_command_to_string(OciCommand command) {
        return command >= 0 && command < _OCI_COMMAND_MAX ? commands[command].name : NULL;
}

OciCommand oci_command_from_string(const char *name) {
        for (OciCommand command = 0; command < _OCI_COMMAND_MAX; command++)
                if (string_equal(commands[command].name, name))
                        return command;
        return _OCI_COMMAND_INVALID;
}

static void print_options(OciCommand command) {
        for (size_t i = 0; i < oci_option_count; i++) {
                const OciOption *option = &oci_option_table[i];
                char letter[8] = "    ", name[64];
                if (!belongs_to(option, command))
                        continue;
                if (option->letter)
                        (void) snprintf(letter, sizeof(letter), "-%c, ", option->letter);
                (void) snprintf(name, sizeof(name), "%s%s%s", option->name, option->value ? " " : "",
                                option->value ? option->value : "");
                (void) printf("  %s--%-26s %s\n", letter, name, option->help);
        }
}

int oci_option_print_help(OciCommand command) {
        if (command >= 0) {
                (void) printf("crt-oci [GLOBAL OPTIONS] %s [OPTIONS] %s\n\n%s\n\n", commands[command].name,
                              commands[command].arguments, commands[command].help);
                print_options(command);
                (void) printf("  -h, --%-26s print this\n", "help");
                return fflush(stdout) < 0 ? -EIO : 0;
        }
        (void) puts("crt-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] [CONTAINER]\n\n"
                    "Runs containers as the OCI runtime specification says.\n\nCommands:");
        for (OciCommand i = 0; i < _OCI_COMMAND_MAX; i++)
                (void) printf("  %-12s %s\n", commands[i].name, commands[i].help);
        (void) puts("\nGlobal options:");
        print_options(_OCI_COMMAND_INVALID);
        (void) printf("  -h, --%-26s print this; after a command, its options\n", "help");
        (void) printf("  -v, --%-26s print the version\n", "version");
        return fflush(stdout) < 0 ? -EIO : 0;
}
