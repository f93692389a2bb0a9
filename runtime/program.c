/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define DEFAULT_SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* As other runtimes do: a working directory that is missing is made, while the root is still writable. */
int program_step_make_directory(ContainerPlan *plan, Fault *fault) {
        const char *cwd = plan->config->process.cwd;
        _cleanup_close_ int fd = path_make_directories(plan->rootfs_fd, cwd, 0755, PATH_IN_ROOT);
        /* A path that leads into /proc/self/fd is stopped here or, at the latest, below. */
        return fd < 0 ? fault_set_errno(fault, fd, "config.process.cwd: %s", cwd) : 0;
}

/* CVE-2024-21626: a working directory that is not beneath the container's root is a way out of it. No
 * directory of the host is open here any more (inherited_fds_step_arrange() has closed all), and getcwd(2)
 * has to give a path from this root. Only root may be able to enter it, or only the user: both are tried. */
static int enter_directory(const char *cwd, Fault *fault) {
        char actual[PATH_MAX];
        if (chdir(cwd) < 0)
                return fault_set_errno(fault, -errno, "config.process.cwd: %s", cwd);
        long n = syscall(SYS_getcwd, actual, sizeof(actual));
        if (n <= 0 || actual[0] != '/')
                return fault_set(fault, -EPERM, "config.process.cwd: %s is outside of the container", cwd);
        return 0;
}

int program_step_enter_directory(ContainerPlan *plan, Fault *fault) {
        Fault refused = FAULT_NULL;
        int r = enter_directory(plan->config->process.cwd, &refused);
        plan->enters_as_user = r == -EACCES;
        if (r < 0 && r != -EACCES) {
                fault_move(fault, &refused);
                return r;
        }
        fault_done(&refused);
        return 0;
}

int program_step_enter_directory_as_user(ContainerPlan *plan, Fault *fault) {
        return plan->enters_as_user ? enter_directory(plan->config->process.cwd, fault) : 0;
}

static int check_program(const char *path) {
        struct stat st;
        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int search_program(const char *name, const char *search, char **ret) {
        int error = -ENOENT;
        while (*search) {
                size_t n = strcspn(search, ":");
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "%.*s%s%s", (int) n, search, n > 0 ? "/" : "", name) < 0)
                        return -ENOMEM;
                int r = check_program(path);
                if (r >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
                if (r == -EACCES)
                        error = r;
                search += n + (search[n] == ':');
        }
        return error;
}

int program_step_find(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        const char *name = process->args[0];
        int r;
        if (strchr(name, '/')) {
                plan->program = strdup(name);
                if (!plan->program)
                        return -ENOMEM;
                r = check_program(name);
        } else {
                const char *search = process->env ? strv_get_environment(process->env, "PATH") : NULL;
                r = search_program(name, search ? search : DEFAULT_SEARCH_PATH, &plan->program);
        }
        if (r == -ENOENT && !strchr(name, '/'))
                return fault_set(fault, r, "config.process.args[0]: %s: executable file not found in $PATH",
                                 name);
        return r < 0 ? fault_set_errno(fault, r, "config.process.args[0]: %s", name) : 0;
}

int program_execute(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        static const char *const nothing[] = { NULL };
        const char *const *environment = plan->environment ? plan->environment : process->env;
        (void) execve(plan->program, (char *const *) process->args,
                      (char *const *) (environment ? environment : nothing));
        int r = -errno;
        if (r == -ENOENT)
                return fault_set(fault, r, "config.process.args[0]: %s: it or its interpreter is missing",
                                 plan->program);
        return fault_set_errno(fault, r, "config.process.args[0]: %s", plan->program);
}
