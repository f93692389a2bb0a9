/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-bus.h"

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "services/content/content-calls-bus.h"
#include "services/content/ingest-bus.h"

/* ---- arguments ---- */

int content_bus_parse_digest(const char *text, const char *what, Digest *ret, sd_bus_error *error) {
        int r = digest_parse(text, ret);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(error, bus_error_name(r),
                                         "%s: the algorithm of '%.64s' is not known", what, text);
        return r < 0 ? bus_invalid_argument(error, "%s: '%.64s' is not a digest", what, text) : 0;
}

int content_bus_read_digest(sd_bus_message *message, Digest *ret, sd_bus_error *error) {
        const char *text;
        int r = sd_bus_message_read(message, "s", &text);
        return r < 0 ? r : content_bus_parse_digest(text, "digest", ret, error);
}

int content_bus_check_labels(LabelledKind kind, char *const *labels, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = content_labels_check(kind, labels, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : 0;
}

int content_bus_take_lease(ContentBus *content, const char *namespace, const char *lease,
                           const LeaseResource *resource, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = lease ? lease_take(content->state, namespace, lease, resource, &fault) : 0;
        return r < 0 ? bus_error_set_fault(error, r, &fault) : 0;
}

int content_bus_take_lease_of_blob(ContentBus *content, const char *namespace, const char *lease,
                                   const Digest *digest, sd_bus_error *error) {
        char text[DIGEST_STRING_MAX];
        const LeaseResource resource = { LEASE_CONTENT, digest_to_string(digest, text) };
        return content_bus_take_lease(content, namespace, lease, &resource, error);
}

/* UNPRIVILEGED: who may call what is decided by the table of rules. sd-bus reads it from each method alone.
 */
static const sd_bus_vtable content_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Ingest", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("h", stream, "t", offset, "o", ingest), method_ingest,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Commit", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("s", digest, "t", size), method_commit,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Abort", SD_BUS_ARGS("s", reference, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_abort, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("StatIngest", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", info), method_stat_ingest,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListIngests", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", ingests, "s", next), method_list_ingests,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("s", digest, "a{sv}", options),
                                SD_BUS_RESULT("h", blob, "t", size), method_open,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Stat", SD_BUS_ARGS("s", digest, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", info), method_stat, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", blobs, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("s", digest, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_update, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_ARGS("s", digest, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_delete, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CreateLease", SD_BUS_ARGS("s", id, "a{sv}", options),
                                SD_BUS_RESULT("o", lease, "s", name), method_create_lease,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetLease", SD_BUS_ARGS("s", id, "a{sv}", options),
                                SD_BUS_RESULT("o", lease), method_get_lease, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListLeases", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", leases, "s", next), method_list_leases,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_ARGS("s", digest, "a{sv}", options),
                                SD_BUS_RESULT("o", job), method_verify, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("StatNamespace", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", info),
                                method_stat_namespace, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("UpdateNamespace", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT,
                                method_update_namespace, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int content_bus_new(sd_bus *bus, ContentState *state, IngestTable *table, ContentBus **ret) {
        _cleanup_(content_bus_freep) ContentBus *content = new0(ContentBus, 1);
        if (!content)
                return -ENOMEM;
        content->bus = bus;
        content->state = state;
        content->table = table;
        int r = ingest_bus_new(bus, table, &content->ingests);
        if (r >= 0)
                r = lease_table_new(bus, state, &content->leases);
        if (r >= 0)
                r = job_table_new(bus, CRT_CONTENT_PATH, "job", CRT_CONTENT_JOB_INTERFACE, &content->jobs);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, &content->slot, CRT_CONTENT_PATH, CRT_CONTENT_INTERFACE,
                                             content_vtable, content);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(content);
        return 0;
}

bool content_bus_is_busy(const ContentBus *content) {
        return content->creations || job_table_is_busy(content->jobs) ||
               lease_owners_are_looked_for(lease_table_owners(content->leases));
}

void content_bus_stop(ContentBus *content) {
        if (content->jobs)
                job_table_cancel_all(content->jobs);
}

int content_bus_owner_of(ContentBus *content, const char *namespace, const char *object, uid_t *ret) {
        return job_table_owner_of(content->jobs, namespace, object, ret);
}

LeaseTable *content_bus_leases(ContentBus *content) {
        return content->leases;
}

ContentBus *content_bus_free(ContentBus *content) {
        if (!content)
                return NULL;
        ingest_table_observe(content->table, &(IngestObserver){ 0 });
        sd_bus_slot_unref(content->slot);
        while (content->creations)
                lease_creation_free(content->creations);
        content_bus_stop(content);
        job_table_free(content->jobs);
        lease_table_free(content->leases);
        object_kind_free(content->ingests);
        free(content);
        return NULL;
}
