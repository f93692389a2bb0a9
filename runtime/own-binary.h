/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* CVE-2019-5736: a container's root reaches the file that its init was cloned from as /proc/self/exe, and
 * could write to it when it runs no more. So that file is to be on a mount that is read-only for good. */

#include "lib/fault.h"

/* For a program that clones containers: if its own file is not on such a mount, executes itself again from
 * one. arguments are main()'s. 0 when all is well already. */
int own_binary_protect(char *const *arguments, Fault *fault);

/* What own-binary-entry.c has opened is closed, first of all, and in a thread: the kernel makes whoever
 * closes the last descriptor of a mount wait for all processors (RCU). Until own_binary_let_go() has come
 * back the mount can still be made writable: it must, before anything of a container can run. */
void own_binary_begin(void);
void own_binary_let_go(void);

/* For a daemon that executes such programs: the file at path on a read-only mount that nobody can change,
 * for execveat(2) with AT_EMPTY_PATH. What is started from it needs no second execve. */
int own_binary_open(const char *path, Fault *fault);
