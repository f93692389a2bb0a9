/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Compiled seccomp programs, kept in a directory that only root can write: compiling Docker's profile for
 * three architectures takes longer than all the rest of a container's start. A file holds the whole profile
 * that it was compiled from, which is compared byte for byte: its name is only where to look. */

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/runtime-config.h"

/* 1 when found, 0 when not. A directory of -EBADF has nothing. A damaged file counts as none. */
int seccomp_cache_get(int directory, const RuntimeSeccomp *seccomp, struct sock_filter **ret_filter,
                      size_t *ret_count);

/* The same, as a program to be loaded. */
bool seccomp_cache_find(int directory, const RuntimeSeccomp *seccomp, struct sock_fprog *ret);

/* A cache that can't be written is no reason to fail. */
void seccomp_cache_put(int directory, const RuntimeSeccomp *seccomp, const struct sock_filter *filter,
                       size_t count);
