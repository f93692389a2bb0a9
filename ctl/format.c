/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/macros.h"
#include "lib/strv.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define SHORT_DIGEST 12

const char *format_size(uint64_t size, FormatBuffer buffer) {
        static const char units[] = "BKMGTPE";
        unsigned unit = 0;
        uint64_t scale = 1;

        while (size / scale >= 1024 && unit + 2 < sizeof(units)) {
                scale *= 1024;
                unit++;
        }
        if (unit == 0)
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "B", size);
        else
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 ".%" PRIu64 "%c", size / scale,
                         size % scale / (scale / 1024) * 10 / 1024, units[unit]);
        return buffer;
}

const char *format_span(uint64_t usec, FormatBuffer buffer) {
        uint64_t seconds = usec / USEC_PER_SEC;
        if (usec < USEC_PER_SEC)
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "ms", usec / 1000);
        else if (seconds < 60)
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 ".%" PRIu64 "s", seconds,
                         usec % USEC_PER_SEC / (USEC_PER_SEC / 10));
        else if (seconds < 3600)
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "min %" PRIu64 "s", seconds / 60, seconds % 60);
        else if (seconds < 86400)
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "h %" PRIu64 "min", seconds / 3600,
                         seconds % 3600 / 60);
        else
                snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "d %" PRIu64 "h", seconds / 86400,
                         seconds % 86400 / 3600);
        return buffer;
}

const char *format_age(uint64_t now_usec, uint64_t usec, FormatBuffer buffer) {
        static const struct {
                uint64_t seconds;
                const char *name;
        } units[] = {
                { 31557600, "y" }, { 2629800, "month" }, { 604800, "w" }, { 86400, "d" },
                { 3600, "h" },     { 60, "min" },        { 1, "s" },
        };
        if (usec == 0)
                return strcpy(buffer, "-");
        uint64_t seconds = usec > now_usec ? 0 : (now_usec - usec) / USEC_PER_SEC;
        for (size_t i = 0; i < ELEMENTS_OF(units); i++)
                if (seconds >= units[i].seconds) {
                        snprintf(buffer, FORMAT_SIZE, "%" PRIu64 "%s ago", seconds / units[i].seconds,
                                 units[i].name);
                        return buffer;
                }
        return strcpy(buffer, "just now");
}

const char *format_short_digest(const char *digest, FormatBuffer buffer) {
        const char *colon = strchr(digest, ':');
        if (!colon || strspn(colon + 1, "0123456789abcdef") != strlen(colon + 1))
                return digest;
        snprintf(buffer, FORMAT_SIZE, "%.*s", SHORT_DIGEST, colon + 1);
        return buffer;
}

/* The length of the printable character that begins here; 0 if it must not reach a terminal. */
static size_t printable_length(const char *text) {
        unsigned char c = (unsigned char) text[0];
        size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        char copy[5] = { 0 };
        if (strnlen(text, length) < length)
                return 0;
        memcpy(copy, text, length);
        return string_is_printable(copy) ? length : 0;
}

char *format_printable(const char *text) {
        char *result = malloc(4 * strlen(text) + 1), *out = result;
        if (!result)
                return NULL;
        while (*text) {
                size_t length = printable_length(text);
                if (length > 0) {
                        memcpy(out, text, length);
                        out += length;
                        text += length;
                } else
                        out += sprintf(out, "\\x%02x", (unsigned char) *text++);
        }
        *out = 0;
        return result;
}

static void write_argument(FILE *file, const char *argument) {
        static const char plain[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%^";
        if (argument[0] && strspn(argument, plain) == strlen(argument)) {
                fputs(argument, file);
                return;
        }
        fputc('\'', file);
        for (; *argument; argument++)
                if (*argument == '\'')
                        fputs("'\\''", file);
                else
                        fputc(*argument, file);
        fputc('\'', file);
}

char *format_command(char *const *arguments) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        if (!file)
                return NULL;
        for (size_t i = 0; arguments && arguments[i]; i++) {
                if (i > 0)
                        fputc(' ', file);
                write_argument(file, arguments[i]);
        }
        if (fclose(file) != 0)
                return mfree(text);
        return text;
}

size_t format_width(const char *text) {
        size_t width = 0;
        for (; *text; text++)
                if (((unsigned char) *text & 0xc0) != 0x80)
                        width++;
        return width;
}

size_t format_prefix(const char *text, size_t width) {
        size_t bytes = 0;
        while (text[bytes]) {
                if (((unsigned char) text[bytes] & 0xc0) != 0x80 && width-- == 0)
                        break;
                bytes++;
        }
        return bytes;
}

static uint64_t clock_usec(clockid_t id) {
        struct timespec now;
        (void) clock_gettime(id, &now);
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / 1000;
}

uint64_t now_realtime_usec(void) {
        return clock_usec(CLOCK_REALTIME);
}

uint64_t now_monotonic_usec(void) {
        return clock_usec(CLOCK_MONOTONIC);
}
