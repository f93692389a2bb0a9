/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/style.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/strv.h"

bool style_is_terminal(Stream stream) {
        return isatty((int) stream);
}

bool style_can_draw(Stream stream) {
        const char *terminal = getenv("TERM");
        return style_is_terminal(stream) && !string_is_empty(terminal) && strcmp(terminal, "dumb") != 0;
}

bool style_has_colour(Stream stream) {
        const char *wish = getenv("SYSTEMD_COLORS");
        if (wish)
                return !string_is_empty(wish) && strcmp(wish, "0") != 0 && strcasecmp(wish, "no") != 0 &&
                       strcasecmp(wish, "false") != 0 && strcasecmp(wish, "off") != 0;
        const char *terminal = getenv("TERM");
        return string_is_empty(getenv("NO_COLOR")) && style_is_terminal(stream) &&
               !string_is_empty(terminal) && strcmp(terminal, "dumb") != 0;
}

bool style_has_utf8(void) {
        static const char *const variables[] = { "LC_ALL", "LC_CTYPE", "LANG" };
        for (size_t i = 0; i < ELEMENTS_OF(variables); i++) {
                const char *value = getenv(variables[i]);
                if (string_is_empty(value))
                        continue;
                const char *dot = strchr(value, '.');
                return dot &&
                       (strncasecmp(dot + 1, "utf-8", 5) == 0 || strncasecmp(dot + 1, "utf8", 4) == 0);
        }
        return false;
}

static struct winsize window_size(Stream stream) {
        struct winsize size = { 0 };
        if (ioctl((int) stream, TIOCGWINSZ, &size) < 0)
                size = (struct winsize){ 0 };
        return size;
}

size_t style_columns(Stream stream) {
        struct winsize size = window_size(stream);
        return size.ws_col > 0 ? size.ws_col : 80;
}

size_t style_rows(Stream stream) {
        struct winsize size = window_size(stream);
        return size.ws_row > 0 ? size.ws_row : 24;
}
