/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The service's side of a supervisor: executing it, finding it again, hearing of the end. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "services/tasks/payload-cgroup.h"
#include "services/tasks/task-table.h"

#define STATUS_NOT_SET_UP 125

static void close_control(Task *task) {
        task->control_source = sd_event_source_disable_unref(task->control_source);
        task->control = fd_close(task->control);
}

void task_abandon_supervisor(Task *task) {
        close_control(task);
}

/* The supervisor wrote it, or is gone without having done so. */
static void end_of_run(Task *task, const RunExit *end) {
        if (task->start)
                task_start_on_ended(task, end);
        if (task_is_running(task))
                task_end(task, end);
}

/* Nobody saw how it ended: what is left of it goes, and it is said so. */
static void end_unseen(Task *task, const char *why) {
        _cleanup_close_ int cgroup =
                scope_cgroup_open(task->record.namespace, task->record.id, task->bucket, PAYLOAD_CGROUP);
        RunProcess payload;
        bool never = run_process_read(task->directory, RUN_PAYLOAD, &payload) == -ENOENT;
        RunExit end = {
                .status = never ? STATUS_NOT_SET_UP : TASK_STATUS_UNKNOWN,
                .finished = run_now(),
                .never_started = never,
        };
        (void) snprintf(end.error, sizeof(end.error), "%s", never ? "its start was interrupted" : why);
        if (cgroup >= 0)
                (void) payload_cgroup_signal(cgroup, SIGKILL);
        /* One whose process died while it was moved there is never seen to be empty, and would stay. */
        siblings_stop_scope(task->table->siblings, task->record.namespace, task->record.id);
        (void) run_exit_write(task->directory, &end);
        end_of_run(task, &end);
}

static int on_supervisor_exit(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Task *task = userdata;
        RunExit end;

        (void) process_wait(task->supervisor_pidfd, WNOHANG, NULL); /* not our child after a restart */
        task->supervisor_source = sd_event_source_disable_unref(task->supervisor_source);
        task->supervisor_pidfd = fd_close(task->supervisor_pidfd);
        close_control(task);
        if (task_is_running(task)) {
                if (run_exit_read(task->directory, &end) >= 0)
                        end_of_run(task, &end);
                else
                        end_unseen(task, "its supervisor was killed, and nobody saw how it ended");
        }
        if (task->has_bucket) {
                task->has_bucket = false;
                scope_buckets_give_back(&task->table->buckets, task->bucket);
        }
        if (task->start)
                task_start_on_supervisor_gone(task);
        if (task->removal)
                task_removal_continue(task); /* the task may be gone now */
        return 0;
}

static void on_started(Task *task, int *terminal) {
        RunProcess payload;
        fd_close(task->terminal);
        task->terminal = TAKE_FD(*terminal);
        if (run_process_read(task->directory, RUN_PAYLOAD, &payload) >= 0) {
                int pidfd = run_process_open(&payload);
                fd_close(task->payload_pidfd);
                task->payload_pidfd = pidfd;
                task->payload_pid = payload.pid;
                task->record.started = payload.started;
        }
        bool news = task->state == TASK_STARTING;
        task->state = TASK_RUNNING;
        if (task->start)
                task_start_on_started(task, task->terminal);
        if (news)
                task_set_state(task, TASK_RUNNING); /* who started it hears first */
}

/* Its record is there before this is said. */
static void on_exited(Task *task) {
        const SupervisorMessage seen = { .type = SUPERVISOR_SEEN };
        RunExit end;
        int r = run_exit_read(task->directory, &end);
        if (r < 0) {
                log_error("container %s has ended, but how cannot be read: %s", task->record.id,
                          strerror(-r));
                return; /* the end of the supervisor decides */
        }
        (void) message_send(task->control, &seen, sizeof(seen), NULL, 0);
        end_of_run(task, &end);
}

static int on_control(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Task *task = userdata;
        SupervisorMessage message;
        int fds[MESSAGE_FDS_MAX] = { -EBADF };
        size_t count = 0;
        char data[256];

        ssize_t n = message_receive(fd, data, sizeof(data), fds, &count);
        if (n == -EAGAIN)
                return 0;
        if (n <= 0) {
                close_control(task);
                return 0;
        }
        if (supervisor_message_parse(data, n, &message) > 0) {
                if (message.type == SUPERVISOR_STARTED)
                        on_started(task, &fds[0]);
                else if (message.type == SUPERVISOR_EXITED)
                        on_exited(task);
        }
        fd_close_many(fds, count);
        return 0;
}

