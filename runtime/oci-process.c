/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/container.h"
#include "runtime/exec.h"

#define PROCESS_SIZE_MAX (4U * 1024U * 1024U)

bool oci_process_is_inherited(int fd) {
        int flags = fcntl(fd, F_GETFD);
        return flags >= 0 && !(flags & FD_CLOEXEC);
}

void oci_process_standard(int standard[static 3]) {
        for (int i = 0; i < 3; i++)
                standard[i] = oci_process_is_inherited(i) ? i : -EBADF;
}

/* By O_PATH, reading and writing fail with EBADF as they would without. */
void oci_process_guard_standard(void) {
        int fd;
        do
                fd = open("/dev/null", O_PATH | O_CLOEXEC);
        while (fd >= 0 && fd < 2);
        if (fd > 2)
                fd_close(fd);
}

int oci_process_set_environment(RuntimeProcess *process, const char *assignment) {
        size_t name = strcspn(assignment, "=") + 1, count = 0;
        for (; process->env && process->env[count]; count++)
                if (strncmp(process->env[count], assignment, name) == 0) {
                        process->env[count] = assignment;
                        return 0;
                }
        const char **larger = realloc(process->env, (count + 2) * sizeof(char *));
        if (!larger)
                return -ENOMEM;
        process->env = larger;
        larger[count] = assignment;
        larger[count + 1] = NULL;
        return 0;
}

/* Digits and nothing else: what is not a number is not user 0 (CVE-2026-30892). */
static int read_id(const char *text, size_t length, const char *what, uint32_t *ret, Fault *fault) {
        char number[16] = "";
        uint64_t id;
        if (length < sizeof(number))
                memcpy(number, text, length);
        if (length == 0 || length >= sizeof(number) || string_to_uint64(number, UINT32_MAX - 1, &id) < 0)
                return fault_set(fault, -EINVAL, "%s: '%.*s' is not a number below 4294967295", what,
                                 (int) MIN_OF(length, 64U), text);
        *ret = (uint32_t) id;
        return 0;
}

/* "UID[:GID]" */
static int apply_user(const char *user, RuntimeProcess *process, Fault *fault) {
        size_t length = strcspn(user, ":");
        int r = read_id(user, length, "--user", &process->uid, fault);
        if (r < 0 || user[length] == '\0')
                return r;
        return read_id(user + length + 1, strlen(user + length + 1), "--user", &process->gid, fault);
}

static int apply_groups(const OciList *gids, RuntimeProcess *process, Fault *fault) {
        uint32_t *larger = realloc(process->additional_gids,
                                   (process->additional_gid_count + gids->count + 1) * sizeof(uint32_t));
        if (!larger)
                return -ENOMEM;
        process->additional_gids = larger;
        for (size_t i = 0; i < gids->count; i++) {
                int r = read_id(gids->items[i], strlen(gids->items[i]), "--additional-gids",
                                &larger[process->additional_gid_count], fault);
                if (r < 0)
                        return r;
                process->additional_gid_count++;
        }
        return 0;
}

static int find_capability(const char *name) {
        for (unsigned i = 0; i < 64; i++) {
                const char *known = runtime_capability_to_string(i);
                if (known && (strcasecmp(known, name) == 0 || strcasecmp(known + strlen("CAP_"), name) == 0))
                        return (int) i;
        }
        return -ENOENT;
}

/* Not inheritable and not ambient: what the program has is not what those have that it executes
 * (CVE-2022-29162). */
static int apply_capabilities(const OciList *names, RuntimeCapabilities *sets, Fault *fault) {
        for (size_t i = 0; i < names->count; i++) {
                int number = find_capability(names->items[i]);
                if (number < 0)
                        return fault_set(fault, -EINVAL, "--cap: '%s' is not a capability", names->items[i]);
                uint64_t bit = UINT64_C(1) << number;
                sets->bounding |= bit;
                sets->permitted |= bit;
                sets->effective |= bit;
        }
        return 0;
}

