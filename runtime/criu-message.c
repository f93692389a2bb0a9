/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/criu-message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/macros.h"

#define VARINT 0U
#define FIXED64 1U
#define BYTES 2U
#define FIXED32 5U
#define VARINT_MAX 10

static void add_bytes(CriuMessage *message, const void *data, size_t size) {
        uint8_t *larger = message->failed ? NULL : realloc(message->data, message->size + size + 1);
        if (!larger) {
                message->failed = true;
                return;
        }
        message->data = larger;
        if (size > 0)
                memcpy(larger + message->size, data, size);
        message->size += size;
}

static void add_varint(CriuMessage *message, uint64_t number) {
        uint8_t bytes[VARINT_MAX];
        size_t n = 0;
        do {
                bytes[n] = (uint8_t) (number & 0x7f);
                number >>= 7;
                bytes[n] |= number ? 0x80 : 0;
                n++;
        } while (number);
        add_bytes(message, bytes, n);
}

static void add_block(CriuMessage *message, unsigned field, const void *data, size_t size) {
        add_varint(message, field << 3 | BYTES);
        add_varint(message, size);
        add_bytes(message, data, size);
}

void criu_message_add_number(CriuMessage *message, unsigned field, uint64_t number) {
        add_varint(message, field << 3 | VARINT);
        add_varint(message, number);
}

void criu_message_add_text(CriuMessage *message, unsigned field, const char *text) {
        add_block(message, field, text, strlen(text));
}

void criu_message_add_pair(CriuMessage *message, unsigned field, const char *text, uint64_t number) {
        CriuMessage pair = { 0 };
        criu_message_add_text(&pair, 1, text);
        criu_message_add_number(&pair, 2, number);
        add_block(message, field, pair.data, pair.failed ? 0 : pair.size);
        message->failed |= pair.failed;
        criu_message_done(&pair);
}

static int take(CriuMessage *message, CriuMessage *ret) {
        if (message->failed) {
                criu_message_done(message);
                return -ENOMEM;
        }
        *ret = *message;
        return 0;
}

int criu_message_build_request(CriuRequestType type, const CriuMessage *options, CriuMessage *ret) {
        CriuMessage request = { .failed = options->failed };
        criu_message_add_number(&request, 1, type);
        add_block(&request, 2, options->data, options->size);
        return take(&request, ret);
}

int criu_message_build_reply(bool success, CriuMessage *ret) {
        CriuMessage reply = { 0 };
        criu_message_add_number(&reply, 1, CRIU_NOTIFY);
        criu_message_add_number(&reply, 3, success);
        return take(&reply, ret);
}

void criu_message_done(CriuMessage *message) {
        free(message->data);
        *message = (CriuMessage){ 0 };
}

typedef struct Reader {
        const uint8_t *data;
        size_t size;
} Reader;

typedef struct Field {
        unsigned number, wire;
        uint64_t value;
        Reader block;
} Field;

static int read_varint(Reader *reader, uint64_t *ret) {
        uint64_t number = 0;
        for (unsigned i = 0; i < VARINT_MAX; i++) {
                if (reader->size == 0)
                        return -EBADMSG;
                uint8_t byte = *reader->data++;
                reader->size--;
                number |= (uint64_t) (byte & 0x7f) << (7 * i);
                if (!(byte & 0x80)) {
                        *ret = number;
                        return 0;
                }
        }
        return -EBADMSG;
}

static int read_block(Reader *reader, uint64_t size, Reader *ret) {
        if (size > reader->size)
                return -EBADMSG;
        *ret = (Reader){ reader->data, (size_t) size };
        reader->data += size;
        reader->size -= (size_t) size;
        return 0;
}

/* 1, and 0 at the end. */
static int read_field(Reader *reader, Field *ret) {
        uint64_t key;
        if (reader->size == 0)
                return 0;
        int r = read_varint(reader, &key);
        if (r < 0)
                return r;
        *ret = (Field){ .number = (unsigned) MIN_OF(key >> 3, UINT32_MAX), .wire = key & 7 };
        switch (ret->wire) {
        case VARINT:
                r = read_varint(reader, &ret->value);
                break;
        case BYTES:
                r = read_varint(reader, &ret->value);
                r = r < 0 ? r : read_block(reader, ret->value, &ret->block);
                break;
        case FIXED64:
        case FIXED32:
                r = read_block(reader, ret->wire == FIXED64 ? 8 : 4, &ret->block);
                break;
        default:
                return -EBADMSG;
        }
        return r < 0 ? r : 1;
}

static void copy_text(const Reader *block, char *text, size_t room) {
        size_t n = MIN_OF(block->size, room - 1);
        if (n > 0)
                memcpy(text, block->data, n);
        text[n] = '\0';
}

/* criu_restore_resp has the pid first, criu_notify has it second, after the name. */
static int read_within(Reader reader, bool notify, CriuAnswer *answer) {
        Field field;
        int r;
        while ((r = read_field(&reader, &field)) > 0)
                if (field.wire == VARINT && field.number == (notify ? 2U : 1U))
                        answer->pid = field.value > 0 && field.value <= INT32_MAX ? (pid_t) field.value : 0;
                else if (field.wire == BYTES && notify && field.number == 1)
                        copy_text(&field.block, answer->script, sizeof(answer->script));
        return r;
}

int criu_answer_parse(const uint8_t *data, size_t size, CriuAnswer *ret) {
        Reader reader = { data, size };
        CriuAnswer answer = { 0 };
        Field field;
        int r;
        while ((r = read_field(&reader, &field)) > 0) {
                if (field.wire == VARINT && field.number == 1)
                        answer.type = (unsigned) MIN_OF(field.value, UINT32_MAX);
                else if (field.wire == VARINT && field.number == 2)
                        answer.success = field.value != 0;
                else if (field.wire == BYTES && (field.number == 4 || field.number == 5))
                        r = read_within(field.block, field.number == 5, &answer);
                else if (field.wire == BYTES && field.number == 9)
                        copy_text(&field.block, answer.error, sizeof(answer.error));
                if (r < 0)
                        return r;
        }
        if (r < 0 || answer.type == 0)
                return -EBADMSG;
        *ret = answer;
        return 0;
}
