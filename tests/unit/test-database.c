/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/database.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/database-index.h"
#include "lib/database-renew.h"
#include "lib/fd.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"

static const char *const migrations[] = {
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, data BLOB);",
        ("CREATE TABLE child (parent INTEGER NOT NULL REFERENCES parent (id)) STRICT;"
         "INSERT INTO parent (name) VALUES ('made by the second step');"),
        "ALTER TABLE parent ADD COLUMN size INTEGER NOT NULL DEFAULT 7;",
};

static Database *opened(int directory, const char *name, size_t version) {
        Database *database = NULL;
        CHECK_NO_FAULT(database_open(directory, name, migrations, version, &database, &fault));
        return database;
}

static int64_t count_parents(Database *database) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        CHECK_OK(database_query(database, &rows, "SELECT count(*) FROM parent", ""));
        CHECK_INT(database_rows_next(&rows), 1);
        return database_rows_int64(&rows, 0);
}

static void binds_and_reads_every_kind(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "kinds.db", 3);
        CHECK_INT(database_execute(database, "INSERT INTO parent (name, data, size) VALUES (?, ?, ?)", "sbi",
                                   "name", "\0x", (size_t) 2, INT64_MAX),
                  1);
        CHECK_INT(database_last_id(database), 2);
        CHECK_INT(database_execute(database, "INSERT INTO parent (name, data) VALUES (?, ?)", "sb", "empty",
                                   "", (size_t) 0),
                  1);

        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        size_t size = 99;
        CHECK_OK(database_query(database, &rows, "SELECT name, data, size FROM parent WHERE id = ?", "i",
                                (int64_t) 2));
        CHECK_INT(database_rows_next(&rows), 1);
        CHECK_STRING(database_rows_string(&rows, 0), "name");
        const void *data = database_rows_blob(&rows, 1, &size);
        CHECK_INT(size, 2);
        CHECK(memcmp(data, "\0x", 2) == 0);
        CHECK(database_rows_int64(&rows, 2) == INT64_MAX);
        CHECK_INT(database_rows_next(&rows), 0);
        database_rows_done(&rows);

        CHECK_OK(database_query(database, &rows, "SELECT data FROM parent WHERE name = ?", "s",
                                "made by the second step"));
        CHECK_INT(database_rows_next(&rows), 1);
        CHECK(!database_rows_string(&rows, 0));
        database_rows_done(&rows);
        database_rows_done(&rows); /* twice is fine */
}

static void broken_rules_are_told_apart(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "rules.db", 3);
        const char *insert = "INSERT INTO parent (name) VALUES (?)";
        CHECK_INT(database_execute(database, insert, "s", "a"), 1);
        CHECK_ERROR(database_execute(database, insert, "s", "a"), -EEXIST);
        CHECK_ERROR(database_execute(database, insert, "s", NULL), -EINVAL);
        CHECK_ERROR(database_execute(database, "INSERT INTO parent (id, name) VALUES (1, 'b')", ""),
                    -EEXIST);
        CHECK_ERROR(database_execute(database, "INSERT INTO child VALUES (99)", ""), -EBUSY);
        CHECK_INT(database_execute(database, "INSERT INTO child VALUES (1)", ""), 1);
        CHECK_ERROR(database_execute(database, "DELETE FROM parent WHERE id = 1", ""), -EBUSY);
        CHECK_ERROR(database_execute(database, "INSERT INTO child VALUES ('text')", ""), -EINVAL);
        CHECK_INT(database_execute(database, "DELETE FROM parent WHERE id = 77", ""), 0);
        CHECK_INT(database_execute(database, "UPDATE parent SET size = 1", ""), 2);
        CHECK_INT(database_execute(database, "CREATE TABLE other (x)", ""), 0);
}

static int fail_halfway(Database *database) {
        int r = database_begin(database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = database;
        r = database_execute(transaction, "INSERT INTO parent (name) VALUES ('half')", "");
        if (r < 0)
                return r;
        r = database_execute(transaction, "INSERT INTO parent (name) VALUES ('half')", "");
        if (r < 0)
                return r;
        return database_commit(transaction);
}

static void an_early_return_rolls_back(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "transaction.db", 3);
        CHECK_ERROR(fail_halfway(database), -EEXIST);
        CHECK_INT(count_parents(database), 1);

        CHECK_OK(database_begin(database));
        CHECK_OK(database_execute(database, "INSERT INTO parent (name) VALUES ('whole')", ""));
        CHECK_OK(database_commit(database));
        database_rollback(database); /* outside of any: nothing */
        CHECK_INT(count_parents(database), 2);
}

