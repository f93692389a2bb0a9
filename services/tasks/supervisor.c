/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/supervisor.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "services/tasks/payload-cgroup.h"

#define SECOND UINT64_C(1000000)
/* How long a container that is asked to stop by systemd may take; systemd's own patience is longer. */
#define STOP_PATIENCE (8 * SECOND)
/* A container that lives as long may want to make cgroups of its own. To move ourselves aside for that costs
 * more than the rest of a start. */
#define DELEGATE_DELAY (SECOND / 5)
/* How long systemd may take to move us into the scope. */
#define SCOPE_PATIENCE (2 * SECOND)
/* How long is waited for more output after the end, where somebody outside the container keeps it open; and
 * for all of it, where the journal is slow. */
#define DRAIN_PATIENCE (2 * SECOND)
#define DRAIN_MAX (60 * SECOND)
/* How long the service may take to see the end. */
#define SEEN_PATIENCE (5 * SECOND)

static uint64_t now_monotonic(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * SECOND + (uint64_t) now.tv_nsec / 1000U;
}

int supervisor_watch(const Supervisor *supervisor, int fd, uint32_t events, unsigned source) {
        struct epoll_event event = { .events = events, .data.u32 = source };
        return epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int unwatch(const Supervisor *supervisor, int fd) {
        return epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

static int watch_streams(const Supervisor *supervisor, bool on) {
        int r = 0;
        for (size_t i = 0; i < JOURNAL_STREAMS; i++) {
                int pipe = supervisor->journal.streams[i].pipe;
                int done = pipe < 0 ? 0
                           : on ? supervisor_watch(supervisor, pipe, EPOLLIN, SOURCE_STREAM + (unsigned) i)
                                : unwatch(supervisor, pipe);
                if (done < 0)
                        r = done;
        }
        return r;
}

/* The streams are read only as long as the journal takes what they bring. Nothing that goes wrong with the
 * journal is a reason to end, which would be the container's end, too. */
static int on_stream(Supervisor *supervisor, size_t index) {
        Journal *journal = &supervisor->journal;
        if (journal_stream_read(journal, index) == -EAGAIN &&
            supervisor_watch(supervisor, journal->socket, EPOLLOUT, SOURCE_JOURNAL) >= 0)
                (void) watch_streams(supervisor, false);
        return 0;
}

/* To send may replace the socket, when the journal has made its own anew. */
static int on_journal_writable(Supervisor *supervisor) {
        Journal *journal = &supervisor->journal;
        (void) unwatch(supervisor, journal->socket);
        if (journal_resume(journal) != -EAGAIN ||
            supervisor_watch(supervisor, journal->socket, EPOLLOUT, SOURCE_JOURNAL) < 0)
                (void) watch_streams(supervisor, true);
        return 0;
}

static int on_signal(Supervisor *supervisor) {
        struct signalfd_siginfo info;
        ssize_t n = read(supervisor->signals, &info, sizeof(info));
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (info.ssi_signo != SIGTERM || supervisor->payload < 0 || supervisor->stopping)
                return 0;
        /* The scope is being stopped: so that the end is written down, it comes from here and not by SIGKILL
         * to all, us included. */
        supervisor->stopping = true;
        supervisor->kill_at = now_monotonic() + STOP_PATIENCE;
        (void) process_send_signal(supervisor->payload, supervisor->stop_signal);
        return 0;
}

static int wait_milliseconds(uint64_t until) {
        uint64_t now = now_monotonic();
        if (until == 0)
                return -1;
        return until <= now ? 0 : (int) ((until - now + 999) / 1000);
}

static int dispatch(Supervisor *supervisor, unsigned source) {
        switch (source) {
        case SOURCE_SIGNALS:
                return on_signal(supervisor);
        case SOURCE_LISTENER:
                return supervisor_accept(supervisor);
        case SOURCE_PAYLOAD:
                return 0;
        case SOURCE_JOURNAL:
                return on_journal_writable(supervisor);
        default:
                if (source < SOURCE_CONNECTION)
                        return on_stream(supervisor, source - SOURCE_STREAM);
                if (supervisor->connections[source - SOURCE_CONNECTION] < 0)
                        return 0;
                return supervisor_receive(supervisor, source - SOURCE_CONNECTION);
        }
}

/* One event at a time: handling one may have closed what another one is about. 0: there was none. */
static int turn(Supervisor *supervisor, uint64_t until) {
        struct epoll_event event;
        int n = epoll_wait(supervisor->epoll, &event, 1, wait_milliseconds(until));
        if (n < 0)
                return errno == EINTR ? 1 : -errno;
        int r = n == 0 ? 0 : dispatch(supervisor, event.data.u32);
        return r < 0 ? r : n;
}

static void write_exit(Supervisor *supervisor, const RunExit *record) {
        if (run_exit_write(supervisor->directory, record) >= 0)
                supervisor->ended = true;
}

static int watch_container(Supervisor *supervisor) {
        int r = supervisor_watch(supervisor, supervisor->payload, EPOLLIN, SOURCE_PAYLOAD);
        return r < 0 ? r : watch_streams(supervisor, true);
}

int supervisor_go(Supervisor *supervisor, const SupervisorMessage *go, int *fds, size_t fd_count) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int status = 0;

        supervisor->gone_on = true;
        supervisor->stop_signal = go->value > 0 && go->value < NSIG ? go->value : SIGTERM;
        int r = supervisor_start(supervisor, go, fds, fd_count, &status, &fault);
        fd_close_many(supervisor->descriptors, supervisor->descriptor_count);
        supervisor->descriptor_count = 0;
        supervisor->cache = fd_close(supervisor->cache);
        if (r < 0) {
                RunExit record = { .status = status, .finished = run_now(), .never_started = true };
                (void) snprintf(record.error, sizeof(record.error), "%s", fault_text(&fault, r));
                write_exit(supervisor, &record);
                return 0;
        }
        supervisor->delegate_at = now_monotonic() + DELEGATE_DELAY;
        r = watch_container(supervisor);
        /* What the start took is given back: many containers, many of us. */
        (void) malloc_trim(0);
        return r;
}

/* The time of the next thing to do; 0: none. */
static uint64_t do_what_is_due(Supervisor *supervisor) {
        uint64_t now = now_monotonic();
        if (supervisor->kill_at > 0 && now >= supervisor->kill_at) {
                supervisor->kill_at = 0;
                (void) payload_cgroup_signal(supervisor->payload_cgroup, SIGKILL);
        }
        if (supervisor->delegate_at > 0 && now >= supervisor->delegate_at) {
                supervisor->delegate_at = 0;
                (void) cgroup_delegate_controllers(supervisor->scope);
                supervisor->scope = fd_close(supervisor->scope);
                (void) malloc_trim(0);
        }
        if (supervisor->kill_at == 0 || supervisor->delegate_at == 0)
                return MAX_OF(supervisor->kill_at, supervisor->delegate_at);
        return MIN_OF(supervisor->kill_at, supervisor->delegate_at);
}

/* Until the container's init has ended. */
static int run(Supervisor *supervisor, siginfo_t *ret_info) {
        for (;;) {
                if (supervisor->ended)
                        return 0; /* never began */
                if (supervisor->payload >= 0) {
                        int r = process_wait(supervisor->payload, WNOHANG, ret_info);
                        if (r != 0)
                                return r;
                } else if (supervisor->connections[0] < 0)
                        return -ECANCELED; /* the inherited one ended before GO */
                int r = turn(supervisor, do_what_is_due(supervisor));
                if (r < 0)
                        return r;
        }
}

static void drain(Supervisor *supervisor) {
        uint64_t end = now_monotonic() + DRAIN_MAX;
        int r = 1;
        while (r > 0 && !journal_is_done(&supervisor->journal) && now_monotonic() < end) {
                uint64_t patience = supervisor->journal.blocked ? DRAIN_MAX : DRAIN_PATIENCE;
                r = turn(supervisor, MIN_OF(now_monotonic() + patience, end));
        }
}

/* The order matters: nothing may run, and no output be missing, when the record appears; and the record is
 * there before anybody hears of it. */
static int finish(Supervisor *supervisor, const siginfo_t *info) {
        (void) unwatch(supervisor, supervisor->payload);
        (void) payload_cgroup_signal(supervisor->payload_cgroup, SIGKILL);
        drain(supervisor);
        RunExit record = {
                .status = process_exit_status(info),
                .finished = run_now(),
                .out_of_memory = cgroup_ran_out_of_memory(supervisor->payload_cgroup),
        };
        write_exit(supervisor, &record);
        return supervisor->ended ? 0 : -EIO;
}

/* The service went before GO. It may have asked systemd to make a scope of us: one whose process is dead
 * before it gets there would never be seen to be empty, and stay. */
static void wait_for_scope(void) {
        uint64_t until = now_monotonic() + SCOPE_PATIENCE;
        const struct timespec interval = { .tv_nsec = 5 * 1000 * 1000 };
        while (!cgroup_is_scope() && now_monotonic() < until)
                (void) nanosleep(&interval, NULL);
}

static void tell(Supervisor *supervisor) {
        supervisor_announce(supervisor);
        uint64_t until = now_monotonic() + SEEN_PATIENCE;
        while (!supervisor->seen && supervisor_is_connected(supervisor) && now_monotonic() < until)
                if (turn(supervisor, until) < 0)
                        break;
        if (!supervisor->seen)
                (void) supervisor_activate_service(supervisor);
}

static int open_supervisor(Supervisor *supervisor) {
        sigset_t set;
        (void) sigfillset(&set);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) umask(0022);

        supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
        supervisor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (supervisor->epoll < 0 || supervisor->signals < 0)
                return -errno;
        for (int fd = SUPERVISOR_FD_CONTROL; fd < SUPERVISOR_FD_END; fd++) {
                int r = fd_set_cloexec(fd, true);
                if (r < 0)
                        return r;
        }
        int r = fd_set_nonblocking(supervisor->listener, true);
        if (r >= 0)
                r = supervisor_watch(supervisor, supervisor->signals, EPOLLIN, SOURCE_SIGNALS);
        if (r >= 0)
                r = supervisor_watch(supervisor, supervisor->listener, EPOLLIN, SOURCE_LISTENER);
        if (r >= 0)
                r = supervisor_add_connection(supervisor, SUPERVISOR_FD_CONTROL);
        return r;
}

