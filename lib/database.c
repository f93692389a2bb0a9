/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/database-index.h"
#include "lib/database-renew.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/store-reserve.h"

/* Two daemons of one service overlap only while one of them exits. */
#define BUSY_TIMEOUT_MS 2000
#define LOG_PAGES 1000 /* from there on they are taken into the file */

typedef struct CachedStatement {
        const char *sql; /* weak: a literal, compared by address */
        sqlite3_stmt *statement;
        bool in_use;
} CachedStatement;

struct Database {
        sqlite3 *handle;
        int directory; /* SQLite opens the log and the shared index through it */
        char *name;
        bool doubtful; /* what was written may not be on the disk: everything is opened anew */
        CachedStatement *cache;
        size_t cache_count;
};

static int result_to_errno(int result) {
        switch (result) {
        case SQLITE_CONSTRAINT_UNIQUE:
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_ROWID:
                return -EEXIST;
        case SQLITE_CONSTRAINT_FOREIGNKEY:
                return -EBUSY;
        }
        switch (result & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EUCLEAN;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EAGAIN;
        case SQLITE_TOOBIG:
                return -E2BIG;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH:
        case SQLITE_RANGE:
                return -EINVAL;
        default:
                return -EIO;
        }
}

/* The index of the log, or a file that is to be made, has no room: to SQLite no disk is full then. */
static bool is_without_room(int result, int system) {
        return (result == SQLITE_IOERR_SHMSIZE || result == SQLITE_IOERR_SHMOPEN ||
                (result & 0xff) == SQLITE_CANTOPEN) &&
               (system == ENOSPC || system == EDQUOT);
}

/* A quota is no error of the disk: what does not fit was never taken as written. */
static bool is_over_quota(int result, int system) {
        return result == SQLITE_IOERR_WRITE && system == EDQUOT;
}

static void note_doubt(Database *database, int result, int system) {
        switch (result) {
        case SQLITE_IOERR_WRITE:
        case SQLITE_IOERR_FSYNC:
        case SQLITE_IOERR_DIR_FSYNC:
        case SQLITE_IOERR_TRUNCATE:
                database->doubtful |= !is_over_quota(result, system);
        }
}

static int database_error(Database *database, int result, const char *sql) {
        int system = errno, r = result_to_errno(result);
        /* A file system that became read-only below an open database is any I/O error to SQLite, whose
         * sqlite3_system_errno() knows nothing of a write that failed in a statement; errno still does. */
        if ((result & 0xff) == SQLITE_IOERR && system == EROFS)
                r = -EROFS;
        if (is_over_quota(result, system) || is_without_room(result, system))
                r = -ENOSPC;
        note_doubt(database, result, system);
        if (r < 0)
                log_debug("database: %s (%i) in: %s", sqlite3_errmsg(database->handle), result,
                          sql ? sql : "-");
        return r;
}

static int run(Database *database, const char *sql) {
        errno = 0; /* database_error() reads it */
        return database_error(database, sqlite3_exec(database->handle, sql, NULL, NULL, NULL), sql);
}

/* SQLite's own unix VFS would resolve /proc/self/fd/N to the path that the directory had when it was opened.
 * This one is the same but for leaving names alone. */
static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret) {
        int n = snprintf(ret, (size_t) size, "%s", name);
        return n < 0 || n >= size ? SQLITE_CANTOPEN : SQLITE_OK;
}

static sqlite3_vfs *directory_vfs(void) {
        static sqlite3_vfs vfs;
        if (!vfs.zName) {
                const sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
                if (!unix_vfs)
                        return NULL;
                vfs = *unix_vfs;
                vfs.pNext = NULL;
                vfs.zName = "crt-directory";
                vfs.xFullPathname = vfs_full_path;
                if (sqlite3_vfs_register(&vfs, /* makeDflt= */ 0) != SQLITE_OK)
                        vfs.zName = NULL;
        }
        return vfs.zName ? &vfs : NULL;
}

/* The file is made here, so that it is never a link, and only its owner reads it (SQLite gives its
 * companions the same mode). */
static int make_file(int directory, const char *name) {
        _cleanup_close_ int fd =
                openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
        if (fd < 0)
                return -errno;
        int r = fd_verify_type(fd, S_IFREG);
        if (r < 0)
                return r;
        return fsync(directory) < 0 ? -errno : 0;
}

