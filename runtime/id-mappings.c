/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/id-mappings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/capabilities.h"

typedef struct MapKind {
        const char *file, *helper, *field;
        int capability;
} MapKind;

static const MapKind uid_kind = { "uid_map", "newuidmap", "uidMappings", CAP_SETUID };
static const MapKind gid_kind = { "gid_map", "newgidmap", "gidMappings", CAP_SETGID };

static int write_map(const RuntimeIdMapping *mappings, size_t count, pid_t pid, int proc, const char *file) {
        char path[64];
        size_t size = count * 33 + 1, used = 0;
        _cleanup_free_ char *text = malloc(size);
        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++)
                used += (size_t) snprintf(text + used, size - used, "%u %u %u\n", mappings[i].container_id,
                                          mappings[i].host_id, mappings[i].size);
        (void) snprintf(path, sizeof(path), "%i/%s", pid, file);
        return fd_write_file_at(proc, path, text);
}

static int find_helper(const char *name, char **ret) {
        static const char *const directories[] = { "/usr/bin", "/bin", "/usr/local/bin" };
        for (size_t i = 0; i < ELEMENTS_OF(directories); i++) {
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "%s/%s", directories[i], name) < 0)
                        return -ENOMEM;
                if (access(path, X_OK) >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
        }
        return -ENOENT;
}

static int run_helper(const MapKind *kind, const RuntimeIdMapping *mappings, size_t count, pid_t pid,
                      Fault *fault) {
        _cleanup_free_ char *path = NULL;
        _cleanup_strv_ char **arguments = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        siginfo_t end;
        int r = find_helper(kind->helper, &path);
        if (r < 0)
                return fault_set(
                        fault, -EPERM,
                        "config.linux.%s: an ordinary user needs %s(1) for these, which is not installed",
                        kind->field, kind->helper);
        if ((r = strv_append(&arguments, path)) < 0 || (r = strv_appendf(&arguments, "%i", pid)) < 0)
                return r;
        for (size_t i = 0; i < count && r >= 0; i++)
                if ((r = strv_appendf(&arguments, "%u", mappings[i].container_id)) >= 0 &&
                    (r = strv_appendf(&arguments, "%u", mappings[i].host_id)) >= 0)
                        r = strv_appendf(&arguments, "%u", mappings[i].size);
        if (r < 0)
                return r;
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = path;
        spawn.arguments = (const char *const *) arguments;
        r = process_spawn(&spawn, NULL, &pidfd);
        if (r >= 0)
                r = process_wait(pidfd, 0, &end);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", path);
        return process_exit_status(&end) == 0
                       ? 0
                       : fault_set(fault, -EPERM, "config.linux.%s: refused by %s(1); see /etc/sub%.3s",
                                   kind->field, kind->helper, kind->file);
}

/* user_namespaces(7): one line that maps the writer itself needs no right; but for groups only when
 * setgroups(2) is denied in the namespace. */
static bool is_self(const RuntimeIdMapping *mappings, size_t count, uint32_t self) {
        return count == 1 && mappings[0].size == 1 && mappings[0].host_id == self;
}

bool id_mappings_deny_groups(const RuntimeIdMappings *mappings) {
        return !capabilities_have_own(CAP_SETGID) && is_self(mappings->gids, mappings->gid_count, getegid());
}

static int write_kind(const MapKind *kind, const RuntimeIdMapping *mappings, size_t count, pid_t pid,
                      int proc, Fault *fault) {
        uint32_t self = kind == &uid_kind ? geteuid() : getegid();
        if (!capabilities_have_own(kind->capability) && !is_self(mappings, count, self))
                return run_helper(kind, mappings, count, pid, fault);
        int r = write_map(mappings, count, pid, proc, kind->file);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.%s", kind->field) : 0;
}

int id_mappings_write(const RuntimeIdMappings *mappings, pid_t pid, int proc, Fault *fault) {
        char path[64];
        int r = write_kind(&uid_kind, mappings->uids, mappings->uid_count, pid, proc, fault);
        if (r >= 0 && id_mappings_deny_groups(mappings)) {
                (void) snprintf(path, sizeof(path), "%i/setgroups", pid);
                r = fd_write_file_at(proc, path, "deny");
        }
        return r < 0 ? r : write_kind(&gid_kind, mappings->gids, mappings->gid_count, pid, proc, fault);
}

/* The namespace lives on in its descriptor; the process that it was made with has nothing to do. */
static _noreturn_ void wait_to_be_killed(pid_t parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) >= 0 && getppid() == parent)
                for (;;)
                        (void) pause();
        _exit(EXIT_FAILURE);
}

int id_mappings_open_namespace(const RuntimeIdMappings *mappings, int proc, Fault *fault) {
        _cleanup_close_ int pidfd = -EBADF, namespace = -EBADF;
        struct clone_args args = {
                .flags = CLONE_NEWUSER | CLONE_PIDFD,
                .pidfd = (uint64_t) (uintptr_t) &pidfd,
                .exit_signal = SIGCHLD,
        };
        char path[64];
        pid_t parent = getpid();
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid < 0)
                return fault_set_errno(fault, -errno, "a user namespace for mappings");
        if (pid == 0)
                wait_to_be_killed(parent);
        int r = id_mappings_write(mappings, (pid_t) pid, proc, fault);
        if (r >= 0) {
                (void) snprintf(path, sizeof(path), "%li/ns/user", pid);
                namespace = openat(proc, path, O_RDONLY | O_CLOEXEC);
                r = namespace < 0 ? -errno : 0;
        }
        pidfd = process_kill_and_reap(pidfd);
        return r < 0 ? fault_set_errno(fault, r, "a user namespace for mappings") : TAKE_FD(namespace);
}
