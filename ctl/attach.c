/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/pump.h"
#include "ctl/raw-terminal.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"

/* Output that was written before the end may still be under way; after so long a silence it is not. */
#define DRAIN_USEC 100000U
#define WAIT_AGAIN_USEC 300000U
#define WAIT_AGAIN_MAX 30U
#define STATUS_UNKNOWN (-1)
#define INSISTENCE 3U /* signals until we leave a container that takes none */

typedef struct Attach {
        Context *context;
        const AttachSpec *spec;
        sd_event *event;
        sd_bus_slot *changed, *wait;
        Pump *input, *output, *errors;
        sd_event_source *drain;
        DetachKeys keys;
        Fault fault;
        int master;
        int pass[3];    /* what the container gets as standard streams */
        int ours[3];    /* our ends of pipes, where a stream of ours is a terminal */
        int32_t status; /* as the service told last */
        unsigned waits, insistence;
        bool ended;
} Attach;

/* Whose size the container's terminal has. */
static int own_terminal(const Attach *attach) {
        return attach->spec->interactive ? STDIN_FILENO : STDOUT_FILENO;
}

static void attach_done(Attach *attach) {
        terminal_restore();
        pump_free(attach->input);
        pump_free(attach->output);
        pump_free(attach->errors);
        sd_event_source_disable_unref(attach->drain);
        sd_bus_slot_unref(attach->changed);
        sd_bus_slot_unref(attach->wait);
        fd_close(attach->master);
        fd_close_many(attach->ours, 3);
        fault_done(&attach->fault);
        if (attach->event)
                (void) sd_bus_detach_event(attach->context->client.bus);
        sd_event_unref(attach->event);
}

static BusTarget container_target(const char *path) {
        return (BusTarget){ CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
}

/* ---- the end ---- */

static bool attach_is_drained(const Attach *attach) {
        return pump_has_ended(attach->output) && pump_has_ended(attach->errors);
}

static int on_drained(sd_event_source *source, uint64_t usec, void *userdata) {
        Attach *attach = userdata;
        return sd_event_exit(attach->event, 0);
}

static void on_output(void *userdata) {
        Attach *attach = userdata;
        if (attach->drain)
                (void) sd_event_source_set_time_relative(attach->drain, DRAIN_USEC);
}

static void on_output_end(void *userdata) {
        Attach *attach = userdata;
        if (attach->ended && attach_is_drained(attach))
                (void) sd_event_exit(attach->event, 0);
}

static int attach_end(Attach *attach) {
        if (attach->ended)
                return 0;
        attach->ended = true;
        if (attach_is_drained(attach))
                return sd_event_exit(attach->event, 0);
        return sd_event_add_time_relative(attach->event, &attach->drain, CLOCK_MONOTONIC, DRAIN_USEC, 0,
                                          on_drained, attach);
}

static int attach_wait(Attach *attach);

static int on_wait_again(sd_event_source *source, uint64_t usec, void *userdata) {
        return attach_wait(userdata);
}

/* The container is not the service's child: when that is stopped or killed, we ask again, which activates
 * it. Whether a container is gone that removes itself, its last PropertiesChanged has told before. */
static int on_wait(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Attach *attach = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        attach->wait = sd_bus_slot_unref(attach->wait);
        if (!sd_bus_message_is_method_error(message, NULL)) {
                int r = sd_bus_message_read(message, "i", &attach->status);
                return r < 0 ? sd_event_exit(attach->event, r) : attach_end(attach);
        }
        int r = client_fault_from_error(sd_bus_message_get_error(message), &fault);
        if (attach->status != STATUS_UNKNOWN)
                return attach_end(attach);
        if (r == -EHOSTUNREACH && attach->waits++ < WAIT_AGAIN_MAX)
                return sd_event_add_time_relative(attach->event, NULL, CLOCK_MONOTONIC,
                                                  attach->waits > 1 ? WAIT_AGAIN_USEC : 0, 0, on_wait_again,
                                                  attach);
        fault_move(&attach->fault, &fault);
        return sd_event_exit(attach->event, r);
}

static int attach_wait(Attach *attach) {
        return sd_bus_call_method_async(attach->context->client.bus, &attach->wait, CRT_TASKS_NAME,
                                        attach->spec->path, CRT_CONTAINER_INTERFACE, "Wait", on_wait, attach,
                                        "a{sv}", 0);
}

static int read_state(Attach *attach, sd_bus_message *message, const char **ret_state) {
        struct {
                const char *state;
                int32_t status;
        } values = { "", STATUS_UNKNOWN };
        static const BusField fields[] = {
                { "State", "s", offsetof(__typeof__(values), state) },
                { "ExitStatus", "i", offsetof(__typeof__(values), status) },
                {},
        };
        int r = bus_fields_read(message, fields, &values);
        if (r < 0)
                return r;
        if (values.status != STATUS_UNKNOWN)
                attach->status = values.status;
        if (ret_state)
                *ret_state = values.state;
        return 0;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Attach *attach = userdata;
        if (sd_bus_message_skip(message, "s") >= 0)
                (void) read_state(attach, message, NULL);
        return 0;
}

/* ---- signals ---- */

static int attach_kill(Attach *attach, int signal) {
        return sd_bus_call_method_async(attach->context->client.bus, NULL, CRT_TASKS_NAME,
                                        attach->spec->path, CRT_CONTAINER_INTERFACE, "Kill", NULL, NULL,
                                        "sa{sv}", signal_to_string(signal), 0);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Attach *attach = userdata;
        if (info->ssi_signo == SIGWINCH) {
                if (attach->master >= 0)
                        terminal_copy_size(own_terminal(attach), attach->master);
                return 0;
        }
        if (info->ssi_signo != SIGHUP && ++attach->insistence > INSISTENCE) {
                fault_set(&attach->fault, -EINTR, "left a container that goes on in spite of %u signals",
                          INSISTENCE);
                return sd_event_exit(attach->event, -EINTR);
        }
        return attach_kill(attach, (int) info->ssi_signo);
}

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };

