/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-unpack COMPRESSION: unpacks one layer (descriptor 4) into one tree (5, a detached mount), and writes
 * notes for the merge with other layers (6). It tells its daemon on descriptor 3 how far it is, and the
 * outcome.
 *
 * Before it looks at a foreign byte it has nothing to lose: a mount namespace whose only mount is that tree
 * (no /proc, nothing of the host, set to follow no symbolic link at all), no network, no capability but
 * those that making files needs, no CAP_SYS_ADMIN, and a seccomp filter. The marks of overlayfs that would
 * need CAP_SYS_ADMIN are left to the notes (services/snapshots/tree-finish.h). */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <locale.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "services/snapshots/layer-unpack.h"
#include "services/snapshots/worker-message.h"

enum { LAYER_FD = 4, TREE_FD, NOTES_FD };

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
#define STALL_SECONDS 300
#define MEMORY_LIMIT (UINT64_C(2) * 1024 * 1024 * 1024)
/* path_remove_tree() holds one descriptor for each level of a path of at most 4095 bytes. */
#define DESCRIPTOR_LIMIT 4096

/* The tree becomes the root of this mount namespace, and the only mount in it. */
static int enter_tree(void) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;
        struct mount_attr attributes = {
                .attr_set =
                        MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        };
        if (mount_setattr(TREE_FD, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return -errno;
        if (move_mount(TREE_FD, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;
        if (fchdir(TREE_FD) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
                return -errno;
        /* Both are mounted on "/" now, the old one on top. */
        if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return -errno;
        return 0;
}

static void on_progress(uint64_t bytes, void *userdata) {
        (void) worker_message_send(WORKER_PROGRESS, 0, bytes, NULL);
}

static int unpack(Compression compression, LayerResult *ret, Fault *fault) {
        /* libarchive converts the names of pax archives, which are UTF-8, to the locale's. Loaded while
         * there are files to load. */
        if (!setlocale(LC_CTYPE, "C.UTF-8"))
                return fault_set(fault, -ELIBACC, "The locale C.UTF-8 is missing");
        int r = enter_tree();
        if (r < 0)
                return fault_set_errno(fault, r, "Can't enter the tree");
        _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return fault_set_errno(fault, -errno, "Can't open the tree");
        (void) close(TREE_FD);

        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .keep_capabilities = CAPABILITY(CHOWN) | CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) |
                                     CAPABILITY(FSETID) | CAPABILITY(MKNOD) | CAPABILITY(SETFCAP),
                .memory_limit = MEMORY_LIMIT,
                .descriptor_limit = DESCRIPTOR_LIMIT,
        };
        r = sandbox_enter(&sandbox, fault);
        if (r < 0)
                return r;
        const LayerUnpack layer = {
                .layer = LAYER_FD,
                .root = root,
                .notes = NOTES_FD,
                .compression = compression,
                .algorithm = DIGEST_SHA256,
                .stall_seconds = STALL_SECONDS,
                .on_progress = on_progress,
        };
        return layer_unpack(&layer, ret, fault);
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char digest[DIGEST_STRING_MAX];
        LayerResult result;

        log_open("crt-unpack");
        Compression compression = argc == 2 ? compression_from_string(argv[1]) : _COMPRESSION_INVALID;
        if (argc == 2 && compression < 0 && argv[1][0] == '\0')
                compression = COMPRESSION_AUTO;
        if (compression < 0) {
                (void) fprintf(stderr, "crt-unpack is a part of crt-snapshotsd, which starts it.\n");
                return EXIT_FAILURE;
        }
        int r = unpack(compression, &result, &fault);
        if (r < 0) {
                (void) worker_message_send(WORKER_FAILED, r, 0, fault_text(&fault, r));
                return EXIT_FAILURE;
        }
        r = worker_message_send(WORKER_DONE, 0, result.size, digest_to_string(&result.diff_id, digest));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
