/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-tree finish TREE…           makes trees ready and durable, and measures them;
 * crt-tree fill TREE              fills one that is to begin as a copy of its parent;
 * crt-tree measure TREE…          measures trees;
 * crt-tree verify NUMBER DIGEST   compares a tree with its manifest, which has that digest; the outcome is
 * the number of damaged files, and a sentence about the first;
 * crt-tree empty-trash            deletes everything below descriptor 4;
 * crt-tree sync                   asks whether all that was written is on the disk.
 *
 * TREE is what services/snapshots/tree-argument.h says. Descriptor 3 gets the outcome; 4 is the directory of
 * trees, 5 the trash, and what follows are roots of parents.
 *
 * It reads what images and containers have made: names, attributes, links, notes of the process that
 * unpacked a layer. Its root directory is empty, from its descriptors no way leads out of the service's
 * state (out of the trees, and to none that could be written to, where it only looks), and it has limits of
 * memory and of the processor's time. */

#include <errno.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/disk-sample.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/strv.h"
#include "services/snapshots/host-leave.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/trash.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/tree-finish.h"
#include "services/snapshots/tree-manifest.h"
#include "services/snapshots/tree-quota.h"
#include "services/snapshots/tree-sync.h"
#include "services/snapshots/tree-verify.h"
#include "services/snapshots/worker-message.h"

enum { DIRECTORY_FD = 4, TRASH_FD };

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
#define TRASH_NICE 10

/* Sharing what files hold, subvolumes, fs-verity, project quotas, and what is shared. */
static const unsigned long tree_ioctls[] = {
        FICLONE,
        BTRFS_IOC_GET_SUBVOL_ROOTREF,
        BTRFS_IOC_SUBVOL_CREATE,
        BTRFS_IOC_SNAP_CREATE_V2,
        BTRFS_IOC_SNAP_DESTROY,
        FS_IOC_ENABLE_VERITY,
        FS_IOC_MEASURE_VERITY,
        TREE_QUOTA_IOCTLS,
        FS_IOC_FIEMAP,
};

/* ---- what it gives up ---- */

/* What the names and inodes of a layer take that has as many as one may have: on the way to an image, or on
 * the way through it, in one directory, and with several names each. */
#define MEMORY_OF_IMAGE (UINT64_C(896) * LIMIT_LAYER_ENTRIES)
#define MEMORY_OF_NAMES (UINT64_C(512) * LIMIT_LAYER_ENTRIES)
#define MEMORY_OF_WAY (UINT64_C(512) * 1024 * 1024)
/* A tree of 8 Mi entries is gone through within the first, and as much as is on the disk read at this speed.
 * What takes more was made to: files of which many share the same blocks, say. */
#define SECONDS_OF_TREE 1800
#define BYTES_PER_SECOND (UINT64_C(256) * 1024 * 1024)

static uint64_t processor_seconds(size_t trees) {
        struct statfs disk;
        uint64_t used = fstatfs(DIRECTORY_FD, &disk) < 0
                                ? 0
                                : (uint64_t) (disk.f_blocks - disk.f_bfree) * (uint64_t) disk.f_bsize;
        return trees * SECONDS_OF_TREE + used / BYTES_PER_SECOND;
}

/* The descriptors that it was handed lead nowhere else. */
static int enter(const Sandbox *sandbox, Fault *fault) {
        int r = host_leave();
        return r < 0 ? fault_set_errno(fault, r, "Can't leave the host's files")
                     : sandbox_enter(sandbox, fault);
}

/* CAP_SYS_ADMIN is for trusted.overlay.*; the filter leaves nothing else that it would be good for. */
static int enter_sandbox(size_t trees, uint64_t memory, Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .memory_limit = memory,
                .processor_limit = processor_seconds(trees),
                .keep_capabilities = CAPABILITY(CHOWN) | CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) |
                                     CAPABILITY(FSETID) | CAPABILITY(MKNOD) | CAPABILITY(SETFCAP) |
                                     CAPABILITY(SYS_ADMIN),
                .ioctls = tree_ioctls,
                .ioctl_count = ELEMENTS_OF(tree_ioctls),
        };
        return enter(&sandbox, fault);
}

