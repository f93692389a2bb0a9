/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The workers that finish the trees of commits and sync them. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-commit-private.h"
#include "services/snapshots/snapshot-make.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/tree-quota.h"
#include "services/snapshots/worker-run.h"

#define COMMITS_PER_SYNC 8
#define SYNCS_MAX 8 /* one for each namespace, one of them kept for root's */
#define NAMESPACE_OF_ROOT "system"

/* A worker, or the place for one. The kernel tells once for each opened directory that something could not
 * be written: with its own, opened before anything was written, none misses what another was told. */
struct SnapshotSync {
        SnapshotManager *manager; /* weak */
        WorkerRun *run;
        int trees;
        int second;            /* another one, for a worker that ended without a word */
        char *end;             /* how that one did, while it is asked for */
        const char *namespace; /* weak: of its first commit */
};

static int open_trees(const SnapshotManager *manager, int *ret) {
        int fd = path_open(manager->trees.handed_trees, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (fd >= 0)
                *ret = fd;
        return fd < 0 ? fd : 0;
}

int snapshot_sync_setup(SnapshotManager *manager) {
        manager->syncs = new0(SnapshotSync, SYNCS_MAX);
        if (!manager->syncs)
                return -ENOMEM;
        for (size_t i = 0; i < SYNCS_MAX; i++)
                manager->syncs[i] = (SnapshotSync){ .manager = manager, .trees = -EBADF, .second = -EBADF };
        int r = 0;
        for (size_t i = 0; r >= 0 && i < SYNCS_MAX; i++) {
                r = open_trees(manager, &manager->syncs[i].trees);
                if (r >= 0)
                        r = open_trees(manager, &manager->syncs[i].second);
        }
        return r;
}

void snapshot_sync_free_all(SnapshotManager *manager) {
        for (size_t i = 0; manager->syncs && i < SYNCS_MAX; i++) {
                worker_run_free(manager->syncs[i].run);
                fd_close(manager->syncs[i].trees);
                fd_close(manager->syncs[i].second);
                free(manager->syncs[i].end);
        }
        manager->syncs = mfree(manager->syncs);
}

/* ---- what became of them ---- */

/* One bad tree must not fail the commits of others: each gets a worker of its own. */
static bool commits_retry(const SnapshotSync *sync) {
        unsigned count = 0;
        for (SnapshotCommit *c = sync->manager->commits; c; c = c->next)
                count += c->sync == sync;
        if (count < 2)
                return false;
        for (SnapshotCommit *c = sync->manager->commits; c; c = c->next)
                if (c->sync == sync) {
                        snapshot_commit_settle(c, false);
                        c->alone = true;
                        c->sync = NULL;
                }
        return true;
}

/* Those that the worker had are taken off the list before anybody is told: who is told may begin the next.
 */
static SnapshotCommit *take_synced(SnapshotSync *sync) {
        SnapshotCommit *synced = NULL, **tail = &synced;
        for (SnapshotCommit **place = &sync->manager->commits; *place;) {
                SnapshotCommit *commit = *place;
                if (commit->sync != sync) {
                        place = &commit->next;
                        continue;
                }
                *place = commit->next;
                commit->next = NULL;
                *tail = commit;
                tail = &commit->next;
        }
        return synced;
}

static void on_measured(const char *text, void *userdata) {
        SnapshotSync *sync = userdata;
        SnapshotMeasure measure;
        int64_t id;
        if (snapshot_measure_parse(text, &id, &measure) < 0)
                return;
        for (SnapshotCommit *c = sync->manager->commits; c; c = c->next)
                if (c->sync == sync && c->id == id) {
                        c->measure = measure;
                        c->measured = true;
                }
}

/* disk_failed: the kernel tells once that something could not be written, and not which file. Nothing that
 * is not known to be on the disk is believed any more, whoever's it is. */
static void sync_end(SnapshotSync *sync, int r, bool disk_failed, const Fault *fault) {
        SnapshotManager *manager = sync->manager;
        sync->namespace = NULL;
        if (disk_failed) {
                int k = snapshot_store_distrust_unpacked(manager->store);
                if (k < 0)
                        log_error("can't mark unpacked snapshots as damaged: %s", strerror(-k));
        } else if (r < 0 && commits_retry(sync)) {
                snapshot_sync_start(manager);
                return;
        }
        for (SnapshotCommit *commit = take_synced(sync), *next; commit; commit = next) {
                _cleanup_(fault_done) Fault own = FAULT_NULL;
                next = commit->next;
                if (r < 0)
                        (void) fault_set(&own, r, "%s", fault_text(fault, r));
                snapshot_commit_end(commit, r, &own);
        }
        snapshot_sync_start(manager);
}

/* It read no tree: if it was not able to answer, nobody knows. */
static void on_second_end(int r, const WorkerMessage *said, const Fault *fault, void *userdata) {
        SnapshotSync *sync = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        sync->run = worker_run_free(sync->run);
        _cleanup_free_ char *end = TAKE_PTR(sync->end);
        (void) fault_set(&own, r < 0 ? r : -ECHILD, "%s", r < 0 ? fault_text(fault, r) : end);
        sync_end(sync, own.error, r < 0, &own);
}

/* What a worker that ended without a word was told of the disk, nobody is told again by the same descriptor,
 * but by another one. That way the end of a worker says nothing about the disk, and costs nobody else
 * anything. */
static int sync_ask_again(SnapshotSync *sync, const Fault *fault) {
        sync->end = strdup(fault_text(fault, -ECHILD));
        if (!sync->end)
                return -ENOMEM;
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const[]){ "sync", NULL },
                .fds = &sync->second,
                .fd_count = 1,
                .on_end = on_second_end,
                .userdata = sync,
        };
        int r = worker_run_new(sync->manager->event, &spec, &sync->run, NULL);
        if (r < 0)
                sync->end = mfree(sync->end);
        return r;
}

