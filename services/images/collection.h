/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One garbage collection: an epoch in Snapshots and Content, a survey, and what nothing was found to need
 * handed back to its owners, some at a time. While they remove it they hold, and so does Images: nothing can
 * become needed in that moment. What has become so since the survey is found by another one of what keeps
 * things, which goes before.
 *
 * One runs, others wait for their turn; they have no epoch then, and have looked at nothing. Those of
 * noted garbage are small, and do not wait. */

#include "services/images/image-service.h"

typedef struct CollectionCount {
        uint64_t things;
        uint64_t bytes;
} CollectionCount;

/* In the order in which they go. */
typedef enum CollectionPart {
        COLLECTION_SNAPSHOTS,
        COLLECTION_BLOBS,
        _COLLECTION_PART_MAX,
        _COLLECTION_PART_INVALID = -22,
} CollectionPart;

typedef struct CollectionObserver {
        void (*on_phase)(const char *phase, void *userdata);
        /* What is to go; again, if it has to begin anew. */
        void (*on_plan)(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata);
        void (*on_progress)(CollectionPart part, const CollectionCount *gone, void *userdata);
        /* An image whose time was over. */
        void (*on_image)(const char *namespace, const char *name, void *userdata);
        /* Once; the collection is gone afterwards. */
        void (*on_end)(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                       void *userdata);
} CollectionObserver;

typedef struct CollectionSpec {
        bool noted;            /* only what image_store_list_garbage() tells of */
        const char *namespace; /* NULL: all */
        uint64_t older_than;   /* microseconds: what is younger stays */
        const CollectionObserver *observer;
        void *userdata;
} CollectionSpec;

int collection_new(ImageService *service, const CollectionSpec *spec, Collection **ret);
/* Begins, or waits for its turn. The observer may be told the end at once. */
void collection_start(Collection *collection);
/* Leads to on_end(-ECANCELED), at once or later. What has gone has gone. */
void collection_cancel(Collection *collection);
/* Too many calls wait for those that hold: they let go, and begin anew. */
void collection_let_go(ImageService *service);
/* Without telling anybody: for the end of the daemon. */
Collection *collection_free(Collection *collection);
