/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of all snapshots, in one SQLite database. A record's number is also the name of its tree. It
 * knows nothing of files. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/file-verity.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/snapshot-record.h"

typedef struct SnapshotStore SnapshotStore;

/* How the last run ended. */
typedef enum SnapshotStoreStart {
        SNAPSHOT_STORE_AFTER_ORDERLY_END,
        SNAPSHOT_STORE_AFTER_CRASH,
        SNAPSHOT_STORE_AFTER_BOOT,
} SnapshotStoreStart;

/* directory is borrowed. After a boot, what is not certain to be on the disk is marked as failed or lost. */
int snapshot_store_open(int directory, const char *boot_id, SnapshotStore **ret, Fault *fault);
SnapshotStore *snapshot_store_free(SnapshotStore *store);
DEFINE_CLEANUP(SnapshotStore *, snapshot_store_free);
SnapshotStoreStart snapshot_store_start(const SnapshotStore *store);
/* Records and trees are in step: the next start need not look. */
int snapshot_store_note_orderly_end(SnapshotStore *store);

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
typedef struct SnapshotStoreCommit {
        int64_t id;
        const char *name;
        int64_t parent_id;
        char *const *label_changes;
        const SnapshotMeasure *measure; /* NULL: not known */
        const char *seal;               /* what fs-verity measures of its image; NULL: nothing */
} SnapshotStoreCommit;
int snapshot_store_commit(SnapshotStore *store, const SnapshotStoreCommit *commit, Fault *fault);
/* The same in the place of a damaged one: under its name, with its labels unless there are others, and what
 * was built on it is built on the new one. Synced. */
int snapshot_store_replace(SnapshotStore *store, int64_t damaged, const SnapshotStoreCommit *commit,
                           Fault *fault);
/* What fs-verity must measure of its image: 1, or 0 where nothing is recorded. */
int snapshot_store_get_seal(SnapshotStore *store, int64_t id, char ret[FILE_VERITY_SIZE]);
/* NULL: a committed one is all right. Synced. */
int snapshot_store_set_damage(SnapshotStore *store, const Snapshot *snapshot, const char *damage);
/* 1 and the key of something damaged that it is built on, or that it is itself; 0 there is none. */
int snapshot_store_find_damaged(SnapshotStore *store, int64_t id, char **ret);
/* See label_change(). Not synced, unless it is a committed one. -EINVAL, -EDQUOT with a sentence. */
int snapshot_store_change_labels(SnapshotStore *store, const Snapshot *snapshot, char *const *changes,
                                 bool replace, Fault *fault);
int snapshot_store_set_measure(SnapshotStore *store, int64_t id, const SnapshotMeasure *measure);
/* -EBUSY with a sentence while others are built on it. Synced when it was a committed one. */
int snapshot_store_remove(SnapshotStore *store, const Snapshot *snapshot, Fault *fault);
/* Many with one sync, if one of them was a committed one; on which others are built stay, and are noted.
 * Without success all stay. */
int snapshot_store_remove_many(SnapshotStore *store, const Snapshot snapshots[], size_t count,
                               bool ret_removed[]);
/* There may be room on the disk again for what removing needs on a full one. */
void snapshot_store_make_room(SnapshotStore *store);
int snapshot_store_set_state(SnapshotStore *store, int64_t id, SnapshotState state, const char *diff_id);
/* SNAPSHOT_FAILED, for whoever reads it from now on, even if that can't be written: then negative, and the
 * next start writes it unless this end is noted as orderly. */
int snapshot_store_set_failed(SnapshotStore *store, int64_t id);
int snapshot_store_set_mounted(SnapshotStore *store, int64_t id, SnapshotMounted mounted);
/* NULL: to none any more. */
int snapshot_store_set_bound(SnapshotStore *store, int64_t id, const char *connection);
/* Nothing that was unpacked and not committed can be trusted any more: the disk failed. */
int snapshot_store_distrust_unpacked(SnapshotStore *store);

/* A snapshot and all below it, from the top; malloc()ed. */
int snapshot_store_chain(SnapshotStore *store, int64_t id, SnapshotLayer **ret, size_t *ret_count);
/* Calls on_change when something may keep things from now on that did not: a label, or its use where labels
 * of snapshots refer to others. */
void snapshot_store_watch(SnapshotStore *store, void (*on_change)(void *userdata), void *userdata);
/* Whose labels are bounded (LIMIT_LABEL_BYTES_PER_UID); until then nobody's. */
void snapshot_store_limit_labels(SnapshotStore *store, bool (*is_limited)(uid_t uid));
/* Some do: somebody has seen it. */
void snapshot_store_note_references(SnapshotStore *store);
bool snapshot_store_has_references(const SnapshotStore *store);
/* How many a user has, and what those of them take that are committed and were measured. */
int snapshot_store_count_of_uid(SnapshotStore *store, uid_t uid, uint64_t *ret_count, uint64_t *ret_bytes);

/* Calls visit for up to limit snapshots whose keys come after a key, in order, until it returns something
 * other than 0, which is returned. Returns 1 if there are more. */
typedef int (*SnapshotVisit)(const Snapshot *snapshot, void *userdata);
int snapshot_store_list(SnapshotStore *store, const char *namespace, const char *after, uint32_t limit,
                        SnapshotVisit visit, void *userdata);
/* The same for all namespaces, by number. */
int snapshot_store_list_all(SnapshotStore *store, int64_t after, uint32_t limit, SnapshotVisit visit,
                            void *userdata);
/* The numbers of all namespaces, in any order, and whether there is a tree of that number: for the check at
 * the start. */
typedef int (*SnapshotNumberVisit)(int64_t id, SnapshotKind kind, bool has_tree, void *userdata);
int snapshot_store_visit_numbers(SnapshotStore *store, SnapshotNumberVisit visit, void *userdata);
/* All that are bound to some connection. */
int snapshot_store_visit_bound(SnapshotStore *store, SnapshotVisit visit, void *userdata);
/* Without its tree this record means nothing. Active ones only, so nothing is built on it. */
int snapshot_store_forget(SnapshotStore *store, int64_t id);
