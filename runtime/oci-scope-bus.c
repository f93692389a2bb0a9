/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-oci-scope UNIT SLICE PID [NAME=TYPE VALUE]…: has systemd make a transient scope around a process, and
 * waits until it stands. crt-oci-scope --update UNIT NAME=TYPE VALUE…: gives one that stands other
 * properties. On failure one sentence on standard output. crt-oci executes it with
 * --systemd-cgroup: it is the only part that speaks D-Bus, to root's manager or to the user's own. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "lib/strv.h"

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"
#define JOB_TIMEOUT_US (30 * UINT64_C(1000000))

typedef struct Scope {
        const char *unit, *slice;
        uint32_t pid;
        char **properties;
        char *job;    /* object path; NULL: not asked for yet */
        char *result; /* of the job */
} Scope;

/* 'text' or "text", without escapes. */
static int append_quoted(sd_bus_message *m, const char *text) {
        size_t length = strlen(text);
        if (length < 2 || (text[0] != '\'' && text[0] != '"') || text[length - 1] != text[0] ||
            strchr(text, '\\') || memchr(text + 1, text[0], length - 2))
                return -EINVAL;
        _cleanup_free_ char *content = strndup(text + 1, length - 2);
        return content ? sd_bus_message_append(m, "v", "s", content) : -ENOMEM;
}

static int append_strings(sd_bus_message *m, char *text) {
        int r;
        size_t length = strlen(text);
        if (text[length - 1] != ']')
                return -EINVAL;
        text[length - 1] = '\0';
        if ((r = sd_bus_message_open_container(m, 'v', "as")) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
                return r;
        char *state = NULL;
        for (char *item = strtok_r(text + 1, ",", &state); item; item = strtok_r(NULL, ",", &state)) {
                item += strspn(item, " ");
                size_t n = strlen(item);
                while (n > 0 && item[n - 1] == ' ')
                        item[--n] = '\0';
                if (n < 2 || (item[0] != '\'' && item[0] != '"') || item[n - 1] != item[0])
                        return -EINVAL;
                item[n - 1] = '\0';
                if ((r = sd_bus_message_append(m, "s", item + 1)) < 0)
                        return r;
        }
        if ((r = sd_bus_message_close_container(m)) < 0)
                return r;
        return sd_bus_message_close_container(m);
}

/* GVariant's text format, as far as properties of units need it: booleans, numbers with or without their
 * type, strings, lists of strings. A number alone is an int32, as in GVariant. */
static int append_guessed(sd_bus_message *m, char *text) {
        static const struct {
                const char *prefix;
                char type;
        } numbers[] = {
                { "uint64 ", 't' }, { "int64 ", 'x' }, { "uint32 ", 'u' }, { "int32 ", 'i' }, { "", 'i' }
        };
        if (string_equal(text, "true") || string_equal(text, "false"))
                return sd_bus_message_append(m, "v", "b", text[0] == 't');
        if (text[0] == '\'' || text[0] == '"')
                return append_quoted(m, text);
        if (text[0] == '[')
                return append_strings(m, text);
        for (size_t i = 0; i < ELEMENTS_OF(numbers); i++) {
                const char *digits = string_after(text, numbers[i].prefix);
                char *end = NULL;
                if (!digits)
                        continue;
                errno = 0;
                long long number = numbers[i].type == 't' ? (long long) strtoull(digits, &end, 10)
                                                          : strtoll(digits, &end, 10);
                if (errno != 0 || end == digits || *end != '\0')
                        return -EINVAL;
                switch (numbers[i].type) {
                case 't':
                        return sd_bus_message_append(m, "v", "t", (uint64_t) number);
                case 'x':
                        return sd_bus_message_append(m, "v", "x", (int64_t) number);
                case 'u':
                        return number < 0 || number > UINT32_MAX
                                       ? -EINVAL
                                       : sd_bus_message_append(m, "v", "u", (uint32_t) number);
                default:
                        return number < INT32_MIN || number > INT32_MAX
                                       ? -EINVAL
                                       : sd_bus_message_append(m, "v", "i", (int32_t) number);
                }
        }
        return -EINVAL;
}

/* "3 1 0 128": a count, then as many bytes. */
static int append_bytes(sd_bus_message *m, const char *text) {
        char *end;
        unsigned long count = strtoul(text, &end, 10);
        if (end == text || count == 0 || count > 65536)
                return -EINVAL;
        _cleanup_free_ unsigned char *bytes = malloc(count);
        if (!bytes)
                return -ENOMEM;
        for (unsigned long i = 0; i < count; i++)
                bytes[i] = (unsigned char) strtoul(end, &end, 10);
        int r = sd_bus_message_open_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', bytes, count);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const char *property) {
        uint64_t number;
        const char *equals = strchr(property, '='), *space = equals ? strchr(equals, ' ') : NULL;
        if (!space)
                return -EINVAL;
        _cleanup_free_ char *name = strndup(property, (size_t) (equals - property));
        _cleanup_free_ char *value = strdup(space + 1);
        if (!name || !value)
                return -ENOMEM;
        int r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", name);
        if (r < 0)
                return r;
        if (string_after(equals, "=t "))
                r = string_to_uint64(value, UINT64_MAX, &number) < 0
                            ? -EINVAL
                            : sd_bus_message_append(m, "v", "t", number);
        else if (string_after(equals, "=ay "))
                r = append_bytes(m, value);
        else
                r = append_guessed(m, value);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_given(sd_bus_message *m, const Scope *scope) {
        int r = 0;
        for (char **property = scope->properties; *property && r >= 0; property++) {
                r = append_property(m, *property);
                if (r == -EINVAL) {
                        (void) printf("the property '%s' is not understood\n", *property);
                        return -EBADMSG;
                }
        }
        return r;
}

static int append_properties(sd_bus_message *m, const Scope *scope) {
        int r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
                                          "container (crt-oci)", "Slice", "s", scope->slice, "Delegate", "b",
                                          1, "CollectMode", "s", "inactive-or-failed", "DefaultDependencies",
                                          "b", 0, "CPUAccounting", "b", 1, "MemoryAccounting", "b", 1,
                                          "IOAccounting", "b", 1, "TasksAccounting", "b", 1, "PIDs", "au", 1,
                                          scope->pid);
        if (r >= 0)
                r = append_given(m, scope);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Scope *scope = userdata;
        const char *job, *unit, *result;
        if (sd_bus_message_read(m, "uoss", NULL, &job, &unit, &result) >= 0 &&
            string_equal(job, scope->job) && !scope->result)
                scope->result = strdup(result);
        return 0;
}

/* The job of a call, done or not. Signals are looked at only while this waits, so none is missed. */
static int take_job(sd_bus_message *reply, Scope *scope) {
        const char *job;
        int r = sd_bus_message_read(reply, "o", &job);
        if (r < 0)
                return r;
        free(scope->job);
        free(scope->result);
        scope->result = NULL;
        scope->job = strdup(job);
        return scope->job ? 0 : -ENOMEM;
}

static int wait_for_job(sd_bus *bus, Scope *scope) {
        while (!scope->result) {
                int r = sd_bus_process(bus, NULL);
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                r = sd_bus_wait(bus, JOB_TIMEOUT_US);
                if (r < 0)
                        return r;
                if (r == 0)
                        return -ETIMEDOUT;
        }
        return 0;
}

static int start(sd_bus *bus, Scope *scope, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r = sd_bus_message_new_method_call(bus, &m, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                               "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", scope->unit, "fail");
        if (r >= 0)
                r = append_properties(m, scope);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        if (r >= 0)
                r = sd_bus_call(bus, m, 0, error, &reply);
        if (r >= 0)
                r = take_job(reply, scope);
        return r < 0 ? r : wait_for_job(bus, scope);
}

/* One of that name may be left over that nobody is in any more: it is stopped. One with processes is not. */
static int stop_empty(sd_bus *bus, Scope *scope) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *processes = NULL, *reply = NULL;
        int r = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "GetUnitProcesses", &error,
                                   &processes, "s", scope->unit);
        if (r >= 0 && (r = sd_bus_message_enter_container(processes, 'a', "(sus)")) >= 0 &&
            sd_bus_message_at_end(processes, false) == 0)
                return -EBUSY;
        (void) sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "ResetFailedUnit", NULL,
                                  NULL, "s", scope->unit);
        r = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "StopUnit", NULL, &reply, "ss",
                               scope->unit, "replace");
        if (r < 0) /* it has just ended */
                return 0;
        r = take_job(reply, scope);
        return r < 0 ? r : wait_for_job(bus, scope);
}

