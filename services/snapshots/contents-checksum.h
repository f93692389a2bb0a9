/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The checksum of a file's contents (CRC-64 of ECMA-182), in which a hole counts as the zeros that are read
 * there, without being read: one that was filled meanwhile has the same. */

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct ContentsChecksum {
        uint64_t checksum;
        uint64_t length;
        uint64_t bytes; /* that were read for it */
} ContentsChecksum;

#define CONTENTS_BUFFER_SIZE ((size_t) 64 * 1024) /* as much as stays in a processor's cache */

/* st: of that file. */
int contents_checksum_read(int fd, const struct stat *st, char buffer[CONTENTS_BUFFER_SIZE],
                           ContentsChecksum *ret);
/* As of count zeros more, in a few microseconds however many they are. */
uint64_t contents_checksum_add_zeros(uint64_t checksum, uint64_t count);
