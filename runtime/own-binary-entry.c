/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What own_binary_protect() does, ahead of the C library: its own beginning costs more than all of this, and
 * would be gone through twice, the first time only to execute the file again. Where anything is unusual,
 * this leaves it to main(), which does it with all its checks and its sentences.
 *
 * Nothing of the C library works here: no errno, no stack protector, no memcpy(). */

#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static const char own_path[] = "/proc/self/exe", nothing[] = "";
static const struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };

#define EARLY __attribute__((no_stack_protector))

void own_binary_enter(char **stack);

/* The kernel's stack is handed to own_binary_enter(), and what the C library expects is as it was. */
__asm__(".text\n"
        ".globl own_binary_start\n"
        ".type own_binary_start, @function\n"
        "own_binary_start:\n"
        "        endbr64\n"
        "        mov %rsp, %rbx\n"
        "        mov %rdx, %r12\n"
        "        mov %rsp, %rdi\n"
        "        and $-16, %rsp\n"
        "        call own_binary_enter\n"
        "        mov %r12, %rdx\n"
        "        mov %rbx, %rsp\n"
        "        jmp _start\n"
        ".size own_binary_start, . - own_binary_start\n");

EARLY static inline long call(long number, long a, long b, long c, long d, long e) {
        register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
        long r = number;
        __asm__ volatile("syscall"
                         : "+a"(r)
                         : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                         : "rcx", "r11", "memory");
        return r;
}

EARLY static inline bool is(const char *word, const char *name) {
        while (*word && *word == *name)
                word++, name++;
        return *word == *name;
}

/* A word that only looks like a command costs one more execve(2), and nothing else. */
EARLY static inline bool clones(char **arguments) {
        for (; *arguments; arguments++)
                if (is(*arguments, "run") || is(*arguments, "create") || is(*arguments, "exec"))
                        return true;
        return false;
}

EARLY static inline bool is_mount(void) {
        struct statx st;
        return call(__NR_statx, AT_FDCWD, (long) own_path, 0, STATX_TYPE, (long) &st) < 0 ||
               (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

EARLY __attribute__((used)) void own_binary_enter(char **stack) {
        char **arguments = stack + 1, **environment = arguments + (intptr_t) *stack + 1;
        if (!clones(arguments) || call(__NR_geteuid, 0, 0, 0, 0, 0) != 0 || is_mount())
                return;
        /* Not close-on-exec: see own_binary_let_go(). Standard descriptors that are closed stay closed. */
        long fd = call(__NR_open_tree, AT_FDCWD, (long) own_path, OPEN_TREE_CLONE, 0, 0);
        if (fd < 0)
                return;
        if (fd > 2 && call(__NR_mount_setattr, fd, (long) nothing, AT_EMPTY_PATH, (long) &readonly,
                           sizeof(readonly)) >= 0)
                (void) call(__NR_execveat, fd, (long) nothing, (long) arguments, (long) environment,
                            AT_EMPTY_PATH);
        (void) call(__NR_close, fd, 0, 0, 0, 0);
}
