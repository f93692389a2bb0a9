/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/task-store.c: what is put in comes out, also by the next process. */

#include "lib/fd.h"
#include "lib/strv.h"
#include "services/tasks/task-store.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

static TaskRecord sample(const char *id) {
        static char *command[] = { (char *) "sh", (char *) "", (char *) "-c", NULL },
                    *labels[] = { (char *) "a=1", NULL }, *none[] = { NULL };
        return (TaskRecord){
                .namespace = (char *) "system",
                .id = (char *) id,
                .image = (char *) "busybox",
                .image_digest = (char *) "sha256:1",
                .parent = (char *) "sha256:2",
                .config = (char *) "{}",
                .command = command,
                .labels = labels,
                .sources = none,
                .owner = 1000,
                .terminal = true,
                .auto_remove = true,
                .stop_signal = 15,
                .limits = { .memory_max = 1U << 30, .tasks_max = 5, .cpu_quota = 150 },
                .rootfs_size_max = 5ULL << 32,
                .created = 1234567890123456,
                .exit_status = TASK_STATUS_NONE,
        };
}

typedef struct Found {
        TaskRecord records[8];
        size_t count;
} Found;

static int keep(TaskRecord *record, void *userdata) {
        Found *found = userdata;
        found->records[found->count++] = TAKE(*record, (TaskRecord){ 0 });
        return 0;
}

static void found_done(Found *found) {
        for (size_t i = 0; i < found->count; i++)
                task_record_done(&found->records[i]);
}

static TaskStore *open_store(void) {
        _cleanup_close_ int directory = check_directory();
        TaskStore *store = NULL;
        CHECK_OK(task_store_open(directory, &store, NULL));
        return store;
}

static void records_come_back(void) {
        TaskRecord record = sample("one");
        {
                _cleanup_(task_store_freep) TaskStore *store = open_store();
                CHECK_OK(task_store_add(store, &record));
                CHECK_ERROR(task_store_add(store, &record), -EEXIST);
        }
        _cleanup_(task_store_freep) TaskStore *store = open_store();
        _cleanup_(found_done) Found found = { 0 };
        CHECK_OK(task_store_visit(store, keep, &found));
        CHECK_INT(found.count, 1);
        const TaskRecord *read = &found.records[0];
        CHECK_STRING(read->id, "one");
        CHECK_STRING(read->parent, "sha256:2");
        CHECK(!read->config);
        _cleanup_free_ char *config = NULL;
        CHECK_OK(task_store_read_config(store, read, &config));
        CHECK_STRING(config, "{}");
        CHECK_INT(strv_length(read->command), 3);
        CHECK_STRING(read->command[1], "");
        CHECK_STRING(read->command[2], "-c");
        CHECK_INT(strv_length(read->labels), 1);
        CHECK(read->sources && strv_length(read->sources) == 0);
        CHECK(read->owner == 1000 && read->terminal && read->auto_remove && !read->is_volatile);
        CHECK(read->limits.memory_max == 1U << 30 && read->limits.tasks_max == 5 &&
              read->limits.cpu_quota == 150 && read->rootfs_size_max == 5ULL << 32);
        CHECK(read->created == record.created && read->started == 0 && read->error == NULL);
        CHECK_INT(read->exit_status, TASK_STATUS_NONE);
        CHECK_INT(task_store_remove(store, &record), 1);
}

static void the_end_is_noted(void) {
        _cleanup_(task_store_freep) TaskStore *store = open_store();
        _cleanup_(found_done) Found found = { 0 };
        TaskRecord record = sample("two");
        CHECK_OK(task_store_add(store, &record));
        record.started = 5;
        record.finished = 6;
        record.exit_status = 255;
        record.error = (char *) "why";
        CHECK_INT(task_store_update(store, &record), 1);
        CHECK_OK(task_store_visit(store, keep, &found));
        CHECK_INT(found.records[0].exit_status, 255);
        CHECK_INT(found.records[0].finished, 6);
        CHECK_STRING(found.records[0].error, "why");
        CHECK_INT(task_store_remove(store, &record), 1);
        CHECK_INT(task_store_remove(store, &record), 0);
        CHECK_INT(task_store_update(store, &record), 0);
}

static void they_come_in_the_order_of_their_names(void) {
        static const char *const ids[] = { "b", "a", "c", "B", "a-b", "a.b" };
        _cleanup_(task_store_freep) TaskStore *store = open_store();
        _cleanup_(found_done) Found found = { 0 };
        for (size_t i = 0; i < ELEMENTS_OF(ids); i++) {
                TaskRecord record = sample(ids[i]);
                CHECK_OK(task_store_add(store, &record));
        }
        CHECK_OK(task_store_visit(store, keep, &found));
        CHECK_INT(found.count, ELEMENTS_OF(ids));
        for (size_t i = 1; i < found.count; i++)
                CHECK(strcmp(found.records[i - 1].id, found.records[i].id) < 0);
}

static void the_snapshot_bears_the_containers_name(void) {
        TaskRecord record = sample("web");
        _cleanup_free_ char *key = NULL;
        CHECK_OK(task_record_snapshot_key(&record, &key));
        CHECK_STRING(key, "container-web");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(records_come_back),
                CHECK_CASE(the_end_is_noted),
                CHECK_CASE(they_come_in_the_order_of_their_names),
                CHECK_CASE(the_snapshot_bears_the_containers_name),
                {},
        });
}
