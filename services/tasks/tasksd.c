/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "bus/bus-names.h"
#include "lib/fd.h"
#include "services/tasks/tasks-bus.h"

#define IDLE_SECONDS 30

#define ACTION_INSPECT "org.crt.tasks.inspect"
#define ACTION_RUN "org.crt.tasks.run"
#define ACTION_KILL "org.crt.tasks.kill"
#define ACTION_DELETE "org.crt.tasks.delete"

static const BusRule rules[] = {
        { CRT_TASKS_INTERFACE, "Create", BUS_POLKIT, ACTION_RUN, "container", .option = "image" },
        { CRT_TASKS_INTERFACE, "Get", BUS_POLKIT, ACTION_INSPECT, "container", BUS_SIBLING_IMAGES },
        { CRT_TASKS_INTERFACE, "List", BUS_POLKIT, ACTION_INSPECT, NULL, BUS_SIBLING_IMAGES },
        { CRT_TASKS_INTERFACE, "References", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTAINER_INTERFACE, "Start", BUS_POLKIT, ACTION_RUN },
        { CRT_CONTAINER_INTERFACE, "Wait", BUS_POLKIT, ACTION_INSPECT },
        { CRT_CONTAINER_INTERFACE, "Kill", BUS_POLKIT, ACTION_KILL },
        { CRT_CONTAINER_INTERFACE, "Delete", BUS_POLKIT, ACTION_DELETE },
        { CRT_CONTAINER_INTERFACE, "ResizeTerminal", BUS_POLKIT, ACTION_RUN },
};

static void *service_free(void *userdata) {
        TasksService *service = userdata;
        sd_event_source_disable_unref(service->exits);
        sd_bus_slot_unref(service->manager_slot);
        object_kind_free(service->containers);
        task_table_free(service->table);
        siblings_free(service->siblings);
        free(service);
        return NULL;
}

/* The socket that supervisors speak to when nobody is connected to them; without systemd there is none. */
static int take_exit_socket(TasksService *service, Fault *fault) {
        int count = sd_listen_fds(/* unset_environment= */ 1);
        if (count == 0)
                return 0;
        if (count != 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0)
                return fault_set(fault, -EINVAL, "what systemd handed over is not crt-tasks.socket");
        int r = exit_notes_listen(daemon_event(service->daemon), SD_LISTEN_FDS_START, service->table,
                                  &service->exits);
        return r < 0 ? fault_set_errno(fault, r, "crt-tasks.socket") : 0;
}

static int open_table(TasksService *service, Fault *fault) {
        TaskTableSpec spec = {
                .event = daemon_event(service->daemon),
                .siblings = service->siblings,
                .state_directory = daemon_open_state_directory(fault),
                .runtime_directory = daemon_open_runtime_directory(fault),
                .observer = { container_on_added, container_on_changed, container_on_gone, service },
        };
        if (spec.state_directory < 0 || spec.runtime_directory < 0) {
                int r = spec.state_directory < 0 ? spec.state_directory : spec.runtime_directory;
                fd_close(spec.state_directory);
                fd_close(spec.runtime_directory);
                return r;
        }
        return task_table_new(&spec, &service->table, fault);
}

static int open_faces(TasksService *service) {
        const ObjectKindSpec containers = {
                .root = CRT_TASKS_PATH,
                .kind = CONTAINER_KIND,
                .interface = CRT_CONTAINER_INTERFACE,
                .vtable = container_vtable,
                .find = container_find,
                .list = container_list,
                .service = service,
        };
        sd_bus *bus = daemon_bus(service->daemon);
        int r = object_kind_new(bus, &containers, &service->containers);
        if (r < 0)
                return r;
        return sd_bus_add_object_vtable(bus, &service->manager_slot, CRT_TASKS_PATH, CRT_TASKS_INTERFACE,
                                        tasks_vtable, service);
}

static int setup(Daemon *daemon, void **ret, Fault *fault) {
        TasksService *service = new0(TasksService, 1);
        if (!service)
                return -ENOMEM;
        service->daemon = daemon;
        int r = siblings_new(daemon_bus(daemon), &service->siblings);
        if (r >= 0)
                r = open_faces(service);
        if (r >= 0)
                r = open_table(service, fault);
        if (r >= 0)
                r = take_exit_socket(service, fault);
        if (r < 0) {
                service_free(service);
                return fault_set_errno(fault, r, "the service of containers");
        }
        *ret = service;
        return 0;
}

static bool is_busy(void *userdata) {
        TasksService *service = userdata;
        return task_table_is_busy(service->table);
}

/* Containers go on; who waits for one has to ask the next process. */
static void stop(void *userdata) {
        TasksService *service = userdata;
        task_table_release_waiters(service->table);
}

int main(int argc, char *argv[]) {
        static const DaemonSpec spec = {
                .program = "crt-tasksd",
                .bus_name = CRT_TASKS_NAME,
                .root_path = CRT_TASKS_PATH,
                .rules = rules,
                .rule_count = ELEMENTS_OF(rules),
                .setup = setup,
                .is_busy = is_busy,
                .stop = stop,
                .free = service_free,
                .idle_seconds = IDLE_SECONDS,
        };
        return daemon_main(&spec, argc, argv);
}
