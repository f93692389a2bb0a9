/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all transfers and removals of the daemon share. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "services/images/claim-table.h"
#include "services/images/image-store.h"
#include "services/images/store-client.h"

typedef struct Collection Collection;
typedef struct Tidy Tidy;
typedef struct Transfer Transfer;

typedef struct ImageService {
        sd_event *event; /* weak, like the next */
        StoreClient *stores;
        ImageStore *images;
        ClaimTable *claims;
        Tidy *tidy;
        Transfer *transfers;
        Collection *collections; /* the first one runs */
        Collection *tidyings;    /* all of them do */
        unsigned sweeps;         /* under way */
        unsigned surveys;        /* as well */
        unsigned unpacks;        /* of layers that are there, in all transfers */
        unsigned tees;           /* of layers that are still being fetched */
        bool released;           /* something that a transfer may wait for is free again */
        bool poking;
        /* Calls that may make something needed wait until it is called with false; NULL in tests. */
        void (*hold)(bool hold, void *userdata);
        void *hold_userdata;
} ImageService;

/* What claims and garbage call things. */
#define THING_BLOB "blob"
#define THING_SNAPSHOT "snapshot"

/* Lets every transfer look again whether it can go on, if something was released. Last thing in an event
 * handler. */
void image_service_poke(ImageService *service);
