/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/seccomp-notify.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/message.h"
#include "runtime/hooks.h"

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

static json_object *state_object(const ContainerPlan *plan, pid_t pid) {
        HookState state = {
                .id = plan->request->id,
                .bundle = plan->request->bundle,
                .status = "creating",
                .pid = pid,
        };
        _cleanup_free_ char *text = NULL;
        return hooks_state_to_json(plan->config, &state, &text) < 0 ? NULL : json_tokener_parse(text);
}

static int process_state(const ContainerPlan *plan, pid_t pid, char **ret) {
        const RuntimeSeccomp *seccomp = plan->config->seccomp;
        _cleanup_json_ json_object *document = json_object_new_object();
        json_object *fds = json_object_new_array();
        int r = document ? add(document, "fds", fds) : -ENOMEM;
        if (r < 0 || json_object_array_add(fds, json_object_new_string("seccompFd")) < 0)
                return -ENOMEM;
        if ((r = add(document, "ociVersion", json_object_new_string(plan->config->oci_version))) < 0 ||
            (r = add(document, "pid", json_object_new_int(pid))) < 0 ||
            (r = add(document, "state", state_object(plan, pid))) < 0)
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

int seccomp_notify_hand_over(const ContainerPlan *plan, pid_t pid, int pidfd, int number, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        if (!notifies(plan))
                return fault_set(fault, -EBADMSG, "init has a seccomp listener that nobody asked for");
        _cleanup_close_ int listener = (int) syscall(SYS_pidfd_getfd, pidfd, number, 0);
        if (listener < 0)
                return fault_set_errno(fault, -errno, "config.linux.seccomp: taking the listener from init");
        int r = process_state(plan, pid, &text);
        if (r >= 0)
                r = send_state(plan->config->seccomp->listener_path, text, listener);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.seccomp.listenerPath: %s",
                                       plan->config->seccomp->listener_path)
                     : 0;
}
