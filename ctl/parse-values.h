/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What people write on a command line: sizes, shares of a CPU, spans and points of time, volumes,
 * environment variables. All answer -EINVAL with a sentence. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"

/* "1000", "512M", "1.5g", "2GiB": suffixes are powers of 1024. */
int parse_size(const char *text, uint64_t *ret, Fault *fault);

/* "1.5" CPUs are 150 per cent of one. */
int parse_cpus(const char *text, uint64_t *ret_percent, Fault *fault);

/* "10" (seconds), "500ms", "1h30min": in microseconds. */
int parse_span(const char *text, uint64_t *ret_usec, Fault *fault);

/* "10min" and "10min ago" (before now), "@1700000000", "2024-01-31", "2024-01-31 12:00[:05]", "today",
 * "yesterday", "now": in microseconds since 1970. */
int parse_time(const char *text, uint64_t now_usec, uint64_t *ret_usec, Fault *fault);

/* "SOURCE:DESTINATION[:OPTION,…]". */
typedef struct Volume {
        char *source;
        char *destination;
        char **options; /* "rbind" and "rw" or "ro" first, then what was given besides */
        bool read_only;
} Volume;

int parse_volume(const char *text, Volume *ret, Fault *fault);
void volume_done(Volume *volume);

/* "NAME=value" as it is; "NAME" gets the caller's own value and is left out where there is none. */
int parse_environment(char ***strv, const char *text, Fault *fault);
/* A file of such lines; empty ones and those that begin with '#' are passed over. */
int parse_environment_file(char ***strv, const char *path, Fault *fault);
