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

#define BUFFER_SIZE (64U * 1024U)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct RecordWriter {
        int fd;
        size_t written;
        size_t used; /* of the buffer */
        char buffer[BUFFER_SIZE];
};

/* ---- writing ---- */

int record_writer_new(const char *name, RecordWriter **ret) {
        _cleanup_(record_writer_freep) RecordWriter *writer = malloc(sizeof(RecordWriter));
        if (!writer)
                return -ENOMEM;
        writer->written = writer->used = 0;
        writer->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (writer->fd < 0)
                return -errno;
        *ret = TAKE_PTR(writer);
        return 0;
}

RecordWriter *record_writer_free(RecordWriter *writer) {
        if (!writer)
                return NULL;
        fd_close(writer->fd);
        free(writer);
        return NULL;
}

static int writer_flush(RecordWriter *writer) {
        int r = fd_write_all(writer->fd, writer->buffer, writer->used);
        if (r < 0)
                return r;
        writer->written += writer->used;
        writer->used = 0;
        return 0;
}

static int writer_put(RecordWriter *writer, const char *data, size_t size) {
        if (size > BUFFER_SIZE)
                return -EINVAL;
        if (record_writer_size(writer) + size > RECORD_FILE_MAX)
                return -EFBIG;
        if (writer->used + size > BUFFER_SIZE) {
                int r = writer_flush(writer);
                if (r < 0)
                        return r;
        }
        memcpy(writer->buffer + writer->used, data, size);
        writer->used += size;
        return 0;
}

static bool is_plain(const char *text) {
        for (; *text; text++)
                if ((unsigned char) *text < ' ' || *text == 0x7f)
                        return false;
        return true;
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
                r = is_plain(text) ? writer_put(writer, text, strlen(text)) : -EINVAL;
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
        int r = writer_flush(writer);
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
                        if ((unsigned char) *p < ' ' || *p == 0x7f)
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
