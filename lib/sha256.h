/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SHA-256 (FIPS 180-4) of the few bytes that a daemon hashes itself: names of layers, its own records. All
 * that is large is hashed by workers, with OpenSSL (lib/digest.h), whose relocations alone are a third of
 * what a daemon that waits takes of memory. */

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

void sha256_of_data(const void *data, size_t size, uint8_t ret[SHA256_SIZE]);
