/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/message-head.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/macros.h"

enum { TYPE_AT = 1, SERIAL_AT = 8, FIELDS_AT = 12, FIXED_SIZE = 16, FIELD_ALIGNMENT = 8 };
enum { FIELD_SENDER = 7, FIELD_UNIX_FDS = 9 };

typedef struct Cursor {
        const uint8_t *data;
        size_t at, end;
        bool big;
} Cursor;

static uint32_t number_at(const uint8_t *data, bool big) {
        uint32_t number;
        memcpy(&number, data, sizeof(number));
        return big ? be32toh(number) : le32toh(number);
}

static bool cursor_align(Cursor *cursor, size_t alignment) {
        size_t at = (cursor->at + alignment - 1) & ~(alignment - 1);
        if (at > cursor->end)
                return false;
        cursor->at = at;
        return true;
}

static const uint8_t *cursor_take(Cursor *cursor, size_t size) {
        if (cursor->end - cursor->at < size)
                return NULL;
        const uint8_t *data = cursor->data + cursor->at;
        cursor->at += size;
        return data;
}

static bool cursor_take_number(Cursor *cursor, uint32_t *ret) {
        const uint8_t *data = cursor_align(cursor, sizeof(*ret)) ? cursor_take(cursor, sizeof(*ret)) : NULL;
        if (data)
                *ret = number_at(data, cursor->big);
        return data != NULL;
}

/* With the NUL that ends it. */
static const uint8_t *cursor_take_text(Cursor *cursor, uint32_t *ret_length) {
        if (!cursor_take_number(cursor, ret_length) || *ret_length >= cursor->end)
                return NULL;
        return cursor_take(cursor, (size_t) *ret_length + 1);
}

static bool read_field(Cursor *cursor, MessageHead *head) {
        uint32_t number = 0, length = 0;
        if (!cursor_align(cursor, FIELD_ALIGNMENT))
                return false;
        /* The code, and the type of the value: a signature of one character. */
        const uint8_t *start = cursor_take(cursor, 4), *data;
        if (!start || start[1] != 1)
                return false;
        switch (start[2]) {
        case 'u':
                if (!cursor_take_number(cursor, &number))
                        return false;
                if (start[0] == FIELD_UNIX_FDS)
                        head->fds = number;
                return true;
        case 'g':
                data = cursor_take(cursor, 1);
                return data && cursor_take(cursor, (size_t) *data + 1);
        case 's':
        case 'o':
                data = cursor_take_text(cursor, &length);
                if (!data || (start[0] == FIELD_SENDER && length >= sizeof(head->sender)))
                        return false;
                if (start[0] == FIELD_SENDER) {
                        memcpy(head->sender, data, length);
                        head->sender[length] = '\0';
                }
                return true;
        default:
                return false;
        }
}

int message_head_read_fixed(const void *data, size_t size, MessageHead *ret) {
        const uint8_t *bytes = data;
        if (size < FIELDS_AT || (bytes[0] != 'l' && bytes[0] != 'B'))
                return -EBADMSG;
        *ret = (MessageHead){ .type = bytes[TYPE_AT],
                              .serial = number_at(bytes + SERIAL_AT, bytes[0] == 'B') };
        return 0;
}

int message_head_read(const void *data, size_t size, MessageHead *ret) {
        const uint8_t *bytes = data;
        MessageHead head;
        int r = message_head_read_fixed(data, size, &head);
        if (r < 0)
                return r;
        if (size < FIXED_SIZE)
                return -EBADMSG;
        bool big = bytes[0] == 'B';
        uint32_t length = number_at(bytes + FIELDS_AT, big);
        if (length > size - FIXED_SIZE)
                return -EBADMSG;
        Cursor cursor = { .data = bytes, .at = FIXED_SIZE, .end = FIXED_SIZE + length, .big = big };
        while (cursor.at < cursor.end)
                if (!read_field(&cursor, &head))
                        return -EBADMSG;
        *ret = head;
        return 0;
}
