/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/collect-content-bus.h"

#include "bus/bus-names.h"
#include "services/content/collect-content.h"

static int new_inventory(void *owner, bool roots, void **ret_cursor) {
        ContentInventory *inventory;
        int r = content_inventory_new(owner, roots, &inventory);
        if (r >= 0)
                *ret_cursor = inventory;
        return r;
}

static int step_inventory(void *cursor, RecordWriter *writer) {
        return content_inventory_step(cursor, writer);
}

static void free_inventory(void *cursor) {
        content_inventory_free(cursor);
}

static int sweep(void *owner, const RecordField fields[RECORD_FIELDS_MAX], uint64_t *ret_bytes) {
        return content_sweep(owner, &fields[COLLECTOR_NAMESPACE], &fields[COLLECTOR_NAME],
                             &fields[COLLECTOR_STAMP], ret_bytes);
}

static void on_touched(const char *namespace, const Digest *digest, void *userdata) {
        char text[DIGEST_STRING_MAX];
        collector_touch(userdata, digest_to_string(digest, text));
}

int content_collector_new(sd_bus *bus, ContentState *state, Collector **ret) {
        const CollectorSpec spec = {
                .path = CRT_CONTENT_PATH,
                .interface = CRT_CONTENT_COLLECTOR_INTERFACE,
                .owner = state,
                .inventory_new = new_inventory,
                .inventory_step = step_inventory,
                .inventory_free = free_inventory,
                .sweep = sweep,
        };
        int r = collector_new(bus, &spec, ret);
        if (r < 0)
                return r;
        state->touched = on_touched;
        state->touched_userdata = *ret;
        return 0;
}

Collector *content_collector_free(ContentState *state, Collector *collector) {
        if (state)
                state->touched = NULL;
        return collector_free(collector);
}
