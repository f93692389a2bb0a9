/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/label.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"

typedef struct UpdateOptions {
        char **labels;
        bool replace;
} UpdateOptions;

static const BusOption update_options[] = {
        { "labels", "a{ss}", offsetof(UpdateOptions, labels) },
        { "replace-labels", "b", offsetof(UpdateOptions, replace) },
};

static int change(ImagesBus *images, const ImageRecord *record, const UpdateOptions *options,
                  sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char *changed[] = { (char *) "Labels", NULL };

        int r = label_check(options->labels, NULL, &fault);
        if (r >= 0)
                r = image_store_change_labels(images->service->images, record, options->labels,
                                              options->replace, &fault);
        if (r == -ENOSPC)
                images_note_failure(images, r);
        if (r < 0) {
                fault_set_errno(&fault, r, "org.crt.Images: the labels of %s can't be written",
                                record->name);
                return bus_error_set_fault(error, r, &fault);
        }
        (void) object_kind_emit_changed(images->images, record->namespace, record->name, changed);
        return 0;
}

int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        UpdateOptions options = { 0 };
        const ImageCall call = { update_options, ELEMENTS_OF(update_options), &options };
        ImageRecord record = { 0 };

        int r = images_find_record(images, message, &call, &record, error);
        if (r >= 0 && !options.labels)
                r = bus_invalid_argument(error, "option 'labels' is missing");
        if (r >= 0)
                r = change(images, &record, &options, error);
        image_record_done(&record);
        strv_free(options.labels);
        return r < 0 ? r : sd_bus_reply_method_return(message, NULL);
}