static int enter_reading_sandbox(size_t trees, Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .memory_limit = MEMORY_OF_NAMES,
                .processor_limit = processor_seconds(trees),
                /* CAP_SYS_ADMIN is for trusted.overlay.*. */
                .keep_capabilities = CAPABILITY(DAC_OVERRIDE) | CAPABILITY(SYS_ADMIN),
                .ioctls = (const unsigned long[]){ FS_IOC_FIEMAP },
                .ioctl_count = 1,
        };
        (void) setpriority(PRIO_PROCESS, 0, TRASH_NICE);
        return enter(&sandbox, fault);
}

/* ---- making ready ---- */

static int parse(const char *text, const SnapshotDriver **ret_driver, SnapshotFinish *ret) {
        TreeArgument argument;
        int r = tree_argument_parse(text, &argument);
        if (r < 0)
                return r;
        *ret_driver = snapshot_driver_get(argument.driver);
        *ret = (SnapshotFinish){
                .trees = DIRECTORY_FD,
                .trash = TRASH_FD,
                .id = argument.id,
                .parent = argument.parent > 0 ? (int) argument.parent : -EBADF,
                .parent_id = argument.parent_id,
                .mounted = argument.mounted,
        };
        return 0;
}

static int finish_one(const char *argument, Fault *fault) {
        SnapshotFinish finish;
        const SnapshotDriver *driver;
        int r = parse(argument, &driver, &finish);
        if (r >= 0)
                r = tree_finish(finish.trees, finish.id, finish.parent, finish.parent_id, fault);
        return r < 0 || !driver->finish ? r : driver->finish(&finish, fault);
}

/* ---- the disk ---- */

static int sync_fault(int r, Fault *fault) {
        return fault_set_errno(fault, r, "Can't write the snapshot to the disk");
}

static void *sync_in_thread(void *userdata) {
        int *r = userdata;
        *r = tree_sync_disk(DIRECTORY_FD);
        if (*r < 0) { /* at once, whatever becomes of this process meanwhile */
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                (void) sync_fault(*r, &fault);
                (void) worker_message_send(WORKER_DISK_FAILED, *r, 0, fault_text(&fault, *r));
        }
        return NULL;
}

static int send_measure(int64_t id, const SnapshotMeasure *measure) {
        char text[256];
        (void) snprintf(text, sizeof(text), "%" PRIi64 " %" PRIu64 " %" PRIu64 " %s", id, measure->size,
                        measure->inodes, measure->manifest);
        return worker_message_send(WORKER_MEASURED, 0, 0, text);
}

