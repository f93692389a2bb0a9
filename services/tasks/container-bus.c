/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.crt.Tasks1.Container */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "services/tasks/tasks-bus.h"

/* ---- properties ---- */

static const char *unit_of(const Task *task, char name[SCOPE_NAME_MAX]) {
        bool there = task_is_running(task) && scope_name(task->record.namespace, task->record.id, name) >= 0;
        return there ? name : "";
}

static const char *stop_signal_of(const TaskRecord *record) {
        const char *name = signal_to_string(record->stop_signal);
        return name ? name : "SIGTERM";
}

static const char *or_empty(const char *text) {
        return text ? text : "";
}

static int get_property(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Task *task = userdata;
        const TaskRecord *record = &task->record;
        char unit[SCOPE_NAME_MAX];
        const struct {
                const char *name, *value;
        } texts[] = {
                { "Namespace", record->namespace },   { "Id", record->id },
                { "Image", record->image },           { "ImageDigest", record->image_digest },
                { "Error", or_empty(record->error) }, { "State", task_state_to_string(task->state) },
                { "Unit", unit_of(task, unit) },      { "StopSignal", stop_signal_of(record) },
        };
        const struct {
                const char *name;
                uint64_t value;
        } times[] = {
                { "Created", record->created },
                { "Started", record->started },
                { "Finished", record->finished },
        };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++)
                if (string_equal(property, texts[i].name))
                        return sd_bus_message_append(reply, "s", texts[i].value);
        for (size_t i = 0; i < ELEMENTS_OF(times); i++)
                if (string_equal(property, times[i].name))
                        return sd_bus_message_append(reply, "t", times[i].value);
        if (string_equal(property, "Command"))
                return sd_bus_message_append_strv(reply, record->command);
        if (string_equal(property, "Labels"))
                return bus_append_map(reply, record->labels);
        if (string_equal(property, "Terminal"))
                return sd_bus_message_append(reply, "b", (int) record->terminal);
        if (string_equal(property, "Pid"))
                return sd_bus_message_append(reply, "u", (uint32_t) task->payload_pid);
        assert(string_equal(property, "ExitStatus"));
        return sd_bus_message_append(reply, "i", (int32_t) record->exit_status);
}

static const struct {
        const char *name, *signature;
} properties[] = {
        { "Namespace", "s" }, { "Id", "s" },         { "Image", "s" },      { "ImageDigest", "s" },
        { "Command", "as" },  { "Labels", "a{ss}" }, { "Terminal", "b" },   { "State", "s" },
        { "Pid", "u" },       { "Unit", "s" },       { "ExitStatus", "i" }, { "Error", "s" },
        { "Created", "t" },   { "Started", "t" },    { "Finished", "t" },   { "StopSignal", "s" },
};

