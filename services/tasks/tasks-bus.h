/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service: the containers and their faces on the bus. */

#include "bus/daemon.h"
#include "bus/object-kind.h"
#include "services/tasks/siblings-bus.h"
#include "services/tasks/task-table.h"

#define CONTAINER_KIND "container"

typedef struct TasksService {
        Daemon *daemon; /* weak */
        Siblings *siblings;
        TaskTable *table;
        ObjectKind *containers;
        sd_bus_slot *manager_slot;
        sd_event_source *exits; /* SUPERVISOR_EXIT_SOCKET, from systemd */
} TasksService;

/* tasks-bus.c */
extern const sd_bus_vtable tasks_vtable[];

/* references-bus.c */
int method_references(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* container-bus.c; the vtable's userdata is the Task. */
extern const sd_bus_vtable container_vtable[];
int container_find(void *service, const char *namespace, const char *object, void **ret);
int container_list(void *service, ObjectKind *kind);
void container_on_added(Task *task, void *userdata);
void container_on_changed(Task *task, void *userdata);
void container_on_gone(Task *task, void *userdata);
/* All properties as the entries of an a{sv}. */
int container_append_properties(sd_bus_message *message, const Task *task);

/* exit-notes.c: what supervisors say that nobody was connected to. */
int exit_notes_listen(sd_event *event, int fd, TaskTable *table, sd_event_source **ret);
