/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Logging to the journal by its native protocol (no libsystemd), or to stderr where stderr is not the
 * journal. A library does not log above debug; a daemon logs once, at the top. */

#include <stdbool.h>
#include <syslog.h>

#include "lib/macros.h"

/* program is SYSLOG_IDENTIFIER. stderr is used when it is a terminal or a pipe; the journal when
 * JOURNAL_STREAM says that stderr is connected to it. $CRT_LOG_LEVEL (err, warning, notice, info, debug)
 * sets the highest level shown. */
void log_open(const char *program);
void log_set_level(int level);
bool log_is_enabled(int level);

/* A message with journal fields: fields is a NULL-terminated list of "KEY=value" strings, or NULL. */
void log_write(int level, const char *const *fields, const char *format, ...) _printf_(3, 4);

#define log_error(...) log_write(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, NULL, __VA_ARGS__)
