/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "ctl/format.h"
#include "ctl/json-writer.h"
#include "ctl/parse-values.h"
#include "ctl/verb.h"
#include "lib/strv.h"

/* After its end, a container's last lines may still be on their way to the journal; after so long a silence
 * they are not. */
#define SILENCE_USEC 200000U
#define LINES_ALL UINT32_MAX

typedef struct LogsOptions {
        const char *since_text;
        uint64_t lines;
        bool follow, timestamps, lines_given;
} LogsOptions;

typedef struct Logs {
        Context *context;
        const LogsOptions *options;
        sd_journal *journal;
        sd_event *event;
        sd_event_source *silence;
        uint64_t shown, since_usec;
        bool within_line[2]; /* stdout, stderr */
        uid_t uid;           /* whose entries count besides root's */
} Logs;

/* ---- entries ---- */

static int entry_field(sd_journal *journal, const char *name, const char **ret, size_t *ret_size) {
        const void *data;
        size_t size, prefix = strlen(name) + 1;
        int r = sd_journal_get_data(journal, name, &data, &size);
        if (r < 0)
                return r;
        if (size < prefix)
                return -EBADMSG;
        *ret = (const char *) data + prefix;
        *ret_size = size - prefix;
        return 0;
}

static bool entry_has(sd_journal *journal, const char *name) {
        const void *data;
        size_t size;
        return sd_journal_get_data(journal, name, &data, &size) >= 0;
}

/* Anybody may send the journal CRT_CONTAINER=…, but not another _UID: what counts are entries of root, which
 * the supervisors send, and of the user whose namespace this is. */
static bool entry_is_genuine(const Logs *logs) {
        const char *text;
        size_t size;
        uint64_t uid;
        char copy[16];

        if (entry_field(logs->journal, "_UID", &text, &size) < 0 || size >= sizeof(copy))
                return false;
        memcpy(copy, text, size);
        copy[size] = 0;
        return string_to_uint64(copy, UINT32_MAX, &uid) >= 0 && (uid == 0 || (uid_t) uid == logs->uid);
}

static void print_json(const Logs *logs, uint64_t usec, const char *stream, const char *message) {
        JsonWriter writer = JSON_WRITER_INIT(stdout, logs->context->output == OUTPUT_JSON_PRETTY);
        json_writer_begin(&writer, '{');
        json_writer_key(&writer, "time");
        json_writer_unsigned(&writer, usec);
        json_writer_key(&writer, "stream");
        json_writer_string(&writer, stream);
        json_writer_key(&writer, "message");
        json_writer_string(&writer, message);
        json_writer_end(&writer, '}');
}

static void print_time(FILE *file, uint64_t usec) {
        time_t seconds = (time_t) (usec / 1000000U);
        struct tm when;
        char text[40];
        (void) localtime_r(&seconds, &when);
        if (strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &when) > 0)
                fprintf(file, "%s.%06" PRIu64 " ", text, usec % 1000000U);
}

static int entry_print(Logs *logs) {
        const char *message = "", *stream = "";
        size_t size = 0, stream_size = 0;
        uint64_t usec;

        int r = sd_journal_get_realtime_usec(logs->journal, &usec);
        if (r < 0)
                return r;
        if (usec < logs->since_usec || !entry_is_genuine(logs))
                return 0;
        bool is_error = entry_field(logs->journal, "CRT_STREAM", &stream, &stream_size) >= 0 &&
                        stream_size == strlen("stderr") && memcmp(stream, "stderr", stream_size) == 0;
        r = entry_field(logs->journal, "MESSAGE", &message, &size);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        logs->shown++;
        if (context_is_json(logs->context)) {
                _cleanup_free_ char *copy = strndup(message, size);
                print_json(logs, usec, is_error ? "stderr" : "stdout", copy ? copy : "");
                return 0;
        }
        FILE *file = is_error ? stderr : stdout;
        bool *within_line = &logs->within_line[is_error];
        if (logs->options->timestamps && !*within_line)
                print_time(file, usec);
        fwrite(message, 1, size, file);
        /* A line that was too long for one entry goes on in the next one of its stream. */
        *within_line = entry_has(logs->journal, "CRT_PARTIAL");
        if (!*within_line)
                fputc('\n', file);
        return 0;
}

/* Shows what follows; the number of entries. */
static int logs_advance(Logs *logs) {
        int count = 0, r;
        while ((r = sd_journal_next(logs->journal)) > 0) {
                r = entry_print(logs);
                if (r < 0)
                        break;
                count++;
        }
        fflush(stdout);
        if (ferror(stdout))
                return -EPIPE;
        return r < 0 ? r : count;
}

