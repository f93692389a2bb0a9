/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-unpack COMPRESSION [RULE=VALUE]...: unpacks one layer (descriptor 4) into one tree (5, a detached
 * mount), and writes notes for the merge with other layers (6). It tells its daemon on descriptor 3 how far
 * it is, and the outcome. The rules: size-max, entries-max, keep-labels.
 *
 * Before it looks at a foreign byte it has nothing to lose (unpack-confine.h): a mount namespace whose only
 * mount is that tree (no /proc, nothing of the host), no network, no capability but those that making files
 * needs, no CAP_SYS_ADMIN, and a seccomp filter. The marks of overlayfs that would need CAP_SYS_ADMIN are
 * left to the notes (services/snapshots/tree-finish.h). */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/layer-unpack.h"
#include "services/snapshots/unpack-confine.h"
#include "services/snapshots/worker-message.h"

enum { LAYER_FD = 4, TREE_FD, NOTES_FD };

static const LayerPace pace = {
        .stall_seconds = 300,
        .window_seconds = 600,
        .window_bytes = UINT64_C(64) * 1024,
        .deadline_seconds = 24 * 60 * 60,
};

static void on_progress(uint64_t bytes, void *userdata) {
        (void) worker_message_send(WORKER_PROGRESS, 0, bytes, NULL);
}

/* Somebody else who reads from the same pipe could take away what poll() had promised, and read() would wait
 * for ever. The caller's own description is not changed for that: this is another one. */
static int reopen_pipe(int fd, Fault *fault) {
        char path[FD_PROC_PATH_SIZE];
        struct stat st;
        if (fstat(fd, &st) < 0)
                return fault_set_errno(fault, -errno, "Can't look at the layer's descriptor");
        if (!S_ISFIFO(st.st_mode))
                return S_ISREG(st.st_mode)
                               ? 0
                               : fault_set(fault, -EINVAL, "layer: must be a regular file or a pipe");
        int own = open(fd_proc_path(fd, path), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (own < 0)
                return fault_set_errno(fault, -errno, "Can't open the layer's pipe");
        int r = dup3(own, fd, O_CLOEXEC) < 0 ? -errno : 0;
        (void) close(own);
        return r < 0 ? fault_set_errno(fault, r, "Can't open the layer's pipe") : 0;
}

static int root = -EBADF;
static uint64_t size_max; /* of a layer */

/* The two others have their copies. */
static int confine(LayerPart part, Fault *fault) {
        if (part == LAYER_PART_RELAY) {
                (void) close(LAYER_FD);
                (void) close(NOTES_FD);
                root = fd_close(root);
        }
        return unpack_confine(part, size_max, fault);
}

static int unpack(Compression compression, const LayerRules *rules, LayerResult *ret, Fault *fault) {
        int r = reopen_pipe(LAYER_FD, fault);
        if (r < 0)
                return r;
        root = unpack_enter_tree(TREE_FD, fault);
        if (root < 0)
                return root;
        size_max = rules->size_max;
        const LayerUnpack layer = {
                .layer = LAYER_FD,
                .root = root,
                .notes = NOTES_FD,
                .compression = compression,
                .algorithm = DIGEST_SHA256,
                .rules = *rules,
                .pace = pace,
                .confine = confine,
                .on_progress = on_progress,
        };
        return layer_unpack(&layer, ret, fault);
}

static int read_rule(const char *argument, LayerRules *rules) {
        const char *value;
        uint64_t number;
        if ((value = string_after(argument, "size-max=")))
                return string_to_uint64(value, UINT64_MAX, &rules->size_max);
        if ((value = string_after(argument, "entries-max=")))
                return string_to_uint64(value, UINT64_MAX, &rules->entries_max);
        if ((value = string_after(argument, "keep-labels=")) && string_to_uint64(value, 1, &number) >= 0) {
                rules->keep_labels = number > 0;
                return 0;
        }
        return -EINVAL;
}

static int read_arguments(int argc, char *argv[], Compression *ret_compression, LayerRules *rules) {
        if (argc < 2)
                return -EINVAL;
        *ret_compression = argv[1][0] ? compression_from_string(argv[1]) : COMPRESSION_AUTO;
        int r = *ret_compression < 0 ? -EINVAL : 0;
        for (int i = 2; r >= 0 && i < argc; i++)
                r = read_rule(argv[i], rules);
        return r;
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char digest[DIGEST_STRING_MAX];
        Compression compression;
        LayerRules rules = { 0 };
        LayerResult result;

        log_open("crt-unpack");
        if (read_arguments(argc, argv, &compression, &rules) < 0) {
                (void) fprintf(stderr, "crt-unpack is a part of crt-snapshotsd, which starts it.\n");
                return EXIT_FAILURE;
        }
        (void) signal(SIGPIPE, SIG_IGN);
        int r = unpack(compression, &rules, &result, &fault);
        if (r < 0) {
                (void) worker_message_send(WORKER_FAILED, r, 0, fault_text(&fault, r));
                return EXIT_FAILURE;
        }
        r = worker_message_send(WORKER_DONE, 0, result.size, digest_to_string(&result.diff_id, digest));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
