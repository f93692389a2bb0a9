/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What own_binary_protect() does, ahead of the C library: its own beginning costs more than all of this, and
 * would be gone through twice, the first time only to execute the file again. Where anything is unusual,
 * this leaves it to main(), which does it with all its checks and its sentences.
 *
 * Nothing of the C library works here: no errno, no stack protector, no memcpy(). */

#include <asm/unistd.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EARLY __attribute__((no_stack_protector))

void own_binary_enter(char **stack);

/* Beside the code, in a page that is there anyway. */
extern const char own_binary_path[], own_binary_commands[], own_binary_reexecuted[];

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
        ".size own_binary_start, . - own_binary_start\n"
        "own_binary_path: .asciz \"/proc/self/exe\"\n"
        "own_binary_commands: .asciz \"run\", \"create\", \"exec\", \"\"\n"
        "own_binary_reexecuted: .asciz \"/dev/fd/\"\n");

#define OWN_PATH_END (own_binary_path + sizeof("/proc/self/exe") - 1)

EARLY static inline long call(long number, long a, long b, long c, long d, long e) {
        register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
        long r = number;
        __asm__ volatile("syscall"
                         : "+a"(r)
                         : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                         : "rcx", "r11", "memory");
        return r;
}

EARLY static inline bool begins(const char *word, const char *with) {
        while (*with && *word == *with)
                word++, with++;
        return *with == '\0';
}

/* A word that only looks like a command costs one more execve(2), and nothing else. */
EARLY static inline bool clones(char **arguments) {
        for (; *arguments; arguments++)
                for (const char *name = own_binary_commands; *name; name++) {
                        const char *word = *arguments;
                        while (*name && *word == *name)
                                word++, name++;
                        if (*name == '\0' && *word == '\0')
                                return true;
                        while (*name)
                                name++;
                }
        return false;
}

/* execveat(2) has said so: whether all is well then is for own_binary_protect() to see. */
EARLY static inline bool is_reexecuted(char **environment) {
        while (*environment)
                environment++;
        const Elf64_auxv_t *known = (const Elf64_auxv_t *) (environment + 1);
        while (known->a_type != AT_NULL && known->a_type != AT_EXECFN)
                known++;
        return known->a_type == AT_EXECFN && begins((const char *) known->a_un.a_val, own_binary_reexecuted);
}

EARLY __attribute__((used)) void own_binary_enter(char **stack) {
        char **arguments = stack + 1, **environment = arguments + (intptr_t) *stack + 1;
        struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
        if (!clones(arguments) || is_reexecuted(environment) || call(__NR_geteuid, 0, 0, 0, 0, 0) != 0)
                return;
        /* Not close-on-exec: see own_binary_begin(). Standard descriptors that are closed stay closed. */
        long fd = call(__NR_open_tree, AT_FDCWD, (long) own_binary_path, OPEN_TREE_CLONE, 0, 0);
        if (fd < 0)
                return;
        if (fd > 2 && call(__NR_mount_setattr, fd, (long) OWN_PATH_END, AT_EMPTY_PATH, (long) &readonly,
                           sizeof(readonly)) >= 0)
                (void) call(__NR_execveat, fd, (long) OWN_PATH_END, (long) arguments, (long) environment,
                            AT_EMPTY_PATH);
        (void) call(__NR_close, fd, 0, 0, 0, 0);
}
