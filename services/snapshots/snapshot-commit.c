/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/snapshot-commit-private.h"
#include "services/snapshots/snapshot-hold.h"
#include "services/snapshots/snapshot-mount.h"
#include "services/snapshots/snapshot-rebase.h"
#include "services/snapshots/snapshot-repair.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/trash-collector.h"
#include "services/snapshots/tree-stage.h"

static SnapshotCommit *commit_free(SnapshotCommit *commit) {
        if (!commit)
                return NULL;
        free(commit->name);
        free(commit->namespace);
        strv_free(commit->labels);
        return mfree(commit);
}
DEFINE_CLEANUP(SnapshotCommit *, commit_free);

int snapshot_commit_setup(SnapshotManager *manager) {
        return snapshot_sync_setup(manager);
}

void snapshot_commit_free_all(SnapshotManager *manager) {
        snapshot_sync_free_all(manager);
        for (SnapshotCommit *commit = TAKE_PTR(manager->commits), *next; commit; commit = next) {
                next = commit->next;
                commit_free(commit);
        }
}

int snapshot_commit_check_idle(const SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        for (const SnapshotCommit *c = manager->commits; c; c = c->next)
                if (c->id == snapshot->id)
                        return fault_set(fault, -EBUSY, "The snapshot '%s' is being committed",
                                         snapshot->key);
        return 0;
}

int snapshot_commit_check_settled(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        int r = snapshot_commit_check_idle(manager, snapshot, fault);
        if (r < 0 || snapshot->kind != SNAPSHOT_ACTIVE ||
            !tree_stage_is_begun(manager->trees.trees, snapshot->id))
                return r;
        r = tree_stage_settle_by_id(manager->trees.trees, manager->trees.trash, snapshot->id, false);
        if (r < 0)
                return fault_set_errno(
                        fault, r, "The tree of '%s' can't be put in order after a commit that was not ended",
                        snapshot->key);
        trash_collector_start(manager->trash);
        return 0;
}

bool snapshot_commit_may_keep(const SnapshotManager *manager) {
        for (const SnapshotCommit *c = manager->commits; c; c = c->next)
                if (c->labels || snapshot_store_has_references(manager->store))
                        return true;
        return false;
}

/* ---- its end ---- */

/* What another worker was told about the disk may concern it, too. */
static int check_trusted(const SnapshotCommit *commit, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(commit->manager->store, commit->id, &snapshot);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't look up the snapshot '%s'", commit->name);
        if (snapshot.state == SNAPSHOT_FAILED)
                return fault_set(fault, -EIO, "The disk failed while the snapshot '%s' was written",
                                 commit->name);
        return 0;
}

static int commit_record(const SnapshotCommit *commit, Fault *fault) {
        SnapshotManager *manager = commit->manager;
        char seal[FILE_VERITY_SIZE];
        int r = image_measure_seal(manager->trees.trees, commit->id, seal);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't look at the image of '%s'", commit->name);
        const SnapshotStoreCommit store = {
                .id = commit->id,
                .name = commit->name,
                .parent_id = commit->parent_id,
                .label_changes = commit->labels,
                .measure = commit->measured ? &commit->measure : NULL,
                .seal = r > 0 ? seal : NULL,
        };
        return commit->replaces > 0 ? snapshot_replace_damaged(manager, commit->replaces, &store, fault)
                                    : snapshot_store_commit(manager->store, &store, fault);
}

void snapshot_commit_settle(const SnapshotCommit *commit, bool committed) {
        SnapshotManager *manager = commit->manager;
        int r = tree_stage_settle_by_id(manager->trees.trees, manager->trees.trash, commit->id, committed);
        if (r < 0)
                log_warning("the tree of %s is put in order at the next start: %s", commit->name,
                            strerror(-r));
        manager->in_step = manager->in_step && r >= 0;
        trash_collector_start(manager->trash);
}

void snapshot_commit_end(SnapshotCommit *commit, int r, Fault *fault) {
        if (r >= 0)
                r = check_trusted(commit, fault);
        if (r >= 0)
                r = commit_record(commit, fault);
        snapshot_commit_settle(commit, r >= 0);
        if (r >= 0)
                snapshot_manager_unbind(commit->manager, commit->id);
        snapshot_chains_forget(commit->manager->chains);
        commit->on_end(r, fault, commit->userdata);
        commit_free(commit);
}

