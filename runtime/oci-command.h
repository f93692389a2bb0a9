/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The commands of crt-oci. Each returns an exit status, or a negative errno with a sentence. */

#include "runtime/oci-options.h"

int oci_create(const OciOptions *options, Fault *fault);
int oci_run(const OciOptions *options, Fault *fault);
int oci_start(const OciOptions *options, Fault *fault);
int oci_state(const OciOptions *options, Fault *fault);
int oci_kill(const OciOptions *options, Fault *fault);
int oci_delete(const OciOptions *options, Fault *fault);
