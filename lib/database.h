/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service's SQLite database: WAL, synchronous=FULL, foreign keys on, opened with migrations; statements
 * prepared once and bound with a format string. Functions return a negative errno: -EEXIST for a broken
 * uniqueness rule, -EBUSY for a broken foreign key, -EINVAL for any other broken constraint, -EUCLEAN for a
 * damaged file, -EAGAIN while another process holds the database, -ENOSPC, -EROFS, -EIO. SQLite's own
 * message is logged at the debug level. After a write that failed nothing is written before everything has
 * been opened anew, with new files (database-renew.h); what is read meanwhile is what is committed. */

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct Database Database;

/* migrations[i] is the SQL that leads from user_version i to i + 1; each runs in a transaction of its own.
 * A database of a newer version is refused with -EOPNOTSUPP and a sentence. On a full disk the directory's
 * reserve is given up for it (store-reserve.h): opening takes some room. */
int database_open(int directory, const char *name, const char *const *migrations, size_t count,
                  Database **ret, Fault *fault);
Database *database_free(Database *database);
DEFINE_CLEANUP(Database *, database_free);

int database_begin(Database *database); /* BEGIN IMMEDIATE */
int database_commit(Database *database);
void database_rollback(Database *database); /* a no-op outside a transaction */

/* { if ((r = database_begin(db)) < 0) return r; _cleanup_(database_rollbackp) Database *transaction = db; …
 *   return database_commit(db); } rolls back on every early return. */
static inline void database_rollbackp(Database **database) {
        if (*database)
                database_rollback(*database);
}

/* A row set. sql must be a string literal: the prepared statement is cached by its address and reset
 * afterwards. types has one letter for each parameter: 's' const char * (NULL is SQL NULL), 'i' int64_t, 'b'
 * const void * and size_t. */
typedef struct DatabaseRows {
        sqlite3_stmt *statement;
        Database *database;
} DatabaseRows;

int database_query(Database *database, DatabaseRows *ret, const char *sql, const char *types, ...);
/* 1 a row is there, 0 no more. */
int database_rows_next(DatabaseRows *rows);
void database_rows_done(DatabaseRows *rows);
int64_t database_rows_int64(const DatabaseRows *rows, int column);
/* Valid until the next step; NULL for SQL NULL. */
const char *database_rows_string(const DatabaseRows *rows, int column);
const void *database_rows_blob(const DatabaseRows *rows, int column, size_t *ret_size);

/* A statement without rows (those of RETURNING are passed over); the number of rows changed. */
int database_execute(Database *database, const char *sql, const char *types, ...);
int64_t database_last_id(Database *database);

/* false: what follows outlives the process, but not a loss of power, and costs no sync; true (as it is after
 * database_open()): from the next commit on everything up to it outlives both. Not within a transaction. */
int database_set_durable(Database *database, bool durable);
