/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What Images asks of Content, Snapshots and Tasks. Every call is asynchronous, and waits as long as it
 * takes. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct StoreClient StoreClient;
typedef struct StoreCall StoreCall;

typedef enum StoreMethod {
        STORE_CONTENT_STAT,   /* name → size */
        STORE_CONTENT_OPEN,   /* name → fd, size */
        STORE_CONTENT_INGEST, /* name (of the ingest), digest, size or 0 and at_most → fd, size (the offset)
                               */
        STORE_CONTENT_COMMIT,   /* name of the ingest → size */
        STORE_CONTENT_ABORT,    /* name of the ingest */
        STORE_SNAPSHOT_STAT,    /* name → text: its state */
        STORE_SNAPSHOT_PREPARE, /* name */
        STORE_SNAPSHOT_UNPACK, /* name, fd, digest (the DiffID), compression, size or 0 → text (the job) */
        STORE_SNAPSHOT_COMMIT, /* name (the key), digest (the ChainID: its name from then on), parent or NULL
                                */
        STORE_SNAPSHOT_REMOVE, /* name */
        STORE_SNAPSHOT_LIST,   /* name: behind this key → names, a page of them */
        STORE_JOB_WAIT,        /* name: the job's path */
        STORE_JOB_CANCEL,      /* name */
        /* Of collections, of all namespaces: name is not used. */
        STORE_CONTENT_BEGIN,     /* → size: the epoch */
        STORE_CONTENT_INVENTORY, /* roots, size: the epoch, or 0 → fd */
        STORE_CONTENT_HOLD,      /* size: the epoch → changed */
        STORE_CONTENT_SWEEP,     /* size: the epoch, fd → count, size: bytes, seen */
        STORE_CONTENT_RELEASE,   /* size: the epoch */
        STORE_CONTENT_END,       /* size: the epoch */
        STORE_SNAPSHOT_BEGIN,    /* as these six */
        STORE_SNAPSHOT_INVENTORY,
        STORE_SNAPSHOT_HOLD,
        STORE_SNAPSHOT_SWEEP,
        STORE_SNAPSHOT_RELEASE,
        STORE_SNAPSHOT_END,
        STORE_TASK_REFERENCES, /* → fd */
        _STORE_METHOD_MAX,
        _STORE_METHOD_INVALID = -22,
} StoreMethod;

typedef struct StoreArguments {
        StoreMethod method;
        const char *namespace;
        const char *name;
        const char *digest;
        const char *parent;
        const char *compression;
        uint64_t size;
        uint64_t at_most;
        bool roots;     /* only what keeps things */
        int fd;         /* borrowed; -EBADF if there is none */
        unsigned delay; /* milliseconds to wait before it is asked */
} StoreArguments;

typedef struct StoreReply {
        int r; /* 0, or a negative errno as in lib/fault.h */
        Fault fault;
        int fd; /* closed after the callback, unless it was taken */
        uint64_t size;
        uint32_t count;
        uint32_t seen;
        int changed; /* a boolean */
        char *text;
        char **names;
} StoreReply;

typedef void (*StoreDone)(StoreReply *reply, void *userdata);

/* done() is called later, once, unless the call was freed; the call is gone when it is called. */
int store_call_new(StoreClient *client, const StoreArguments *arguments, StoreDone done, void *userdata,
                   StoreCall **ret);
/* The answer is of no interest any more; what was asked may happen all the same. */
StoreCall *store_call_free(StoreCall *call);
DEFINE_CLEANUP(StoreCall *, store_call_free);
