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
#include "lib/message.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/oci-command.h"
#include "runtime/oci-terminal.h"
#include "runtime/state-file.h"

#define SECCOMP_CACHE_NAME ".seccomp"

/* Everything of one create or run. What is left of it when it fails is taken back by session_done(). */
typedef struct CreateSession {
        const OciOptions *options;
        RuntimeConfig *config;
        char *bundle; /* absolute */
        int bundle_fd, root, hierarchy, cgroup, seccomp_cache;
        char *cgroup_path;
        int start_fd, result_fd; /* init's ends, for create */
        StateFile state;
        Container *container;
        int console;            /* connected --console-socket */
        bool forwards_terminal; /* without a socket it goes to the caller's own: run in the foreground */
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
        return runtime_config_parse_fd(fd, &session->config, fault);
}

static int connect_console(CreateSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
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
        if (strlen(options->console_socket) >= sizeof(address.sun_path))
                return fault_set(fault, -ENAMETOOLONG, "--console-socket: the path is too long");
        (void) strcpy(address.sun_path, options->console_socket);
        session->console = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (session->console < 0 ||
            connect(session->console, (struct sockaddr *) &address, sizeof(address)) < 0)
                return fault_set_errno(fault, -errno, "--console-socket: %s", options->console_socket);
        return 0;
}

/* A cache that can't be had is no cache. */
static void open_seccomp_cache(CreateSession *session) {
        if (!session->config->seccomp)
                return;
        if (mkdirat(session->root, SECCOMP_CACHE_NAME, 0700) < 0 && errno != EEXIST)
                return;
        session->seccomp_cache =
                openat(session->root, SECCOMP_CACHE_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
        if (r < 0)
                return r;
        for (unsigned i = 0; i < session->options->preserve_fds; i++)
                extra[i] = 3 + (int) i;
        request.config = session->config;
        request.bundle_fd = session->bundle_fd;
        request.cgroup_fd = session->cgroup;
        for (int i = 0; i < 3; i++)
                request.standard[i] = fcntl(i, F_GETFD) < 0 ? -EBADF : i;
        request.extra_fds = extra;
        request.extra_fd_count = session->options->preserve_fds;
        request.seccomp_cache_fd = session->seccomp_cache;
        request.start_fd = session->start_fd;
        request.result_fd = session->result_fd;
        request.keep_session_keyring = session->options->no_new_keyring;
        request.meanwhile = apply_resources;
        request.userdata = session;
        return container_create(&request, &session->container, fault);
}

static int send_terminal(CreateSession *session, Fault *fault) {
        static const char name[] = "/dev/ptmx";
        if (session->console < 0)
                return 0;
        _cleanup_close_ int terminal = container_take_terminal(session->container);
        if (terminal < 0)
                return fault_set(fault, -EIO, "the container's init sent no terminal");
        int r = message_send(session->console, name, sizeof(name) - 1, &terminal, 1);
        return r < 0 ? fault_set_errno(fault, r, "--console-socket: sending the terminal") : 0;
}

static int write_pid_file(const CreateSession *session, Fault *fault) {
        const char *path = session->options->pid_file;
        char text[32];
        _cleanup_free_ char *temporary = NULL;
        if (!path)
                return 0;
        if (asprintf(&temporary, "%s.%i~", path, getpid()) < 0)
                return -ENOMEM;
        (void) snprintf(text, sizeof(text), "%i", container_pid(session->container));
        _cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0 && fd >= 0)
                (void) unlink(temporary);
        return r < 0 ? fault_set_errno(fault, r, "--pid-file: %s", path) : 0;
}

static int write_state(CreateSession *session, Fault *fault) {
        StateFileRecord record = {
                .config = session->config,
                .bundle = session->bundle,
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
        open_seccomp_cache(session);
        if ((r = state_file_create(session->root, session->options->id, &session->state, fault)) < 0 ||
            (r = make_cgroup(session, fault)) < 0 ||
            (r = clone_container(session, waits_for_start, fault)) < 0 ||
            (r = send_terminal(session, fault)) < 0 || (r = write_pid_file(session, fault)) < 0)
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
        }
        state_file_done(&session->state);
        runtime_config_free(session->config);
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

static void forward_signal(CreateSession *session, int signals, OciTerminal *terminal) {
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGCHLD)
                return;
        if (info.ssi_signo == SIGWINCH && terminal->master >= 0)
                oci_terminal_resize(terminal);
        else
                (void) container_kill(session->container, (int) info.ssi_signo);
}

