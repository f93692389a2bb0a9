/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/bus-error.h"
#include "lib/log.h"
#include "services/images/images-bus.h"
#include "services/images/sweep.h"

/* The call is answered when all that can go is gone. */
static void on_swept(void *userdata) {
        sd_bus_message *message = userdata;
        (void) sd_bus_reply_method_return(message, NULL);
        sd_bus_message_unref(message);
}

int method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(sweep_freep) Sweep *sweep = NULL;
        ImageRecord record = { 0 };

        int r = images_find_record(images, message, &record, error);
        if (r < 0)
                return r;
        r = sweep_new(images->service, &sweep);
        if (r >= 0)
                r = image_store_remove(images->service->images, record.namespace, record.name);
        if (r >= 0) {
                (void) object_kind_emit_removed(images->images, record.namespace, record.name);
                log_info("removed %s from %s", record.name, record.namespace);
                r = sweep_add_garbage(sweep);
        }
        image_record_done(&record);
        if (r < 0)
                return bus_error_set_fault(error, r, NULL);
        sweep_start(TAKE_PTR(sweep), on_swept, sd_bus_message_ref(message));
        return 1;
}
