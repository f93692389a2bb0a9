/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/collect-snapshots.h"

#include <errno.h>
#include <time.h>

#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-mount.h"

#define PAGE 128

struct SnapshotInventory {
        SnapshotManager *manager; /* weak */
        bool roots;
        int64_t last;         /* number of the one that was listed last */
        RecordWriter *writer; /* weak, within a step */
};

int snapshot_inventory_new(SnapshotManager *manager, bool roots, SnapshotInventory **ret) {
        SnapshotInventory *inventory = new0(SnapshotInventory, 1);
        if (!inventory)
                return -ENOMEM;
        inventory->manager = manager;
        inventory->roots = roots;
        *ret = inventory;
        return 0;
}

SnapshotInventory *snapshot_inventory_free(SnapshotInventory *inventory) {
        free(inventory);
        return NULL;
}

/* ---- what there is ---- */

/* Nobody knows when such a mount is gone: it counts until the next boot. */
static bool may_be_mounted(const Snapshot *snapshot) {
        return snapshot->kind == SNAPSHOT_ACTIVE && snapshot->mounted != MOUNTED_NEVER &&
               !snapshot_driver_get(snapshot->driver)->tells_use;
}

/* Something of this very moment needs it: a worker, a mount, a connection. */
static bool is_held(SnapshotManager *manager, const Snapshot *snapshot) {
        return snapshot->state == SNAPSHOT_UNPACKING || !string_is_empty(snapshot->bound) ||
               may_be_mounted(snapshot) || snapshot_commit_check_idle(manager, snapshot, NULL) < 0 ||
               snapshot_mount_check_unused(manager, snapshot, NULL) < 0;
}

/* "label", "snapshot", namespace, key, key of the label, value */
static int add_labels(SnapshotManager *manager, const Snapshot *snapshot, RecordWriter *writer) {
        int r = 0;
        for (char *const *label = snapshot->labels; r >= 0 && label && *label; label++) {
                const char *equals = strchr(*label, '=');
                if (!equals || !label_is_collected(*label))
                        continue;
                if (label_refers(*label))
                        snapshot_store_note_references(manager->store);
                _cleanup_free_ char *key = strndup(*label, (size_t) (equals - *label));
                r = key ? record_writer_add(writer, "ssssss", "label", "snapshot", snapshot->namespace,
                                            snapshot->key, label_collected_key(key), equals + 1)
                        : -ENOMEM;
        }
        return r;
}

/* "snapshot", namespace, key, stamp, bytes, parent, kind, "held" or "", created */
static int add_snapshot(const Snapshot *snapshot, void *userdata) {
        SnapshotInventory *inventory = userdata;
        bool held = is_held(inventory->manager, snapshot);
        int r = 0;

        inventory->last = snapshot->id;
        if (held || !inventory->roots)
                r = record_writer_add(inventory->writer, "sssuusssu", "snapshot", snapshot->namespace,
                                      snapshot->key, (uint64_t) snapshot->id,
                                      snapshot->measured ? snapshot->measure.size : 0, snapshot->parent,
                                      snapshot_kind_to_string(snapshot->kind), held ? "held" : "",
                                      snapshot->created);
        return r < 0 ? r : add_labels(inventory->manager, snapshot, inventory->writer);
}

int snapshot_inventory_step(SnapshotInventory *inventory, RecordWriter *writer) {
        inventory->writer = writer;
        return snapshot_store_list_all(inventory->manager->store, inventory->last, PAGE, add_snapshot,
                                       inventory);
}

/* ---- what goes ---- */

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

static bool is_root(const Snapshot *snapshot) {
        const char *const *labels = (const char *const *) snapshot->labels;
        const char *expire = strv_get_environment(labels, LABEL_GC_EXPIRE);
        uint64_t time;
        if (string_is_empty(strv_get_environment(labels, LABEL_GC_ROOT)))
                return false;
        return !expire || label_parse_time(expire, &time) < 0 || time > now_usec();
}

struct SnapshotSweep {
        SnapshotManager *manager; /* weak */
        Snapshot *snapshots;
        bool *removed; /* of as many */
        size_t count, allocated;
};

int snapshot_sweep_new(SnapshotManager *manager, SnapshotSweep **ret) {
        SnapshotSweep *sweep = new0(SnapshotSweep, 1);
        if (!sweep)
                return -ENOMEM;
        sweep->manager = manager;
        *ret = sweep;
        return 0;
}

static void forget(SnapshotSweep *sweep) {
        while (sweep->count > 0)
                snapshot_done(&sweep->snapshots[--sweep->count]);
}

SnapshotSweep *snapshot_sweep_free(SnapshotSweep *sweep) {
        if (!sweep)
                return NULL;
        forget(sweep);
        free(sweep->snapshots);
        free(sweep->removed);
        free(sweep);
        return NULL;
}

static int append(SnapshotSweep *sweep, Snapshot *snapshot) {
        if (sweep->count == sweep->allocated) {
                size_t more = MAX_OF(sweep->allocated * 2, (size_t) 16);
                Snapshot *snapshots = reallocarray(sweep->snapshots, more, sizeof(Snapshot));
                if (!snapshots)
                        return -ENOMEM;
                sweep->snapshots = snapshots;
                bool *removed = reallocarray(sweep->removed, more, sizeof(bool));
                if (!removed)
                        return -ENOMEM;
                sweep->removed = removed;
                sweep->allocated = more;
        }
        sweep->snapshots[sweep->count++] = TAKE(*snapshot, (Snapshot){ 0 });
        return 0;
}

int snapshot_sweep_add(SnapshotSweep *sweep, const RecordField *namespace, const RecordField *key,
                       const RecordField *stamp) {
        _cleanup_free_ char *namespace_text = record_field_copy(namespace);
        _cleanup_free_ char *key_text = record_field_copy(key);
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        uint64_t number;

        if (!namespace_text || !key_text)
                return -ENOMEM;
        if (!identifier_is_valid(namespace_text) || !snapshot_key_is_valid(key_text) ||
            record_field_number(stamp, &number) < 0)
                return -EBADMSG;
        int r = snapshot_store_get(sweep->manager->store, namespace_text, key_text, &snapshot, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if ((number != 0 && (uint64_t) snapshot.id != number) || is_root(&snapshot) ||
            is_held(sweep->manager, &snapshot) ||
            snapshot_manager_check_removable(sweep->manager, &snapshot, NULL) < 0)
                return 0;
        return append(sweep, &snapshot);
}

int snapshot_sweep_commit(SnapshotSweep *sweep, uint32_t *ret_gone, uint64_t *ret_bytes) {
        int r = sweep->count == 0 ? 0
                                  : snapshot_manager_remove_many(sweep->manager, sweep->snapshots,
                                                                 sweep->count, sweep->removed);
        for (size_t i = 0; r >= 0 && i < sweep->count; i++)
                if (sweep->removed[i]) {
                        const Snapshot *snapshot = &sweep->snapshots[i];
                        ++*ret_gone;
                        *ret_bytes += snapshot->measured ? snapshot->measure.size : 0;
                }
        forget(sweep);
        return r;
}
