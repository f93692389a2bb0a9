/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-diff COMPRESSION LEVEL EPOCH FLAGS: writes what makes one tree out of another as a layer into a pipe
 * (descriptor 4). The new tree is descriptor 5; with 'o' among the flags the old one follows, with 'u' the
 * upper layer of the new one; with 'i' a file has one inode number in both trees. EPOCH: no time is later
 * than that, "-" if they are left alone. It tells its daemon on descriptor 3 how far it is, and the outcome:
 * "DIFF-ID DIGEST".
 *
 * Containers have made what it reads: its root directory is empty, the trees are mounted read-only, and a
 * filter kills it for any call that reading them does not take. CAP_SYS_ADMIN is for trusted.overlay.opaque
 * alone. */

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/strv.h"
#include "services/snapshots/diff-output.h"
#include "services/snapshots/host-leave.h"
#include "services/snapshots/tree-diff.h"
#include "services/snapshots/worker-message.h"

enum { OUTPUT_FD = 4, NEW_FD, FURTHER_FD };

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
#define STALL_SECONDS 300
#define MEMORY_LIMIT (UINT64_C(2) * 1024 * 1024 * 1024)

static void on_progress(uint64_t bytes) {
        (void) worker_message_send(WORKER_PROGRESS, 0, bytes, NULL);
}

static int diff(const DiffOutputSpec *output_spec, TreeDiffSpec *trees, DiffResult *ret, Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .keep_capabilities = CAPABILITY(DAC_OVERRIDE) | CAPABILITY(SYS_ADMIN),
                .memory_limit = MEMORY_LIMIT,
        };
        (void) signal(SIGPIPE, SIG_IGN);
        int r = fd_set_nonblocking(OUTPUT_FD, true);
        if (r >= 0)
                r = host_leave();
        if (r < 0)
                return fault_set_errno(fault, r, "Can't leave the host's files");
        r = sandbox_enter(&sandbox, fault);
        if (r < 0)
                return r;
        _cleanup_(diff_output_freep) DiffOutput *output = NULL;
        r = diff_output_new(output_spec, &output, fault);
        if (r < 0)
                return r;
        trees->sink = diff_output_sink(output);
        r = tree_diff(trees, fault);
        if (r >= 0)
                return diff_output_finish(output, ret, fault);

        /* Why nothing more could be written says more than that it could not. */
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        int k = diff_output_check(output, &own);
        if (k < 0) {
                fault_done(fault);
                *fault = TAKE(own, FAULT_NULL);
                r = k;
        }
        return r;
}

static int parse_arguments(char *argv[], DiffOutputSpec *output, TreeDiffSpec *trees) {
        int64_t level;
        int next = FURTHER_FD;
        output->compression = compression_from_string(argv[1]);
        if (output->compression < 0 || string_to_int64(argv[2], &level) < 0)
                return -EINVAL;
        output->level = (int) level;
        trees->clamp = !string_equal(argv[3], "-");
        output->reproducible = trees->clamp;
        if (trees->clamp && string_to_int64(argv[3], &trees->epoch) < 0)
                return -EINVAL;
        trees->old = strchr(argv[4], 'o') ? next++ : -EBADF;
        trees->upper = strchr(argv[4], 'u') ? next++ : -EBADF;
        trees->same_inodes = strchr(argv[4], 'i') != NULL;
        return 0;
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char diff_id[DIGEST_STRING_MAX], digest[DIGEST_STRING_MAX], text[2 * DIGEST_STRING_MAX];
        DiffResult result;
        DiffOutputSpec output = { .fd = OUTPUT_FD,
                                  .stall_seconds = STALL_SECONDS,
                                  .on_progress = on_progress };
        TreeDiffSpec trees = { .new = NEW_FD };

        log_open("crt-diff");
        if (argc != 5 || parse_arguments(argv, &output, &trees) < 0) {
                (void) fprintf(stderr, "crt-diff is a part of crt-snapshotsd, which starts it.\n");
                return EXIT_FAILURE;
        }
        int r = diff(&output, &trees, &result, &fault);
        if (r < 0) {
                (void) worker_message_send(WORKER_FAILED, r, 0, fault_text(&fault, r));
                _exit(EXIT_FAILURE); /* the thread may be waiting for a reader */
        }
        (void) snprintf(text, sizeof(text), "%s %s", digest_to_string(&result.diff_id, diff_id),
                        digest_to_string(&result.digest, digest));
        r = worker_message_send(WORKER_DONE, 0, result.size, text);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
