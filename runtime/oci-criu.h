/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The program criu, which does the work of checkpoint and restore: its command line, its end, and what its
 * log says of a failure. */

#include <sys/types.h>

#include "lib/runtime-config.h"
#include "runtime/oci-options.h"

typedef struct OciCriu {
        char **arguments;
        char *images_path, *work_path; /* absolute */
        const char *log_name;          /* in work_path */
        int cgroup_fd;                 /* where it runs; -EBADF: the caller's own */
        int status_fd;                 /* becomes its descriptor 3; -EBADF: none */
} OciCriu;

#define OCI_CRIU_INIT ((OciCriu){ .cgroup_fd = -EBADF, .status_fd = -EBADF })

/* What dump and restore have in common: action is "dump", "pre-dump" or "restore". */
int oci_criu_begin(OciCriu *criu, const OciOptions *options, const char *action, Fault *fault);
int oci_criu_add(OciCriu *criu, const char *argument);
int oci_criu_addf(OciCriu *criu, const char *format, ...) _printf_(2, 3);
/* What is mounted into a container from outside is not in its images: "--external" for each. pid is init's
 * when it is saved, 0 when it is restored. */
int oci_criu_add_mounts(OciCriu *criu, const RuntimeConfig *config, pid_t pid, Fault *fault);

/* Until it has ended. */
int oci_criu_run(const OciCriu *criu, Fault *fault);
void oci_criu_done(OciCriu *criu);
