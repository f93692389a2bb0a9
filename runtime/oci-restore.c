/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* restore: a container out of what checkpoint has saved. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/oci-command.h"
#include "runtime/oci-criu.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-foreground.h"
#include "runtime/oci-session.h"
#include "runtime/rootfs.h"

#define DESCRIPTORS_SIZE_MAX (1024U * 1024U)
#define PID_NAME "criu.pid"

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
        _cleanup_close_ int fd =
                directory < 0 ? -EBADF : openat(directory, "descriptors.json", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "--image-path: %s/descriptors.json",
                                       criu->images_path);
        int r = json_parse_fd(fd, DESCRIPTORS_SIZE_MAX, "descriptors", &list, fault);
        if (r >= 0 && !json_object_is_type(list, json_type_array))
                r = fault_set(fault, -EBADMSG, "descriptors: must be an array");
        for (size_t i = 0; r >= 0 && i < MIN_OF(json_object_array_length(list), 3U); i++) {
                const char *target = json_object_get_string(json_object_array_get_idx(list, i));
                if (target && (string_after(target, "pipe:") || string_after(target, "socket:")))
                        r = oci_criu_addf(criu, "--inherit-fd=fd[%zu]:%s", i, target);
        }
        return r;
}

static int read_pid(const StateFile *state, pid_t *ret, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        uint64_t pid = 0;
        int r = fd_read_line_at(state->directory, PID_NAME, &text);
        if (r >= 0)
                r = string_to_uint64(text, INT32_MAX, &pid);
        (void) unlinkat(state->directory, PID_NAME, 0);
        if (r < 0 || pid == 0)
                return fault_set_errno(fault, r < 0 ? r : -EIO, "the pid that criu has written");
        *ret = (pid_t) pid;
        return 0;
}

static int run_criu_here(OciSession *session, pid_t *ret, Fault *fault) {
        const OciCheckpointOptions *given = &session->options->checkpoint;
        _cleanup_(oci_criu_done) OciCriu criu = OCI_CRIU_INIT;
        _cleanup_free_ char *root = NULL;
        char directory[FD_PROC_PATH_SIZE];
        int r;
        criu.cgroup_fd = session->cgroup; /* what it restores is where it is */
        (void) snprintf(directory, sizeof(directory), "/proc/%i/fd/%i", getpid(), session->state.directory);
        if ((r = oci_criu_begin(&criu, session->options, "restore", fault)) < 0 ||
            (r = mount_root(session, &root, fault)) < 0 ||
            (r = oci_criu_addf(&criu, "--root=%s", root)) < 0 ||
            (r = oci_criu_add(&criu, "--restore-detached")) < 0 ||
            (r = oci_criu_add(&criu, "--restore-sibling")) < 0 ||
            (r = oci_criu_addf(&criu, "--pidfile=%s/" PID_NAME, directory)) < 0 ||
            (r = given->lsm_profile ? oci_criu_addf(&criu, "--lsm-profile=%s", given->lsm_profile) : 0) <
                    0 ||
            (r = given->lsm_mount_context
                         ? oci_criu_addf(&criu, "--lsm-mount-context=%s", given->lsm_mount_context)
                         : 0) < 0 ||
            (r = oci_criu_add_mounts(&criu, session->config, 0, fault)) < 0 ||
            (r = add_descriptors(&criu, fault)) < 0 || (r = oci_criu_run(&criu, fault)) < 0)
                return r;
        return read_pid(&session->state, ret, fault);
}

static int run_criu(OciSession *session, pid_t *ret, Fault *fault) {
        _cleanup_(place_done) Place place = PLACE_NULL;
        int r = place_remember(&place, fault);
        if (r < 0)
                return r;
        r = run_criu_here(session, ret, fault);
        int back = place_return(&place, r < 0 ? NULL : fault);
        return r < 0 ? r : back;
}

static int restore(OciSession *session, pid_t *ret_pid, int *ret_pidfd, Fault *fault) {
        const OciOptions *options = session->options;
        int r;
        if ((r = oci_session_open_bundle(session, fault)) < 0)
                return r;
        if (options->console_socket || session->config->process.terminal)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.process.terminal: a terminal is not restored; see --shell-job");
        if ((r = oci_session_make_container(session, fault)) < 0 ||
            (r = oci_session_apply_resources(session, fault)) < 0 ||
            (r = run_criu(session, ret_pid, fault)) < 0)
                return r;
        *ret_pidfd = process_open_pidfd(*ret_pid);
        if (*ret_pidfd < 0)
                return fault_set_errno(fault, *ret_pidfd, "the restored process");
        r = options->pid_file ? oci_delivery_write_pid(options->pid_file, *ret_pid, fault) : 0;
        if (r < 0 || (r = oci_session_write_state(session, *ret_pid, fault)) < 0)
                return r;
        return state_file_publish(&session->state, fault);
}

int oci_restore(const OciOptions *options, Fault *fault) {
        _cleanup_(oci_session_done) OciSession session = OCI_SESSION_INIT(options);
        _cleanup_(oci_foreground_done) OciForeground foreground = OCI_FOREGROUND_INIT;
        _cleanup_close_ int pidfd = -EBADF;
        pid_t pid = 0;
        int r = restore(&session, &pid, &pidfd, fault);
        if (r < 0)
                return fault_prefix(fault, r, "container '%s'", options->id);
        session.complete = true;
        if (options->detach)
                return 0;
        r = oci_foreground_begin(&foreground, fault);
        if (r < 0)
                return r;
        state_file_unlock(&session.state);
        int status = oci_foreground_wait(&foreground, pidfd, fault);
        if (status < 0 || state_file_lock(&session.state) < 0)
                return status;
        r = oci_remove_container(&session.state, fault);
        return r < 0 ? r : status;
}
