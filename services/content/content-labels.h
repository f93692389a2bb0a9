/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The labels (lib/label.h) of blobs in a namespace, of leases, and of ingests, which give them to their
 * blob. They go with the record that has them. */

#include "services/content/content-state.h"

/* A blob with this label is given to every namespace that can name its digest. */
#define LABEL_SHAREABLE "org.crt.shareable"

/* The numbers stand in the database. */
typedef enum LabelledKind {
        LABELLED_BLOB = 0,   /* its digest */
        LABELLED_LEASE = 1,  /* its id */
        LABELLED_INGEST = 2, /* its reference */
} LabelledKind;

typedef struct Labelled {
        LabelledKind kind;
        const char *namespace;
        const char *object;
} Labelled;

/* As label_check(), with the reserved keys that things of that kind have. */
int content_labels_check(LabelledKind kind, char *const *labels, Fault *fault);

/* "KEY=value" in the order of the keys; NULL if there are none. */
int content_labels_read(ContentState *state, const Labelled *labelled, char ***ret);

/* It has exactly these: 1 or 0. */
int content_labels_are(ContentState *state, const Labelled *labelled, char *const *labels, Fault *fault);

/* As label_change(); within a transaction of the caller's. */
int content_labels_change(ContentState *state, const Labelled *labelled, char *const *changes, bool replace,
                          Fault *fault);

/* Calls visit() for up to limit labels of that kind whose keys begin with "org.crt.", behind that one (NULL:
 * from the first), ordered by what has them and key: for the collection. 1 if there may be more. Nothing may
 * be written meanwhile. */
typedef struct LabelPlace {
        Labelled labelled;
        const char *key;
} LabelPlace;
typedef int (*LabelVisit)(const LabelPlace *place, const char *value, void *userdata);
int content_labels_visit_reserved(ContentState *state, LabelledKind kind, const LabelPlace *after,
                                  uint32_t limit, LabelVisit visit, void *userdata);