int main(int argc, char *argv[]) {
        /* Not on the stack, where it would keep the pages of the start. */
        static Supervisor supervisor = {
                .directory = SUPERVISOR_FD_DIRECTORY,
                .cache = SUPERVISOR_FD_CACHE,
                .listener = SUPERVISOR_FD_LISTENER,
                .payload = -EBADF,
                .scope = -EBADF,
                .payload_cgroup = -EBADF,
                .terminal = -EBADF,
        };
        if (argc != 3)
                return EXIT_FAILURE;
        /* It was executed by descriptor (task-supervisor.c), of which the kernel makes a number for a name.
         */
        (void) prctl(PR_SET_NAME, "crt-supervisor");
        (void) mallopt(M_MXFAST, 0); /* with malloc_trim(): nothing that is free is kept */
        supervisor.namespace = argv[1];
        supervisor.id = argv[2];
        for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
                supervisor.connections[i] = -EBADF;
        journal_init(&supervisor.journal);

        siginfo_t info = { 0 };
        int r = open_supervisor(&supervisor);
        if (r >= 0) {
                supervisor_prepare(&supervisor);
                r = run(&supervisor, &info);
        }
        if (r >= 0 && !supervisor.ended)
                r = finish(&supervisor, &info);
        if (supervisor.ended)
                tell(&supervisor);
        if (!supervisor.gone_on)
                wait_for_scope();
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
