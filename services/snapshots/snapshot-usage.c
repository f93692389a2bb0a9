/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-usage.h"

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/worker-run.h"
#include "services/snapshots/worker-slots.h"

#define DEPTH_MAX ((size_t) 1000)
#define TREES_PER_RUN ((size_t) 12)

/* One snapshot of the chain. */
typedef struct UsagePart {
        int64_t id;
        int64_t parent_id;
        SnapshotDriverKind driver;
        bool committed;
        bool measured;
        SnapshotMeasure measure;
} UsagePart;

struct UsageTask {
        UsageTask *next;
        UsageTable *table; /* weak */
        UsageSpec spec;    /* callback and uid; the rest is not kept */
        UsagePart *parts;  /* from the top */
        size_t count;
        WorkerRun *run;
};

struct UsageTable {
        SnapshotManager *manager; /* weak */
        UsageTask *tasks;         /* in the order in which they came */
};

/* ---- life ---- */

int usage_table_new(SnapshotManager *manager, UsageTable **ret) {
        *ret = new0(UsageTable, 1);
        if (!*ret)
                return -ENOMEM;
        (*ret)->manager = manager;
        return 0;
}

static UsageTask *task_free(UsageTask *task) {
        if (!task)
                return NULL;
        UsageTask **place = &task->table->tasks;
        while (*place && *place != task)
                place = &(*place)->next;
        if (*place)
                *place = task->next;
        worker_run_free(task->run);
        free(task->parts);
        return mfree(task);
}
DEFINE_CLEANUP(UsageTask *, task_free);

UsageTable *usage_table_free(UsageTable *table) {
        if (!table)
                return NULL;
        while (table->tasks)
                task_free(table->tasks);
        return mfree(table);
}

bool usage_table_is_busy(const UsageTable *table) {
        return table->tasks;
}

/* ---- measuring ---- */

static void table_start_tasks(UsageTable *table);

static void task_end(UsageTask *task, int r, const Fault *fault) {
        UsageTable *table = task->table;
        UsageSpec spec = task->spec;
        SnapshotUsage usage = { 0 };
        for (size_t i = 0; i < task->count; i++) {
                const SnapshotMeasure *measure = &task->parts[i].measure;
                *(i == 0 ? &usage.size : &usage.shared_size) += measure->size;
                *(i == 0 ? &usage.inodes : &usage.shared_inodes) += measure->inodes;
        }
        task_free(task);
        spec.on_end(r, &usage, fault, spec.userdata);
        table_start_tasks(table);
}

static void on_measured(const char *text, void *userdata) {
        UsageTask *task = userdata;
        SnapshotMeasure measure;
        int64_t id;
        if (snapshot_measure_parse(text, &id, &measure) < 0)
                return;
        for (size_t i = 0; i < task->count; i++)
                if (task->parts[i].id == id) {
                        task->parts[i].measure = measure;
                        task->parts[i].measured = true;
                        if (task->parts[i].committed)
                                (void) snapshot_store_set_measure(task->table->manager->store, id, &measure);
                }
}

/* Starts a run for what is not known yet. 0: everything is. */
static int task_measure(UsageTask *task, Fault *fault);

static void on_end(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        UsageTask *task = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        task->run = worker_run_free(task->run);
        if (r < 0)
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
        else
                r = task_measure(task, &own);
        if (r <= 0)
                task_end(task, r, &own);
}

static int task_measure(UsageTask *task, Fault *fault) {
        _cleanup_strv_ char **arguments = NULL;
        SnapshotManager *manager = task->table->manager;
        size_t count = 0;
        int r = strv_append(&arguments, "measure");
        for (size_t i = 0; r >= 0 && i < task->count && count < TREES_PER_RUN; i++) {
                const UsagePart *part = &task->parts[i];
                const TreeArgument argument = { .id = part->id,
                                                .driver = part->driver,
                                                .parent_id = part->parent_id };
                if (part->measured)
                        continue;
                r = tree_argument_append(&arguments, &argument);
                count++;
        }
        if (r < 0 || count == 0)
                return r;
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const *) arguments,
                .fds = &manager->trees.shown_trees,
                .fd_count = 1,
                .on_measured = on_measured,
                .on_end = on_end,
                .userdata = task,
        };
        r = worker_run_new(manager->event, &spec, &task->run, fault);
        return r < 0 ? r : 1;
}

