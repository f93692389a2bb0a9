/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The making of a container: the image is resolved, the configuration built, then a marker in /run, the
 * durable record, the snapshot, and the marker is taken away. Whoever dies in between leaves the marker, and
 * the next one cleans up (task-recover.c). What fails in between is removed the same way, its snapshot with
 * it: that Snapshots did not answer does not say that it made none. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/tasks/task-table.h"

#define RANDOM_ID_LENGTH 32
#define RANDOM_ID_SAMPLE "0123456789abcdef0123456789abcdef"

typedef struct TaskCreation {
        TaskTable *table; /* weak */
        TaskDone done;
        void *userdata;
        TaskRecord record; /* until the task is there: its own part of the request */
        TaskCreateRequest request;
        char *texts[4]; /* what the request's strings point to */
        QuotaHold *hold;
        Task *task;
        SiblingCall *call;
        TaskPassage resolving;
        bool retried;
} TaskCreation;

static TaskCreation *creation_free(TaskCreation *creation) {
        if (!creation)
                return NULL;
        sibling_call_free(creation->call);
        task_record_done(&creation->record);
        task_create_request_done(&creation->request);
        for (size_t i = 0; i < ELEMENTS_OF(creation->texts); i++)
                free(creation->texts[i]);
        quota_hold_free(creation->hold);
        task_barrier_leave(&creation->table->resolving, &creation->resolving);
        creation->table->creating--;
        return mfree(creation);
}
DEFINE_CLEANUP(TaskCreation *, creation_free);

void task_create_request_done(TaskCreateRequest *request) {
        strv_free(request->arguments);
        strv_free(request->entrypoint);
        strv_free(request->environment);
        strv_free(request->labels);
        for (size_t i = 0; i < request->mount_count; i++) {
                free(request->mounts[i].source);
                free(request->mounts[i].destination);
                strv_free(request->mounts[i].options);
        }
        free(request->mounts);
        for (size_t i = 0; i < request->source_count; i++)
                bind_source_done(&request->sources[i]);
        free(request->sources);
        *request = (TaskCreateRequest){ 0 };
}

/* Nobody waits for that. */
static void take_back(Task *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        task->creating = false;
        task->half_made = true;
        int r = task_remove(task, true, NULL, NULL, &fault);
        if (r < 0)
                log_error("cannot take back container %s: %s", task->record.id, fault_text(&fault, r));
}

/* Ends it, one way or the other. */
static void conclude(TaskCreation *creation, int r, const Fault *fault) {
        Task *task = TAKE_PTR(creation->task);
        if (r < 0 && task) {
                take_back(task);
                task = NULL;
        } else if (task) {
                (void) unlinkat(task->directory, RUN_CREATING, 0);
                task->creating = false;
                if (creation->table->observer.added)
                        creation->table->observer.added(task, creation->table->observer.userdata);
        }
        creation->done(task, r, fault, creation->userdata);
        creation_free(creation);
}

static int ask_for_snapshot(TaskCreation *creation);

static void on_leftover_removed(int r, SiblingAnswer *answer, const Fault *fault, void *userdata) {
        TaskCreation *creation = userdata;
        creation->call = sibling_call_free(creation->call);
        if (r >= 0)
                r = ask_for_snapshot(creation);
        if (r < 0)
                conclude(creation, r, fault);
}

/* A snapshot of that key without a record is what a crash of the machine left. */
static int remove_leftover(TaskCreation *creation) {
        const TaskRecord *record = &creation->task->record;
        const SiblingReceiver receiver = { on_leftover_removed, creation };
        _cleanup_free_ char *key = NULL;
        int r = task_record_snapshot_key(record, &key);
        if (r < 0)
                return r;
        creation->retried = true;
        return siblings_remove(creation->table->siblings, record->namespace, key, &receiver,
                               &creation->call);
}

static void on_prepared(int r, SiblingAnswer *answer, const Fault *fault, void *userdata) {
        TaskCreation *creation = userdata;
        creation->call = sibling_call_free(creation->call);
        if (r == -EEXIST && !creation->retried && remove_leftover(creation) >= 0)
                return;
        conclude(creation, r, fault);
}

static int ask_for_snapshot(TaskCreation *creation) {
        const TaskRecord *record = &creation->task->record;
        const SiblingReceiver receiver = { on_prepared, creation };
        _cleanup_free_ char *key = NULL;
        int r = task_record_snapshot_key(record, &key);
        if (r < 0)
                return r;
        const SiblingTree tree = { record->namespace, key, record->parent, record->rootfs_size_max };
        return siblings_prepare(creation->table->siblings, &tree, &receiver, &creation->call);
}

