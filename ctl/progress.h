/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a transfer looks like while it runs: parts with bars, a rate and the time that is left. Knows no bus
 * and no terminal: it makes text. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

typedef struct ProgressPart {
        char *id, *kind, *state;
        uint64_t done, total;
} ProgressPart;

#define PROGRESS_SAMPLES 16

typedef struct Progress {
        char *object; /* what is pulled */
        char *phase;
        ProgressPart *parts;
        size_t part_count;
        uint64_t done, total;
        uint64_t begun_usec; /* monotonic; 0: not begun */
        struct {
                uint64_t usec, bytes;
        } samples[PROGRESS_SAMPLES]; /* a ring */
        size_t sample_count;
} Progress;

void progress_done(Progress *progress);

/* Takes over the strings of a part; frees them on failure. */
int progress_add_part(Progress *progress, ProgressPart *part);
void progress_clear_parts(Progress *progress);

/* Notes how many bytes there are by now; samples that come too close to the last one are merged with it. */
void progress_sample(Progress *progress, uint64_t now_usec, uint64_t bytes);
/* Bytes a second over the last few seconds; 0 if that cannot be said. */
uint64_t progress_rate(const Progress *progress, uint64_t now_usec);

typedef struct ProgressStyle {
        size_t columns, rows;
        bool colour, utf8;
} ProgressStyle;

/* The whole display, lines ended by '\n', none wider than the terminal, fewer than it has rows; in a fresh
 * string. */
char *progress_render(const Progress *progress, const ProgressStyle *style, uint64_t now_usec);
/* One line without its end, for logs. */
char *progress_render_line(const Progress *progress, uint64_t now_usec);
