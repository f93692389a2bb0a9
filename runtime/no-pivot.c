/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/no-pivot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define MOUNTINFO_SIZE_MAX (16U * 1024U * 1024U)

int no_pivot_check(const ContainerPlan *plan, Fault *fault) {
        return plan->request->no_pivot && plan_has_user_namespace(plan)
                       ? fault_set(
                                 fault, -EOPNOTSUPP,
                                 "--no-pivot: not with a user namespace, where the host's mounts would stay")
                       : 0;
}

static int read_mount_id(int fd, uint64_t *ret) {
        struct statx st;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
                return -errno;
        *ret = st.stx_mnt_id;
        return 0;
}

/* "\040" and the like, in place (proc_pid_mountinfo(5)). */
static void unescape(char *path) {
        char *to = path;
        for (const char *from = path; *from; to++)
                if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
                        *to = (char) ((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
                        from += 4;
                } else {
                        *to = *from++;
                }
        *to = '\0';
}

/* The place of a mount that lies directly on the host's root, other than the new one; NULL if this is none.
 */
static const char *place_of_line(char *line, uint64_t host, uint64_t root) {
        unsigned long long id, parent;
        int place = 0;
        if (sscanf(line, "%llu %llu %*s %*s %n", &id, &parent, &place) < 2 || place == 0 || parent != host ||
            id == root || id == host)
                return NULL;
        char *path = line + place;
        path[strcspn(path, " ")] = '\0';
        unescape(path);
        return path;
}

/* Each with all that is mounted below it. What lies under another one, at the same place or above it, can be
 * reached when that is gone: an error is one only when nothing went. 0 when nothing is left. */
static int unmount_once(const ContainerPlan *plan, uint64_t host, uint64_t root, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        const char *stuck = NULL;
        int error = 0, gone = 0;
        _cleanup_close_ int fd = openat(plan->proc_fd, "thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? -errno : fd_read_all(fd, MOUNTINFO_SIZE_MAX, &text, NULL);
        if (r < 0)
                return fault_set_errno(fault, r, "the list of mounts");
        char *rest = text, *line;
        while ((line = strsep(&rest, "\n"))) {
                const char *place = place_of_line(line, host, root);
                if (!place)
                        continue;
                if (umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW) >= 0) {
                        gone++;
                } else {
                        error = -errno;
                        stuck = place;
                }
        }
        return gone == 0 && stuck ? fault_set_errno(fault, error, "--no-pivot: taking %s away", stuck)
                                  : gone;
}

/*   1. The new root goes over "/", unless it lies there: whoever follows ".." out of it comes back into it.
 *   2. All else that is mounted on the host's root goes, above all its /proc and /sys: where they are to be
 *      seen in full, who is root inside might mount others like them.
 *   3. chroot(2).
 * The host's root itself stays, below: an initramfs, with the files in it. */
int no_pivot_change_root(const ContainerPlan *plan, Fault *fault) {
        uint64_t host = 0, root = 0;
        _cleanup_close_ int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = slash < 0 ? -errno : read_mount_id(slash, &host);
        if (r >= 0)
                r = read_mount_id(plan->rootfs_fd, &root);
        if (r < 0)
                return fault_set_errno(fault, r, "--no-pivot");
        if (plan->root_place && syscall(SYS_move_mount, plan->rootfs_fd, "", slash, "",
                                        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return fault_set_errno(fault, -errno, "--no-pivot: moving the root file system to /");
        do
                r = unmount_once(plan, host, root, fault);
        while (r > 0);
        if (r < 0)
                return r;
        return chroot(".") < 0 ? fault_set_errno(fault, -errno, "--no-pivot: chroot") : 0;
}
