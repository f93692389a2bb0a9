/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What standard output and error can show: whether it is a terminal, its size, colours, UTF-8. */

#include <stdbool.h>
#include <stddef.h>

typedef enum Stream {
        STDOUT = 1,
        STDERR = 2,
} Stream;

#define STYLE_NORMAL "\033[0m"
#define STYLE_HEADER "\033[0;4m"
#define STYLE_RED "\033[0;1;31m"
#define STYLE_GREEN "\033[0;32m"
#define STYLE_YELLOW "\033[0;33m"
#define STYLE_DIM "\033[0;90m"

bool style_is_terminal(Stream stream);
/* A terminal whose cursor can be moved. */
bool style_can_draw(Stream stream);
/* The same, unless $SYSTEMD_COLORS or $NO_COLOR say otherwise. */
bool style_has_colour(Stream stream);
bool style_has_utf8(void);
/* Of the terminal, or 80 by 24. */
size_t style_columns(Stream stream);
size_t style_rows(Stream stream);
