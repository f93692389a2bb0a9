/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "bus/bus-error.h"
#include "bus/foreign-fd.h"
#include "bus/slow-close.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"

#define SECOND UINT64_C(1000000)
#define STOP_GRACE (10 * SECOND)
/* How long it answers when it can't be set up. */
#define REFUSE_TIME (2 * SECOND)

/* The end of a daemon, so that no request is lost:
 *
 *   1. STOPPING=1 tells systemd that a request for this name from now on means a new start, after this
 * process.
 *   2. A barrier waits until systemd has read that.
 *   3. The name is released. What was sent to it before that is in our queue when the answer comes.
 *   4. What is in the queue is answered, what it began is finished, and the loop ends.
 */
typedef enum DaemonState {
        DAEMON_STARTING,
        DAEMON_RUNNING,
        DAEMON_ANNOUNCING, /* 1, 2 */
        DAEMON_RELEASING,  /* 3 */
        DAEMON_DRAINING,   /* 4 */
} DaemonState;

struct Daemon {
        const DaemonSpec *spec;
        DaemonState state;
        sd_event *event;
        sd_bus *bus;
        PeerRegistry *peers;
        Authorizer *authorizer;
        void *service;
        uint64_t last_used;
        uint64_t idle_usec;
        uint64_t stop_deadline; /* after SIGTERM */
        sd_event_source *ticker;
        sd_event_source *barrier;
        sd_bus_slot *refusal;
        int error; /* why it can't be set up */
        Fault fault;
        sd_bus_slot *name_slot;
        sd_bus_slot *manager_slot;
};

sd_bus *daemon_bus(Daemon *daemon) {
        return daemon->bus;
}

sd_event *daemon_event(Daemon *daemon) {
        return daemon->event;
}

PeerRegistry *daemon_peers(Daemon *daemon) {
        return daemon->peers;
}

static uint64_t daemon_now(Daemon *daemon) {
        uint64_t now = 0;
        (void) sd_event_now(daemon->event, CLOCK_MONOTONIC, &now);
        return now;
}

void daemon_touch(Daemon *daemon) {
        daemon->last_used = daemon_now(daemon);
}

static void on_call(void *userdata) {
        daemon_touch(userdata);
}

static bool daemon_is_busy(Daemon *daemon) {
        if (daemon->error < 0)
                return false;
        return authorizer_is_busy(daemon->authorizer) ||
               (daemon->spec->is_busy && daemon->spec->is_busy(daemon->service));
}

static int on_name_released(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Daemon *daemon = userdata;
        daemon->state = DAEMON_DRAINING;
        daemon_touch(daemon);
        return 0;
}

static int daemon_release_name(Daemon *daemon) {
        daemon->state = DAEMON_RELEASING;
        return sd_bus_release_name_async(daemon->bus, NULL, daemon->spec->bus_name, on_name_released,
                                         daemon);
}

static int on_barrier(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Daemon *daemon = userdata;
        daemon->barrier = sd_event_source_disable_unref(daemon->barrier);
        return daemon->state == DAEMON_ANNOUNCING ? daemon_release_name(daemon) : 0;
}

static int daemon_announce_stop(Daemon *daemon) {
        int ends[2];

        if (daemon->state != DAEMON_RUNNING)
                return 0;
        daemon->state = DAEMON_ANNOUNCING;
        if (sd_notify(0, "STOPPING=1") <= 0)
                return daemon_release_name(daemon); /* nobody to wait for */

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        int r = sd_pid_notify_with_fds(0, 0, "BARRIER=1", &ends[1], 1);
        fd_close(ends[1]);
        if (r >= 0)
                r = sd_event_add_io(daemon->event, &daemon->barrier, ends[0], EPOLLHUP, on_barrier, daemon);
        if (r < 0) {
                fd_close(ends[0]);
                return r;
        }
        return sd_event_source_set_io_fd_own(daemon->barrier, true);
}

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Daemon *daemon = userdata;
        if (daemon->state == DAEMON_STARTING)
                return sd_event_exit(daemon->event, 0);
        if (daemon->spec->stop && daemon->service)
                daemon->spec->stop(daemon->service);
        daemon->stop_deadline = daemon_now(daemon) + STOP_GRACE;
        return daemon_announce_stop(daemon);
}

