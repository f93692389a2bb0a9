/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/blob-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/label.h"
#include "lib/log.h"
#include "services/content/content-labels.h"
#include "services/content/content-namespace.h"

/* "sha256/" "ab/" "abcd…" */
#define BLOB_PATH_SIZE (DIGEST_STRING_MAX + 4)

static const char *blob_path(const Digest *digest, char buffer[BLOB_PATH_SIZE]) {
        char hex[DIGEST_STRING_MAX];
        digest_to_hex(digest, hex);
        (void) snprintf(buffer, BLOB_PATH_SIZE, "%s/%.2s/%s", digest_algorithm_to_string(digest->algorithm),
                        hex, hex);
        return buffer;
}

static int blob_read(const DatabaseRows *rows, Blob *ret) {
        Blob blob = {
                .size = (uint64_t) database_rows_int64(rows, 1),
                .created = (uint64_t) database_rows_int64(rows, 2),
                .updated = (uint64_t) database_rows_int64(rows, 3),
                .damaged = (uint64_t) database_rows_int64(rows, 4),
                .verity = database_rows_int64(rows, 5) != 0,
        };
        if (digest_parse(database_rows_string(rows, 0), &blob.digest) < 0)
                return -EUCLEAN;
        if (blob.updated == 0)
                blob.updated = blob.created;
        *ret = blob;
        return 0;
}

int blob_find(ContentState *state, const char *namespace, const Digest *digest, Blob *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];

        int r = database_query(state->database, &rows,
                               "SELECT digest, size, created, updated, damaged, verity"
                               " FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE namespace = ? AND digest = ?",
                               "ss", namespace, digest_to_string(digest, text));
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return blob_read(&rows, ret);
}

int blob_mark_damaged(ContentState *state, const Digest *digest, const char *why) {
        char text[DIGEST_STRING_MAX];
        int r = database_execute(state->database,
                                 "UPDATE blobs SET damaged = ? WHERE digest = ? AND damaged = 0", "is",
                                 (int64_t) content_now(), digest_to_string(digest, text));
        if (r > 0)
                log_error("%s is damaged and not served any longer: %s", text, why);
        return r;
}

int blob_open_file(ContentState *state, const Digest *digest) {
        char path[BLOB_PATH_SIZE];
        /* Not openat2(), which a unit with RestrictSUIDSGID= does not have; nobody else makes links here. */
        int fd = openat(state->blobs, blob_path(digest, path), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Clients can open what they get anew, for reading. */
static int set_writable(ContentState *state, const Digest *digest, bool writable) {
        char path[BLOB_PATH_SIZE];
        return fchmodat(state->blobs, blob_path(digest, path), writable ? 0644 : 0444, 0) < 0 ? -errno : 0;
}

int blob_make_read_only(ContentState *state, const Digest *digest) {
        return set_writable(state, digest, false);
}

static bool is_sealing(const ContentState *state, const Digest *digest) {
        for (const BlobSealing *sealing = state->sealing; sealing; sealing = sealing->next)
                if (digest_equal(&sealing->digest, digest))
                        return true;
        return false;
}

int blob_begin_sealing(ContentState *state, BlobSealing *sealing, const Digest *digest) {
        int r = is_sealing(state, digest) ? -EBUSY : set_writable(state, digest, true);
        if (r < 0)
                return r;
        *sealing = (BlobSealing){ .next = state->sealing, .digest = *digest };
        state->sealing = sealing;
        return 0;
}

void blob_end_sealing(ContentState *state, BlobSealing *sealing, bool same) {
        BlobSealing **place = &state->sealing;
        while (*place != sealing)
                place = &(*place)->next;
        *place = sealing->next;
        if (same)
                (void) set_writable(state, &sealing->digest, false);
}

int blob_mark_verity(ContentState *state, const Digest *digest) {
        char text[DIGEST_STRING_MAX];
        int r = database_execute(state->database,
                                 "UPDATE blobs SET verity = 1 WHERE digest = ? AND damaged = 0", "s",
                                 digest_to_string(digest, text));
        return r < 0 ? r : 0;
}

/* NULL if the file is what the record says, else what is wrong with it. */
static const char *file_complaint(int directory, const char *path, uint64_t size, bool verity) {
        struct statx st;
        if (statx(directory, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_SIZE, &st) < 0)
                return errno == ENOENT ? "its file is missing" : NULL;
        if (!S_ISREG(st.stx_mode) || st.stx_size != size)
                return "its file has another size";
        return verity && !(st.stx_attributes & STATX_ATTR_VERITY) ? "its file has lost fs-verity" : NULL;
}

/* By a service that was killed. */
static bool is_left_writable(const ContentState *state, const Digest *digest, int fd) {
        struct stat st;
        return fstat(fd, &st) >= 0 && (st.st_mode & 0222) && !is_sealing(state, digest) &&
               !content_state_is_placing(state, digest);
}

bool blob_file_is_right(ContentState *state, const Digest *digest, uint64_t size, bool verity) {
        char path[BLOB_PATH_SIZE];
        return !file_complaint(state->blobs, blob_path(digest, path), size, verity);
}

int blob_open(ContentState *state, const char *namespace, const Digest *digest, Blob *ret_blob) {
        Blob blob;

        int r = blob_find(state, namespace, digest, &blob);
        if (r >= 0 && blob.damaged)
                r = -EUCLEAN;
        if (r < 0)
                return r;
        _cleanup_close_ int fd = blob_open_file(state, digest);
        if (fd < 0 && fd != -ENOENT)
                return fd;
        const char *complaint =
                fd < 0 ? "its file is missing" : file_complaint(fd, "", blob.size, blob.verity);
        if (complaint) {
                (void) blob_mark_damaged(state, digest, complaint);
                return -EUCLEAN;
        }
        if (is_left_writable(state, digest, fd))
                (void) set_writable(state, digest, false);
        *ret_blob = blob;
        return TAKE_FD(fd);
}

int blob_visit(ContentState *state, const char *namespace, const char *after, BlobVisit visit,
               void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };

        int r = database_query(state->database, &rows,
                               "SELECT digest, size, created, updated, damaged, verity"
                               " FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE namespace = ? AND digest > ? ORDER BY digest",
                               "ss", namespace, after);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                Blob blob;
                r = blob_read(&rows, &blob);
                if (r >= 0)
                        r = visit(&blob, userdata);
                if (r != 0)
                        return r;
        }
        return r;
}

