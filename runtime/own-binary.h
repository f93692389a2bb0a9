/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* CVE-2019-5736: a container's root reaches the file that its init was cloned from as /proc/self/exe, and
 * could write to it when it runs no more. So what is reached by that name is another file, or on a mount
 * that is read-only for good. */

#include <stdbool.h>

#include "lib/fault.h"

/* True when own-binary-entry.c has taken this process apart from its file. */
extern bool own_binary_is_apart;

/* For a program that clones containers: if neither that is so nor its file on such a mount, executes itself
 * again from one. arguments are main()'s. 0 when all is well already. */
int own_binary_protect(char *const *arguments, Fault *fault);

/* For a daemon that executes such programs: the file at path on a read-only mount that nobody can change,
 * for execveat(2) with AT_EMPTY_PATH. What is started from it needs no second execve. */
int own_binary_open(const char *path, Fault *fault);
