/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* create and run: a bundle becomes a container. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/oci-command.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-foreground.h"
#include "runtime/oci-hooks.h"
#include "runtime/oci-log.h"
#include "runtime/oci-process.h"
#include "runtime/state-file.h"

/* Everything of one create or run. What is left of it when it fails is taken back by session_done(). */
typedef struct CreateSession {
        const OciOptions *options;
        RuntimeConfig *config;
        char *config_text; /* what it was parsed from */
        size_t config_size;
        char *bundle; /* absolute */
        int bundle_fd, root, hierarchy, cgroup, seccomp_cache;
        char *cgroup_path;
        int start_fd, result_fd; /* init's ends, for create */
        StateFile state;
        Container *container;
        int console;            /* connected --console-socket */
        bool forwards_terminal; /* without a socket it goes to the caller's own: run in the foreground */
        bool cloned;            /* or it was tried */
        bool complete;
} CreateSession;

static int open_bundle(CreateSession *session, Fault *fault) {
        const char *path = session->options->bundle ? session->options->bundle : ".";
        session->bundle_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (session->bundle_fd < 0)
                return fault_set_errno(fault, -errno, "the bundle %s", path);
        session->bundle = realpath(path, NULL);
        if (!session->bundle)
                return fault_set_errno(fault, -errno, "the bundle %s", path);
        _cleanup_close_ int fd = openat(session->bundle_fd, "config.json", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "the bundle's config.json");
        int r = fd_read_all(fd, LIMIT_RUNTIME_CONFIG_SIZE, &session->config_text, &session->config_size);
        if (r < 0)
                return fault_set_errno(fault, r, "the bundle's config.json");
        return runtime_config_parse(session->config_text, session->config_size, &session->config, fault);
}

static int connect_console(CreateSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        bool terminal = session->config->process.terminal;
        if (!options->console_socket && terminal && session->forwards_terminal)
                return 0;
        if (!options->console_socket && terminal)
                return fault_set(fault, -EINVAL,
                                 "config.process.terminal: the terminal needs a --console-socket to go to");
        if (options->console_socket && !terminal)
                return fault_set(fault, -EINVAL, "--console-socket: the configuration has no terminal");
        if (!terminal)
                return 0;
        session->console = oci_delivery_connect("--console-socket", options->console_socket, fault);
        return session->console < 0 ? session->console : 0;
}

static int make_cgroup(CreateSession *session, Fault *fault) {
        if (session->options->systemd_cgroup)
                return fault_set(fault, -EOPNOTSUPP,
                                 "--systemd-cgroup: the systemd cgroup driver is not supported yet; without "
                                 "this option cgroups are made directly");
        session->hierarchy = cgroup_open_root(fault);
        if (session->hierarchy < 0)
                return session->hierarchy;
        int r = cgroup_choose_path(session->config, session->options->id, &session->cgroup_path, fault);
        if (r < 0)
                return r;
        r = state_file_announce_cgroup(&session->state, session->cgroup_path, fault);
        if (r < 0)
                return r;
        session->cgroup =
                cgroup_create(session->hierarchy, session->cgroup_path, &session->config->resources, fault);
        if (session->cgroup < 0)
                return session->cgroup;
        return state_file_note_cgroup(&session->state, session->cgroup_path, fault);
}

/* Init gets the read side of "start" together with a write side, so that it never sees the end of it, and
 * the only write side of "result". */
static int open_start_pipes(CreateSession *session, Fault *fault) {
        int directory = session->state.directory;
        session->start_fd = openat(directory, STATE_FILE_START, O_RDWR | O_CLOEXEC);
        _cleanup_close_ int both = openat(directory, STATE_FILE_RESULT, O_RDWR | O_CLOEXEC);
        session->result_fd = openat(directory, STATE_FILE_RESULT, O_WRONLY | O_CLOEXEC);
        if (session->start_fd < 0 || both < 0 || session->result_fd < 0)
                return fault_set_errno(fault, -errno, "the pipes for start");
        return 0;
}

/* Loading the device filter takes about as long as all of init's mounts. Nothing of the payload runs yet. */
static int apply_resources(void *userdata, Fault *fault) {
        CreateSession *session = userdata;
        return cgroup_resources_apply(session->cgroup, &session->config->resources, fault);
}

static int clone_container(CreateSession *session, bool waits_for_start, Fault *fault) {
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
        for (int i = 0; i < 3; i++)
                request.standard[i] = fcntl(i, F_GETFD) < 0 ? -EBADF : i;
        request.extra_fds = extra;
        request.seccomp_cache_fd = session->seccomp_cache;
        request.start_fd = session->start_fd;
        request.result_fd = session->result_fd;
        request.keep_session_keyring = session->options->no_new_keyring;
        request.meanwhile = apply_resources;
        request.userdata = session;
        session->cloned = true;
        return container_create(&request, &session->container, fault);
}

