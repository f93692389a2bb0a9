/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-verify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/disk-sample.h"
#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/manifest-record.h"
#include "services/snapshots/tree-scan.h"
#include "services/snapshots/tree-store.h"

#define READ_TRIES 2
#define PROGRESS_STEP (UINT64_C(16) * 1024 * 1024)

typedef struct Verify {
        int trees; /* weak */
        int tree;
        char *data; /* the manifest */
        size_t size, at;
        TreeScan scan;
        ManifestReader reader;
        TreeDamage damage;
        uint64_t announced;
        void (*on_progress)(uint64_t bytes);
} Verify;

static void verify_done(Verify *verify) {
        fd_close(verify->tree);
        free(verify->data);
        tree_scan_done(&verify->scan);
        manifest_reader_done(&verify->reader);
}

/* ---- what is found ---- */

static void add_damage(Verify *verify, const char *name, const char *format, ...) _printf_(3, 4);

static void add_damage(Verify *verify, const char *name, const char *format, ...) {
        char path[512];
        TreeDamage *damage = &verify->damage;
        if (damage->count++ > 0)
                return;
        tree_scan_path(&verify->scan, name, path, sizeof(path));
        int length =
                snprintf(damage->first, sizeof(damage->first), "'%s' ", string_after(path, "fs/") ?: path);
        va_list arguments;
        va_start(arguments, format);
        (void) vsnprintf(damage->first + length, sizeof(damage->first) - (size_t) length, format, arguments);
        va_end(arguments);
}

static void compare(Verify *verify, const ManifestRecord *was, const ManifestRecord *is) {
        const char *name = manifest_record_name(was);
        if ((was->mode & S_IFMT) != (is->mode & S_IFMT))
                add_damage(verify, name, "is of another type");
        else if (was->length > 0 && is->length == 0)
                add_damage(verify, name, "is empty, and had %llu bytes", (unsigned long long) was->length);
        else if (was->length != is->length)
                add_damage(verify, name, "has %llu bytes, and had %llu", (unsigned long long) is->length,
                           (unsigned long long) was->length);
        else if (was->contents != is->contents)
                add_damage(verify, name, "has other contents");
        else if (was->attributes != is->attributes)
                add_damage(verify, name, "has other extended attributes");
        else if (was->mode != is->mode || was->uid != is->uid || was->gid != is->gid ||
                 was->device != is->device)
                add_damage(verify, name, "has another owner or mode");
        else if (was->mtime != is->mtime || was->nanoseconds != is->nanoseconds)
                add_damage(verify, name, "has another time");
}

/* ---- the manifest ---- */

/* The next record; NULL at the end. Its digest was right, so it is what was written. */
static const ManifestRecord *next_record(Verify *verify) {
        static _Alignas(ManifestRecord) char place[MANIFEST_RECORD_MAX];
        ManifestRecord *record = (ManifestRecord *) place;
        if (verify->size - verify->at < sizeof(*record))
                return NULL;
        memcpy(record, verify->data + verify->at, sizeof(*record));
        if (record->size < sizeof(*record) || record->size > MANIFEST_RECORD_MAX ||
            record->size > verify->size - verify->at)
                return NULL;
        memcpy(place, verify->data + verify->at, record->size);
        place[MANIFEST_RECORD_MAX - 1] = '\0';
        return record;
}

static void take_record(Verify *verify, const ManifestRecord *record) {
        verify->at += record->size;
}

/* What is missing, with all that was in it. */
static void pass_record(Verify *verify, const ManifestRecord *record) {
        size_t depth = 0;
        do {
                depth += S_ISDIR(record->mode);
                depth -= record->mode == 0;
                take_record(verify, record);
        } while (depth > 0 && (record = next_record(verify)));
}

/* The records before name in its directory are of what is not there any more. NULL: name was not there. */
static const ManifestRecord *find_record(Verify *verify, const char *name) {
        for (;;) {
                const ManifestRecord *record = next_record(verify);
                int order = record && record->mode != 0 ? strcmp(manifest_record_name(record), name) : 1;
                if (order == 0)
                        return record;
                if (order > 0)
                        return NULL;
                add_damage(verify, manifest_record_name(record), "is missing");
                pass_record(verify, record);
        }
}

/* The end of a directory: what is left of it in the manifest is missing. */
static void leave_directory(Verify *verify, const char *directory) {
        for (const ManifestRecord *record; (record = next_record(verify)) && record->mode != 0;) {
                char name[2 * (NAME_MAX + 1)];
                (void) snprintf(name, sizeof(name), "%s/%s", directory, manifest_record_name(record));
                add_damage(verify, name, "is missing");
                pass_record(verify, record);
        }
        const ManifestRecord *end = next_record(verify);
        if (end)
                take_record(verify, end);
}