/* Every half second: is it time to begin to stop, or to end? */
static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;
        uint64_t now = daemon_now(daemon), quiet = now - daemon->last_used;
        bool busy = daemon_is_busy(daemon);
        int r = 0;

        /* Who ends while that goes on is waited for, and not started anew until then. */
        if (daemon->state == DAEMON_RUNNING && daemon->error >= 0 && slow_close_is_under_way())
                busy = true;
        if (busy)
                daemon->last_used = now;
        if (daemon->state == DAEMON_RUNNING && !busy && quiet >= daemon->idle_usec)
                r = daemon_announce_stop(daemon);
        else if (daemon->state == DAEMON_DRAINING &&
                 (!busy || (daemon->stop_deadline && now >= daemon->stop_deadline)))
                r = sd_event_exit(daemon->event, 0);
        else if (daemon->state > DAEMON_RUNNING && busy)
                (void) sd_notify(0, "EXTEND_TIMEOUT_USEC=30000000");
        if (r < 0)
                return r;

        uint64_t period = daemon->state > DAEMON_RUNNING ? SECOND / 50 : SECOND / 2;
        r = sd_event_source_set_time(source, now + period);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_name_acquired(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Daemon *daemon = userdata;
        uint32_t result;
        const sd_bus_error *refused = sd_bus_message_get_error(message);

        if (refused) {
                log_error("cannot take the name %s: %s", daemon->spec->bus_name, refused->message);
                return sd_event_exit(daemon->event, -EACCES);
        }
        /* 1: primary owner (D-Bus specification, "RequestName") */
        if (sd_bus_message_read(message, "u", &result) < 0 || result != 1) {
                log_error("the name %s is taken", daemon->spec->bus_name);
                return sd_event_exit(daemon->event, -EEXIST);
        }
        daemon->state = DAEMON_RUNNING;
        daemon_touch(daemon);
        (void) sd_notify(0, "READY=1");
        return 0;
}

static int block_signals(void) {
        sigset_t set;
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGCHLD);
        (void) signal(SIGPIPE, SIG_IGN);
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int daemon_open_loop(Daemon *daemon) {
        int r = block_signals();
        if (r >= 0)
                r = sd_event_default(&daemon->event);
        if (r >= 0)
                r = sd_event_set_watchdog(daemon->event, true);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_time_relative(daemon->event, &daemon->ticker, CLOCK_MONOTONIC, SECOND / 2,
                                               SECOND / 10, on_tick, daemon);
        return r;
}

