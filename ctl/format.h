/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers, times and names as people read them. */

#include <stddef.h>
#include <stdint.h>

#define FORMAT_SIZE 32
typedef char FormatBuffer[FORMAT_SIZE];

/* "0B", "999B", "1.5K", "52.3M". */
const char *format_size(uint64_t size, FormatBuffer buffer);
/* "850ms", "3.2s", "2min 5s", "1h 3min", "4d 2h". */
const char *format_span(uint64_t usec, FormatBuffer buffer);
/* "3min ago"; "-" for 0. */
const char *format_age(uint64_t now_usec, uint64_t usec, FormatBuffer buffer);

/* The first 12 hexadecimal digits of a digest, without its algorithm; other strings as they are. */
const char *format_short_digest(const char *digest, FormatBuffer buffer);

/* A fresh string without anything that could steer a terminal: control characters and broken UTF-8 become
 * "\x1b". */
char *format_printable(const char *text);

/* Arguments as a shell would have them, in a fresh string. */
char *format_command(char *const *arguments);

/* Columns that a printable UTF-8 string takes (each character counts as one). */
size_t format_width(const char *text);
/* The bytes of the first so many characters. */
size_t format_prefix(const char *text, size_t width);

uint64_t now_realtime_usec(void);
uint64_t now_monotonic_usec(void);
