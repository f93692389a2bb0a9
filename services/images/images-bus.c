/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/images-bus.h"

#include <errno.h>
#include <string.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "bus/page.h"
#include "lib/limits.h"
#include "lib/oci-reference.h"
#include "lib/strv.h"
#include "services/images/collection.h"

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

int images_find_record(ImagesBus *images, sd_bus_message *message, const ImageCall *call, ImageRecord *ret,
                       sd_bus_error *error) {
        _cleanup_free_ char *name = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = images_read_name(message, &name, error);
        if (r >= 0)
                r = bus_options_read(message, call->options, call->option_count, call->values, error);
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

        int r = images_find_record(images, message, &(ImageCall){ 0 }, &record, error);
        if (r < 0)
                return r;
        r = object_kind_get_path(images->images, record.namespace, record.name, &path);
        image_record_done(&record);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

/* ---- lists ---- */

static const FilterField list_fields[] = {
        { .name = "name" },
        { .name = "digest" },
        { .name = "target", .has_key = true },
        { .name = "media-type" },
        { .name = "platform" },
        { .name = "labels", .has_key = true },
        {},
};

/* containerd's name of it is target.digest. */
static const char *look_up_field(const char *field, const char *key, void *userdata) {
        const ImageRecord *record = userdata;
        bool is_target = string_equal(field, "target");
        if (string_equal(field, "name"))
                return record->name;
        if (string_equal(field, "platform"))
                return record->platform;
        if (string_equal(field, "digest") || (is_target && string_equal(key, "digest")))
                return record->digest;
        if (string_equal(field, "media-type") || (is_target && string_equal(key, "mediatype")))
                return record->media_type;
        return string_equal(field, "labels")
                       ? strv_get_environment((const char *const *) record->labels, key)
                       : NULL;
}

typedef struct ListCall {
        ImagesBus *images;
        BusPage page;
} ListCall;

static int append_image(ListCall *call, const ImageRecord *record) {
        sd_bus_message *reply = call->page.reply;
        _cleanup_free_ char *path = NULL;
        call->page.bytes += strv_size(record->labels);
        int r = object_kind_get_path(call->images->images, record->namespace, record->name, &path);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = image_append_properties(reply, record);
        if (r >= 0)
                r = bus_append_entry(reply, "Path", "o", path);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* 1: the page is full. */
static int list_image(const ImageRecord *record, void *userdata) {
        ListCall *call = userdata;
        int offer = bus_page_offer(&call->page, record->name, look_up_field, (void *) record);
        if (offer != BUS_PAGE_TAKE)
                return offer == BUS_PAGE_FULL ? 1 : offer;
        int r = append_image(call, record);
        return r < 0 ? r : 0;
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        ListCall call = { .images = images, .page = BUS_PAGE_NULL };

        int r = bus_page_begin(&call.page, message, list_fields, error);
        if (r >= 0)
                r = image_store_list(images->service->images, bus_call_namespace(message), call.page.after,
                                     list_image, &call);
        if (r >= 0)
                r = bus_page_send(&call.page);
        bus_page_done(&call.page);
        return r;
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
        SD_BUS_METHOD_WITH_ARGS("Tag", SD_BUS_ARGS("s", name, "s", source, "a{sv}", options),
                                SD_BUS_RESULT("o", image), method_tag, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_update, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Collect", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("o", transfer),
                                method_collect, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", plan, "t", things, "t", bytes), method_plan,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Why", SD_BUS_ARGS("s", kind, "s", name, "a{sv}", options),
                                SD_BUS_RESULT("a(sss)", chain), method_why, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* What may label something, or give another name to it; and what may undo that. */
static const CallGateMember gated[] = {
        { CRT_IMAGES_INTERFACE, "Update" },
        { CRT_IMAGES_INTERFACE, "Tag" },
        { CRT_IMAGES_INTERFACE, "Remove", .follows = true },
        { CRT_IMAGES_INTERFACE, "Pull", .follows = true },
};

static void on_hold(bool hold, void *userdata) {
        const ImagesBus *images = userdata;
        (hold ? call_gate_close : call_gate_open)(images->gate);
}

static void on_full(void *userdata) {
        const ImagesBus *images = userdata;
        collection_let_go(images->service);
}

static int add_gate(ImagesBus *images) {
        const CallGateSpec spec = { .bus = images->bus,
                                    .members = gated,
                                    .member_count = ELEMENTS_OF(gated),
                                    .on_full = on_full,
                                    .userdata = images };
        int r = call_gate_new(&spec, &images->gate);
        if (r < 0)
                return r;
        images->service->hold = on_hold;
        images->service->hold_userdata = images;
        return 0;
}

int images_bus_new(sd_bus *bus, ImageService *service, ImagesBus **ret) {
        _cleanup_(images_bus_freep) ImagesBus *images = new0(ImagesBus, 1);
        if (!images)
                return -ENOMEM;
        images->bus = bus;
        images->service = service;
        int r = job_table_new(bus, CRT_IMAGES_PATH, "transfer", CRT_TRANSFER_INTERFACE, &images->transfers);
        if (r >= 0)
                r = turn_queue_new(service->event, LIMIT_CONCURRENT_RESOLVES,
                                   LIMIT_CONCURRENT_RESOLVES_PER_NAMESPACE, &images->readers);
        if (r >= 0)
                r = image_objects_new(images);
        if (r >= 0)
                r = add_gate(images);
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
        resolve_calls_free(images);
        turn_queue_free(images->readers);
        images->service->hold = NULL;
        call_gate_free(images->gate);
        object_kind_free(images->images);
        job_table_free(images->transfers);
        image_record_done(&images->found);
        free(images);
        return NULL;
}
