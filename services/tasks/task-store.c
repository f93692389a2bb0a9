/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task-store.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

static const char *const migrations[] = {
        "CREATE TABLE containers ("
        " namespace TEXT NOT NULL, id TEXT NOT NULL, image TEXT NOT NULL, image_digest TEXT NOT NULL,"
        " parent TEXT NOT NULL, config TEXT NOT NULL, command BLOB NOT NULL, labels BLOB NOT NULL,"
        " sources BLOB NOT NULL, owner INTEGER NOT NULL, terminal INTEGER NOT NULL,"
        " is_volatile INTEGER NOT NULL, auto_remove INTEGER NOT NULL, stop_signal INTEGER NOT NULL,"
        " memory_max INTEGER NOT NULL, tasks_max INTEGER NOT NULL, cpu_quota INTEGER NOT NULL,"
        " created INTEGER NOT NULL, started INTEGER NOT NULL, finished INTEGER NOT NULL,"
        " exit_status INTEGER NOT NULL, error TEXT,"
        " PRIMARY KEY (namespace, id)) WITHOUT ROWID",

        "ALTER TABLE containers ADD COLUMN rootfs_size_max INTEGER NOT NULL DEFAULT 0",
};

struct TaskStore {
        Database *database;
};

/* Strings one after the other, each with its NUL. */
static int strings_to_blob(char *const *strings, char **ret, size_t *ret_size) {
        size_t size = 0;
        for (char *const *p = strings; p && *p; p++)
                size += strlen(*p) + 1;
        char *blob = malloc(size + 1), *next = blob;
        if (!blob)
                return -ENOMEM;
        for (char *const *p = strings; p && *p; p++)
                next = stpcpy(next, *p) + 1;
        *ret = blob;
        *ret_size = size;
        return 0;
}

