/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-bus.h"

#include <string.h>

#include "bus/bus-names.h"
#include "lib/log.h"
#include "lib/strv.h"

static int property_name(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const IngestRecord *record = ingest_record(userdata);
        return sd_bus_message_append(
                reply, "s", string_equal(property, "Namespace") ? record->namespace : record->reference);
}

static int property_digest(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const IngestRecord *record = ingest_record(userdata);
        char text[DIGEST_STRING_MAX];
        return sd_bus_message_append(reply, "s",
                                     record->has_digest ? digest_to_string(&record->digest, text) : "");
}

static int property_size(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const IngestRecord *record = ingest_record(userdata);
        return sd_bus_message_append(reply, "t", record->size == INGEST_SIZE_UNKNOWN ? 0 : record->size);
}

static int property_offset(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "t", ingest_offset(userdata));
}

static int property_writing(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "b", ingest_is_writing(userdata));
}

static int property_started(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "t", ingest_record(userdata)->started);
}

static const sd_bus_vtable ingest_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Namespace", "s", property_name, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Reference", "s", property_name, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Digest", "s", property_digest, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Size", "t", property_size, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Offset", "t", property_offset, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Writing", "b", property_writing, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Started", "t", property_started, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

static int find_ingest(void *service, const char *namespace, const char *object, void **ret) {
        Ingest *ingest = ingest_table_find(service, namespace, object);
        if (!ingest)
                return 0;
        *ret = ingest;
        return 1;
}

static int list_ingests(void *service, ObjectKind *kind) {
        int r = 0;
        for (Ingest *ingest = ingest_table_next(service, NULL); ingest && r >= 0;
             ingest = ingest_table_next(service, ingest))
                r = object_kind_list_add(kind, ingest_record(ingest)->namespace,
                                         ingest_record(ingest)->reference);
        return r;
}

static void log_unsent(int r) {
        if (r < 0)
                log_debug("a change of an ingest can't be announced: %s", strerror(-r));
}

static void on_added(Ingest *ingest, void *userdata) {
        const IngestRecord *record = ingest_record(ingest);
        log_unsent(object_kind_emit_added(userdata, record->namespace, record->reference));
}

static void on_removed(Ingest *ingest, void *userdata) {
        const IngestRecord *record = ingest_record(ingest);
        log_unsent(object_kind_emit_removed(userdata, record->namespace, record->reference));
}

static void on_changed(Ingest *ingest, void *userdata) {
        const IngestRecord *record = ingest_record(ingest);
        char *properties[] = { (char *) "Offset", (char *) "Writing", NULL };
        log_unsent(object_kind_emit_changed(userdata, record->namespace, record->reference, properties));
}

int ingest_bus_new(sd_bus *bus, IngestTable *table, ObjectKind **ret) {
        const ObjectKindSpec spec = {
                .root = CRT_CONTENT_PATH,
                .kind = "ingest",
                .interface = CRT_INGEST_INTERFACE,
                .vtable = ingest_vtable,
                .find = find_ingest,
                .list = list_ingests,
                .service = table,
        };
        int r = object_kind_new(bus, &spec, ret);
        if (r < 0)
                return r;
        const IngestObserver observer = { on_added, on_changed, on_removed, *ret };
        ingest_table_observe(table, &observer);
        return 0;
}
