/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/record-file.h"
#include "tests/unit/check.h"

static int sealed(const char *text, size_t size) {
        return fd_new_sealed_memfd("test", text, size);
}

static void gives_back_what_was_written(void) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        _cleanup_(record_file_done) RecordFile file = RECORD_FILE_NULL;
        RecordField fields[RECORD_FIELDS_MAX];
        uint64_t number;

        CHECK_OK(record_writer_new("test", &writer));
        CHECK_OK(record_writer_add(writer, "ssu", "blob", "", UINT64_MAX));
        CHECK_OK(record_writer_add(writer, "sss", "with spaces", NULL, "äöü"));
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK(fd >= 0);
        CHECK_OK(record_file_open(fd, &file));
        CHECK(record_file_next(&file, fields) == 1);
        CHECK(record_field_equal(&fields[0], "blob"));
        CHECK(fields[1].length == 0);
        CHECK_OK(record_field_number(&fields[2], &number));
        CHECK(number == UINT64_MAX);
        CHECK(fields[3].length == 0 && fields[RECORD_FIELDS_MAX - 1].length == 0);
        CHECK(record_file_next(&file, fields) == 1);
        CHECK(record_field_equal(&fields[0], "with spaces"));
        CHECK(record_field_equal(&fields[2], "äöü"));
        CHECK(record_file_next(&file, fields) == 0);
        CHECK(record_file_next(&file, fields) == 0);
}

static void takes_a_long_list(void) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        _cleanup_(record_file_done) RecordFile file = RECORD_FILE_NULL;
        RecordField fields[RECORD_FIELDS_MAX];
        uint64_t number, expected = 0;

        CHECK_OK(record_writer_new("test", &writer));
        for (uint64_t i = 0; i < 50000; i++)
                CHECK_OK(record_writer_add(writer, "su", "sha256:0123456789abcdef", i));
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK_OK(record_file_open(fd, &file));
        while (record_file_next(&file, fields) > 0) {
                CHECK_OK(record_field_number(&fields[1], &number));
                CHECK(number == expected++);
        }
        CHECK(expected == 50000 && file.position == file.size);
}

static void refuses_control_characters_in_a_field(void) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        CHECK_OK(record_writer_new("test", &writer));
        CHECK_ERROR(record_writer_add(writer, "s", "a\tb"), -EINVAL);
        CHECK_ERROR(record_writer_add(writer, "s", "a\nb"), -EINVAL);
        CHECK_ERROR(record_writer_add(writer, "s", "a\177b"), -EINVAL);
}

static void carries_any_text(void) {
        static const char text[] = "a\tb\n\\\x01\x7f äöü\\09";
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        _cleanup_(record_file_done) RecordFile file = RECORD_FILE_NULL;
        _cleanup_free_ char *back = NULL, *large = malloc(300001), *large_back = NULL;
        RecordField fields[RECORD_FIELDS_MAX];

        memset(large, 'x', 300000);
        large[300000] = '\0';
        CHECK_OK(record_writer_new("test", &writer));
        CHECK_OK(record_writer_add(writer, "stt", "text", text, large));
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK_OK(record_file_open(fd, &file));
        CHECK(record_file_next(&file, fields) == 1);
        CHECK_OK(record_field_text(&fields[1], &back));
        CHECK_STRING(back, text);
        CHECK_OK(record_field_text(&fields[2], &large_back));
        CHECK(strcmp(large, large_back) == 0);
        CHECK(record_file_next(&file, fields) == 0);
}

static void refuses_text_that_is_not_written_so(void) {
        static const char *const texts[] = { "\\",   "\\0",  "a\\0", "\\00", "\\61",     "\\0A",
                                             "\\g0", "\\-1", "\\80", "\xff", "\xc0\x80", "\xed\xa0\x80" };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
                char *ret = NULL;
                CHECK_ERROR(record_field_text(&(RecordField){ texts[i], strlen(texts[i]) }, &ret), -EBADMSG);
                CHECK(!ret);
        }
}

static void refuses_what_can_still_be_changed(void) {
        RecordFile file;
        _cleanup_close_ int memory = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        _cleanup_close_ int disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        CHECK_ERROR(record_file_open(memory, &file), -EINVAL);
        CHECK_OK(fcntl(memory, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
        CHECK_ERROR(record_file_open(memory, &file), -EINVAL);
        CHECK_ERROR(record_file_open(disk, &file), -EINVAL);
}

static void refuses_what_is_no_record(void) {
        static const struct {
                const char *text;
                size_t size;
        } cases[] = {
                { "no end", 6 },  { "a\tb\tc\td\te\tf\tg\th\ti\tj\tk\n", 22 },
                { "a\0b\n", 4 },  { "\r\n", 2 },
                { "a\177\n", 3 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(record_file_done) RecordFile file = RECORD_FILE_NULL;
                RecordField fields[RECORD_FIELDS_MAX];
                _cleanup_close_ int fd = sealed(cases[i].text, cases[i].size);
                CHECK_OK(record_file_open(fd, &file));
                CHECK_ERROR(record_file_next(&file, fields), -EBADMSG);
        }
}

static void refuses_what_is_no_number(void) {
        static const char *const cases[] = { "x", "-1", "1 ", "18446744073709551616",
                                             "99999999999999999999999" };
        uint64_t number = 7;
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                RecordField field = { cases[i], strlen(cases[i]) };
                CHECK_ERROR(record_field_number(&field, &number), -EBADMSG);
                CHECK(number == 7);
        }
}

static void an_empty_list_has_no_records(void) {
        _cleanup_(record_file_done) RecordFile file = RECORD_FILE_NULL;
        RecordField fields[RECORD_FIELDS_MAX];
        _cleanup_close_ int fd = sealed("", 0);
        CHECK_OK(record_file_open(fd, &file));
        CHECK(record_file_next(&file, fields) == 0);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(gives_back_what_was_written),
                CHECK_CASE(takes_a_long_list),
                CHECK_CASE(carries_any_text),
                CHECK_CASE(refuses_text_that_is_not_written_so),
                CHECK_CASE(refuses_control_characters_in_a_field),
                CHECK_CASE(refuses_what_can_still_be_changed),
                CHECK_CASE(refuses_what_is_no_record),
                CHECK_CASE(refuses_what_is_no_number),
                CHECK_CASE(an_empty_list_has_no_records),
                {},
        });
}
