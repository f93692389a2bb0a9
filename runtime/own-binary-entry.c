/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Takes the process apart from its file, ahead of the C library: what /proc/PID/exe leads to becomes a
 * sealed file in memory that is no program. The kernel changes it (PR_SET_MM_MAP) when nothing of the old
 * file is mapped; that is unmapped for the moment, and the code that does so lies in that sealed file.
 * Neither a second execve(2) nor a mount is needed for that. What is mapped still is shown to those only who
 * have CAP_CHECKPOINT_RESTORE over the whole host (/proc/PID/map_files), and ends with execve(2).
 *
 * Where anything is unusual, this leaves it to own_binary_protect(), which has another way, all its checks
 * and its sentences.
 *
 * Nothing of the C library works here: no errno, no stack protector, no memset(). */

#include <asm/unistd.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/prctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "runtime/own-binary.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* since Linux 6.3 */
#endif

#define EARLY __attribute__((no_stack_protector))
#define PAGE 4096UL
#define CALLS_MAX 10

/* A system call; its result takes the place of its number. */
typedef struct EarlyCall {
        long number, arguments[6];
} EarlyCall;

void own_binary_enter(char **stack);

/* The linker's: where this file's own header lies in memory. */
extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
/* Beside the code, in a page that is there anyway. */
extern const char own_binary_path[], own_binary_name[], own_binary_commands[];
/* own_binary_calls() makes calls one after the other, whatever comes of them, and runs wherever it lies. */
extern const char own_binary_other[], own_binary_calls[], own_binary_other_end[];
typedef void (*EarlyCalls)(EarlyCall *begin, EarlyCall *end);

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
        /* What is in the sealed file: to the kernel no program of any kind, and to shells no script. */
        "own_binary_other: .asciz \"this is not crt-oci\"\n"
        "own_binary_calls:\n"
        "        push %rbx\n"
        "        push %rbp\n"
        "        mov %rdi, %rbx\n"
        "        mov %rsi, %rbp\n"
        "1:      cmp %rbp, %rbx\n"
        "        je 2f\n"
        "        mov (%rbx), %rax\n"
        "        mov 8(%rbx), %rdi\n"
        "        mov 16(%rbx), %rsi\n"
        "        mov 24(%rbx), %rdx\n"
        "        mov 32(%rbx), %r10\n"
        "        mov 40(%rbx), %r8\n"
        "        mov 48(%rbx), %r9\n"
        "        syscall\n"
        "        mov %rax, (%rbx)\n"
        "        add $56, %rbx\n"
        "        jmp 1b\n"
        "2:      pop %rbp\n"
        "        pop %rbx\n"
        "        ret\n"
        "own_binary_other_end:\n"
        "own_binary_path: .asciz \"/proc/self/exe\"\n"
        "own_binary_name: .asciz \"crt-oci\"\n"
        "own_binary_commands: .asciz \"run\", \"create\", \"exec\", \"\"\n");

