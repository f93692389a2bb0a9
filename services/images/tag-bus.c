/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/log.h"
#include "lib/oci-reference.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"

typedef struct TagOptions {
        bool replace;
} TagOptions;

static const BusOption tag_options[] = {
        { "replace", "b", offsetof(TagOptions, replace) },
};

typedef struct TagCall {
        const char *namespace;
        char *name;
        char *source;
        TagOptions options;
} TagCall;

static void tag_call_done(TagCall *call) {
        free(call->name);
        free(call->source);
}

/* A name that says a digest itself stands for that one. */
static int verify_digest(const char *name, const ImageRecord *source, Fault *fault) {
        _cleanup_(oci_reference_done) OciReference reference = { 0 };
        char object[DIGEST_STRING_MAX];
        int r = oci_reference_parse(name, &reference, fault);
        if (r < 0 || !reference.has_digest ||
            string_equal(oci_reference_object(&reference, object), source->digest))
                return r;
        return fault_set(fault, -EINVAL, "%s: %s stands for %s", name, source->name, source->digest);
}

static int tag(ImagesBus *images, const TagCall *call, ImageRecord *ret, Fault *fault) {
        ImageStore *store = images->service->images;
        ImageRecord source = { 0 };

        int r = image_store_get(store, call->namespace, call->source, &source);
        if (r < 0)
                return r == -ENOENT ? fault_set(fault, r, "the namespace %s has no image %s",
                                                call->namespace, call->source)
                                    : r;
        r = verify_digest(call->name, &source, fault);
        if (r >= 0)
                r = image_store_tag(store, &source, call->name, call->options.replace, fault);
        if (r == -EEXIST)
                fault_set(fault, r, "%s is the name of an image already", call->name);
        image_record_done(&source);
        if (r < 0)
                return fault_set_errno(fault, r, "org.crt.Images: the record of %s can't be written",
                                       call->name);
        bool is_replacement = r > 0;
        r = image_store_get(store, call->namespace, call->name, ret);
        ret->is_replacement = is_replacement;
        return r;
}

int method_tag(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(tag_call_done) TagCall call = { .namespace = bus_call_namespace(message) };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *path = NULL;
        ImageRecord record = { 0 };

        int r = images_read_name(message, &call.name, error);
        if (r >= 0)
                r = images_read_name(message, &call.source, error);
        if (r >= 0)
                r = bus_options_read(message, tag_options, ELEMENTS_OF(tag_options), &call.options, error);
        if (r < 0)
                return r;
        r = tag(images, &call, &record, &fault);
        if (r == -ENOSPC)
                images_note_failure(images, r);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        image_object_emit(images, &record);
        log_info("%s is a name of %s in %s now", record.name, record.digest, record.namespace);
        r = object_kind_get_path(images->images, record.namespace, record.name, &path);
        image_record_done(&record);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}
