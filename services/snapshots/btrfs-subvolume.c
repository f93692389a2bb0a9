/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/btrfs-subvolume.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/macros.h"

#define ROOT_INODE 256 /* BTRFS_FIRST_FREE_OBJECTID: what each subvolume's root has */

bool btrfs_subvolume_is(int directory) {
        struct statfs fs;
        struct stat st;
        return fstatfs(directory, &fs) >= 0 && fs.f_type == BTRFS_SUPER_MAGIC &&
               fstat(directory, &st) >= 0 && st.st_ino == ROOT_INODE;
}

int btrfs_subvolume_has_others(int subvolume) {
        struct btrfs_ioctl_get_subvol_rootref_args found = { 0 };
        if (ioctl(subvolume, BTRFS_IOC_GET_SUBVOL_ROOTREF, &found) < 0)
                return errno == EOVERFLOW ? 1 : -errno; /* more than one answer holds */
        return found.num_items > 0;
}

/* name: a component that the caller made up, or that is in a directory of the file system: neither is longer
 * than NAME_MAX. */
static void set_name(struct btrfs_ioctl_vol_args *arguments, const char *name) {
        assert(strlen(name) < sizeof(arguments->name));
        strcpy(arguments->name, name);
}

int btrfs_subvolume_make(int parent, const char *name) {
        struct btrfs_ioctl_vol_args arguments = { 0 };
        set_name(&arguments, name);
        return ioctl(parent, BTRFS_IOC_SUBVOL_CREATE, &arguments) < 0 ? -errno : 0;
}

int btrfs_subvolume_snapshot(int subvolume, int parent, const char *name) {
        struct btrfs_ioctl_vol_args_v2 arguments = { .fd = subvolume };
        assert(strlen(name) < sizeof(arguments.name));
        strcpy(arguments.name, name);
        return ioctl(parent, BTRFS_IOC_SNAP_CREATE_V2, &arguments) < 0 ? -errno : 0;
}

int btrfs_subvolume_delete(int parent, const char *name) {
        struct btrfs_ioctl_vol_args arguments = { 0 };
        if (strlen(name) >= sizeof(arguments.name))
                return -EINVAL;
        set_name(&arguments, name);
        return ioctl(parent, BTRFS_IOC_SNAP_DESTROY, &arguments) < 0 ? -errno : 0;
}

int btrfs_subvolume_limit(int subvolume, uint64_t size_max) {
        struct btrfs_ioctl_qgroup_limit_args arguments = {
                /* qgroupid 0: the one of this subvolume. What it shares with its parent is not counted. */
                .lim = { .flags = BTRFS_QGROUP_LIMIT_MAX_EXCL, .max_excl = size_max },
        };
        if (ioctl(subvolume, BTRFS_IOC_QGROUP_LIMIT, &arguments) >= 0)
                return 0;
        return errno == ENOTCONN || errno == ENOENT || errno == EINVAL ? -EOPNOTSUPP : -errno;
}
