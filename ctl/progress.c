/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/format.h"
#include "ctl/style.h"
#include "lib/strv.h"

#define SAMPLE_USEC 250000U
#define USEC_PER_SEC UINT64_C(1000000)
#define BAR_MAX 40U
#define BAR_MIN 6U
#define KIND_WIDTH 8U
#define STATE_WIDTH 11U
#define BYTES_WIDTH 17U /* "1023.9K / 1023.9K" */

static void part_done(ProgressPart *part) {
        part->id = mfree(part->id);
        part->kind = mfree(part->kind);
        part->state = mfree(part->state);
}

void progress_clear_parts(Progress *progress) {
        for (size_t i = 0; i < progress->part_count; i++)
                part_done(&progress->parts[i]);
        progress->parts = mfree(progress->parts);
        progress->part_count = 0;
}

void progress_done(Progress *progress) {
        progress_clear_parts(progress);
        progress->object = mfree(progress->object);
        progress->phase = mfree(progress->phase);
}

int progress_add_part(Progress *progress, ProgressPart *part) {
        ProgressPart *parts =
                part->id && part->kind && part->state
                        ? reallocarray(progress->parts, progress->part_count + 1, sizeof(*parts))
                        : NULL;
        if (!parts) {
                part_done(part);
                return -ENOMEM;
        }
        progress->parts = parts;
        parts[progress->part_count++] = *part;
        *part = (ProgressPart){ 0 };
        return 0;
}

void progress_sample(Progress *progress, uint64_t now_usec, uint64_t bytes) {
        size_t count = progress->sample_count;
        if (count >= 2) {
                size_t last = (count - 1) % PROGRESS_SAMPLES, before = (count - 2) % PROGRESS_SAMPLES;
                if (progress->samples[last].usec - progress->samples[before].usec < SAMPLE_USEC)
                        count--;
        }
        progress->samples[count % PROGRESS_SAMPLES].usec = now_usec;
        progress->samples[count % PROGRESS_SAMPLES].bytes = bytes;
        progress->sample_count = count + 1;
}

uint64_t progress_rate(const Progress *progress, uint64_t now_usec) {
        size_t count = progress->sample_count;
        if (count < 2)
                return 0;
        size_t oldest = count > PROGRESS_SAMPLES ? count % PROGRESS_SAMPLES : 0;
        size_t newest = (count - 1) % PROGRESS_SAMPLES;
        uint64_t usec = now_usec - progress->samples[oldest].usec;
        if (usec == 0 || progress->samples[newest].bytes < progress->samples[oldest].bytes)
                return 0;
        unsigned __int128 bytes = progress->samples[newest].bytes - progress->samples[oldest].bytes;
        return (uint64_t) (bytes * USEC_PER_SEC / usec);
}

static bool part_is_finished(const ProgressPart *part) {
        return string_equal(part->state, "done") || string_equal(part->state, "exists");
}

static bool part_is_waiting(const ProgressPart *part) {
        return string_equal(part->state, "waiting");
}

/* 0 to width cells. */
static size_t bar_fill(const ProgressPart *part, size_t width) {
        if (part_is_finished(part))
                return width;
        if (part->total == 0)
                return 0;
        uint64_t done = MIN_OF(part->done, part->total);
        return (size_t) ((unsigned __int128) done * width / part->total);
}

static void write_repeated(FILE *file, const char *text, size_t count) {
        while (count-- > 0)
                fputs(text, file);
}

static void write_bar(FILE *file, const ProgressPart *part, const ProgressStyle *style, size_t width) {
        size_t fill = bar_fill(part, width);
        const char *full = style->utf8 ? "━" : "#", *empty = style->utf8 ? "─" : ".";
        if (style->colour)
                fputs(part_is_finished(part) ? STYLE_GREEN : STYLE_YELLOW, file);
        write_repeated(file, full, fill);
        if (style->colour)
                fputs(STYLE_DIM, file);
        write_repeated(file, empty, width - fill);
        if (style->colour)
                fputs(STYLE_NORMAL, file);
}

static void write_text(FILE *file, const char *text, size_t width) {
        _cleanup_free_ char *safe = format_printable(text);
        size_t bytes = safe ? format_prefix(safe, width) : 0;
        fwrite(safe ? safe : "", 1, bytes, file);
        fprintf(file, "%*s", (int) (width - MIN_OF(width, format_width(safe ? safe : ""))), "");
}

/* "layer    0123456789ab downloading ━━━━━━────── 12.3M / 52.3M"; what does not fit is left out from the
 * right. */
