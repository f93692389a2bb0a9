/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/seccomp-notify.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/message.h"
#include "runtime/init-report.h"

#define COURIER_STACK (64 * 1024)

static bool notifies(const ContainerPlan *plan) {
        return plan->config->seccomp && plan->config->seccomp->notifies && !plan->request->seccomp_program;
}

int seccomp_notify_prepare(const ContainerPlan *plan, Fault *fault) {
        const RuntimeSeccomp *seccomp = plan->config->seccomp;
        if (!notifies(plan))
                return seccomp && seccomp->flag_wait_killable
                               ? fault_set(
                                         fault, -EINVAL,
                                         "config.linux.seccomp.flags: "
                                         "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV goes with SCMP_ACT_NOTIFY")
                               : 0;
        if (!plan->request->id || !plan->request->bundle)
                return fault_set(fault, -EOPNOTSUPP, "config.linux.seccomp: this caller serves no agent");
        if (strlen(seccomp->listener_path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return fault_set(fault, -ENAMETOOLONG, "config.linux.seccomp.listenerPath: is too long");
        return 0;
}

static int add(json_object *object, const char *key, json_object *value) {
        if (!value || json_object_object_add(object, key, value) < 0) {
                json_document_free(value);
                return -ENOMEM;
        }
        return 0;
}

static json_object *state_object(const ContainerPlan *plan, const HookState *state) {
        _cleanup_free_ char *text = NULL;
        return hooks_state_to_json(plan->config, state, &text) < 0 ? NULL : json_tokener_parse(text);
}

static int process_state(const ContainerPlan *plan, pid_t pid, const HookState *state, char **ret) {
        const RuntimeSeccomp *seccomp = plan->config->seccomp;
        _cleanup_json_ json_object *document = json_object_new_object();
        json_object *fds = json_object_new_array();
        int r = document ? add(document, "fds", fds) : -ENOMEM;
        if (r < 0 || json_object_array_add(fds, json_object_new_string("seccompFd")) < 0)
                return -ENOMEM;
        if ((r = add(document, "ociVersion", json_object_new_string(plan->config->oci_version))) < 0 ||
            (r = add(document, "pid", json_object_new_int(pid))) < 0 ||
            (r = add(document, "state", state_object(plan, state))) < 0)
                return r;
        if (seccomp->listener_metadata &&
            (r = add(document, "metadata", json_object_new_string(seccomp->listener_metadata))) < 0)
                return r;
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN);
        *ret = text ? strdup(text) : NULL;
        return *ret ? 0 : -ENOMEM;
}

/* One state for each connection; the descriptor goes with its first bytes. */
static int send_state(const char *path, const char *text, int listener) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        _cleanup_close_ int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (socket_fd < 0 || connect(socket_fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        int r = message_send(socket_fd, text, 1, &listener, 1);
        while (r >= 0 && *++text) {
                ssize_t n = send(socket_fd, text, strlen(text), MSG_NOSIGNAL);
                r = n < 0 ? -errno : 0;
                text += MAX_OF(n, 1) - 1;
        }
        return r;
}

int seccomp_notify_hand_over(const ContainerPlan *plan, pid_t pid, const HookState *state, int listener,
                             Fault *fault) {
        _cleanup_free_ char *text = NULL;
        if (!notifies(plan) || listener < 0)
                return fault_set(fault, -EBADMSG, "a seccomp listener that nobody asked for, or none");
        int r = process_state(plan, pid, state, &text);
        if (r >= 0)
                r = send_state(plan->config->seccomp->listener_path, text, listener);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.seccomp.listenerPath: %s",
                                       plan->config->seccomp->listener_path)
                     : 0;
}

/* It has the descriptors and the memory of the process, and its own stack. The C library does not know of
 * it, and shares what it has for each thread between the two: it makes plain system calls, and while it does
 * the process waits for the parent's answer to them. execve(2) would end it, if it had not ended. */
static int courier_main(void *argument) {
        const ContainerPlan *plan = argument;
        InitReport report = init_report_make(INIT_REPORT_LISTENER, "seccomp", 0, "");
        int listener = -EBADF;
        if (fd_read_full(plan->courier_fds[0], &listener, sizeof(listener)) == sizeof(listener))
                if (message_send(plan->init_socket, &report, sizeof(report), &listener, 1) < 0)
                        _exit(EXIT_FAILURE); /* all of it: nobody would be told to go on */
        return 0;
}

int seccomp_notify_start_courier(ContainerPlan *plan, Fault *fault) {
        static char stack[COURIER_STACK] __attribute__((aligned(16)));
        if (!notifies(plan))
                return 0;
        if (pipe2(plan->courier_fds, O_CLOEXEC) < 0)
                return -errno;
        if (clone(courier_main, stack + sizeof(stack),
                  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
                  plan) < 0)
                return fault_set_errno(fault, -errno, "a thread for the seccomp listener");
        return 0;
}

int seccomp_notify_send(const ContainerPlan *plan, int listener) {
        char go;
        int r = fd_write_all(plan->courier_fds[1], &listener, sizeof(listener));
        if (r < 0)
                return r;
        ssize_t n = fd_read_full(plan->init_socket, &go, sizeof(go));
        return n == sizeof(go) ? 0 : n < 0 ? (int) n : -ECANCELED;
}
