/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A seccomp program made smaller without a change of what it answers. libseccomp asks for one system call
 * after the other, where whole ranges of numbers have the same answer; and the kernel's work when a filter
 * is loaded grows with its instructions. */

#include <linux/filter.h>
#include <stddef.h>

/* In place. 1 when it became smaller, 0 when it stays as it is: there is nothing to gain,
 * or it has instructions that are not understood. */
int seccomp_shrink(struct sock_filter *filter, size_t *count);
