/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The transient scope of a container: its name, the slice that it is in, its limits, where its cgroup is. */

#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"

/* A scope's cost in PID 1 grows with the number of its siblings, so that there are never more than these. */
#define SCOPE_SIBLINGS_MAX 64

#define SCOPE_NAME_MAX 256
#define SCOPE_SLICE_MAX 32

typedef struct ScopeLimits {
        uint64_t memory_max; /* bytes; 0: none */
        uint64_t tasks_max;  /* 0: none */
        uint64_t cpu_quota;  /* per cent of one CPU; 0: none */
} ScopeLimits;

typedef struct ScopeSpec {
        const char *namespace, *id;
        unsigned bucket;
        pid_t process; /* which is moved there */
        ScopeLimits limits;
} ScopeSpec;

/* "crt-<namespace>-<id>.scope", the namespace escaped so that no two containers share one. -EINVAL if that
 * is too long for a unit: with many dashes in the namespace, each of which takes four characters. */
int scope_name(const char *namespace, const char *id, char ret[SCOPE_NAME_MAX]);
/* "crt-<bucket>.slice" */
const char *scope_slice(unsigned bucket, char ret[SCOPE_SLICE_MAX]);
/* Below the root of the cgroup hierarchy. */
int scope_cgroup_open(const char *namespace, const char *id, unsigned bucket, const char *child);

/* -EOPNOTSUPP with a sentence that names the limit which no controller of this machine can enforce;
 * controllers is the text of cgroup.controllers. */
int scope_check_limits(const ScopeLimits *limits, const char *controllers, Fault *fault);
/* Of this machine. */
int scope_read_controllers(char **ret);

/* How many scopes are in each slice. */
typedef struct ScopeBuckets {
        unsigned *counts;
        size_t count;
} ScopeBuckets;
/* The first one with room. */
int scope_buckets_take(ScopeBuckets *buckets, unsigned *ret);
/* One that is known to be in use, from an earlier run of the service. */
int scope_buckets_take_known(ScopeBuckets *buckets, unsigned bucket);
void scope_buckets_give_back(ScopeBuckets *buckets, unsigned bucket);
void scope_buckets_done(ScopeBuckets *buckets);