static int change_labels(ContentState *state, const Labelled *blob, char *const *labels, bool replace,
                         Fault *fault) {
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = database_execute(transaction,
                             "UPDATE namespace_blobs SET updated = ? WHERE namespace = ? AND digest = ?",
                             "iss", (int64_t) content_now(), blob->namespace, blob->object);
        if (r == 0)
                return -ENOENT;
        if (r >= 0)
                r = content_labels_change(state, blob, labels, replace, fault);
        return r < 0 ? r : database_commit(transaction);
}

int blob_update(ContentState *state, const char *namespace, const Digest *digest, char *const *labels,
                bool replace, Fault *fault) {
        char text[DIGEST_STRING_MAX];
        const Labelled labelled = { LABELLED_BLOB, namespace, digest_to_string(digest, text) };

        int r = content_labels_check(LABELLED_BLOB, labels, fault);
        if (r < 0)
                return r;
        /* What keeps it can be taken from it on a full disk as well, so that it can be collected. */
        bool only_takes = label_change_only_takes(labels);
        do
                r = change_labels(state, &labelled, labels, replace, fault);
        while (only_takes && store_reserve_try_again(&state->reserve, r));
        return r;
}

static int find_good(ContentState *state, const Digest *digest, Blob *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];
        int r = database_query(state->database, &rows,
                               "SELECT size, verity FROM blobs WHERE digest = ? AND damaged = 0", "s",
                               digest_to_string(digest, text));
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret = (Blob){
                        .digest = *digest,
                        .size = (uint64_t) database_rows_int64(&rows, 0),
                        .verity = database_rows_int64(&rows, 1) != 0,
                };
        return r;
}

int blob_is_stored(ContentState *state, const Digest *digest) {
        char path[BLOB_PATH_SIZE];
        Blob blob;
        int r = find_good(state, digest, &blob);
        if (r <= 0)
                return r;
        const char *complaint =
                file_complaint(state->blobs, blob_path(digest, path), blob.size, blob.verity);
        if (!complaint)
                return 1;
        r = blob_mark_damaged(state, digest, complaint);
        return r < 0 ? r : 0;
}

int blob_is_recorded(ContentState *state, const Digest *digest) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];
        int r = database_query(state->database, &rows, "SELECT 1 FROM blobs WHERE digest = ?", "s",
                               digest_to_string(digest, text));
        return r < 0 ? r : database_rows_next(&rows);
}