static void a_failed_commit_leaves_no_transaction_open(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "commit.db", 3);
        CHECK_OK(database_execute(database,
                                  "CREATE TABLE late (p INTEGER REFERENCES parent (id) "
                                  "DEFERRABLE INITIALLY DEFERRED)",
                                  ""));
        CHECK_OK(database_begin(database));
        CHECK_OK(database_execute(database, "INSERT INTO late VALUES (99)", ""));
        CHECK_ERROR(database_commit(database), -EBUSY);
        CHECK_OK(database_begin(database));
        CHECK_OK(database_commit(database));
}

static int64_t depth_of_nesting(Database *database, int64_t depth) {
        if (depth == 0)
                return 0;
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        CHECK_OK(database_query(database, &rows, "SELECT ? UNION ALL SELECT -1", "i", depth));
        CHECK_INT(database_rows_next(&rows), 1);
        int64_t below = depth_of_nesting(database, depth - 1);
        /* The row and the position are still this level's own. */
        CHECK_INT(database_rows_int64(&rows, 0), depth);
        CHECK_INT(database_rows_next(&rows), 1);
        CHECK_INT(database_rows_int64(&rows, 0), -1);
        CHECK_INT(database_rows_next(&rows), 0);
        return below + 1;
}

static void one_literal_may_be_read_within_itself(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "nested.db", 3);
        CHECK_INT(depth_of_nesting(database, 4), 4);
        CHECK_INT(depth_of_nesting(database, 2), 2);
}

static void migrates_step_by_step_and_never_back(void) {
        _cleanup_close_ int directory = check_directory();
        Database *database = opened(directory, "steps.db", 1);
        CHECK_INT(count_parents(database), 0);
        database_free(database);
        database = opened(directory, "steps.db", 3);
        CHECK_INT(count_parents(database), 1);
        database_free(database);
        database = opened(directory, "steps.db", 3);
        CHECK_INT(count_parents(database), 1);
        database_free(database);
        database = NULL;
        CHECK_FAULT(database_open(directory, "steps.db", migrations, 2, &database, &fault), -EOPNOTSUPP,
                    "steps.db: has version 3, written by a newer crt; this one knows up to 2");
        CHECK(!database);
}

static void a_step_that_fails_leaves_the_version_before(void) {
        static const char *const broken[] = {
                "CREATE TABLE a (x);",
                "CREATE TABLE b (x); CREATE TABLE a (x);",
        };
        static const char *const mended[] = { "CREATE TABLE a (x);", "CREATE TABLE b (x);" };
        _cleanup_close_ int directory = check_directory();
        Database *database = NULL;
        CHECK_FAULT(database_open(directory, "broken.db", broken, 2, &database, &fault), -EIO,
                    "broken.db: cannot be brought to version 2: table a already exists");
        CHECK(!database);
        CHECK_NO_FAULT(database_open(directory, "broken.db", mended, 2, &database, &fault));
        database_free(database);
}

static void damage_is_seen(void) {
        _cleanup_close_ int directory = check_directory();
        check_directory_write(directory, "garbage.db",
                              "this is a text of more than a few bytes, not SQLite");
        Database *database = NULL;
        CHECK_FAULT(database_open(directory, "garbage.db", migrations, 3, &database, &fault), -EUCLEAN,
                    "garbage.db");
        CHECK(!database);
}

static void links_and_other_names_are_refused(void) {
        _cleanup_close_ int directory = check_directory();
        Database *database = NULL;
        check_directory_write(directory, "target.db", "");
        CHECK_INT(symlinkat("target.db", directory, "link.db"), 0);
        CHECK_INT(mkfifoat(directory, "fifo.db", 0600), 0);
        CHECK_FAULT(database_open(directory, "link.db", migrations, 3, &database, &fault), -ELOOP,
                    "link.db");
        CHECK_FAULT(database_open(directory, "fifo.db", migrations, 3, &database, &fault), -EINVAL,
                    "fifo.db");
        CHECK_FAULT(database_open(directory, "../x.db", migrations, 3, &database, &fault), -EINVAL, "x.db");
}