static bool task_may_run(const UsageTask *task) {
        WorkerSlots slots = { .limited = task->spec.limited, .uid = task->spec.uid };
        for (const UsageTask *t = task->table->tasks; t; t = t->next)
                if (t->run)
                        worker_slots_count(&slots, t->spec.limited, t->spec.uid);
        return worker_slots_are_free(&slots, LIMIT_CONCURRENT_MEASURES);
}

/* A few at a time. The callbacks may end tasks, so the list is looked at anew each time. */
static void table_start_tasks(UsageTable *table) {
        for (UsageTask *task = table->tasks; task;) {
                if (task->run || !task_may_run(task)) {
                        task = task->next;
                        continue;
                }
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = task_measure(task, &fault);
                if (r > 0) {
                        task = task->next;
                        continue;
                }
                task_end(task, r, &fault);
                return; /* which has started what follows */
        }
}

/* ---- asking for it ---- */

static bool is_measured(const UsageTask *task) {
        for (size_t i = 0; i < task->count; i++)
                if (!task->parts[i].measured)
                        return false;
        return true;
}

/* What has no tree takes nothing. */
static bool has_tree(const Snapshot *snapshot) {
        return snapshot->kind != SNAPSHOT_VIEW && snapshot->state != SNAPSHOT_FAILED;
}

static int add_part(UsageTask *task, const Snapshot *snapshot) {
        UsagePart *larger = reallocarray(task->parts, task->count + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        task->parts = larger;
        larger[task->count++] = (UsagePart){
                .id = snapshot->id,
                .parent_id = snapshot->parent_id,
                .driver = snapshot->driver,
                .committed = snapshot->kind == SNAPSHOT_COMMITTED,
                .measured =
                        !has_tree(snapshot) || (snapshot->kind == SNAPSHOT_COMMITTED && snapshot->measured),
                .measure = has_tree(snapshot) ? snapshot->measure : (SnapshotMeasure){ 0 },
        };
        return 0;
}

static int read_chain(UsageTask *task, const UsageSpec *spec, Fault *fault) {
        SnapshotStore *store = task->table->manager->store;
        Snapshot snapshot = { 0 };
        int r = snapshot_store_get(store, spec->namespace, spec->key, &snapshot, fault);
        while (r >= 0) {
                int64_t parent = snapshot.parent_id;
                r = task->count < DEPTH_MAX ? add_part(task, &snapshot) : -ELOOP;
                snapshot_done(&snapshot);
                if (r < 0 || parent == 0)
                        break;
                r = snapshot_store_get_by_id(store, parent, &snapshot);
        }
        return r < 0 ? fault_set_errno(fault, r, "Can't find what '%s' is built on", spec->key) : 0;
}

int usage_start(UsageTable *table, const UsageSpec *spec, Fault *fault) {
        _cleanup_(task_freep) UsageTask *task = new0(UsageTask, 1);
        unsigned waiting = 0;
        if (!task)
                return -ENOMEM;
        *task = (UsageTask){ .table = table, .spec = *spec };
        UsageTask **place = &table->tasks;
        for (; *place; place = &(*place)->next)
                waiting += (*place)->spec.uid == spec->uid;
        if (spec->limited && waiting >= LIMIT_MEASURES_PER_UID)
                return fault_set(fault, -EDQUOT, "%u snapshots are being measured for you already", waiting);
        int r = read_chain(task, spec, fault);
        if (r < 0)
                return r;
        *place = task;
        task->spec.namespace = task->spec.key = NULL;
        if (is_measured(task))
                task_end(TAKE_PTR(task), 0, NULL);
        else {
                TAKE_PTR(task);
                table_start_tasks(table);
        }
        return 0;
}
