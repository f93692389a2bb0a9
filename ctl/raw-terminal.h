/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The terminal that we sit at: raw mode that ends with the process at the latest, its size, passwords, and
 * the keys that let go of a container (ctrl-p ctrl-q). */

#include <stdbool.h>
#include <stddef.h>

#include "lib/fault.h"

/* The terminal becomes raw, with keys only its output: what another terminal has processed is not processed
 * again. terminal_restore(), or exit(), brings back what was there. */
int terminal_make_raw(int fd, bool keys);
void terminal_restore(void);

/* Gives the terminal to the size of the one at from. */
void terminal_copy_size(int from, int to);
/* 0 rows and columns where it is none. */
void terminal_get_size(int fd, unsigned *ret_rows, unsigned *ret_columns);

int terminal_ask_password(const char *prompt, char **ret, Fault *fault);

typedef struct DetachKeys {
        bool pending; /* the first key was pressed */
        bool detached;
} DetachKeys;

/* Copies size bytes to out, which has room for size + 1, without the keys; returns how many came out. A
 * first key waits for the one that follows. */
size_t detach_keys_filter(DetachKeys *keys, const char *data, size_t size, char *out);
