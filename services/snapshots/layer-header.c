/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-header.h"

#include <errno.h>
#include <string.h>

typedef struct Field {
        size_t offset;
        size_t size;
} Field;

/* POSIX.1-2017, pax, "ustar Interchange Format"; before that, of all formats. */
static const Field field_name = { 0, 100 }, field_mode = { 100, 8 }, field_uid = { 108, 8 },
                   field_gid = { 116, 8 }, field_size = { 124, 12 }, field_mtime = { 136, 12 },
                   field_checksum = { 148, 8 }, field_link = { 157, 100 }, field_magic = { 257, 6 },
                   field_version = { 263, 2 }, field_major = { 329, 8 }, field_minor = { 337, 8 },
                   field_prefix = { 345, 155 };
#define TYPE_OFFSET 156

/* star has times in the last part of the prefix, and a mark at the very end. */
#define STAR_PREFIX_SIZE ((size_t) 131)
#define STAR_MARK_OFFSET 508

bool layer_header_is_end(const uint8_t block[LAYER_BLOCK_SIZE]) {
        return block[0] == 0 && memcmp(block, block + 1, LAYER_BLOCK_SIZE - 1) == 0;
}

/* Two's complement, the first bit apart. */
static int parse_base_256(const uint8_t *field, size_t size, int64_t *ret) {
        uint8_t invert = field[0] & 0x40 ? 0xff : 0;
        uint64_t value = 0;
        for (size_t i = 0; i < size; i++) {
                uint8_t byte = field[i] ^ invert;
                if (i == 0)
                        byte &= 0x7f;
                if (value >> 55 != 0)
                        return -EBADMSG;
                value = value << 8 | byte;
        }
        *ret = invert ? -(int64_t) value - 1 : (int64_t) value;
        return 0;
}

static bool is_filler(uint8_t byte) {
        return byte == ' ' || byte == '\0';
}

int layer_number_parse(const uint8_t *field, size_t size, int64_t *ret) {
        if (field[0] & 0x80)
                return parse_base_256(field, size, ret);
        size_t begin = 0, end = size;
        while (begin < end && is_filler(field[begin]))
                begin++;
        while (end > begin && is_filler(field[end - 1]))
                end--;
        uint64_t value = 0;
        for (size_t i = begin; i < end && field[i] != '\0'; i++) {
                if (field[i] < '0' || field[i] > '7' || value >> 60 != 0)
                        return -EBADMSG;
                value = value << 3 | (uint64_t) (field[i] - '0');
        }
        *ret = (int64_t) value;
        return 0;
}

/* The field itself counts as spaces. Some old programs added signed characters. */
static bool checksum_is_right(const uint8_t *block) {
        int64_t expected, all = 0, all_signed = 0;
        if (layer_number_parse(block + field_checksum.offset, field_checksum.size, &expected) < 0)
                return false;
        for (size_t i = 0; i < LAYER_BLOCK_SIZE; i++) {
                all += block[i];
                all_signed += (int8_t) block[i];
        }
        for (size_t i = 0; i < field_checksum.size; i++) {
                uint8_t byte = block[field_checksum.offset + i];
                all += ' ' - byte;
                all_signed += ' ' - (int8_t) byte;
        }
        return expected == all || expected == all_signed;
}

static size_t copy_text(char *to, const uint8_t *block, Field field) {
        size_t n = strnlen((const char *) block + field.offset, field.size);
        memcpy(to, block + field.offset, n);
        to[n] = '\0';
        return n;
}

static bool field_is(const uint8_t *block, Field field, const char *text) {
        return memcmp(block + field.offset, text, field.size) == 0;
}

static void read_name(const uint8_t *block, bool is_ustar, LayerHeader *header) {
        size_t n = 0;
        if (is_ustar) {
                Field prefix = field_prefix;
                if (memcmp(block + STAR_MARK_OFFSET, "tar\0", 4) == 0)
                        prefix.size = STAR_PREFIX_SIZE;
                n = copy_text(header->name, block, prefix);
        }
        if (n > 0)
                header->name[n++] = '/';
        (void) copy_text(header->name + n, block, field_name);
}

static int read_number(const uint8_t *block, Field field, const char *what, int64_t *ret, Fault *fault) {
        if (layer_number_parse(block + field.offset, field.size, ret) < 0)
                return fault_set(fault, -EBADMSG, "the %s of a header is no number", what);
        return 0;
}

int layer_header_parse(const uint8_t block[LAYER_BLOCK_SIZE], LayerHeader *ret, Fault *fault) {
        if (!checksum_is_right(block))
                return fault_set(fault, -EBADMSG, "a header has a wrong checksum");
        bool is_ustar = field_is(block, field_magic, "ustar\0"),
             is_gnu = field_is(block, field_magic, "ustar ") && field_is(block, field_version, " \0");
        const struct {
                Field field;
                const char *name;
                int64_t *ret;
                bool wanted;
        } numbers[] = {
                { field_uid, "owner", &ret->uid, true },
                { field_gid, "group", &ret->gid, true },
                { field_size, "size", &ret->size, true },
                { field_mtime, "time", &ret->mtime, true },
                { field_major, "device number", &ret->major, is_ustar || is_gnu },
                { field_minor, "device number", &ret->minor, is_ustar || is_gnu },
        };
        int64_t mode;
        int r = read_number(block, field_mode, "mode", &mode, fault);
        ret->major = ret->minor = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(numbers); i++)
                if (numbers[i].wanted)
                        r = read_number(block, numbers[i].field, numbers[i].name, numbers[i].ret, fault);
        if (r < 0)
                return r;
        ret->type = (char) block[TYPE_OFFSET];
        ret->is_gnu = is_gnu;
        ret->mode = (mode_t) (mode & 07777);
        (void) copy_text(ret->link, block, field_link);
        read_name(block, is_ustar, ret);
        return 0;
}
