/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What containers hold on to, for the collection of garbage. */

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/tasks/tasks-bus.h"

#define PATIENCE (5 * UINT64_C(1000000))

/* "label", "container", namespace, id, key, value */
static int add_labels(RecordWriter *writer, const TaskRecord *record) {
        int r = 0;
        for (char *const *label = record->labels; r >= 0 && label && *label; label++) {
                const char *equals = strchr(*label, '=');
                if (!string_after(*label, "org.crt.gc.") || !equals)
                        continue;
                _cleanup_free_ char *key = strndup(*label, (size_t) (equals - *label));
                r = key ? record_writer_add(writer, "ssssss", "label", "container", record->namespace,
                                            record->id, key, equals + 1)
                        : -ENOMEM;
        }
        return r;
}

/* "container", namespace, id, its own snapshot, the one below, the image's digest. Also of one that is being
 * made or removed: its snapshot may be there. */
static int add_container(RecordWriter *writer, const TaskRecord *record) {
        _cleanup_free_ char *key = NULL;
        int r = task_record_snapshot_key(record, &key);
        if (r >= 0)
                r = record_writer_add(writer, "ssssss", "container", record->namespace, record->id, key,
                                      record->parent, record->image_digest);
        return r < 0 ? r : add_labels(writer, record);
}

static int write_references(const TaskTable *table) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        int r = record_writer_new("crt-references", &writer);
        for (size_t i = 0; r >= 0 && i < table->count; i++) {
                const Task *task = table->tasks[i];
                if (!task->removed) /* and only still shown */
                        r = add_container(writer, &task->record);
        }
        return r < 0 ? r : record_writer_finish(writer);
}

/* One that waits. */
typedef struct ReferencesCall {
        const TasksService *service;
        sd_bus_message *message; /* NULL: it has its answer */
        sd_event_source *patience;
} ReferencesCall;

static ReferencesCall *references_call_free(ReferencesCall *call) {
        if (!call)
                return NULL;
        sd_event_source_disable_unref(call->patience);
        sd_bus_message_unref(call->message);
        return mfree(call);
}
DEFINE_CLEANUP(ReferencesCall *, references_call_free);

static void on_passed(void *userdata) {
        _cleanup_(references_call_freep) ReferencesCall *call = userdata;
        if (!call->message)
                return;
        _cleanup_close_ int fd = write_references(call->service->table);
        if (fd < 0)
                (void) bus_reply_fault(call->message, fd, &FAULT_NULL);
        else
                (void) sd_bus_reply_method_return(call->message, "h", fd);
}

/* Others may wait for whoever asks: what takes so long could be one of them. */
static int on_patience_ended(sd_event_source *source, uint64_t now, void *userdata) {
        ReferencesCall *call = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = fault_set(&fault, -EBUSY,
                          "containers are being made, and it takes too long to wait for them");
        (void) bus_reply_fault(call->message, r, &fault);
        call->message = sd_bus_message_unref(call->message);
        return 0;
}

/* A creation that has been told what its image is holds on to it, though its container is noted a moment
 * later: the answer waits for those. */
int method_references(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const TasksService *service = userdata;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        _cleanup_(references_call_freep) ReferencesCall *call = new0(ReferencesCall, 1);
        if (!call)
                return -ENOMEM;
        *call = (ReferencesCall){ .service = service, .message = sd_bus_message_ref(message) };
        r = sd_event_add_time_relative(service->table->event, &call->patience, CLOCK_MONOTONIC, PATIENCE, 0,
                                       on_patience_ended, call);
        if (r >= 0)
                r = task_barrier_wait(&service->table->resolving, on_passed, call);
        if (r < 0)
                return r;
        TAKE_PTR(call);
        return 1;
}
