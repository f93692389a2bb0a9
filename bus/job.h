/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Long work as an object (introspection/org.crt.Images1.Transfer.xml): any authorized client can watch it,
 * join it, wait for it and cancel it; its outcome stays readable for a minute after the end. At most five
 * PropertiesChanged a second.
 *
 * The life of one: job_new(), or job_start() → job_set_parts() once the parts are known →
 * job_part_progress()… → job_finish() exactly once. cancel() is called at most once, and must lead to
 * job_finish(-ECANCELED), at once or later. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/quota.h"
#include "lib/fault.h"

typedef struct Job Job;
typedef struct JobTable JobTable;

/* One for each service: kind "transfer" (in object paths), interface "org.crt.Images1.Transfer". The
 * service's rules table has Wait (inspect) and Cancel (the action that began it) of that interface. */
int job_table_new(sd_bus *bus, const char *root_path, const char *kind, const char *interface,
                  JobTable **ret);
JobTable *job_table_free(JobTable *table);
DEFINE_CLEANUP(JobTable *, job_table_free);
/* Jobs that are not done yet, or whose outcome is still kept. */
bool job_table_is_busy(const JobTable *table);
/* A running job for the same work in that namespace, to be joined: work is the key given at job_new(). NULL
 * if there is none. */
Job *job_table_find_running(JobTable *table, const char *namespace, const char *work);
/* Who began the job of that object: 1 and the user, or 0. */
int job_table_owner_of(JobTable *table, const char *namespace, const char *object, uid_t *ret);
/* Cancels all that run: for the daemon's stop. */
void job_table_cancel_all(JobTable *table);

typedef void (*JobCancel)(Job *job, void *userdata);

typedef struct JobSpec {
        const char *namespace;
        const char *verb;   /* "pull", "unpack" */
        const char *object; /* what it is about: reference, snapshot key */
        const char *work;   /* equal work is joined; NULL: never */
        uid_t owner;        /* its share of jobs is charged */
        QuotaKind quota;
        JobCancel cancel;
        void *userdata;
} JobSpec;

/* The table owns the job; the pointer is valid until job_finish() has been called. -EDQUOT beyond the
 * owner's share. */
int job_new(JobTable *table, const JobSpec *spec, Job **ret);
typedef struct JobPart {
        const char *id;   /* usually a digest */
        const char *kind; /* "manifest", "config", "layer" … */
        uint64_t total;   /* bytes; 0 when unknown */
} JobPart;

/* Such a job with one part and what does its work, for a method that answers with the job. start() may
 * refuse: then the job ends before anybody has seen it, and the error is the method's. userdata of the
 * specification is start()'s as well, and stays the caller's if this fails. */
typedef struct JobBeginning {
        JobSpec spec;
        JobPart part;
        const char *phase; /* of the job and of the part; NULL: it waits first */
        int (*start)(Job *job, void *userdata, Fault *fault);
} JobBeginning;
int job_start(JobTable *table, const JobBeginning *beginning, char **ret_path, sd_bus_error *error);
/* Its object path, a fresh string. */
int job_get_path(const Job *job, char **ret);
void *job_userdata(const Job *job);

/* The table of parts, announced once, as early as its length is known. state is "waiting". */
int job_set_parts(Job *job, const JobPart *parts, size_t count);
/* state: "waiting", "downloading", "verifying", "unpacking", "done", "exists"; NULL leaves it. */
void job_part_progress(Job *job, size_t part, const char *state, uint64_t done);
/* What is being done, in one word: "resolving", "downloading", "unpacking" … */
void job_set_phase(Job *job, const char *phase);

/* One entry of the Result dictionary. */
int job_set_result(Job *job, const char *key, const char *value);

/* As the method Cancel does. */
void job_cancel(Job *job);

/* Ends it: r >= 0 done, -ECANCELED cancelled, else failed with this fault. Answers everybody who waits. */
void job_finish(Job *job, int r, const Fault *fault);
