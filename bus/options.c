/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-error.h"
#include "lib/limits.h"
#include "lib/strv.h"

#define OPTIONS_MAX 64

static int too_much(const BusOption *option, sd_bus_error *error) {
        return sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                 "option '%s': at most %u entries and %u bytes in all", option->key,
                                 LIMIT_OPTION_ENTRIES, LIMIT_OPTION_BYTES);
}

/* 1 an entry, 0 there are no more. */
static int read_string(sd_bus_message *message, char ***strv, sd_bus_error *error) {
        const char *value;
        int r = sd_bus_message_read(message, "s", &value);
        if (r > 0)
                r = strv_append(strv, value) < 0 ? -ENOMEM : 1;
        return r;
}

static int read_pair(sd_bus_message *message, char ***strv, sd_bus_error *error) {
        const char *key, *value;
        int r = sd_bus_message_read(message, "{ss}", &key, &value);
        if (r <= 0)
                return r;
        if (!key[0] || strchr(key, '='))
                return bus_invalid_argument(error, "'%s' cannot be a key", key);
        return strv_appendf(strv, "%s=%s", key, value) < 0 ? -ENOMEM : 1;
}

/* An array of strings, or of pairs of them that become "KEY=value". */
static int read_strings(sd_bus_message *message, const BusOption *option, void *field, sd_bus_error *error) {
        bool pairs = string_equal(option->signature, "a{ss}");
        _cleanup_strv_ char **strv = new0(char *, 1);
        if (!strv)
                return -ENOMEM;
        int r = sd_bus_message_enter_container(message, 'a', pairs ? "{ss}" : "s");
        for (size_t count = 0; r >= 0; count++) {
                if (count > LIMIT_OPTION_ENTRIES)
                        return too_much(option, error);
                r = (pairs ? read_pair : read_string)(message, &strv, error);
                if (r == 0)
                        break;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;
        if (strv_size(strv) > LIMIT_OPTION_BYTES)
                return too_much(option, error);
        strv_free(*(char ***) field);
        *(char ***) field = TAKE_PTR(strv);
        return 0;
}

static int read_bool(sd_bus_message *message, void *field, sd_bus_error *error) {
        int value;
        int r = sd_bus_message_read_basic(message, 'b', &value);
        if (r >= 0)
                *(bool *) field = value;
        return r;
}

static int read_value(sd_bus_message *message, const BusOption *option, void *field, sd_bus_error *error) {
        if (option->reader)
                return option->reader(message, field, error);
        if (string_equal(option->signature, "as") || string_equal(option->signature, "a{ss}"))
                return read_strings(message, option, field, error);
        if (string_equal(option->signature, "b"))
                return read_bool(message, field, error);
        assert(option->signature[0] && strchr("suthixoy", option->signature[0]) && !option->signature[1]);
        return sd_bus_message_read_basic(message, option->signature[0], field);
}

/* The message stands before the variant of the key's value. */
static int read_option(sd_bus_message *message, const BusOption *option, void *options,
                       sd_bus_error *error) {
        const char *contents;
        int r = sd_bus_message_peek_type(message, NULL, &contents);
        if (r < 0)
                return r;
        if (!string_equal(contents, option->signature))
                return bus_invalid_argument(error, "option '%s': must have type '%s', not '%s'", option->key,
                                            option->signature, contents);
        r = sd_bus_message_enter_container(message, 'v', option->signature);
        if (r >= 0)
                r = read_value(message, option, (char *) options + option->offset, error);
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (r >= 0 && option->given_offset > 0)
                *(bool *) ((char *) options + option->given_offset) = true;
        return r;
}

static const BusOption *option_find(const BusOption *table, size_t count, const char *key,
                                    size_t *ret_index) {
        for (size_t i = 0; i < count; i++)
                if (strcmp(table[i].key, key) == 0) {
                        *ret_index = i;
                        return &table[i];
                }
        return NULL;
}

static int read_entry(sd_bus_message *message, const BusOption *table, size_t count, uint64_t *seen,
                      void *options, sd_bus_error *error) {
        static const BusOption namespace_option = { "namespace", "s", 0 };
        const char *key, *ignored;
        size_t index = count;

        int r = sd_bus_message_read(message, "s", &key);
        if (r < 0)
                return r;
        bool is_namespace = string_equal(key, "namespace");
        const BusOption *option = is_namespace ? &namespace_option : option_find(table, count, key, &index);
        if (!option)
                return bus_invalid_argument(error, "option '%.64s': not known", key);
        if (*seen & (UINT64_C(1) << index))
                return bus_invalid_argument(error, "option '%s': given twice", key);
        *seen |= UINT64_C(1) << index;
        return read_option(message, option, is_namespace ? (void *) &ignored : options, error);
}

int bus_options_read(sd_bus_message *message, const BusOption *table, size_t count, void *options,
                     sd_bus_error *error) {
        assert(count < OPTIONS_MAX);
        uint64_t seen = 0;

        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_entry(message, table, count, &seen, options, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (r < 0)
                return sd_bus_error_is_set(error) ? r : bus_invalid_argument(error, "options: malformed");
        return 0;
}

int bus_append_entry(sd_bus_message *message, const char *key, const char *signature, ...) {
        va_list arguments;
        va_start(arguments, signature);
        int r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', signature);
        if (r >= 0) {
                if (string_equal(signature, "as"))
                        r = sd_bus_message_append_strv(message, va_arg(arguments, char **));
                else
                        r = sd_bus_message_appendv(message, signature, arguments);
        }
        va_end(arguments);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int bus_append_map(sd_bus_message *message, char *const *strv) {
        int r = sd_bus_message_open_container(message, 'a', "{ss}");
        for (; r >= 0 && strv && *strv; strv++) {
                const char *equals = strchr(*strv, '=');
                _cleanup_free_ char *key = equals ? strndup(*strv, (size_t) (equals - *strv)) : NULL;
                if (!key)
                        return equals ? -ENOMEM : -EINVAL;
                r = sd_bus_message_append(message, "{ss}", key, equals + 1);
        }
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int bus_append_entry_map(sd_bus_message *message, const char *key, char *const *strv) {
        int r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', "a{ss}");
        if (r >= 0)
                r = bus_append_map(message, strv);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : sd_bus_message_close_container(message);
}
