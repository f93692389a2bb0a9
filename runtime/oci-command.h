/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The commands of crt-oci. Each returns an exit status, or a negative errno with a sentence. */

#include "runtime/oci-options.h"
#include "runtime/state-file.h"

#define OCI_SPECIFICATION_VERSION "1.2.0"
/* What "features" says of that which no parser can tell. */
#define OCI_HAS_SYSTEMD_CGROUP true
#define OCI_HAS_INTEL_RDT true
#define OCI_HAS_NET_DEVICES true

/* The directory of all containers; only the caller's. */
int oci_open_root(const OciOptions *options, Fault *fault);
/* The container of the command line, locked. *ret_root is to be closed after it. */
int oci_open_container(const OciOptions *options, int *ret_root, StateFile *ret, Fault *fault);

/* The same without a lock, for commands that only look: nothing that goes on holds them up. */
int oci_peek_container(const OciOptions *options, int *ret_root, StateFile *ret, Fault *fault);
/* The container's cgroup, a directory to read. */
int oci_open_cgroup(const StateFile *state, Fault *fault);

/* A stopped container goes: what is left in its cgroup, that, its state; then the poststop hooks run. */
int oci_remove_container(StateFile *state, Fault *fault);

int oci_create(const OciOptions *options, Fault *fault);
int oci_run(const OciOptions *options, Fault *fault);
int oci_start(const OciOptions *options, Fault *fault);
int oci_state(const OciOptions *options, Fault *fault);
int oci_kill(const OciOptions *options, Fault *fault);
int oci_delete(const OciOptions *options, Fault *fault);
int oci_exec(const OciOptions *options, Fault *fault);
int oci_pause(const OciOptions *options, Fault *fault);
int oci_resume(const OciOptions *options, Fault *fault);
int oci_ps(const OciOptions *options, Fault *fault);
int oci_list(const OciOptions *options, Fault *fault);
int oci_update(const OciOptions *options, Fault *fault);
int oci_events(const OciOptions *options, Fault *fault);
int oci_spec(const OciOptions *options, Fault *fault);
int oci_features(const OciOptions *options, Fault *fault);
int oci_checkpoint(const OciOptions *options, Fault *fault);
int oci_restore(const OciOptions *options, Fault *fault);
