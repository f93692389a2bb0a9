/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"

typedef struct ImageProperty {
        const char *name;
        const char *signature; /* "s", "t" or "a{ss}" */
        size_t offset;
} ImageProperty;

static const ImageProperty properties[] = {
        { "Namespace", "s", offsetof(ImageRecord, namespace) },
        { "Name", "s", offsetof(ImageRecord, name) },
        { "Digest", "s", offsetof(ImageRecord, digest) },
        { "MediaType", "s", offsetof(ImageRecord, media_type) },
        { "ManifestDigest", "s", offsetof(ImageRecord, manifest) },
        { "ConfigDigest", "s", offsetof(ImageRecord, config) },
        { "ChainId", "s", offsetof(ImageRecord, chain_id) },
        { "Platform", "s", offsetof(ImageRecord, platform) },
        { "Size", "t", offsetof(ImageRecord, size) },
        { "Created", "t", offsetof(ImageRecord, created) },
        { "Pulled", "t", offsetof(ImageRecord, pulled) },
        { "Labels", "a{ss}", offsetof(ImageRecord, labels) },
};

int image_append_properties(sd_bus_message *message, const ImageRecord *record) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(properties); i++) {
                const void *field = (const char *) record + properties[i].offset;
                if (string_equal(properties[i].signature, "s"))
                        r = bus_append_entry(message, properties[i].name, "s", *(char *const *) field);
                else if (string_equal(properties[i].signature, "a{ss}"))
                        r = bus_append_entry_map(message, properties[i].name, *(char *const *const *) field);
                else
                        r = bus_append_entry(message, properties[i].name, "t", *(const uint64_t *) field);
        }
        return r;
}

static int property_image(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const ImageRecord *record = userdata;
        for (size_t i = 0; i < ELEMENTS_OF(properties); i++) {
                const void *field = (const char *) record + properties[i].offset;
                if (!string_equal(properties[i].name, property))
                        continue;
                if (string_equal(properties[i].signature, "a{ss}"))
                        return bus_append_map(reply, *(char *const *const *) field);
                return string_equal(properties[i].signature, "s")
                               ? sd_bus_message_append(reply, "s", *(char *const *) field)
                               : sd_bus_message_append(reply, "t", *(const uint64_t *) field);
        }
        return -ENOENT;
}

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

static const sd_bus_vtable image_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Namespace", "s", property_image, 0, CONST),
        SD_BUS_PROPERTY("Name", "s", property_image, 0, CONST),
        SD_BUS_PROPERTY("Digest", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("MediaType", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("ManifestDigest", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("ConfigDigest", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("ChainId", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("Platform", "s", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("Size", "t", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("Created", "t", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("Pulled", "t", property_image, 0, CHANGES),
        SD_BUS_PROPERTY("Labels", "a{ss}", property_image, 0, CHANGES),
        SD_BUS_VTABLE_END,
};

static int find_image(void *userdata, const char *namespace, const char *object, void **ret) {
        ImagesBus *images = userdata;
        ImageRecord record = { 0 };

        int r = image_store_get(images->service->images, namespace, object, &record);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        image_record_done(&images->found);
        images->found = record;
        *ret = &images->found;
        return 1;
}

static int list_image(const ImageRecord *record, void *userdata) {
        int r = object_kind_list_add(userdata, record->namespace, record->name);
        return r < 0 ? r : 0;
}

static int list_images(void *userdata, ObjectKind *kind) {
        const ImagesBus *images = userdata;
        return image_store_list(images->service->images, NULL, NULL, list_image, kind);
}

int image_objects_new(ImagesBus *images) {
        return object_kind_new(images->bus,
                               &(ObjectKindSpec){
                                       .root = CRT_IMAGES_PATH,
                                       .kind = "image",
                                       .interface = CRT_IMAGE_INTERFACE,
                                       .vtable = image_vtable,
                                       .find = find_image,
                                       .list = list_images,
                                       .service = images,
                               },
                               &images->images);
}

void image_object_emit(ImagesBus *images, const ImageRecord *record) {
        char *changed[ELEMENTS_OF(properties) + 1] = { 0 };

        if (!record->is_replacement) {
                (void) object_kind_emit_added(images->images, record->namespace, record->name);
                return;
        }
        /* Neither namespace nor name. */
        for (size_t i = 2; i < ELEMENTS_OF(properties); i++)
                changed[i - 2] = (char *) properties[i].name;
        (void) object_kind_emit_changed(images->images, record->namespace, record->name, changed);
}
