/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/collect-content-bus.h"

#include <errno.h>

#include "bus/bus-names.h"
#include "services/content/collect-content.h"

struct ContentCollector {
        ContentState *state; /* weak */
        ContentSweep *sweep;
        Collector *collector;
};

static int new_inventory(void *owner, bool roots, void **ret_cursor) {
        const ContentCollector *content = owner;
        ContentInventory *inventory;
        int r = content_inventory_new(content->state, roots, &inventory);
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

static int sweep(void *owner, const RecordField fields[RECORD_FIELDS_MAX]) {
        const ContentCollector *content = owner;
        return content_sweep_add(content->sweep, &fields[COLLECTOR_NAMESPACE], &fields[COLLECTOR_NAME],
                                 &fields[COLLECTOR_STAMP]);
}

static int commit_sweep(void *owner, uint32_t *ret_gone, uint64_t *ret_bytes) {
        const ContentCollector *content = owner;
        return content_sweep_commit(content->sweep, ret_gone, ret_bytes);
}

static void on_hold(void *owner, bool holding) {
        const ContentCollector *content = owner;
        content_state_hold(content->state, holding);
}

static void on_touched(const char *namespace, const Digest *digest, void *userdata) {
        const ContentCollector *content = userdata;
        char text[DIGEST_STRING_MAX];
        collector_touch(content->collector, digest_to_string(digest, text));
}

static void on_changed(void *userdata) {
        const ContentCollector *content = userdata;
        collector_note_change(content->collector);
}

/* What may label or lease something; and what may undo that. */
static const CallGateMember gated[] = {
        { CRT_CONTENT_INTERFACE, "Ingest" },
        { CRT_CONTENT_INTERFACE, "Commit" },
        { CRT_CONTENT_INTERFACE, "Update" },
        { CRT_CONTENT_INTERFACE, "CreateLease" },
        { CRT_LEASE_INTERFACE, "Add" },
        { CRT_LEASE_INTERFACE, "Update" },
        { CRT_CONTENT_INTERFACE, "Abort", .follows = true },
        { CRT_CONTENT_INTERFACE, "Delete", .follows = true },
        { CRT_CONTENT_INTERFACE, "UpdateNamespace", .follows = true },
        { CRT_LEASE_INTERFACE, "Remove", .follows = true },
        { CRT_LEASE_INTERFACE, "Delete", .follows = true },
};

int content_collector_new(sd_bus *bus, ContentState *state, ContentCollector **ret) {
        _cleanup_(content_collector_freep) ContentCollector *content = new0(ContentCollector, 1);
        if (!content)
                return -ENOMEM;
        content->state = state;
        const CollectorSpec spec = {
                .path = CRT_CONTENT_PATH,
                .interface = CRT_CONTENT_COLLECTOR_INTERFACE,
                .owner = content,
                .inventory_new = new_inventory,
                .inventory_step = step_inventory,
                .inventory_free = free_inventory,
                .sweep = sweep,
                .sweep_commit = commit_sweep,
                .gated = gated,
                .gated_count = ELEMENTS_OF(gated),
                .on_hold = on_hold,
        };
        int r = content_sweep_new(state, &content->sweep);
        if (r >= 0)
                r = collector_new(bus, &spec, &content->collector);
        if (r < 0)
                return r;
        state->touched = on_touched;
        state->changed = on_changed;
        state->touched_userdata = content;
        *ret = TAKE_PTR(content);
        return 0;
}

ContentCollector *content_collector_free(ContentCollector *content) {
        if (!content)
                return NULL;
        content->state->touched = NULL;
        content->state->changed = NULL;
        collector_free(content->collector);
        content_sweep_free(content->sweep);
        free(content);
        return NULL;
}

bool content_collector_is_busy(const ContentCollector *content) {
        return collector_is_busy(content->collector);
}