static int deliver(CreateSession *session, Fault *fault) {
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

static int write_state(CreateSession *session, Fault *fault) {
        StateFileRecord record = {
                .config = session->config,
                .bundle = session->bundle,
                .config_text = session->config_text,
                .config_size = session->config_size,
                .pid = container_pid(session->container),
        };
        return state_file_write(&session->state, &record, fault);
}

static int session_run(CreateSession *session, bool waits_for_start, Fault *fault) {
        int r;
        if ((r = open_bundle(session, fault)) < 0 || (r = connect_console(session, fault)) < 0)
                return r;
        session->root = oci_open_root(session->options, fault);
        if (session->root < 0)
                return session->root;
        if (session->config->seccomp)
                session->seccomp_cache = state_file_open_cache(session->root);
        if ((r = state_file_create(session->root, session->options->id, &session->state, fault)) < 0 ||
            (r = state_file_note_bundle(&session->state, session->bundle, fault)) < 0 ||
            (r = make_cgroup(session, fault)) < 0 ||
            (r = clone_container(session, waits_for_start, fault)) < 0 || (r = deliver(session, fault)) < 0)
                return r;
        return write_state(session, fault);
}

static void session_done(CreateSession *session) {
        if (session->complete) {
                container_release(session->container);
        } else {
                container_free(session->container);
                if (session->cgroup >= 0)
                        (void) cgroup_remove(session->hierarchy, session->cgroup_path, NULL);
                if (session->state.directory >= 0)
                        (void) state_file_remove(&session->state);
                /* The first hooks have run: the last ones end what they began. */
                if (session->cloned)
                        oci_hooks_poststop(session->config, session->options->id, session->bundle);
        }
        state_file_done(&session->state);
        runtime_config_free(session->config);
        free(session->config_text);
        free(session->bundle);
        free(session->cgroup_path);
        int fds[] = { session->bundle_fd, session->root,          session->hierarchy, session->cgroup,
                      session->start_fd,  session->seccomp_cache, session->result_fd, session->console };
        fd_close_many(fds, ELEMENTS_OF(fds));
}

#define CREATE_SESSION_INIT(given)                                                                          \
        ((CreateSession){                                                                                   \
                .options = (given),                                                                         \
                .bundle_fd = -EBADF,                                                                        \
                .root = -EBADF,                                                                             \
                .hierarchy = -EBADF,                                                                        \
                .cgroup = -EBADF,                                                                           \
                .seccomp_cache = -EBADF,                                                                    \
                .start_fd = -EBADF,                                                                         \
                .result_fd = -EBADF,                                                                        \
                .state = STATE_FILE_INIT,                                                                   \
                .console = -EBADF,                                                                          \
        })

int oci_create(const OciOptions *options, Fault *fault) {
        _cleanup_(session_done) CreateSession session = CREATE_SESSION_INIT(options);
        int r = session_run(&session, true, fault);
        session.complete = r >= 0;
        return r;
}

static int start_in_foreground(CreateSession *session, OciForeground *foreground, Fault *fault) {
        int master = session->forwards_terminal ? container_take_terminal(session->container) : -EBADF;
        int r = master >= 0 ? oci_foreground_take_terminal(foreground, master, fault) : 0;
        if (r >= 0)
                r = container_start(session->container, fault);
        return r < 0 ? r : oci_hooks_poststart(&session->state, fault);
}

int oci_run(const OciOptions *options, Fault *fault) {
        _cleanup_(session_done) CreateSession session = CREATE_SESSION_INIT(options);
        _cleanup_(oci_foreground_done) OciForeground foreground = OCI_FOREGROUND_INIT;
        int r = options->detach ? 0 : oci_foreground_begin(&foreground, fault);
        if (r < 0)
                return r;
        session.forwards_terminal = !options->detach;
        if ((r = session_run(&session, false, fault)) < 0 ||
            (r = start_in_foreground(&session, &foreground, fault)) < 0)
                return r;
        (void) unlinkat(session.state.directory, STATE_FILE_START, 0);
        (void) unlinkat(session.state.directory, STATE_FILE_RESULT, 0);
        session.complete = true;
        oci_log_debug("container '%s' runs as process %i", options->id, container_pid(session.container));
        if (options->detach)
                return 0;

        /* Others may look at, signal and delete the container while it runs. */
        state_file_unlock(&session.state);
        int status = oci_foreground_wait(&foreground, container_pidfd(session.container), fault);
        oci_log_debug("container '%s' ended with %i", options->id, status);
        if (status < 0 || options->keep || state_file_lock(&session.state) < 0)
                return status;
        r = oci_remove_container(&session.state, fault);
        return r < 0 ? r : status;
}
