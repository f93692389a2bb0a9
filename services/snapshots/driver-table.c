/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/macros.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-driver.h"

static const SnapshotDriver *const drivers[_SNAPSHOT_DRIVER_KIND_MAX] = {
        [DRIVER_OVERLAYFS] = &overlay_driver,
        [DRIVER_BTRFS] = &btrfs_driver,
        [DRIVER_COPY] = &copy_driver,
        [DRIVER_EROFS] = &erofs_driver,
};

const SnapshotDriver *snapshot_driver_get(SnapshotDriverKind kind) {
        assert(kind >= 0 && kind < _SNAPSHOT_DRIVER_KIND_MAX);
        return drivers[kind];
}

const char *snapshot_driver_kind_to_string(SnapshotDriverKind kind) {
        return snapshot_driver_get(kind)->name;
}

SnapshotDriverKind snapshot_driver_kind_from_string(const char *name) {
        for (SnapshotDriverKind kind = 0; kind < _SNAPSHOT_DRIVER_KIND_MAX; kind++)
                if (string_equal(drivers[kind]->name, name))
                        return kind;
        return _SNAPSHOT_DRIVER_KIND_INVALID;
}
