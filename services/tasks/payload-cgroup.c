/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/payload-cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define DEPTH_MAX 32
#define SMALL_FILE (64U * 1024U)
#define BATCH 64

static int read_file(int directory, const char *name, size_t limit, char **ret) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        return fd_read_all(fd, limit, ret, NULL);
}

/* The path of this process's cgroup, a fresh string. */
static int find_own(char **ret) {
        _cleanup_free_ char *text = NULL;
        int r = read_file(AT_FDCWD, "/proc/self/cgroup", SMALL_FILE, &text);
        if (r < 0)
                return r;
        /* The line of the unified hierarchy has an empty list of controllers (cgroups(7)). */
        const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
        if (!line)
                return -EOPNOTSUPP;
        const char *path = strstr(line, "0::") + 3;
        *ret = strndup(path, strcspn(path, "\n"));
        return *ret ? 0 : -ENOMEM;
}

bool cgroup_is_scope(void) {
        _cleanup_free_ char *path = NULL;
        return find_own(&path) >= 0 && string_ends_with(path, ".scope");
}

int cgroup_open_own(void) {
        _cleanup_free_ char *path = NULL;
        int r = find_own(&path);
        if (r < 0)
                return r;

        _cleanup_close_ int root = open(CGROUP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        return path_open(root, path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

int payload_cgroup_make(int scope) {
        if (mkdirat(scope, PAYLOAD_CGROUP, 0755) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(scope, PAYLOAD_CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

int cgroup_delegate_controllers(int scope) {
        _cleanup_free_ char *controllers = NULL;
        int r = fd_read_line_at(scope, "cgroup.controllers", &controllers);
        if (r < 0 || !controllers[0])
                return r;
        if (mkdirat(scope, SUPERVISOR_CGROUP, 0755) < 0 && errno != EEXIST)
                return -errno;
        r = fd_write_file_at(scope, SUPERVISOR_CGROUP "/cgroup.procs", "0");
        if (r < 0)
                return r;

        /* One at a time: one that cannot be had does not keep the others away. */
        char *rest = controllers;
        for (char *name; (name = strsep(&rest, " "));) {
                char text[NAME_MAX + 2];
                (void) snprintf(text, sizeof(text), "+%s", name);
                int enabled = fd_write_file_at(scope, "cgroup.subtree_control", text);
                if (enabled < 0 && r >= 0)
                        r = enabled;
        }
        return r;
}

typedef struct Members {
        pid_t *pids;
        size_t count;
} Members;

static void members_done(Members *members) {
        free(members->pids);
}

static int members_read(int cgroup, Members *ret) {
        _cleanup_free_ char *text = NULL;
        size_t lines = 1;
        int r = read_file(cgroup, "cgroup.procs", SIZE_MAX / 4, &text);
        if (r < 0)
                return r;
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                lines++;
        ret->pids = new0(pid_t, lines);
        if (!ret->pids)
                return -ENOMEM;
        char *rest = text;
        for (char *line; (line = strsep(&rest, "\n"));) {
                uint64_t pid;
                /* 0 is a process that this pid namespace does not see. */
                if (string_to_uint64(line, INT_MAX, &pid) >= 0 && pid > 0)
                        ret->pids[ret->count++] = (pid_t) pid;
        }
        return 0;
}

static bool members_have(const Members *members, pid_t pid) {
        for (size_t i = 0; i < members->count; i++)
                if (members->pids[i] == pid)
                        return true;
        return false;
}

/* A number may have been given to somebody else since it was read. What is still a member once its pidfd is
 * open is what that pidfd stands for, or that one is dead and gets nothing. */
static int signal_pids(int cgroup, const pid_t *pids, size_t count, int signal) {
        _cleanup_(members_done) Members members = { 0 };
        int pidfds[BATCH];
        for (size_t i = 0; i < count; i++)
                pidfds[i] = process_open_pidfd(pids[i]);
        int r = members_read(cgroup, &members);
        for (size_t i = 0; i < count; i++) {
                int sent = pidfds[i] < 0                     ? pidfds[i]
                           : members_have(&members, pids[i]) ? process_send_signal(pidfds[i], signal)
                                                             : 0;
                if (sent < 0 && sent != -ESRCH && r >= 0)
                        r = sent;
                fd_close(pidfds[i]);
        }
        return r;
}

static int signal_members(int cgroup, int signal) {
        _cleanup_(members_done) Members members = { 0 };
        int r = members_read(cgroup, &members);
        for (size_t i = 0; i < members.count; i += BATCH) {
                size_t count = MIN_OF(members.count - i, (size_t) BATCH);
                int sent = signal_pids(cgroup, members.pids + i, count, signal);
                if (sent < 0)
                        r = sent;
        }
        return r;
}

static int signal_tree(int cgroup, int signal, unsigned depth) {
        int r = signal_members(cgroup, signal);
        _cleanup_close_ int copy = openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (copy < 0 || depth == 0)
                return copy < 0 ? -errno : r;
        DIR *directory = fdopendir(copy);
        if (!directory)
                return -errno;
        TAKE_FD(copy);
        for (struct dirent *entry; (entry = readdir(directory));) {
                if (entry->d_type != DT_DIR || !path_is_component(entry->d_name))
                        continue;
                _cleanup_close_ int child =
                        openat(cgroup, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (child < 0)
                        continue;
                int sent = signal_tree(child, signal, depth - 1);
                if (sent < 0)
                        r = sent;
        }
        (void) closedir(directory);
        return r;
}

int payload_cgroup_signal(int cgroup, int signal) {
        /* Linux 5.14: reaches forks that are under way, too. */
        if (signal == SIGKILL && fd_write_file_at(cgroup, "cgroup.kill", "1") >= 0)
                return 0;
        return signal_tree(cgroup, signal, DEPTH_MAX);
}

bool cgroup_ran_out_of_memory(int cgroup) {
        _cleanup_free_ char *events = NULL;
        if (read_file(cgroup, "memory.events", SMALL_FILE, &events) < 0)
                return false;
        const char *line = strstr(events, "oom_kill ");
        return line && strtoull(line + strlen("oom_kill "), NULL, 10) > 0;
}
