/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* restore: a container out of what checkpoint has saved. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/hooks.h"
#include "runtime/oci-command.h"
#include "runtime/oci-criu.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-foreground.h"
#include "runtime/oci-log.h"
#include "runtime/oci-session.h"
#include "runtime/rootfs.h"

#define DESCRIPTORS_SIZE_MAX (1024U * 1024U)

typedef struct Restore {
        OciSession *session;
        pid_t pid;
        int pidfd;
        int terminal; /* the master, for the foreground */
} Restore;

/* Where this process was before it went into a mount namespace of its own. */
typedef struct Place {
        int namespace, root, directory;
} Place;

#define PLACE_NULL ((Place){ -EBADF, -EBADF, -EBADF })

static int place_remember(Place *place, Fault *fault) {
        place->namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        place->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        place->directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return place->namespace < 0 || place->root < 0 || place->directory < 0
                       ? fault_set_errno(fault, -errno, "the own mount namespace")
                       : 0;
}

/* What comes later (hooks, removing the container) is for the host's tree as it is then. */
static int place_return(const Place *place, Fault *fault) {
        if (setns(place->namespace, CLONE_NEWNS) < 0 || fchdir(place->root) < 0 || chroot(".") < 0 ||
            fchdir(place->directory) < 0)
                return fault_set_errno(fault, -errno, "back into the own mount namespace");
        return 0;
}

static void place_done(Place *place) {
        fd_close(place->namespace);
        fd_close(place->root);
        fd_close(place->directory);
}

/* criu wants the root file system to be a mount, and one that is not shared. It is made in a mount namespace
 * of this process, which it leaves again. */
static int mount_root(const OciSession *session, char **ret, Fault *fault) {
        const char *path = session->config->root_path;
        if (!path)
                return fault_set(fault, -EINVAL, "config.root.path: is missing");
        if (path[0] == '/' ? asprintf(ret, "%s", path) < 0
                           : asprintf(ret, "%s/%s", session->bundle, path) < 0)
                return -ENOMEM;
        if (unshare(CLONE_NEWNS) < 0)
                return fault_set_errno(fault, -errno, "a mount namespace");
        int r = rootfs_cut_off_host(fault);
        if (r < 0)
                return r;
        if (mount(*ret, *ret, NULL, MS_BIND | MS_REC, NULL) < 0)
                return fault_set_errno(fault, -errno, "config.root.path: %s", *ret);
        return 0;
}

