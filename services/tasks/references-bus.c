/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What containers hold on to, for the collection of garbage. */

#include <errno.h>

#include "bus/options.h"
#include "lib/fd.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/tasks/tasks-bus.h"

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

int method_references(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const TasksService *service = userdata;
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;

        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = record_writer_new("crt-references", &writer);
        for (size_t i = 0; r >= 0 && i < service->table->count; i++) {
                const Task *task = service->table->tasks[i];
                if (!task->removed) /* and only still shown */
                        r = add_container(writer, &task->record);
        }
        if (r < 0)
                return r;
        _cleanup_close_ int fd = record_writer_finish(writer);
        return fd < 0 ? fd : sd_bus_reply_method_return(message, "h", fd);
}
