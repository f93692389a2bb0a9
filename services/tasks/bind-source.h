/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A file or directory that a caller handed over to be mounted into a container. Kept as a descriptor while
 * the service runs; after a restart the same file, and no other, is looked for where it was. */

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct BindSource {
        int fd;         /* O_PATH; -EBADF: to be reopened */
        char *identity; /* which file it is, and where it was: one line of text for the database */
} BindSource;

/* -EINVAL with a sentence if fd is neither a file nor a directory. The caller keeps fd. */
int bind_source_new(int fd, BindSource *ret, Fault *fault);
/* From the database. */
int bind_source_load(const char *identity, BindSource *ret);
/* -EBUSY with a sentence if it is not where it was. */
int bind_source_reopen(BindSource *source, Fault *fault);
void bind_source_done(BindSource *source);
