/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/unpack-confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/limits.h"
#include "lib/sandbox.h"
#include "services/snapshots/directory-finish.h"

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
/* Of the part with the least to do: the two others, between which it has room, are not to wait for a
 * processor that it has. */
#define RELAY_NICE 5
#define MEBIBYTES UINT64_C(1048576)
/* A layer of 256 GiB is inflated, or one of 8 Mi entries written, within that. */
#define PROCESSOR_SECONDS 1800

/* The decompressor's memory: a window of zstd of 128 MiB. The writer's: 512 MiB of directories. Its
 * descriptors: removing a tree takes one for each level of a path of at most 4095 bytes. */
static const Sandbox sandboxes[_LAYER_PART_MAX] = {
        [LAYER_PART_DECOMPRESS] = { .profile = SANDBOX_STREAM,
                                    .memory_limit = 512 * MEBIBYTES,
                                    .descriptor_limit = 64 },
        [LAYER_PART_RELAY] = { .profile = SANDBOX_STREAM,
                               .memory_limit = 256 * MEBIBYTES,
                               .descriptor_limit = 64 },
        [LAYER_PART_WRITE] = { .profile = SANDBOX_TREE,
                               .keep_capabilities = CAPABILITY(CHOWN) | CAPABILITY(DAC_OVERRIDE) |
                                                    CAPABILITY(FOWNER) | CAPABILITY(FSETID) |
                                                    CAPABILITY(MKNOD) | CAPABILITY(SETFCAP),
                               .memory_limit = 1536 * MEBIBYTES,
                               .descriptor_limit = 4096 },
};

static int enter_tree(int tree) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;
        struct mount_attr attributes = {
                .attr_set =
                        MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        };
        if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return -errno;
        if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;
        if (fchdir(tree) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
                return -errno;
        /* Both are mounted on "/" now, the old one on top. */
        if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return -errno;
        return 0;
}

int unpack_enter_tree(int tree, Fault *fault) {
        int r = enter_tree(tree);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't enter the tree");
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return fault_set_errno(fault, -errno, "Can't open the tree");
        (void) close(tree);
        return root;
}

int unpack_confine(LayerPart part, uint64_t size_max, Fault *fault) {
        Sandbox sandbox = sandboxes[part];
        const struct rlimit processor = { PROCESSOR_SECONDS, PROCESSOR_SECONDS };
        if (setrlimit(RLIMIT_CPU, &processor) < 0)
                return fault_set_errno(fault, -errno, "Can't limit the processor time");
        if (part == LAYER_PART_RELAY)
                (void) !nice(RELAY_NICE);
        if (part == LAYER_PART_WRITE)
                sandbox.file_limit = MAX_OF(size_max > 0 ? size_max : LIMIT_LAYER_SIZE, DIRECTORY_NOTES_MAX);
        return sandbox_enter(&sandbox, fault);
}
