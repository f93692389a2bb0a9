/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-quota.h"

#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/macros.h"

/* Numbers that administrators give to their own projects are small. */
#define PROJECT_BASE UINT32_C(0x63000000)
#define PROJECT_MASK UINT32_C(0x00ffffff)
#define QUOTA_BLOCK 1024 /* QIF_DQBLKSIZE: limits are in these */

static uint32_t project_of(int64_t id) {
        return PROJECT_BASE | ((uint32_t) id & PROJECT_MASK);
}

static int quota_call(int fd, int command, uint32_t id, void *data) {
        return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), id, data) < 0 ? -errno : 0;
}

/* Counted, and enforced. */
static bool is_enforced(int fd) {
        struct fs_quota_statv state = { .qs_version = FS_QSTATV_VERSION1 };
        return quota_call(fd, Q_XGETQSTATV, 0, &state) >= 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD);
}

/* Zeros: none. */
static int set_limit(int fd, uint32_t project, uint64_t size_max, uint64_t inodes_max) {
        uint64_t blocks = (size_max + QUOTA_BLOCK - 1) / QUOTA_BLOCK;
        struct if_dqblk limits = {
                .dqb_bhardlimit = blocks,
                .dqb_bsoftlimit = blocks,
                .dqb_ihardlimit = inodes_max,
                .dqb_isoftlimit = inodes_max,
                .dqb_valid = QIF_LIMITS,
        };
        return quota_call(fd, Q_SETQUOTA, project, &limits);
}

/* 0: there are no projects here. */
static int get_attributes(int fd, struct fsxattr *ret) {
        if (ioctl(fd, FS_IOC_FSGETXATTR, ret) < 0)
                return errno == ENOTTY || errno == EOPNOTSUPP ? 0 : -errno;
        return 1;
}

static int set_project(int fd, uint32_t project) {
        struct fsxattr attributes;
        int r = get_attributes(fd, &attributes);
        if (r <= 0)
                return r < 0 ? r : -EOPNOTSUPP;
        attributes.fsx_projid = project;
        attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
        return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

int tree_quota_set(int tree, int64_t id, uint64_t size_max, Fault *fault) {
        if (!is_enforced(tree))
                return fault_set(fault, -EOPNOTSUPP,
                                 "option 'size-max': the file system of the snapshots has no project quotas "
                                 "(mount option prjquota)");
        int r = set_limit(tree, project_of(id), size_max, 0);
        if (r >= 0)
                r = set_project(tree, project_of(id));
        return r < 0 ? fault_set_errno(fault, r, "Can't limit the size of the snapshot") : 0;
}

int tree_quota_bound(int directory, int64_t id, uint64_t size_max, uint64_t inodes_max) {
        struct fsxattr attributes;
        if (!is_enforced(directory))
                return 0;
        int r = get_attributes(directory, &attributes);
        if (r <= 0 || (attributes.fsx_xflags & FS_XFLAG_PROJINHERIT))
                return r < 0 ? r : 0;
        r = set_limit(directory, project_of(id), size_max, inodes_max);
        if (r >= 0)
                r = set_project(directory, project_of(id));
        return r < 0 ? r : 1;
}

int tree_quota_release(int tree) {
        struct fsxattr attributes;
        int r = get_attributes(tree, &attributes);
        if (r <= 0 || !(attributes.fsx_xflags & FS_XFLAG_PROJINHERIT))
                return r < 0 ? r : 0;
        attributes.fsx_xflags &= ~FS_XFLAG_PROJINHERIT;
        return ioctl(tree, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

int tree_quota_join(int directory, int in) {
        struct fsxattr attributes;
        int r = get_attributes(in, &attributes);
        if (r <= 0 || !(attributes.fsx_xflags & FS_XFLAG_PROJINHERIT))
                return r < 0 ? r : 0;
        return set_project(directory, attributes.fsx_projid);
}

void tree_quota_drop(int trees, int64_t id) {
        if (is_enforced(trees))
                (void) set_limit(trees, project_of(id), 0, 0);
}
