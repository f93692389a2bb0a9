/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* exec: one more process in a container that runs. */

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup.h"
#include "runtime/exec.h"
#include "runtime/oci-command.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-foreground.h"
#include "runtime/oci-log.h"
#include "runtime/oci-process.h"
#include "runtime/seccomp-cache.h"

typedef struct ExecSession {
        const OciOptions *options;
        StateFile state;
        int root, init, cgroup, seccomp_cache, console;
        struct sock_fprog seccomp; /* what the cache had */
        RuntimeConfig *config;
        json_object *document; /* of --process */
        Exec *exec;
        OciForeground foreground;
} ExecSession;

static int check_status(const ExecSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        ContainerStatus status = state_file_status(&session->state);
        if (status == CONTAINER_PAUSED && !options->exec.ignore_paused)
                return fault_set(fault, -EBUSY,
                                 "cannot exec in a paused container (use --ignore-paused to override)");
        if (status != CONTAINER_RUNNING && status != CONTAINER_CREATED && status != CONTAINER_PAUSED)
                return fault_set(fault, -EBUSY, "cannot exec in a %s container",
                                 container_status_to_string(status));
        return 0;
}

/* Controllers that the container has enabled for cgroups of its own keep processes out of its topmost one:
 * then the new process goes where init is, as long as that is below it. */
