/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service finds when it comes: the records of the database, and for each what it left in /run.
 *
 *   creating or deleting is marked        it is removed
 *   its supervisor lives                  it is starting or running, and is connected to
 *   an exit record                        it has ended so
 *   RUN_PAYLOAD, no exit record           its supervisor was killed: what runs is killed, its status unknown
 *   none of these, no end is known        the machine went down
 *
 * What has a directory in /run but no record is killed and removed: its deletion was interrupted. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/log.h"
#include "lib/path.h"
#include "services/tasks/payload-cgroup.h"
#include "services/tasks/task-table.h"

static bool has_file(const Task *task, const char *name) {
        return task->directory >= 0 && faccessat(task->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Without making it. */
static void find_directory(Task *task) {
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s/%s", task->record.namespace, task->record.id) < 0) {
                path = NULL;
                return;
        }
        int fd = path_open(task->table->runtime_directory, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (fd >= 0)
                task->directory = fd;
}

static int add_record(TaskRecord *record, void *userdata) {
        TaskTable *table = userdata;
        Task *task;
        int r = task_new(table, record, &task);
        if (r < 0)
                return r;
        /* Beyond the limit, too: it is there. */
        (void) quota_hold_new(task->record.owner, QUOTA_CONTAINERS, &task->hold);
        r = task_table_insert(table, task);
        if (r < 0) {
                task_free(task);
                return r;
        }
        find_directory(task);
        return 0;
}

static void end_unknown(Task *task, const char *why) {
        RunExit end = { .status = TASK_STATUS_UNKNOWN, .finished = run_now() };
        (void) snprintf(end.error, sizeof(end.error), "%s", why);
        if (task->directory >= 0)
                (void) run_exit_write(task->directory, &end);
        task_end(task, &end);
}

static void kill_payload(const char *namespace, const char *id, unsigned bucket) {
        _cleanup_close_ int cgroup = scope_cgroup_open(namespace, id, bucket, PAYLOAD_CGROUP);
        if (cgroup >= 0)
                (void) payload_cgroup_signal(cgroup, SIGKILL);
}

/* True if there is a supervisor now. */
static bool adopt(Task *task) {
        RunProcess supervisor, payload;
        if (task->directory < 0 || run_process_read(task->directory, RUN_SUPERVISOR, &supervisor) < 0)
                return false;
        int r = task_adopt_supervisor(task, &supervisor);
        if (r < 0) {
                if (r != -ESRCH)
                        log_warning("container %s: its supervisor cannot be held: %s", task->record.id,
                                    strerror(-r));
                task->bucket = supervisor.bucket;
                return false;
        }
        task->record.finished = 0;
        task->record.exit_status = TASK_STATUS_NONE;
        task->state = TASK_STARTING;
        if (run_process_read(task->directory, RUN_PAYLOAD, &payload) >= 0) {
                task->payload_pidfd = run_process_open(&payload);
                task->payload_pid = payload.pid;
                task->record.started = payload.started;
                task->state = TASK_RUNNING;
        }
        return true;
}

static void settle(Task *task) {
        RunExit end;
        RunProcess payload;
        if (has_file(task, RUN_EXIT) && run_exit_read(task->directory, &end) >= 0) {
                if (end.finished != task->record.finished || task->record.auto_remove)
                        task_end(task, &end);
                return;
        }
        if (adopt(task))
                return;
        if (task->directory >= 0 && run_process_read(task->directory, RUN_PAYLOAD, &payload) >= 0) {
                kill_payload(task->record.namespace, task->record.id, task->bucket);
                task->record.started = payload.started;
                end_unknown(task, "its supervisor was killed, and nobody saw how it ended");
                return;
        }
        if (task->record.started > 0 && task->record.finished == 0)
                end_unknown(task, "the machine went down while it ran");
        else if (task->record.auto_remove && task->directory < 0)
                end_unknown(task, "the machine went down");
}

static void recover(Task *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (!has_file(task, RUN_CREATING) && !has_file(task, RUN_DELETING)) {
                settle(task);
                return;
        }
        task->half_made = has_file(task, RUN_CREATING);
        int r = task_remove(task, true, NULL, NULL, &fault);
        if (r < 0)
                log_error("cannot remove container %s: %s", task->record.id, fault_text(&fault, r));
}

static void remove_orphan(TaskTable *table, const char *namespace, const char *id, int directory) {
        RunProcess supervisor;
        _cleanup_free_ char *path = NULL;
        if (run_process_read(directory, RUN_SUPERVISOR, &supervisor) >= 0)
                kill_payload(namespace, id, supervisor.bucket);
        if (asprintf(&path, "%s/%s", namespace, id) < 0) {
                path = NULL;
                return;
        }
        int r = path_remove_tree(table->runtime_directory, path);
        if (r < 0)
                log_warning("cannot remove %s, which no container has any more: %s", path, strerror(-r));
}

typedef void (*Visit)(TaskTable *table, const char *parent, const char *name, int fd);

/* Calls visit for each directory with a valid name. */
static int visit_directories(TaskTable *table, int directory, const char *parent, Visit visit) {
        int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (copy < 0)
                return -errno;
        DIR *stream = fdopendir(copy);
        if (!stream) {
                fd_close(copy);
                return -errno;
        }
        for (struct dirent *entry; (entry = readdir(stream));) {
                if (!identifier_is_valid(entry->d_name))
                        continue;
                _cleanup_close_ int fd =
                        openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (fd >= 0)
                        visit(table, parent, entry->d_name, fd);
        }
        (void) closedir(stream);
        return 0;
}

static void visit_container(TaskTable *table, const char *namespace, const char *id, int fd) {
        if (!task_table_find(table, namespace, id))
                remove_orphan(table, namespace, id, fd);
}

static void visit_namespace(TaskTable *table, const char *parent, const char *namespace, int fd) {
        (void) visit_directories(table, fd, namespace, visit_container);
}

int task_table_recover(TaskTable *table, Fault *fault) {
        table->recovering = true;
        int r = task_store_visit(table->store, add_record, table);
        if (r >= 0)
                r = visit_directories(table, table->runtime_directory, NULL, visit_namespace);
        if (r < 0)
                return fault_set_errno(fault, r, "the containers that there are");
        /* None is taken out of the table meanwhile: removals answer later. */
        for (size_t i = 0; i < table->count; i++)
                recover(table->tasks[i]);
        table->recovering = false;
        return 0;
}

void task_table_note_end(TaskTable *table, const char *namespace, const char *id) {
        Task *task = task_table_find(table, namespace, id);
        /* A supervisor that is known is watched. */
        if (task && task_is_running(task) && task->supervisor_pidfd < 0)
                settle(task);
}
