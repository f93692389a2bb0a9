/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the bytes of a registry to what crt-imagesd knows of them: what crt-document takes, the daemon takes
 * from it. The first byte says what is expected: 'c' a config, anything else an index or a manifest. */

#include <errno.h>

#include "lib/fd.h"
#include "services/images/document.h"
#include "tests/fuzz/fuzz.h"

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(document_done) Document document = { 0 }, told = { 0 };
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        _cleanup_free_ char *records = NULL;
        size_t length;

        if (size == 0)
                return fuzz_result(fault_set(&fault, -EBADMSG, "nothing"), &fault);
        int r = document_parse((const char *) data + 1, size - 1, data[0] == 'c', NULL, &document, &fault);
        if (r >= 0) {
                FUZZ_REQUIRE(record_writer_new("fuzz", &writer) >= 0);
                FUZZ_REQUIRE(document_write(&document, writer) >= 0);
                _cleanup_close_ int fd = record_writer_finish(writer);
                FUZZ_REQUIRE(fd_read_all(fd, SIZE_MAX / 2, &records, &length) >= 0);
                RecordFile file = { .data = records, .size = length };
                FUZZ_REQUIRE(document_read(&file, &told, NULL) >= 0);
                FUZZ_REQUIRE(told.kind == document.kind);
        }
        return fuzz_result(r, &fault);
}
