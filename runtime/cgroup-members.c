/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/cgroup-members.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define DEPTH_MAX 64

int cgroup_members_add(CgroupMembers *members, pid_t pid) {
        if ((members->count & (members->count - 1)) == 0) {
                pid_t *larger = realloc(members->pids, MAX_OF(members->count * 2, 8U) * sizeof(pid_t));
                if (!larger)
                        return -ENOMEM;
                members->pids = larger;
        }
        members->pids[members->count++] = pid;
        return 0;
}

static int add_line(CgroupMembers *members, const char *line) {
        uint64_t pid;
        if (string_to_uint64(line, INT32_MAX, &pid) < 0 || pid == 0)
                return 0;
        return cgroup_members_add(members, (pid_t) pid);
}

static int read_one(int cgroup, CgroupMembers *members) {
        _cleanup_free_ char *text = NULL;
        int r = fd_read_line_at(cgroup, "cgroup.procs", &text);
        if (r < 0) /* threaded: its processes stand in the domain's; or just removed */
                return r == -EOPNOTSUPP || r == -ENODEV || r == -ENOENT ? 0 : r;
        char *rest = text, *line;
        while (r >= 0 && (line = strsep(&rest, "\n")))
                r = add_line(members, line);
        return r;
}

static int read_below(int cgroup, unsigned depth, CgroupMembers *members) {
        int r = read_one(cgroup, members);
        int fd = r < 0 ? r : openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return r < 0 ? r : -errno;
        DIR *stream = fdopendir(fd);
        if (!stream) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        struct dirent *entry;
        while (r >= 0 && depth < DEPTH_MAX && (entry = readdir(stream))) {
                if (entry->d_type != DT_DIR || !path_is_component(entry->d_name))
                        continue;
                _cleanup_close_ int child =
                        openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child >= 0)
                        r = read_below(child, depth + 1, members);
        }
        (void) closedir(stream);
        return r;
}

static int compare(const void *a, const void *b) {
        pid_t left = *(const pid_t *) a, right = *(const pid_t *) b;
        return (left > right) - (left < right);
}

int cgroup_members_read(int cgroup, CgroupMembers *ret) {
        CgroupMembers members = { 0 };
        int r = read_below(cgroup, 0, &members);
        if (r < 0) {
                cgroup_members_done(&members);
                return r;
        }
        if (members.count > 0)
                qsort(members.pids, members.count, sizeof(pid_t), compare);
        *ret = members;
        return 0;
}

bool cgroup_members_contain(const CgroupMembers *members, pid_t pid) {
        return members->count > 0 &&
               bsearch(&pid, members->pids, members->count, sizeof(pid_t), compare) != NULL;
}

void cgroup_members_done(CgroupMembers *members) {
        free(members->pids);
        *members = (CgroupMembers){ 0 };
}
