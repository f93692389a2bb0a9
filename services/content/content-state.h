/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the content store keeps on disk: blobs/<algorithm>/<first two digits>/<digits>, ingest/<number>.data
 * with ingest/<number>.state beside it, and content.db, which says what of that counts. */

#include "lib/database.h"
#include "lib/digest.h"
#include "lib/fault.h"

typedef struct ContentState {
        int blobs;   /* directory */
        int ingests; /* directory */
        Database *database;

        /* Told of each blob that comes into a namespace, is asked for again by who would send it, or is
         * leased: a collection that is under way leaves it. NULL: nobody asks. */
        void (*touched)(const char *namespace, const Digest *digest, void *userdata);
        void *touched_userdata;

        /* Whether the bytes of that digest have just got their place and have no record yet. NULL: none. */
        bool (*placing)(const Digest *digest, void *userdata);
        void *placing_userdata;
} ContentState;

int content_state_open(int directory, ContentState **ret, Fault *fault);
ContentState *content_state_free(ContentState *state);
DEFINE_CLEANUP(ContentState *, content_state_free);

/* What need only outlive this process, not the machine's power: a transaction between these two is not
 * synced. The next one outside is, and everything before it with it. */
void content_state_relax(ContentState *state);
void content_state_unrelax(ContentState *state);

/* For a local variable that ends the relaxed part. */
static inline void content_state_unrelaxp(ContentState **state) {
        if (*state)
                content_state_unrelax(*state);
}

void content_state_touch(const ContentState *state, const char *namespace, const Digest *digest);

bool content_state_is_placing(const ContentState *state, const Digest *digest);

/* Microseconds since 1970. */
uint64_t content_now(void);

/* Calls visit() for each name in a directory but "." and "..", until it returns a negative value. */
typedef int (*DirectoryVisit)(int directory, const char *name, void *userdata);
int content_visit_directory(int directory, DirectoryVisit visit, void *userdata);
