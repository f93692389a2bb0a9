/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a container leaves in its directory below /run while it lives: who its supervisor is, what runs, how
 * it ended. Small files of KEY=value lines, replaced whole. They outlive every daemon, not the boot. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/macros.h"

/* Names in the directory. */
#define RUN_CONFIG "config.json"
#define RUN_CONTROL "control"       /* the supervisor's listening socket */
#define RUN_CREATING "creating"     /* there as long as Create has not answered */
#define RUN_DELETING "deleting"     /* there from the moment that a deletion cannot be taken back */
#define RUN_SUPERVISOR "supervisor" /* RunProcess, written by the service */
#define RUN_PAYLOAD "payload"       /* RunProcess, written by the supervisor before it tells anyone */
#define RUN_EXIT "exit"             /* RunExit, likewise */

/* A process that cannot be confused with a later one of the same number. */
typedef struct RunProcess {
        pid_t pid;
        uint64_t start_time; /* clock ticks since boot */
        uint64_t started;    /* microseconds since 1970 */
        unsigned bucket;     /* which sub-slice its scope is in */
} RunProcess;

#define RUN_ERROR_MAX 768

typedef struct RunExit {
        int status; /* as a shell shows it */
        uint64_t finished;
        bool out_of_memory;
        bool never_started;        /* status is what a shell would say about the command then */
        char error[RUN_ERROR_MAX]; /* empty unless it could not be started, or its status is unknown */
} RunExit;

/* -ENOENT when there is none, -EBADMSG when it is malformed. */
int run_process_read(int directory, const char *name, RunProcess *ret);
int run_process_write(int directory, const char *name, const RunProcess *process);
int run_exit_read(int directory, RunExit *ret);
int run_exit_write(int directory, const RunExit *record);

/* A process that is the one meant, by pidfd; -ESRCH when it is gone. */
int run_process_open(const RunProcess *process);
/* Fills in the start time. */
int run_process_of(pid_t pid, RunProcess *ret);

uint64_t run_now(void); /* microseconds since 1970 */
