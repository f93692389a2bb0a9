/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/systemd-scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup.h"

#define SCOPE_PROGRAM CRT_LIBEXECDIR "/crt-oci-scope"
#define ANSWER_MAX 4096

static int check_slice(const char *slice, Fault *fault) {
        if (!string_ends_with(slice, ".slice") || strchr(slice, '/') || strstr(slice, "--") ||
            (slice[0] == '-' && !string_equal(slice, "-.slice")))
                return fault_set(fault, -EINVAL, "config.linux.cgroupsPath: '%s' is not the name of a slice",
                                 slice);
        return 0;
}

int systemd_scope_parse(const char *path, char **ret_slice, char **ret_unit, Fault *fault) {
        const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        if (!second || strchr(second + 1, ':') || second[1] == '\0')
                return fault_set(
                        fault, -EINVAL,
                        "config.linux.cgroupsPath: '%s' is not slice:prefix:name, as --systemd-cgroup "
                        "has it",
                        path);
        const char *prefix = first + 1, *name = second + 1;
        _cleanup_free_ char *slice = NULL, *unit = NULL;
        slice = first == path ? strdup(geteuid() == 0 ? "system.slice" : "user.slice")
                              : strndup(path, (size_t) (first - path));
        if (!slice || asprintf(&unit, "%.*s%s%s.scope", (int) (second - prefix), prefix,
                               second > prefix ? "-" : "", name) < 0)
                return -ENOMEM;
        int r = check_slice(slice, fault);
        if (r < 0)
                return r;
        if (string_ends_with(name, ".slice") || strchr(unit, '/'))
                return fault_set(fault, -EINVAL, "config.linux.cgroupsPath: '%s' is not the name of a scope",
                                 name);
        *ret_slice = TAKE_PTR(slice);
        *ret_unit = TAKE_PTR(unit);
        return 0;
}

int systemd_scope_slice_path(const char *slice, char **ret) {
        _cleanup_free_ char *path = strdup("");
        if (!path)
                return -ENOMEM;
        if (!string_equal(slice, "-.slice"))
                for (const char *p = slice; (p = strpbrk(p, "-.")); p++) {
                        char *longer = NULL;
                        if (asprintf(&longer, "%s%s%.*s.slice", path, path[0] ? "/" : "", (int) (p - slice),
                                     slice) < 0)
                                return -ENOMEM;
                        free(path);
                        path = longer;
                        if (*p == '.')
                                break;
                }
        *ret = TAKE_PTR(path);
        return 0;
}

/* A user's manager has its units below its own service. */
static int manager_path(char **ret, Fault *fault) {
        _cleanup_free_ char *own = NULL, *service = NULL;
        if (geteuid() == 0) {
                *ret = strdup("");
                return *ret ? 0 : -ENOMEM;
        }
        int r = cgroup_own_path(&own, fault);
        if (r < 0)
                return r;
        if (asprintf(&service, "user@%u.service/", geteuid()) < 0)
                return -ENOMEM;
        const char *found = strstr(own, service);
        if (!found)
                return fault_set(fault, -EOPNOTSUPP,
                                 "--systemd-cgroup: this process is in no unit of a systemd user manager");
        *ret = strndup(own, (size_t) (found - own) + strlen(service));
        return *ret ? 0 : -ENOMEM;
}

static int names_of(const RuntimeConfig *config, const char *id, char **ret_slice, char **ret_unit,
                    Fault *fault) {
        _cleanup_free_ char *none = NULL;
        if (!config->cgroups_path && asprintf(&none, ":crt:%s", id) < 0)
                return -ENOMEM;
        return systemd_scope_parse(config->cgroups_path ? config->cgroups_path : none, ret_slice, ret_unit,
                                   fault);
}

static int choose(const RuntimeConfig *config, const char *id, char **ret, Fault *fault) {
        _cleanup_free_ char *slice = NULL, *unit = NULL, *manager = NULL, *directory = NULL;
        int r;
        if ((r = names_of(config, id, &slice, &unit, fault)) < 0 ||
            (r = manager_path(&manager, fault)) < 0 || (r = systemd_scope_slice_path(slice, &directory)) < 0)
                return r;
        return asprintf(ret, "%s%s%s%s", manager, directory, directory[0] ? "/" : "", unit) < 0 ? -ENOMEM
                                                                                                : 0;
}

