/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What config.linux.seccomp costs: compiled, found in the cache, and loaded into a process.
 *
 *     bench-oci-filter CONFIG CACHE COUNT     CACHE: an empty directory
 *
 * Prints medians, in microseconds: compiling and writing to the cache (once), reading it from there,
 * seccomp(2); and the number of instructions. Each load is that of a new process. */

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/runtime-config.h"
#include "runtime/seccomp-cache.h"
#include "runtime/seccomp-filter.h"

#define COUNT_MAX 1000

static double now(void) {
        struct timespec t;
        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
        const double *left = a, *right = b;
        return (*left > *right) - (*left < *right);
}

static int load_once(const struct sock_fprog *program, double *ret_load) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return 1;
        double begun = now();
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0)
                return 1;
        *ret_load = now() - begun;
        return 0;
}

/* In a process of its own: no filter comes off again. */
static int load_in_child(const struct sock_fprog *program, double *ret_load) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
                syscall(SYS_exit_group, load_once(program, ret_load));
        return pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0 ? -1 : 0;
}

static int measure(int cache, const RuntimeSeccomp *seccomp, size_t count, double *ret_read,
                   double *ret_load) {
        double read[COUNT_MAX], load[COUNT_MAX];
        double *shared =
                mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                return -1;
        for (size_t i = 0; i < count; i++) {
                struct sock_fprog program = { 0 };
                size_t instructions;
                double begun = now();
                if (seccomp_cache_get(cache, seccomp, &program.filter, &instructions) != 1)
                        return -1;
                read[i] = now() - begun;
                program.len = (unsigned short) instructions;
                int r = load_in_child(&program, shared);
                free(program.filter);
                if (r < 0)
                        return r;
                load[i] = *shared;
        }
        qsort(read, count, sizeof(double), compare);
        qsort(load, count, sizeof(double), compare);
        *ret_read = read[count / 2];
        *ret_load = load[count / 2];
        return 0;
}

int main(int argc, char *argv[]) {
        Fault fault = FAULT_NULL;
        RuntimeConfig *config = NULL;
        struct sock_filter *filter = NULL;
        size_t instructions = 0;
        double read, load;
        if (argc < 4)
                return 2;
        int file = open(argv[1], O_RDONLY | O_CLOEXEC),
            cache = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unsigned long count = strtoul(argv[3], NULL, 10);
        if (file < 0 || cache < 0 || count == 0 || count > COUNT_MAX)
                return 2;
        int r = runtime_config_parse_fd(file, &config, &fault);
        double begun = now();
        if (r >= 0)
                r = seccomp_filter_compile(config->seccomp, &filter, &instructions, &fault);
        double compiled = now() - begun;
        if (r < 0) {
                (void) fprintf(stderr, "%s: %s\n", argv[1], fault_text(&fault, r));
                return 1;
        }
        seccomp_cache_put(cache, config->seccomp, filter, instructions);
        if (measure(cache, config->seccomp, count, &read, &load) < 0) {
                perror("loading the filter");
                return 1;
        }
        (void) printf("%.0f %.0f %.0f %zu\n", compiled, read, load, instructions);
        free(filter);
        runtime_config_free(config);
        return 0;
}