static void block_signals(sigset_t *before) {
        sigset_t signals;
        (void) sigemptyset(&signals);
        for (size_t i = 0; i < ELEMENTS_OF(forwarded); i++)
                (void) sigaddset(&signals, forwarded[i]);
        (void) sigprocmask(SIG_BLOCK, &signals, before);
}

/* ---- the beginning ---- */

/* A terminal of ours never gets into the container, which could read what is typed and steer the screen's
 * other owner: a pipe stands in for it. */
static int attach_prepare_streams(Attach *attach) {
        for (int i = 0; i < 3; i++) {
                int pipe_fds[2];
                if ((i == 0 && !attach->spec->interactive) || fcntl(i, F_GETFD) < 0)
                        continue;
                if (!isatty(i)) {
                        attach->pass[i] = fd_duplicate(i);
                        if (attach->pass[i] < 0)
                                return attach->pass[i];
                        continue;
                }
                if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                        return -errno;
                attach->pass[i] = pipe_fds[i == 0 ? 0 : 1];
                attach->ours[i] = pipe_fds[i == 0 ? 1 : 0];
                int r = fd_set_nonblocking(attach->ours[i], true);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int append_start_options(const Attach *attach, sd_bus_message *message) {
        static const char *const names[] = { "stdin", "stdout", "stderr" };
        int r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (attach->spec->terminal) {
                unsigned rows, columns;
                terminal_get_size(own_terminal(attach), &rows, &columns);
                if (r >= 0 && rows > 0 && columns > 0)
                        r = bus_append_entry(message, "rows", "u", rows);
                if (r >= 0 && rows > 0 && columns > 0)
                        r = bus_append_entry(message, "columns", "u", columns);
        }
        for (int i = 0; r >= 0 && i < 3; i++)
                if (attach->pass[i] >= 0)
                        r = bus_append_entry(message, names[i], "h", attach->pass[i]);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int read_terminal(sd_bus_message *message, void *field) {
        int fd;
        int r = sd_bus_message_read_basic(message, 'h', &fd);
        if (r < 0)
                return r;
        *(int *) field = fd_duplicate(fd);
        return *(int *) field < 0 ? *(int *) field : 0;
}

static int attach_call_start(Attach *attach, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        static const BusField fields[] = { { "terminal", "h", 0, read_terminal }, {} };
        const BusTarget container = container_target(attach->spec->path);

        int r = client_new_call(&attach->context->client, &container, "Start", &message, fault);
        if (r >= 0)
                r = append_start_options(attach, message);
        if (r >= 0)
                r = client_call(&attach->context->client, message, &reply, fault);
        return r < 0 ? r : bus_fields_read(reply, fields, &attach->master);
}

static size_t filter_keys(const char *data, size_t size, char *out, void *userdata) {
        Attach *attach = userdata;
        size_t length = detach_keys_filter(&attach->keys, data, size, out);
        if (attach->keys.detached)
                (void) sd_event_exit(attach->event, 0);
        return length;
}

static int attach_pump_terminal(Attach *attach) {
        const PumpSpec output = { .from = attach->master,
                                  .to = STDOUT_FILENO,
                                  .on_data = on_output,
                                  .on_end = on_output_end,
                                  .userdata = attach };
        bool keys = attach->spec->interactive;
        int r = pump_new(attach->event, &output, &attach->output);
        if (r >= 0 && (keys || isatty(STDOUT_FILENO)))
                r = terminal_make_raw(own_terminal(attach), keys);
        if (r < 0 || !keys)
                return r;

        terminal_copy_size(own_terminal(attach), attach->master);
        /* A second descriptor: epoll has each only once. */
        int keyboard = fd_duplicate(attach->master);
        if (keyboard < 0)
                return keyboard;
        const PumpSpec input = { .from = STDIN_FILENO,
                                 .to = keyboard,
                                 .close_to = true,
                                 .polite = true,
                                 .filter = filter_keys,
                                 .userdata = attach };
        return pump_new(attach->event, &input, &attach->input);
}

static int attach_pump_streams(Attach *attach) {
        int r = 0;
        Pump **outputs[] = { NULL, &attach->output, &attach->errors };

        if (attach->ours[0] >= 0) {
                const PumpSpec input = { .from = STDIN_FILENO,
                                         .to = TAKE_FD(attach->ours[0]),
                                         .close_to = true,
                                         .polite = true,
                                         .userdata = attach };
                r = pump_new(attach->event, &input, &attach->input);
        }
        for (int i = 1; r >= 0 && i < 3; i++) {
                if (attach->ours[i] < 0)
                        continue;
                const PumpSpec output = { .from = TAKE_FD(attach->ours[i]),
                                          .to = i,
                                          .close_from = true,
                                          .on_data = on_output,
                                          .on_end = on_output_end,
                                          .userdata = attach };
                r = pump_new(attach->event, &output, outputs[i]);
        }
        return r;
}

/* The service ended in the middle of Start; the supervisor goes on without it. What was given is used once:
 * a container that has ended meanwhile is not started again. */
static int attach_recover_start(Attach *attach, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const BusTarget container = container_target(attach->spec->path);
        const char *state;

        int r = client_get_properties(&attach->context->client, &container, &reply, fault);
        if (r >= 0)
                r = read_state(attach, reply, &state);
        if (r < 0)
                return r;
        return string_equal(state, "created") ? attach_call_start(attach, fault) : 0;
}

/* The match stands before Start is sent: no change of the container is missed, and it costs no round trip.
 */
static int attach_start_watched(Attach *attach, Fault *fault) {
        sd_bus *bus = attach->context->client.bus;

        int r = sd_bus_match_signal_async(bus, &attach->changed, CRT_TASKS_NAME, attach->spec->path,
                                          "org.freedesktop.DBus.Properties", "PropertiesChanged", on_changed,
                                          NULL, attach);
        if (r >= 0 && !attach->spec->terminal)
                r = attach_prepare_streams(attach);
        if (r >= 0) {
                _cleanup_(fault_done) Fault first = FAULT_NULL;
                r = attach_call_start(attach, &first);
                if (r == -EHOSTUNREACH && !attach->spec->terminal)
                        r = attach_recover_start(attach, fault);
                else
                        fault_move(fault, &first);
        }
        fd_close_many(attach->pass, 3);
        for (int i = 0; i < 3; i++)
                attach->pass[i] = -EBADF;
        if (r >= 0 && attach->spec->terminal && attach->master < 0)
                return fault_set(fault, -EIO, "the service gave no terminal");
        return r;
}

static int attach_loop(Attach *attach) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(forwarded); i++)
                r = sd_event_add_signal(attach->event, NULL, forwarded[i], on_signal, attach);
        if (r >= 0)
                r = attach->spec->terminal ? attach_pump_terminal(attach) : attach_pump_streams(attach);
        if (r >= 0)
                r = attach_wait(attach);
        if (r >= 0)
                r = sd_bus_attach_event(attach->context->client.bus, attach->event,
                                        SD_EVENT_PRIORITY_NORMAL);
        return r < 0 ? r : sd_event_loop(attach->event);
}

/* A command may end with that status, too. */
static int attach_explain(const Attach *attach, int *ret_status, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        static const BusField fields[] = { { "Error", "s", 0 }, {} };
        const BusTarget container = container_target(attach->spec->path);
        const char *error = "";

        int r = client_get_properties(&attach->context->client, &container, &reply, NULL);
        if (r >= 0 && bus_fields_read(reply, fields, &error) >= 0 && error[0])
                return fault_set(fault, -ENOEXEC, "%s", error);
        *ret_status = EXIT_CRT_FAILED;
        return 0;
}

int attach_run(Context *context, const AttachSpec *spec, int *ret_status, Fault *fault) {
        sigset_t before;
        _cleanup_(attach_done) Attach attach = {
                .context = context,
                .spec = spec,
                .master = -EBADF,
                .pass = { -EBADF, -EBADF, -EBADF },
                .ours = { -EBADF, -EBADF, -EBADF },
                .status = STATUS_UNKNOWN,
        };

        if (spec->terminal && spec->interactive && !isatty(STDIN_FILENO))
                return fault_set(
                        fault, -ENOTTY,
                        "a container with a terminal and standard input (-t -i) needs a terminal here");
        block_signals(&before);
        int r = sd_event_new(&attach.event);
        if (r >= 0)
                r = attach_start_watched(&attach, fault);
        if (r >= 0)
                r = attach_loop(&attach);
        terminal_restore();
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        if (r < 0) {
                fault_move(fault, &attach.fault);
                return r;
        }
        if (attach.keys.detached)
                fprintf(stderr, "\r\nDetached: the container goes on.\n");
        else if (attach.status == EXIT_CRT_FAILED)
                return attach_explain(&attach, ret_status, fault);
        *ret_status = attach.keys.detached ? 0 : attach.status;
        return 0;
}

int attach_start(Context *context, const char *path, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const BusTarget container = container_target(path);
        _cleanup_message_ sd_bus_message *message = NULL;

        int r = client_new_call(&context->client, &container, "Start", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "a{sv}", 0);
        return r < 0 ? r : client_call(&context->client, message, &reply, fault);
}

int attach_failure_status(Context *context, const char *path) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        static const BusField fields[] = { { "ExitStatus", "i", 0 }, {} };
        const BusTarget container = container_target(path);
        int32_t status = STATUS_UNKNOWN;

        int r = client_get_properties(&context->client, &container, &reply, NULL);
        if (r >= 0)
                r = bus_fields_read(reply, fields, &status);
        return r >= 0 && (status == 126 || status == 127) ? status : EXIT_CRT_FAILED;
}
