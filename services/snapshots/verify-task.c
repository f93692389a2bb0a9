/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/verify-task.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-hold.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/worker-run.h"

struct VerifyTask {
        VerifyTask *next;
        VerifyTable *table; /* weak */
        VerifySpec spec;    /* its strings are the ones below */
        char *namespace, *key;
        char *last; /* key of the one that was begun last */
        int64_t id; /* its number */
        SnapshotHold *hold;
        WorkerRun *run;
        sd_event_source *defer; /* the first one is begun by the loop */
        uint64_t bytes, checked, unknown;
        char **damaged;
};

struct VerifyTable {
        SnapshotManager *manager; /* weak */
        VerifyTask *tasks;
};

/* ---- life ---- */

int verify_table_new(SnapshotManager *manager, VerifyTable **ret) {
        *ret = new0(VerifyTable, 1);
        if (!*ret)
                return -ENOMEM;
        (*ret)->manager = manager;
        return 0;
}

static VerifyTask *task_free(VerifyTask *task) {
        if (!task)
                return NULL;
        VerifyTask **place = &task->table->tasks;
        while (*place && *place != task)
                place = &(*place)->next;
        if (*place)
                *place = task->next;
        sd_event_source_disable_unref(task->defer);
        worker_run_free(task->run);
        snapshot_hold_free(task->hold);
        strv_free(task->damaged);
        free(task->namespace);
        free(task->key);
        free(task->last);
        return mfree(task);
}
DEFINE_CLEANUP(VerifyTask *, task_free);

VerifyTable *verify_table_free(VerifyTable *table) {
        if (!table)
                return NULL;
        while (table->tasks)
                task_free(table->tasks);
        return mfree(table);
}

static void task_end(VerifyTask *task, int r, const Fault *fault) {
        VerifySpec spec = task->spec;
        _cleanup_strv_ char **damaged = TAKE_PTR(task->damaged);
        const VerifyOutcome outcome = { .checked = task->checked,
                                        .unknown = task->unknown,
                                        .damaged = damaged };
        task_free(task);
        spec.on_end(r, &outcome, fault, spec.userdata);
}

void verify_task_cancel(VerifyTask *task) {
        task_end(task, -ECANCELED, NULL);
}

/* ---- one after the other ---- */

static int task_step(VerifyTask *task, Fault *fault);

static int note_outcome(VerifyTask *task, uint64_t damaged_files, const char *sentence) {
        SnapshotStore *store = task->table->manager->store;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        char damage[1200];
        int r = snapshot_store_get_by_id(store, task->id, &snapshot);
        if (r < 0)
                return r;
        task->checked++;
        if (damaged_files == 0)
                return snapshot.state == SNAPSHOT_DAMAGED ? snapshot_store_set_damage(store, &snapshot, NULL)
                                                          : 0;
        (void) snprintf(damage, sizeof(damage), "%s%s", sentence,
                        damaged_files > 1 ? ", and others are damaged" : "");
        log_error("the snapshot %s in %s is damaged: %s", snapshot.key, snapshot.namespace, damage);
        r = strv_append(&task->damaged, snapshot.key);
        return r < 0 ? r : snapshot_store_set_damage(store, &snapshot, damage);
}

static void on_worker_progress(uint64_t bytes, void *userdata) {
        const VerifyTask *task = userdata;
        task->spec.on_progress(task->bytes + bytes, task->spec.userdata);
}

static void on_worker_end(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        VerifyTask *task = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        if (r < 0)
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
        else if ((r = note_outcome(task, done->bytes, done->text)) < 0)
                (void) fault_set_errno(&own, r, "Can't record what was found");
        task->run = worker_run_free(task->run);
        task->hold = snapshot_hold_free(task->hold);
        if (r >= 0)
                r = task_step(task, &own);
        if (r <= 0)
                task_end(task, r, &own);
}