static int read_size(ContentState *state, const char *digest, uint64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT size FROM blobs WHERE digest = ?", "s",
                               digest);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret = (uint64_t) database_rows_int64(&rows, 0);
        return r;
}

/* Within a transaction: 1 and its bytes if it was there; they are 0 while others have it, too. */
static int blob_forget(ContentState *state, BlobToDelete *blob, uint64_t *ret_bytes) {
        char digest[DIGEST_STRING_MAX];
        uint64_t size = 0;
        digest_to_string(&blob->digest, digest);
        int r = database_execute(state->database,
                                 "DELETE FROM namespace_blobs WHERE namespace = ? AND digest = ?", "ss",
                                 blob->namespace, digest);
        if (r <= 0)
                return r;
        r = read_size(state, digest, &size);
        if (r >= 0)
                r = database_execute(state->database,
                                     "DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS"
                                     " (SELECT 1 FROM namespace_blobs WHERE digest = ?1)",
                                     "s", digest);
        if (r < 0)
                return r;
        blob->last = r > 0;
        *ret_bytes = blob->last ? size : 0;
        return 1;
}

/* New bytes in the place of damaged ones get a record of their own. */
static void blob_unlink(ContentState *state, const Digest *digest) {
        char path[BLOB_PATH_SIZE];
        if (content_state_is_placing(state, digest))
                return;
        if (unlinkat(state->blobs, blob_path(digest, path), 0) < 0 && errno != ENOENT)
                log_warning("%s can't be removed: %s", path, strerror(errno));
}

static int forget_many(ContentState *state, BlobToDelete blobs[], size_t count, uint32_t *ret_gone,
                       uint64_t *ret_bytes) {
        uint64_t bytes = 0;
        uint32_t gone = 0;
        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        for (size_t i = 0; i < count; i++) {
                uint64_t size = 0;
                blobs[i].last = false;
                r = blob_forget(state, &blobs[i], &size);
                if (r < 0)
                        return r;
                gone += r > 0;
                bytes += size;
        }
        r = database_commit(transaction);
        if (r < 0)
                return r;
        *ret_gone = gone;
        *ret_bytes = bytes;
        return 0;
}

/* The records go first: killed in between, files are left that the next start removes. On a full disk, too.
 */
int blob_delete_many(ContentState *state, BlobToDelete blobs[], size_t count, uint32_t *ret_gone,
                     uint64_t *ret_bytes) {
        int r;
        do
                r = forget_many(state, blobs, count, ret_gone, ret_bytes);
        while (store_reserve_try_again(&state->reserve, r));
        if (r < 0)
                return r;
        for (size_t i = 0; i < count; i++)
                if (blobs[i].last)
                        blob_unlink(state, &blobs[i].digest);
        store_reserve_restore(&state->reserve);
        return 0;
}

int blob_delete(ContentState *state, const char *namespace, const Digest *digest) {
        BlobToDelete blob = { .namespace = (char *) namespace, .digest = *digest };
        uint32_t gone = 0;
        uint64_t bytes;
        int r = blob_delete_many(state, &blob, 1, &gone, &bytes);
        return r >= 0 && gone == 0 ? -ENOENT : r;
}

/* What stands there has no record, and so is from an end in the middle, or is damaged. */
static int link_instead(int directory, const char *name, int place, const char *hex) {
        int r = linkat(directory, name, place, hex, 0);
        if (r < 0 && errno == EEXIST && unlinkat(place, hex, 0) >= 0)
                r = linkat(directory, name, place, hex, 0);
        return r < 0 ? -errno : 0;
}

static int make_directory(ContentState *state, const char *path, ContentDirectories *directories) {
        if (mkdirat(state->blobs, path, 0700) >= 0)
                directories->made++;
        else if (errno != EEXIST)
                return -errno;
        return 0;
}

