/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of all snapshots, in one SQLite database. A record's number is also the name of its tree. It
 * knows nothing of files. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef enum SnapshotKind {
        SNAPSHOT_ACTIVE,
        SNAPSHOT_VIEW,
        SNAPSHOT_COMMITTED,
        _SNAPSHOT_KIND_MAX,
        _SNAPSHOT_KIND_INVALID = -22,
} SnapshotKind;

const char *snapshot_kind_to_string(SnapshotKind kind);

typedef enum SnapshotState {
        SNAPSHOT_PREPARED,  /* nothing was unpacked into it */
        SNAPSHOT_UNPACKING, /* a worker writes into it */
        SNAPSHOT_UNPACKED,  /* its tree is what diff_id says, but may not be on the disk yet */
        SNAPSHOT_FAILED,    /* its unpacking failed: it has no tree any more and can only be removed */
        SNAPSHOT_LOST,      /* was mounted volatile when the machine went down: can only be removed */
        _SNAPSHOT_STATE_MAX,
        _SNAPSHOT_STATE_INVALID = -22,
} SnapshotState;

/* How an active one was mounted since the machine was started. */
typedef enum SnapshotMounted {
        MOUNTED_NEVER,
        MOUNTED_WRITABLE,
        MOUNTED_VOLATILE,
        _SNAPSHOT_MOUNTED_MAX,
        _SNAPSHOT_MOUNTED_INVALID = -22,
} SnapshotMounted;

typedef struct Snapshot {
        int64_t id; /* 0: this is none */
        char *namespace;
        char *key;
        int64_t parent_id; /* 0: none */
        char *parent;      /* its key; NULL: none */
        SnapshotKind kind;
        SnapshotState state;
        SnapshotMounted mounted;
        char *diff_id;    /* NULL: not unpacked from a layer */
        uint64_t created; /* microseconds since 1970 */
        uid_t uid;
} Snapshot;

void snapshot_done(Snapshot *snapshot);

typedef struct SnapshotStore SnapshotStore;

/* directory is borrowed. After a boot, what is not certain to be on the disk is marked as failed or lost. */
int snapshot_store_open(int directory, const char *boot_id, SnapshotStore **ret, Fault *fault);
SnapshotStore *snapshot_store_free(SnapshotStore *store);
DEFINE_CLEANUP(SnapshotStore *, snapshot_store_free);

/* -ENOENT with a sentence. */
int snapshot_store_get(SnapshotStore *store, const char *namespace, const char *key, Snapshot *ret,
                       Fault *fault);
/* The same by number, -ENOENT without a sentence. */
int snapshot_store_get_by_id(SnapshotStore *store, int64_t id, Snapshot *ret);

/* Adds snapshot (id and created are filled in). Within its transaction make() is called with the number, if
 * given; when that fails nothing is added. Not synced: a power cut may lose it. -EEXIST with a sentence. */
typedef int (*SnapshotMake)(int64_t id, void *userdata, Fault *fault);
int snapshot_store_add(SnapshotStore *store, Snapshot *snapshot, SnapshotMake make, void *userdata,
                       Fault *fault);

/* An active one becomes a committed one under another name, on top of parent_id. Synced. */
int snapshot_store_commit(SnapshotStore *store, int64_t id, const char *name, int64_t parent_id,
                          Fault *fault);
/* -EBUSY with a sentence while others are built on it. Synced when it was a committed one. */
int snapshot_store_remove(SnapshotStore *store, const Snapshot *snapshot, Fault *fault);
int snapshot_store_set_state(SnapshotStore *store, int64_t id, SnapshotState state, const char *diff_id);
int snapshot_store_set_mounted(SnapshotStore *store, int64_t id, SnapshotMounted mounted);
/* Nothing that was unpacked and not committed can be trusted any more: the disk failed. */
int snapshot_store_distrust_unpacked(SnapshotStore *store);

/* The numbers of a snapshot and all below it, from the top; malloc()ed. */
int snapshot_store_chain(SnapshotStore *store, int64_t id, int64_t **ret, size_t *ret_count);
int snapshot_store_count_of_uid(SnapshotStore *store, uid_t uid, uint64_t *ret);

/* Calls visit for up to limit snapshots whose keys come after a key, in order, until it returns a negative
 * value. Returns 1 if there are more. */
typedef int (*SnapshotVisit)(const Snapshot *snapshot, void *userdata);
int snapshot_store_list(SnapshotStore *store, const char *namespace, const char *after, uint32_t limit,
                        SnapshotVisit visit, void *userdata);
/* The same for all namespaces, by number. */
int snapshot_store_list_all(SnapshotStore *store, int64_t after, uint32_t limit, SnapshotVisit visit,
                            void *userdata);
/* All of all namespaces that have a tree: for the check at the start. */
int snapshot_store_visit_trees(SnapshotStore *store, SnapshotVisit visit, void *userdata);
/* Without its tree this record means nothing. Active ones only, so nothing is built on it. */
int snapshot_store_forget(SnapshotStore *store, int64_t id);
