/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-document: what indexes, manifests and image configs say, in plain records (document-protocol.h). JSON
 * from registries is parsed here and nowhere else, and there is nothing to be had: no file can be opened, no
 * process started, no address reached. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/message.h"
#include "lib/sandbox.h"
#include "services/images/document-protocol.h"
#include "services/images/document.h"

/* json-c takes hundreds of bytes for two of "[[],[],…". */
#define MEMORY_LIMIT (UINT64_C(256) << 20)
#define PROCESSOR_SECONDS 20
#define DESCRIPTOR_LIMIT 16

static int write_answer(int fd, const Document *document) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        int r = record_writer_new_into(fd, &writer);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        r = document_write(document, writer);
        return r < 0 ? r : record_writer_flush(writer);
}

static int parse(const DocumentOrder *order, int *fds, Document *ret, Fault *fault) {
        size_t limit = order->is_config ? LIMIT_IMAGE_CONFIG_SIZE : LIMIT_MANIFEST_SIZE;
        _cleanup_free_ char *data = NULL;
        size_t size = 0;

        int r = fd_read_all(fds[0], limit, &data, &size);
        if (r == -EFBIG)
                return fault_set(fault, -EBADMSG, "is longer than %zu bytes", limit);
        if (r < 0)
                return fault_set_errno(fault, r, "can't be read");
        return document_parse(data, size, order->is_config, order->media_type[0] ? order->media_type : NULL,
                              ret, fault);
}

static int serve_one(const DocumentOrder *order, int *fds, Fault *fault) {
        _cleanup_(document_done) Document document = { 0 };
        int r = parse(order, fds, &document, fault);
        if (r < 0)
                return r;
        r = write_answer(TAKE_FD(fds[1]), &document);
        return r == -EFBIG ? fault_set(fault, -EBADMSG, "says more than an image needs") : r;
}

static int reply(int r, const Fault *fault) {
        DocumentAnswer answer = { .error = r };
        if (r < 0)
                (void) snprintf(answer.sentence, sizeof(answer.sentence), "%s", fault_text(fault, r));
        return message_send(DOCUMENT_FD_CONTROL, &answer, sizeof(answer), NULL, 0);
}

static int serve(void) {
        for (;;) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                DocumentOrder order;
                int fds[MESSAGE_FDS_MAX];
                size_t count = 0;

                ssize_t n = message_receive(DOCUMENT_FD_CONTROL, &order, sizeof(order), fds, &count);
                if (n <= 0)
                        return (int) n;
                order.media_type[sizeof(order.media_type) - 1] = '\0';
                int r = n == sizeof(order) && count == 2 ? 0 : -EPROTO;
                if (r >= 0)
                        r = reply(serve_one(&order, fds, &fault), &fault);
                fd_close_many(fds, count);
                if (r < 0)
                        return r;
        }
}

int main(void) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const Sandbox sandbox = {
                .profile = SANDBOX_STREAM,
                .memory_limit = MEMORY_LIMIT,
                .file_limit = DOCUMENT_ANSWER_MAX,
                .processor_limit = PROCESSOR_SECONDS,
                .descriptor_limit = DESCRIPTOR_LIMIT,
        };
        (void) signal(SIGXFSZ, SIG_IGN); /* -EFBIG instead */
        int r = sandbox_enter(&sandbox, &fault);
        if (r < 0) {
                (void) reply(r, &fault);
                return EXIT_FAILURE;
        }
        return serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