/* ---- the tree ---- */

static void tell_progress(Verify *verify, uint64_t bytes) {
        verify->damage.bytes += bytes;
        if (!verify->on_progress || verify->damage.bytes < verify->announced + PROGRESS_STEP)
                return;
        verify->announced = verify->damage.bytes;
        verify->on_progress(verify->announced);
}

/* What was in passing is no error at all. */
static int read_record(Verify *verify, const char *name, const struct stat *st, ManifestRecord *ret,
                       uint64_t *ret_bytes) {
        int directory = tree_scan_directory(&verify->scan), r = 0;
        for (int i = 0; i < READ_TRIES; i++) {
                r = manifest_record_read(&verify->reader, directory, name, st, ret, ret_bytes);
                if (r != -EIO)
                        return r;
        }
        return r;
}

/* A file that the disk can't give back is damaged, too, unless the disk gives nothing. */
static bool is_damage(const Verify *verify, int error) {
        if (error != -EIO)
                return error == -EUCLEAN || error == -EBADMSG;
        _cleanup_close_ int sample = disk_sample_new(verify->trees);
        return sample >= 0 && disk_sample_is_readable(sample);
}

static int verify_entry(Verify *verify, const char *name, const struct stat *st) {
        _Alignas(ManifestRecord) char place[MANIFEST_RECORD_MAX];
        ManifestRecord *is = (ManifestRecord *) place;
        uint64_t bytes = 0;
        const ManifestRecord *was = find_record(verify, name);
        if (!was) {
                add_damage(verify, name, "was not there");
                tree_scan_pass_over(&verify->scan);
                return 0;
        }
        int r = read_record(verify, name, st, is, &bytes);
        if (r < 0 && is_damage(verify, r)) {
                add_damage(verify, name, "can't be read: %s", strerror(-r));
                is->mode = st->st_mode;
        } else if (r < 0)
                return r;
        else
                compare(verify, was, is);
        tell_progress(verify, bytes);
        if (S_ISDIR(was->mode) && !S_ISDIR(is->mode))
                pass_record(verify, was);
        else
                take_record(verify, was);
        if (!S_ISDIR(was->mode))
                tree_scan_pass_over(&verify->scan);
        return 0;
}

static int verify_scan(Verify *verify, Fault *fault) {
        for (;;) {
                const char *name;
                struct stat st;
                int event = tree_scan_next(&verify->scan, &name, &st);
                if (event < 0)
                        return fault_set_errno(fault, event, "Can't read the tree");
                if (event == TREE_SCAN_LEAVE || event == TREE_SCAN_END)
                        leave_directory(verify,
                                        event == TREE_SCAN_LEAVE ? tree_scan_left(&verify->scan) : "");
                if (event == TREE_SCAN_END)
                        return 0;
                int r = event == TREE_SCAN_ENTRY ? verify_entry(verify, name, &st) : 0;
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't compare '%s'", name);
        }
}

static void damage_all(TreeDamage *damage, const char *text) {
        damage->count = 1;
        (void) snprintf(damage->first, sizeof(damage->first), "%s", text);
}

/* 1 there is one, and it is the right one. */
static int read_manifest(Verify *verify, const char *expected) {
        char text[DIGEST_STRING_MAX];
        Digest digest;
        _cleanup_close_ int fd = openat(verify->tree, MANIFEST_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        int r = fd_read_all(fd, MANIFEST_SIZE_MAX, &verify->data, &verify->size);
        if (r < 0 && is_damage(verify, r))
                return 0;
        if (r >= 0)
                r = digest_of_data(DIGEST_SHA256, verify->data, verify->size, &digest);
        return r < 0 ? r : string_equal(digest_to_string(&digest, text), expected);
}

int tree_verify(int trees, int64_t id, const char *manifest, void (*on_progress)(uint64_t bytes),
                TreeDamage *ret, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_(verify_done) Verify verify = {
                .trees = trees,
                .tree = path_open(trees, tree_path(id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH),
                .on_progress = on_progress,
        };
        if (verify.tree == -ENOENT) {
                damage_all(ret, "The whole tree is missing");
                return 0;
        }
        int r = verify.tree < 0 ? verify.tree : read_manifest(&verify, manifest);
        if (r == 0) {
                damage_all(ret, "The manifest of the tree is damaged or missing");
                return 0;
        }
        if (r >= 0)
                r = tree_scan_init(&verify.scan, verify.tree, manifest_skips);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the tree");
        r = verify_scan(&verify, fault);
        if (r >= 0)
                *ret = verify.damage;
        return r;
}