/* Pipes and sockets that init had as 0, 1 and 2 went to the caller of "run": now they go to this one's. */
static int add_descriptors(OciCriu *criu, Fault *fault) {
        _cleanup_json_ json_object *list = NULL;
        _cleanup_close_ int directory = open(criu->images_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        /* A FIFO's opening waits for nobody, and reading that finds nothing. */
        const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        _cleanup_close_ int fd = directory < 0 ? -EBADF : openat(directory, "descriptors.json", flags);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return fault_set_errno(fault, -errno, "--image-path: %s/descriptors.json",
                                       criu->images_path);
        if (!S_ISREG(st.st_mode))
                return fault_set(fault, -EINVAL, "--image-path: %s/descriptors.json: is not a regular file",
                                 criu->images_path);
        int r = json_parse_fd(fd, DESCRIPTORS_SIZE_MAX, "descriptors", &list, fault);
        if (r >= 0 && !json_object_is_type(list, json_type_array))
                r = fault_set(fault, -EBADMSG, "descriptors: must be an array");
        for (size_t i = 0; r >= 0 && i < MIN_OF(json_object_array_length(list), 3U); i++) {
                const char *target = json_object_get_string(json_object_array_get_idx(list, i));
                if (target && (string_after(target, "pipe:") || string_after(target, "socket:")))
                        criu_message_add_pair(&criu->options, CRIU_INHERIT_FD, target, i);
        }
        return r;
}

/* By the parent of init, when its namespaces stand; the others belong to its execve(2), which is past. */
static int run_hooks(const Restore *restore, pid_t pid, Fault *fault) {
        OciSession *session = restore->session;
        const HookState state = {
                .id = session->options->id,
                .bundle = session->bundle,
                .status = "creating",
                .pid = pid,
        };
        session->cloned = true;
        int r = hooks_run(session->config, RUNTIME_HOOK_PRESTART, &state, fault);
        return r < 0 ? r : hooks_run(session->config, RUNTIME_HOOK_CREATE_RUNTIME, &state, fault);
}

static int take_terminal(Restore *restore, int fd, Fault *fault) {
        _cleanup_close_ int master = fd;
        const OciSession *session = restore->session;
        bool is_wanted = session->config->process.terminal && master >= 0;
        if (is_wanted && session->console >= 0)
                return oci_delivery_send_terminal(session->console, master, fault);
        if (!is_wanted || !session->forwards_terminal || restore->terminal >= 0)
                return fault_set(fault, -EINVAL, "criu: a terminal that the configuration does not have");
        restore->terminal = TAKE_FD(master);
        return 0;
}

static int on_notify(void *userdata, const CriuAnswer *told, int fd, Fault *fault) {
        if (string_equal(told->script, "orphan-pts-master"))
                return take_terminal(userdata, fd, fault);
        fd_close(fd);
        return string_equal(told->script, "setup-namespaces") ? run_hooks(userdata, told->pid, fault) : 0;
}

static int start_criu_here(const OciSession *session, OciCriu *criu, Fault *fault) {
        const OciCheckpointOptions *given = &session->options->checkpoint;
        _cleanup_free_ char *root = NULL;
        int r;
        criu->cgroup_fd = session->cgroup; /* what it restores is where it is */
        if ((r = oci_criu_begin(criu, session->options, CRIU_RESTORE, fault)) < 0 ||
            (r = mount_root(session, &root, fault)) < 0)
                return r;
        criu_message_add_text(&criu->options, CRIU_ROOT, root);
        criu_message_add_number(&criu->options, CRIU_RESTORE_SIBLING, 1);
        if (given->lsm_profile)
                criu_message_add_text(&criu->options, CRIU_LSM_PROFILE, given->lsm_profile);
        if (given->lsm_mount_context)
                criu_message_add_text(&criu->options, CRIU_LSM_MOUNT_CONTEXT, given->lsm_mount_context);
        r = oci_criu_add_mounts(criu, session->config, 0, fault);
        if (r >= 0)
                r = add_descriptors(criu, fault);
        return r < 0 ? r : oci_criu_start(criu, fault);
}

static int run_criu(Restore *restore, Fault *fault) {
        _cleanup_(oci_criu_done) OciCriu criu = OCI_CRIU_INIT;
        _cleanup_(place_done) Place place = PLACE_NULL;
        int r = place_remember(&place, fault);
        if (r < 0)
                return r;
        r = start_criu_here(restore->session, &criu, fault);
        int back = place_return(&place, r < 0 ? NULL : fault);
        if (r < 0 || back < 0)
                return r < 0 ? r : back;
        /* Now that somebody is in the cgroup: an empty scope ends. */
        r = oci_session_apply_resources(restore->session, fault);
        if (r < 0)
                return r;
        criu.notify = on_notify;
        criu.userdata = restore;
        return oci_criu_run(&criu, &restore->pid, fault);
}

/* criu knows nothing of resctrl, and a class would be joined by one of the processes only. */
static void warn_of_what_is_left_out(const OciSession *session) {
        if (session->config->intel_rdt.given)
                oci_log_warning(
                        "container '%s': config.linux.intelRdt: what is restored is in no class of its own",
                        session->options->id);
}

static int restore_container(Restore *restore, Fault *fault) {
        OciSession *session = restore->session;
        const OciOptions *options = session->options;
        int r;
        session->forwards_terminal = !options->detach;
        if ((r = oci_session_open_bundle(session, fault)) < 0 ||
            (r = oci_session_connect_console(session, fault)) < 0 ||
            (r = oci_session_make_container(session, fault)) < 0 || (r = run_criu(restore, fault)) < 0)
                return r;
        warn_of_what_is_left_out(session);
        restore->pidfd = process_open_pidfd(restore->pid);
        if (restore->pidfd < 0)
                return fault_set_errno(fault, restore->pidfd, "the restored process");
        r = options->pid_file ? oci_delivery_write_pid(options->pid_file, restore->pid, fault) : 0;
        if (r < 0 || (r = oci_session_write_state(session, restore->pid, fault)) < 0)
                return r;
        return state_file_publish(&session->state, fault);
}

static int wait_in_foreground(Restore *restore, Fault *fault) {
        _cleanup_(oci_foreground_done) OciForeground foreground = OCI_FOREGROUND_INIT;
        OciSession *session = restore->session;
        int r = oci_foreground_begin(&foreground, fault);
        if (r >= 0 && restore->terminal >= 0)
                r = oci_foreground_take_terminal(&foreground, TAKE_FD(restore->terminal), fault);
        if (r < 0)
                return r;
        state_file_unlock(&session->state);
        int status = oci_foreground_wait(&foreground, restore->pidfd, fault);
        if (status < 0 || state_file_lock(&session->state) < 0)
                return status;
        r = oci_remove_container(&session->state, fault);
        return r < 0 ? r : status;
}

int oci_restore(const OciOptions *options, Fault *fault) {
        _cleanup_(oci_session_done) OciSession session = OCI_SESSION_INIT(options);
        Restore restore = { .session = &session, .pidfd = -EBADF, .terminal = -EBADF };
        int r = restore_container(&restore, fault);
        if (r < 0 && restore.pid > 0)
                process_kill_and_reap(restore.pidfd < 0 ? process_open_pidfd(restore.pid)
                                                        : TAKE_FD(restore.pidfd));
        session.complete = r >= 0;
        if (r < 0)
                (void) fault_prefix(fault, r, "container '%s'", options->id);
        else if (!options->detach)
                r = wait_in_foreground(&restore, fault);
        fd_close(restore.pidfd);
        fd_close(restore.terminal);
        return r;
}
