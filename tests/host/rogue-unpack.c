/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-unpack as somebody has it who has taken over the process that writes: it is confined like that one,
 * and then takes of the disk what it can, whatever it is told. $CRT_TEST_ROGUE says how: "file", one that
 * grows; "deleted", the same without a name; "many", files without contents. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/snapshots/unpack-confine.h"

enum { TREE_FD = 5 };

static char block[1 << 20];

static _noreturn_ void grow(int fd) {
        for (;;)
                (void) !write(fd, block, sizeof(block));
}

static _noreturn_ void make_many(int tree) {
        char name[16];
        for (unsigned i = 0;; i++) {
                (void) snprintf(name, sizeof(name), "%u", i);
                int fd = openat(tree, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                if (fd >= 0)
                        (void) close(fd);
        }
}

int main(void) {
        Fault fault = FAULT_NULL;
        const char *way = getenv("CRT_TEST_ROGUE");
        int tree = unpack_enter_tree(TREE_FD, &fault);
        if (!way || tree < 0 || unpack_confine(LAYER_PART_WRITE, 0, &fault) < 0)
                return EXIT_FAILURE;
        if (strcmp(way, "many") == 0)
                make_many(tree);
        int fd = openat(tree, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || (strcmp(way, "deleted") == 0 && unlinkat(tree, "file", 0) < 0))
                return EXIT_FAILURE;
        grow(fd);
}