static int watch_supervisor(Task *task) {
        sd_event *event = task->table->event;
        int r = sd_event_add_io(event, &task->supervisor_source, task->supervisor_pidfd, EPOLLIN,
                                on_supervisor_exit, task);
        if (r >= 0) /* what it says comes before that it is gone */
                r = sd_event_source_set_priority(task->supervisor_source, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r >= 0 && task->control >= 0)
                r = sd_event_add_io(event, &task->control_source, task->control, EPOLLIN, on_control, task);
        return r;
}

static int control_address(const Task *task, struct sockaddr_un *ret) {
        char directory[FD_PROC_PATH_SIZE];
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        (void) snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/" RUN_CONTROL,
                        fd_proc_path(task->directory, directory));
        return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int make_listener(const Task *task) {
        struct sockaddr_un address;
        _cleanup_close_ int fd = control_address(task, &address);
        if (fd < 0)
                return -errno;
        if (unlinkat(task->directory, RUN_CONTROL, 0) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 8) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int execute(Task *task, int listener, int control) {
        const int fds[] = { control, listener, task->directory, task->table->cache_directory };
        const char *const arguments[] = { "crt-supervisor", task->record.namespace, task->record.id, NULL };
        /* No cache of small chunks in the C library: what the start frees goes back to the kernel. */
        const char *environment[4] = { "GLIBC_TUNABLES=glibc.malloc.tcache_count=0" };
        size_t variables = 1;
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.program_fd = task->table->supervisor_program;
        spawn.arguments = arguments;
        spawn.environment = environment;
        for (char **p = environ; *p && variables + 1 < ELEMENTS_OF(environment); p++)
                if (string_after(*p, "ASAN_OPTIONS=") || string_after(*p, "UBSAN_OPTIONS="))
                        environment[variables++] = *p;
        spawn.fds = fds;
        spawn.fd_count = ELEMENTS_OF(fds);

        pid_t pid;
        int r = process_spawn(&spawn, &pid, &task->supervisor_pidfd);
        if (r >= 0)
                r = run_process_of(pid, &task->supervisor);
        task->supervisor.bucket = task->bucket;
        return r < 0 ? r : run_process_write(task->directory, RUN_SUPERVISOR, &task->supervisor);
}

int task_spawn_supervisor(Task *task, Fault *fault) {
        _cleanup_close_ int listener = make_listener(task), theirs = -EBADF;
        int r = listener < 0 ? listener : message_pair(&task->control, &theirs);
        if (r >= 0 && !task->has_bucket) {
                r = scope_buckets_take(&task->table->buckets, &task->bucket);
                task->has_bucket = r >= 0;
        }
        if (r >= 0)
                r = execute(task, listener, theirs);
        if (r >= 0)
                r = watch_supervisor(task);
        if (r < 0) {
                close_control(task);
                task->supervisor_pidfd = process_kill_and_reap(task->supervisor_pidfd);
                return fault_set_errno(fault, r, "cannot execute the supervisor of container %s",
                                       task->record.id);
        }
        return 0;
}

int task_adopt_supervisor(Task *task, const RunProcess *process) {
        struct sockaddr_un address;
        int r = run_process_open(process);
        if (r < 0)
                return r;
        task->supervisor_pidfd = r;
        task->supervisor = *process;
        task->bucket = process->bucket;
        r = scope_buckets_take_known(&task->table->buckets, process->bucket);
        task->has_bucket = r >= 0;
        if (r < 0)
                return r;

        /* Without the connection there is still the pidfd, and the record. */
        _cleanup_close_ int control = control_address(task, &address);
        if (control >= 0 && connect(control, (const struct sockaddr *) &address, sizeof(address)) >= 0)
                task->control = TAKE_FD(control);
        return watch_supervisor(task);
}

int task_send_go(Task *task, const SupervisorMessage *go, const int *fds, size_t fd_count) {
        const SupervisorMessage descriptors = { .type = SUPERVISOR_DESCRIPTORS };
        for (size_t i = 0; i < task->source_count; i += MESSAGE_FDS_MAX) {
                int part[MESSAGE_FDS_MAX];
                size_t count = MIN_OF(task->source_count - i, (size_t) MESSAGE_FDS_MAX);
                for (size_t j = 0; j < count; j++)
                        part[j] = task->sources[i + j].fd;
                int r = message_send(task->control, &descriptors, sizeof(descriptors), part, count);
                if (r < 0)
                        return r;
        }
        return message_send(task->control, go, sizeof(*go), fds, fd_count);
}
