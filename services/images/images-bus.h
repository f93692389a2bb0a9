/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Images1 on the bus, and the objects below it. */

#include <systemd/sd-bus.h>

#include "bus/call-gate.h"
#include "bus/job.h"
#include "bus/object-kind.h"
#include "bus/options.h"
#include "services/images/image-service.h"
#include "services/images/turn-queue.h"

typedef struct ResolveCall ResolveCall;

typedef struct ImagesBus {
        sd_bus *bus;           /* weak */
        ImageService *service; /* weak */
        JobTable *transfers;
        ObjectKind *images;
        ImageRecord found;  /* what find() found last: the object whose properties are being read */
        CallGate *gate;     /* while a collection holds */
        TurnQueue *readers; /* of configs that calls to Resolve wait for */
        ResolveCall *resolves;
        uint64_t full_disk_seen; /* when that led to a collection; 0: never */
        sd_bus_slot *slot;
} ImagesBus;

int images_bus_new(sd_bus *bus, ImageService *service, ImagesBus **ret);
ImagesBus *images_bus_free(ImagesBus *images);
DEFINE_CLEANUP(ImagesBus *, images_bus_free);

/* For the parts of this face. */
int images_read_name(sd_bus_message *message, char **ret, sd_bus_error *error);
/* The image that a call names, whose other options are read as well. */
typedef struct ImageCall {
        const BusOption *options;
        size_t option_count;
        void *values;
} ImageCall;
int images_find_record(ImagesBus *images, sd_bus_message *message, const ImageCall *call, ImageRecord *ret,
                       sd_bus_error *error);

/* image-object-bus.c: org.crt.Images1.Image */
int image_objects_new(ImagesBus *images);
/* The properties of an image as entries of an a{sv}. */
int image_append_properties(sd_bus_message *message, const ImageRecord *record);
void image_object_emit(ImagesBus *images, const ImageRecord *record);

/* resolve-bus.c: for the end of the daemon. */
void resolve_calls_free(ImagesBus *images);

/* full-disk-bus.c: a transfer has failed, or a change of the names. If that is because there is no room,
 * what nothing needs is collected, at most once in ten minutes. */
void images_note_failure(ImagesBus *images, int error);

/* transfer-bus.c, resolve-bus.c, remove-bus.c, update-bus.c, tag-bus.c, collect-bus.c, why-bus.c */
int method_pull(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_resolve(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_tag(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_collect(sd_bus_message *message, void *userdata, sd_bus_error *error);
/* What Collect and Plan have in common. */
typedef struct CollectRequest {
        const char *namespace; /* NULL: all */
        uint64_t older_than;   /* microseconds */
        bool wait;             /* for the end, before the call is answered */
} CollectRequest;
int collect_read_options(sd_bus_message *message, bool may_wait, CollectRequest *ret, sd_bus_error *error);
int method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error);
int method_why(sd_bus_message *message, void *userdata, sd_bus_error *error);
