/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The methods of org.crt.Content1, one file for each kind of thing: their userdata is a ContentBus. */

#include "bus/job.h"
#include "services/content/content-bus.h"
#include "services/content/content-labels.h"
#include "services/content/lease-bus.h"
#include "services/content/lease-store.h"

typedef struct LeaseCreation LeaseCreation;
typedef struct VerifyJob VerifyJob;

struct ContentBus {
        sd_bus *bus;         /* weak */
        ContentState *state; /* weak */
        IngestTable *table;  /* weak */
        ObjectKind *ingests;
        LeaseTable *leases;
        JobTable *jobs;
        LeaseCreation *creations; /* that wait for systemd */
        VerifyJob *verifications;
        sd_bus_slot *slot;
};

/* ---- arguments, and what went wrong with them ---- */

int content_bus_parse_digest(const char *text, const char *what, Digest *ret, sd_bus_error *error);
int content_bus_read_digest(sd_bus_message *message, Digest *ret, sd_bus_error *error);
/* Labels of an option: -EINVAL and the like as error. */
int content_bus_check_labels(LabelledKind kind, char *const *labels, sd_bus_error *error);
/* The option "lease": the lease names it from now on. NULL: nothing to be done. */
int content_bus_take_lease(ContentBus *content, const char *namespace, const char *lease,
                           const LeaseResource *resource, sd_bus_error *error);
int content_bus_take_lease_of_blob(ContentBus *content, const char *namespace, const char *lease,
                                   const Digest *digest, sd_bus_error *error);

/* ---- blob-bus.c ---- */

int method_open(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_stat(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- ingest-calls-bus.c ---- */

int method_ingest(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_commit(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_abort(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_stat_ingest(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_list_ingests(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- lease-calls-bus.c ---- */

int method_create_lease(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_get_lease(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_list_leases(sd_bus_message *message, void *userdata, sd_bus_error *error);
LeaseCreation *lease_creation_free(LeaseCreation *creation);

/* ---- namespace-bus.c ---- */

int method_stat_namespace(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_update_namespace(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- verify-bus.c ---- */

int method_verify(sd_bus_message *message, void *userdata, sd_bus_error *error);
