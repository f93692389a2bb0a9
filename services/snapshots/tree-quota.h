/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The size of what is written below one tree's directory, limited by a project quota: each tree is a
 * project, whose number is made from its own. */

#include <linux/fs.h>
#include <stdint.h>

#include "lib/fault.h"

/* What a worker's filter must let through. */
#define TREE_QUOTA_IOCTLS FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR

/* For a directory in which nothing was made yet. -EOPNOTSUPP with a sentence: not here. */
int tree_quota_set(int tree, int64_t id, uint64_t size_max, Fault *fault);
/* The same for whoever fills it with a layer, which may have taken him over. 1: he is held to that; 0: there
 * are no such quotas here, or the directory has one already. */
int tree_quota_bound(int directory, int64_t id, uint64_t size_max, uint64_t inodes_max);
/* What is made directly in that directory from now on is no part of the project: what a commit makes beside
 * the tree shall not count against what may be written to it. 0 also where there are no projects. */
int tree_quota_release(int tree);
/* A fresh directory gets the project of the one that it is about to be moved into, if what is made there has
 * that: nothing else may be moved in (EXDEV). 0 also where there are no projects. In a worker: with
 * TREE_QUOTA_IOCTLS. */
int tree_quota_join(int directory, int in);
/* Nobody writes to the tree any more, or it is about to be thrown away: the kernel may forget its number. */
void tree_quota_drop(int trees, int64_t id);
