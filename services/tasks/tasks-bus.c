/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.crt.Tasks1 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/object-path.h"
#include "bus/options.h"
#include "bus/page.h"
#include "lib/fd.h"
#include "lib/label.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/tasks/tasks-bus.h"

typedef struct MountList {
        SpecMount *items;
        size_t count;
} MountList;

typedef struct BindList {
        SpecMount *items;
        BindSource *sources;
        size_t count;
} BindList;

typedef struct CreateOptions {
        const char *image, *working_directory, *user, *hostname, *stop_signal;
        char **arguments, **entrypoint, **environment, **labels;
        bool terminal, read_only, is_volatile, auto_remove;
        uint64_t memory_max, tasks_max, cpu_quota, rootfs_size_max;
        bool rootfs_size_given;
        MountList mounts;
        BindList binds;
} CreateOptions;

static int read_mounts(sd_bus_message *message, void *field, sd_bus_error *error);
static int read_binds(sd_bus_message *message, void *field, sd_bus_error *error);

static const BusOption create_options[] = {
        { "image", "s", offsetof(CreateOptions, image) },
        { "args", "as", offsetof(CreateOptions, arguments) },
        { "entrypoint", "as", offsetof(CreateOptions, entrypoint) },
        { "env", "as", offsetof(CreateOptions, environment) },
        { "cwd", "s", offsetof(CreateOptions, working_directory) },
        { "user", "s", offsetof(CreateOptions, user) },
        { "hostname", "s", offsetof(CreateOptions, hostname) },
        { "terminal", "b", offsetof(CreateOptions, terminal) },
        { "read-only", "b", offsetof(CreateOptions, read_only) },
        { "volatile", "b", offsetof(CreateOptions, is_volatile) },
        { "mounts", "a(ssas)", offsetof(CreateOptions, mounts), read_mounts },
        { "binds", "a(hsas)", offsetof(CreateOptions, binds), read_binds },
        { "labels", "a{ss}", offsetof(CreateOptions, labels) },
        { "auto-remove", "b", offsetof(CreateOptions, auto_remove) },
        { "memory-max", "t", offsetof(CreateOptions, memory_max) },
        { "tasks-max", "t", offsetof(CreateOptions, tasks_max) },
        { "cpu-quota", "t", offsetof(CreateOptions, cpu_quota) },
        { "rootfs-size-max", "t", offsetof(CreateOptions, rootfs_size_max), NULL,
          offsetof(CreateOptions, rootfs_size_given) },
        { "stop-signal", "s", offsetof(CreateOptions, stop_signal) },
};

static void mounts_free(SpecMount *items, size_t count) {
        for (size_t i = 0; i < count; i++) {
                free(items[i].source);
                free(items[i].destination);
                strv_free(items[i].options);
        }
        free(items);
}

static void create_options_done(CreateOptions *options) {
        strv_free(options->arguments);
        strv_free(options->entrypoint);
        strv_free(options->environment);
        strv_free(options->labels);
        mounts_free(options->mounts.items, options->mounts.count);
        mounts_free(options->binds.items, options->binds.count);
        for (size_t i = 0; i < options->binds.count; i++)
                bind_source_done(&options->binds.sources[i]);
        free(options->binds.sources);
}

static int add_mount(SpecMount **items, size_t *count, SpecMount **ret, sd_bus_error *error) {
        if (*count == SPEC_MOUNTS_MAX)
                return sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                         "options 'mounts' and 'binds': may have %i entries each",
                                         SPEC_MOUNTS_MAX);
        SpecMount *larger = realloc(*items, (*count + 1) * sizeof(SpecMount));
        if (!larger)
                return -ENOMEM;
        *items = larger;
        larger[*count] = (SpecMount){ 0 };
        *ret = &larger[(*count)++];
        return 0;
}

