/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task-record.h"

#include <errno.h>
#include <stdio.h>

#include "lib/strv.h"

void task_record_done(TaskRecord *record) {
        free(record->namespace);
        free(record->id);
        free(record->image);
        free(record->image_digest);
        free(record->parent);
        free(record->config);
        strv_free(record->command);
        strv_free(record->labels);
        strv_free(record->sources);
        free(record->error);
        *record = (TaskRecord){ 0 };
}

int task_record_snapshot_key(const TaskRecord *record, char **ret) {
        return asprintf(ret, "container-%s", record->id) < 0 ? -ENOMEM : 0;
}