static int open_handle(Database *database, int directory, const char *name) {
        if (!path_is_component(name))
                return -EINVAL;
        sqlite3_vfs *vfs = directory_vfs();
        if (!vfs)
                return -ENOMEM;
        if (database->directory < 0)
                database->directory = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (database->directory < 0)
                return -errno;
        int r = make_file(database->directory, name);
        if (r >= 0)
                r = database_index_prepare(database->directory, name);
        if (r < 0)
                return r;

        char parent[FD_PROC_PATH_SIZE];
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s/%s", fd_proc_path(database->directory, parent), name) < 0)
                return -ENOMEM;
        int result = sqlite3_open_v2(path, &database->handle,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                     vfs->zName);
        if (!database->handle)
                return -ENOMEM;
        return database_error(database, result, NULL);
}

/* The file may have been damaged or written by someone else: its schema gets no powers, and nothing in it
 * can make the daemon work or allocate without bounds. */
static int confine(Database *database) {
        static const struct {
                int option, value;
        } options[] = {
                { SQLITE_DBCONFIG_DEFENSIVE, 1 },   { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
                { SQLITE_DBCONFIG_DQS_DDL, 0 },     { SQLITE_DBCONFIG_DQS_DML, 0 },
                { SQLITE_DBCONFIG_ENABLE_FKEY, 1 }, { SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
        }, limits[] = {
                { SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024 },
                { SQLITE_LIMIT_SQL_LENGTH, 64 * 1024 },
                { SQLITE_LIMIT_COLUMN, 128 },
                { SQLITE_LIMIT_EXPR_DEPTH, 100 },
                { SQLITE_LIMIT_COMPOUND_SELECT, 16 },
                { SQLITE_LIMIT_FUNCTION_ARG, 16 },
                { SQLITE_LIMIT_ATTACHED, 0 },
                { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 512 },
                { SQLITE_LIMIT_VARIABLE_NUMBER, 64 },
                { SQLITE_LIMIT_TRIGGER_DEPTH, 8 },
                { SQLITE_LIMIT_WORKER_THREADS, 0 },
        };

        for (size_t i = 0; i < ELEMENTS_OF(options); i++) {
                int result = sqlite3_db_config(database->handle, options[i].option, options[i].value, NULL);
                if (result != SQLITE_OK)
                        return database_error(database, result, NULL);
        }
        for (size_t i = 0; i < ELEMENTS_OF(limits); i++)
                (void) sqlite3_limit(database->handle, limits[i].option, limits[i].value);
        return database_error(database, sqlite3_busy_timeout(database->handle, BUSY_TIMEOUT_MS), NULL);
}

static int get_user_version(Database *database, int64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(database, &rows, "PRAGMA user_version", "");
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -EUCLEAN;
        *ret = database_rows_int64(&rows, 0);
        return 0;
}

static int migrate_step(Database *database, const char *sql, size_t version, Fault *fault) {
        char set_version[64];
        int r = database_begin(database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = database;
        r = run(transaction, sql);
        if (r < 0)
                return fault_set(fault, r, "%s", sqlite3_errmsg(database->handle));
        (void) snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %zu", version);
        r = run(transaction, set_version);
        if (r < 0)
                return r;
        return database_commit(transaction);
}

static int migrate(Database *database, const char *name, const char *const *migrations, size_t count,
                   Fault *fault) {
        int64_t version = 0;
        int r = get_user_version(database, &version);
        if (r < 0)
                return r;
        if (version < 0 || (uint64_t) version > count)
                return fault_set(fault, -EOPNOTSUPP,
                                 "%s: has version %lli, written by a newer crt; this one knows up to %zu",
                                 name, (long long) version, count);
        for (size_t i = (size_t) version; i < count; i++) {
                r = migrate_step(database, migrations[i], i + 1, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "%s: cannot be brought to version %zu", name, i + 1);
        }
        return 0;
}

/* SQLite's own ignores errors. */
static int on_log_grown(void *userdata, sqlite3 *handle, const char *schema, int pages) {
        Database *database = userdata;
        errno = 0;
        int result = pages < LOG_PAGES ? SQLITE_OK
                                       : sqlite3_wal_checkpoint_v2(handle, schema, SQLITE_CHECKPOINT_PASSIVE,
                                                                   NULL, NULL);
        note_doubt(database, result, errno);
        return SQLITE_OK;
}

static int open_all(Database *database, int directory) {
        int r = open_handle(database, directory, database->name);
        if (r >= 0)
                r = confine(database);
        if (r < 0)
                return r;
        (void) sqlite3_wal_hook(database->handle, on_log_grown, database);
        return run(database, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                             "PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;"
                             "PRAGMA cell_size_check = ON;");
}

/* Without what SQLite does when it closes: these files are not to be gone on with. -EIO while one is read.
 */
static int close_handle(Database *database) {
        for (size_t i = 0; i < database->cache_count; i++)
                if (database->cache[i].in_use)
                        return -EIO;
        for (size_t i = 0; i < database->cache_count; i++)
                (void) sqlite3_finalize(database->cache[i].statement);
        database->cache_count = 0;
        if (database->handle)
                (void) sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (sqlite3_close(database->handle) != SQLITE_OK)
                return -EIO;
        database->handle = NULL;
        return 0;
}

static int open_and_migrate(Database *database, int directory, const char *const *migrations, size_t count,
                            Fault *fault) {
        int r = open_all(database, directory);
        return r < 0 ? r : migrate(database, database->name, migrations, count, fault);
}

int database_open(int directory, const char *name, const char *const *migrations, size_t count,
                  Database **ret, Fault *fault) {
        _cleanup_(database_freep) Database *database = new0(Database, 1);
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        if (!database)
                return -ENOMEM;
        database->directory = -EBADF;
        database->name = strdup(name);
        if (!database->name)
                return -ENOMEM;

        /* By a process that was killed after an error, before it could do that. Nothing speaks for one: on a
         * disk that is full or can only be read, what can be done without is done. */
        int r = database_renew_closed(directory, name);
        if (r >= 0 || r == -ENOSPC || r == -EDQUOT || r == -EROFS)
                r = open_and_migrate(database, directory, migrations, count, &own);
        if (r == -ENOSPC && store_reserve_give_up(directory)) {
                fault_done(&own);
                own = FAULT_NULL;
                r = close_handle(database);
                if (r >= 0)
                        r = open_and_migrate(database, directory, migrations, count, &own);
        }
        fault_move(fault, &own);
        if (r < 0)
                return fault_set_errno(fault, r, "%s: cannot be opened", name);
        *ret = TAKE_PTR(database);
        return 0;
}

/* Before something is written outside of a transaction: what is committed next would be synced, but may lie
 * behind a gap. Until this succeeds nothing can be written. */
static int settle_doubt(Database *database) {
        if (!database->doubtful || (database->handle && !sqlite3_get_autocommit(database->handle)))
                return 0;
        int r = database->handle ? database_renew(database->directory, database->name) : 0;
        if (r >= 0 && database->handle)
                r = close_handle(database);
        if (r >= 0)
                r = open_all(database, database->directory);
        database->doubtful = r < 0;
        return r;
}

Database *database_free(Database *database) {
        if (!database)
                return NULL;
        if (settle_doubt(database) < 0 && database->handle)
                (void) sqlite3_db_config(database->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        for (size_t i = 0; i < database->cache_count; i++)
                (void) sqlite3_finalize(database->cache[i].statement);
        free(database->cache);
        (void) sqlite3_close_v2(database->handle);
        fd_close(database->directory);
        free(database->name);
        free(database);
        return NULL;
}

int database_begin(Database *database) {
        assert(!database->handle || sqlite3_get_autocommit(database->handle));
        return database_execute(database, "BEGIN IMMEDIATE", "");
}

int database_commit(Database *database) {
        int r = database_execute(database, "COMMIT", "");
        if (r < 0)
                database_rollback(database);
        (void) settle_doubt(database); /* at once, if that can be: what failed is not to come back */
        return r;
}

void database_rollback(Database *database) {
        if (database->handle && !sqlite3_get_autocommit(database->handle))
                (void) database_execute(database, "ROLLBACK", "");
}

/* 1 with a statement of the cache, which stays there; 0 with one of the caller's own, because the cached one
 * is being read further up the stack. */
static int take_statement(Database *database, const char *sql, sqlite3_stmt **ret) {
        bool nested = false;
        int r = database->handle ? 0 : settle_doubt(database);
        if (r < 0)
                return r;
        for (size_t i = 0; i < database->cache_count; i++) {
                CachedStatement *cached = &database->cache[i];
                if (cached->sql != sql)
                        continue;
                assert(strcmp(sqlite3_sql(cached->statement), sql) == 0);
                if (!cached->in_use) {
                        cached->in_use = true;
                        *ret = cached->statement;
                        return 1;
                }
                nested = true;
        }

        sqlite3_stmt *statement = NULL;
        errno = 0;
        int result = sqlite3_prepare_v3(database->handle, sql, -1, nested ? 0 : SQLITE_PREPARE_PERSISTENT,
                                        &statement, NULL);
        if (result != SQLITE_OK)
                return database_error(database, result, sql);
        assert(statement);
        CachedStatement *larger = NULL;
        if (!nested)
                larger = realloc(database->cache, (database->cache_count + 1) * sizeof(CachedStatement));
        *ret = statement;
        if (!larger)
                return 0;
        larger[database->cache_count++] = (CachedStatement){ sql, statement, true };
        database->cache = larger;
        return 1;
}

static void give_statement_back(Database *database, sqlite3_stmt *statement) {
        for (size_t i = 0; i < database->cache_count; i++)
                if (database->cache[i].statement == statement) {
                        (void) sqlite3_reset(statement);
                        (void) sqlite3_clear_bindings(statement);
                        database->cache[i].in_use = false;
                        return;
                }
        (void) sqlite3_finalize(statement);
}

/* lifetime: SQLITE_STATIC where the statement ends before the caller's data does, else SQLITE_TRANSIENT. */
static int bind(sqlite3_stmt *statement, sqlite3_destructor_type lifetime, const char *types,
                va_list arguments) {
        assert(strlen(types) == (size_t) sqlite3_bind_parameter_count(statement));
        for (int i = 1; *types; types++, i++) {
                int result = SQLITE_MISUSE;
                if (*types == 's')
                        result = sqlite3_bind_text(statement, i, va_arg(arguments, const char *), -1,
                                                   lifetime);
                else if (*types == 'i')
                        result = sqlite3_bind_int64(statement, i, va_arg(arguments, int64_t));
                else if (*types == 'b') {
                        const void *data = va_arg(arguments, const void *);
                        result =
                                sqlite3_bind_blob64(statement, i, data, va_arg(arguments, size_t), lifetime);
                }
                assert(result != SQLITE_MISUSE);
                if (result != SQLITE_OK)
                        return result;
        }
        return SQLITE_OK;
}

int database_query(Database *database, DatabaseRows *ret, const char *sql, const char *types, ...) {
        sqlite3_stmt *statement;
        int r = take_statement(database, sql, &statement);
        if (r < 0)
                return r;

        va_list arguments;
        va_start(arguments, types);
        int result = bind(statement, SQLITE_TRANSIENT, types, arguments);
        va_end(arguments);
        if (result != SQLITE_OK) {
                r = database_error(database, result, sql);
                give_statement_back(database, statement);
                return r;
        }
        *ret = (DatabaseRows){ .statement = statement, .database = database };
        return 0;
}

int database_rows_next(DatabaseRows *rows) {
        errno = 0;
        int result = sqlite3_step(rows->statement);
        if (result == SQLITE_ROW)
                return 1;
        return database_error(rows->database, result, sqlite3_sql(rows->statement));
}

void database_rows_done(DatabaseRows *rows) {
        if (rows->statement)
                give_statement_back(rows->database, rows->statement);
        *rows = (DatabaseRows){ 0 };
}

int64_t database_rows_int64(const DatabaseRows *rows, int column) {
        assert(column < sqlite3_column_count(rows->statement));
        return sqlite3_column_int64(rows->statement, column);
}

const char *database_rows_string(const DatabaseRows *rows, int column) {
        assert(column < sqlite3_column_count(rows->statement));
        return (const char *) sqlite3_column_text(rows->statement, column);
}

const void *database_rows_blob(const DatabaseRows *rows, int column, size_t *ret_size) {
        assert(column < sqlite3_column_count(rows->statement));
        const void *data = sqlite3_column_blob(rows->statement, column);
        *ret_size = (size_t) sqlite3_column_bytes(rows->statement, column);
        return data;
}

int database_execute(Database *database, const char *sql, const char *types, ...) {
        sqlite3_stmt *statement;
        int r = settle_doubt(database);
        if (r >= 0)
                r = take_statement(database, sql, &statement);
        if (r < 0)
                return r;

        /* sqlite3_changes() keeps its value over statements that change no rows by their kind. */
        int64_t before = sqlite3_total_changes64(database->handle);
        va_list arguments;
        va_start(arguments, types);
        int result = bind(statement, SQLITE_STATIC, types, arguments);
        va_end(arguments);
        errno = 0;
        if (result == SQLITE_OK)
                do
                        result = sqlite3_step(statement);
                while (result == SQLITE_ROW);
        r = database_error(database, result, sql);
        if (r >= 0 && sqlite3_total_changes64(database->handle) != before)
                r = sqlite3_changes(database->handle);
        give_statement_back(database, statement);
        if (r < 0)
                (void) settle_doubt(database); /* as in database_commit() */
        return r;
}

int64_t database_last_id(Database *database) {
        return database->handle ? sqlite3_last_insert_rowid(database->handle) : 0;
}

/* SQLite carries this out when the statement is prepared: a cached one would do nothing. */
int database_set_durable(Database *database, bool durable) {
        int r = settle_doubt(database);
        if (r < 0)
                return r;
        assert(sqlite3_get_autocommit(database->handle));
        return run(database, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
}
