/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What Tasks asks of others, without waiting: images of Images, trees of Snapshots, scopes of systemd. A
 * call to Images or Snapshots that ended before they answered is repeated; so it may have been done twice.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/tasks/scope.h"

typedef struct Siblings Siblings;

/* A call under way. Freed by its holder, at any time, also from within the answer; then nothing is answered.
 */
typedef struct SiblingCall SiblingCall;
SiblingCall *sibling_call_free(SiblingCall *call);
DEFINE_CLEANUP(SiblingCall *, sibling_call_free);

typedef struct ResolvedImage {
        char *name, *digest, *chain_id;
        char *user, *working_directory, *stop_signal;
        char **environment, **entrypoint, **command;
} ResolvedImage;

typedef struct SiblingAnswer {
        ResolvedImage image; /* of resolve */
        int mount;           /* of mount: take it with TAKE_FD() */
} SiblingAnswer;

/* r is 0 or a negative errno with the other's sentence. */
typedef void (*SiblingReply)(int r, SiblingAnswer *answer, const Fault *fault, void *userdata);

typedef struct SiblingReceiver {
        SiblingReply reply;
        void *userdata;
} SiblingReceiver;

int siblings_resolve(Siblings *siblings, const char *namespace, const char *image,
                     const SiblingReceiver *receiver, SiblingCall **ret);

typedef struct SiblingTree {
        const char *namespace, *key, *parent;
        uint64_t size_max; /* of what is written to it; 0: no limit */
} SiblingTree;

int siblings_prepare(Siblings *siblings, const SiblingTree *tree, const SiblingReceiver *receiver,
                     SiblingCall **ret);
int siblings_remove(Siblings *siblings, const char *namespace, const char *key,
                    const SiblingReceiver *receiver, SiblingCall **ret);
int siblings_mount(Siblings *siblings, const char *namespace, const char *key, bool is_volatile,
                   const SiblingReceiver *receiver, SiblingCall **ret);
/* Answers when the scope is there and the process in it. */
int siblings_start_scope(Siblings *siblings, const ScopeSpec *spec, const SiblingReceiver *receiver,
                         SiblingCall **ret);
/* Without an answer; there may be none. */
void siblings_stop_scope(Siblings *siblings, const char *namespace, const char *id);
