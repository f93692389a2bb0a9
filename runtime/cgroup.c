/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup-resources.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define KILL_TIMEOUT_MS 10000
#define SYSTEMD_TIMEOUT_MS 5000

int cgroup_open_root(Fault *fault) {
        struct statfs file_system;
        _cleanup_close_ int fd = open(CGROUP_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstatfs(fd, &file_system) < 0)
                return fault_set_errno(fault, -errno, CGROUP_ROOT);
        if (file_system.f_type != CGROUP2_SUPER_MAGIC)
                return fault_set(fault, -EOPNOTSUPP,
                                 CGROUP_ROOT " is not the unified cgroup hierarchy (cgroup v2)");
        return TAKE_FD(fd);
}

/* "0::/path" in /proc/self/cgroup. */
int cgroup_own_path(char **ret, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        int r = fd_read_line_at(AT_FDCWD, "/proc/self/cgroup", &text);
        if (r < 0)
                return fault_set_errno(fault, r, "/proc/self/cgroup");
        char *line = text;
        while (line && !string_after(line, "0::/"))
                line = (line = strchr(line, '\n')) ? line + 1 : NULL;
        if (!line)
                return fault_set(fault, -EOPNOTSUPP, "this process is in no cgroup v2");
        line += strlen("0::/");
        line[strcspn(line, "\n")] = '\0';
        *ret = strdup(line);
        return *ret ? 0 : -ENOMEM;
}

int cgroup_choose_path(const RuntimeConfig *config, const char *id, char **ret, Fault *fault) {
        const char *given = config->cgroups_path;
        char *path = NULL;
        int n;
        _cleanup_free_ char *ordinary = NULL;
        /* An ordinary user has rights, if any, only below where it is. */
        if (!given && geteuid() != 0) {
                if (asprintf(&ordinary, "crt-%s", id) < 0)
                        return -ENOMEM;
                given = ordinary;
        }
        if (given && given[0] == '/') {
                n = asprintf(&path, "%s", given + strspn(given, "/"));
        } else if (given) {
                _cleanup_free_ char *own = NULL;
                int r = cgroup_own_path(&own, fault);
                if (r < 0)
                        return r;
                n = asprintf(&path, "%s%s%s", own, own[0] ? "/" : "", given);
        } else {
                n = asprintf(&path, "crt/%s", id);
        }
        if (n < 0)
                return -ENOMEM;
        if (path[0] == '\0') {
                free(path);
                return fault_set(fault, -EINVAL, "config.linux.cgroupsPath: is the root cgroup");
        }
        *ret = path;
        return 0;
}

/* Above what is delegated to this process it may not write; there it may be enabled already. */
static bool is_enabled(int parent, const char *controller) {
        _cleanup_free_ char *text = NULL;
        char *state = NULL;
        if (fd_read_line_at(parent, "cgroup.subtree_control", &text) < 0)
                return false;
        for (char *word = strtok_r(text, " ", &state); word; word = strtok_r(NULL, " ", &state))
                if (string_equal(word, controller))
                        return true;
        return false;
}

/* A controller has to be enabled in every cgroup above: what the parent does not have is said with its name.
 */
static int enable_controllers(int parent, const char *parent_path, unsigned wanted, Fault *fault) {
        for (unsigned i = 0; i < CGROUP_RESOURCES_CONTROLLERS; i++) {
                if (!(wanted & (1U << i)))
                        continue;
                char text[32];
                const char *name = cgroup_resources_controller_name(i);
                (void) snprintf(text, sizeof(text), "+%s", name);
                int r = fd_write_file_at(parent, "cgroup.subtree_control", text);
                if (r < 0 && is_enabled(parent, name))
                        continue;
                if (r == -ENOENT || r == -EINVAL)
                        return fault_set(fault, -EOPNOTSUPP,
                                         "config.linux.resources: the %s controller is not available in the "
                                         "cgroup /%s",
                                         name, parent_path);
                if (r == -EBUSY)
                        return fault_set(fault, r,
                                         "config.linux.resources: the %s controller can't be enabled in the "
                                         "cgroup /%s: processes are in it",
                                         name, parent_path);
                if (r < 0)
                        return fault_set_errno(fault, r, "enabling the %s controller in the cgroup /%s",
                                               name, parent_path);
        }
        return 0;
}