static void settings_are_those_of_a_durable_database(void) {
        static const struct {
                const char *pragma, *value;
        } expected[] = {
                { "PRAGMA journal_mode", "wal" },  { "PRAGMA synchronous", "2" },
                { "PRAGMA foreign_keys", "1" },    { "PRAGMA trusted_schema", "0" },
                { "PRAGMA busy_timeout", "2000" }, { "PRAGMA user_version", "3" },
        };
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "settings.db", 3);
        for (size_t i = 0; i < ELEMENTS_OF(expected); i++) {
                _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
                CHECK_OK(database_query(database, &rows, expected[i].pragma, ""));
                CHECK_INT(database_rows_next(&rows), 1);
                CHECK_FORMAT(strcmp(database_rows_string(&rows, 0), expected[i].value) == 0, "%s is %s",
                             expected[i].pragma, database_rows_string(&rows, 0));
        }
        struct stat st;
        CHECK_INT(fstatat(directory, "settings.db", &st, 0), 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        CHECK_INT(fstatat(directory, "settings.db-wal", &st, 0), 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        CHECK(database_execute(database, "ATTACH ':memory:' AS other", "") < 0);
}

/* Literals of their own: the value that a PRAGMA answers is that of the time when it was prepared. */
static void durability_may_be_lowered_and_raised(void) {
        static const char *const questions[] = { "PRAGMA synchronous;", "PRAGMA synchronous; ",
                                                 "PRAGMA synchronous" };
        static const int64_t expected[] = { 2, 1, 2 };
        _cleanup_close_ int directory = check_directory();
        _cleanup_(database_freep) Database *database = opened(directory, "durable.db", 3);
        for (size_t i = 0; i < ELEMENTS_OF(questions); i++) {
                if (i > 0)
                        CHECK_OK(database_set_durable(database, i == 2));
                _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
                CHECK_OK(database_query(database, &rows, questions[i], ""));
                CHECK_INT(database_rows_next(&rows), 1);
                CHECK_INT(database_rows_int64(&rows, 0), expected[i]);
        }
}

/* The directory is moved away under a database that is open: its log goes with it. */
static void follows_the_directory_and_not_its_name(void) {
        _cleanup_close_ int directory = check_directory();
        CHECK_INT(mkdirat(directory, "before", 0755), 0);
        _cleanup_close_ int before = openat(directory, "before", O_PATH | O_DIRECTORY | O_CLOEXEC);
        CHECK_INT(renameat(directory, "before", directory, "after"), 0);
        Database *database = opened(before, "moved.db", 1);
        CHECK_INT(renameat(directory, "after", directory, "last"), 0);
        CHECK_INT(database_execute(database, "INSERT INTO parent (name) VALUES ('x')", ""), 1);
        CHECK_INT(faccessat(directory, "last/moved.db-wal", F_OK, 0), 0);
        database_free(database);
        CHECK_INT(faccessat(directory, "last/moved.db-wal", F_OK, 0), -1);
        _cleanup_close_ int last = openat(directory, "last", O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(database_freep) Database *again = opened(last, "moved.db", 1);
        CHECK_INT(count_parents(again), 1);
}

/* What was committed is there after the process is gone without closing anything. */
static void a_killed_process_loses_nothing_committed(void) {
        _cleanup_close_ int directory = check_directory();
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
                Database *database = opened(directory, "killed.db", 3);
                (void) database_execute(database, "INSERT INTO parent (name) VALUES ('kept')", "");
                (void) database_begin(database);
                (void) database_execute(database, "INSERT INTO parent (name) VALUES ('lost')", "");
                raise(SIGKILL);
        }
        CHECK_INT(waitpid(pid, NULL, 0), pid);
        _cleanup_(database_freep) Database *database = opened(directory, "killed.db", 3);
        CHECK_INT(count_parents(database), 2);
}

/* The limit for the size of a file is as a disk that fails: the write itself, here, instead of one in the
 * background. */
static void set_file_size(rlim_t size) {
        CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ size, RLIM_INFINITY }) == 0);
}

static ino_t inode_of(int directory, const char *name) {
        struct stat st;
        CHECK(fstatat(directory, name, &st, 0) == 0);
        return st.st_ino;
}

static int add_large(Database *database, const char *name) {
        static const char data[100000];
        return database_execute(database, "INSERT INTO parent (name, data) VALUES (?, ?)", "sb", name, data,
                                sizeof(data));
}

static void after_a_failed_write_it_goes_on_with_new_files(void) {
        _cleanup_close_ int directory = check_directory();
        (void) signal(SIGXFSZ, SIG_IGN);
        Database *database = opened(directory, "failed.db", 3);
        CHECK_OK(add_large(database, "before"));
        ino_t log = inode_of(directory, "failed.db-wal");
        set_file_size(200000);
        CHECK_ERROR(add_large(database, "failed"), -EIO);
        set_file_size(RLIM_INFINITY);
        CHECK(inode_of(directory, "failed.db-wal") != log);
        CHECK_INT(count_parents(database), 2);
        CHECK_OK(add_large(database, "after"));
        CHECK_INT(count_parents(database), 3);
        database_free(database);
        database = opened(directory, "failed.db", 3);
        CHECK_INT(count_parents(database), 3);
        database_free(database);
}

