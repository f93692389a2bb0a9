/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names that crt gives to things: identifiers (containers, namespaces), snapshot keys, random ids. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* containerd's rule: at most 76 characters, alphanumeric parts joined by single '.', '_' or '-'. */
bool identifier_is_valid(const char *identifier);

/* Snapshot keys and names: 1 to 255 printable ASCII characters without space, '/' not first or last; a
 * digest is one. */
bool snapshot_key_is_valid(const char *key);

/* 32 (or fewer) lower-case hexadecimal characters from the kernel's random source, in a fresh string. */
int identifier_new_random(size_t length, char **ret);

/* The namespace of a caller who names none: "system" for root, "u<uid>" for others. */
#define NAMESPACE_SIZE 16
const char *namespace_of_uid(uid_t uid, char buffer[NAMESPACE_SIZE]);
