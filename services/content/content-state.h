/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the content store keeps on disk: blobs/<algorithm>/<first two digits>/<digits>, ingest/<number>.data
 * with ingest/<number>.state beside it, and content.db, which says what of that counts. */

#include <stdbool.h>

#include "lib/database.h"
#include "lib/digest.h"
#include "lib/store-reserve.h"
#include "lib/fault.h"

/* How many directories for blobs of an algorithm have been made, and how many of these are on the disk for
 * sure: what an earlier process made counts as one that is not. */
typedef struct ContentDirectories {
        uint64_t made;
        uint64_t synced;
} ContentDirectories;

typedef struct ContentState {
        int blobs;   /* directory */
        int ingests; /* directory */
        ContentDirectories directories[_DIGEST_ALGORITHM_MAX];
        Database *database;
        StoreReserve reserve;
        uint64_t bytes_per_user; /* how many bytes of blobs the namespace of a user may have */

        /* Told of each blob that comes into a namespace, is asked for again by who would send it, or is
         * leased: a collection that is under way leaves it. NULL: nobody asks. */
        void (*touched)(const char *namespace, const Digest *digest, void *userdata);
        /* Told when a label or a lease has come that may keep something. NULL as well. */
        void (*changed)(void *userdata);
        void *touched_userdata; /* of both */

        /* Files that their owner may write to in this moment. */
        struct BlobSealing *sealing;

        /* A collection removes things in this moment, here or elsewhere: what would keep some waits. */
        bool held;
        struct ContentWaiter *waiters;

        /* Whether the bytes of that digest have just got their place and have no record yet. NULL: none. */
        bool (*placing)(const Digest *digest, void *userdata);
        void *placing_userdata;
} ContentState;

/* Part of whatever waits. */
typedef struct ContentWaiter {
        struct ContentWaiter *next;
        ContentState *state; /* weak; NULL: it does not wait */
        void (*run)(void *userdata);
        void *userdata;
} ContentWaiter;

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
void content_state_note_change(const ContentState *state);

bool content_state_is_placing(const ContentState *state, const Digest *digest);

/* run() is called when nothing is held any longer. */
void content_state_wait(ContentState *state, ContentWaiter *waiter, void (*run)(void *userdata),
                        void *userdata);
/* It waits no longer, if it did. */
void content_waiter_done(ContentWaiter *waiter);
void content_state_hold(ContentState *state, bool held);

/* Microseconds since 1970. */
uint64_t content_now(void);

/* Calls visit() for each name in a directory but "." and "..", until it returns a negative value. */
typedef int (*DirectoryVisit)(int directory, const char *name, void *userdata);
int content_visit_directory(int directory, DirectoryVisit visit, void *userdata);
