/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container while it is being made out of a bundle: by create and run, or out of a checkpoint by restore.
 */

#include <errno.h>
#include <linux/filter.h>

#include "runtime/container.h"
#include "runtime/oci-options.h"
#include "runtime/state-file.h"

/* What is left of it when it fails is taken back by oci_session_done(). */
typedef struct OciSession {
        const OciOptions *options;
        RuntimeConfig *config;
        char *config_text; /* what it was parsed from */
        size_t config_size;
        char *bundle; /* absolute */
        int bundle_fd, root, hierarchy, cgroup, seccomp_cache;
        struct sock_fprog seccomp; /* what the cache had */
        char *cgroup_path;
        int cgroup_holder;       /* see CgroupDriver */
        int start_fd, result_fd; /* init's ends, for create */
        StateFile state;
        Container *container;
        int console;            /* connected --console-socket */
        bool forwards_terminal; /* without a socket it goes to the caller's own: run in the foreground */
        bool starts_at_once;    /* see container_can_start_at_once() */
        bool cloned;            /* or it was tried */
        bool in_resctrl;        /* what was made there for it is to be removed with it */
        bool complete;
} OciSession;

#define OCI_SESSION_INIT(given)                                                                             \
        ((OciSession){                                                                                      \
                .options = (given),                                                                         \
                .bundle_fd = -EBADF,                                                                        \
                .root = -EBADF,                                                                             \
                .hierarchy = -EBADF,                                                                        \
                .cgroup = -EBADF,                                                                           \
                .cgroup_holder = -EBADF,                                                                    \
                .seccomp_cache = -EBADF,                                                                    \
                .start_fd = -EBADF,                                                                         \
                .result_fd = -EBADF,                                                                        \
                .state = STATE_FILE_INIT,                                                                   \
                .console = -EBADF,                                                                          \
        })

/* The bundle is read; its configuration is checked, but for the rules of its seccomp profile. */
int oci_session_open_bundle(OciSession *session, Fault *fault);
/* Where its terminal goes, if it has one. */
int oci_session_connect_console(OciSession *session, Fault *fault);
/* Those are checked, or are known to the cache; then the name is taken, and nobody else's cgroup. */
int oci_session_make_container(OciSession *session, Fault *fault);
/* When init is in the cgroup: its limits, and its devices. */
int oci_session_apply_resources(OciSession *session, Fault *fault);
/* What other commands find when it is published with state_file_publish(). */
int oci_session_write_state(OciSession *session, pid_t pid, Fault *fault);
void oci_session_done(OciSession *session);