EARLY static inline long call(long number, long a, long b, long c, long d, long e) {
        register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
        register long r9 __asm__("r9") = 0;
        long r = number;
        __asm__ volatile("syscall"
                         : "+a"(r)
                         : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return r;
}

/* A word that only looks like a command costs what is done here, and nothing else. */
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

EARLY static inline const char *end_of_last(char **strings) {
        const char *end = *strings;
        for (; *strings; strings++)
                for (end = *strings; *end++;)
                        ;
        return end;
}

/* All that it has besides the file is to be as it was. */
EARLY static inline void describe(struct prctl_mm_map *map, char **stack, char **arguments,
                                  char **environment) {
        map->start_brk = map->brk = (uint64_t) call(__NR_brk, 0, 0, 0, 0, 0);
        map->start_stack = (uintptr_t) stack;
        map->arg_start = (uintptr_t) *arguments;
        map->arg_end = map->env_start = map->env_end = (uintptr_t) end_of_last(arguments);
        if (*environment) {
                map->env_start = (uintptr_t) *environment;
                map->env_end = (uintptr_t) end_of_last(environment);
        }
        map->auxv = NULL;
        map->auxv_size = 0;
}

EARLY static inline void map_again(EarlyCall *to, const Elf64_Phdr *segment, int file) {
        uintptr_t begin = segment->p_vaddr & -PAGE;
        to->number = __NR_mmap;
        to->arguments[0] = (long) begin;
        to->arguments[1] = (long) (segment->p_vaddr + segment->p_filesz - begin);
        to->arguments[2] = (segment->p_flags & PF_R ? PROT_READ : 0) |
                           (segment->p_flags & PF_W ? PROT_WRITE : 0) |
                           (segment->p_flags & PF_X ? PROT_EXEC : 0);
        to->arguments[3] = MAP_PRIVATE | MAP_FIXED;
        to->arguments[4] = file;
        to->arguments[5] = (long) (segment->p_offset & -PAGE);
}

/* The whole file away, the change, and each segment back. Returns how many calls that are. */
EARLY static inline int plan_calls(EarlyCall *calls, int file, struct prctl_mm_map *map) {
        const Elf64_Phdr *segment = (const Elf64_Phdr *) ((uintptr_t) &__ehdr_start + __ehdr_start.e_phoff);
        uintptr_t begin = (uintptr_t) &__ehdr_start, end = begin;
        int count = 2;
        for (size_t i = 0; i < __ehdr_start.e_phnum; i++, segment++) {
                if (segment->p_type != PT_LOAD)
                        continue;
                if (count == CALLS_MAX)
                        return -1;
                end = segment->p_vaddr + segment->p_filesz;
                map_again(&calls[count++], segment, file);
                if (segment->p_flags & PF_X) {
                        map->start_code = segment->p_vaddr;
                        map->end_code = end;
                }
                if (segment->p_flags & PF_W) {
                        map->start_data = segment->p_vaddr;
                        map->end_data = end;
                }
        }
        calls[0] = (EarlyCall){ __NR_munmap, { (long) begin, (long) (end - begin) } };
        calls[1] = (EarlyCall){ __NR_prctl, { PR_SET_MM, PR_SET_MM_MAP, (long) map, sizeof(*map), 0 } };
        return count;
}

/* Page by page as at first; but what follows the data in its last page is zero. */
EARLY static inline bool change(int file, int other, struct prctl_mm_map *map) {
        EarlyCall calls[CALLS_MAX];
        int count = plan_calls(calls, file, map);
        long code = call(__NR_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, other);
        if (count < 0 || code < 0)
                return false;
        ((EarlyCalls) (code + (own_binary_calls - own_binary_other)))(calls, calls + count);
        for (char *end = (char *) map->end_data; (uintptr_t) end & (PAGE - 1); end++)
                *(volatile char *) end = 0;
        (void) call(__NR_munmap, code, PAGE, 0, 0, 0);
        return calls[1].number == 0;
}

EARLY static inline long make_other(void) {
        const long flags = MFD_CLOEXEC | MFD_ALLOW_SEALING, name = (long) own_binary_name;
        const long seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        const long size = own_binary_other_end - own_binary_other;
        long fd = call(__NR_memfd_create, name, flags | MFD_EXEC, 0, 0, 0);
        if (fd == -EINVAL)
                fd = call(__NR_memfd_create, name, flags, 0, 0, 0);
        if (fd >= 0 && (call(__NR_write, fd, (long) own_binary_other, size, 0, 0) != size ||
                        call(__NR_fcntl, fd, F_ADD_SEALS, seals, 0, 0) != 0)) {
                (void) call(__NR_close, fd, 0, 0, 0, 0);
                return -1;
        }
        return fd;
}

EARLY __attribute__((used)) void own_binary_enter(char **stack) {
        char **arguments = stack + 1, **environment = arguments + (intptr_t) *stack + 1;
        if (!clones(arguments) || __ehdr_start.e_type != ET_EXEC || call(__NR_geteuid, 0, 0, 0, 0, 0) != 0)
                return;
        /* What is opened is closed again: standard descriptors that are closed stay closed. */
        long file = call(__NR_openat, AT_FDCWD, (long) own_binary_path, O_RDONLY | O_CLOEXEC, 0, 0);
        if (file < 0)
                return;
        long other = make_other();
        if (other >= 0) {
                struct prctl_mm_map map;
                describe(&map, stack, arguments, environment);
                map.exe_fd = (uint32_t) other;
                bool done = change((int) file, (int) other, &map);
                own_binary_is_apart = done;
                (void) call(__NR_close, other, 0, 0, 0, 0);
        }
        (void) call(__NR_close, file, 0, 0, 0, 0);
}