static int start_anew(sd_bus *bus, Scope *scope, sd_bus_error *error) {
        int r = start(bus, scope, error);
        if (r >= 0 || !sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitExists") ||
            stop_empty(bus, scope) < 0)
                return r;
        sd_bus_error_free(error);
        return start(bus, scope, error);
}

static int open_bus(sd_bus **ret) {
        return geteuid() == 0 ? sd_bus_open_system(ret) : sd_bus_open_user(ret);
}

/* Until the scope ends, and no longer. */
static int update_scope(const Scope *scope, sd_bus_error *error) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = open_bus(&bus);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &m, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                                   "SetUnitProperties");
        if (r >= 0)
                r = sd_bus_message_append(m, "sb", scope->unit, 1);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = append_given(m, scope);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_call(bus, m, 0, error, NULL);
}

static int make_scope(Scope *scope, sd_bus_error *error) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r = open_bus(&bus);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved",
                                        on_job_removed, scope);
        if (r >= 0)
                r = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_INTERFACE, "Subscribe", error,
                                       NULL, NULL);
        return r < 0 ? r : start_anew(bus, scope, error);
}

int main(int argc, char *argv[]) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t pid;
        if (argc > 3 && string_equal(argv[1], "--update")) {
                Scope scope = { .unit = argv[2], .properties = argv + 3 };
                int r = update_scope(&scope, &error);
                if (r < 0 && r != -EBADMSG)
                        (void) printf("%s\n", error.message ? error.message : strerror(-r));
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        }
        if (argc < 4 || string_to_uint64(argv[3], INT32_MAX, &pid) < 0) {
                (void) fputs("usage: crt-oci-scope UNIT SLICE PID [NAME=TYPE VALUE]...\n"
                             "       crt-oci-scope --update UNIT NAME=TYPE VALUE...\n",
                             stderr);
                return 2;
        }
        Scope scope = { .unit = argv[1], .slice = argv[2], .pid = (uint32_t) pid, .properties = argv + 4 };
        int r = make_scope(&scope, &error);
        bool done = r >= 0 && string_equal(scope.result, "done");
        if (r < 0 && r != -EBADMSG)
                (void) printf("%s\n", error.message ? error.message : strerror(-r));
        else if (r >= 0 && !done)
                (void) printf("its job ended with '%s'\n", scope.result);
        free(scope.job);
        free(scope.result);
        return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
