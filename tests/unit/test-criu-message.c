/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What criu is asked, byte by byte, and what is believed of its answers. */

#include <errno.h>

#include "runtime/criu-message.h"
#include "tests/unit/check.h"

static void requests_are_protocol_buffers(void) {
        CriuMessage options = { 0 }, request = { 0 };
        criu_message_add_number(&options, CRIU_IMAGES_DIR_FD, 300);
        criu_message_add_text(&options, CRIU_ROOT, "/r");
        criu_message_add_pair(&options, CRIU_INHERIT_FD, "pipe:[1]", 2);
        CHECK_INT(criu_message_build_request(CRIU_RESTORE, &options, &request), 0);
        /* criu_req: type 2, opts (22 bytes). */
        static const uint8_t head[] = { 0x08, 0x02, 0x12, 22 };
        static const uint8_t body[] = { 0x08, 0xac, 0x02,      /* images_dir_fd 300 */
                                        0x6a, 0x02, '/',  'r', /* root */
                                        0xda, 0x01, 12,        /* inherit_fd */
                                        0x0a, 0x08, 'p',  'i', 'p', 'e', ':', '[', '1', ']', 0x10, 0x02 };
        CHECK_INT(request.size, sizeof(head) + sizeof(body));
        CHECK(memcmp(request.data, head, sizeof(head)) == 0);
        CHECK(memcmp(request.data + sizeof(head), body, sizeof(body)) == 0);
        criu_message_done(&options);
        criu_message_done(&request);

        static const uint8_t yes[] = { 0x08, 0x06, 0x18, 0x01 };
        CHECK_INT(criu_message_build_reply(true, &request), 0);
        CHECK_INT(request.size, sizeof(yes));
        CHECK(memcmp(request.data, yes, sizeof(yes)) == 0);
        criu_message_done(&request);
}

#define ANSWER(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static void answers_are_read(void) {
        CriuAnswer answer;
        CHECK_INT(criu_answer_parse(ANSWER(0x08, 2, 0x10, 1, 0x22, 3, 0x08, 0xac, 0x02), &answer), 0);
        CHECK_INT(answer.type, CRIU_RESTORE);
        CHECK(answer.success);
        CHECK_INT(answer.pid, 300);
        CHECK(answer.error[0] == 0);

        CHECK_INT(criu_answer_parse(ANSWER(0x08, 6, 0x10, 1, 0x2a, 6, 0x0a, 2, 'n', 's', 0x10, 7), &answer),
                  0);
        CHECK_INT(answer.type, CRIU_NOTIFY);
        CHECK_STRING(answer.script, "ns");
        CHECK_INT(answer.pid, 7);

        /* With fields that nobody asked for: a message, a fixed32, a fixed64; and what went wrong. */
        CHECK_INT(criu_answer_parse(ANSWER(0x08, 1, 0x10, 0, 0x52, 2, 0x08, 3, 0x7d, 1, 2, 3, 4, 0x79, 1, 2,
                                           3, 4, 5, 6, 7, 8, 0x4a, 3, 'b', 'a', 'd'),
                                    &answer),
                  0);
        CHECK(!answer.success);
        CHECK(strcmp(answer.error, "bad") == 0);
        CHECK_INT(answer.pid, 0);
}

static void what_is_no_answer_is_refused(void) {
        static const uint8_t good[] = { 0x08, 6, 0x10, 1, 0x2a, 6, 0x0a, 2, 'n', 's', 0x10, 7 };
        CriuAnswer answer;
        CHECK_INT(criu_answer_parse(good, 0, &answer), -EBADMSG);
        for (size_t n = 1; n < sizeof(good); n++)
                if (n != 2 && n != 4) /* whole fields */
                        CHECK_FORMAT(criu_answer_parse(good, n, &answer) == -EBADMSG, "%zu bytes", n);
        CHECK_INT(criu_answer_parse(ANSWER(0x10, 1), &answer), -EBADMSG);
        CHECK_INT(criu_answer_parse(ANSWER(0x08, 2, 0x0b), &answer), -EBADMSG);
        CHECK_INT(criu_answer_parse(
                          ANSWER(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
                          &answer),
                  -EBADMSG);
        CHECK_INT(criu_answer_parse(
                          ANSWER(0x08, 2, 0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
                          &answer),
                  -EBADMSG);
        /* A number that is no pid is none; a long text is cut. */
        CHECK_INT(criu_answer_parse(ANSWER(0x08, 2, 0x22, 11, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0x01),
                                    &answer),
                  0);
        CHECK_INT(answer.pid, 0);
        uint8_t text[3000] = { 0x08, 1, 0x4a, 0xb3, 0x17 };
        memset(text + 5, 'x', sizeof(text) - 5);
        CHECK_INT(criu_answer_parse(text, sizeof(text), &answer), 0);
        CHECK_INT(strlen(answer.error), sizeof(answer.error) - 1);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(requests_are_protocol_buffers),
                CHECK_CASE(answers_are_read),
                CHECK_CASE(what_is_no_answer_is_refused),
                {},
        });
}