/* systemd makes a scope only around a process, and ends it with the last one. Init is not there yet. */
static int fork_holder(pid_t *ret_pid, int *ret_pidfd) {
        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) >= 0 && getppid() == parent)
                        for (;;)
                                (void) pause();
                _exit(EXIT_FAILURE);
        }
        *ret_pid = pid;
        *ret_pidfd = process_open_pidfd(pid);
        return *ret_pidfd < 0 ? *ret_pidfd : 0;
}

/* The last component of the path is the unit, the one before it the slice. */
static int build_arguments(const char *path, const RuntimeConfig *config, pid_t holder, char ***ret,
                           Fault *fault) {
        _cleanup_strv_ char **arguments = NULL, **properties = NULL;
        const char *slash = strrchr(path, '/'), *unit = slash ? slash + 1 : path, *slice = path;
        int r = systemd_scope_properties(config, &properties, fault);
        if (r < 0)
                return r;
        for (const char *p = path; slash && p < slash; p++)
                if (*p == '/')
                        slice = p + 1;
        bool in_slice = slash && string_after(slash - strlen(".slice"), ".slice");
        if ((r = strv_append(&arguments, SCOPE_PROGRAM)) < 0 || (r = strv_append(&arguments, unit)) < 0 ||
            (r = strv_appendf(&arguments, "%.*s", in_slice ? (int) (slash - slice) : 7,
                              in_slice ? slice : "-.slice")) < 0 ||
            (r = strv_appendf(&arguments, "%i", holder)) < 0)
                return r;
        STRV_FOREACH (property, properties)
                if ((r = strv_append(&arguments, property)) < 0)
                        return r;
        *ret = TAKE_PTR(arguments);
        return 0;
}

static int run_helper(char **arguments, const char *unit, Fault *fault) {
        char answer[ANSWER_MAX];
        int pipe_fds[2];
        siginfo_t end;
        _cleanup_close_ int pidfd = -EBADF;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = arguments[0];
        spawn.arguments = (const char *const *) arguments;
        spawn.standard[1] = pipe_fds[1];
        int r = process_spawn(&spawn, NULL, &pidfd);
        fd_close(pipe_fds[1]);
        ssize_t n = r < 0 ? r : fd_read_full(pipe_fds[0], answer, sizeof(answer) - 1);
        fd_close(pipe_fds[0]);
        if (r >= 0)
                r = process_wait(pidfd, 0, &end);
        if (r < 0)
                return fault_set_errno(fault, r, "--systemd-cgroup: %s", arguments[0]);
        if (process_exit_status(&end) == 0)
                return 0;
        answer[MAX_OF(n, 0)] = '\0';
        answer[strcspn(answer, "\n")] = '\0';
        return fault_set(fault, -EIO, "--systemd-cgroup: the scope %s: %s", unit,
                         answer[0] ? answer : "systemd did not do it");
}

static int create(int hierarchy, const char *path, const RuntimeConfig *config, int *ret_holder,
                  Fault *fault) {
        _cleanup_strv_ char **arguments = NULL;
        int holder = -EBADF;
        pid_t pid = 0;
        int r = fork_holder(&pid, &holder);
        if (r >= 0)
                r = build_arguments(path, config, pid, &arguments, fault);
        if (r >= 0)
                r = run_helper(arguments, arguments[1], fault);
        if (r >= 0)
                r = cgroup_open(hierarchy, path, &config->resources, fault);
        if (r < 0)
                holder = process_kill_and_reap(holder);
        *ret_holder = holder;
        return r;
}

int systemd_scope_update(const char *path, const RuntimeResources *resources, Fault *fault) {
        _cleanup_strv_ char **arguments = NULL, **properties = NULL;
        const char *slash = strrchr(path, '/'), *unit = slash ? slash + 1 : path;
        int r = systemd_scope_changes(resources, &properties, fault);
        if (r < 0 || !properties)
                return r;
        if ((r = strv_append(&arguments, SCOPE_PROGRAM)) < 0 ||
            (r = strv_append(&arguments, "--update")) < 0 || (r = strv_append(&arguments, unit)) < 0)
                return r;
        STRV_FOREACH (property, properties)
                if ((r = strv_append(&arguments, property)) < 0)
                        return r;
        return run_helper(arguments, unit, fault);
}

const CgroupDriver systemd_scope_driver = {
        .name = "systemd",
        .choose = choose,
        .create = create,
};
