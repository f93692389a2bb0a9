/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How trees become a file system: one struct of functions for each way. Trees are named by their numbers
 * below the directory descriptor trees. Drivers know no records. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"

typedef struct SnapshotMount {
        const int64_t *layers; /* read-only, from the top */
        size_t layer_count;
        int64_t upper; /* the tree that is written to; 0: none */
        bool read_only;
        bool no_setuid;   /* setuid, setgid and file capabilities mean nothing on it */
        bool is_volatile; /* contents need not survive a crash, so unmounting syncs nothing */
        bool direct;      /* the directory of upper itself: nobody knows when such a mount is gone */
        bool fallback;    /* as on kernels that lack what probe() looks for */
} SnapshotMount;

typedef struct SnapshotDriver {
        const char *name;

        /* Makes trees fit for use; *ret_fallback: mounts must use the fallback. */
        int (*setup)(int trees, bool *ret_fallback, Fault *fault);
        /* Fills a fresh tree. like: a tree whose root gives owner and mode (what is on top decides them);
         * -EBADF: none. */
        int (*make)(int tree, int like, Fault *fault);
        /* The directory of a tree that holds its files. */
        const char *contents;
        /* A detached mount, to be attached anywhere. -EBUSY with a sentence where the kernel knows that it
         * is in use. */
        int (*mount)(int trees, const SnapshotMount *spec, Fault *fault);
        /* 1 the tree is mounted for writing somewhere, 0 not. Costs a message in the kernel's log when it is
         * not: ask only if in doubt. */
        int (*is_in_use)(int trees, int64_t upper);
        /* Makes a tree that was mounted volatile, and did not live through a crash since, mountable again.
         */
        int (*forgive_volatile)(int trees, int64_t upper);
} SnapshotDriver;

extern const SnapshotDriver overlay_driver;
