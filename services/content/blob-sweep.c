/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/blob-sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "services/content/blob-store.h"

#define PAGE 200
/* "00" to "ff" */
#define DIRECTORIES 256

struct BlobSweep {
        ContentState *state;           /* weak */
        char after[DIGEST_STRING_MAX]; /* the record that was looked at last */
        bool records_done;
        unsigned directory; /* of all algorithms, the next one */
};

int blob_sweep_new(ContentState *state, BlobSweep **ret) {
        BlobSweep *sweep = new0(BlobSweep, 1);
        if (!sweep)
                return -ENOMEM;
        sweep->state = state;
        *ret = sweep;
        return 0;
}

BlobSweep *blob_sweep_free(BlobSweep *sweep) {
        free(sweep);
        return NULL;
}

/* ---- records ---- */

typedef struct Recorded {
        Digest digest;
        uint64_t size;
        bool verity;
} Recorded;

static int read_page(const BlobSweep *sweep, Recorded page[PAGE], size_t *ret_count) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        size_t count = 0;
        int r = database_query(sweep->state->database, &rows,
                               "SELECT digest, size, verity FROM blobs WHERE digest > ? AND damaged = 0"
                               " ORDER BY digest LIMIT ?",
                               "si", sweep->after, (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                page[count] = (Recorded){
                        .size = (uint64_t) database_rows_int64(&rows, 1),
                        .verity = database_rows_int64(&rows, 2) != 0,
                };
                r = digest_parse(database_rows_string(&rows, 0), &page[count++].digest);
        }
        *ret_count = count;
        return r;
}

static int sweep_records(BlobSweep *sweep) {
        Recorded page[PAGE];
        size_t count;
        int r = read_page(sweep, page, &count);
        for (size_t i = 0; i < count && r >= 0; i++)
                if (!blob_file_is_right(sweep->state, &page[i].digest, page[i].size, page[i].verity))
                        r = blob_mark_damaged(sweep->state, &page[i].digest, "its file is not what it was");
        if (r < 0)
                return r;
        sweep->records_done = count < PAGE;
        if (count > 0)
                digest_to_string(&page[count - 1].digest, sweep->after);
        return 0;
}

/* ---- files ---- */

typedef struct Directory {
        ContentState *state;
        const char *algorithm;
} Directory;

static int sweep_file(int directory, const char *name, void *userdata) {
        const Directory *in = userdata;
        _cleanup_free_ char *text = NULL;
        Digest digest;

        if (asprintf(&text, "%s:%s", in->algorithm, name) < 0)
                return -ENOMEM;
        bool is_blob = digest_parse(text, &digest) >= 0;
        if (is_blob && content_state_is_placing(in->state, &digest))
                return 0;
        int r = is_blob ? blob_is_recorded(in->state, &digest) : 0;
        if (r != 0)
                return r < 0 ? r : 0;
        log_info("%s was left in the middle and goes", text);
        return unlinkat(directory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* What is no directory has been put there by somebody else, and is left alone. */
static int sweep_directory(const BlobSweep *sweep) {
        const char *algorithm =
                digest_algorithm_to_string((DigestAlgorithm) (sweep->directory / DIRECTORIES));
        Directory directory = { sweep->state, algorithm };
        char path[32];
        (void) snprintf(path, sizeof(path), "%s/%02x", algorithm, sweep->directory % DIRECTORIES);
        _cleanup_close_ int fd =
                openat(sweep->state->blobs, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        return content_visit_directory(fd, sweep_file, &directory);
}

int blob_sweep_step(BlobSweep *sweep) {
        int r;
        if (!sweep->records_done) {
                r = sweep_records(sweep);
                return r < 0 ? r : 1;
        }
        r = sweep_directory(sweep);
        if (r < 0)
                return r;
        sweep->directory++;
        return sweep->directory < _DIGEST_ALGORITHM_MAX * DIRECTORIES;
}