static int mark(Task *task) {
        int r = task_open_directory(task);
        if (r < 0)
                return r;
        _cleanup_close_ int fd =
                openat(task->directory, RUN_CREATING, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : 0;
}

/* All containers are in the table: a record that is not of one of them was to be taken back, on a disk that
 * was full. */
static int add_record(TaskStore *store, const TaskRecord *record) {
        int r = task_store_add(store, record);
        if (r != -EEXIST)
                return r;
        r = task_store_remove(store, record);
        return r < 0 ? r : task_store_add(store, record);
}

/* From here on the task is in the table, though nobody is shown it yet. */
static int add_task(TaskCreation *creation, Fault *fault) {
        TaskTable *table = creation->table;
        _cleanup_(task_freep) Task *task = NULL;
        if (task_table_find(table, creation->record.namespace, creation->record.id))
                return fault_set(fault, -EEXIST, "there is a container %s", creation->record.id);
        int r = task_new(table, &creation->record, &task);
        if (r < 0)
                return r;
        for (size_t i = 0; i < task->source_count; i++) {
                bind_source_done(&task->sources[i]);
                task->sources[i] = TAKE(creation->request.sources[i], ((BindSource){ .fd = -EBADF }));
        }
        task->hold = TAKE_PTR(creation->hold);
        task->creating = true;
        r = mark(task);
        if (r >= 0)
                r = add_record(table->store, &task->record);
        task->record.config = mfree(task->record.config);
        if (r >= 0)
                r = task_table_insert(table, task);
        if (r < 0) {
                task_remove_directory(task);
                return fault_set_errno(fault, r, "container %s cannot be noted", task->record.id);
        }
        creation->task = TAKE_PTR(task);
        return 0;
}

static void add_and_go_on(TaskCreation *creation) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = add_task(creation, &fault);
        task_barrier_leave(&creation->table->resolving, &creation->resolving);
        if (r >= 0)
                r = ask_for_snapshot(creation);
        if (r < 0)
                conclude(creation, r, &fault);
}

static void on_predecessor_removed(Task *predecessor, int r, const Fault *fault, void *userdata) {
        if (r < 0)
                conclude(userdata, r, fault);
        else
                add_and_go_on(userdata);
}

/* A predecessor that was never shown to anybody is no reason to refuse the id, but to wait until it is gone.
 */
static int wait_for_predecessor(TaskCreation *creation, Fault *fault) {
        Task *task = task_table_find(creation->table, creation->record.namespace, creation->record.id);
        if (!task || !task->half_made)
                return 0;
        int r = task_remove(task, true, on_predecessor_removed, creation, fault);
        return r < 0 ? r : 1;
}

static int copy_text(char **to, const char *from) {
        *to = strdup(from);
        return *to ? 0 : -ENOMEM;
}

static int build_config(TaskCreation *creation, const ResolvedImage *image, Fault *fault) {
        const TaskCreateRequest *request = &creation->request;
        TaskRecord *record = &creation->record;
        const SpecImage spec_image = {
                .user = image->user,
                .working_directory = image->working_directory,
                .stop_signal = image->stop_signal,
                .environment = image->environment,
                .entrypoint = image->entrypoint,
                .command = image->command,
        };
        const SpecRequest spec_request = {
                .id = record->id,
                .image = &spec_image,
                .arguments = request->arguments,
                .entrypoint = request->entrypoint,
                .environment = request->environment,
                .working_directory = request->working_directory,
                .user = request->user,
                .hostname = request->hostname,
                .stop_signal = request->stop_signal,
                .terminal = request->terminal,
                .read_only = request->read_only,
                .mounts = request->mounts,
                .mount_count = request->mount_count,
        };
        _cleanup_(spec_done) Spec spec = { 0 };
        int r = spec_build(&spec_request, &spec, fault);
        if (r < 0)
                return r;
        record->config = TAKE_PTR(spec.json);
        record->command = TAKE_PTR(spec.command);
        record->stop_signal = spec.stop_signal;
        if (copy_text(&record->image, image->name) < 0 ||
            copy_text(&record->image_digest, image->digest) < 0 ||
            copy_text(&record->parent, image->chain_id) < 0)
                return -ENOMEM;
        return 0;
}

