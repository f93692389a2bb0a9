/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "services/snapshots/snapshot-bound-bus.h"
#include "services/snapshots/snapshot-mount.h"
#include "services/snapshots/snapshots-bus.h"

typedef struct MountOptions {
        SnapshotMountOptions mount;
        bool bound;
        int users;
        UserMap uids;
        UserMap gids;
} MountOptions;

static void mount_options_done(MountOptions *options) {
        user_map_done(&options->uids);
        user_map_done(&options->gids);
}

/* a(uuu): container id, host id, count. */
static int read_map(sd_bus_message *message, void *field, sd_bus_error *error) {
        UserMap *map = field;
        UserMapRange range;
        int r = sd_bus_message_enter_container(message, 'a', "(uuu)");
        while (r >= 0 && (r = sd_bus_message_read(message, "(uuu)", &range.inside, &range.outside,
                                                  &range.count)) > 0) {
                if (map->count == USER_MAP_MAX)
                        return bus_invalid_argument(error, "a map of ids has at most %i ranges",
                                                    USER_MAP_MAX);
                if (range.count == 0 || range.outside + (range.count - 1) < range.outside)
                        return bus_invalid_argument(error, "a range of ids is empty, or too large");
                UserMapRange *larger = reallocarray(map->ranges, map->count + 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                map->ranges = larger;
                map->ranges[map->count++] = range;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static const BusOption mount_options[] = {
        { "read-only", "b", offsetof(MountOptions, mount.read_only) },
        { "volatile", "b", offsetof(MountOptions, mount.is_volatile) },
        { "bound", "b", offsetof(MountOptions, bound) },
        { "userns", "h", offsetof(MountOptions, users) },
        { "uid-map", "a(uuu)", offsetof(MountOptions, uids), read_map },
        { "gid-map", "a(uuu)", offsetof(MountOptions, gids), read_map },
};

/* Whose files it shows is decided here, so this is also where it is refused. */
static int choose_users(SnapshotManager *manager, MountOptions *options, uid_t caller, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        bool maps = options->uids.count > 0 || options->gids.count > 0;
        options->mount.users = -EBADF;
        if (maps && options->users >= 0)
                return bus_invalid_argument(error,
                                            "option 'userns': not together with 'uid-map' and 'gid-map'");
        if (maps && (options->uids.count == 0 || options->gids.count == 0))
                return bus_invalid_argument(error, "options 'uid-map' and 'gid-map': one needs the other");
        if (!maps && options->users < 0)
                return 0;
        int r;
        if (options->users >= 0) {
                r = user_namespace_check(options->users, caller, &fault);
                options->mount.users = options->users;
        } else {
                r = caller == 0 ? 0 : user_map_check(&options->uids, &options->gids, caller, &fault);
                if (r >= 0)
                        r = options->mount.users =
                                user_namespaces_get(manager->users, &options->uids, &options->gids, &fault);
        }
        return r < 0 ? bus_error_set_fault(error, r, &fault) : 0;
}

int snapshots_bus_mount(sd_bus_message *message, SnapshotManager *manager, SnapshotsBound *bound,
                        sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(mount_options_done) MountOptions options = { .users = -EBADF };
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, mount_options, ELEMENTS_OF(mount_options), &options, error);
        if (r < 0)
                return r;
        Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        r = choose_users(manager, &options, peer_uid(peer), error);
        if (r < 0)
                return r;
        options.mount.no_setuid = peer_uid(peer) != 0;
        r = snapshot_store_get(manager->store, bus_call_namespace(message), key, &snapshot, &fault);
        if (r >= 0 && options.bound)
                r = snapshots_bound_check(&snapshot, peer, &fault);
        _cleanup_close_ int fd = r < 0 ? r : snapshot_mount(manager, &snapshot, &options.mount, &fault);
        r = fd < 0 ? fd : options.bound ? snapshots_bound_add(bound, &snapshot, peer, &fault) : 0;
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        return sd_bus_reply_method_return(message, "h", fd);
}
