/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/page.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/snapshots-bus.h"

static int append_snapshot(sd_bus_message *reply, const Snapshot *snapshot) {
        const struct {
                const char *key, *value;
        } texts[] = {
                { "key", snapshot->key },
                { "parent", snapshot->parent ?: "" },
                { "kind", snapshot_kind_to_string(snapshot->kind) },
                { "state", snapshot_state_to_string(snapshot) },
                { "driver", snapshot_driver_kind_to_string(snapshot->driver) },
                { "diff-id", snapshot->diff_id ?: "" },
        };
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(texts); i++)
                r = bus_append_entry(reply, texts[i].key, "s", texts[i].value);
        if (r >= 0)
                r = bus_append_entry(reply, "created", "t", snapshot->created);
        if (r >= 0)
                r = bus_append_entry(reply, "updated", "t", snapshot->updated);
        if (r >= 0)
                r = bus_append_entry(reply, "owner", "u", (uint32_t) snapshot->uid);
        if (r >= 0)
                r = bus_append_entry_map(reply, "labels", snapshot->labels);
        if (r >= 0 && snapshot->size_max > 0)
                r = bus_append_entry(reply, "size-max", "t", snapshot->size_max);
        if (r >= 0 && snapshot->damage)
                r = bus_append_entry(reply, "damage", "s", snapshot->damage);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int snapshots_bus_stat(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = snapshot_store_get(manager->store, bus_call_namespace(message), key, &snapshot, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_snapshot(reply, &snapshot);
        return r < 0 ? r : sd_bus_message_send(reply);
}

/* ---- lists ---- */

static const FilterField list_fields[] = {
        { .name = "key" },
        { .name = "name" },
        { .name = "parent" },
        { .name = "kind" },
        { .name = "state" },
        { .name = "driver" },
        { .name = "diff-id" },
        { .name = "labels", .has_key = true },
        {},
};

typedef struct ListPage {
        BusPage page;
        const Snapshot *snapshot; /* that is looked at */
} ListPage;

static const char *look_up_field(const char *field, const char *key, void *userdata) {
        const ListPage *list = userdata;
        const Snapshot *snapshot = list->snapshot;
        if (key)
                return strv_get_environment((const char *const *) snapshot->labels, key);
        if (string_equal(field, "parent"))
                return snapshot->parent;
        if (string_equal(field, "kind"))
                return snapshot_kind_to_string(snapshot->kind);
        if (string_equal(field, "state"))
                return snapshot_state_to_string(snapshot);
        if (string_equal(field, "driver"))
                return snapshot_driver_kind_to_string(snapshot->driver);
        if (string_equal(field, "diff-id"))
                return snapshot->diff_id;
        return snapshot->key;
}

static int offer_snapshot(const Snapshot *snapshot, void *userdata) {
        ListPage *list = userdata;
        list->snapshot = snapshot;
        int offer = bus_page_offer(&list->page, snapshot->key, look_up_field, list);
        if (offer != BUS_PAGE_TAKE)
                return offer == BUS_PAGE_FULL ? 1 : offer;
        list->page.bytes += strv_size(snapshot->labels) + (snapshot->damage ? strlen(snapshot->damage) : 0);
        return append_snapshot(list->page.reply, snapshot);
}

static void list_page_done(ListPage *list) {
        bus_page_done(&list->page);
}

int snapshots_bus_list(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error) {
        _cleanup_(list_page_done) ListPage list = { .page = BUS_PAGE_NULL };
        int r = bus_page_begin(&list.page, message, list_fields, error);
        if (r >= 0)
                r = snapshot_store_list(manager->store, bus_call_namespace(message), list.page.after,
                                        LIMIT_PAGE_MAX + 1, offer_snapshot, &list);
        return r < 0 ? r : bus_page_send(&list.page);
}