static int open_cgroup_of_init(const ExecSession *session, int hierarchy, const char *path) {
        char file[64];
        _cleanup_free_ char *text = NULL;
        (void) snprintf(file, sizeof(file), "/proc/%i/cgroup",
                        state_file_pid(&session->state, CONTAINER_RUNNING));
        if (fd_read_line_at(AT_FDCWD, file, &text) < 0)
                return -ENOENT;
        char *rest = text, *line;
        while ((line = strsep(&rest, "\n"))) {
                const char *place = string_after(line, "0::/");
                const char *below = place ? string_after(place, path) : NULL;
                if (below && below[0] == '/')
                        return path_open(hierarchy, place, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        }
        return -ENOENT;
}

static bool takes_processes(int cgroup) {
        _cleanup_free_ char *enabled = NULL, *type = NULL;
        if (fd_read_line_at(cgroup, "cgroup.type", &type) >= 0 && string_equal(type, "domain invalid"))
                return false;
        return fd_read_line_at(cgroup, "cgroup.subtree_control", &enabled) < 0 || enabled[0] == '\0';
}

/* "[CONTROLLER:]PATH", below the container's own; in cgroup v2 there is only one hierarchy. */
static int open_sub_cgroup(int cgroup, const char *option, Fault *fault) {
        const char *path = strchr(option, ':');
        path = path ? path + 1 : option;
        path += strspn(path, "/");
        int fd = path[0] == '\0' ? fd_duplicate(cgroup)
                                 : path_open(cgroup, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "--cgroup: %s", option) : fd;
}

static int open_cgroup(ExecSession *session, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = state_file_read_cgroup(&session->state, &path);
        if (r == -ENOENT) /* an ordinary user's, who has no cgroups to give */
                return session->options->exec.cgroup
                               ? fault_set(fault, -ENOENT, "--cgroup: the container has no cgroup")
                               : 0;
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its cgroup", session->options->id);
        _cleanup_close_ int hierarchy = cgroup_open_root(fault);
        if (hierarchy < 0)
                return hierarchy;
        _cleanup_close_ int cgroup = path_open(hierarchy, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (cgroup < 0)
                return fault_set_errno(fault, cgroup, "container '%s': its cgroup", session->options->id);
        if (session->options->exec.cgroup) {
                session->cgroup = open_sub_cgroup(cgroup, session->options->exec.cgroup, fault);
                return session->cgroup;
        }
        if (!takes_processes(cgroup))
                session->cgroup = open_cgroup_of_init(session, hierarchy, path);
        if (session->cgroup < 0)
                session->cgroup = TAKE_FD(cgroup);
        return 0;
}

/* Most often its seccomp program is known, and the rules of the profile need not be read. */
static int read_config(ExecSession *session, Fault *fault) {
        int r = state_file_read_config(&session->state, true, &session->config, fault);
        if (r < 0 || !session->config->seccomp)
                return r;
        session->seccomp_cache = state_file_open_cache(session->root);
        if (!session->config->seccomp->rules_left ||
            seccomp_cache_find(session->seccomp_cache, session->config->seccomp, &session->seccomp))
                return 0;
        session->config = runtime_config_free(session->config);
        return state_file_read_config(&session->state, false, &session->config, fault);
}

static int connect_console(ExecSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        bool terminal = session->config->process.terminal;
        if (options->console_socket && !terminal)
                return fault_set(fault, -EINVAL, "--console-socket: the process has no terminal");
        if (!options->console_socket && terminal && options->detach)
                return fault_set(fault, -EINVAL,
                                 "a detached process with a terminal needs a --console-socket");
        if (!options->console_socket)
                return 0;
        session->console = oci_delivery_connect("--console-socket", options->console_socket, fault);
        return session->console < 0 ? session->console : 0;
}

static int open_session(ExecSession *session, Fault *fault) {
        int r;
        if ((r = oci_open_container(session->options, &session->root, &session->state, fault)) < 0 ||
            (r = check_status(session, fault)) < 0)
                return r;
        session->init = state_file_open_init(&session->state);
        if (session->init < 0)
                return fault_set_errno(fault, session->init, "container '%s'", session->options->id);
        if ((r = read_config(session, fault)) < 0 || (r = open_cgroup(session, fault)) < 0)
                return r;
        /* What is needed is open: others may work on the container while the process runs in it. */
        state_file_unlock(&session->state);
        r = oci_process_apply(session->options, &session->config->process, &session->document, fault);
        return r < 0 ? r : connect_console(session, fault);
}

static int start(ExecSession *session, Fault *fault) {
        int extra[CONTAINER_EXTRA_FDS_MAX];
        ContainerRequest request = CONTAINER_REQUEST_INIT;
        int r = oci_process_hand_on(session->options, &session->config->process, extra, fault);
        if (r < 0)
                return r;
        request.id = session->options->id;
        request.bundle = state_file_get_string(&session->state, "bundle");
        request.config = session->config;
        request.cgroup_fd = session->cgroup;
        request.seccomp_program = session->seccomp.len > 0 ? &session->seccomp : NULL;
        request.seccomp_cache_fd = session->seccomp_cache;
        request.extra_fds = extra;
        request.extra_fd_count = (size_t) r;
        oci_process_standard(request.standard);
        return exec_start(&request, session->init, oci_process_listen_pid(), &session->exec, fault);
}

static int deliver(ExecSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        _cleanup_close_ int terminal = exec_take_terminal(session->exec);
        int r = 0;
        if (session->console >= 0)
                r = oci_delivery_send_terminal(session->console, terminal, fault);
        else if (terminal >= 0)
                r = oci_foreground_take_terminal(&session->foreground, TAKE_FD(terminal), fault);
        if (r >= 0 && options->pidfd_socket)
                r = oci_delivery_send_pidfd(options->pidfd_socket, exec_pidfd(session->exec), fault);
        if (r >= 0 && options->pid_file)
                r = oci_delivery_write_pid(options->pid_file, exec_pid(session->exec), fault);
        if (r < 0)
                (void) process_send_signal(exec_pidfd(session->exec), SIGKILL);
        return r;
}

static void session_done(ExecSession *session) {
        int fds[] = { session->init, session->cgroup, session->seccomp_cache, session->console };
        exec_free(session->exec);
        runtime_config_free(session->config);
        json_document_free(session->document);
        oci_foreground_done(&session->foreground);
        state_file_done(&session->state);
        fd_close_many(fds, ELEMENTS_OF(fds));
        fd_close(session->root);
        free(session->seccomp.filter);
}

int oci_exec(const OciOptions *options, Fault *fault) {
        _cleanup_(session_done) ExecSession session = {
                .options = options,
                .state = STATE_FILE_INIT,
                .root = -EBADF,
                .init = -EBADF,
                .cgroup = -EBADF,
                .seccomp_cache = -EBADF,
                .console = -EBADF,
                .foreground = OCI_FOREGROUND_INIT,
        };
        int r;
        if ((r = open_session(&session, fault)) < 0 ||
            (r = options->detach ? 0 : oci_foreground_begin(&session.foreground, fault)) < 0 ||
            (r = start(&session, fault)) < 0 || (r = deliver(&session, fault)) < 0)
                return r;
        oci_log_debug("container '%s': '%s' is process %i", options->id, session.config->process.args[0],
                      exec_pid(session.exec));
        if (options->detach)
                return 0;
        return oci_foreground_wait(&session.foreground, exec_pidfd(session.exec), fault);
}
