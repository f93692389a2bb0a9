/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/transfer-watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "ctl/format.h"
#include "ctl/progress.h"
#include "ctl/style.h"
#include "lib/fd.h"
#include "lib/strv.h"

#define REDRAW_USEC 100000U
#define CLOCK_REDRAW_USEC 1000000U
#define LINE_USEC 5000000U

typedef struct Watch {
        Context *context;
        sd_event *event;
        const BusTarget *job;
        Progress progress;
        Fault fault;
        sd_bus_message *result;
        uint64_t begun_usec, drawn_usec;
        size_t drawn_lines;
        bool quiet, ours, bars, changed, cancelling;
} Watch;

static void watch_done(Watch *watch) {
        progress_done(&watch->progress);
        fault_done(&watch->fault);
        sd_bus_message_unref(watch->result);
        sd_event_unref(watch->event);
}

/* ---- what the service tells ---- */

static int read_parts(sd_bus_message *message, void *field) {
        Progress *progress = *(Progress **) field;
        const char *id, *kind, *state;
        uint64_t done, total;

        int r = sd_bus_message_enter_container(message, 'a', "(ssstt)");
        if (r < 0)
                return r;
        progress_clear_parts(progress);
        while ((r = sd_bus_message_read(message, "(ssstt)", &id, &kind, &state, &done, &total)) > 0) {
                ProgressPart part = { strdup(id), strdup(kind), strdup(state), done, total };
                r = progress_add_part(progress, &part);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int watch_update(Watch *watch, sd_bus_message *message) {
        struct {
                Progress *progress;
                const char *phase;
                uint64_t done, total;
        } update = { &watch->progress, NULL, watch->progress.done, watch->progress.total };
        const BusField fields[] = {
                { "Parts", "a(ssstt)", 0, read_parts },
                { "Phase", "s", offsetof(__typeof__(update), phase) },
                { "BytesDone", "t", offsetof(__typeof__(update), done) },
                { "BytesTotal", "t", offsetof(__typeof__(update), total) },
                {},
        };
        int r = bus_fields_read(message, fields, &update);
        if (r < 0)
                return r;
        if (update.phase) {
                free(watch->progress.phase);
                watch->progress.phase = strdup(update.phase);
        }
        watch->progress.done = update.done;
        watch->progress.total = update.total;
        progress_sample(&watch->progress, now_monotonic_usec(), update.done);
        watch->changed = true;
        return 0;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Watch *watch = userdata;
        const char *interface;
        if (sd_bus_message_read(message, "s", &interface) >= 0 &&
            string_equal(interface, watch->job->interface))
                (void) watch_update(watch, message);
        return 0;
}

static int on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        if (!sd_bus_message_is_method_error(message, NULL))
                (void) watch_update(userdata, message);
        return 0;
}

static int on_end(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Watch *watch = userdata;
        int r = 0;
        if (sd_bus_message_is_method_error(message, NULL))
                r = client_fault_from_error(sd_bus_message_get_error(message), &watch->fault);
        else
                watch->result = sd_bus_message_ref(message);
        return sd_event_exit(watch->event, r);
}

/* ---- what the person sees ---- */

static void watch_erase(Watch *watch) {
        if (watch->drawn_lines > 0)
                fprintf(stderr, "\033[%zuA\r\033[J", watch->drawn_lines);
        watch->drawn_lines = 0;
        fflush(stderr);
}

/* One write: what was there is overwritten line by line, so that nothing flickers. */
static void watch_draw(Watch *watch, uint64_t now) {
        const ProgressStyle style = {
                .columns = style_columns(STDERR),
                .rows = style_rows(STDERR),
                .colour = style_has_colour(STDERR),
                .utf8 = style_has_utf8(),
        };
        _cleanup_free_ char *text = progress_render(&watch->progress, &style, now), *screen = NULL;
        size_t size, lines = 0;
        FILE *file = text ? open_memstream(&screen, &size) : NULL;
        if (!file)
                return;
        if (watch->drawn_lines > 0)
                fprintf(file, "\033[%zuA\r", watch->drawn_lines);
        for (const char *line = text; *line; lines++) {
                size_t length = strcspn(line, "\n");
                fprintf(file, "%.*s\033[K\n", (int) length, line);
                line += length + 1;
        }
        fputs("\033[J", file);
        if (fclose(file) != 0)
                return;
        (void) fd_write_all(STDERR_FILENO, screen, size);
        watch->drawn_lines = lines;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Watch *watch = userdata;
        uint64_t now = now_monotonic_usec(), since = now - watch->drawn_usec;

        if (watch->bars && (watch->changed || since >= CLOCK_REDRAW_USEC)) {
                watch_draw(watch, now);
                watch->drawn_usec = now;
                watch->changed = false;
        } else if (!watch->bars && watch->changed && since >= LINE_USEC) {
                _cleanup_free_ char *line = progress_render_line(&watch->progress, now);
                if (line)
                        fprintf(stderr, "%s\n", line);
                watch->drawn_usec = now;
                watch->changed = false;
        }
        (void) sd_event_source_set_time_relative(source, REDRAW_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Watch *watch = userdata;
        if (watch->cancelling || !watch->ours) {
                fault_set(&watch->fault, -ECANCELED,
                          watch->ours ? "left while it was being cancelled" : "it goes on");
                return sd_event_exit(watch->event, -ECANCELED);
        }
        watch->cancelling = true;
        watch_erase(watch);
        fprintf(stderr, "Cancelling: the next pull continues where this one stops.\n");
        return sd_bus_call_method_async(watch->context->client.bus, NULL, watch->job->destination,
                                        watch->job->path, watch->job->interface, "Cancel", NULL, NULL,
                                        "a{sv}", 0);
}

/* ---- from beginning to end ---- */

static int watch_call(Watch *watch, const BusTarget *target, const char *member,
                      sd_bus_message_handler_t on_reply) {
        _cleanup_message_ sd_bus_message *message = NULL;
        Client *client = &watch->context->client;
        int r = client_new_call(client, target, member, &message, &watch->fault);
        if (r >= 0)
                r = string_equal(member, "GetAll")
                            ? sd_bus_message_append(message, "s", watch->job->interface)
                            : sd_bus_message_append(message, "a{sv}", 0);
        return r < 0 ? r : sd_bus_call_async(client->bus, NULL, message, on_reply, watch, UINT64_MAX);
}

static int watch_begin(Watch *watch, sd_bus_slot **ret_slot) {
        sd_bus *bus = watch->context->client.bus;
        const BusTarget properties = { watch->job->destination, watch->job->path,
                                       "org.freedesktop.DBus.Properties" };

        int r = sd_bus_match_signal_async(bus, ret_slot, watch->job->destination, watch->job->path,
                                          "org.freedesktop.DBus.Properties", "PropertiesChanged", on_changed,
                                          NULL, watch);
        if (r >= 0 && !watch->quiet)
                r = watch_call(watch, &properties, "GetAll", on_properties);
        if (r >= 0)
                r = watch_call(watch, watch->job, "Wait", on_end);
        if (r >= 0)
                r = sd_bus_attach_event(bus, watch->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_event_add_signal(watch->event, NULL, SIGINT, on_signal, watch);
        if (r >= 0)
                r = sd_event_add_signal(watch->event, NULL, SIGTERM, on_signal, watch);
        if (r >= 0 && !watch->quiet)
                r = sd_event_add_time_relative(watch->event, NULL, CLOCK_MONOTONIC, REDRAW_USEC, 0, on_tick,
                                               watch);
        return r;
}

static int watch_run(Watch *watch) {
        _cleanup_slot_ sd_bus_slot *slot = NULL;
        sigset_t signals, before;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &signals, &before);
        int r = watch_begin(watch, &slot);
        if (r >= 0)
                r = sd_event_loop(watch->event);
        (void) sd_bus_detach_event(watch->context->client.bus);
        watch_erase(watch);
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        return r;
}

void transfer_result_done(TransferResult *result) {
        free(result->name);
        free(result->digest);
        free(result->platform);
        sd_bus_message_unref(result->message);
        *result = (TransferResult){ 0 };
}

static int read_result(Watch *watch, TransferResult *ret) {
        struct {
                const char *name, *digest, *platform;
        } values = { "", "", "" };
        const BusField fields[] = {
                { "name", "s", offsetof(__typeof__(values), name) },
                { "digest", "s", offsetof(__typeof__(values), digest) },
                { "platform", "s", offsetof(__typeof__(values), platform) },
                {},
        };
        int r = bus_fields_read(watch->result, fields, &values);
        if (r < 0)
                return r;
        _cleanup_(transfer_result_done) TransferResult result = {
                .name = strdup(values.name),
                .digest = strdup(values.digest),
                .platform = strdup(values.platform),
                .bytes = watch->progress.done,
                .usec = now_monotonic_usec() - watch->begun_usec,
                .message = sd_bus_message_ref(watch->result),
        };
        if (!result.name || !result.digest || !result.platform)
                return -ENOMEM;
        r = sd_bus_message_rewind(result.message, true);
        if (r < 0)
                return r;
        *ret = result;
        result = (TransferResult){ 0 };
        return 0;
}

int transfer_watch(Context *context, const BusTarget *job, TransferWatchFlags flags, TransferResult *ret,
                   Fault *fault) {
        uint64_t now = now_monotonic_usec();
        _cleanup_(watch_done) Watch watch = {
                .context = context,
                .job = job,
                .quiet = (flags & TRANSFER_WATCH_QUIET) != 0,
                .ours = (flags & TRANSFER_WATCH_OURS) != 0,
                .bars = style_can_draw(STDERR),
                .begun_usec = now,
                .drawn_usec = now,
                .progress.begun_usec = now,
        };
        int r = sd_event_new(&watch.event);
        if (r >= 0)
                r = watch_run(&watch);
        if (r >= 0)
                r = read_result(&watch, ret);
        if (r == -ECANCELED && watch.cancelling && !watch.fault.text)
                return fault_set(fault, r, "cancelled");
        fault_move(fault, &watch.fault);
        return r;
}
