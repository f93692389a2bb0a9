/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* start, state, kill and delete: they work on what create has left. */

#include "runtime/oci-command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup.h"
#include "runtime/init-report.h"
#include "runtime/intel-rdt.h"
#include "runtime/oci-hooks.h"
#include "runtime/oci-log.h"
#include "runtime/oci-output.h"
#include "runtime/state-file.h"

#define DEFAULT_ROOT "/run/crt-oci"
#define KILL_TIMEOUT_MS 10000

/* An ordinary user's containers are below the directory that the session gives. */
int oci_open_root(const OciOptions *options, Fault *fault) {
        if (options->root)
                return state_file_open_root(options->root, fault);
        if (geteuid() == 0)
                return state_file_open_root(DEFAULT_ROOT, fault);
        const char *directory = getenv("XDG_RUNTIME_DIR");
        _cleanup_free_ char *path = NULL;
        if (string_is_empty(directory))
                return fault_set(fault, -EINVAL,
                                 "neither --root nor $XDG_RUNTIME_DIR says where to keep state");
        if (asprintf(&path, "%s/crt-oci", directory) < 0)
                return -ENOMEM;
        return state_file_open_root(path, fault);
}

int oci_open_container(const OciOptions *options, int *ret_root, StateFile *ret, Fault *fault) {
        _cleanup_close_ int root = oci_open_root(options, fault);
        if (root < 0)
                return root;
        int r = state_file_open(root, options->id, ret, fault);
        if (r >= 0)
                *ret_root = TAKE_FD(root);
        return r;
}

int oci_peek_container(const OciOptions *options, int *ret_root, StateFile *ret, Fault *fault) {
        _cleanup_close_ int root = oci_open_root(options, fault);
        if (root < 0)
                return root;
        int r = state_file_peek(root, options->id, ret, fault);
        if (r >= 0)
                *ret_root = TAKE_FD(root);
        return r;
}

int oci_open_cgroup(const StateFile *state, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = state_file_read_cgroup(state, &path);
        if (r == -ENOENT)
                return fault_set(fault, -ENOENT, "container '%s' has no cgroup", state->id);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its cgroup", state->id);
        _cleanup_close_ int root = cgroup_open_root(fault);
        if (root < 0)
                return root;
        int fd = path_open(root, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "container '%s': its cgroup /%s", state->id, path) : fd;
}

static int wait_for_end(int init) {
        struct pollfd ended = { .fd = init, .events = POLLIN };
        int r;
        while ((r = poll(&ended, 1, KILL_TIMEOUT_MS)) < 0 && errno == EINTR)
                ;
        return r > 0 ? 0 : -ETIMEDOUT;
}

/* Init has the read side of "start" open, and the only write side of "result", close-on-exec:
 *   1. "result" is opened, so that nothing said there gets lost;
 *   2. the byte is written; from here on the container counts as started, and hooks of the container may run
 *      for as long as they like: others may signal and delete it;
 *   3. end of file: execve() succeeded. A report: it failed. */
