/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/parse-values.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define ENVIRONMENT_FILE_MAX (1024U * 1024U)
#define FRACTION_DIGITS 9U
#define FRACTION_UNIT UINT64_C(1000000000)

/* "12.34" and what follows: the whole part, the fraction in units of 1e-9. NULL if no digit stands there or
 * it is too large. */
static const char *read_decimal(const char *text, uint64_t *ret_whole, uint64_t *ret_fraction) {
        uint64_t whole = 0, fraction = 0;
        if (!isdigit((unsigned char) *text))
                return NULL;
        for (; isdigit((unsigned char) *text); text++)
                if (__builtin_mul_overflow(whole, 10U, &whole) ||
                    __builtin_add_overflow(whole, (uint64_t) (*text - '0'), &whole))
                        return NULL;
        if (*text == '.') {
                unsigned digits = 0;
                for (text++; isdigit((unsigned char) *text); text++)
                        if (digits < FRACTION_DIGITS) {
                                fraction = fraction * 10 + (uint64_t) (*text - '0');
                                digits++;
                        }
                for (; digits < FRACTION_DIGITS; digits++)
                        fraction *= 10;
        }
        *ret_whole = whole;
        *ret_fraction = fraction;
        return text;
}

/* (whole + fraction) * unit, or false where that does not fit. */
static bool scale(uint64_t whole, uint64_t fraction, uint64_t unit, uint64_t *ret) {
        unsigned __int128 value =
                (unsigned __int128) whole * unit + (unsigned __int128) fraction * unit / FRACTION_UNIT;
        if (value > UINT64_MAX)
                return false;
        *ret = (uint64_t) value;
        return true;
}

int parse_size(const char *text, uint64_t *ret, Fault *fault) {
        static const char suffixes[] = "BKMGTPE";
        uint64_t whole, fraction, value;

        const char *rest = read_decimal(text, &whole, &fraction);
        if (!rest)
                return fault_set(fault, -EINVAL, "not a size such as 512M");
        unsigned power = 0;
        if (*rest) {
                const char *suffix = strchr(suffixes, toupper((unsigned char) *rest));
                if (!suffix)
                        return fault_set(fault, -EINVAL, "'%s' is no unit of size (K, M, G, T)", rest);
                power = (unsigned) (suffix - suffixes);
                rest++;
                if (power > 0 && strcasecmp(rest, "ib") != 0 && strcasecmp(rest, "b") != 0 && *rest)
                        return fault_set(fault, -EINVAL, "'%s' follows the unit of size", rest);
                if (power == 0 && *rest)
                        return fault_set(fault, -EINVAL, "'%s' follows the unit of size", rest);
        }
        if (!scale(whole, fraction, UINT64_C(1) << (10 * power), &value))
                return fault_set(fault, -EINVAL, "too large");
        *ret = value;
        return 0;
}

int parse_cpus(const char *text, uint64_t *ret_percent, Fault *fault) {
        uint64_t whole, fraction, value;
        const char *rest = read_decimal(text, &whole, &fraction);
        if (!rest || *rest || !scale(whole, fraction, 100, &value) || value == 0)
                return fault_set(fault, -EINVAL, "not a number of CPUs such as 1.5 (at least 0.01)");
        *ret_percent = value;
        return 0;
}

