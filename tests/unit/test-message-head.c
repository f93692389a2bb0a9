/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/message-head.h"

#include "lib/macros.h"
#include "tests/unit/check.h"

/* A call of A.B on "/x" by ":1.7" with three descriptors, of either byte order; its last field is UNIX_FDS.
 */
#define FIELDS_LITTLE                                                                                       \
        "\1\1o\0\2\0\0\0/x\0\0\0\0\0\0"                                                                     \
        "\2\1s\0\3\0\0\0A.B\0\0\0\0\0"                                                                      \
        "\10\1g\0\1h\0\0"                                                                                   \
        "\7\1s\0\4\0\0\0:1.7\0\0\0\0"                                                                       \
        "\11\1u\0\3\0\0\0"
#define FIELDS_BIG                                                                                          \
        "\1\1o\0\0\0\0\2/x\0\0\0\0\0\0"                                                                     \
        "\11\1u\0\0\0\0\3"                                                                                  \
        "\7\1s\0\0\0\0\4:1.7\0"
#define LITTLE "l\1\0\1\0\0\0\0\53\1\0\0\100\0\0\0" FIELDS_LITTLE
#define BIG "B\4\0\1\0\0\0\0\0\0\1\53\0\0\0\45" FIELDS_BIG

static void reads_both_byte_orders(void) {
        static const struct {
                const char *data;
                size_t size;
                int type;
        } cases[] = { { LITTLE, sizeof(LITTLE) - 1, 1 }, { BIG, sizeof(BIG) - 1, 4 } };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                MessageHead head = { 0 };
                CHECK_OK(message_head_read(cases[i].data, cases[i].size, &head));
                CHECK_INT(head.type, cases[i].type);
                CHECK_INT(head.serial, 0x12b);
                CHECK_INT(head.fds, 3);
                CHECK(strcmp(head.sender, ":1.7") == 0);
                /* What follows is the body's. */
                char more[256] = { 0 };
                memcpy(more, cases[i].data, cases[i].size);
                CHECK_OK(message_head_read(more, sizeof(more), &head));
                CHECK_INT(head.fds, 3);
        }
}

static void less_than_all_of_it_is_none(void) {
        for (size_t size = 0; size < sizeof(LITTLE) - 1; size++) {
                char *data = malloc(size ?: 1); /* for who looks at what is read beyond it */
                MessageHead head;
                CHECK(data);
                memcpy(data, LITTLE, size);
                int r = message_head_read(data, size, &head),
                    fixed = message_head_read_fixed(data, size, &head);
                free(data);
                CHECK_INT(r, -EBADMSG);
                CHECK_INT(fixed, size < 12 ? -EBADMSG : 0);
        }
}

/* Any byte may be wrong: it is read or it is not, and nothing beyond it ever. */
static void whatever_is_wrong_in_it(void) {
        enum { SIZE = sizeof(LITTLE) - 1 };
        for (size_t at = 0; at < SIZE; at++)
                for (int value = 0; value < 256; value++) {
                        uint8_t *data = malloc(SIZE);
                        MessageHead head = { 0 };
                        CHECK(data);
                        memcpy(data, LITTLE, SIZE);
                        data[at] = (uint8_t) value;
                        int r = message_head_read(data, SIZE, &head);
                        free(data);
                        CHECK(r == 0 || r == -EBADMSG);
                        CHECK(memchr(head.sender, 0, sizeof(head.sender)));
                }
}

static void a_name_that_is_too_long_is_none(void) {
        enum { LENGTH = 256, SIZE = 16 + 8 + LENGTH + 1 };
        uint8_t data[SIZE] = { 'l',
                               1,
                               0,
                               1,
                               [12] = (uint8_t) (SIZE - 16),
                               (SIZE - 16) >> 8,
                               [16] = 7,
                               1,
                               's',
                               0,
                               (uint8_t) LENGTH,
                               LENGTH >> 8 };
        MessageHead head = { 0 };
        memset(data + 24, 'x', LENGTH);
        CHECK_INT(message_head_read(data, sizeof(data), &head), -EBADMSG);
        data[20] = 255, data[21] = 0, data[12]--;
        CHECK_OK(message_head_read(data, sizeof(data), &head));
        CHECK_INT(strlen(head.sender), 255);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reads_both_byte_orders),
                CHECK_CASE(less_than_all_of_it_is_none),
                CHECK_CASE(whatever_is_wrong_in_it),
                CHECK_CASE(a_name_that_is_too_long_is_none),
                {},
        });
}