static int start_init(StateFile *state, Fault *fault) {
        _cleanup_close_ int result =
                openat(state->directory, STATE_FILE_RESULT, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        _cleanup_close_ int start =
                openat(state->directory, STATE_FILE_START, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        char go = 1;
        if (result < 0 || start < 0)
                return fault_set_errno(fault, -errno, "container '%s': its init does not wait", state->id);
        int r = fd_set_nonblocking(result, false);
        if (r >= 0)
                r = fd_write_all(start, &go, sizeof(go));
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': starting it", state->id);
        (void) unlinkat(state->directory, STATE_FILE_START, 0);
        (void) unlinkat(state->directory, STATE_FILE_RESULT, 0);
        state_file_unlock(state);

        InitReport report;
        ssize_t n = fd_read_full(result, &report, sizeof(report));
        if (n == 0)
                return 0;
        if (n != sizeof(report))
                return fault_set(fault, -EIO, "container '%s': its init said nothing useful", state->id);
        /* It is about to end, and then the container is stopped. */
        _cleanup_close_ int init = state_file_open_init(state);
        if (init >= 0)
                (void) wait_for_end(init);
        return init_report_to_fault(&report, fault);
}

int oci_start(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_(runtime_config_freep) RuntimeConfig *hooks = NULL;
        _cleanup_close_ int root = -EBADF;
        int r = oci_open_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        ContainerStatus status = state_file_status(&state);
        if (status != CONTAINER_CREATED)
                return fault_set(fault, -EBUSY, "container '%s' is %s, not created", options->id,
                                 container_status_to_string(status));
        if ((r = oci_hooks_prepare_poststart(&state, &hooks, fault)) < 0 ||
            (r = start_init(&state, fault)) < 0)
                return r;
        return oci_hooks_poststart(hooks, &state, fault);
}

int oci_state(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_json_ json_object *document = NULL;
        _cleanup_close_ int root = -EBADF;
        int r;
        if ((r = oci_peek_container(options, &root, &state, fault)) < 0 ||
            (r = state_file_format(&state, &document)) < 0)
                return r;
        return oci_output_json(document, true, fault);
}

static int signal_all(const StateFile *state, int signal, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = state_file_read_cgroup(state, &path);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its cgroup", state->id);
        _cleanup_close_ int root = cgroup_open_root(fault);
        if (root < 0)
                return root;
        r = cgroup_signal(root, path, signal);
        return r < 0 && r != -ENOENT ? fault_set_errno(fault, r, "container '%s'", state->id) : 0;
}

/* Whoever works on the container may wait for what a signal is to end. */
int oci_kill(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_close_ int root = -EBADF;
        int r = oci_peek_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        if (options->all)
                return signal_all(&state, options->signal, fault);
        _cleanup_close_ int init = state_file_open_init(&state);
        r = init < 0 ? init : process_send_signal(init, options->signal);
        if (r == -ESRCH)
                return fault_set(fault, r, "container '%s' is not running", options->id);
        return r < 0 ? fault_set_errno(fault, r, "container '%s'", options->id) : 0;
}

static int kill_init(int init, const char *id, Fault *fault) {
        int r = process_send_signal(init, SIGKILL);
        if (r < 0 && r != -ESRCH)
                return fault_set_errno(fault, r, "container '%s'", id);
        r = wait_for_end(init);
        return r < 0 ? fault_set(fault, r, "container '%s' does not die", id) : 0;
}

static int remove_cgroup(const StateFile *state, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = state_file_read_cgroup(state, &path);
        bool noted = r >= 0;
        if (r == -ENOENT)
                r = state_file_read_announced_cgroup(state, &path);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its cgroup", state->id);
        _cleanup_close_ int root = cgroup_open_root(fault);
        if (root < 0)
                return root;
        if (noted)
                return cgroup_remove(root, path, fault);
        /* "create" was killed before it knew that the cgroup is nobody else's. */
        (void) unlinkat(root, path, AT_REMOVEDIR);
        return 0;
}

/* A class that can't be removed hinders nothing but the next container of that name, which is told. */
static void remove_from_resctrl(const StateFile *state) {
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        Fault fault = FAULT_NULL;
        if (!state_file_is_in_resctrl(state))
                return;
        if (state_file_read_config(state, true, &config, &fault) >= 0)
                intel_rdt_remove(config, state->id);
        fault_done(&fault);
}

int oci_remove_container(StateFile *state, Fault *fault) {
        _cleanup_(runtime_config_freep) RuntimeConfig *hooks = oci_hooks_prepare_poststop(state);
        int r = remove_cgroup(state, fault);
        if (r < 0)
                return r;
        remove_from_resctrl(state);
        r = state_file_remove(state);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': removing its state", state->id);
        oci_hooks_poststop(hooks, state->id, state_file_get_string(state, "bundle"));
        oci_log_debug("container '%s' is deleted", state->id);
        return 0;
}

int oci_delete(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_close_ int root = -EBADF, init = -EBADF;
        int r = oci_open_container(options, &root, &state, fault);
        if (r == -ENOENT && options->force) {
                fault_done(fault);
                return 0;
        }
        if (r < 0)
                return r;

        /* One that was created, and not started, needs no force: callers of runc count on that, although the
         * specification knows only of those that are stopped. */
        init = state_file_open_init(&state);
        ContainerStatus status = state_file_status(&state);
        if (init >= 0 && !options->force && status != CONTAINER_CREATED)
                return fault_set(fault, -EBUSY, "container '%s' is %s; stop it first, or use --force",
                                 options->id, container_status_to_string(status));
        if (init >= 0 && (r = kill_init(init, options->id, fault)) < 0)
                return r;

        return oci_remove_container(&state, fault);
}
