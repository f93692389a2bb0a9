/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-tree finish TREE[:PARENT,PARENT]...  makes trees below descriptor 4 ready and durable, with one sync
 * for all of them; crt-tree empty-trash deletes everything below descriptor 4. Descriptor 3 gets the
 * outcome. */

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/strv.h"
#include "services/snapshots/trash.h"
#include "services/snapshots/tree-finish.h"
#include "services/snapshots/worker-message.h"

#define DIRECTORY_FD 4
#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)
#define PARENTS_MAX 1000
#define TRASH_NICE 10

static int parse_id(const char *text, int64_t *ret) {
        uint64_t id;
        int r = string_to_uint64(text, INT64_MAX, &id);
        if (r >= 0)
                *ret = (int64_t) id;
        return r;
}

/* "12:11,10" */
static int finish_one(char *argument, Fault *fault) {
        int64_t id, parents[PARENTS_MAX];
        size_t count = 0;
        char *list = strchr(argument, ':'), *state = NULL;
        if (list)
                *list++ = '\0';
        if (parse_id(argument, &id) < 0)
                return -EINVAL;
        for (char *part = list ? strtok_r(list, ",", &state) : NULL; part;
             part = strtok_r(NULL, ",", &state))
                if (count == PARENTS_MAX || parse_id(part, &parents[count++]) < 0)
                        return -EINVAL;
        return tree_finish(DIRECTORY_FD, id, parents, count, fault);
}

/* CAP_SYS_ADMIN is for trusted.overlay.*; the filter leaves nothing else that it would be good for. */
static int finish(char *arguments[], Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .keep_capabilities = CAPABILITY(CHOWN) | CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER) |
                                     CAPABILITY(FSETID) | CAPABILITY(SYS_ADMIN),
        };
        int r = sandbox_enter(&sandbox, fault);
        for (size_t i = 0; r >= 0 && arguments[i]; i++)
                r = finish_one(arguments[i], fault);
        if (r >= 0 && syncfs(DIRECTORY_FD) < 0)
                r = fault_set_errno(fault, -errno, "Can't write the snapshot to the disk");
        return r;
}

static int empty_trash(Fault *fault) {
        const Sandbox sandbox = {
                .profile = SANDBOX_TREE,
                .keep_capabilities = CAPABILITY(DAC_OVERRIDE) | CAPABILITY(FOWNER),
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