/* ---- opening ---- */

static int add_match(sd_journal *journal, const char *name, const char *value) {
        _cleanup_free_ char *match = NULL;
        if (asprintf(&match, "%s=%s", name, value) < 0)
                return -ENOMEM;
        return sd_journal_add_match(journal, match, strlen(match));
}

static int logs_open(Logs *logs, const char *id, Fault *fault) {
        char namespace[CLIENT_NAMESPACE_SIZE];
        int r = sd_journal_open(&logs->journal, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0)
                return fault_set_errno(fault, r, "the journal cannot be opened");

        (void) sd_journal_set_data_threshold(logs->journal, 0);
        (void) client_namespace(&logs->context->client, namespace);
        uint64_t uid = 0;
        if (namespace[0] == 'u' && string_to_uint64(namespace + 1, UINT32_MAX, &uid) >= 0)
                logs->uid = (uid_t) uid;
        r = add_match(logs->journal, "CRT_CONTAINER", id);
        if (r >= 0)
                r = add_match(logs->journal, "CRT_NAMESPACE", namespace);
        return r < 0 ? fault_set_errno(fault, r, "the journal") : 0;
}

/* Shows what is there, from the place that the options name. */
static int logs_begin(Logs *logs) {
        const LogsOptions *options = logs->options;
        int r;

        if (options->lines_given && options->lines < LINES_ALL) {
                r = sd_journal_seek_tail(logs->journal);
                if (r >= 0 && options->lines > 0)
                        r = sd_journal_previous_skip(logs->journal, options->lines);
                else if (r >= 0) {
                        /* Stand at the last one, without showing it. */
                        r = sd_journal_previous(logs->journal);
                        return r < 0 ? r : 0;
                }
                if (r <= 0)
                        return r;
                r = entry_print(logs);
        } else
                r = logs->since_usec > 0 ? sd_journal_seek_realtime_usec(logs->journal, logs->since_usec)
                                         : sd_journal_seek_head(logs->journal);
        return r < 0 ? r : logs_advance(logs);
}

/* ---- following ---- */

static int on_silence(sd_event_source *source, uint64_t usec, void *userdata) {
        Logs *logs = userdata;
        int r = logs_advance(logs);
        return sd_event_exit(logs->event, r < 0 ? r : 0);
}

static int on_journal(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Logs *logs = userdata;
        int r = sd_journal_process(logs->journal);
        if (r >= 0)
                r = logs_advance(logs);
        if (r < 0)
                return sd_event_exit(logs->event, r == -EPIPE ? 0 : r);
        if (r > 0 && logs->silence)
                (void) sd_event_source_set_time_relative(logs->silence, SILENCE_USEC);
        return 0;
}

/* It has ended, or is gone: what is still on its way is waited for. One that was never started is followed
 * from its start. */
static int on_ended(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Logs *logs = userdata;
        if (sd_bus_message_is_method_error(message, NULL) &&
            client_fault_from_error(sd_bus_message_get_error(message), NULL) == -EBUSY)
                return 0;
        return sd_event_add_time_relative(logs->event, &logs->silence, CLOCK_MONOTONIC, SILENCE_USEC, 0,
                                          on_silence, logs);
}