static int make_manifests(char *arguments[], Fault *fault) {
        for (; *arguments; arguments++) {
                TreeArgument argument;
                SnapshotMeasure measure = { 0 };
                int r = tree_argument_parse(*arguments, &argument);
                if (r >= 0)
                        r = tree_manifest_make(DIRECTORY_FD, &argument, &measure, fault);
                if (r >= 0)
                        r = send_measure(argument.id, &measure);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* While the disk writes what the trees consist of, it is read for the manifests, from memory still. These
 * are there after the second sync, which has little left to do. */
static int write_to_disk(char *arguments[], Fault *fault) {
        pthread_t thread;
        int synced = 0;
        int r = -pthread_create(&thread, NULL, sync_in_thread, &synced);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't start a thread");
        r = make_manifests(arguments, fault);
        (void) pthread_join(thread, NULL);
        if (synced >= 0 && r >= 0)
                synced = tree_sync_disk(DIRECTORY_FD);
        if (synced < 0) {
                fault_done(fault);
                return sync_fault(synced, fault);
        }
        return r;
}

/* For one who ended before it said what it was told. It looks at nothing that could be the reason. */
static int sync_only(Fault *fault) {
        const Sandbox sandbox = { .profile = SANDBOX_TREE, .memory_limit = MEMORY_OF_WAY };
        int r = enter(&sandbox, fault);
        if (r < 0)
                return r;
        r = tree_sync_disk(DIRECTORY_FD);
        return r < 0 ? sync_fault(r, fault) : 0;
}

static size_t count_arguments(char *const arguments[]) {
        size_t count = 0;
        while (arguments[count])
                count++;
        return count;
}

static int finish(char *arguments[], Fault *fault) {
        int r = enter_sandbox(count_arguments(arguments), MEMORY_OF_IMAGE, fault);
        for (size_t i = 0; r >= 0 && arguments[i]; i++)
                r = finish_one(arguments[i], fault);
        return r < 0 ? r : write_to_disk(arguments, fault);
}

/* ---- looking ---- */

static int parse_number(const char *text, int64_t *ret) {
        uint64_t id = 0;
        int r = string_to_uint64(text, INT64_MAX, &id);
        *ret = (int64_t) id;
        return r;
}

static int measure(char *arguments[], Fault *fault) {
        int r = enter_reading_sandbox(count_arguments(arguments), fault);
        for (; r >= 0 && *arguments; arguments++) {
                SnapshotMeasure found = { 0 };
                TreeArgument argument;
                r = tree_argument_parse(*arguments, &argument);
                if (r >= 0)
                        r = tree_measure(DIRECTORY_FD, &argument, &found, fault);
                if (r >= 0)
                        r = send_measure(argument.id, &found);
        }
        return r;
}

static void on_verify_progress(uint64_t bytes) {
        (void) worker_message_send(WORKER_PROGRESS, 0, bytes, NULL);
}

static int verify(const char *number, const char *manifest, TreeDamage *ret, Fault *fault) {
        _cleanup_close_ int sample = disk_sample_new(TRASH_FD);
        TreeVerifySpec spec = {
                .trees = DIRECTORY_FD,
                .manifest = manifest,
                .sample = sample,
                .on_progress = on_verify_progress,
        };
        (void) close(TRASH_FD);
        int r = parse_number(number, &spec.id);
        if (r >= 0)
                r = enter_reading_sandbox(1, fault);
        return r < 0 ? r : tree_verify(&spec, ret, fault);
}

static int fill(const char *argument, Fault *fault) {
        SnapshotFinish finish;
        const SnapshotDriver *driver;
        int r = parse(argument, &driver, &finish);
        if (r < 0 || !driver->fill)
                return -EINVAL;
        r = enter_sandbox(1, MEMORY_OF_WAY, fault);
        return r < 0 ? r : driver->fill(&finish, fault);
}

static int empty_trash(TrashEmptied *ret, Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .memory_limit = MEMORY_OF_WAY,
                /* CAP_SYS_ADMIN is for deleting subvolumes. */
                .keep_capabilities = CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) | CAPABILITY(SYS_ADMIN),
                .ioctls = (const unsigned long[]){ BTRFS_IOC_SNAP_DESTROY },
                .ioctl_count = 1,
        };
        (void) setpriority(PRIO_PROCESS, 0, TRASH_NICE);
        int r = enter(&sandbox, fault);
        return r < 0 ? r : trash_empty(DIRECTORY_FD, ret, fault);
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        TreeDamage damage = { 0 };
        TrashEmptied emptied = { 0 };
        int r;

        log_open("crt-tree");
        if (argc >= 3 && string_equal(argv[1], "finish"))
                r = finish(argv + 2, &fault);
        else if (argc == 3 && string_equal(argv[1], "fill"))
                r = fill(argv[2], &fault);
        else if (argc >= 3 && string_equal(argv[1], "measure"))
                r = measure(argv + 2, &fault);
        else if (argc == 4 && string_equal(argv[1], "verify"))
                r = verify(argv[2], argv[3], &damage, &fault);
        else if (argc == 2 && string_equal(argv[1], "empty-trash"))
                r = empty_trash(&emptied, &fault);
        else if (argc == 2 && string_equal(argv[1], "sync"))
                r = sync_only(&fault);
        else {
                (void) fprintf(stderr, "crt-tree is a part of crt-snapshotsd, which starts it.\n");
                return EXIT_FAILURE;
        }
        if (r < 0)
                (void) worker_message_send(tree_sync_has_failed() ? WORKER_DISK_FAILED : WORKER_FAILED, r, 0,
                                           fault_text(&fault, r));
        else if (emptied.inodes > 0) {
                (void) snprintf(damage.first, sizeof(damage.first), "%" PRIu64, emptied.inodes);
                (void) worker_message_send(WORKER_DONE, 0, emptied.size, damage.first);
        } else
                (void) worker_message_send(WORKER_DONE, 0, damage.count, damage.first);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