static void on_sync_end(int r, const WorkerMessage *said, const Fault *fault, void *userdata) {
        SnapshotSync *sync = userdata;
        sync->run = worker_run_free(sync->run);
        if (r != -ECHILD)
                sync_end(sync, r, r < 0 && said->type == WORKER_DISK_FAILED, fault);
        else if (sync_ask_again(sync, fault) < 0)
                sync_end(sync, r, true, fault);
}

/* ---- starting them ---- */

/* What a worker is about to be started with. */
typedef struct SyncStart {
        char **arguments;
        int parents[COMMITS_PER_SYNC];
        size_t parent_count;
} SyncStart;

static int release_quota(const SnapshotManager *manager, const Snapshot *snapshot) {
        if (snapshot->size_max == 0 || snapshot->driver == DRIVER_BTRFS)
                return 0;
        _cleanup_close_ int tree = tree_store_get(&manager->trees, snapshot->id);
        return tree < 0 ? tree : tree_quota_release(tree);
}

/* What was made without a parent, and gets one now, has yet to be told of it: a layer that was unpacked by
 * itself, or what somebody wrote. */
static bool needs_parent(const SnapshotCommit *commit, const Snapshot *snapshot) {
        return commit->parent_id > 0 && (snapshot->diff_id || snapshot->parent_id == 0);
}

/* What the worker is told, and a view of what the tree is put on if that matters. */
static int sync_add(SyncStart *start, const SnapshotCommit *commit, Fault *fault) {
        SnapshotManager *manager = commit->manager;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(manager->store, commit->id, &snapshot);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't look up the snapshot '%s'", commit->name);
        r = release_quota(manager, &snapshot);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't commit '%s' without its limit", snapshot.key);
        TreeArgument argument = {
                .id = commit->id,
                .driver = snapshot.driver,
                .parent_id = commit->parent_id,
                .mounted = snapshot.mounted != MOUNTED_NEVER,
        };
        if (needs_parent(commit, &snapshot)) {
                int fd = snapshot_make_open_parent(manager, commit->parent_id, fault);
                if (fd < 0)
                        return fd;
                argument.parent = TREE_ARGUMENT_FIRST_FD + start->parent_count;
                start->parents[start->parent_count++] = fd;
        }
        return tree_argument_append(&start->arguments, &argument);
}

static void sync_start_done(SyncStart *start) {
        strv_free(start->arguments);
        fd_close_many(start->parents, start->parent_count);
}

static int sync_run(SnapshotSync *sync, SyncStart *start, Fault *fault) {
        int fds[2 + COMMITS_PER_SYNC] = { sync->trees, sync->manager->trees.handed_trash };
        for (size_t i = 0; i < start->parent_count; i++)
                fds[2 + i] = start->parents[i];
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const *) start->arguments,
                .fds = fds,
                .fd_count = 2 + start->parent_count,
                .on_measured = on_measured,
                .on_end = on_sync_end,
                .userdata = sync,
        };
        return worker_run_new(sync->manager->event, &spec, &sync->run, fault);
}

/* Those of the first's namespace that wait with it go along. */
static int sync_spawn(SnapshotSync *sync, SnapshotCommit *first, Fault *fault) {
        _cleanup_(sync_start_done) SyncStart start = { 0 };
        int r = strv_append(&start.arguments, "finish");
        unsigned count = 0;
        sync->namespace = first->namespace;
        for (SnapshotCommit *c = first; r >= 0 && c && count < COMMITS_PER_SYNC; c = c->next) {
                if (c->sync || !string_equal(c->namespace, first->namespace))
                        continue;
                if (c->alone && count > 0)
                        break;
                r = sync_add(&start, c, fault);
                c->sync = sync;
                count++;
                if (c->alone)
                        break;
        }
        return r < 0 ? fault_set_errno(fault, r, "Can't commit") : sync_run(sync, &start, fault);
}

/* The place for a worker for that namespace; NULL if it has one already, or there is none left. */
static SnapshotSync *find_place(SnapshotManager *manager, const char *namespace) {
        SnapshotSync *place = NULL;
        size_t first = string_equal(namespace, NAMESPACE_OF_ROOT) ? 0 : 1;
        for (size_t i = 0; i < SYNCS_MAX; i++) {
                SnapshotSync *sync = &manager->syncs[i];
                if (sync->namespace && string_equal(sync->namespace, namespace))
                        return NULL;
                if (!sync->namespace && i >= first && !place)
                        place = sync;
        }
        return place;
}

static bool sync_start_one(SnapshotManager *manager) {
        for (SnapshotCommit *c = manager->commits; c; c = c->next) {
                SnapshotSync *sync = c->sync ? NULL : find_place(manager, c->namespace);
                if (!sync)
                        continue;
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = sync_spawn(sync, c, &fault);
                if (r >= 0)
                        return true;
                sync->namespace = NULL;
                if (commits_retry(sync))
                        return true;
                for (SnapshotCommit *commit = take_synced(sync), *next; commit; commit = next) {
                        _cleanup_(fault_done) Fault own = FAULT_NULL;
                        next = commit->next;
                        (void) fault_set(&own, r, "%s", fault_text(&fault, r));
                        snapshot_commit_end(commit, r, &own);
                }
                return true; /* who was told may have changed the list */
        }
        return false;
}

void snapshot_sync_start(SnapshotManager *manager) {
        while (sync_start_one(manager))
                ;
}
