/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-log.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"

static const OciOptions *settings;

void oci_log_open(const OciOptions *options) {
        settings = options;
}

/* {"level":"error","msg":"…","time":"…"} */
static char *format_json(const char *level, const char *text, const char *stamp) {
        char *line = NULL;
        _cleanup_json_ json_object *object = json_object_new_object();
        if (!object || json_object_object_add(object, "level", json_object_new_string(level)) < 0 ||
            json_object_object_add(object, "msg", json_object_new_string(text)) < 0 ||
            json_object_object_add(object, "time", json_object_new_string(stamp)) < 0)
                return NULL;
        const char *json = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                                          JSON_C_TO_STRING_NOSLASHESCAPE);
        return json && asprintf(&line, "%s\n", json) >= 0 ? line : NULL;
}

/* time="…" level=error msg="…", with what would end the message early escaped. */
static char *format_text(const char *level, const char *text, const char *stamp) {
        _cleanup_free_ char *escaped = malloc(strlen(text) * 2 + 1);
        char *line = NULL, *end = escaped;
        if (!escaped)
                return NULL;
        for (; *text; text++) {
                if (*text == '"' || *text == '\\')
                        *end++ = '\\';
                *end++ = *text == '\n' ? ' ' : *text;
        }
        *end = '\0';
        return asprintf(&line, "time=\"%s\" level=%s msg=\"%s\"\n", stamp, level, escaped) < 0 ? NULL : line;
}

static int open_log(void) {
        const char *path = string_after(settings->log, "file:");
        int fd = open(path ? path : settings->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY,
                      0644);
        return fd < 0 ? -errno : fd;
}

static void write_log(const char *level, const char *text) {
        char stamp[64];
        struct tm utc;
        time_t now = time(NULL);
        (void) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
        _cleanup_free_ char *line =
                settings->log_json ? format_json(level, text, stamp) : format_text(level, text, stamp);
        _cleanup_close_ int fd = settings->log ? open_log() : fd_duplicate(STDERR_FILENO);
        int r = fd < 0 ? fd : line ? fd_write_all(fd, line, strlen(line)) : -ENOMEM;
        if (r < 0)
                (void) fprintf(stderr, "crt-oci: --log: %s: %s\n", settings->log ? settings->log : "stderr",
                               strerror(-r));
}

void oci_log_error(const char *text) {
        (void) fprintf(stderr, "crt-oci: %s\n", text);
        if (settings && settings->log)
                write_log("error", text);
}

static void _printf_(2, 0) write_formatted(const char *level, const char *format, va_list arguments) {
        _cleanup_free_ char *text = NULL;
        if (vasprintf(&text, format, arguments) >= 0)
                write_log(level, text);
}

void oci_log_warning(const char *format, ...) {
        va_list arguments;
        if (!settings || string_equal(settings->log_level, "error"))
                return;
        va_start(arguments, format);
        write_formatted("warning", format, arguments);
        va_end(arguments);
}

void oci_log_debug(const char *format, ...) {
        va_list arguments;
        if (!settings || !settings->debug)
                return;
        va_start(arguments, format);
        write_formatted("debug", format, arguments);
        va_end(arguments);
}
