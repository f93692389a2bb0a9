/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a tree is kept: one struct of functions for each way. Trees are named by their numbers below the
 * directory descriptor trees; their files are in trees/NUMBER/fs. Drivers know no records.
 *
 * There are two kinds. In a layered tree lies what differs from its parent, as overlayfs wants it (whiteouts
 * are device nodes 0:0, opaque directories have an attribute), and a mount stacks a chain of them. A whole
 * tree holds everything that it consists of, and its parents do not matter any more. Both may stand in one
 * chain: it ends with the first whole tree. So the default may change at any time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"

/* The numbers are in the database. */
typedef enum SnapshotDriverKind {
        DRIVER_OVERLAYFS,
        DRIVER_BTRFS,
        DRIVER_COPY,
        DRIVER_EROFS,
        _SNAPSHOT_DRIVER_KIND_MAX,
        _SNAPSHOT_DRIVER_KIND_INVALID = -22,
} SnapshotDriverKind;

const char *snapshot_driver_kind_to_string(SnapshotDriverKind kind);
/* -EINVAL. */
SnapshotDriverKind snapshot_driver_kind_from_string(const char *name);

/* One tree of a chain. */
typedef struct SnapshotLayer {
        int64_t id;
        SnapshotDriverKind driver;
} SnapshotLayer;

/* For the worker that makes a tree ready: which one, and what it is put on. */
typedef struct SnapshotFinish {
        int trees;
        int trash;
        int64_t id;
        int parent; /* the root of what it is put on, merged, to be read; -EBADF: nothing, or the tree was
                       made on it */
        int64_t parent_id; /* 0: nothing */
        bool mounted;      /* somebody may still write into it through a mount of its directory */
} SnapshotFinish;

typedef struct SnapshotDriver {
        const char *name;
        bool whole;
        /* A mount for writing is known to have ended, or not: it is an overlay. */
        bool tells_use;

        /* In the daemon, once: 0, or why trees can't be kept that way here: -EOPNOTSUPP with a sentence.
         * Anything else: it could not be found out. */
        int (*probe)(int trees, Fault *fault);
        /* In the daemon: makes what is to be in a fresh tree. parent: as above, but of a layered tree only
         * its own directory (owner and mode of the root are those of what is on top). 1: a worker must fill
         * it. */
        int (*make)(int tree, int parent, Fault *fault);
        /* In the worker: fills a fresh tree with everything that is in its parent, or with nothing. May be
         * NULL. */
        int (*fill)(const SnapshotFinish *finish, Fault *fault);
        /* In the worker, before the sync of a commit; after tree_finish(). Doing it again changes nothing.
         * May be NULL. */
        int (*finish)(const SnapshotFinish *finish, Fault *fault);
} SnapshotDriver;

const SnapshotDriver *snapshot_driver_get(SnapshotDriverKind kind);

extern const SnapshotDriver overlay_driver, btrfs_driver, copy_driver, erofs_driver;