static const struct {
        const char *name;
        uint64_t usec;
} time_units[] = {
        { "us", 1 },
        { "ms", 1000 },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", 60 * USEC_PER_SEC },
        { "min", 60 * USEC_PER_SEC },
        { "minute", 60 * USEC_PER_SEC },
        { "minutes", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
        { "hr", 3600 * USEC_PER_SEC },
        { "hour", 3600 * USEC_PER_SEC },
        { "hours", 3600 * USEC_PER_SEC },
        { "d", 86400 * USEC_PER_SEC },
        { "day", 86400 * USEC_PER_SEC },
        { "days", 86400 * USEC_PER_SEC },
        { "w", 604800 * USEC_PER_SEC },
        { "week", 604800 * USEC_PER_SEC },
        { "weeks", 604800 * USEC_PER_SEC },
};

static uint64_t time_unit_find(const char *name, size_t length) {
        if (length == 0)
                return USEC_PER_SEC;
        for (size_t i = 0; i < ELEMENTS_OF(time_units); i++)
                if (strlen(time_units[i].name) == length && strncmp(time_units[i].name, name, length) == 0)
                        return time_units[i].usec;
        return 0;
}

int parse_span(const char *text, uint64_t *ret_usec, Fault *fault) {
        uint64_t sum = 0;
        const char *p = text + strspn(text, " ");
        if (!*p)
                return fault_set(fault, -EINVAL, "not a span of time such as 1h30min");
        while (*p) {
                uint64_t whole, fraction, part;
                p = read_decimal(p, &whole, &fraction);
                if (!p)
                        return fault_set(fault, -EINVAL, "not a span of time such as 1h30min");
                p += strspn(p, " ");
                size_t length = strspn(p, "abcdefghijklmnopqrstuvwxyz");
                uint64_t unit = time_unit_find(p, length);
                if (unit == 0)
                        return fault_set(fault, -EINVAL, "'%.*s' is no unit of time", (int) length, p);
                if (!scale(whole, fraction, unit, &part) || __builtin_add_overflow(sum, part, &sum))
                        return fault_set(fault, -EINVAL, "too long");
                p += length;
                p += strspn(p, " ");
        }
        *ret_usec = sum;
        return 0;
}

static int parse_calendar(const char *text, uint64_t *ret_usec) {
        static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                               "%Y-%m-%d" };
        for (size_t i = 0; i < ELEMENTS_OF(formats); i++) {
                struct tm when = { .tm_isdst = -1 };
                const char *end = strptime(text, formats[i], &when);
                if (!end || *end)
                        continue;
                time_t seconds = mktime(&when);
                if (seconds < 0)
                        return -EINVAL;
                *ret_usec = (uint64_t) seconds * USEC_PER_SEC;
                return 0;
        }
        return -EINVAL;
}

/* Midnight of the day that now is in, so many days before. */
static uint64_t midnight(uint64_t now_usec, int days) {
        time_t now = (time_t) (now_usec / USEC_PER_SEC);
        struct tm when;
        (void) localtime_r(&now, &when);
        when.tm_hour = when.tm_min = when.tm_sec = 0;
        when.tm_mday -= days;
        when.tm_isdst = -1;
        return (uint64_t) mktime(&when) * USEC_PER_SEC;
}

int parse_time(const char *text, uint64_t now_usec, uint64_t *ret_usec, Fault *fault) {
        uint64_t span;

        if (string_equal(text, "now")) {
                *ret_usec = now_usec;
                return 0;
        }
        if (string_equal(text, "today") || string_equal(text, "yesterday")) {
                *ret_usec = midnight(now_usec, text[0] == 'y' ? 1 : 0);
                return 0;
        }
        if (text[0] == '@' && string_to_uint64(text + 1, UINT64_MAX / USEC_PER_SEC, &span) >= 0) {
                *ret_usec = span * USEC_PER_SEC;
                return 0;
        }
        if (parse_calendar(text, ret_usec) >= 0)
                return 0;

        _cleanup_free_ char *copy = strdup(text + (text[0] == '-' ? 1 : 0));
        if (!copy)
                return -ENOMEM;
        if (string_ends_with(copy, " ago"))
                copy[strlen(copy) - strlen(" ago")] = 0;
        if (parse_span(copy, &span, NULL) < 0)
                return fault_set(fault, -EINVAL,
                                 "not a time such as 10min, 2024-01-31 or '2024-01-31 12:00'");
        *ret_usec = span > now_usec ? 0 : now_usec - span;
        return 0;
}

void volume_done(Volume *volume) {
        volume->source = mfree(volume->source);
        volume->destination = mfree(volume->destination);
        volume->options = strv_free(volume->options);
}

