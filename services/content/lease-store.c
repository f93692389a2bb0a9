/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-store.h"

#include <errno.h>
#include <string.h>

#include "lib/label.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/content-labels.h"
#include "services/content/content-namespace.h"

static const char *const bindings[_LEASE_BINDING_MAX] = {
        [LEASE_UNBOUND] = "",
        [LEASE_BOUND_CALLER] = "caller",
        [LEASE_BOUND_UNIT] = "unit",
        [LEASE_BOUND_PROCESS] = "process",
};

const char *lease_binding_to_string(LeaseBinding binding) {
        assert(binding >= 0 && binding < _LEASE_BINDING_MAX);
        return bindings[binding];
}

LeaseBinding lease_binding_from_string(const char *name) {
        return (LeaseBinding) string_table_find(bindings, ELEMENTS_OF(bindings), name);
}

void lease_done(Lease *lease) {
        free(lease->namespace);
        free(lease->id);
        free(lease->owner);
        free(lease->proof);
        *lease = (Lease){ 0 };
}

uint64_t lease_until(uint64_t asked, char *const *labels) {
        const char *expire = strv_get_environment((const char *const *) labels, LABEL_GC_EXPIRE);
        uint64_t time;
        if (string_is_empty(expire) || label_parse_time(expire, &time) < 0)
                return asked;
        time = MAX_OF(time, UINT64_C(1)); /* 0 is none */
        return asked == 0 ? time : MIN_OF(asked, time);
}

static Labelled labelled_lease(const Lease *lease) {
        return (Labelled){ LABELLED_LEASE, lease->namespace, lease->id };
}

/* ---- making and changing ---- */

int lease_count_of(ContentState *state, uid_t uid) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT COUNT(*) FROM leases WHERE uid = ?", "i",
                               (int64_t) uid);
        if (r >= 0)
                r = database_rows_next(&rows);
        return r <= 0 ? r : (int) database_rows_int64(&rows, 0);
}

static int insert(ContentState *state, const Lease *lease) {
        return database_execute(state->database,
                                "INSERT INTO leases (namespace, id, created, until, flat, binding, owner,"
                                " proof, uid, asked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?4)",
                                "ssiiisssi", lease->namespace, lease->id, (int64_t) lease->created,
                                (int64_t) lease->until, (int64_t) lease->flat,
                                lease_binding_to_string(lease->binding), lease->owner ? lease->owner : "",
                                lease->proof ? lease->proof : "", (int64_t) lease->uid);
}

/* Within a transaction: lease->until is what it is from now on. */
static int heed_label(ContentState *state, Lease *lease, uint64_t asked) {
        const Labelled labelled = labelled_lease(lease);
        _cleanup_strv_ char **labels = NULL;
        int r = content_labels_read(state, &labelled, &labels);
        if (r < 0)
                return r;
        uint64_t until = lease_until(asked, labels);
        if (until == lease->until)
                return 0;
        lease->until = until;
        r = database_execute(state->database, "UPDATE leases SET until = ? WHERE number = ?", "ii",
                             (int64_t) until, lease->number);
        return r < 0 ? r : 0;
}

int lease_add(ContentState *state, Lease *lease, char *const *labels, bool limited, Fault *fault) {
        const Labelled labelled = labelled_lease(lease);

        int r = content_labels_check(LABELLED_LEASE, labels, fault);
        if (r >= 0)
                r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = limited ? lease_count_of(state, lease->uid) : 0;
        if (r >= LIMIT_LEASES_PER_UID)
                return fault_set(fault, -EDQUOT, "user %u has as many leases as one may have", lease->uid);
        lease->created = content_now();
        /* One whose time is over may not have been removed yet. */
        if (r >= 0)
                r = database_execute(transaction,
                                     "DELETE FROM leases WHERE namespace = ? AND id = ? AND until > 0"
                                     " AND until <= ?",
                                     "ssi", lease->namespace, lease->id, (int64_t) lease->created);
        if (r >= 0)
                r = insert(state, lease);
        if (r == -EEXIST)
                return fault_set(fault, r, "the namespace has a lease '%s'", lease->id);
        if (r >= 0) {
                lease->number = database_last_id(transaction);
                r = content_namespace_check(state, lease->namespace, NAMESPACE_LABELS, 0, fault);
        }
        if (r >= 0)
                r = content_labels_change(state, &labelled, labels, /* replace= */ true, fault);
        if (r >= 0)
                r = heed_label(state, lease, lease->until);
        return r < 0 ? r : database_commit(transaction);
}

static int read_asked(ContentState *state, const Lease *lease, uint64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT asked FROM leases WHERE number = ?", "i",
                               lease->number);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret = (uint64_t) database_rows_int64(&rows, 0);
        return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

static int change_lease(ContentState *state, Lease *lease, const LeaseChange *change, Fault *fault) {
        const Labelled labelled = labelled_lease(lease);
        uint64_t asked = change->until;

        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = change->has_until ? database_execute(transaction, "UPDATE leases SET asked = ? WHERE number = ?",
                                                 "ii", (int64_t) change->until, lease->number)
                              : read_asked(state, lease, &asked);
        if (r >= 0)
                r = content_labels_change(state, &labelled, change->labels, change->replace_labels, fault);
        if (r >= 0)
                r = heed_label(state, lease, asked);
        return r < 0 ? r : database_commit(transaction);
}

