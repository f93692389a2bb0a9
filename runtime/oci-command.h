/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The commands of crt-oci. Each returns an exit status, or a negative errno with a sentence. */

#include "runtime/oci-options.h"
#include "runtime/state-file.h"

#define OCI_SPECIFICATION_VERSION "1.2.0"

/* The directory of all containers; only the caller's. */
int oci_open_root(const OciOptions *options, Fault *fault);
/* The container of the command line, locked. *ret_root is to be closed after it. */
int oci_open_container(const OciOptions *options, int *ret_root, StateFile *ret, Fault *fault);

int oci_create(const OciOptions *options, Fault *fault);
int oci_run(const OciOptions *options, Fault *fault);
int oci_start(const OciOptions *options, Fault *fault);
int oci_state(const OciOptions *options, Fault *fault);
int oci_kill(const OciOptions *options, Fault *fault);
int oci_delete(const OciOptions *options, Fault *fault);
int oci_exec(const OciOptions *options, Fault *fault);