static int task_run(VerifyTask *task, const Snapshot *snapshot, Fault *fault) {
        SnapshotManager *manager = task->table->manager;
        char number[24];
        (void) snprintf(number, sizeof(number), "%" PRIi64, snapshot->id);
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const[]){ "verify", number, snapshot->measure.manifest, NULL },
                .fds = (const int[]){ manager->trees.shown_trees, manager->trees.handed_trash },
                .fd_count = 2,
                .on_progress = on_worker_progress,
                .on_end = on_worker_end,
                .userdata = task,
        };
        int r = snapshot_hold_new(manager, snapshot->id, &task->hold);
        if (r >= 0)
                r = worker_run_new(manager->event, &spec, &task->run, fault);
        return r < 0 ? r : 1;
}

static int remember(VerifyTask *task, const Snapshot *snapshot) {
        char *key = strdup(snapshot->key);
        if (!key)
                return -ENOMEM;
        free(task->last);
        task->last = key;
        task->id = snapshot->id;
        return 0;
}

typedef struct VerifyNext {
        Snapshot snapshot;
        VerifyTask *task;
} VerifyNext;

/* 1 this is the next one. */
static int visit_next(const Snapshot *snapshot, void *userdata) {
        VerifyNext *next = userdata;
        int r = remember(next->task, snapshot);
        if (r < 0 || snapshot->kind != SNAPSHOT_COMMITTED)
                return r;
        if (!snapshot->measure.manifest[0]) {
                next->task->unknown++;
                return 0;
        }
        return 1;
}

/* 1 a worker was started for the next one, 0 there is none. */
static int task_step(VerifyTask *task, Fault *fault) {
        SnapshotStore *store = task->table->manager->store;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        VerifyNext next = { .task = task };
        if (task->key[0] != '\0' && task->last)
                return 0;
        if (task->key[0] != '\0') {
                int r = snapshot_store_get(store, task->namespace, task->key, &snapshot, fault);
                if (r >= 0)
                        r = remember(task, &snapshot);
                return r < 0 ? r : task_run(task, &snapshot, fault);
        }
        _cleanup_free_ char *after = strdup(task->last ?: "");
        int r = after ? snapshot_store_list(store, task->namespace, after, LIMIT_PAGE_MAX, visit_next, &next)
                      : -ENOMEM;
        if (r <= 0)
                return r < 0 ? fault_set_errno(fault, r, "Can't find the next snapshot") : 0;
        r = snapshot_store_get_by_id(store, task->id, &snapshot);
        return r < 0 ? r : task_run(task, &snapshot, fault);
}

/* ---- the beginning ---- */

static int on_defer(sd_event_source *source, void *userdata) {
        VerifyTask *task = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        task->defer = sd_event_source_disable_unref(task->defer);
        int r = task_step(task, &fault);
        if (r <= 0)
                task_end(task, r, &fault);
        return 0;
}

int verify_task_check(VerifyTable *table, const VerifySpec *spec, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        unsigned count = 0;
        for (const VerifyTask *task = table->tasks; task; task = task->next)
                count += task->spec.uid == spec->uid;
        if (count >= (spec->limited ? LIMIT_VERIFIES_PER_UID : LIMIT_VERIFIES))
                return fault_set(fault, -EDQUOT, "%u verifications run for you already", count);
        if (spec->key[0] == '\0')
                return 0;
        int r = snapshot_store_get(table->manager->store, spec->namespace, spec->key, &snapshot, fault);
        if (r >= 0)
                r = snapshot_check_use(&snapshot, SNAPSHOT_USE_VERIFY, fault);
        if (r >= 0 && !snapshot.measure.manifest[0])
                r = fault_set(fault, -EBUSY, "Nothing was noted about '%s' when it was committed",
                              spec->key);
        return r;
}

int verify_task_new(VerifyTable *table, const VerifySpec *spec, VerifyTask **ret, Fault *fault) {
        _cleanup_(task_freep) VerifyTask *task = NULL;
        int r = verify_task_check(table, spec, fault);
        if (r < 0)
                return r;
        task = new0(VerifyTask, 1);
        if (!task)
                return -ENOMEM;
        *task = (VerifyTask){ .next = table->tasks,
                              .table = table,
                              .spec = *spec,
                              .namespace = strdup(spec->namespace),
                              .key = strdup(spec->key) };
        table->tasks = task;
        if (!task->namespace || !task->key)
                return -ENOMEM;
        r = sd_event_add_defer(table->manager->event, &task->defer, on_defer, task);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(task);
        return 0;
}
