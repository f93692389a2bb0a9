/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/bus-json.h"

#include <errno.h>
#include <string.h>

static int write_basic(JsonWriter *writer, sd_bus_message *message, char type) {
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                const char *s;
        } value;

        int r = sd_bus_message_read_basic(message, type, &value);
        if (r < 0)
                return r;
        switch (type) {
        case 'y':
                json_writer_unsigned(writer, value.y);
                break;
        case 'b':
                json_writer_bool(writer, value.b);
                break;
        case 'n':
                json_writer_signed(writer, value.n);
                break;
        case 'q':
                json_writer_unsigned(writer, value.q);
                break;
        case 'i':
        case 'h':
                json_writer_signed(writer, value.i);
                break;
        case 'u':
                json_writer_unsigned(writer, value.u);
                break;
        case 'x':
                json_writer_signed(writer, value.x);
                break;
        case 't':
                json_writer_unsigned(writer, value.t);
                break;
        case 'd':
                json_writer_double(writer, value.d);
                break;
        default:
                json_writer_string(writer, value.s);
        }
        return 0;
}

/* The entries of a dictionary with string keys whose array was entered. */
static int write_members(JsonWriter *writer, sd_bus_message *message) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(message, &type, &contents)) > 0) {
                const char *key;
                r = sd_bus_message_enter_container(message, 'e', contents);
                if (r >= 0)
                        r = sd_bus_message_read_basic(message, contents[0], &key);
                if (r < 0)
                        return r;
                json_writer_key(writer, key);
                r = bus_json_write_value(writer, message);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        return r;
}

static int write_items(JsonWriter *writer, sd_bus_message *message) {
        int r;
        while ((r = sd_bus_message_at_end(message, 0)) == 0) {
                r = bus_json_write_value(writer, message);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

int bus_json_write_value(JsonWriter *writer, sd_bus_message *message) {
        const char *contents;
        char type;

        int r = sd_bus_message_peek_type(message, &type, &contents);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        if (!contents)
                return write_basic(writer, message, type);

        r = sd_bus_message_enter_container(message, type, contents);
        if (r < 0)
                return r;
        if (type == 'v')
                r = bus_json_write_value(writer, message);
        else {
                bool is_object =
                        type == 'a' && contents[0] == '{' && contents[1] && strchr("sog", contents[1]);
                json_writer_begin(writer, is_object ? '{' : '[');
                r = is_object ? write_members(writer, message) : write_items(writer, message);
                json_writer_end(writer, is_object ? '}' : ']');
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r < 0 ? r : 0;
}

int bus_json_write_entries(JsonWriter *writer, sd_bus_message *message) {
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r >= 0)
                r = write_members(writer, message);
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r < 0 ? r : 0;
}
