/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's end of a conversation with a fetch worker: one repository, any number of requests. Freeing it
 * ends the worker. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/fault.h"
#include "services/images/fetch-protocol.h"

typedef struct FetchClient FetchClient;

typedef struct FetchClientSpec {
        const char *host;
        const char *repository;
        const char *username; /* NULL for none, as the password */
        const char *password;
        uint32_t flags; /* FETCH_PLAIN_HTTP, FETCH_LOOPBACK */
        int ca_fd;      /* certificates to trust; -EBADF for the system's */

        /* What the worker says: RESOLVED, PROGRESS, WRITTEN or FAILED. */
        void (*on_message)(const FetchMessage *message, void *userdata);
        /* Once: the worker is gone, and nothing that it had to do will be done. */
        void (*on_lost)(const Fault *fault, void *userdata);
        void *userdata;
} FetchClientSpec;

/* -EHOSTUNREACH with a sentence when no worker can be had. */
int fetch_client_new(sd_event *event, const FetchClientSpec *spec, FetchClient **ret, Fault *fault);
/* May be called from within the callbacks. */
FetchClient *fetch_client_free(FetchClient *client);
DEFINE_CLEANUP(FetchClient *, fetch_client_free);

int fetch_client_resolve(FetchClient *client, uint32_t request, const char *name);

typedef struct FetchGet {
        uint32_t request;
        const char *digest;
        bool is_manifest;
        uint64_t size; /* 0: not known */
        uint64_t offset;
        int fd;  /* borrowed, as the next */
        int tee; /* -EBADF for none */
} FetchGet;
int fetch_client_get(FetchClient *client, const FetchGet *get);