static void write_part(FILE *file, const ProgressPart *part, const ProgressStyle *style) {
        FormatBuffer digest, done, total;
        size_t used = KIND_WIDTH + 1 + 12 + 1 + STATE_WIDTH;
        size_t rest = style->columns > used + 1 ? style->columns - used - 1 : 0;

        if (style->columns <= used) {
                write_text(file, part->state, style->columns > 1 ? style->columns - 1 : 1);
                fputc('\n', file);
                return;
        }
        write_text(file, part->kind, KIND_WIDTH);
        fputc(' ', file);
        write_text(file, format_short_digest(part->id, digest), 12);
        fputc(' ', file);
        write_text(file, part->state, STATE_WIDTH);
        if (rest >= 2 + BAR_MIN + BYTES_WIDTH) {
                fputc(' ', file);
                write_bar(file, part, style, MIN_OF(rest - 2 - BYTES_WIDTH, (size_t) BAR_MAX));
                rest = BYTES_WIDTH + 1;
        }
        if (rest >= BYTES_WIDTH + 1) {
                if (part_is_finished(part) || part_is_waiting(part) || part->total == 0)
                        fprintf(file, " %s", part->total > 0 ? format_size(part->total, total) : "");
                else
                        fprintf(file, " %s / %s", format_size(part->done, done),
                                format_size(part->total, total));
        }
        fputc('\n', file);
}

/* "downloading 12.3M / 52.3M, 16.0M/s, 2.5s left". */
static char *summary(const Progress *progress, uint64_t now_usec) {
        FormatBuffer done, total, rate, left;
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        if (!file)
                return NULL;

        fputs(string_is_empty(progress->phase) ? "starting" : progress->phase, file);
        if (progress->total > 0)
                fprintf(file, " %s / %s", format_size(progress->done, done),
                        format_size(progress->total, total));
        else if (progress->done > 0)
                fprintf(file, " %s", format_size(progress->done, done));
        uint64_t speed = progress_rate(progress, now_usec);
        if (speed > 0)
                fprintf(file, ", %s/s", format_size(speed, rate));
        if (speed > 0 && progress->total > progress->done) {
                unsigned __int128 usec =
                        (unsigned __int128) (progress->total - progress->done) * USEC_PER_SEC / speed;
                if (usec < 100 * 86400 * (unsigned __int128) USEC_PER_SEC)
                        fprintf(file, ", %s left", format_span((uint64_t) usec, left));
        } else if (progress->begun_usec > 0 && now_usec >= progress->begun_usec + USEC_PER_SEC)
                fprintf(file, ", %s", format_span(now_usec - progress->begun_usec, left));
        if (fclose(file) != 0)
                return mfree(text);
        return text;
}

/* Which parts are shown where the terminal has too few rows: those under way, then those that wait, then the
 * others. */
static bool part_is_shown(const Progress *progress, size_t index, size_t room) {
        if (progress->part_count <= room)
                return true;
        size_t before = 0;
        const ProgressPart *part = &progress->parts[index];
        int rank = part_is_finished(part) ? 2 : part_is_waiting(part) ? 1 : 0;
        for (size_t i = 0; i < progress->part_count; i++) {
                const ProgressPart *other = &progress->parts[i];
                int others = part_is_finished(other) ? 2 : part_is_waiting(other) ? 1 : 0;
                if (others < rank || (others == rank && i < index))
                        before++;
        }
        return before < room;
}

char *progress_render(const Progress *progress, const ProgressStyle *style, uint64_t now_usec) {
        _cleanup_free_ char *line = summary(progress, now_usec);
        char *text = NULL;
        size_t size;
        FILE *file = line ? open_memstream(&text, &size) : NULL;
        if (!file)
                return NULL;

        /* A row for the summary, one below the last line, and one for what is hidden. */
        size_t room = style->rows > 3 ? style->rows - 3 : 1, hidden = 0;
        for (size_t i = 0; i < progress->part_count; i++)
                if (part_is_shown(progress, i, room))
                        write_part(file, &progress->parts[i], style);
                else
                        hidden++;
        if (hidden > 0)
                fprintf(file, "%s and %zu more\n", style->utf8 ? "…" : "...", hidden);
        write_text(file, line, MIN_OF(format_width(line), style->columns > 1 ? style->columns - 1 : 1));
        fputc('\n', file);
        if (fclose(file) != 0)
                return mfree(text);
        return text;
}

char *progress_render_line(const Progress *progress, uint64_t now_usec) {
        _cleanup_free_ char *line = summary(progress, now_usec),
                            *safe = line ? format_printable(line) : NULL;
        size_t finished = 0;
        char *text = NULL;

        if (!safe)
                return NULL;
        for (size_t i = 0; i < progress->part_count; i++)
                if (part_is_finished(&progress->parts[i]))
                        finished++;
        int n = progress->part_count > 0
                        ? asprintf(&text, "%s, %zu of %zu parts", safe, finished, progress->part_count)
                        : asprintf(&text, "%s", safe);
        return n < 0 ? NULL : text;
}
