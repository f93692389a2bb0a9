/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/inode-table.h"
#include "services/snapshots/manifest-record.h"
#include "services/snapshots/shared-extents.h"
#include "services/snapshots/tree-scan.h"
#include "services/snapshots/tree-store.h"

#define BUFFER_SIZE ((size_t) 256 * 1024)
#define STAT_BLOCK 512U

typedef struct Manifest {
        int tree;
        int fd; /* -EBADF: nothing is written */
        TreeScan scan;
        InodeTable links;
        SharedExtents shared;
        ManifestReader reader;
        DigestState digest;
        SnapshotMeasure measure;
        char *buffer;
        size_t used;
} Manifest;

#define MANIFEST_NULL                                                                                       \
        { .tree = -EBADF, .fd = -EBADF, .shared.parent = -EBADF }

static void manifest_done(Manifest *manifest) {
        fd_close(manifest->tree);
        fd_close(manifest->fd);
        tree_scan_done(&manifest->scan);
        inode_table_done(&manifest->links);
        shared_extents_done(&manifest->shared);
        manifest_reader_done(&manifest->reader);
        free(manifest->buffer);
}

static int manifest_flush(Manifest *manifest) {
        digest_state_update(&manifest->digest, manifest->buffer, manifest->used);
        int r = fd_write_all(manifest->fd, manifest->buffer, manifest->used);
        manifest->used = 0;
        return r;
}

static int manifest_write(Manifest *manifest, const char *name, const struct stat *st) {
        if (BUFFER_SIZE - manifest->used < MANIFEST_RECORD_MAX) {
                int r = manifest_flush(manifest);
                if (r < 0)
                        return r;
        }
        _Alignas(ManifestRecord) char place[MANIFEST_RECORD_MAX];
        ManifestRecord *record = (ManifestRecord *) place;
        int r = 0;
        if (st)
                r = manifest_record_read(&manifest->reader, tree_scan_directory(&manifest->scan), name, st,
                                         record);
        else
                manifest_record_leave(record);
        memcpy(manifest->buffer + manifest->used, place, record->size);
        manifest->used += record->size;
        return r;
}

/* Whatever has several names is there once, and what is the parent's as it is is there already. */
static int manifest_count(Manifest *manifest, const char *name, const struct stat *st) {
        InodeEntry *link;
        if (st->st_nlink > 1 && !S_ISDIR(st->st_mode)) {
                int r = inode_table_get(&manifest->links, st->st_dev, st->st_ino, &link);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        int r = shared_extents_visit(&manifest->shared, &manifest->scan, name, st);
        if (r != 0)
                return r < 0 ? r : 0;
        manifest->measure.inodes++;
        manifest->measure.size += (uint64_t) st->st_blocks * STAT_BLOCK;
        return 0;
}

static int manifest_take_away(Manifest *manifest, Fault *fault) {
        uint64_t shared;
        int r = shared_extents_count(&manifest->shared, &shared);
        manifest->measure.size -= MIN_OF(r < 0 ? 0 : shared, manifest->measure.size);
        return r < 0 ? fault_set_errno(fault, r, "Can't find out what the tree shares with its parent") : 0;
}

static int manifest_scan(Manifest *manifest, Fault *fault) {
        for (;;) {
                const char *name;
                struct stat st;
                int event = tree_scan_next(&manifest->scan, &name, &st);
                if (event < 0)
                        return fault_set_errno(fault, event, "Can't read the tree");
                if (event == TREE_SCAN_END)
                        return manifest_take_away(manifest, fault);
                int r = event == TREE_SCAN_ENTRY ? manifest_count(manifest, name, &st) : 0;
                if (r >= 0 && manifest->fd >= 0)
                        r = manifest_write(manifest, name, event == TREE_SCAN_ENTRY ? &st : NULL);
                if (r < 0) {
                        char path[512];
                        tree_scan_path(&manifest->scan, event == TREE_SCAN_ENTRY ? name : "", path,
                                       sizeof(path));
                        return fault_set_errno(fault, r, "Can't note what '%s' is", path);
                }
        }
}

static int manifest_open(Manifest *manifest, int trees, const TreeArgument *tree, Fault *fault) {
        char path[TREE_PATH_SIZE];
        manifest->tree =
                path_open(trees, tree_path(tree->id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (manifest->tree < 0)
                return fault_set_errno(fault, manifest->tree, "Can't open the tree");
        if (snapshot_driver_get(tree->driver)->whole)
                shared_extents_init(&manifest->shared, trees, manifest->tree, tree->parent_id);
        return 0;
}

int tree_manifest_make(int trees, const TreeArgument *tree, SnapshotMeasure *ret, Fault *fault) {
        _cleanup_(manifest_done) Manifest manifest = MANIFEST_NULL;
        Digest digest;
        int r = manifest_open(&manifest, trees, tree, fault);
        if (r < 0)
                return r;
        manifest.fd = openat(manifest.tree, MANIFEST_NAME,
                             O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (manifest.fd < 0)
                return fault_set_errno(fault, -errno, "Can't make the manifest of the tree");
        manifest.buffer = malloc(BUFFER_SIZE);
        r = manifest.buffer ? digest_state_init(&manifest.digest, DIGEST_SHA256) : -ENOMEM;
        if (r >= 0)
                r = tree_scan_init(&manifest.scan, manifest.tree, manifest_skips);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read the tree");
        r = manifest_scan(&manifest, fault);
        if (r >= 0)
                r = manifest_flush(&manifest);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't write the manifest of the tree");
        digest_state_finish(&manifest.digest, &digest);
        (void) digest_to_string(&digest, manifest.measure.manifest);
        *ret = manifest.measure;
        return 0;
}

int tree_measure(int trees, const TreeArgument *tree, SnapshotMeasure *ret, Fault *fault) {
        _cleanup_(manifest_done) Manifest manifest = MANIFEST_NULL;
        int r = manifest_open(&manifest, trees, tree, fault);
        if (r < 0)
                return r;
        r = tree_scan_init(&manifest.scan, manifest.tree, manifest_skips);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read the tree");
        manifest.scan.tolerant = true;
        r = manifest_scan(&manifest, fault);
        if (r >= 0)
                *ret = manifest.measure;
        return r;
}