static int daemon_open_bus(Daemon *daemon) {
        int r = sd_bus_open_system(&daemon->bus);
        if (r >= 0)
                r = sd_bus_attach_event(daemon->bus, daemon->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(daemon->bus, true);
        if (r >= 0)
                r = peer_registry_new(daemon->bus, &daemon->peers);
        if (r >= 0)
                r = foreign_fd_guard(daemon->bus, daemon->event, daemon->peers);
        if (r >= 0)
                r = authorizer_new(daemon->bus, daemon->peers, daemon->spec->rules, daemon->spec->rule_count,
                                   &daemon->authorizer);
        if (r >= 0) {
                authorizer_configure(daemon->authorizer, daemon->spec->root_path, on_call, daemon);
                r = sd_bus_add_object_manager(daemon->bus, &daemon->manager_slot, daemon->spec->root_path);
        }
        return r;
}

static void daemon_close(Daemon *daemon) {
        if (daemon->service)
                daemon->service = daemon->spec->free(daemon->service);
        daemon->authorizer = authorizer_free(daemon->authorizer);
        foreign_fd_unguard();
        daemon->peers = peer_registry_free(daemon->peers);
        sd_bus_slot_unref(daemon->refusal);
        sd_bus_slot_unref(daemon->name_slot);
        sd_bus_slot_unref(daemon->manager_slot);
        sd_event_source_disable_unref(daemon->ticker);
        sd_event_source_disable_unref(daemon->barrier);
        if (daemon->bus)
                (void) sd_bus_flush(daemon->bus);
        sd_bus_close_unref(daemon->bus);
        sd_event_unref(daemon->event);
        fault_done(&daemon->fault);
}

/* What a disk says comes through; any other name could be taken for an answer to what was asked. */
static int refusal_error(int r) {
        return r == -ENOSPC || r == -EROFS || r == -EIO ? r : -EHOSTUNREACH;
}

static int refuse_call(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const Daemon *daemon = userdata;
        uint8_t type;
        if (sd_bus_message_get_type(message, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        (void) bus_reply_fault(message, refusal_error(daemon->error), &daemon->fault);
        return 1;
}

/* It can't be set up. Whoever has called it hears from itself why, instead of from the bus that there is
 * nobody; a call that comes later starts it anew. */
static int daemon_refuse(Daemon *daemon, int r) {
        fault_set_errno(&daemon->fault, r, "%s can't be set up", daemon->spec->bus_name);
        const char *sentence = fault_text(&daemon->fault, r);
        log_error("cannot start: %s", sentence);
        (void) sd_notifyf(0, "STATUS=Cannot start: %s", sentence);
        daemon->error = r;
        daemon->idle_usec = REFUSE_TIME;
        daemon->authorizer = authorizer_free(daemon->authorizer);
        return sd_bus_add_filter(daemon->bus, &daemon->refusal, refuse_call, daemon);
}

static int daemon_run(Daemon *daemon) {
        int r = daemon_open_loop(daemon);
        if (r < 0) {
                log_error("cannot make an event loop: %s", strerror(-r));
                return r;
        }
        r = daemon_open_bus(daemon);
        if (r < 0) {
                log_error("cannot use the system bus: %s", strerror(-r));
                return r;
        }
        r = daemon->spec->setup(daemon, &daemon->service, &daemon->fault);
        if (r >= 0)
                authorizer_set_owner_of(daemon->authorizer, daemon->spec->owner_of, daemon->service);
        else
                r = daemon_refuse(daemon, r);
        if (r < 0)
                return r;
        r = sd_bus_request_name_async(daemon->bus, &daemon->name_slot, daemon->spec->bus_name, 0,
                                      on_name_acquired, daemon);
        if (r >= 0)
                r = sd_event_loop(daemon->event);
        if (r < 0)
                log_error("ended: %s", strerror(-r));
        return r == 0 ? daemon->error : r;
}

/* $CRT_IDLE_SECONDS, for a drop-in of the unit, or what the service thinks is right. */
static uint64_t idle_usec(const DaemonSpec *spec) {
        uint64_t seconds = spec->idle_seconds;
        const char *value = getenv("CRT_IDLE_SECONDS");
        if (!string_is_empty(value) && string_to_uint64(value, 86400, &seconds) < 0)
                log_warning("CRT_IDLE_SECONDS=%s is no number of seconds from 0 to 86400", value);
        return seconds * SECOND;
}

int daemon_main(const DaemonSpec *spec, int argc, char *argv[]) {
        if (argc > 1) {
                bool help = string_equal(argv[1], "--help") || string_equal(argv[1], "-h");
                (void) fprintf(help ? stdout : stderr, "%s serves %s on the system bus, which starts it.\n",
                               spec->program, spec->bus_name);
                return help ? EXIT_SUCCESS : EXIT_FAILURE;
        }

        log_open(spec->program);
        Daemon daemon = { .spec = spec, .idle_usec = idle_usec(spec) };
        int r = foreign_fd_setup();
        if (r < 0)
                log_warning("can't keep descriptors of others out of workers: %s", strerror(-r));
        r = daemon_run(&daemon);
        daemon_close(&daemon);
        return r == 0 ? EXIT_SUCCESS
                      : EXIT_FAILURE; /* sd-bus ends the loop with EXIT_FAILURE when the bus is gone */
}

static int open_directory_of(const char *variable, Fault *fault) {
        const char *path = getenv(variable);
        if (string_is_empty(path))
                return fault_set(fault, -ENOENT, "$%s is not set: start this service through systemd",
                                 variable);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? fault_set_errno(fault, -errno, "%s", path) : fd;
}

int daemon_open_state_directory(Fault *fault) {
        return open_directory_of("STATE_DIRECTORY", fault);
}

int daemon_open_runtime_directory(Fault *fault) {
        return open_directory_of("RUNTIME_DIRECTORY", fault);
}

int daemon_read_number(const char *variable, uint64_t standard, uint64_t maximum, uint64_t *ret,
                       Fault *fault) {
        const char *value = secure_getenv(variable);
        uint64_t number = standard;
        if (!string_is_empty(value) && (string_to_uint64(value, maximum, &number) < 0 || number == 0))
                return fault_set(fault, -EINVAL, "%s=%s: a number from 1 to %llu is expected", variable,
                                 value, (unsigned long long) maximum);
        *ret = number;
        return 0;
}
