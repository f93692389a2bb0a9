/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/content/blob-store.h"
#include "services/content/ingest-store.h"

/* When a blob came is known for each namespace: none learns from it that another one had it before. Numbers
 * of ingests are never used again, so a file that was left behind is never taken for that of a later one. */
static const char *const migrations[] = {
        "CREATE TABLE blobs ("
        "  digest TEXT PRIMARY KEY,"
        "  size INTEGER NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE namespace_blobs ("
        "  namespace TEXT NOT NULL,"
        "  digest TEXT NOT NULL REFERENCES blobs (digest),"
        "  created INTEGER NOT NULL,"
        "  PRIMARY KEY (namespace, digest)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX namespace_blobs_digest ON namespace_blobs (digest);"
        "CREATE TABLE ingests ("
        "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
        "  namespace TEXT NOT NULL,"
        "  reference TEXT NOT NULL,"
        "  digest TEXT NOT NULL,"
        "  size INTEGER NOT NULL,"
        "  started INTEGER NOT NULL,"
        "  touched INTEGER NOT NULL,"
        "  uid INTEGER NOT NULL,"
        "  UNIQUE (namespace, reference)"
        ") STRICT;",
};

static int open_directory(int directory, const char *name) {
        if (mkdirat(directory, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int content_state_open(int directory, ContentState **ret, Fault *fault) {
        _cleanup_(content_state_freep) ContentState *state = new0(ContentState, 1);
        if (!state)
                return -ENOMEM;
        *state = (ContentState){ .blobs = -EBADF, .ingests = -EBADF };

        state->blobs = open_directory(directory, "blobs");
        if (state->blobs < 0)
                return fault_set_errno(fault, state->blobs, "blobs");
        state->ingests = open_directory(directory, "ingest");
        if (state->ingests < 0)
                return fault_set_errno(fault, state->ingests, "ingest");
        if (fsync(directory) < 0)
                return fault_set_errno(fault, -errno, "can't sync the state directory");
        int r = database_open(directory, "content.db", migrations, ELEMENTS_OF(migrations), &state->database,
                              fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(state);
        return 0;
}

ContentState *content_state_free(ContentState *state) {
        if (!state)
                return NULL;
        database_free(state->database);
        fd_close(state->blobs);
        fd_close(state->ingests);
        free(state);
        return NULL;
}

int content_state_sweep(ContentState *state) {
        int r = blob_store_sweep(state);
        return r < 0 ? r : ingest_store_sweep(state);
}

void content_state_relax(ContentState *state) {
        (void) database_set_durable(state->database, false);
}

void content_state_unrelax(ContentState *state) {
        (void) database_set_durable(state->database, true);
}

int content_visit_directory(int directory, DirectoryVisit visit, void *userdata) {
        _cleanup_close_ int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = copy < 0 ? NULL : fdopendir(copy);
        if (!stream)
                return -errno;
        TAKE_FD(copy);

        int r = 0;
        while (r >= 0) {
                errno = 0;
                const struct dirent *entry = readdir(stream);
                if (!entry) {
                        r = errno > 0 ? -errno : 0;
                        break;
                }
                if (entry->d_name[0] != '.')
                        r = visit(directory, entry->d_name, userdata);
        }
        (void) closedir(stream);
        return r < 0 ? r : 0;
}
