/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/unpack-task.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/space-reserve.h"
#include "services/snapshots/tree-quota.h"
#include "services/snapshots/worker-run.h"
#include "services/snapshots/worker-slots.h"

/* What an entry takes beyond its contents, at the most: blocks that are not full, its name, attributes; and
 * what is made besides entries. */
#define ENTRY_SIZE (UINT64_C(16) * 1024)
#define SPARE_ENTRIES 64

#define WATCH_ACCURACY_USEC UINT64_C(1000)
#define WATCH_RETRY_USEC UINT64_C(200000)

struct UnpackTask {
        UnpackTask *next;
        UnpackQueue *queue; /* weak */
        UnpackSpec spec;    /* callbacks, compression, diff_id, uid; the rest is not kept */
        int64_t id;
        int layer;
        bool running;
        bool bound; /* by a quota: tree-quota.h */
        WorkerRun *run;
};

struct UnpackQueue {
        SnapshotManager *manager; /* weak */
        LayerRules limits;
        UnpackTask *tasks;      /* in the order in which they came */
        sd_event_source *kick;  /* starts tasks from the loop */
        sd_event_source *watch; /* looks at the disk while some run */
};

/* ---- life ---- */

static void task_free(UnpackTask *task) {
        UnpackTask **place = &task->queue->tasks;
        while (*place && *place != task)
                place = &(*place)->next;
        if (*place)
                *place = task->next;
        worker_run_free(task->run);
        fd_close(task->layer);
        free(task);
}

static void queue_start_tasks(UnpackQueue *queue);
static int on_watch(sd_event_source *source, uint64_t now, void *userdata);

static int on_kick(sd_event_source *source, void *userdata) {
        queue_start_tasks(userdata);
        return 0;
}

