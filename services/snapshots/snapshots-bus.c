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
#include "lib/strv.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-make.h"

struct SnapshotsBus {
        SnapshotManager *manager; /* weak */
        UnpackQueue *unpacks;     /* weak */
        DiffTable *diffs;         /* weak */
        UsageTable *usages;       /* weak */
        VerifyTable *verifies;    /* weak */
        JobTable *jobs;           /* weak */
        SnapshotsBound *bound;    /* weak */
        sd_bus_slot *slot;
};

bool snapshots_bus_is_limited(uid_t uid) {
        return uid != 0 && uid != quota_system_uid(CRT_IMAGES_USER);
}

int snapshots_bus_caller(sd_bus_message *message, uid_t *ret_uid, bool *ret_limited) {
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        *ret_uid = peer_uid(peer);
        *ret_limited = snapshots_bus_is_limited(*ret_uid);
        return 0;
}

/* ---- making ---- */

typedef struct MakeOptions {
        char **labels;
        const char *driver;
        uint64_t size_max;
        bool size_given;
} MakeOptions;

/* The last two are for trees that are written to. */
static const BusOption make_options[] = {
        { "labels", "a{ss}", offsetof(MakeOptions, labels) },
        { "driver", "s", offsetof(MakeOptions, driver) },
        { "size-max", "t", offsetof(MakeOptions, size_max), NULL, offsetof(MakeOptions, size_given) },
};
#define VIEW_OPTIONS 1

static void make_options_done(MakeOptions *options) {
        strv_free(options->labels);
}

static int read_request(sd_bus_message *message, size_t option_count, MakeOptions *options,
                        SnapshotRequest *ret, sd_bus_error *error) {
        SnapshotRequest request = { .namespace = bus_call_namespace(message) };
        int r = sd_bus_message_read(message, "ss", &request.key, &request.parent);
        if (r >= 0)
                r = bus_options_read(message, make_options, option_count, options, error);
        if (r < 0)
                return r;
        if (options->size_given && options->size_max == 0)
                return bus_invalid_argument(error, "option 'size-max': must be at least 1");
        request.labels = options->labels;
        request.driver = options->driver;
        request.size_max = options->size_max;
        bool limited;
        r = snapshots_bus_caller(message, &request.uid, &limited);
        if (r < 0)
                return r;
        request.limit = limited ? LIMIT_SNAPSHOTS_PER_UID : 0;
        *ret = request;
        return 0;
}

/* The call itself is what is kept until there is something to say. */
static void on_end_of_call(int r, const Fault *fault, void *userdata) {
        sd_bus_message *message = userdata;
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, "");
        sd_bus_message_unref(message);
}

static int method_prepare(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(make_options_done) MakeOptions options = { 0 };
        SnapshotRequest request;
        int r = read_request(message, ELEMENTS_OF(make_options), &options, &request, error);
        if (r < 0)
                return r;
        request.on_end = on_end_of_call;
        request.userdata = sd_bus_message_ref(message);
        r = snapshot_make_active(face->manager, &request, &fault);
        if (r > 0)
                return 1;
        sd_bus_message_unref(message);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, "");
}

static int method_view(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(make_options_done) MakeOptions options = { 0 };
        SnapshotRequest request;
        int r = read_request(message, VIEW_OPTIONS, &options, &request, error);
        if (r < 0)
                return r;
        r = snapshot_make_view(face->manager, &request, &fault);
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

typedef struct UpdateOptions {
        char **labels;
        bool replace;
} UpdateOptions;

static const BusOption update_options[] = {
        { "labels", "a{ss}", offsetof(UpdateOptions, labels) },
        { "replace-labels", "b", offsetof(UpdateOptions, replace) },
};

static void update_options_done(UpdateOptions *options) {
        strv_free(options->labels);
}

static int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(update_options_done) UpdateOptions options = { 0 };
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = bus_options_read(message, update_options, ELEMENTS_OF(update_options), &options, error);
        if (r < 0)
                return r;
        if (!options.labels)
                return bus_invalid_argument(error, "option 'labels': is required");
        r = snapshot_manager_update(face->manager, bus_call_namespace(message), key, options.labels,
                                    options.replace, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : sd_bus_reply_method_return(message, "");
}

/* ---- committing ---- */

typedef struct CommitOptions {
        const char *parent;
        char **labels;
} CommitOptions;

static const BusOption commit_options[] = {
        { "parent", "s", offsetof(CommitOptions, parent) },
        { "labels", "a{ss}", offsetof(CommitOptions, labels) },
};

static void commit_options_done(CommitOptions *options) {
        strv_free(options->labels);
}

static int method_commit(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(commit_options_done) CommitOptions options = { 0 };
        SnapshotCommitSpec spec = {
                .namespace = bus_call_namespace(message),
                .on_end = on_end_of_call,
                .userdata = message,
        };
        int r = sd_bus_message_read(message, "ss", &spec.name, &spec.key);
        if (r >= 0)
                r = bus_options_read(message, commit_options, ELEMENTS_OF(commit_options), &options, error);
        if (r < 0)
                return r;
        spec.parent = options.parent;
        spec.labels = options.labels;
        sd_bus_message_ref(message);
        r = snapshot_commit_start(face->manager, &spec, &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

/* ---- mounting and unpacking ---- */

static int method_mount(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_mount(message, face->manager, face->bound, error);
}

static int method_unpack(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_unpack(message, face->unpacks, face->jobs, error);
}

static int method_diff(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_diff(message, face->diffs, face->jobs, error);
}

static int method_verify(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_verify(message, face->verifies, face->jobs, error);
}

static int method_usage(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_usage(message, face->usages, error);
}

static int method_cleanup(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_cleanup(message, face->manager, error);
}

static int method_stat(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_stat(message, face->manager, error);
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const SnapshotsBus *face = userdata;
        return snapshots_bus_list(message, face->manager, error);
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
        SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("s", key, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_update, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Stat", SD_BUS_ARGS("s", key, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", info), method_stat, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", snapshots, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Usage", SD_BUS_ARGS("s", key, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", usage), method_usage, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Cleanup", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", freed),
                                method_cleanup, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_ARGS("s", key, "a{sv}", options), SD_BUS_RESULT("o", job),
                                method_verify, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unpack", SD_BUS_ARGS("s", key, "h", layer, "a{sv}", options),
                                SD_BUS_RESULT("o", job), method_unpack, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Diff", SD_BUS_ARGS("s", key, "a{sv}", options),
                                SD_BUS_RESULT("h", layer, "o", job), method_diff,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Mount", SD_BUS_ARGS("s", key, "a{sv}", options), SD_BUS_RESULT("h", mount),
                                method_mount, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int snapshots_bus_new(const SnapshotsBusSpec *spec, SnapshotsBus **ret) {
        _cleanup_(snapshots_bus_freep) SnapshotsBus *face = new0(SnapshotsBus, 1);
        if (!face)
                return -ENOMEM;
        face->manager = spec->manager;
        face->unpacks = spec->unpacks;
        face->diffs = spec->diffs;
        face->usages = spec->usages;
        face->verifies = spec->verifies;
        face->jobs = spec->jobs;
        face->bound = spec->bound;
        int r = sd_bus_add_object_vtable(spec->bus, &face->slot, CRT_SNAPSHOTS_PATH, CRT_SNAPSHOTS_INTERFACE,
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