static int open_directories(ContentState *state, const char *const *names, size_t count,
                            BlobPlacing *placing) {
        for (; placing->count < count; placing->count++) {
                int fd = openat(state->blobs, names[placing->count],
                                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                placing->directories[placing->count] = fd;
        }
        return 0;
}

int blob_place(ContentState *state, const Digest *digest, int directory, const char *name,
               BlobPlacing *ret) {
        ContentDirectories *directories = &state->directories[digest->algorithm];
        const char *algorithm = digest_algorithm_to_string(digest->algorithm);
        char path[BLOB_PATH_SIZE], *hex = strrchr(blob_path(digest, path), '/') + 1;
        BlobPlacing placing = { .algorithm = digest->algorithm };

        hex[-1] = '\0'; /* path is "sha256/ab" */
        int r = make_directory(state, algorithm, directories);
        if (r >= 0)
                r = make_directory(state, path, directories);
        placing.made = directories->made;
        if (r >= 0)
                r = open_directories(state, (const char *const[]){ path, algorithm, "." },
                                     directories->made == directories->synced ? 1 : BLOB_DIRECTORIES_MAX,
                                     &placing);
        if (r >= 0)
                r = link_instead(directory, name, placing.directories[0], hex);
        if (r < 0) {
                blob_placing_done(&placing);
                return r;
        }
        *ret = placing;
        return 0;
}

void blob_placing_done(BlobPlacing *placing) {
        fd_close_many(placing->directories, placing->count);
        placing->count = 0;
}

void blob_note_synced(ContentState *state, const BlobPlacing *placing) {
        ContentDirectories *directories = &state->directories[placing->algorithm];
        directories->synced = MAX_OF(directories->synced, placing->made);
}

int blob_displace(ContentState *state, const Digest *digest) {
        char path[BLOB_PATH_SIZE];
        return unlinkat(state->blobs, blob_path(digest, path), 0) < 0 ? -errno : 0;
}

int blob_record(ContentState *state, const Digest *digest, uint64_t size, bool verity) {
        char text[DIGEST_STRING_MAX];
        int r = database_execute(state->database,
                                 "INSERT INTO blobs (digest, size, verity) VALUES (?, ?, ?)"
                                 " ON CONFLICT (digest) DO UPDATE SET damaged = 0, verity = excluded.verity",
                                 "sii", digest_to_string(digest, text), (int64_t) size, (int64_t) verity);
        return r < 0 ? r : 0;
}

static int write_granted(ContentState *state, const char *namespace, const Digest *digest) {
        char text[DIGEST_STRING_MAX];
        return database_execute(state->database,
                                "UPDATE namespace_blobs SET granted = ? WHERE namespace = ? AND digest = ?",
                                "iss", (int64_t) content_now(), namespace, digest_to_string(digest, text));
}

int blob_grant(ContentState *state, const char *namespace, const Digest *digest) {
        char text[DIGEST_STRING_MAX];
        int64_t now = (int64_t) content_now();
        int r = database_execute(
                state->database,
                "INSERT OR IGNORE INTO namespace_blobs (namespace, digest, created, updated)"
                " VALUES (?, ?, ?, ?)",
                "ssii", namespace, digest_to_string(digest, text), now, now);
        if (r < 0)
                return r;
        content_state_touch(state, namespace, digest);
        if (r > 0)
                return 1;
        r = write_granted(state, namespace, digest);
        return r < 0 ? r : 0;
}

void blob_renew(ContentState *state, const char *namespace, const Digest *digest) {
        _cleanup_(content_state_unrelaxp) ContentState *relaxed = state;
        content_state_touch(state, namespace, digest);
        content_state_relax(relaxed);
        (void) write_granted(state, namespace, digest);
}

/* 1 and its size. */
static int find_shared(ContentState *state, const Digest *digest, uint64_t *ret_size) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        char text[DIGEST_STRING_MAX];
        /* The range is what the index of reserved keys is made for. */
        int r = database_query(state->database, &rows,
                               "SELECT size FROM blobs WHERE digest = ?1 AND damaged = 0 AND ("
                               "EXISTS (SELECT 1 FROM labels WHERE kind = 0 AND object = ?1"
                               " AND key = '" LABEL_SHAREABLE "' AND key >= 'org.crt.' AND key < 'org.crt/')"
                               " OR EXISTS (SELECT 1 FROM namespace_blobs JOIN namespaces USING (namespace)"
                               " WHERE digest = ?1 AND shareable = 1))",
                               "s", digest_to_string(digest, text));
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret_size = (uint64_t) database_rows_int64(&rows, 0);
        return r;
}

int blob_grant_shared(ContentState *state, const char *namespace, const Digest *digest, uint64_t room,
                      Fault *fault) {
        uint64_t size;
        int r = find_shared(state, digest, &size);
        if (r <= 0)
                return r;
        if (size > room)
                return fault_set(fault, -EDQUOT, "the namespace %s has room for %llu more bytes", namespace,
                                 (unsigned long long) room);
        r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = blob_grant(state, namespace, digest);
        if (r > 0)
                r = content_namespace_check(state, namespace, NAMESPACE_BLOBS, 0, fault);
        if (r >= 0)
                r = database_commit(transaction);
        return r < 0 ? r : 1;
}
