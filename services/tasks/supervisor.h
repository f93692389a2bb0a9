/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The process that stays with a container: it clones the container's init, keeps its output and its
 * terminal, and writes down how it ended. One loop, no heap once the container runs, no library of systemd.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"
#include "services/tasks/run-directory.h"
#include "services/tasks/supervisor-journal.h"
#include "services/tasks/supervisor-protocol.h"

#define SUPERVISOR_CONNECTIONS_MAX 8

typedef struct Supervisor {
        const char *namespace, *id;
        int epoll;
        int directory, cache, listener, signals;
        int connections[SUPERVISOR_CONNECTIONS_MAX]; /* -EBADF: free */

        /* Until the start. */
        int descriptors[SUPERVISOR_DESCRIPTORS_MAX];
        size_t descriptor_count;
        RuntimeConfig *config; /* NULL: why not is in config_fault */
        Fault config_fault;

        /* From the start on. */
        bool gone_on; /* GO was received */
        bool started; /* RUN_PAYLOAD is written */
        int payload;  /* pidfd of the container's init */
        int scope;    /* its cgroup; -EBADF: its controllers are delegated, or need not be */
        uint64_t delegate_at;
        int payload_cgroup;
        int terminal;
        int stop_signal;
        bool stopping;    /* SIGTERM was received */
        uint64_t kill_at; /* CLOCK_MONOTONIC, microseconds; 0: never */
        Journal journal;

        /* From the end on. */
        bool ended; /* RUN_EXIT is written */
        bool seen;
} Supervisor;

/* supervisor-start.c */

/* What can be done before GO. */
void supervisor_prepare(Supervisor *supervisor);
/* Makes and starts the container with the mount and the stdio of GO, which are consumed.
 * When it fails, *ret_status is what a shell would say. */
int supervisor_start(Supervisor *supervisor, const SupervisorMessage *go, int *fds, size_t fd_count,
                     int *ret_status, Fault *fault);

/* supervisor-control.c: connections. */
int supervisor_accept(Supervisor *supervisor);
int supervisor_receive(Supervisor *supervisor, size_t connection);
int supervisor_add_connection(Supervisor *supervisor, int fd);
/* STARTED or EXITED, whichever is the case, to all connections. */
void supervisor_announce(Supervisor *supervisor);
bool supervisor_is_connected(const Supervisor *supervisor);
/* Tells the service through SUPERVISOR_EXIT_SOCKET. */
int supervisor_activate_service(const Supervisor *supervisor);

/* supervisor.c */
typedef enum SupervisorSource {
        SOURCE_SIGNALS,
        SOURCE_LISTENER,
        SOURCE_PAYLOAD,
        SOURCE_JOURNAL,
        SOURCE_STREAM,                                       /* + index */
        SOURCE_CONNECTION = SOURCE_STREAM + JOURNAL_STREAMS, /* + index */
} SupervisorSource;
int supervisor_watch(const Supervisor *supervisor, int fd, uint32_t events, unsigned source);
int supervisor_go(Supervisor *supervisor, const SupervisorMessage *go, int *fds, size_t fd_count);
