/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-verify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/disk-sample.h"
#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/manifest-input.h"
#include "services/snapshots/tree-scan.h"
#include "services/snapshots/tree-store.h"

#define READ_TRIES 2
#define PROGRESS_STEP (UINT64_C(16) * 1024 * 1024)

typedef struct Verify {
        int sample; /* weak; of the disk */
        int tree;
        ManifestInput manifest;
        TreeScan scan;
        ManifestReader reader;
        TreeDamage damage;
        uint64_t announced;
        void (*on_progress)(uint64_t bytes);
} Verify;

static void verify_done(Verify *verify) {
        fd_close(verify->tree);
        manifest_input_done(&verify->manifest);
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

/* What is missing, with all that was in it. */
static void pass_record(Verify *verify, const ManifestRecord *record) {
        size_t depth = 0;
        do {
                depth += S_ISDIR(record->mode);
                depth -= record->mode == 0;
                manifest_input_take(&verify->manifest);
        } while (depth > 0 && (record = manifest_input_next(&verify->manifest)));
}

/* The records before name in its directory are of what is not there any more. NULL: name was not there. */
static const ManifestRecord *find_record(Verify *verify, const char *name) {
        for (;;) {
                const ManifestRecord *record = manifest_input_next(&verify->manifest);
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
        for (const ManifestRecord *record;
             (record = manifest_input_next(&verify->manifest)) && record->mode != 0;) {
                char name[2 * (NAME_MAX + 1)];
                (void) snprintf(name, sizeof(name), "%s/%s", directory, manifest_record_name(record));
                add_damage(verify, name, "is missing");
                pass_record(verify, record);
        }
        const ManifestRecord *end = manifest_input_next(&verify->manifest);
        if (end)
                manifest_input_take(&verify->manifest);
}

/* ---- the tree ---- */

static void tell_progress(Verify *verify) {
        verify->damage.bytes = verify->reader.bytes;
        if (!verify->on_progress || verify->damage.bytes < verify->announced + PROGRESS_STEP)
                return;
        verify->announced = verify->damage.bytes;
        verify->on_progress(verify->announced);
}

/* What was in passing is no error at all. */
static int read_record(Verify *verify, const char *name, const struct stat *st, ManifestRecord *ret) {
        int directory = tree_scan_directory(&verify->scan), r = 0;
        for (int i = 0; i < READ_TRIES; i++) {
                r = manifest_record_read(&verify->reader, directory, name, st, ret);
                if (r != -EIO)
                        return r;
        }
        return r;
}

/* A file that the disk can't give back is damaged, too, unless the disk gives nothing. */
static bool is_damage(const Verify *verify, int error) {
        if (error != -EIO)
                return error == -EUCLEAN || error == -EBADMSG;
        return verify->sample >= 0 && disk_sample_is_readable(verify->sample);
}

static int verify_entry(Verify *verify, const char *name, const struct stat *st) {
        _Alignas(ManifestRecord) char place[MANIFEST_RECORD_MAX];
        ManifestRecord *is = (ManifestRecord *) place;
        const ManifestRecord *was = find_record(verify, name);
        if (!was) {
                add_damage(verify, name, "was not there");
                tree_scan_pass_over(&verify->scan);
                return 0;
        }
        int r = read_record(verify, name, st, is);
        if (r < 0 && is_damage(verify, r)) {
                add_damage(verify, name, "can't be read: %s", strerror(-r));
                is->mode = st->st_mode;
        } else if (r < 0)
                return r;
        else
                compare(verify, was, is);
        tell_progress(verify);
        if (S_ISDIR(was->mode) && !S_ISDIR(is->mode))
                pass_record(verify, was);
        else
                manifest_input_take(&verify->manifest);
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

/* As it was when it was read first. */
static int check_manifest(Verify *verify, Fault *fault) {
        int r = manifest_input_check(&verify->manifest);
        if (r < 0 && !is_damage(verify, r))
                return fault_set_errno(fault, r, "Can't read the manifest of the tree");
        if (r <= 0)
                damage_all(&verify->damage, "The manifest of the tree is damaged or missing");
        return 0;
}

int tree_verify(const TreeVerifySpec *spec, TreeDamage *ret, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_(verify_done) Verify verify = {
                .sample = spec->sample,
                .tree = path_open(spec->trees, tree_path(spec->id, NULL, path), O_RDONLY | O_DIRECTORY, 0,
                                  PATH_BENEATH),
                .manifest = { .fd = -EBADF },
                .on_progress = spec->on_progress,
        };
        if (verify.tree == -ENOENT) {
                damage_all(ret, "The whole tree is missing");
                return 0;
        }
        int r = verify.tree < 0 ? verify.tree
                                : manifest_input_open(&verify.manifest, verify.tree, spec->manifest);
        if (r == 0 || (verify.tree >= 0 && r < 0 && is_damage(&verify, r))) {
                damage_all(ret, "The manifest of the tree is damaged or missing");
                return 0;
        }
        if (r >= 0)
                r = tree_scan_init(&verify.scan, verify.tree, manifest_skips);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the tree");
        r = verify_scan(&verify, fault);
        if (r >= 0)
                r = check_manifest(&verify, fault);
        if (r >= 0)
                *ret = verify.damage;
        return r;
}
