/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/images-bus.h"

#include <errno.h>
#include <string.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "lib/limits.h"
#include "lib/oci-reference.h"
#include "lib/strv.h"

/* The first argument as an image's full name. */
int images_read_name(sd_bus_message *message, char **ret, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        OciReference reference = { 0 };
        const char *text;

        int r = sd_bus_message_read(message, "s", &text);
        if (r < 0)
                return r;
        r = oci_reference_parse(text, &reference, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        *ret = TAKE_PTR(reference.name);
        oci_reference_done(&reference);
        return 0;
}

/* A name and options without keys of their own. */
int images_find_record(ImagesBus *images, sd_bus_message *message, ImageRecord *ret, sd_bus_error *error) {
        _cleanup_free_ char *name = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = images_read_name(message, &name, error);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = image_store_get(images->service->images, bus_call_namespace(message), name, ret);
        if (r >= 0)
                return 0;
        if (r == -ENOENT)
                fault_set(&fault, r, "the namespace %s has no image %s", bus_call_namespace(message), name);
        return bus_error_set_fault(error, r, &fault);
}

static int method_get(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        ImageRecord record = { 0 };
        _cleanup_free_ char *path = NULL;

        int r = images_find_record(images, message, &record, error);
        if (r < 0)
                return r;
        r = object_kind_get_path(images->images, record.namespace, record.name, &path);
        image_record_done(&record);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

/* ---- lists ---- */

typedef struct ListCall {
        const char *after;
        uint32_t limit;

        ImagesBus *images;
        sd_bus_message *reply;
        uint32_t count;
        char *last;
        bool more;
} ListCall;

static const BusOption list_options[] = {
        { "after", "s", offsetof(ListCall, after) },
        { "limit", "u", offsetof(ListCall, limit) },
};

static int append_image(ListCall *call, const ImageRecord *record) {
        _cleanup_free_ char *path = NULL;
        int r = object_kind_get_path(call->images->images, record->namespace, record->name, &path);
        if (r >= 0)
                r = sd_bus_message_open_container(call->reply, 'a', "{sv}");
        if (r >= 0)
                r = image_append_properties(call->reply, record);
        if (r >= 0)
                r = bus_append_entry(call->reply, "Path", "o", path);
        return r < 0 ? r : sd_bus_message_close_container(call->reply);
}

static int list_image(const ImageRecord *record, void *userdata) {
        ListCall *call = userdata;
        if (call->count == call->limit) {
                call->more = true;
                return 1;
        }
        char *last = strdup(record->name);
        if (!last)
                return -ENOMEM;
        free(call->last);
        call->last = last;
        call->count++;
        int r = append_image(call, record);
        return r < 0 ? r : 0;
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        ListCall call = { .limit = LIMIT_PAGE_DEFAULT, .images = images };

        int r = bus_options_read(message, list_options, ELEMENTS_OF(list_options), &call, error);
        if (r < 0)
                return r;
        if (call.limit == 0 || call.limit > LIMIT_PAGE_MAX)
                return bus_invalid_argument(error, "option 'limit': must be 1 to %u", LIMIT_PAGE_MAX);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r < 0)
                return r;
        call.reply = reply;
        r = image_store_list(images->service->images, bus_call_namespace(message), call.after, list_image,
                             &call);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", call.more ? call.last : "");
        free(call.last);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static const sd_bus_vtable images_vtable[] = {
        SD_BUS_VTABLE_START(SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Pull", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("o", transfer), method_pull, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Get", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_RESULT("o", image),
                                method_get, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", images, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Resolve", SD_BUS_ARGS("s", name, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", image), method_resolve, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_remove, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Collect", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("o", transfer),
                                method_collect, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", plan, "t", things, "t", bytes), method_plan,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Why", SD_BUS_ARGS("s", kind, "s", name, "a{sv}", options),
                                SD_BUS_RESULT("a(sss)", chain), method_why, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int images_bus_new(sd_bus *bus, ImageService *service, ImagesBus **ret) {
        _cleanup_(images_bus_freep) ImagesBus *images = new0(ImagesBus, 1);
        if (!images)
                return -ENOMEM;
        images->bus = bus;
        images->service = service;
        int r = job_table_new(bus, CRT_IMAGES_PATH, "transfer", CRT_TRANSFER_INTERFACE, &images->transfers);
        if (r >= 0)
                r = image_objects_new(images);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, &images->slot, CRT_IMAGES_PATH, CRT_IMAGES_INTERFACE,
                                             images_vtable, images);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(images);
        return 0;
}

ImagesBus *images_bus_free(ImagesBus *images) {
        if (!images)
                return NULL;
        sd_bus_slot_unref(images->slot);
        object_kind_free(images->images);
        job_table_free(images->transfers);
        image_record_done(&images->found);
        free(images);
        return NULL;
}