/* Counted while they are read: they take more here than in the message. */
static int read_mount_options(sd_bus_message *message, SpecMount *mount, sd_bus_error *error) {
        size_t count = 0;
        const char *text;
        mount->options = new0(char *, LIMIT_MOUNT_OPTIONS + 1);
        if (!mount->options)
                return -ENOMEM;
        int r = sd_bus_message_enter_container(message, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read(message, "s", &text)) > 0) {
                if (count == LIMIT_MOUNT_OPTIONS)
                        return sd_bus_error_setf(
                                error, bus_error_name(-EDQUOT),
                                "options 'mounts' and 'binds': one has more than %i options of its own",
                                LIMIT_MOUNT_OPTIONS);
                mount->options[count] = strdup(text);
                if (!mount->options[count++])
                        return -ENOMEM;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* Destination and options, which both kinds end with. */
static int read_target(sd_bus_message *message, SpecMount *mount, sd_bus_error *error) {
        const char *destination;
        int r = sd_bus_message_read(message, "s", &destination);
        if (r < 0)
                return r;
        mount->destination = strdup(destination);
        return mount->destination ? read_mount_options(message, mount, error) : -ENOMEM;
}

static int read_mounts(sd_bus_message *message, void *field, sd_bus_error *error) {
        MountList *list = field;
        SpecMount *mount;
        const char *source;
        int r = sd_bus_message_enter_container(message, 'a', "(ssas)");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'r', "ssas")) > 0) {
                r = add_mount(&list->items, &list->count, &mount, error);
                if (r >= 0)
                        r = sd_bus_message_read(message, "s", &source);
                if (r >= 0 && !(mount->source = strdup(source)))
                        r = -ENOMEM;
                if (r >= 0)
                        r = read_target(message, mount, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int read_bind(sd_bus_message *message, BindList *list, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SpecMount *mount;
        int fd;
        int r = add_mount(&list->items, &list->count, &mount, error);
        if (r < 0)
                return r;
        BindSource *larger = realloc(list->sources, list->count * sizeof(BindSource));
        if (!larger)
                return -ENOMEM;
        list->sources = larger;
        larger[list->count - 1] = (BindSource){ .fd = -EBADF };
        mount->descriptor = (unsigned) list->count - 1;
        r = sd_bus_message_read(message, "h", &fd);
        if (r < 0)
                return r;
        /* To name something is not to have a right to it: the kernel checked only who opened it for reading.
         */
        if (!peer_is_root(bus_current_peer(sd_bus_message_get_bus(message))) &&
            fd_verify_access(fd, O_RDONLY) < 0)
                return bus_invalid_argument(error, "option 'binds': a source is not open for reading");
        r = bind_source_new(fd, &larger[list->count - 1], &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : read_target(message, mount, error);
}

static int read_binds(sd_bus_message *message, void *field, sd_bus_error *error) {
        BindList *list = field;
        int r = sd_bus_message_enter_container(message, 'a', "(hsas)");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'r', "hsas")) > 0) {
                r = read_bind(message, list, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* Mounts by path and binds by descriptor become one list. */
static int join_mounts(CreateOptions *options, TaskCreateRequest *request) {
        size_t count = options->mounts.count + options->binds.count;
        if (count == 0)
                return 0;
        request->mounts = new0(SpecMount, count);
        if (!request->mounts)
                return -ENOMEM;
        for (size_t i = 0; i < options->mounts.count; i++)
                request->mounts[request->mount_count++] = TAKE(options->mounts.items[i], (SpecMount){ 0 });
        for (size_t i = 0; i < options->binds.count; i++)
                request->mounts[request->mount_count++] = TAKE(options->binds.items[i], (SpecMount){ 0 });
        request->sources = TAKE_PTR(options->binds.sources);
        request->source_count = options->binds.count;
        mounts_free(options->binds.items, options->binds.count);
        options->binds = (BindList){ 0 };
        return 0;
}

static size_t text_size(const char *text) {
        return text ? strlen(text) + 1 : 0;
}

static size_t list_size(char *const *list) {
        size_t size = 0;
        for (; list && *list; list++)
                size += text_size(*list);
        return size;
}

static size_t mounts_size(const SpecMount *mounts, size_t count) {
        size_t size = 0;
        for (size_t i = 0; i < count; i++)
                size += text_size(mounts[i].source) + text_size(mounts[i].destination) +
                        list_size(mounts[i].options);
        return size;
}

static int check_size(const CreateOptions *options, sd_bus_error *error) {
        const struct {
                const char *key;
                size_t size;
        } parts[] = {
                { "image", text_size(options->image) },
                { "cwd", text_size(options->working_directory) },
                { "user", text_size(options->user) },
                { "hostname", text_size(options->hostname) },
                { "stop-signal", text_size(options->stop_signal) },
                { "args", list_size(options->arguments) },
                { "entrypoint", list_size(options->entrypoint) },
                { "env", list_size(options->environment) },
                { "labels", list_size(options->labels) },
                { "mounts", mounts_size(options->mounts.items, options->mounts.count) },
                { "binds", mounts_size(options->binds.items, options->binds.count) },
        };
        size_t size = 0;
        for (size_t i = 0; i < ELEMENTS_OF(parts); i++) {
                size += parts[i].size;
                if (size > LIMIT_CONTAINER_SIZE)
                        return sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                                 "option '%s': with it, all take more than %u bytes",
                                                 parts[i].key, LIMIT_CONTAINER_SIZE);
        }
        return 0;
}

static int check_create(sd_bus_message *message, const CreateOptions *options, sd_bus_error *error) {
        if (!options->image)
                return bus_invalid_argument(error, "option 'image' is missing");
        if (options->mounts.count > 0 && !peer_is_root(bus_current_peer(sd_bus_message_get_bus(message))))
                return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
                                        "option 'mounts' is for root: hand over a descriptor in 'binds'");
        if (options->cpu_quota > UINT32_MAX)
                return bus_invalid_argument(error, "option 'cpu-quota': is too large");
        if (options->rootfs_size_given &&
            (options->rootfs_size_max == 0 || options->rootfs_size_max > INT64_MAX))
                return bus_invalid_argument(error, "option 'rootfs-size-max': must be from 1 to %" PRIi64,
                                            INT64_MAX);
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = label_check(options->labels, NULL, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : check_size(options, error);
}

static void on_created(Task *task, int r, const Fault *fault, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = userdata;
        _cleanup_free_ char *path = NULL;
        if (r >= 0)
                r = object_path_encode(CRT_TASKS_PATH, CONTAINER_KIND, task->record.namespace,
                                       task->record.id, &path);
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, "o", path);
}

static int method_create(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TasksService *service = userdata;
        _cleanup_(create_options_done) CreateOptions options = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const char *id;

        int r = sd_bus_message_read(message, "s", &id);
        if (r >= 0)
                r = bus_options_read(message, create_options, ELEMENTS_OF(create_options), &options, error);
        if (r >= 0)
                r = check_create(message, &options, error);
        if (r < 0)
                return r;
        TaskCreateRequest request = {
                .namespace = bus_call_namespace(message),
                .id = id,
                .image = options.image,
                .owner = peer_uid(bus_current_peer(sd_bus_message_get_bus(message))),
                .working_directory = options.working_directory,
                .user = options.user,
                .hostname = options.hostname,
                .stop_signal = options.stop_signal,
                .terminal = options.terminal,
                .read_only = options.read_only,
                .is_volatile = options.is_volatile,
                .auto_remove = options.auto_remove,
                .limits = { options.memory_max, options.tasks_max, options.cpu_quota },
                .rootfs_size_max = options.rootfs_size_max,
        };
        r = join_mounts(&options, &request);
        if (r < 0)
                return r;
        request.arguments = TAKE_PTR(options.arguments);
        request.entrypoint = TAKE_PTR(options.entrypoint);
        request.environment = TAKE_PTR(options.environment);
        request.labels = TAKE_PTR(options.labels);
        r = task_create(service->table, &request, on_created, sd_bus_message_ref(message), &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

static Task *find_visible(TasksService *service, const char *namespace, const char *id) {
        Task *task = task_table_find(service->table, namespace, id);
        return task && task_is_listed(task) ? task : NULL;
}

static int method_get(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TasksService *service = userdata;
        _cleanup_free_ char *path = NULL;
        const char *id;
        int r = sd_bus_message_read(message, "s", &id);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        if (!find_visible(service, bus_call_namespace(message), id))
                return sd_bus_error_setf(error, bus_error_name(-ENOENT), "there is no container %s", id);
        r = object_kind_get_path(service->containers, bus_call_namespace(message), id, &path);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static const FilterField list_fields[] = {
        { .name = "id" },
        { .name = "image" },
        { .name = "state" },
        { .name = "labels", .has_key = true },
        {},
};

static const char *look_up_field(const char *field, const char *key, void *userdata) {
        const Task *task = userdata;
        if (string_equal(field, "id"))
                return task->record.id;
        if (string_equal(field, "image"))
                return task->record.image;
        if (string_equal(field, "state"))
                return task_state_to_string(task->state);
        return strv_get_environment((const char *const *) task->record.labels, key);
}

static int append_container(BusPage *page, const TasksService *service, const Task *task) {
        sd_bus_message *reply = page->reply;
        _cleanup_free_ char *path = NULL;
        page->bytes += strv_size(task->record.labels) + strv_size(task->record.command);
        int r = object_kind_get_path(service->containers, task->record.namespace, task->record.id, &path);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "Path", "o", path);
        if (r >= 0)
                r = container_append_properties(reply, task);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TasksService *service = userdata;
        const TaskTable *table = service->table;
        const char *namespace = bus_call_namespace(message);
        _cleanup_(bus_page_done) BusPage page = BUS_PAGE_NULL;

        int r = bus_page_begin(&page, message, list_fields, error);
        if (r < 0)
                return r;
        for (size_t i = task_table_first(service->table, namespace, page.after); i < table->count; i++) {
                Task *task = table->tasks[i];
                if (!string_equal(task->record.namespace, namespace))
                        break;
                if (!task_is_listed(task))
                        continue;
                int offer = bus_page_offer(&page, task->record.id, look_up_field, task);
                if (offer == BUS_PAGE_FULL)
                        break;
                r = offer == BUS_PAGE_TAKE ? append_container(&page, service, task) : offer;
                if (r < 0)
                        return r;
        }
        return bus_page_send(&page);
}

const sd_bus_vtable tasks_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Create", SD_BUS_ARGS("s", id, "a{sv}", options),
                                SD_BUS_RESULT("o", container), method_create, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Get", SD_BUS_ARGS("s", id, "a{sv}", options), SD_BUS_RESULT("o", container),
                                method_get, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", containers, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("References", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("h", references),
                                method_references, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};