int lease_update(ContentState *state, Lease *lease, const LeaseChange *change, Fault *fault) {
        uint64_t before = lease->until;
        int r = content_labels_check(LABELLED_LEASE, change->labels, fault);
        if (r < 0)
                return r;
        bool later = change->has_until && (change->until == 0 || change->until > lease->until);
        bool only_takes = label_change_only_takes(change->labels) && (!later || lease->until == 0);
        do {
                lease->until = before;
                r = change_lease(state, lease, change, fault);
        } while (only_takes && store_reserve_try_again(&state->reserve, r));
        if (r < 0)
                lease->until = before;
        return r;
}

static int delete (ContentState *state, const Lease *lease) {
        int r = database_execute(state->database, "DELETE FROM leases WHERE number = ?", "i", lease->number);
        return r < 0 ? r : 0;
}

/* On a full disk, too: what it keeps could not be collected. */
int lease_remove(ContentState *state, const Lease *lease) {
        int r;
        do
                r = delete (state, lease);
        while (store_reserve_try_again(&state->reserve, r));
        return r;
}

/* ---- looking ---- */

#define LEASE_COLUMNS "number, namespace, id, created, until, flat, binding, owner, proof, uid"

static int lease_read(const DatabaseRows *rows, Lease *ret) {
        _cleanup_(lease_done) Lease lease = {
                .number = database_rows_int64(rows, 0),
                .namespace = strdup(database_rows_string(rows, 1)),
                .id = strdup(database_rows_string(rows, 2)),
                .created = (uint64_t) database_rows_int64(rows, 3),
                .until = (uint64_t) database_rows_int64(rows, 4),
                .flat = database_rows_int64(rows, 5) != 0,
                .binding = lease_binding_from_string(database_rows_string(rows, 6)),
                .owner = strdup(database_rows_string(rows, 7)),
                .proof = strdup(database_rows_string(rows, 8)),
                .uid = (uid_t) database_rows_int64(rows, 9),
        };
        if (!lease.namespace || !lease.id || !lease.owner || !lease.proof)
                return -ENOMEM;
        if (lease.binding < 0)
                return -EUCLEAN;
        *ret = TAKE(lease, (Lease){ 0 });
        return 0;
}

static int lease_read_one(DatabaseRows *rows, int r, Lease *ret) {
        if (r >= 0)
                r = database_rows_next(rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return lease_read(rows, ret);
}

int lease_find(ContentState *state, const char *namespace, const char *id, Lease *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE namespace = ? AND id = ?"
                               " AND (until = 0 OR until > ?)",
                               "ssi", namespace, id, (int64_t) content_now());
        return lease_read_one(&rows, r, ret);
}

int lease_find_number(ContentState *state, int64_t number, Lease *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE number = ?", "i", number);
        return lease_read_one(&rows, r, ret);
}

static int visit_rows(DatabaseRows *rows, int r, LeaseVisit visit, void *userdata) {
        if (r < 0)
                return r;
        while ((r = database_rows_next(rows)) > 0) {
                _cleanup_(lease_done) Lease lease = { 0 };
                r = lease_read(rows, &lease);
                if (r >= 0)
                        r = visit(&lease, userdata);
                if (r != 0)
                        return r;
        }
        return r;
}

int lease_visit(ContentState *state, const char *namespace, const char *after, LeaseVisit visit,
                void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE namespace = ? AND id > ?"
                               " AND (until = 0 OR until > ?) ORDER BY id",
                               "ssi", namespace, after, (int64_t) content_now());
        return visit_rows(&rows, r, visit, userdata);
}

int lease_visit_all(ContentState *state, LeaseVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE until = 0 OR until > ?"
                               " ORDER BY namespace, id",
                               "i", (int64_t) content_now());
        return visit_rows(&rows, r, visit, userdata);
}

int lease_visit_bound(ContentState *state, LeaseVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE binding <> '' ORDER BY number",
                               "");
        return visit_rows(&rows, r, visit, userdata);
}

typedef struct Expired {
        Lease *leases;
        size_t count;
} Expired;

static int take_expired(Lease *lease, void *userdata) {
        Expired *expired = userdata;
        expired->leases[expired->count++] = TAKE(*lease, (Lease){ 0 });
        return 0;
}

static int find_expired(ContentState *state, uint64_t now, Expired *expired) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT " LEASE_COLUMNS " FROM leases WHERE until > 0 AND until <= ?"
                               " ORDER BY until LIMIT ?",
                               "ii", (int64_t) now, (int64_t) LEASES_PER_TURN);
        return visit_rows(&rows, r, take_expired, expired);
}

static int remove_all(ContentState *state, const Expired *expired) {
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        for (size_t i = 0; i < expired->count && r >= 0; i++)
                r = delete (state, &expired->leases[i]);
        return r < 0 ? r : database_commit(transaction);
}

int lease_remove_expired(ContentState *state, uint64_t now, Lease ret[LEASES_PER_TURN]) {
        Lease leases[LEASES_PER_TURN] = { 0 };
        Expired expired = { .leases = leases };
        int r = find_expired(state, now, &expired);
        if (r >= 0 && expired.count > 0)
                do
                        r = remove_all(state, &expired);
                while (store_reserve_try_again(&state->reserve, r));
        if (r >= 0) {
                memcpy(ret, leases, expired.count * sizeof(Lease));
                return (int) expired.count;
        }
        for (size_t i = 0; i < expired.count; i++)
                lease_done(&leases[i]);
        return r;
}

int lease_next_deadline(ContentState *state, uint64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT MIN(until) FROM leases WHERE until > 0", "");
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r < 0)
                return r;
        *ret = r > 0 ? (uint64_t) database_rows_int64(&rows, 0) : 0;
        return 0;
}
