/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-tree finish TREE…   makes trees ready and durable, with one sync for all of them;
 * crt-tree fill TREE      fills one that is to begin as a copy of its parent;
 * crt-tree empty-trash    deletes everything below descriptor 4.
 *
 * TREE is what services/snapshots/tree-argument.h says. Descriptor 3 gets the outcome; 4 is the directory of
 * trees, 5 the trash, and what follows are roots of parents. */

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/trash.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/tree-finish.h"
#include "services/snapshots/worker-message.h"

enum { DIRECTORY_FD = 4, TRASH_FD };

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
#define TRASH_NICE 10

/* Sharing what files hold, subvolumes, and fs-verity. */
static const unsigned long tree_ioctls[] = {
        FICLONE,
        BTRFS_IOC_SUBVOL_CREATE,
        BTRFS_IOC_SNAP_CREATE_V2,
        BTRFS_IOC_SNAP_DESTROY,
        BTRFS_IOC_SUBVOL_GETFLAGS,
        BTRFS_IOC_SUBVOL_SETFLAGS,
        FS_IOC_ENABLE_VERITY,
        FS_IOC_MEASURE_VERITY,
};

/* CAP_SYS_ADMIN is for trusted.overlay.*; the filter leaves nothing else that it would be good for. */
static int enter_sandbox(Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .keep_capabilities = CAPABILITY(CHOWN) | CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) |
                                     CAPABILITY(FSETID) | CAPABILITY(MKNOD) | CAPABILITY(SETFCAP) |
                                     CAPABILITY(SYS_ADMIN),
                .ioctls = tree_ioctls,
                .ioctl_count = ELEMENTS_OF(tree_ioctls),
        };
        return sandbox_enter(&sandbox, fault);
}

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
                r = tree_finish(finish.trees, finish.id, finish.parent, fault);
        return r < 0 || !driver->finish ? r : driver->finish(&finish, fault);
}

static int finish(char *arguments[], Fault *fault) {
        int r = enter_sandbox(fault);
        for (size_t i = 0; r >= 0 && arguments[i]; i++)
                r = finish_one(arguments[i], fault);
        if (r >= 0 && syncfs(DIRECTORY_FD) < 0)
                r = fault_set_errno(fault, -errno, "Can't write the snapshot to the disk");
        return r;
}

static int fill(const char *argument, Fault *fault) {
        SnapshotFinish finish;
        const SnapshotDriver *driver;
        int r = parse(argument, &driver, &finish);
        if (r < 0 || !driver->fill)
                return -EINVAL;
        r = enter_sandbox(fault);
        return r < 0 ? r : driver->fill(&finish, fault);
}

static int empty_trash(Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                /* CAP_SYS_ADMIN is for deleting subvolumes. */
                .keep_capabilities = CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) | CAPABILITY(SYS_ADMIN),
                .ioctls = (const unsigned long[]){ BTRFS_IOC_SNAP_DESTROY },
                .ioctl_count = 1,
        };
        (void) setpriority(PRIO_PROCESS, 0, TRASH_NICE);
        int r = sandbox_enter(&sandbox, fault);
        return r < 0 ? r : trash_empty(DIRECTORY_FD, fault);
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r;

        log_open("crt-tree");
        if (argc >= 3 && string_equal(argv[1], "finish"))
                r = finish(argv + 2, &fault);
        else if (argc == 3 && string_equal(argv[1], "fill"))
                r = fill(argv[2], &fault);
        else if (argc == 2 && string_equal(argv[1], "empty-trash"))
                r = empty_trash(&fault);
        else {
                (void) fprintf(stderr, "crt-tree is a part of crt-snapshotsd, which starts it.\n");
                return EXIT_FAILURE;
        }
        if (r < 0)
                (void) worker_message_send(WORKER_FAILED, r, 0, fault_text(&fault, r));
        else
                (void) worker_message_send(WORKER_DONE, 0, 0, NULL);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
