/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/quota.h"
#include "lib/identifier.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/content-namespace.h"
#include "services/content/ingest-store.h"
#include "services/content/lease-store.h"

static bool content_is_valid(const char *name) {
        Digest digest;
        return digest_parse(name, &digest) >= 0;
}

static bool image_is_valid(const char *name) {
        return !string_is_empty(name) && strlen(name) <= LIMIT_REFERENCE_LENGTH && string_is_printable(name);
}

int lease_resource_check(const LeaseResource *resource, Fault *fault) {
        static const struct {
                const char *type;
                bool (*is_valid)(const char *name);
        } types[] = {
                { LEASE_CONTENT, content_is_valid },
                { LEASE_INGEST, ingest_reference_is_valid },
                { LEASE_IMAGE, image_is_valid },
                { LEASE_SNAPSHOT, snapshot_key_is_valid },
        };
        for (size_t i = 0; i < ELEMENTS_OF(types); i++)
                if (string_equal(types[i].type, resource->type))
                        return types[i].is_valid(resource->name)
                                       ? 0
                                       : fault_set(fault, -EINVAL,
                                                   "'%.64s' can't be the name of a thing of type '%s'",
                                                   resource->name, resource->type);
        return fault_set(fault, -EINVAL,
                         "things of type '%.64s' are not known: content, ingest, image, snapshot",
                         resource->type);
}

static void touch(ContentState *state, const Lease *lease, const LeaseResource *resource) {
        Digest digest;
        if (string_equal(resource->type, LEASE_CONTENT) && digest_parse(resource->name, &digest) >= 0)
                content_state_touch(state, lease->namespace, &digest);
}

static int read_count(DatabaseRows *rows, int r) {
        if (r >= 0)
                r = database_rows_next(rows);
        return r <= 0 ? r : (int) database_rows_int64(rows, 0);
}

static int count_resources(ContentState *state, const Lease *lease) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT things FROM leases WHERE number = ?", "i",
                               lease->number);
        return read_count(&rows, r);
}

static int count_resources_of(ContentState *state, uid_t uid) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT coalesce(SUM(things), 0) FROM leases WHERE uid = ?", "i",
                               (int64_t) uid);
        return read_count(&rows, r);
}

static int check_limits(ContentState *state, const Lease *lease, Fault *fault) {
        int r = content_namespace_check(state, lease->namespace, NAMESPACE_LEASES, 0, fault);
        if (r < 0)
                return r;
        r = count_resources(state, lease);
        if (r > LIMIT_LEASE_RESOURCES)
                return fault_set(fault, -EDQUOT, "a lease may name %i things", LIMIT_LEASE_RESOURCES);
        if (r < 0 || !quota_uid_is_limited(lease->uid))
                return r;
        r = count_resources_of(state, lease->uid);
        return r > LIMIT_LEASE_RESOURCES_PER_UID
                       ? fault_set(fault, -EDQUOT, "the leases of user %u may name %i things in all",
                                   lease->uid, LIMIT_LEASE_RESOURCES_PER_UID)
                       : r;
}

static int add_resource(ContentState *state, const Lease *lease, const LeaseResource *resource,
                        Fault *fault) {
        int r = lease_resource_check(resource, fault);
        if (r >= 0)
                r = database_execute(state->database,
                                     "INSERT OR IGNORE INTO lease_resources (lease, type, name)"
                                     " VALUES (?, ?, ?)",
                                     "iss", lease->number, resource->type, resource->name);
        if (r >= 0)
                touch(state, lease, resource);
        if (r > 0)
                content_state_note_change(state);
        return r;
}

int lease_add_resources(ContentState *state, const Lease *lease, const LeaseResource *resources,
                        size_t count, Fault *fault) {
        int added = 0;

        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        for (size_t i = 0; i < count; i++) {
                r = add_resource(state, lease, &resources[i], fault);
                if (r < 0)
                        return r;
                added += r;
        }
        if (added == 0)
                return 0; /* and nothing to be synced */
        r = check_limits(state, lease, fault);
        return r < 0 ? r : database_commit(transaction);
}

