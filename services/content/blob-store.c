/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/blob-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"

/* "sha256/" "ab/" "abcd…" */
#define BLOB_PATH_SIZE (DIGEST_STRING_MAX + 4)

static const char *blob_path(const Digest *digest, char buffer[BLOB_PATH_SIZE]) {
        char hex[DIGEST_STRING_MAX];
        digest_to_hex(digest, hex);
        (void) snprintf(buffer, BLOB_PATH_SIZE, "%s/%.2s/%s", digest_algorithm_to_string(digest->algorithm),
                        hex, hex);
        return buffer;
}

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

int blob_find(ContentState *state, const char *namespace, const Digest *digest, Blob *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];

        int r = database_query(state->database, &rows,
                               "SELECT size, created FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE namespace = ? AND digest = ?",
                               "ss", namespace, digest_to_string(digest, text));
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        *ret = (Blob){
                .digest = *digest,
                .size = (uint64_t) database_rows_int64(&rows, 0),
                .created = (uint64_t) database_rows_int64(&rows, 1),
        };
        return 0;
}

int blob_open(ContentState *state, const char *namespace, const Digest *digest, Blob *ret_blob) {
        char path[BLOB_PATH_SIZE];
        Blob blob;

        int r = blob_find(state, namespace, digest, &blob);
        if (r < 0)
                return r;
        /* Not openat2(), which a unit with RestrictSUIDSGID= does not have; nobody else makes links here. */
        int fd = openat(state->blobs, blob_path(digest, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                log_error("%s is recorded, but its file can't be opened: %s", path, strerror(errno));
                return errno == ENOENT ? -EIO : -errno;
        }
        *ret_blob = blob;
        return fd;
}

int blob_list(ContentState *state, const char *namespace, const Digest *after, uint32_t limit,
              BlobVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX] = "";
        uint32_t count = 0;

        int r = database_query(state->database, &rows,
                               "SELECT digest, size, created FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE namespace = ? AND digest > ? ORDER BY digest LIMIT ?",
                               "ssi", namespace, after ? digest_to_string(after, text) : text,
                               (int64_t) limit + 1);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                Blob blob = {
                        .size = (uint64_t) database_rows_int64(&rows, 1),
                        .created = (uint64_t) database_rows_int64(&rows, 2),
                };
                if (count++ == limit)
                        return 1;
                if (digest_parse(database_rows_string(&rows, 0), &blob.digest) < 0)
                        return -EUCLEAN;
                r = visit(&blob, userdata);
                if (r < 0)
                        return r;
        }
        return r;
}

int blob_is_stored(ContentState *state, const Digest *digest) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];
        int r = database_query(state->database, &rows, "SELECT 1 FROM blobs WHERE digest = ?", "s",
                               digest_to_string(digest, text));
        return r < 0 ? r : database_rows_next(&rows);
}

/* 1 when no namespace has it any longer. */
static int blob_forget(ContentState *state, const char *namespace, const char *digest) {
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = database_execute(transaction, "DELETE FROM namespace_blobs WHERE namespace = ? AND digest = ?",
                             "ss", namespace, digest);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        int last = database_execute(transaction,
                                    "DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS"
                                    " (SELECT 1 FROM namespace_blobs WHERE digest = ?1)",
                                    "s", digest);
        if (last < 0)
                return last;
        r = database_commit(transaction);
        return r < 0 ? r : last > 0;
}

/* The record goes first: killed in between, a file is left that the next start removes. */
int blob_delete(ContentState *state, const char *namespace, const Digest *digest) {
        char text[DIGEST_STRING_MAX], path[BLOB_PATH_SIZE];

        int r = blob_forget(state, namespace, digest_to_string(digest, text));
        if (r <= 0)
                return r;
        if (unlinkat(state->blobs, blob_path(digest, path), 0) < 0 && errno != ENOENT)
                log_warning("%s can't be removed: %s", path, strerror(errno));
        return 0;
}

