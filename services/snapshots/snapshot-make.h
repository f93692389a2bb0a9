/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Making snapshots: records with a tree of their own, or views without one. Trees that hold everything are
 * filled by a worker; nobody is told of them before that is done. */

#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotRequest {
        const char *namespace;
        const char *key;
        const char *parent; /* "" none */
        uid_t uid;
        uint64_t limit; /* of this user's snapshots; 0: none */
        char *const *labels;
        const char *driver; /* NULL: what the service is set to */
        uint64_t size_max;  /* of what is written to it; 0: no limit */
        void (*on_end)(int r, const Fault *fault, void *userdata); /* once, if preparing it takes a while */
        void *userdata;
} SnapshotRequest;

/* 0: done. 1: on_end will be called. Negative: refused, it will not. */
int snapshot_make_active(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault);
int snapshot_make_view(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault);

/* The root of everything that a committed snapshot consists of, to be read by a worker, which gets no
 * further from there than to the trees. */
int snapshot_make_open_parent(SnapshotManager *manager, int64_t id, Fault *fault);

/* name: NULL, the first that the file system can do. -EINVAL, -EOPNOTSUPP with a sentence. */
int snapshot_make_choose_driver(const SnapshotManager *manager, const char *name, SnapshotDriverKind *ret,
                                Fault *fault);