static int remove_resources(ContentState *state, const Lease *lease, const LeaseResource *resources,
                            size_t count) {
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        for (size_t i = 0; i < count && r >= 0; i++)
                r = database_execute(transaction,
                                     "DELETE FROM lease_resources WHERE lease = ? AND type = ? AND name = ?",
                                     "iss", lease->number, resources[i].type, resources[i].name);
        return r < 0 ? r : database_commit(transaction);
}

int lease_remove_resources(ContentState *state, const Lease *lease, const LeaseResource *resources,
                           size_t count) {
        int r;
        do
                r = remove_resources(state, lease, resources, count);
        while (store_reserve_try_again(&state->reserve, r));
        return r;
}

int lease_visit_resources(ContentState *state, const Lease *lease, const LeaseResource *after,
                          LeaseResourceVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(
                state->database, &rows,
                "SELECT type, name FROM lease_resources WHERE lease = ? AND (type, name) > (?, ?)"
                " ORDER BY type, name",
                "iss", lease->number, after ? after->type : "", after ? after->name : "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                const LeaseResource resource = { database_rows_string(&rows, 0),
                                                 database_rows_string(&rows, 1) };
                r = visit(&resource, userdata);
                if (r != 0)
                        return r;
        }
        return r;
}

int lease_visit_things(ContentState *state, int (*visit)(const LeasedThing *thing, void *userdata),
                       void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT namespace, id, flat, type, name FROM leases"
                               " JOIN lease_resources ON lease = number WHERE until = 0 OR until > ?",
                               "i", (int64_t) content_now());
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                const LeasedThing thing = {
                        .namespace = database_rows_string(&rows, 0),
                        .id = database_rows_string(&rows, 1),
                        .flat = database_rows_int64(&rows, 2) != 0,
                        .resource = { database_rows_string(&rows, 3), database_rows_string(&rows, 4) },
                };
                r = visit(&thing, userdata);
                if (r != 0)
                        return r;
        }
        return r;
}

int lease_holds(ContentState *state, const char *namespace, const LeaseResource *resource) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT 1 FROM lease_resources JOIN leases ON number = lease"
                               " WHERE name = ? AND type = ? AND namespace = ?"
                               " AND (until = 0 OR until > ?) LIMIT 1",
                               "sssi", resource->name, resource->type, namespace, (int64_t) content_now());
        return r < 0 ? r : database_rows_next(&rows);
}

int lease_take(ContentState *state, const char *namespace, const char *id, const LeaseResource *resource,
               Fault *fault) {
        _cleanup_(lease_done) Lease lease = { 0 };
        int r = lease_find(state, namespace, id, &lease);
        if (r == -ENOENT)
                return fault_set(fault, r, "option 'lease': the namespace %s has no lease '%.76s'",
                                 namespace, id);
        return r < 0 ? r : lease_add_resources(state, &lease, resource, 1, fault);
}

int lease_drop(ContentState *state, const char *namespace, const char *id, const LeaseResource *resource) {
        _cleanup_(lease_done) Lease lease = { 0 };
        int r = lease_find(state, namespace, id, &lease);
        return r < 0 ? r : lease_remove_resources(state, &lease, resource, 1);
}

int lease_follow_ingest(ContentState *state, const char *namespace, const char *reference,
                        const Digest *digest) {
        char text[DIGEST_STRING_MAX];
        digest_to_string(digest, text);
        int r = database_execute(state->database,
                                 "INSERT OR IGNORE INTO lease_resources (lease, type, name)"
                                 " SELECT number, '" LEASE_CONTENT "', ? FROM leases JOIN lease_resources"
                                 " ON lease = number WHERE name = ? AND type = '" LEASE_INGEST "'"
                                 " AND namespace = ?",
                                 "sss", text, reference, namespace);
        if (r > 0)
                content_state_note_change(state);
        if (r >= 0)
                r = database_execute(state->database,
                                     "DELETE FROM lease_resources WHERE name = ? AND type = '" LEASE_INGEST
                                     "'"
                                     " AND lease IN (SELECT number FROM leases WHERE namespace = ?)",
                                     "ss", reference, namespace);
        return r < 0 ? r : 0;
}