int blob_place(ContentState *state, const Digest *digest, int directory, const char *name,
               int ret_directories[BLOB_DIRECTORIES_MAX], size_t *ret_count) {
        const char *algorithm = digest_algorithm_to_string(digest->algorithm);
        char path[BLOB_PATH_SIZE], *hex = strrchr(blob_path(digest, path), '/') + 1;
        int fds[BLOB_DIRECTORIES_MAX] = { -EBADF, -EBADF, -EBADF };
        int r = 0;

        hex[-1] = '\0'; /* path is "sha256/ab" */
        if (mkdirat(state->blobs, algorithm, 0700) < 0 && errno != EEXIST)
                return -errno;
        bool made = mkdirat(state->blobs, path, 0700) >= 0;
        if (!made && errno != EEXIST)
                return -errno;
        const char *names[BLOB_DIRECTORIES_MAX] = { path, algorithm, "." };
        size_t count = made ? BLOB_DIRECTORIES_MAX : 1;
        for (size_t i = 0; i < count && r >= 0; i++) {
                fds[i] = openat(state->blobs, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = fds[i] < 0 ? -errno : 0;
        }
        /* What may stand there has no record, and so is from an end in the middle. */
        if (r >= 0 && renameat(directory, name, fds[0], hex) < 0)
                r = -errno;
        if (r < 0) {
                fd_close_many(fds, count);
                return r;
        }
        memcpy(ret_directories, fds, sizeof(fds));
        *ret_count = count;
        return 0;
}

int blob_displace(ContentState *state, const Digest *digest, int directory, const char *name) {
        char path[BLOB_PATH_SIZE];
        return renameat(state->blobs, blob_path(digest, path), directory, name) < 0 ? -errno : 0;
}

int blob_record(ContentState *state, const char *namespace, const Digest *digest, uint64_t size) {
        char text[DIGEST_STRING_MAX];
        digest_to_string(digest, text);
        int r = database_execute(state->database, "INSERT OR IGNORE INTO blobs (digest, size) VALUES (?, ?)",
                                 "si", text, (int64_t) size);
        if (r < 0)
                return r;
        r = database_execute(state->database,
                             "INSERT OR IGNORE INTO namespace_blobs (namespace, digest, created)"
                             " VALUES (?, ?, ?)",
                             "ssi", namespace, text, (int64_t) now_usec());
        return r < 0 ? r : 0;
}

/* ---- after an end that was not orderly ---- */

typedef struct BlobSweep {
        ContentState *state;
        const char *algorithm;
} BlobSweep;

static int sweep_file(int directory, const char *name, void *userdata) {
        BlobSweep *sweep = userdata;
        _cleanup_free_ char *text = NULL;
        Digest digest;

        if (asprintf(&text, "%s:%s", sweep->algorithm, name) < 0)
                return -ENOMEM;
        int r = digest_parse(text, &digest) < 0 ? 0 : blob_is_stored(sweep->state, &digest);
        if (r != 0)
                return r < 0 ? r : 0;
        log_info("%s was left in the middle and goes", text);
        return unlinkat(directory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* What is no directory has been put there by somebody else, and is left alone. */
static int sweep_below(int directory, const char *name, DirectoryVisit visit, void *userdata) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        return content_visit_directory(fd, visit, userdata);
}

static int sweep_directory(int directory, const char *name, void *userdata) {
        return sweep_below(directory, name, sweep_file, userdata);
}

static int sweep_algorithm(int directory, const char *name, void *userdata) {
        BlobSweep sweep = { .state = userdata, .algorithm = name };
        return sweep_below(directory, name, sweep_directory, &sweep);
}

static bool record_is_right(ContentState *state, const char *text, int64_t size) {
        char path[BLOB_PATH_SIZE];
        struct stat st;
        Digest digest;
        return digest_parse(text, &digest) >= 0 &&
               fstatat(state->blobs, blob_path(&digest, path), &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
               S_ISREG(st.st_mode) && st.st_size == size;
}

/* The records whose file is missing or has another size. */
static int find_broken_records(ContentState *state, char ***ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        _cleanup_strv_ char **broken = NULL;
        int r = database_query(state->database, &rows, "SELECT digest, size FROM blobs", "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                const char *text = database_rows_string(&rows, 0);
                if (!record_is_right(state, text, database_rows_int64(&rows, 1)))
                        r = strv_append(&broken, text);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(broken);
        return r;
}

static int drop_records(ContentState *state, char **digests) {
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        STRV_FOREACH (digest, digests) {
                log_error("%s is recorded, but its file is not what it was: forgotten", digest);
                r = database_execute(transaction, "DELETE FROM namespace_blobs WHERE digest = ?", "s",
                                     digest);
                if (r >= 0)
                        r = database_execute(transaction, "DELETE FROM blobs WHERE digest = ?", "s", digest);
                if (r < 0)
                        return r;
        }
        return database_commit(transaction);
}

int blob_store_sweep(ContentState *state) {
        _cleanup_strv_ char **broken = NULL;
        int r = find_broken_records(state, &broken);
        if (r >= 0 && broken)
                r = drop_records(state, broken);
        return r < 0 ? r : content_visit_directory(state->blobs, sweep_algorithm, state);
}
