/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshots-bus.h"

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "bus/quota.h"
#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/limits.h"
#include "services/snapshots/snapshot-commit.h"

struct SnapshotsBus {
        SnapshotManager *manager; /* weak */
        UnpackQueue *queue;       /* weak */
        JobTable *jobs;           /* weak */
        sd_bus_slot *slot;
};

bool snapshots_bus_is_limited(uid_t uid) {
        return uid != 0 && uid != quota_system_uid(CRT_IMAGES_USER);
}

/* ---- making ---- */

static int read_request(sd_bus_message *message, SnapshotRequest *ret, sd_bus_error *error) {
        SnapshotRequest request = { .namespace = bus_call_namespace(message) };
        int r = sd_bus_message_read(message, "ss", &request.key, &request.parent);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        request.uid = peer_uid(peer);
        request.limit = snapshots_bus_is_limited(request.uid) ? LIMIT_SNAPSHOTS_PER_UID : 0;
        *ret = request;
        return 0;
}

static int method_prepare(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SnapshotRequest request;
        int r = read_request(message, &request, error);
        if (r < 0)
                return r;
        r = snapshot_manager_prepare(face->manager, &request, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, "");
}

static int method_view(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SnapshotRequest request;
        int r = read_request(message, &request, error);
        if (r < 0)
                return r;
        r = snapshot_manager_view(face->manager, &request, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, "");
}

static int method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = snapshot_manager_remove(face->manager, bus_call_namespace(message), key, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, "");
}

/* ---- committing ---- */

typedef struct CommitOptions {
        const char *parent;
} CommitOptions;

static const BusOption commit_options[] = {
        { "parent", "s", offsetof(CommitOptions, parent) },
};

/* The call itself is what is kept until the disk has everything. */
static void on_committed(int r, const Fault *fault, void *userdata) {
        sd_bus_message *message = userdata;
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, "");
        sd_bus_message_unref(message);
}

static int method_commit(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        CommitOptions options = { 0 };
        SnapshotCommitSpec spec = {
                .namespace = bus_call_namespace(message),
                .on_end = on_committed,
                .userdata = message,
        };
        int r = sd_bus_message_read(message, "ss", &spec.name, &spec.key);
        if (r >= 0)
                r = bus_options_read(message, commit_options, ELEMENTS_OF(commit_options), &options, error);
        if (r < 0)
                return r;
        spec.parent = options.parent;
        sd_bus_message_ref(message);
        r = snapshot_commit_start(face->manager, &spec, &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

/* ---- looking ---- */

static int append_snapshot(sd_bus_message *reply, const Snapshot *snapshot) {
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "key", "s", snapshot->key);
        if (r >= 0)
                r = bus_append_entry(reply, "parent", "s", snapshot->parent ?: "");
        if (r >= 0)
                r = bus_append_entry(reply, "kind", "s", snapshot_kind_to_string(snapshot->kind));
        if (r >= 0)
                r = bus_append_entry(reply, "diff-id", "s", snapshot->diff_id ?: "");
        if (r >= 0)
                r = bus_append_entry(reply, "created", "t", snapshot->created);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_stat(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = snapshot_store_get(face->manager->store, bus_call_namespace(message), key, &snapshot, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_snapshot(reply, &snapshot);
        return r < 0 ? r : sd_bus_message_send(reply);
}

typedef struct ListOptions {
        const char *after;
        uint32_t limit;
} ListOptions;

static const BusOption list_options[] = {
        { "after", "s", offsetof(ListOptions, after) },
        { "limit", "u", offsetof(ListOptions, limit) },
};

typedef struct ListPage {
        sd_bus_message *reply; /* weak */
        char *last;
} ListPage;

static void list_page_done(ListPage *page) {
        free(page->last);
}

static int list_add(const Snapshot *snapshot, void *userdata) {
        ListPage *page = userdata;
        free(page->last);
        page->last = strdup(snapshot->key);
        return page->last ? append_snapshot(page->reply, snapshot) : -ENOMEM;
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(list_page_done) ListPage page = { 0 };
        ListOptions options = { .limit = LIMIT_PAGE_DEFAULT };
        int r = bus_options_read(message, list_options, ELEMENTS_OF(list_options), &options, error);
        if (r < 0)
                return r;
        if (options.limit == 0 || options.limit > LIMIT_PAGE_MAX)
                return bus_invalid_argument(error, "option 'limit': must be 1 to %i", LIMIT_PAGE_MAX);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r < 0)
                return r;
        page.reply = reply;
        int more = snapshot_store_list(face->manager->store, bus_call_namespace(message), options.after,
                                       options.limit, list_add, &page);
        r = more < 0 ? more : sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", more > 0 && page.last ? page.last : "");
        return r < 0 ? r : sd_bus_message_send(reply);
}

/* ---- mounting and unpacking ---- */

static const BusOption mount_options[] = {
        { "read-only", "b", offsetof(SnapshotMountOptions, read_only) },
        { "volatile", "b", offsetof(SnapshotMountOptions, is_volatile) },
};

static int method_mount(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SnapshotMountOptions options = { 0 };
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, mount_options, ELEMENTS_OF(mount_options), &options, error);
        if (r < 0)
                return r;
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        options.no_setuid = peer_uid(peer) != 0;
        _cleanup_close_ int fd =
                snapshot_manager_mount(face->manager, bus_call_namespace(message), key, &options, &fault);
        if (fd < 0)
                return bus_error_set_fault(error, fd, &fault);
        return sd_bus_reply_method_return(message, "h", fd);
}

static int method_unpack(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_unpack(message, face->queue, face->jobs, error);
}

/* ---- the object ---- */

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Prepare", SD_BUS_ARGS("s", key, "s", parent, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_prepare, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("View", SD_BUS_ARGS("s", key, "s", parent, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_view, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Commit", SD_BUS_ARGS("s", name, "s", key, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_commit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_ARGS("s", key, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_remove, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Stat", SD_BUS_ARGS("s", key, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", info), method_stat, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", snapshots, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unpack", SD_BUS_ARGS("s", key, "h", layer, "a{sv}", options),
                                SD_BUS_RESULT("o", job), method_unpack, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Mount", SD_BUS_ARGS("s", key, "a{sv}", options), SD_BUS_RESULT("h", mount),
                                method_mount, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int snapshots_bus_new(sd_bus *bus, SnapshotManager *manager, UnpackQueue *queue, JobTable *jobs,
                      SnapshotsBus **ret) {
        _cleanup_(snapshots_bus_freep) SnapshotsBus *face = new0(SnapshotsBus, 1);
        if (!face)
                return -ENOMEM;
        face->manager = manager;
        face->queue = queue;
        face->jobs = jobs;
        int r = sd_bus_add_object_vtable(bus, &face->slot, CRT_SNAPSHOTS_PATH, CRT_SNAPSHOTS_INTERFACE,
                                         vtable, face);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(face);
        return 0;
}

SnapshotsBus *snapshots_bus_free(SnapshotsBus *face) {
        if (!face)
                return NULL;
        sd_bus_slot_unref(face->slot);
        return mfree(face);
}
