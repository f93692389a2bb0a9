/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Leases: who keeps what from being collected, and until when. A lease may name things that do not exist, or
 * not yet, and things of other services. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "services/content/content-state.h"

/* With whose life it ends. */
typedef enum LeaseBinding {
        LEASE_UNBOUND,
        LEASE_BOUND_CALLER,  /* owner: unique name; proof: the bus's id */
        LEASE_BOUND_UNIT,    /* owner: unit; proof: invocation id */
        LEASE_BOUND_PROCESS, /* owner: pid; proof: of lease-process.h */
        _LEASE_BINDING_MAX,
        _LEASE_BINDING_INVALID = -22,
} LeaseBinding;

/* "", "caller", "unit", "process" */
const char *lease_binding_to_string(LeaseBinding binding);
LeaseBinding lease_binding_from_string(const char *name);

typedef struct Lease {
        int64_t number; /* never used again */
        char *namespace;
        char *id;
        uint64_t created; /* microseconds since 1970 */
        uint64_t until;   /* 0: no deadline; with its label LABEL_GC_EXPIRE, the first of both */
        bool flat;        /* keeps what it names, and not what that refers to */
        LeaseBinding binding;
        char *owner; /* NULL: unbound */
        char *proof; /* tells this owner from a later one of that name */
        uid_t uid;   /* who made it, and whose share it counts against */
} Lease;

void lease_done(Lease *lease);

/* Gives lease its number and the time. limited: the user has a share only. -EEXIST, -EDQUOT. */
int lease_add(ContentState *state, Lease *lease, char *const *labels, bool limited, Fault *fault);
/* -ENOENT if there is none or its time is over. */
int lease_find(ContentState *state, const char *namespace, const char *id, Lease *ret);
int lease_find_number(ContentState *state, int64_t number, Lease *ret);

typedef struct LeaseChange {
        char *const *labels;
        bool replace_labels;
        bool has_until;
        uint64_t until; /* 0: none from now on */
} LeaseChange;
/* lease->until is what it is then. */
int lease_update(ContentState *state, Lease *lease, const LeaseChange *change, Fault *fault);
/* When a lease ends that was to end then and has these labels. */
uint64_t lease_until(uint64_t asked, char *const *labels);
int lease_remove(ContentState *state, const Lease *lease);

/* Some of those whose time is over, in one transaction: how many, and they themselves. None: nothing is
 * written. */
#define LEASES_PER_TURN 16
int lease_remove_expired(ContentState *state, uint64_t now, Lease ret[LEASES_PER_TURN]);
/* How many a user has. */
int lease_count_of(ContentState *state, uid_t uid);

/* Calls visit() for each until it returns something else than 0, and returns that; what it takes out of the
 * lease is its own. Nothing may be written meanwhile. */
typedef int (*LeaseVisit)(Lease *lease, void *userdata);
/* Those of a namespace whose time is not over behind that id, by id. */
int lease_visit(ContentState *state, const char *namespace, const char *after, LeaseVisit visit,
                void *userdata);
int lease_visit_all(ContentState *state, LeaseVisit visit, void *userdata);
int lease_visit_bound(ContentState *state, LeaseVisit visit, void *userdata);
/* The next deadline that there is; 0: none. */
int lease_next_deadline(ContentState *state, uint64_t *ret);

/* ---- what it names ---- */

#define LEASE_CONTENT "content"   /* digest */
#define LEASE_INGEST "ingest"     /* reference */
#define LEASE_IMAGE "image"       /* name */
#define LEASE_SNAPSHOT "snapshot" /* key or name */

typedef struct LeaseResource {
        const char *type;
        const char *name;
} LeaseResource;

int lease_resource_check(const LeaseResource *resource, Fault *fault);

/* What is there already may be added, what is not there may be removed: all of them or none. -EDQUOT beyond
 * LIMIT_LEASE_RESOURCES, and LIMIT_LEASE_RESOURCES_PER_UID of whose lease it is. */
int lease_add_resources(ContentState *state, const Lease *lease, const LeaseResource *resources,
                        size_t count, Fault *fault);
int lease_remove_resources(ContentState *state, const Lease *lease, const LeaseResource *resources,
                           size_t count);

/* Ordered by type and name, behind after (NULL: all). As lease_visit(). */
typedef int (*LeaseResourceVisit)(const LeaseResource *resource, void *userdata);
int lease_visit_resources(ContentState *state, const Lease *lease, const LeaseResource *after,
                          LeaseResourceVisit visit, void *userdata);

/* For the collection: all that leases name whose time is not over. */
typedef struct LeasedThing {
        const char *namespace;
        const char *id;
        bool flat;
        LeaseResource resource;
} LeasedThing;
int lease_visit_things(ContentState *state, int (*visit)(const LeasedThing *thing, void *userdata),
                       void *userdata);

/* Some lease of the namespace names it: 1 or 0. */
int lease_holds(ContentState *state, const char *namespace, const LeaseResource *resource);

/* The option "lease" of a call: the lease of that id names it from now on. -ENOENT with a sentence. */
int lease_take(ContentState *state, const char *namespace, const char *id, const LeaseResource *resource,
               Fault *fault);
int lease_drop(ContentState *state, const char *namespace, const char *id, const LeaseResource *resource);

/* An ingest has become a blob: leases that named the one name the other. In a transaction of the caller's.
 */
int lease_follow_ingest(ContentState *state, const char *namespace, const char *reference,
                        const Digest *digest);