int container_append_properties(sd_bus_message *message, const Task *task) {
        for (size_t i = 0; i < ELEMENTS_OF(properties); i++) {
                int r = sd_bus_message_open_container(message, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(message, "s", properties[i].name);
                if (r >= 0)
                        r = sd_bus_message_open_container(message, 'v', properties[i].signature);
                if (r >= 0)
                        r = get_property(NULL, NULL, NULL, properties[i].name, message, (void *) task, NULL);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- what happens to containers ---- */

int container_find(void *userdata, const char *namespace, const char *object, void **ret) {
        TasksService *service = userdata;
        Task *task = task_table_find(service->table, namespace, object);
        if (!task || task->creating || task->half_made)
                return 0;
        *ret = task;
        return 1;
}

int container_list(void *userdata, ObjectKind *kind) {
        const TasksService *service = userdata;
        for (size_t i = 0; i < service->table->count; i++) {
                const Task *task = service->table->tasks[i];
                if (!task_is_listed(task))
                        continue;
                int r = object_kind_list_add(kind, task->record.namespace, task->record.id);
                if (r < 0)
                        return r;
        }
        return 0;
}

void container_on_added(Task *task, void *userdata) {
        TasksService *service = userdata;
        (void) object_kind_emit_added(service->containers, task->record.namespace, task->record.id);
}

void container_on_changed(Task *task, void *userdata) {
        static const char *const changing[] = { "State", "Pid",     "Unit",     "ExitStatus",
                                                "Error", "Started", "Finished", NULL };
        TasksService *service = userdata;
        (void) object_kind_emit_changed(service->containers, task->record.namespace, task->record.id,
                                        (char **) changing);
}

void container_on_gone(Task *task, void *userdata) {
        TasksService *service = userdata;
        (void) object_kind_emit_removed(service->containers, task->record.namespace, task->record.id);
}

/* ---- Start ---- */

typedef struct StartOptions {
        uint32_t rows, columns;
        int standard[3];
} StartOptions;

static const BusOption start_options[] = {
        { "stdin", "h", offsetof(StartOptions, standard[0]) },
        { "stdout", "h", offsetof(StartOptions, standard[1]) },
        { "stderr", "h", offsetof(StartOptions, standard[2]) },
        { "rows", "u", offsetof(StartOptions, rows) },
        { "columns", "u", offsetof(StartOptions, columns) },
};

static int check_standard(const Task *task, const StartOptions *options, sd_bus_error *error) {
        static const char *const names[] = { "stdin", "stdout", "stderr" };
        for (unsigned i = 0; i < 3; i++) {
                int fd = options->standard[i];
                struct stat st;
                if (fd < 0)
                        continue;
                if (task->record.terminal)
                        return bus_invalid_argument(error, "option '%s': the container has a terminal",
                                                    names[i]);
                int r = fd_look(fd, &st);
                if (r < 0)
                        return r;
                if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
                        return bus_invalid_argument(
                                error, "option '%s': is no file, pipe, socket or terminal", names[i]);
                if (fd_verify_access(fd, i == 0 ? O_RDONLY : O_WRONLY) < 0)
                        return bus_invalid_argument(error, "option '%s': is not open for %s", names[i],
                                                    i == 0 ? "reading" : "writing");
        }
        if (!task->record.terminal && (options->rows > 0 || options->columns > 0))
                return bus_invalid_argument(error, "option '%s': the container has no terminal",
                                            options->rows > 0 ? "rows" : "columns");
        if (options->rows > UINT16_MAX || options->columns > UINT16_MAX)
                return bus_invalid_argument(error, "option '%s': is too large",
                                            options->rows > UINT16_MAX ? "rows" : "columns");
        return 0;
}

static int reply_started(sd_bus_message *message, const Task *task, int terminal) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "pid", "u", (uint32_t) task->payload_pid);
        if (r >= 0 && terminal >= 0)
                r = bus_append_entry(reply, "terminal", "h", terminal);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static void on_started(Task *task, int r, int terminal, const Fault *fault, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = userdata;
        if (r >= 0)
                r = reply_started(message, task, terminal);
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
}

static int method_start(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Task *task = userdata;
        StartOptions options = { .standard = { -EBADF, -EBADF, -EBADF } };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = bus_options_read(message, start_options, ELEMENTS_OF(start_options), &options, error);
        if (r >= 0)
                r = check_standard(task, &options, error);
        if (r < 0)
                return r;
        TaskStartRequest request = {
                .rows = options.rows,
                .columns = options.columns,
                .done = on_started,
                .userdata = sd_bus_message_ref(message),
        };
        memcpy(request.standard, options.standard, sizeof(request.standard));
        r = task_start(task, &request, &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

/* ---- Wait ---- */

typedef struct Waiting {
        Task *task; /* weak: answered before it goes */
        sd_bus_message *message;
        PeerWatch *watch;
} Waiting;

static Waiting *waiting_free(Waiting *waiting) {
        peer_watch_free(waiting->watch);
        sd_bus_message_unref(waiting->message);
        return mfree(waiting);
}
DEFINE_CLEANUP(Waiting *, waiting_free);

static void on_ended(Task *task, int r, const Fault *fault, void *userdata) {
        _cleanup_(waiting_freep) Waiting *waiting = userdata;
        if (r < 0)
                (void) bus_reply_fault(waiting->message, r, fault);
        else
                (void) sd_bus_reply_method_return(waiting->message, "it", (int32_t) task->record.exit_status,
                                                  task->record.finished);
}

static void on_waiter_gone(void *userdata) {
        Waiting *waiting = userdata;
        task_cancel_wait(waiting->task, on_ended, waiting);
        waiting_free(waiting);
}

static int method_wait(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Task *task = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        _cleanup_(waiting_freep) Waiting *waiting = new0(Waiting, 1);
        if (!waiting)
                return -ENOMEM;
        *waiting = (Waiting){ .task = task, .message = sd_bus_message_ref(message) };
        r = peer_watch_new(bus_current_peer(sd_bus_message_get_bus(message)), on_waiter_gone, waiting,
                           &waiting->watch);
        if (r >= 0)
                r = task_wait(task, on_ended, waiting, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        TAKE_PTR(waiting); /* answered, or to be answered */
        return 1;
}

/* ---- Kill, Delete, ResizeTerminal ---- */

typedef struct KillOptions {
        bool all;
} KillOptions;

static const BusOption kill_options[] = { { "all", "b", offsetof(KillOptions, all) } };

static int method_kill(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        KillOptions options = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const char *name;
        int r = sd_bus_message_read(message, "s", &name);
        if (r >= 0)
                r = bus_options_read(message, kill_options, ELEMENTS_OF(kill_options), &options, error);
        if (r < 0)
                return r;
        int signal = signal_from_string(name);
        if (signal < 0)
                return bus_invalid_argument(error, "'%s' is not a signal", name);
        r = task_kill(userdata, signal, options.all, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, NULL);
}

typedef struct DeleteOptions {
        bool force;
} DeleteOptions;

static const BusOption delete_options[] = { { "force", "b", offsetof(DeleteOptions, force) } };

static void on_deleted(Task *task, int r, const Fault *fault, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = userdata;
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, NULL);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        DeleteOptions options = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = bus_options_read(message, delete_options, ELEMENTS_OF(delete_options), &options, error);
        if (r < 0)
                return r;
        r = task_remove(userdata, options.force, on_deleted, sd_bus_message_ref(message), &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

static int method_resize_terminal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        uint32_t rows, columns;
        int r = sd_bus_message_read(message, "uu", &rows, &columns);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = task_resize(userdata, rows, columns, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, NULL);
}

#define CONSTANT(name, signature)                                                                           \
        SD_BUS_PROPERTY(name, signature, get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(name, signature)                                                                           \
        SD_BUS_PROPERTY(name, signature, get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

const sd_bus_vtable container_vtable[] = {
        SD_BUS_VTABLE_START(0),
        CONSTANT("Namespace", "s"),
        CONSTANT("Id", "s"),
        CONSTANT("Image", "s"),
        CONSTANT("ImageDigest", "s"),
        CONSTANT("Command", "as"),
        CONSTANT("Labels", "a{ss}"),
        CONSTANT("Terminal", "b"),
        CONSTANT("StopSignal", "s"),
        CHANGING("State", "s"),
        CHANGING("Pid", "u"),
        CHANGING("Unit", "s"),
        CHANGING("ExitStatus", "i"),
        CHANGING("Error", "s"),
        CONSTANT("Created", "t"),
        CHANGING("Started", "t"),
        CHANGING("Finished", "t"),
        SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", result),
                                method_start, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("i", status, "t", finished), method_wait,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Kill", SD_BUS_ARGS("s", signal, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_kill, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_delete,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ResizeTerminal", SD_BUS_ARGS("u", rows, "u", columns, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_resize_terminal, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};