static int blob_to_strings(const char *blob, size_t size, char ***ret) {
        _cleanup_strv_ char **strings = new0(char *, 1);
        if (!strings)
                return -ENOMEM;
        if (size > 0 && blob[size - 1] != '\0')
                return -EUCLEAN;
        for (const char *p = blob; p < blob + size; p += strlen(p) + 1)
                if (strv_append(&strings, p) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(strings);
        return 0;
}

int task_store_open(int directory, TaskStore **ret, Fault *fault) {
        _cleanup_(task_store_freep) TaskStore *store = new0(TaskStore, 1);
        if (!store)
                return -ENOMEM;
        int r = database_open(directory, "tasks.db", migrations, ELEMENTS_OF(migrations), &store->database,
                              fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(store);
        return 0;
}

TaskStore *task_store_free(TaskStore *store) {
        if (!store)
                return NULL;
        database_free(store->database);
        return mfree(store);
}

int task_store_add(TaskStore *store, const TaskRecord *record) {
        _cleanup_free_ char *command = NULL, *labels = NULL, *sources = NULL;
        size_t command_size, labels_size, sources_size;
        int r = strings_to_blob(record->command, &command, &command_size);
        if (r >= 0)
                r = strings_to_blob(record->labels, &labels, &labels_size);
        if (r >= 0)
                r = strings_to_blob(record->sources, &sources, &sources_size);
        if (r >= 0)
                r = database_set_durable(store->database, true);
        if (r < 0)
                return r;
        return database_execute(
                store->database,
                "INSERT INTO containers VALUES"
                " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "ssssssbbbiiiiiiiiiiiisi", record->namespace, record->id, record->image,
                record->image_digest, record->parent, record->config, command, command_size, labels,
                labels_size, sources, sources_size, (int64_t) record->owner, (int64_t) record->terminal,
                (int64_t) record->is_volatile, (int64_t) record->auto_remove, (int64_t) record->stop_signal,
                (int64_t) record->limits.memory_max, (int64_t) record->limits.tasks_max,
                (int64_t) record->limits.cpu_quota, (int64_t) record->created, (int64_t) record->started,
                (int64_t) record->finished, (int64_t) record->exit_status, record->error,
                (int64_t) record->rootfs_size_max);
}

int task_store_update(TaskStore *store, const TaskRecord *record) {
        int r = database_set_durable(store->database, false);
        if (r < 0)
                return r;
        return database_execute(store->database,
                                "UPDATE containers SET started = ?, finished = ?, exit_status = ?, error = ?"
                                " WHERE namespace = ? AND id = ?",
                                "iiisss", (int64_t) record->started, (int64_t) record->finished,
                                (int64_t) record->exit_status, record->error, record->namespace, record->id);
}

/* One that is removed when it ends is so again, should the power bring it back. */
int task_store_remove(TaskStore *store, const TaskRecord *record) {
        int r = database_set_durable(store->database, !record->auto_remove);
        if (r < 0)
                return r;
        return database_execute(store->database, "DELETE FROM containers WHERE namespace = ? AND id = ?",
                                "ss", record->namespace, record->id);
}

static int read_text(const DatabaseRows *rows, int column, char **ret) {
        const char *text = database_rows_string(rows, column);
        if (!text)
                return -EUCLEAN;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

static int read_strings(const DatabaseRows *rows, int column, char ***ret) {
        size_t size;
        const char *blob = database_rows_blob(rows, column, &size);
        return blob_to_strings(blob, size, ret);
}

int task_store_read_config(TaskStore *store, const TaskRecord *record, char **ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT config FROM containers WHERE namespace = ? AND id = ?", "ss",
                               record->namespace, record->id);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return read_text(&rows, 0, ret);
}

static int read_record(const DatabaseRows *rows, TaskRecord *record) {
        char **const texts[] = { &record->namespace, &record->id, &record->image, &record->image_digest,
                                 &record->parent };
        char ***const lists[] = { &record->command, &record->labels, &record->sources };
        int column = 0, r;
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++)
                if ((r = read_text(rows, column++, texts[i])) < 0)
                        return r;
        for (size_t i = 0; i < ELEMENTS_OF(lists); i++)
                if ((r = read_strings(rows, column++, lists[i])) < 0)
                        return r;
        record->owner = (uid_t) database_rows_int64(rows, column++);
        record->terminal = database_rows_int64(rows, column++) > 0;
        record->is_volatile = database_rows_int64(rows, column++) > 0;
        record->auto_remove = database_rows_int64(rows, column++) > 0;
        record->stop_signal = (int) database_rows_int64(rows, column++);
        record->limits.memory_max = (uint64_t) database_rows_int64(rows, column++);
        record->limits.tasks_max = (uint64_t) database_rows_int64(rows, column++);
        record->limits.cpu_quota = (uint64_t) database_rows_int64(rows, column++);
        record->created = (uint64_t) database_rows_int64(rows, column++);
        record->started = (uint64_t) database_rows_int64(rows, column++);
        record->finished = (uint64_t) database_rows_int64(rows, column++);
        record->exit_status = (int) database_rows_int64(rows, column++);
        record->rootfs_size_max = (uint64_t) database_rows_int64(rows, column++);
        const char *error = database_rows_string(rows, column);
        record->error = error ? strdup(error) : NULL;
        return error && !record->error ? -ENOMEM : 0;
}

int task_store_visit(TaskStore *store, TaskStoreVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT namespace, id, image, image_digest, parent, command, labels,"
                               " sources, owner, terminal, is_volatile, auto_remove, stop_signal,"
                               " memory_max, tasks_max, cpu_quota, created, started, finished, exit_status,"
                               " rootfs_size_max, error FROM containers ORDER BY namespace, id",
                               "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                _cleanup_(task_record_done) TaskRecord record = { 0 };
                r = read_record(&rows, &record);
                if (r >= 0)
                        r = visit(&record, userdata);
                if (r < 0)
                        return r;
        }
        return r;
}