static int volume_read_options(Volume *volume, const char *text, Fault *fault) {
        static const char *const known[] = { "rw",     "ro",    "rbind",   "bind",   "nosuid",   "suid",
                                             "nodev",  "dev",   "noexec",  "exec",   "rprivate", "private",
                                             "rslave", "slave", "rshared", "shared", NULL };
        _cleanup_strv_ char **others = NULL;
        const char *recursion = "rbind";
        bool read_only = false;

        while (*text) {
                size_t length = strcspn(text, ",");
                _cleanup_free_ char *option = strndup(text, length);
                if (!option)
                        return -ENOMEM;
                if (!strv_contains(known, option))
                        return fault_set(fault, -EINVAL, "'%s' is no option of a volume (ro, rw, …)",
                                         option);
                if (string_equal(option, "ro") || string_equal(option, "rw"))
                        read_only = option[1] == 'o';
                else if (string_equal(option, "bind") || string_equal(option, "rbind"))
                        recursion = option[0] == 'r' ? "rbind" : "bind";
                else if (strv_append(&others, option) < 0)
                        return -ENOMEM;
                text += length + (text[length] == ',' ? 1 : 0);
        }
        if (strv_append(&volume->options, recursion) < 0 ||
            strv_append(&volume->options, read_only ? "ro" : "rw") < 0)
                return -ENOMEM;
        STRV_FOREACH (option, others)
                if (strv_append(&volume->options, option) < 0)
                        return -ENOMEM;
        volume->read_only = read_only;
        return 0;
}

int parse_volume(const char *text, Volume *ret, Fault *fault) {
        _cleanup_(volume_done) Volume volume = { 0 };

        const char *colon = strchr(text, ':');
        if (!colon)
                return fault_set(fault, -EINVAL, "a volume is written SOURCE:DESTINATION[:OPTIONS]");
        size_t length = strcspn(colon + 1, ":");
        const char *options = colon[1 + length] == ':' ? colon + 2 + length : "";

        volume.destination = strndup(colon + 1, length);
        _cleanup_free_ char *source = strndup(text, (size_t) (colon - text));
        if (!volume.destination || !source)
                return -ENOMEM;
        if (source[0] != '/' && source[0] != '.')
                return fault_set(
                        fault, -EINVAL,
                        "'%s' is no path (write ./%s for a directory here; named volumes are not known)",
                        source, source);
        if (volume.destination[0] != '/')
                return fault_set(fault, -EINVAL, "the destination '%s' does not begin with '/'",
                                 volume.destination);
        volume.source = realpath(source, NULL);
        if (!volume.source)
                return fault_set_errno(fault, -errno, "%s", source);
        int r = volume_read_options(&volume, options, fault);
        if (r < 0)
                return r;
        *ret = volume;
        volume = (Volume){ 0 };
        return 0;
}

int parse_environment(char ***strv, const char *text, Fault *fault) {
        const char *equals = strchr(text, '=');
        if (!text[0] || equals == text)
                return fault_set(fault, -EINVAL, "'%s' has no name before the '='", text);
        if (equals)
                return strv_set_environment(strv, text);

        const char *value = getenv(text);
        if (!value)
                return 0;
        _cleanup_free_ char *assignment = NULL;
        if (asprintf(&assignment, "%s=%s", text, value) < 0)
                return -ENOMEM;
        return strv_set_environment(strv, assignment);
}

int parse_environment_file(char ***strv, const char *path, Fault *fault) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "%s", path);
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = fd_read_all(fd, ENVIRONMENT_FILE_MAX, &data, &size);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", path);
        if (strlen(data) != size)
                return fault_set(fault, -EINVAL, "%s: not a text", path);

        unsigned number = 1;
        char *rest = data;
        for (char *line; (line = strsep(&rest, "\n")); number++) {
                line += strspn(line, " \t");
                if (line[0] == '#' || line[0] == 0)
                        continue;
                size_t length = strlen(line);
                if (line[length - 1] == '\r')
                        line[length - 1] = 0;
                r = parse_environment(strv, line, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "%s:%u", path, number);
        }
        return 0;
}
