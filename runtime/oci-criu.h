/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The program criu, which does the work of checkpoint and restore: it is asked over a socket ("criu swrk"),
 * says how far it is, and its log says what a failure comes from. */

#include <errno.h>
#include <sys/types.h>

#include "lib/runtime-config.h"
#include "runtime/criu-message.h"
#include "runtime/oci-options.h"

typedef struct OciCriu {
        CriuRequestType type;
        CriuMessage options;
        char *program;
        char *images_path, *work_path; /* absolute */
        int images_fd, work_fd;        /* criu opens them by this process's numbers */
        const char *log_name;          /* in work_path */
        int cgroup_fd;                 /* where it runs; -EBADF: the caller's own */
        int socket, pidfd;

        /* What it tells while it works, perhaps with a descriptor (else -EBADF), which is taken. A failure
         * ends it. NULL: is not listened to. */
        int (*notify)(void *userdata, const CriuAnswer *told, int fd, Fault *fault);
        void *userdata;
} OciCriu;

#define OCI_CRIU_INIT                                                                                       \
        ((OciCriu){ .images_fd = -EBADF,                                                                    \
                    .work_fd = -EBADF,                                                                      \
                    .cgroup_fd = -EBADF,                                                                    \
                    .socket = -EBADF,                                                                       \
                    .pidfd = -EBADF })

/* What dump and restore have in common. */
int oci_criu_begin(OciCriu *criu, const OciOptions *options, CriuRequestType type, Fault *fault);
/* What is mounted into a container from outside is not in its images. pid is init's when it is saved, 0 when
 * it is restored. */
int oci_criu_add_mounts(OciCriu *criu, const RuntimeConfig *config, pid_t pid, Fault *fault);

/* It lives in this process's mount namespace as it is now. */
int oci_criu_start(OciCriu *criu, Fault *fault);
/* Asks it, and waits until it has ended. *ret_pid: of what was restored. */
int oci_criu_run(OciCriu *criu, pid_t *ret_pid, Fault *fault);
void oci_criu_done(OciCriu *criu);
