/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The process of a configuration as the command line changes it: exec's options, a process.json, descriptors
 * from systemd's socket activation. */

#include "runtime/oci-options.h"

#include "lib/runtime-config.h"

/* exec's: the container's process with what was given in place of what it has; or that of --process. Strings
 * are borrowed from the options and from *ret_document, which is to be freed after the process. */
int oci_process_apply(const OciOptions *options, RuntimeProcess *process, json_object **ret_document,
                      Fault *fault);

/* True for a descriptor of the caller's. All that this program opens itself is close-on-exec, and execve(2)
 * has left nothing like it: a number that the caller had closed is none of his because it is in use by now.
 */
bool oci_process_is_inherited(int fd);
/* 0, 1 and 2 as far as they were inherited; -EBADF in place of the others. */
void oci_process_standard(int standard[static 3]);
/* Before anything is opened: nothing comes to lie on 0, 1 and 2, where libraries read and write. */
void oci_process_guard_standard(void);

/* $LISTEN_FDS and --preserve-fds: the descriptors that become the payload's from 3 on, at most
 * CONTAINER_EXTRA_FDS_MAX; returns how many. The payload's environment tells of the first, to a process of
 * the number that stands at oci_process_listen_pid(): 1, unless something else is written there. */
int oci_process_hand_on(const OciOptions *options, RuntimeProcess *process, int *fds, Fault *fault);

char *oci_process_listen_pid(void);

/* Sets NAME=value, in place of an earlier one. Borrowed. */
int oci_process_set_environment(RuntimeProcess *process, const char *assignment);