static void on_resolved(int r, SiblingAnswer *answer, const Fault *fault, void *userdata) {
        TaskCreation *creation = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        creation->call = sibling_call_free(creation->call);
        if (r < 0) {
                conclude(creation, r, fault);
                return;
        }
        r = build_config(creation, &answer->image, &own);
        if (r >= 0)
                r = wait_for_predecessor(creation, &own);
        if (r < 0)
                conclude(creation, r, &own);
        else if (r == 0)
                add_and_go_on(creation);
}

/* The strings of the request are the caller's, whose message is gone when the answers come. */
static int keep_request(TaskCreation *creation, TaskCreateRequest *request) {
        creation->request = TAKE(*request, (TaskCreateRequest){ 0 });
        request = &creation->request;
        const char **const places[] = { &request->working_directory, &request->user, &request->hostname,
                                        &request->stop_signal };
        for (size_t i = 0; i < ELEMENTS_OF(places); i++)
                if (*places[i] && !(*places[i] = creation->texts[i] = strdup(*places[i])))
                        return -ENOMEM;
        return 0;
}

static int fill_record(TaskCreation *creation) {
        const TaskCreateRequest *request = &creation->request;
        TaskRecord *record = &creation->record;
        record->owner = request->owner;
        record->terminal = request->terminal;
        record->auto_remove = request->auto_remove;
        /* What is thrown away at its end need not survive a crash. */
        record->is_volatile = request->is_volatile || request->auto_remove;
        record->limits = request->limits;
        record->rootfs_size_max = request->rootfs_size_max;
        record->created = run_now();
        record->exit_status = TASK_STATUS_NONE;
        for (size_t i = 0; i < request->source_count; i++)
                if (strv_append(&record->sources, request->sources[i].identity) < 0)
                        return -ENOMEM;
        record->labels = TAKE_PTR(creation->request.labels);
        if (copy_text(&record->namespace, request->namespace) < 0)
                return -ENOMEM;
        return request->id[0] ? copy_text(&record->id, request->id)
                              : identifier_new_random(RANDOM_ID_LENGTH, &record->id);
}

static int check_request(TaskTable *table, const TaskCreateRequest *request, Fault *fault) {
        _cleanup_free_ char *controllers = NULL;
        char unit[SCOPE_NAME_MAX];
        if (request->id[0] && !identifier_is_valid(request->id))
                return fault_set(fault, -EINVAL, "id: '%s' is not a valid identifier", request->id);
        if (scope_name(request->namespace, request->id[0] ? request->id : RANDOM_ID_SAMPLE, unit) < 0)
                return fault_set(fault, -EINVAL,
                                 "id: with this namespace it makes too long a name for a unit");
        const ScopeLimits *limits = &request->limits;
        if (limits->memory_max > 0 || limits->tasks_max > 0 || limits->cpu_quota > 0) {
                int r = scope_read_controllers(&controllers);
                if (r < 0)
                        return fault_set_errno(fault, r, "the cgroup controllers of this machine");
                r = scope_check_limits(limits, controllers, fault);
                if (r < 0)
                        return r;
        }
        Task *other = task_table_find(table, request->namespace, request->id);
        if (!other)
                return 0;
        if (other->half_made)
                return 0; /* wait_for_predecessor() */
        if (!other->removed)
                return fault_set(fault, -EEXIST, "there is a container %s", request->id);
        task_table_forget(other);
        return 0;
}

int task_create(TaskTable *table, TaskCreateRequest *request, TaskDone done, void *userdata, Fault *fault) {
        const char *image = request->image;
        int r = check_request(table, request, fault);
        if (r < 0) {
                task_create_request_done(request);
                return r;
        }
        TaskCreation *new_creation = new0(TaskCreation, 1);
        if (!new_creation) {
                task_create_request_done(request);
                return -ENOMEM;
        }
        table->creating++;
        _cleanup_(creation_freep) TaskCreation *creation = new_creation;
        *creation = (TaskCreation){ .table = table, .done = done, .userdata = userdata };
        const SiblingReceiver receiver = { on_resolved, creation };
        r = keep_request(creation, request);
        if (r >= 0)
                r = fill_record(creation);
        if (r < 0)
                return r;
        r = quota_hold_new(creation->record.owner, QUOTA_CONTAINERS, &creation->hold);
        if (r < 0)
                return fault_set(fault, r, "this user has as many containers as one may have");
        task_barrier_enter(&table->resolving, &creation->resolving);
        r = siblings_resolve(table->siblings, creation->record.namespace, image, &receiver, &creation->call);
        if (r < 0)
                return r;
        TAKE_PTR(creation);
        return 0;
}
