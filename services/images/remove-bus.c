/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/bus-error.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"
#include "services/images/tidy.h"

/* The call is answered when all that can go is gone. */
static void on_tidied(void *userdata) {
        sd_bus_message *message = userdata;
        (void) sd_bus_reply_method_return(message, NULL);
        sd_bus_message_unref(message);
}

typedef struct RemoveOptions {
        const char *digest;
} RemoveOptions;

static const BusOption remove_options[] = {
        { "digest", "s", offsetof(RemoveOptions, digest) },
};

int method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        ImageRecord record = { 0 };

        RemoveOptions options = { 0 };
        const ImageCall call = { remove_options, ELEMENTS_OF(remove_options), &options };
        int r = images_find_record(images, message, &call, &record, error);
        if (r < 0)
                return r;
        if (options.digest && !string_equal(options.digest, record.digest)) {
                r = sd_bus_error_setf(error, bus_error_name(-EBUSY), "%s stands for %s", record.name,
                                      record.digest);
                image_record_done(&record);
                return r;
        }
        r = image_store_remove(images->service->images, record.namespace, record.name);
        if (r >= 0) {
                (void) object_kind_emit_removed(images->images, record.namespace, record.name);
                log_info("removed %s from %s", record.name, record.namespace);
        }
        image_record_done(&record);
        if (r >= 0)
                r = tidy_request(images->service->tidy, on_tidied, sd_bus_message_ref(message));
        if (r == -ENOSPC)
                images_note_failure(images, r);
        return r < 0 ? bus_error_set_fault(error, r, NULL) : 1;
}
