/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Trees as mounts: chains of them stacked by overlayfs, or a tree's directory itself, with other users' ids
 * if wanted. All are detached: they can be attached anywhere, and are gone when their descriptor is closed.
 */

#include <stdbool.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/snapshot-driver.h"

typedef struct TreeMounts {
        int trees;            /* borrowed */
        bool has_overlay;     /* the kernel has overlayfs at all */
        bool by_options;      /* mounts are made as kernels before 6.8 want them */
        bool attached_layers; /* layers must be attached somewhere: kernels before 6.15 */
        ImageMounts *images;
} TreeMounts;

typedef struct TreeMountsSpec {
        int trees;
        bool by_options;      /* for tests: as if the kernel were old */
        bool attached_layers; /* likewise */
        bool images_by_loop;  /* likewise */
} TreeMountsSpec;

int tree_mounts_new(const TreeMountsSpec *spec, TreeMounts **ret, Fault *fault);
TreeMounts *tree_mounts_free(TreeMounts *mounts);
DEFINE_CLEANUP(TreeMounts *, tree_mounts_free);

typedef struct TreeMountSpec {
        const SnapshotLayer
                *layers; /* read-only, from the top; what is below the first whole one is not needed */
        size_t layer_count;
        SnapshotLayer upper; /* that is written to; id 0: none */
        bool read_only;
        bool no_setuid;   /* for others than root: no setuid, setgid and file capabilities, and the flags are
                             locked */
        bool is_volatile; /* contents need not survive a crash, so unmounting syncs nothing */
        int users; /* a user namespace: what is its user 0 has on the disk the number 0; -EBADF: none */
        int begun; /* by tree_mounts_begin() for the same layers, borrowed, to be used once; -EBADF: nothing
                    */
} TreeMountSpec;

/* -EBUSY with a sentence where the kernel knows that it is in use; -EOPNOTSUPP when it can't be shown with
 * other ids. */
int tree_mounts_mount(TreeMounts *mounts, const TreeMountSpec *spec, Fault *fault);
/* A descriptor of what any mount of these layers begins with, which may be done before one is asked for. It
 * does not tell them to be in use, but their files take room until it is closed. -EOPNOTSUPP: it would save
 * nothing. */
int tree_mounts_begin(TreeMounts *mounts, const SnapshotLayer *layers, size_t count, Fault *fault);
/* The directory of a tree's files itself, and no overlay of it: nobody knows when such a mount is gone. */
int tree_mounts_mount_directory(const TreeMounts *mounts, int64_t id, Fault *fault);
/* What a chain looks like, for those who read in it: a detached mount, or the directory of a whole tree. */
int tree_mounts_open_merged(TreeMounts *mounts, const SnapshotLayer *layers, size_t count, Fault *fault);

/* The root of one tree alone. */
int tree_mounts_open_root(TreeMounts *mounts, SnapshotLayer layer, Fault *fault);

/* 1 the layered tree is mounted for writing somewhere, 0 not. Costs a message in the kernel's log when it is
 * not: ask only if in doubt. */
int tree_mounts_is_in_use(const TreeMounts *mounts, int64_t upper);
/* Makes a tree that was mounted volatile, and did not live through a crash since, mountable again. */
int tree_mounts_forgive_volatile(const TreeMounts *mounts, int64_t upper);
/* The tree is about to be thrown away. */
void tree_mounts_release(TreeMounts *mounts, int64_t id);
