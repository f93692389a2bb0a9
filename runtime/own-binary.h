/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* CVE-2019-5736: a container's root reaches the file that its init was cloned from as /proc/self/exe, and
 * could write to it when it runs no more. So that file is to be on a mount that is read-only for good. */

#include "lib/fault.h"

/* For a program that clones containers: if its own file is not on such a mount, executes itself again from
 * one. arguments are main()'s. 0 when all is well already. */
int own_binary_protect(char *const *arguments, Fault *fault);

/* The mount goes when its last descriptor does, and whoever closes that waits for all processors (RCU): to
 * be called when there is nothing else to do. Init and what it executes do not have it. */
void own_binary_let_go(void);

/* For a daemon that executes such programs: the file at path on a detached read-only mount, for execveat(2)
 * with AT_EMPTY_PATH. What is started from it needs no second execve. */
int own_binary_open(const char *path, Fault *fault);