static void nothing_is_written_until_there_are_new_files(void) {
        _cleanup_close_ int directory = check_directory();
        (void) signal(SIGXFSZ, SIG_IGN);
        _cleanup_(database_freep) Database *database = opened(directory, "ill.db", 3);
        CHECK_OK(add_large(database, "before"));
        ino_t log = inode_of(directory, "ill.db-wal");
        set_file_size(50000);
        CHECK_ERROR(add_large(database, "failed"), -EIO);
        CHECK(inode_of(directory, "ill.db-wal") == log);
        CHECK(database_begin(database) < 0);
        CHECK(database_execute(database, "INSERT INTO parent (name) VALUES ('small')", "") < 0);
        CHECK(database_set_durable(database, false) < 0);
        CHECK_INT(count_parents(database), 2); /* what can be read is */
        CHECK(faccessat(directory, "ill.db-wal-new", F_OK, 0) < 0);
        set_file_size(RLIM_INFINITY);
        CHECK_OK(database_begin(database));
        CHECK_OK(database_execute(database, "INSERT INTO parent (name) VALUES ('small')", ""));
        CHECK_OK(database_commit(database));
        CHECK_INT(count_parents(database), 3);
        CHECK(inode_of(directory, "ill.db-wal") != log);
}

static size_t pages_in_memory(int directory, const char *name) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        struct stat st;
        CHECK(fd >= 0 && fstat(fd, &st) == 0);
        size_t page = (size_t) sysconf(_SC_PAGESIZE), pages = ((size_t) st.st_size + page - 1) / page,
               count = 0;
        _cleanup_free_ unsigned char *in_memory = malloc(pages);
        void *mapping = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        CHECK(in_memory && mapping != MAP_FAILED);
        CHECK(mincore(mapping, (size_t) st.st_size, in_memory) == 0);
        CHECK(munmap(mapping, (size_t) st.st_size) == 0);
        for (size_t i = 0; i < pages; i++)
                count += in_memory[i] & 1;
        return count;
}

/* More than what is taken from the log into the database. */
static void be_killed_while_open(int directory) {
        Database *database = opened(directory, "behind.db", 3);
        char name[32];
        for (int i = 0; i < 60; i++) {
                snprintf(name, sizeof(name), "large %i", i);
                CHECK_OK(add_large(database, name));
        }
        (void) raise(SIGKILL);
}

/* It may have been killed after a write into the database failed: what memory says of that counts for
 * nothing. */
static void after_a_kill_the_disk_is_read(void) {
        _cleanup_close_ int directory = check_directory();
        struct statfs fs;
        int status;
        if (fstatfs(directory, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
                check_skip("there is no disk");
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
                be_killed_while_open(directory);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        ino_t log = inode_of(directory, "behind.db-wal"), file = inode_of(directory, "behind.db");
        CHECK(pages_in_memory(directory, "behind.db") > 500);
        CHECK_OK(database_renew_closed(directory, "behind.db"));
        CHECK(inode_of(directory, "behind.db-wal") != log);
        CHECK(inode_of(directory, "behind.db") != file || pages_in_memory(directory, "behind.db") == 0);
        _cleanup_(database_freep) Database *database = opened(directory, "behind.db", 3);
        CHECK_INT(count_parents(database), 61);
}

static int64_t size_after_preparing(int directory, int index) {
        struct stat st;
        CHECK_OK(ftruncate(index, 100000));
        CHECK_OK(database_index_prepare(directory, "x.db"));
        CHECK_OK(fstat(index, &st));
        return st.st_size;
}

static void an_index_that_nobody_uses_begins_empty(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_close_ int index = openat(directory, "x.db-shm", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct flock in_use = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 128, .l_len = 1 };
        CHECK_OK(index);
        CHECK_INT(size_after_preparing(directory, index), 0);
        CHECK_OK(fcntl(index, F_OFD_SETLK, &in_use)); /* as SQLite has it in another process */
        CHECK_INT(size_after_preparing(directory, index), 100000);
        CHECK(database_index_is_in_use(directory, "x.db"));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(binds_and_reads_every_kind),
                CHECK_CASE(broken_rules_are_told_apart),
                CHECK_CASE(an_early_return_rolls_back),
                CHECK_CASE(a_failed_commit_leaves_no_transaction_open),
                CHECK_CASE(one_literal_may_be_read_within_itself),
                CHECK_CASE(migrates_step_by_step_and_never_back),
                CHECK_CASE(a_step_that_fails_leaves_the_version_before),
                CHECK_CASE(damage_is_seen),
                CHECK_CASE(links_and_other_names_are_refused),
                CHECK_CASE(settings_are_those_of_a_durable_database),
                CHECK_CASE(durability_may_be_lowered_and_raised),
                CHECK_CASE(follows_the_directory_and_not_its_name),
                CHECK_CASE(a_killed_process_loses_nothing_committed),
                CHECK_CASE(after_a_failed_write_it_goes_on_with_new_files),
                CHECK_CASE(nothing_is_written_until_there_are_new_files),
                CHECK_CASE(after_a_kill_the_disk_is_read),
                CHECK_CASE(an_index_that_nobody_uses_begins_empty),
                {},
        });
}
