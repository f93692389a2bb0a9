/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A pull: from a reference to blobs in Content, snapshots in Snapshots, and at last a name. */

#include "lib/oci-platform.h"
#include "lib/oci-reference.h"
#include "services/images/image-service.h"

typedef struct TransferPart {
        const char *id;
        const char *kind;
        uint64_t total;
} TransferPart;

/* How a transfer tells what it does. */
typedef struct TransferObserver {
        void (*on_phase)(const char *phase, void *userdata);
        void (*on_parts)(const TransferPart *parts, size_t count, void *userdata);
        void (*on_progress)(size_t part, const char *state, uint64_t done, void *userdata);
        /* Once: r is 0 and there is a record, or r is negative and there is a fault. The transfer is gone
         * afterwards. */
        void (*on_end)(int r, const Fault *fault, const ImageRecord *record, void *userdata);
} TransferObserver;

typedef struct TransferSpec {
        const char *namespace;
        const char *name; /* of the image, when it is done */
        const OciReference *reference;
        const OciPlatform *platform;
        bool unpack;
        bool plain_http;
        const char *username; /* NULL for none */
        const char *password;
        int ca_fd; /* borrowed; -EBADF for none */
        const TransferObserver *observer;
        void *userdata;
} TransferSpec;

int transfer_new(ImageService *service, const TransferSpec *spec, Transfer **ret);
/* Begins. The observer may be told the end at once. */
void transfer_start(Transfer *transfer);
/* Leads to on_end(-ECANCELED), at once or later. */
void transfer_cancel(Transfer *transfer);
/* Without telling anybody, leaving everything as it is: for the end of the daemon. */
Transfer *transfer_free(Transfer *transfer);

/* Some transfer that is under way works in that unfinished snapshot. */
bool transfer_owns_key(const ImageService *service, const char *namespace, const char *key);

/* Looks whether it can go on. Must be the last thing that an event handler does with a transfer, which may
 * be gone afterwards. */
void transfer_advance(Transfer *transfer);