/* Every signal that can be caught goes to init, while this process waits for its end. SIGCHLD is the
 * kernel's own word about it. */
static int forward_until_end(CreateSession *session, int signals, OciTerminal *terminal, Fault *fault) {
        struct pollfd wait[2 + OCI_TERMINAL_POLLS] = {
                { .fd = container_pidfd(session->container), .events = POLLIN },
                { .fd = signals, .events = POLLIN },
        };
        nfds_t count = terminal->master >= 0 ? ELEMENTS_OF(wait) : 2;
        for (;;) {
                if (count > 2)
                        oci_terminal_prepare(terminal, wait + 2);
                if (poll(wait, count, -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return fault_set_errno(fault, -errno, "waiting for the container");
                }
                if (wait[1].revents & POLLIN)
                        forward_signal(session, signals, terminal);
                if (count > 2)
                        oci_terminal_move(terminal, wait + 2);
                if (!(wait[0].revents & POLLIN))
                        continue;
                if (count > 2)
                        oci_terminal_drain(terminal);
                siginfo_t end;
                int r = process_wait(container_pidfd(session->container), 0, &end);
                return r < 0 ? fault_set_errno(fault, r, "waiting for the container")
                             : process_exit_status(&end);
        }
}

/* Before the program is started: it finds a terminal of the right size. */
static int open_terminal(CreateSession *session, OciTerminal *terminal, Fault *fault) {
        int master = session->forwards_terminal ? container_take_terminal(session->container) : -EBADF;
        int r = master >= 0 ? oci_terminal_open(master, terminal) : 0;
        return r < 0 ? fault_set_errno(fault, r, "the terminal") : 0;
}

static int block_signals(Fault *fault) {
        sigset_t all;
        (void) sigfillset(&all);
        /* Those of a bug of this process itself keep their effect. */
        static const int own[] = {
                SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGURG
        };
        for (size_t i = 0; i < ELEMENTS_OF(own); i++)
                (void) sigdelset(&all, own[i]);
        if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
                return -errno;
        int fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? fault_set_errno(fault, -errno, "signals") : fd;
}

/* After the end: init is reaped, what is left of the container goes. */
static int finish_run(CreateSession *session, Fault *fault) {
        int r = cgroup_remove(session->hierarchy, session->cgroup_path, fault);
        if (r >= 0)
                r = state_file_remove(&session->state);
        return r < 0 ? fault_set_errno(fault, r, "deleting the container") : 0;
}

int oci_run(const OciOptions *options, Fault *fault) {
        _cleanup_(session_done) CreateSession session = CREATE_SESSION_INIT(options);
        _cleanup_(oci_terminal_done) OciTerminal terminal = OCI_TERMINAL_INIT;
        _cleanup_close_ int signals = options->detach ? -EBADF : block_signals(fault);
        if (signals < 0 && !options->detach)
                return signals;
        session.forwards_terminal = !options->detach;
        int r = session_run(&session, false, fault);
        if (r >= 0)
                r = open_terminal(&session, &terminal, fault);
        if (r >= 0)
                r = container_start(session.container, fault);
        if (r < 0)
                return r;
        (void) unlinkat(session.state.directory, STATE_FILE_START, 0);
        (void) unlinkat(session.state.directory, STATE_FILE_RESULT, 0);
        session.complete = true;
        if (options->detach)
                return 0;

        /* Others may look at, signal and delete the container while it runs. */
        state_file_unlock(&session.state);
        int status = forward_until_end(&session, signals, &terminal, fault);
        if (status < 0 || options->keep || state_file_lock(&session.state) < 0)
                return status;
        r = finish_run(&session, fault);
        if (r < 0)
                return r;
        return status;
}