static int logs_follow(Logs *logs, const char *path) {
        sd_bus *bus = logs->context->client.bus;

        int fd = sd_journal_get_fd(logs->journal);
        if (fd < 0)
                return fd;
        int r = sd_event_new(&logs->event);
        if (r >= 0)
                r = sd_event_add_io(logs->event, NULL, fd, (uint32_t) sd_journal_get_events(logs->journal),
                                    on_journal, logs);
        if (r >= 0)
                r = sd_bus_call_method_async(bus, NULL, CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE,
                                             "Wait", on_ended, logs, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_attach_event(bus, logs->event, SD_EVENT_PRIORITY_NORMAL);
        /* What came between the first look and now makes no event. */
        if (r >= 0)
                r = sd_journal_process(logs->journal);
        if (r >= 0)
                r = logs_advance(logs);
        if (r >= 0)
                r = sd_event_loop(logs->event);
        (void) sd_bus_detach_event(bus);
        return r;
}

/* ---- the verb ---- */

static bool journal_is_closed_to_us(void) {
        static const char *const directories[] = { "/var/log/journal", "/run/log/journal" };
        sd_id128_t machine;
        char id[SD_ID128_STRING_MAX], path[128];

        if (geteuid() == 0 || sd_id128_get_machine(&machine) < 0)
                return false;
        bool closed = false;
        for (size_t i = 0; i < ELEMENTS_OF(directories); i++) {
                snprintf(path, sizeof(path), "%s/%s/system.journal", directories[i],
                         sd_id128_to_string(machine, id));
                if (access(path, R_OK) == 0)
                        return false;
                closed = closed || errno == EACCES;
        }
        return closed;
}

/* Nothing was found: whether that is because nothing was said, because we may not see it, or because there
 * is no container. */
static int explain_nothing(const char *id, const Fault *missing, Fault *fault) {
        if (journal_is_closed_to_us())
                return fault_set(fault, -EACCES,
                                 "the system's journal, where containers write, is not readable for this "
                                 "user; members of "
                                 "the group systemd-journal can read it");
        return missing->error == -ENOENT
                       ? fault_set(fault, -ENOENT, "%s: no container of this name, and no logs of one", id)
                       : 0;
}

/* An id can be used again: what a container wrote, it wrote after it was made. One that is gone has left all
 * there is. */
static int find_container(Logs *logs, const char *id, char **ret_path, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        static const BusField fields[] = { { "Created", "t", 0 }, {} };
        Client *client = &logs->context->client;
        uint64_t created = 0;

        int r = client_get_object(client, &target_tasks, "Get", id, ret_path, fault);
        if (r < 0)
                return r;
        const BusTarget container = { CRT_TASKS_NAME, *ret_path, CRT_CONTAINER_INTERFACE };
        r = client_get_properties(client, &container, &reply, fault);
        if (r >= 0)
                r = bus_fields_read(reply, fields, &created);
        logs->since_usec = MAX_OF(logs->since_usec, created);
        return r;
}

static int logs_run(Logs *logs, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        _cleanup_(fault_done) Fault missing = FAULT_NULL;

        (void) find_container(logs, id, &path, &missing);
        int r = logs_open(logs, id, fault);
        /* The journal wants to be watched before the first look. */
        if (r >= 0 && logs->options->follow)
                r = sd_journal_get_fd(logs->journal);
        if (r >= 0)
                r = logs_begin(logs);
        if (r < 0)
                return r == -EPIPE ? 0 : fault_set_errno(fault, r, "the journal");
        if (logs->shown == 0 && (journal_is_closed_to_us() || !path))
                return explain_nothing(id, &missing, fault);
        if (!logs->options->follow || !path)
                return 0;
        r = logs_follow(logs, path);
        return r < 0 && r != -EPIPE ? fault_set_errno(fault, r, "the journal") : 0;
}

static int run_logs(Context *context, void *userdata, char **operands, Fault *fault) {
        LogsOptions *options = userdata;
        Logs logs = { .context = context, .options = options };
        int r = 0;

        if (options->since_text)
                r = parse_time(options->since_text, now_realtime_usec(), &logs.since_usec, fault);
        if (r < 0)
                return fault_prefix(fault, r, "--since=%s", options->since_text);
        r = logs_run(&logs, operands[0], fault);
        sd_event_source_disable_unref(logs.silence);
        sd_event_unref(logs.event);
        sd_journal_close(logs.journal);
        return r;
}

static int parse_lines(const char *value, void *field, Fault *fault) {
        LogsOptions *options = (void *) ((char *) field - offsetof(LogsOptions, lines));
        options->lines_given = true;
        options->lines = LINES_ALL;
        return string_equal(value, "all") ? 0 : argument_number(value, field, fault);
}

static const Argument logs_arguments[] = {
        { "follow", 'f', NULL, "Go on with what comes, until the container ends",
          offsetof(LogsOptions, follow) },
        { "lines", 'n', "N", "Only the last so many lines", offsetof(LogsOptions, lines), parse_lines },
        { "since", 0, "TIME", "Only from then on: 10min, 2024-01-31, …", offsetof(LogsOptions, since_text) },
        { "timestamps", 't', NULL, "Show when each line came", offsetof(LogsOptions, timestamps) },
        {},
};

const Verb verb_logs = {
        .name = "logs",
        .operands = "CONTAINER",
        .help = "Show what a container wrote into the journal",
        .arguments = logs_arguments,
        .options_size = sizeof(LogsOptions),
        .operands_min = 1,
        .operands_max = 1,
        .run = run_logs,
};
