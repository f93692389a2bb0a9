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

static int signal_members(int cgroup, int signal) {
        _cleanup_free_ char *members = NULL;
        int r = read_file(cgroup, "cgroup.procs", SIZE_MAX / 4, &members);
        if (r < 0)
                return r;
        char *rest = members;
        for (char *line; (line = strsep(&rest, "\n"));) {
                uint64_t pid;
                /* 0 is a process that this pid namespace does not see. */
                if (string_to_uint64(line, INT_MAX, &pid) < 0 || pid == 0)
                        continue;
                if (kill((pid_t) pid, signal) < 0 && errno != ESRCH)
                        r = -errno;
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

int cgroup_signal(int cgroup, int signal) {
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