static int apply_environment(const OciList *assignments, RuntimeProcess *process, Fault *fault) {
        for (size_t i = 0; i < assignments->count; i++) {
                const char *assignment = assignments->items[i];
                if (!strchr(assignment, '=') || assignment[0] == '=')
                        return fault_set(fault, -EINVAL, "--env: '%s' is not NAME=value", assignment);
                int r = oci_process_set_environment(process, assignment);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_process(const char *path, RuntimeProcess *process, json_object **ret_document,
                        Fault *fault) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "--process: %s", path);
        int r = json_parse_fd(fd, PROCESS_SIZE_MAX, "process", ret_document, fault);
        if (r < 0)
                return r;
        runtime_process_done(process);
        runtime_process_init(process);
        return runtime_process_parse(*ret_document, process, fault);
}

static int apply_arguments(const OciOptions *options, RuntimeProcess *process) {
        const char **args = new0(const char *, options->argument_count + 1);
        if (!args)
                return -ENOMEM;
        memcpy(args, options->arguments, options->argument_count * sizeof(char *));
        free(process->args);
        process->args = args;
        return 0;
}

int oci_process_apply(const OciOptions *options, RuntimeProcess *process, json_object **ret_document,
                      Fault *fault) {
        const OciExecOptions *exec = &options->exec;
        int r;
        if (exec->process) {
                r = read_process(exec->process, process, ret_document, fault);
                process->terminal |= exec->tty && r >= 0;
                return r;
        }
        if (options->arguments[0][0] == '\0')
                return fault_set(fault, -EINVAL, "exec: the program has no name");
        if (exec->cwd && exec->cwd[0] != '/')
                return fault_set(fault, -EINVAL, "--cwd: '%s' is not an absolute path", exec->cwd);
        if ((r = apply_arguments(options, process)) < 0 ||
            (r = exec->user ? apply_user(exec->user, process, fault) : 0) < 0 ||
            (r = apply_groups(&exec->additional_gids, process, fault)) < 0 ||
            (r = apply_capabilities(&exec->capabilities, &process->capabilities, fault)) < 0 ||
            (r = apply_environment(&exec->env, process, fault)) < 0)
                return r;
        process->terminal = exec->tty;
        process->no_new_privileges |= exec->no_new_privileges;
        process->cwd = exec->cwd ? exec->cwd : process->cwd;
        process->apparmor_profile = exec->apparmor ? exec->apparmor : process->apparmor_profile;
        process->selinux_label = exec->label ? exec->label : process->selinux_label;
        return 0;
}

static char listen_pid[sizeof("LISTEN_PID=") + EXEC_PID_SIZE] = "LISTEN_PID=1";

char *oci_process_listen_pid(void) {
        return listen_pid + strlen("LISTEN_PID=");
}

/* sd_listen_fds(3): for this process, or for none. */
static unsigned listen_fds(void) {
        const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
        uint64_t number, whose;
        if (!count || string_to_uint64(count, CONTAINER_EXTRA_FDS_MAX, &number) < 0)
                return 0;
        if (pid && (string_to_uint64(pid, INT32_MAX, &whose) < 0 || whose != (uint64_t) getpid()))
                return 0;
        return (unsigned) number;
}

int oci_process_hand_on(const OciOptions *options, RuntimeProcess *process, int *fds, Fault *fault) {
        unsigned listen = listen_fds(), count = listen + options->preserve_fds;
        if (count > CONTAINER_EXTRA_FDS_MAX)
                return fault_set(fault, -EINVAL, "more than %i descriptors to hand on",
                                 CONTAINER_EXTRA_FDS_MAX);
        for (unsigned i = 0; i < count; i++) {
                fds[i] = 3 + (int) i;
                if (!oci_process_is_inherited(fds[i]))
                        return fault_set(fault, -EBADF,
                                         "descriptor %i, which is to be handed on, is not open", fds[i]);
        }
        if (listen > 0) {
                static char assignment[32];
                (void) snprintf(assignment, sizeof(assignment), "LISTEN_FDS=%u", listen);
                int r = oci_process_set_environment(process, assignment);
                if (r >= 0)
                        r = oci_process_set_environment(process, listen_pid);
                if (r < 0)
                        return r;
        }
        return (int) count;
}
