/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-protocol.h"

#include <errno.h>
#include <string.h>

typedef enum FieldKind {
        FIELD_END,
        FIELD_NUMBER, /* 4 bytes */
        FIELD_LARGE,  /* 8 bytes */
        FIELD_STRING,
} FieldKind;

typedef struct Field {
        FieldKind kind;
        size_t offset;
} Field;

#define NUMBER(member)                                                                                      \
        { FIELD_NUMBER, offsetof(FetchMessage, member) }
#define LARGE(member)                                                                                       \
        { FIELD_LARGE, offsetof(FetchMessage, member) }
#define STRING(member)                                                                                      \
        { FIELD_STRING, offsetof(FetchMessage, member) }
#define FIELDS_MAX 6

static const Field fields[_FETCH_TYPE_MAX][FIELDS_MAX] = {
        [FETCH_OPEN] = { NUMBER(flags), STRING(host), STRING(repository), STRING(username),
                         STRING(password) },
        [FETCH_RESOLVE] = { NUMBER(request), STRING(name) },
        [FETCH_GET] = { NUMBER(request), NUMBER(flags), STRING(digest), LARGE(size), LARGE(offset) },
        [FETCH_RESOLVED] = { NUMBER(request), STRING(digest), STRING(media_type), LARGE(size) },
        [FETCH_PROGRESS] = { NUMBER(request), LARGE(offset) },
        [FETCH_WRITTEN] = { NUMBER(request), STRING(media_type) },
        [FETCH_FAILED] = { NUMBER(request), NUMBER(error), STRING(sentence) },
};

typedef struct Cursor {
        char *position;
        size_t left;
} Cursor;

static int cursor_put(Cursor *cursor, const void *data, size_t size) {
        if (size > cursor->left)
                return -EMSGSIZE;
        memcpy(cursor->position, data, size);
        cursor->position += size;
        cursor->left -= size;
        return 0;
}

static int cursor_put_string(Cursor *cursor, const char *string) {
        if (!string)
                string = "";
        size_t length = strlen(string);
        if (length >= cursor->left)
                return -EMSGSIZE;
        uint32_t prefix = (uint32_t) length;
        int r = cursor_put(cursor, &prefix, sizeof(prefix));
        if (r < 0)
                return r;
        return cursor_put(cursor, string, length + 1);
}

ssize_t fetch_message_encode(const FetchMessage *message, void *buffer, size_t size) {
        assert(message->type >= 0 && message->type < _FETCH_TYPE_MAX);

        Cursor cursor = { buffer, size };
        uint8_t type = (uint8_t) message->type;
        int r = cursor_put(&cursor, &type, sizeof(type));
        for (const Field *f = fields[message->type]; r >= 0 && f->kind != FIELD_END; f++) {
                const void *member = (const char *) message + f->offset;
                switch (f->kind) {
                case FIELD_NUMBER:
                        r = cursor_put(&cursor, member, sizeof(uint32_t));
                        break;
                case FIELD_LARGE:
                        r = cursor_put(&cursor, member, sizeof(uint64_t));
                        break;
                default:
                        r = cursor_put_string(&cursor, *(const char *const *) member);
                }
        }
        return r < 0 ? r : (ssize_t) (size - cursor.left);
}

static int cursor_get(Cursor *cursor, void *data, size_t size) {
        if (size > cursor->left)
                return -EBADMSG;
        memcpy(data, cursor->position, size);
        cursor->position += size;
        cursor->left -= size;
        return 0;
}

static int cursor_get_string(Cursor *cursor, const char **ret) {
        uint32_t length;
        int r = cursor_get(cursor, &length, sizeof(length));
        if (r < 0)
                return r;
        if (length >= cursor->left || cursor->position[length] != '\0' ||
            memchr(cursor->position, '\0', length))
                return -EBADMSG;
        *ret = cursor->position;
        cursor->position += length + 1;
        cursor->left -= length + 1;
        return 0;
}

int fetch_message_decode(const void *data, size_t size, FetchMessage *ret) {
        Cursor cursor = { (char *) data, size };
        FetchMessage message = { 0 };
        uint8_t type;

        int r = cursor_get(&cursor, &type, sizeof(type));
        if (r < 0)
                return r;
        if (type >= _FETCH_TYPE_MAX)
                return -EBADMSG;
        message.type = (FetchType) type;
        for (const Field *f = fields[type]; r >= 0 && f->kind != FIELD_END; f++) {
                void *member = (char *) &message + f->offset;
                switch (f->kind) {
                case FIELD_NUMBER:
                        r = cursor_get(&cursor, member, sizeof(uint32_t));
                        break;
                case FIELD_LARGE:
                        r = cursor_get(&cursor, member, sizeof(uint64_t));
                        break;
                default:
                        r = cursor_get_string(&cursor, (const char **) member);
                }
        }
        if (r < 0)
                return r;
        if (cursor.left > 0)
                return -EBADMSG;
        *ret = message;
        return 0;
}
