/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One snapshot as it is recorded: what it is, in which state, and what is known about its tree. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/digest.h"
#include "services/snapshots/snapshot-driver.h"

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
        SNAPSHOT_DAMAGED,   /* a committed one whose tree is not what was committed; see damage */
        SNAPSHOT_FILLING,   /* a worker copies its parent into it: nobody was told of it yet */
        _SNAPSHOT_STATE_MAX,
        _SNAPSHOT_STATE_INVALID = -22,
} SnapshotState;

/* What callers are told: "ready", "unpacking", "unpacked", "failed", "lost", "damaged" or
 * "preparing". */
typedef struct Snapshot Snapshot;
const char *snapshot_state_to_string(const Snapshot *snapshot);

/* How an active one was mounted since the machine was started. */
typedef enum SnapshotMounted {
        MOUNTED_NEVER,
        MOUNTED_WRITABLE,
        MOUNTED_VOLATILE,
        _SNAPSHOT_MOUNTED_MAX,
        _SNAPSHOT_MOUNTED_INVALID = -22,
} SnapshotMounted;

/* What a tree is, measured by a worker: without its parents. */
typedef struct SnapshotMeasure {
        uint64_t size; /* bytes on the disk */
        uint64_t inodes;
        char manifest[DIGEST_STRING_MAX]; /* digest of services/snapshots/tree-manifest.h's file; "": none */
} SnapshotMeasure;

struct Snapshot {
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
        uint64_t updated;
        uid_t uid;
        char **labels;             /* "KEY=value", in the order of the keys */
        SnapshotDriverKind driver; /* how its tree is kept */
        uint64_t size_max;         /* of what is written to it, in bytes; 0: no limit */
        char *bound;               /* the connection whose end it does not outlive; NULL: none */
        bool measured;             /* measure is known: only of committed ones */
        SnapshotMeasure measure;
        char *damage; /* a sentence, where its state is SNAPSHOT_DAMAGED */
};

void snapshot_done(Snapshot *snapshot);

/* "NUMBER SIZE INODES MANIFEST", as crt-tree says it. -EINVAL. */
int snapshot_measure_parse(const char *text, int64_t *ret_id, SnapshotMeasure *ret);

/* A row of SNAPSHOT_SELECT. */
#define SNAPSHOT_COLUMNS                                                                                    \
        "s.id, s.namespace, s.key, s.parent, p.key, s.kind, s.state, s.mounted, s.diff_id, s.created, "     \
        "s.uid, s.driver, s.size_max, s.bound, s.updated, s.labels, s.damage, s.size, s.inodes, s.manifest"
#define SNAPSHOT_SELECT                                                                                     \
        "SELECT " SNAPSHOT_COLUMNS " FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent "
struct DatabaseRows;
int snapshot_from_row(const struct DatabaseRows *rows, Snapshot *ret);
/* One text of all labels, as a row has it: each with its NUL. NULL and 0 where there are none. */
int snapshot_pack_labels(char *const *labels, char **ret, size_t *ret_size);