static int check_is_empty(int cgroup, const char *path, Fault *fault) {
        _cleanup_free_ char *events = NULL;
        int r = fd_read_line_at(cgroup, "cgroup.events", &events);
        if (r < 0)
                return fault_set_errno(fault, r, "the cgroup /%s", path);
        if (strstr(events, "populated 1"))
                return fault_set(fault, -EBUSY, "the cgroup /%s has processes", path);
        return strstr(events, "frozen 1") ? fault_set(fault, -EBUSY, "the cgroup /%s is frozen", path) : 0;
}

/* Makes one component after the other. *made is where the first that was not there before ends. */
static int make_path(int root, char *path, unsigned controllers, size_t *made, Fault *fault) {
        _cleanup_close_ int current = fd_duplicate(root);
        size_t length = strlen(path), end = 0;
        if (current < 0)
                return current;
        while (end < length) {
                size_t start = end + strspn(path + end, "/");
                end = start + strcspn(path + start, "/");
                if (start == end)
                        break;
                char parent_path[PATH_MAX];
                (void) snprintf(parent_path, sizeof(parent_path), "%.*s", (int) (start ? start - 1 : 0),
                                path);
                int r = enable_controllers(current, parent_path, controllers, fault);
                if (r < 0)
                        return r;
                char saved = path[end];
                path[end] = '\0';
                if (mkdirat(current, path + start, 0755) >= 0)
                        *made = *made ? *made : end;
                else if (errno != EEXIST)
                        r = -errno;
                int next = r < 0 ? r
                                 : openat(current, path + start,
                                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (next < 0)
                        r = fault_set_errno(fault, r < 0 ? r : -errno, "the cgroup /%s", path);
                path[end] = saved;
                if (r < 0)
                        return r;
                fd_close(current);
                current = next;
        }
        return TAKE_FD(current);
}

/* Back to where it was: all components that were made, the last first. */
static void unmake_path(int root, char *path, size_t made) {
        if (made == 0)
                return;
        for (;;) {
                if (unlinkat(root, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
                        return;
                char *slash = strrchr(path, '/');
                if (!slash || (size_t) (slash - path) < made)
                        return;
                *slash = '\0';
        }
}

int cgroup_open(int root, const char *path, const RuntimeResources *resources, Fault *fault) {
        _cleanup_free_ char *copy = strdup(path);
        size_t made = 0;
        if (!copy)
                return -ENOMEM;
        int fd = make_path(root, copy, cgroup_resources_controllers(resources), &made, fault);
        if (fd < 0)
                unmake_path(root, copy, made);
        return fd;
}

int cgroup_enable_controllers(int root, const char *path, const RuntimeResources *resources, Fault *fault) {
        _cleanup_free_ char *copy = strdup(path);
        size_t made = 0;
        if (!copy)
                return -ENOMEM;
        _cleanup_close_ int fd =
                make_path(root, copy, cgroup_resources_controllers(resources), &made, fault);
        return fd < 0 ? fd : 0;
}

int cgroup_create(int root, const char *path, const RuntimeResources *resources, Fault *fault) {
        _cleanup_free_ char *copy = strdup(path);
        size_t made = 0;
        if (!copy)
                return -ENOMEM;
        _cleanup_close_ int fd =
                make_path(root, copy, cgroup_resources_controllers(resources), &made, fault);
        /* What was made here in one step is empty, and was nobody's before. */
        int r = fd < 0 ? fd : made == strlen(path) ? 0 : check_is_empty(fd, path, fault);
        if (r < 0) {
                unmake_path(root, copy, made);
                return r;
        }
        return TAKE_FD(fd);
}

/* Calls visit for every cgroup below fd and for it itself, the deepest first. Takes fd. */
static int walk(int fd, int (*visit)(int cgroup, int argument), int argument) {
        DIR *stream = fdopendir(fd);
        if (!stream) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        int r = 0;
        struct dirent *entry;
        while (r >= 0 && (entry = readdir(stream))) {
                if (entry->d_type != DT_DIR || !path_is_component(entry->d_name))
                        continue;
                int child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child < 0)
                        continue;
                r = walk(child, visit, argument);
                if (r >= 0 && visit == NULL && unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0 &&
                    errno != ENOENT)
                        r = -errno;
        }
        if (r >= 0 && visit)
                r = visit(fd, argument);
        (void) closedir(stream);
        return r;
}

/* The container may have made them as deep as it likes, and each level takes a descriptor. */
static int walk_deep(int fd, int (*visit)(int cgroup, int argument), int argument) {
        struct rlimit before, most;
        bool raised = getrlimit(RLIMIT_NOFILE, &before) >= 0;
        if (raised) {
                most = (struct rlimit){ .rlim_cur = before.rlim_max, .rlim_max = before.rlim_max };
                raised = setrlimit(RLIMIT_NOFILE, &most) >= 0;
        }
        int r = walk(fd, visit, argument);
        if (raised)
                (void) setrlimit(RLIMIT_NOFILE, &before);
        return r;
}

static int signal_members(int cgroup, int signal) {
        _cleanup_free_ char *text = NULL;
        int r = fd_read_line_at(cgroup, "cgroup.procs", &text);
        if (r < 0)
                return r == -EOPNOTSUPP ? 0 : r; /* threaded: its processes stand in the domain's */
        char *state = NULL;
        for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
                uint64_t pid;
                if (string_to_uint64(line, INT32_MAX, &pid) < 0 || pid == 0)
                        continue;
                _cleanup_close_ int pidfd = process_open_pidfd((pid_t) pid);
                if (pidfd >= 0)
                        (void) process_send_signal(pidfd, signal);
        }
        return 0;
}

int cgroup_signal(int root, const char *path, int signal) {
        int fd = path_open(root, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (fd < 0)
                return fd;
        if (signal == SIGKILL) {
                int r = fd_write_file_at(fd, "cgroup.kill", "1");
                fd_close(fd);
                return r;
        }
        return walk_deep(fd, signal_members, signal);
}

/* cgroup.events tells by POLLPRI when "populated" changes. */
static int wait_until_empty(int cgroup) {
        _cleanup_close_ int events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
        if (events < 0)
                return -errno;
        for (;;) {
                char text[256];
                ssize_t n = pread(events, text, sizeof(text) - 1, 0);
                if (n < 0)
                        return -errno;
                text[n] = '\0';
                if (strstr(text, "populated 0"))
                        return 0;
                struct pollfd wait = { .fd = events, .events = POLLPRI };
                int r = poll(&wait, 1, KILL_TIMEOUT_MS);
                if (r == 0)
                        return -ETIMEDOUT;
                if (r < 0 && errno != EINTR)
                        return -errno;
        }
}

/* A scope is systemd's: it notices that nobody is in it any more, removes it, and forgets the unit. Who
 * removes it under its hands leaves it with a unit that never ends. */
static void wait_for_systemd(int cgroup) {
        char name[FD_PROC_PATH_SIZE];
        struct stat st;
        _cleanup_close_ int watch = inotify_init1(IN_CLOEXEC);
        if (watch < 0 || inotify_add_watch(watch, fd_proc_path(cgroup, name), IN_DELETE_SELF) < 0)
                return;
        struct pollfd wait = { .fd = watch, .events = POLLIN };
        if (fstat(cgroup, &st) >= 0 && st.st_nlink > 0)
                (void) poll(&wait, 1, SYSTEMD_TIMEOUT_MS);
}

int cgroup_remove(int root, const char *path, Fault *fault) {
        _cleanup_close_ int fd = path_open(root, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (fd == -ENOENT)
                return 0;
        /* Mostly all is over in there. */
        if (fd >= 0 && !string_ends_with(path, ".scope") && unlinkat(root, path, AT_REMOVEDIR) >= 0)
                return 0;
        int r = fd;
        if (r >= 0)
                r = fd_write_file_at(fd, "cgroup.kill", "1");
        if (r >= 0)
                r = wait_until_empty(fd);
        if (r >= 0 && string_ends_with(path, ".scope"))
                wait_for_systemd(fd);
        if (r >= 0 && unlinkat(root, path, AT_REMOVEDIR) < 0)
                r = -errno;
        /* Still there: the container made cgroups below its own. */
        if (r == -EBUSY || r == -ENOTEMPTY) {
                r = walk_deep(TAKE_FD(fd), NULL, 0);
                if (r >= 0 && unlinkat(root, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
                        r = -errno;
        }
        return r < 0 && r != -ENOENT ? fault_set_errno(fault, r, "removing the cgroup /%s", path) : 0;
}