int unpack_queue_new(SnapshotManager *manager, const LayerRules *limits, UnpackQueue **ret) {
        _cleanup_(unpack_queue_freep) UnpackQueue *queue = new0(UnpackQueue, 1);
        if (!queue)
                return -ENOMEM;
        queue->manager = manager;
        queue->limits = *limits;
        int r = sd_event_add_defer(manager->event, &queue->kick, on_kick, queue);
        if (r >= 0)
                r = sd_event_source_set_enabled(queue->kick, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(manager->event, &queue->watch, CLOCK_MONOTONIC, 0,
                                               WATCH_ACCURACY_USEC, on_watch, queue);
        if (r >= 0)
                r = sd_event_source_set_enabled(queue->watch, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(queue);
        return 0;
}

UnpackQueue *unpack_queue_free(UnpackQueue *queue) {
        if (!queue)
                return NULL;
        while (queue->tasks)
                task_free(queue->tasks);
        sd_event_source_disable_unref(queue->kick);
        sd_event_source_disable_unref(queue->watch);
        return mfree(queue);
}

const LayerRules *unpack_queue_limits(const UnpackQueue *queue) {
        return &queue->limits;
}

static int queue_watch(UnpackQueue *queue, uint64_t usec) {
        int r = sd_event_source_set_time_relative(queue->watch, usec);
        return r < 0 ? r : sd_event_source_set_enabled(queue->watch, SD_EVENT_ONESHOT);
}

static UnpackTask *queue_find_running(const UnpackQueue *queue) {
        UnpackTask *task = queue->tasks;
        while (task && !task->running)
                task = task->next;
        return task;
}

static void queue_kick(UnpackQueue *queue) {
        (void) sd_event_source_set_enabled(queue->kick, SD_EVENT_ONESHOT);
}

/* ---- the end ---- */

static int check_digest(const UnpackTask *task, const char *text, Fault *fault) {
        char expected[DIGEST_STRING_MAX];
        Digest digest;
        int r = digest_parse(text, &digest);
        if (r < 0)
                return fault_set(fault, -EIO, "crt-unpack answered without a digest");
        if (digest_equal(&digest, &task->spec.diff_id))
                return 0;
        return fault_set(fault, -EUCLEAN, "The layer unpacks to %s, but should be %s", text,
                         digest_to_string(&task->spec.diff_id, expected));
}

static void task_end(UnpackTask *task, int r, uint64_t size, Fault *fault) {
        UnpackQueue *queue = task->queue;
        UnpackSpec spec = task->spec;
        char text[DIGEST_STRING_MAX];
        if (r >= 0) {
                r = snapshot_store_set_state(queue->manager->store, task->id, SNAPSHOT_UNPACKED,
                                             digest_to_string(&spec.diff_id, text));
                if (r < 0)
                        r = fault_set_errno(fault, r, "Can't record that the layer was unpacked");
        }
        int64_t id = task->id;
        bool bound = task->bound;
        task_free(task); /* and with it the worker, before its tree goes */
        if (bound)
                tree_quota_drop(queue->manager->trees.trees, id);
        if (r < 0)
                snapshot_manager_fail(queue->manager, id);
        spec.on_end(r, size, fault, spec.userdata);
        queue_kick(queue);
}

void unpack_task_cancel(UnpackTask *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        task_end(task, fault_set(&fault, -ECANCELED, "The unpacking was cancelled"), 0, &fault);
}

/* ---- the disk ---- */

/* A writer stops by itself when only the reserve is left. One that the layer has taken over does not, and
 * what it has deleted and keeps open is in no tree: so it is the file system that is looked at. Which of
 * those that run it is can't be told; the others would have got no further. */
static int on_watch(sd_event_source *source, uint64_t now, void *userdata) {
        UnpackQueue *queue = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        uint64_t usec = WATCH_RETRY_USEC;
        if (!queue_find_running(queue))
                return 0;
        int r = space_reserve_look(queue->manager->trees.trees, &usec, "unpack the layer", &fault);
        if (r != -ENOSPC)
                return queue_watch(queue, usec);
        for (UnpackTask *task; (task = queue_find_running(queue));)
                task_end(task, r, 0, &fault);
        return 0;
}

static void on_worker_progress(uint64_t bytes, void *userdata) {
        const UnpackTask *task = userdata;
        task->spec.on_progress(bytes, task->spec.userdata);
}

static void on_worker_end(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        UnpackTask *task = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        if (r < 0)
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
        else
                r = check_digest(task, done->text, &own);
        task_end(task, r, done->bytes, &own);
}

/* ---- the beginning ---- */

static int open_notes(const SnapshotManager *manager, int64_t id) {
        char path[TREE_PATH_SIZE];
        return path_open(manager->trees.trees, tree_path(id, "notes", path), O_WRONLY | O_CREAT | O_EXCL,
                         0600, PATH_BENEATH);
}

/* What crt-unpack is to do, as its arguments. */
typedef struct UnpackArguments {
        char size[32];
        char entries[32];
        const char *list[5];
} UnpackArguments;

static const char *const *task_arguments(const UnpackTask *task, UnpackArguments *buffer) {
        const UnpackSpec *spec = &task->spec;
        (void) snprintf(buffer->size, sizeof(buffer->size), "size-max=%" PRIu64, spec->rules.size_max);
        (void) snprintf(buffer->entries, sizeof(buffer->entries), "entries-max=%" PRIu64,
                        spec->rules.entries_max);
        buffer->list[0] =
                spec->compression == COMPRESSION_AUTO ? "" : compression_to_string(spec->compression);
        buffer->list[1] = buffer->size;
        buffer->list[2] = buffer->entries;
        buffer->list[3] = spec->rules.keep_labels ? "keep-labels=1" : "keep-labels=0";
        buffer->list[4] = NULL;
        return buffer->list;
}

/* Where the file system has project quotas, the kernel holds whoever writes to what a layer may be made of;
 * elsewhere only to leaving some room to others. */
static int task_bound(UnpackTask *task, Fault *fault) {
        const SnapshotManager *manager = task->queue->manager;
        const LayerRules *rules = &task->spec.rules;
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int fd = path_open(manager->trees.trees, tree_path(task->id, "fs", path),
                                           O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = fd < 0 ? fd
                       : tree_quota_bound(fd, task->id, rules->size_max + rules->entries_max * ENTRY_SIZE,
                                          rules->entries_max + SPARE_ENTRIES);
        task->bound = r > 0;
        return r < 0 ? fault_set_errno(fault, r, "Can't limit what the layer takes") : 0;
}

static int task_start(UnpackTask *task, Fault *fault) {
        SnapshotManager *manager = task->queue->manager;
        UnpackArguments arguments;
        _cleanup_close_ int tree = tree_mounts_mount_directory(manager->tree_mounts, task->id, fault);
        if (tree < 0)
                return tree;
        _cleanup_close_ int notes = open_notes(manager, task->id);
        if (notes < 0)
                return fault_set_errno(fault, notes, "Can't make the notes about the layer");
        int r = task_bound(task, fault);
        if (r < 0)
                return r;
        const WorkerRunSpec spec = {
                .program = "crt-unpack",
                .arguments = task_arguments(task, &arguments),
                .fds = (const int[]){ task->layer, tree, notes },
                .fd_count = 3,
                .own_processes = true,
                .on_progress = on_worker_progress,
                .on_end = on_worker_end,
                .userdata = task,
        };
        r = queue_watch(task->queue, 0);
        r = r < 0 ? fault_set_errno(fault, r, "Can't watch the disk")
                  : worker_run_new(manager->event, &spec, &task->run, fault);
        task->layer = fd_close(task->layer); /* the worker's alone: it must see when the writer ends */
        return r;
}

/* Whoever feeds a layer byte by byte keeps a slot. */
static bool task_may_start(const UnpackTask *task) {
        WorkerSlots slots = { .limited = task->spec.limited, .uid = task->spec.uid };
        for (const UnpackTask *t = task->queue->tasks; t; t = t->next)
                if (t->running)
                        worker_slots_count(&slots, t->spec.limited, t->spec.uid);
        return worker_slots_are_free(&slots, LIMIT_CONCURRENT_UNPACKS);
}

/* The callbacks may end tasks, so the list is looked at anew each time. */
static void queue_start_tasks(UnpackQueue *queue) {
        for (UnpackTask *task = queue->tasks; task;) {
                if (task->running || !task_may_start(task)) {
                        task = task->next;
                        continue;
                }
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                task->running = true;
                task->spec.on_start(task->spec.userdata);
                int r = task_start(task, &fault);
                if (r < 0)
                        task_end(task, r, 0, &fault);
                task = queue->tasks;
        }
}

/* Whatever the record says: a boot forgets that it was mounted, and nobody shall have a layer's DiffID on
 * other files. 1: it is. */
static int is_empty(const SnapshotManager *manager, int64_t id) {
        char path[TREE_PATH_SIZE];
        int fd = path_open(manager->trees.trees, tree_path(id, "fs", path), O_RDONLY | O_DIRECTORY, 0,
                           PATH_BENEATH);
        if (fd < 0)
                return fd;
        DIR *directory = fdopendir(fd);
        if (!directory) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        const struct dirent *entry;
        do {
                errno = 0;
                entry = readdir(directory);
        } while (entry && (string_equal(entry->d_name, ".") || string_equal(entry->d_name, "..")));
        int r = entry ? 0 : errno > 0 ? -errno : 1;
        (void) closedir(directory);
        return r;
}

static int check_empty(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        int r = snapshot_check_use(snapshot, SNAPSHOT_USE_UNPACK, fault);
        if (r < 0)
                return r;
        if (snapshot->parent_id > 0)
                return fault_set(fault, -EBUSY,
                                 "The snapshot '%s' has a parent: layers are unpacked without, and put on "
                                 "their parents when they are committed",
                                 snapshot->key);
        if (snapshot->mounted != MOUNTED_NEVER)
                return fault_set(fault, -EBUSY, "The snapshot '%s' is not fresh: it was used already",
                                 snapshot->key);
        r = snapshot_commit_check_settled(manager, snapshot, fault);
        if (r < 0)
                return r;
        r = is_empty(manager, snapshot->id);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't look into the tree of '%s'", snapshot->key);
        return r > 0 ? 0
                     : fault_set(fault, -EBUSY, "The snapshot '%s' is not fresh: there are files in it",
                                 snapshot->key);
}

int unpack_task_check(UnpackQueue *queue, const char *namespace, const char *key, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get(queue->manager->store, namespace, key, &snapshot, fault);
        return r < 0 ? r : check_empty(queue->manager, &snapshot, fault);
}

int unpack_task_new(UnpackQueue *queue, const UnpackSpec *spec, UnpackTask **ret, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        SnapshotManager *manager = queue->manager;
        int r = snapshot_store_get(manager->store, spec->namespace, spec->key, &snapshot, fault);
        if (r >= 0)
                r = check_empty(manager, &snapshot, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int layer = fd_duplicate(spec->layer);
        if (layer < 0)
                return fault_set_errno(fault, layer, "Can't take the layer's descriptor");
        UnpackTask *task = new0(UnpackTask, 1);
        if (!task)
                return -ENOMEM;
        r = snapshot_store_set_state(manager->store, snapshot.id, SNAPSHOT_UNPACKING, NULL);
        if (r < 0) {
                free(task);
                return fault_set_errno(fault, r, "Can't record that '%s' is being unpacked into", spec->key);
        }
        *task = (UnpackTask){ .queue = queue, .spec = *spec, .id = snapshot.id, .layer = TAKE_FD(layer) };
        task->spec.namespace = task->spec.key = NULL;
        UnpackTask **place = &queue->tasks;
        while (*place)
                place = &(*place)->next;
        *place = *ret = task;
        queue_kick(queue);
        return 0;
}
