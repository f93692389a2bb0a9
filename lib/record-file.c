/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/record-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define BUFFER_SIZE (64U * 1024U)
#define DIGITS "0123456789abcdef"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct RecordWriter {
        int fd;
        size_t written;
        size_t used; /* of the buffer */
        char buffer[BUFFER_SIZE];
};

/* ---- writing ---- */

int record_writer_new(const char *name, RecordWriter **ret) {
        _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        int r = record_writer_new_into(fd, ret);
        if (r >= 0)
                TAKE_FD(fd);
        return r;
}

int record_writer_new_into(int fd, RecordWriter **ret) {
        RecordWriter *writer = malloc(sizeof(RecordWriter));
        if (!writer)
                return -ENOMEM;
        writer->written = writer->used = 0;
        writer->fd = fd;
        *ret = writer;
        return 0;
}

RecordWriter *record_writer_free(RecordWriter *writer) {
        if (!writer)
                return NULL;
        fd_close(writer->fd);
        free(writer);
        return NULL;
}

int record_writer_flush(RecordWriter *writer) {
        int r = fd_write_all(writer->fd, writer->buffer, writer->used);
        if (r < 0)
                return r;
        writer->written += writer->used;
        writer->used = 0;
        return 0;
}

static int writer_put(RecordWriter *writer, const char *data, size_t size) {
        if (size > RECORD_FILE_MAX || record_writer_size(writer) + size > RECORD_FILE_MAX)
                return -EFBIG;
        while (size > 0) {
                if (writer->used == BUFFER_SIZE) {
                        int r = record_writer_flush(writer);
                        if (r < 0)
                                return r;
                }
                size_t piece = MIN_OF(size, BUFFER_SIZE - writer->used);
                memcpy(writer->buffer + writer->used, data, piece);
                writer->used += piece;
                data += piece;
                size -= piece;
        }
        return 0;
}

static bool is_control(unsigned char c) {
        return c < ' ' || c == 0x7f;
}

static bool is_plain(const char *text) {
        for (; *text; text++)
                if (is_control((unsigned char) *text))
                        return false;
        return true;
}

static int writer_put_plain(RecordWriter *writer, const char *text) {
        return is_plain(text) ? writer_put(writer, text, strlen(text)) : -EINVAL;
}

/* "\\0a": a backslash, and the byte in two digits, for control characters and the backslash itself. */
static int writer_put_escaped(RecordWriter *writer, const char *text) {
        int r = 0;
        while (r >= 0 && *text) {
                size_t plain = 0;
                while (text[plain] && text[plain] != '\\' && !is_control((unsigned char) text[plain]))
                        plain++;
                r = writer_put(writer, text, plain);
                text += plain;
                if (r < 0 || !*text)
                        break;
                unsigned char c = (unsigned char) *text++;
                const char escape[3] = { '\\', DIGITS[c >> 4], DIGITS[c & 15] };
                r = writer_put(writer, escape, sizeof(escape));
        }
        return r;
}

int record_writer_add(RecordWriter *writer, const char *types, ...) {
        va_list arguments;
        char number[24];
        int r = 0;

        va_start(arguments, types);
        for (const char *type = types; r >= 0 && *type; type++) {
                const char *text = number;
                if (*type == 'u')
                        (void) snprintf(number, sizeof(number), "%" PRIu64, va_arg(arguments, uint64_t));
                else
                        text = va_arg(arguments, const char *);
                if (!text)
                        text = "";
                r = *type == 't' ? writer_put_escaped(writer, text) : writer_put_plain(writer, text);
                if (r >= 0)
                        r = writer_put(writer, type[1] ? "\t" : "\n", 1);
        }
        va_end(arguments);
        return r;
}

size_t record_writer_size(const RecordWriter *writer) {
        return writer->written + writer->used;
}

int record_writer_finish(RecordWriter *writer) {
        int r = record_writer_flush(writer);
        if (r < 0)
                return r;
        if (lseek(writer->fd, 0, SEEK_SET) < 0 || fcntl(writer->fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        return TAKE_FD(writer->fd);
}

/* ---- reading ---- */

int record_file_open(int fd, RecordFile *ret) {
        struct stat st;
        int seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0)
                return errno == EINVAL ? -EINVAL : -errno;
        if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) !=
            (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
                return -EINVAL;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size > (off_t) RECORD_FILE_MAX)
                return -EFBIG;
        *ret = RECORD_FILE_NULL;
        if (st.st_size == 0)
                return 0;
        void *data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return -errno;
        *ret = (RecordFile){ .data = data, .size = (size_t) st.st_size };
        return 0;
}

void record_file_done(RecordFile *file) {
        if (file->data)
                (void) munmap((void *) file->data, file->size);
        *file = RECORD_FILE_NULL;
}

int record_file_next(RecordFile *file, RecordField ret_fields[RECORD_FIELDS_MAX]) {
        if (file->position == file->size)
                return 0;
        const char *line = file->data + file->position;
        const char *end = memchr(line, '\n', file->size - file->position);
        if (!end)
                return -EBADMSG;
        size_t count = 0;
        memset(ret_fields, 0, sizeof(*ret_fields) * RECORD_FIELDS_MAX);
        ret_fields[0].data = line;
        for (const char *p = line; p <= end; p++) {
                if (p < end && *p != '\t') {
                        if (is_control((unsigned char) *p))
                                return -EBADMSG;
                        continue;
                }
                ret_fields[count].length = (size_t) (p - ret_fields[count].data);
                if (p == end)
                        break;
                if (++count == RECORD_FIELDS_MAX)
                        return -EBADMSG;
                ret_fields[count].data = p + 1;
        }
        for (count++; count < RECORD_FIELDS_MAX; count++)
                ret_fields[count].data = end;
        file->position = (size_t) (end + 1 - file->data);
        return 1;
}

void record_file_drop(RecordFile *file) {
        size_t whole = file->position & ~((size_t) sysconf(_SC_PAGESIZE) - 1);
        if (whole > 0)
                (void) madvise((void *) file->data, whole, MADV_DONTNEED);
}

bool record_field_equal(const RecordField *field, const char *text) {
        return strlen(text) == field->length && memcmp(field->data, text, field->length) == 0;
}

char *record_field_copy(const RecordField *field) {
        return strndup(field->data, field->length);
}

static int digit_value(char c) {
        const char *digit = c ? strchr(DIGITS, c) : NULL;
        return digit ? (int) (digit - DIGITS) : -EBADMSG;
}

int record_field_text(const RecordField *field, char **ret) {
        _cleanup_free_ char *text = malloc(field->length + 1);
        size_t length = 0;
        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < field->length; i++) {
                char c = field->data[i];
                if (c == '\\') {
                        if (field->length - i < 3)
                                return -EBADMSG;
                        int high = digit_value(field->data[i + 1]), low = digit_value(field->data[i + 2]);
                        if (high < 0 || low < 0)
                                return -EBADMSG;
                        c = (char) (high << 4 | low);
                        if (c == '\0' || (c != '\\' && !is_control((unsigned char) c)))
                                return -EBADMSG;
                        i += 2;
                }
                text[length++] = c;
        }
        text[length] = '\0';
        if (!string_is_utf8(text, length))
                return -EBADMSG;
        *ret = TAKE_PTR(text);
        return 0;
}

int record_field_number(const RecordField *field, uint64_t *ret) {
        uint64_t value = 0;
        for (size_t i = 0; i < field->length; i++) {
                unsigned digit = (unsigned) (field->data[i] - '0');
                if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, digit, &value))
                        return -EBADMSG;
        }
        *ret = value;
        return 0;
}
