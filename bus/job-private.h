/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A job as job.c keeps it and job-bus.c shows it. */

#include "bus/job.h"
#include "bus/object-kind.h"
#include "bus/peer.h"

typedef struct JobPartState {
        char *id;
        char *kind;
        const char *state;
        uint64_t done;
        uint64_t total;
} JobPartState;

typedef enum JobState {
        JOB_RUNNING,
        JOB_DONE,
        JOB_FAILED,
        JOB_CANCELLED,
        _JOB_STATE_MAX,
        _JOB_STATE_INVALID = -22,
} JobState;

typedef struct JobWaiter {
        struct JobWaiter *next;
        Job *job; /* weak */
        sd_bus_message *message;
        PeerWatch *watch;
} JobWaiter;

struct JobTable {
        sd_bus *bus;
        ObjectKind *objects;
        Job *jobs;
        uint64_t next_number;
};

struct Job {
        Job *next;
        JobTable *table; /* weak */
        char *number;
        JobSpec spec; /* its strings are the ones below */
        char *namespace, *verb, *object, *work;
        JobState state;
        const char *phase;
        JobPartState *parts;
        size_t part_count;
        char **result; /* KEY=value */
        int error;
        Fault fault;
        uint64_t started, finished; /* microseconds since 1970 */
        bool cancelling;
        char **changed; /* properties that are to be announced */
        bool announced; /* within the last fifth of a second */
        sd_event_source *timer;
        JobWaiter *waiters; /* Wait and Cancel calls to be answered at the end */
        size_t waiter_count;
        QuotaHold *hold;
};

const char *job_state_to_string(JobState state);
void job_free(Job *job);

/* job-bus.c */
extern const sd_bus_vtable job_vtable[];
void job_reply(Job *job, sd_bus_message *message);
void job_waiter_free(JobWaiter *waiter);