/* ---- asking for it ---- */

static int check_committable(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        int r = snapshot_check_use(snapshot, SNAPSHOT_USE_COMMIT, fault);
        if (r >= 0)
                r = snapshot_hold_check(manager, snapshot, fault);
        if (r >= 0)
                r = snapshot_commit_check_settled(manager, snapshot, fault);
        return r < 0 ? r : snapshot_mount_check_unused(manager, snapshot, fault);
}

static int find_parent(SnapshotManager *manager, const SnapshotCommitSpec *spec, const Snapshot *snapshot,
                       int64_t *ret, Fault *fault) {
        *ret = snapshot->parent_id;
        if (!spec->parent || spec->parent[0] == '\0')
                return snapshot_check_whole(manager->store, snapshot, fault);
        _cleanup_(snapshot_done) Snapshot parent = { 0 };
        int r = snapshot_store_get(manager->store, spec->namespace, spec->parent, &parent, fault);
        if (r >= 0)
                r = snapshot_check_use(&parent, SNAPSHOT_USE_PARENT, fault);
        if (r >= 0)
                r = snapshot_check_whole(manager->store, &parent, fault);
        if (r >= 0)
                r = snapshot_rebase_check(manager->store, snapshot, &parent, fault);
        if (r >= 0)
                *ret = parent.id;
        return r;
}

/* *ret_replaces: the number of a damaged one that the new one takes the place of; 0: none. */
static int check_name(SnapshotManager *manager, const SnapshotCommitSpec *spec, const Snapshot *snapshot,
                      int64_t parent_id, int64_t *ret_replaces, Fault *fault) {
        if (!snapshot_key_is_valid(spec->name))
                return fault_set(fault, -EINVAL, "'%s' is no valid snapshot name", spec->name);
        if (string_equal(spec->name, spec->key))
                return 0;
        for (const SnapshotCommit *c = manager->commits; c; c = c->next)
                if (string_equal(c->name, spec->name) && string_equal(c->namespace, spec->namespace))
                        return fault_set(fault, -EEXIST, "A snapshot '%s' is being committed already",
                                         spec->name);
        _cleanup_(snapshot_done) Snapshot other = { 0 };
        int r = snapshot_store_get(manager->store, spec->namespace, spec->name, &other, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return fault_set_errno(fault, r, "Can't look up the snapshot '%s'", spec->name);
        if (!snapshot_can_replace(&other, snapshot, parent_id))
                return fault_set(fault, -EEXIST, "There is a snapshot '%s' in the namespace %s already",
                                 spec->name, spec->namespace);
        *ret_replaces = other.id;
        return snapshot_hold_check(manager, &other, fault);
}

int snapshot_commit_start(SnapshotManager *manager, const SnapshotCommitSpec *spec, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        _cleanup_(commit_freep) SnapshotCommit *commit = new0(SnapshotCommit, 1);
        if (!commit)
                return -ENOMEM;
        int r = label_check(spec->labels, NULL, fault);
        if (r >= 0)
                r = snapshot_store_get(manager->store, spec->namespace, spec->key, &snapshot, fault);
        if (r >= 0)
                r = check_committable(manager, &snapshot, fault);
        if (r >= 0)
                r = find_parent(manager, spec, &snapshot, &commit->parent_id, fault);
        if (r >= 0)
                r = check_name(manager, spec, &snapshot, commit->parent_id, &commit->replaces, fault);
        if (r < 0)
                return r;

        commit->manager = manager;
        commit->id = snapshot.id;
        commit->name = strdup(spec->name);
        commit->namespace = strdup(spec->namespace);
        commit->on_end = spec->on_end;
        commit->userdata = spec->userdata;
        if (!commit->name || !commit->namespace ||
            strv_copy((const char *const *) spec->labels, &commit->labels) < 0)
                return -ENOMEM;
        SnapshotCommit **place = &manager->commits;
        while (*place)
                place = &(*place)->next;
        *place = TAKE_PTR(commit);
        snapshot_sync_start(manager);
        return 0;
}
