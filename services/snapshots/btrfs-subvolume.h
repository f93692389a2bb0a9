/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Subvolumes of btrfs: directories that are snapshotted and deleted as a whole. */

#include <stdbool.h>
#include <stdint.h>

/* The root directory of one. */
bool btrfs_subvolume_is(int directory);
/* 1 there are other subvolumes in it, 0 not. */
int btrfs_subvolume_has_others(int subvolume);
int btrfs_subvolume_make(int parent, const char *name);
/* -EXDEV: they are on two file systems. */
int btrfs_subvolume_snapshot(int subvolume, int parent, const char *name);
/* With everything in it but other subvolumes: -ENOTEMPTY then. -ENOTTY, -EINVAL: it is none. */
int btrfs_subvolume_delete(int parent, const char *name);
/* What may be in it and in no other one, in bytes. -EOPNOTSUPP: quotas are not switched on. */
int btrfs_subvolume_limit(int subvolume, uint64_t size_max);
