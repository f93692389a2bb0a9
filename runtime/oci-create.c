/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* create and run: a bundle becomes a container. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/oci-command.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-foreground.h"
#include "runtime/oci-hooks.h"
#include "runtime/oci-log.h"
#include "runtime/oci-process.h"
#include "runtime/oci-session.h"

/* Init gets the read side of "start" together with a write side, so that it never sees the end of it, and
 * the only write side of "result". */
static int open_start_pipes(OciSession *session, Fault *fault) {
        int directory = session->state.directory;
        int r = state_file_make_pipes(&session->state, fault);
        if (r < 0)
                return r;
        session->start_fd = openat(directory, STATE_FILE_START, O_RDWR | O_CLOEXEC);
        _cleanup_close_ int both = openat(directory, STATE_FILE_RESULT, O_RDWR | O_CLOEXEC);
        session->result_fd = openat(directory, STATE_FILE_RESULT, O_WRONLY | O_CLOEXEC);
        if (session->start_fd < 0 || both < 0 || session->result_fd < 0)
                return fault_set_errno(fault, -errno, "the pipes for start");
        return 0;
}

/* Loading the device filter takes about as long as all of init's mounts. Nothing of the payload runs yet. */
static int work_meanwhile(void *userdata, pid_t pid, Fault *fault) {
        OciSession *session = userdata;
        int r = oci_session_apply_resources(session, fault);
        if (r >= 0)
                r = oci_session_write_state(session, pid, fault);
        return r < 0 || !session->starts_at_once ? r : state_file_publish(&session->state, fault);
}

static int clone_container(OciSession *session, bool waits_for_start, Fault *fault) {
        int extra[CONTAINER_EXTRA_FDS_MAX];
        ContainerRequest request = CONTAINER_REQUEST_INIT;
        int r = waits_for_start ? open_start_pipes(session, fault) : 0;
        r = r < 0 ? r : oci_process_hand_on(session->options, &session->config->process, extra, fault);
        if (r < 0)
                return r;
        request.extra_fd_count = (size_t) r;
        request.id = session->options->id;
        request.bundle = session->bundle;
        request.config = session->config;
        request.bundle_fd = session->bundle_fd;
        request.cgroup_fd = session->cgroup;
        oci_process_standard(request.standard);
        request.extra_fds = extra;
        request.seccomp_program = session->seccomp.len > 0 ? &session->seccomp : NULL;
        request.seccomp_cache_fd = session->seccomp_cache;
        request.start_fd = session->start_fd;
        request.result_fd = session->result_fd;
        request.keep_session_keyring = session->options->no_new_keyring;
        request.no_pivot = session->options->no_pivot;
        request.starts_at_once = session->starts_at_once;
        request.meanwhile = work_meanwhile;
        request.userdata = session;
        session->cloned = true;
        session->in_resctrl = session->config->intel_rdt.given;
        return container_create(&request, &session->container, fault);
}

static int deliver(OciSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        int r = 0;
        if (session->console >= 0) {
                _cleanup_close_ int terminal = container_take_terminal(session->container);
                r = oci_delivery_send_terminal(session->console, terminal, fault);
        }
        if (r >= 0 && options->pidfd_socket)
                r = oci_delivery_send_pidfd(options->pidfd_socket, container_pidfd(session->container),
                                            fault);
        if (r >= 0 && options->pid_file)
                r = oci_delivery_write_pid(options->pid_file, container_pid(session->container), fault);
        return r;
}

/* Whoever is told of the container is told before its program runs. */
static bool can_start_at_once(const OciSession *session) {
        const OciOptions *options = session->options;
        return !options->pid_file && !options->pidfd_socket && container_can_start_at_once(session->config);
}

static int session_run(OciSession *session, bool waits_for_start, Fault *fault) {
        int r = oci_session_open_bundle(session, fault);
        if (r < 0)
                return r;
        session->starts_at_once = !waits_for_start && can_start_at_once(session);
        if ((r = oci_session_connect_console(session, fault)) < 0 ||
            (r = oci_session_make_container(session, fault)) < 0 ||
            (r = clone_container(session, waits_for_start, fault)) < 0 || (r = deliver(session, fault)) < 0)
                return r;
        return session->starts_at_once ? 0 : state_file_publish(&session->state, fault);
}

int oci_create(const OciOptions *options, Fault *fault) {
        _cleanup_(oci_session_done) OciSession session = OCI_SESSION_INIT(options);
        int r = session_run(&session, true, fault);
        session.complete = r >= 0;
        return r;
}

/* From the start on hooks of the container may run for as long as they like: others may look at, signal and
 * delete it. */
static int start_in_foreground(OciSession *session, OciForeground *foreground, Fault *fault) {
        int master = session->forwards_terminal ? container_take_terminal(session->container) : -EBADF;
        int r = master >= 0 ? oci_foreground_take_terminal(foreground, master, fault) : 0;
        if (r < 0)
                return r;
        state_file_unlock(&session->state);
        r = container_start(session->container, fault);
        if (r >= 0)
                r = oci_hooks_poststart(session->config, &session->state, fault);
        /* Without the lock nothing is taken back, and not what somebody else has deleted meanwhile. */
        if (r < 0 && state_file_lock(&session->state) < 0)
                session->complete = true;
        return r;
}

int oci_run(const OciOptions *options, Fault *fault) {
        _cleanup_(oci_session_done) OciSession session = OCI_SESSION_INIT(options);
        _cleanup_(oci_foreground_done) OciForeground foreground = OCI_FOREGROUND_INIT;
        int r = options->detach ? 0 : oci_foreground_begin(&foreground, fault);
        if (r < 0)
                return r;
        session.forwards_terminal = !options->detach;
        if ((r = session_run(&session, false, fault)) < 0 ||
            (r = start_in_foreground(&session, &foreground, fault)) < 0)
                return r;
        session.complete = true;
        oci_log_debug("container '%s' runs as process %i", options->id, container_pid(session.container));
        if (options->detach)
                return 0;

        int status = oci_foreground_wait(&foreground, container_pidfd(session.container), fault);
        oci_log_debug("container '%s' ended with %i", options->id, status);
        if (status < 0 || options->keep || state_file_lock(&session.state) < 0)
                return status;
        r = oci_remove_container(&session.state, fault);
        return r < 0 ? r : status;
}
