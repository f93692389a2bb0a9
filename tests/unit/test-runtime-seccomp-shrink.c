/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program made smaller answers as before: for profiles' usual shapes, and for whatever chance writes. */

#include <stddef.h>

#include "lib/macros.h"
#include "runtime/seccomp-shrink.h"
#include "tests/unit/check.h"
#include "tests/unit/classic-bpf.h"

#define NUMBER offsetof(struct seccomp_data, nr)
#define ARCHITECTURE offsetof(struct seccomp_data, arch)
#define ARGUMENT offsetof(struct seccomp_data, args)
#define LOAD(offset) ((struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset)))
#define RETURN(value) ((struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (value)))
#define COMPARE(how, value, yes, no)                                                                        \
        ((struct sock_filter) BPF_JUMP(BPF_JMP | BPF_K | (how), (value), (yes), (no)))
#define SIZE_MOST 700

static uint64_t chance_state;

static uint32_t chance(uint32_t below) {
        chance_state = chance_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        return (uint32_t) (chance_state >> 33) % below;
}

static void check_same_answers(const struct sock_filter *old, size_t old_count,
                               const struct sock_filter *filter, size_t count, uint32_t numbers) {
        static const uint32_t far[] = { 0x40000000, 0x40000005, 0x7fffffff,
                                        0x80000000, 0xfffffffe, 0xffffffff };
        for (uint32_t a = 0; a < 10; a++)
                for (uint32_t n = 0; n < numbers + ELEMENTS_OF(far); n++)
                        for (uint32_t argument = 0; argument < 12; argument++) {
                                uint32_t number = n < numbers ? n : far[n - numbers];
                                struct seccomp_data data = {
                                        .nr = (int) number,
                                        .arch = a < 8 ? a : far[a - 8],
                                        .args = { argument, UINT64_MAX - argument },
                                };
                                uint32_t was = classic_bpf_run(old, old_count, &data);
                                uint32_t is = classic_bpf_run(filter, count, &data);
                                CHECK_FORMAT(was == is,
                                             "architecture %u, call %u, argument %u: %#x became %#x",
                                             data.arch, number, argument, was, is);
                        }
}

static void a_list_becomes_a_few_ranges(void) {
        struct sock_filter old[SIZE_MOST], filter[SIZE_MOST];
        size_t count = 0, old_count;
        old[count++] = LOAD(ARCHITECTURE);
        old[count++] = COMPARE(BPF_JEQ, 7, 1, 0);
        old[count++] = RETURN(SECCOMP_RET_KILL_THREAD);
        old[count++] = LOAD(NUMBER);
        for (uint32_t number = 0; number < 300; number++)
                if (number != 100 && number != 200) {
                        old[count++] = COMPARE(BPF_JEQ, number, 0, 1);
                        old[count++] = RETURN(SECCOMP_RET_ALLOW);
                }
        old[count++] = RETURN(SECCOMP_RET_ERRNO | 1);
        old_count = count;
        memcpy(filter, old, sizeof(old));
        CHECK_INT(seccomp_shrink(filter, &count), 1);
        CHECK_FORMAT(count < 25, "%zu instructions", count);
        check_same_answers(old, old_count, filter, count, 320);
}

static void arguments_are_asked_for_as_before(void) {
        struct sock_filter old[SIZE_MOST], filter[SIZE_MOST];
        size_t count = 0, old_count;
        old[count++] = LOAD(NUMBER);
        for (uint32_t number = 0; number < 100; number++) {
                bool asks = number % 10 == 3;
                old[count++] = COMPARE(BPF_JEQ, number, 0, asks ? 5 : 1);
                if (asks) {
                        old[count++] = LOAD(ARGUMENT);
                        old[count++] = COMPARE(BPF_JEQ, number / 10, 0, 1);
                        old[count++] = RETURN(SECCOMP_RET_ERRNO | (number & 0xff));
                        old[count++] = LOAD(NUMBER);
                }
                old[count++] = RETURN(SECCOMP_RET_ALLOW);
        }
        old[count++] = RETURN(SECCOMP_RET_TRAP);
        old_count = count;
        memcpy(filter, old, sizeof(old));
        CHECK_INT(seccomp_shrink(filter, &count), 1);
        check_same_answers(old, old_count, filter, count, 110);
}

/* The kernel's own jump in a comparison is 255 at most. */
static void what_is_far_away_is_reached(void) {
        struct sock_filter old[SIZE_MOST], filter[SIZE_MOST];
        size_t count = 0, old_count;
        old[count++] = LOAD(NUMBER);
        for (uint32_t number = 0; number < 300; number++) {
                old[count++] = COMPARE(BPF_JEQ, number, 0, 1);
                old[count++] = number % 40 == 0 ? RETURN(SECCOMP_RET_ERRNO | number)
                                                : RETURN(SECCOMP_RET_TRACE | number % 3);
        }
        for (int i = 0; i < 30; i++)
                old[count++] = COMPARE(BPF_JEQ, 5, 0, 0);
        old[count++] = RETURN(SECCOMP_RET_ALLOW);
        old_count = count;
        memcpy(filter, old, sizeof(old));
        (void) seccomp_shrink(filter, &count);
        check_same_answers(old, old_count, filter, count, 310);
}

static struct sock_filter any_instruction(size_t left) {
        static const uint16_t hows[] = { BPF_JEQ, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET };
        static const uint32_t offsets[] = { NUMBER, NUMBER, ARCHITECTURE, ARGUMENT, ARGUMENT + 8 };
        uint32_t yes = chance((uint32_t) (left < 6 ? left : 6)),
                 no = chance((uint32_t) (left < 6 ? left : 6));
        switch (chance(20)) {
        case 0:
        case 1:
        case 2:
                return LOAD(offsets[chance(ELEMENTS_OF(offsets))]);
        case 3:
                return (struct sock_filter) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, chance(16));
        case 4:
                return (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, yes);
        case 5:
        case 6:
                return RETURN(SECCOMP_RET_ERRNO | chance(4));
        default:
                return COMPARE(hows[chance(ELEMENTS_OF(hows) - (chance(8) > 0))], chance(12), (uint8_t) yes,
                               (uint8_t) no);
        }
}

static void whatever_chance_writes_answers_as_before(void) {
        struct sock_filter old[64], filter[64];
        size_t shrunk = 0;
        chance_state = 1;
        for (int round = 0; round < 20000; round++) {
                size_t size = 4 + chance(40), count = size;
                old[0] = LOAD(chance(2) ? NUMBER : ARCHITECTURE);
                for (size_t i = 1; i + 1 < size; i++)
                        old[i] = any_instruction(size - 1 - i);
                old[size - 1] = RETURN(SECCOMP_RET_ALLOW);
                memcpy(filter, old, sizeof(old));
                int r = seccomp_shrink(filter, &count);
                CHECK(r == 0 || (r == 1 && count < size));
                CHECK(r == 1 || (count == size && memcmp(old, filter, size * sizeof(old[0])) == 0));
                shrunk += r == 1;
                if (r == 1)
                        check_same_answers(old, size, filter, count, 14);
        }
        CHECK_FORMAT(shrunk > 1000, "only %zu became smaller", shrunk);
}

static void what_is_not_understood_stays(void) {
        struct sock_filter filter[] = {
                LOAD(NUMBER),
                BPF_STMT(BPF_MISC | BPF_TAX, 0),
                COMPARE(BPF_JEQ, 1, 0, 1),
                RETURN(SECCOMP_RET_ALLOW),
                RETURN(SECCOMP_RET_ALLOW),
        };
        size_t count = ELEMENTS_OF(filter);
        CHECK_INT(seccomp_shrink(filter, &count), 0);
        filter[1] = COMPARE(BPF_JEQ, 1, 200, 0);
        CHECK_INT(seccomp_shrink(filter, &count), 0);
        CHECK_INT(count, ELEMENTS_OF(filter));
        count = 0;
        CHECK_INT(seccomp_shrink(filter, &count), 0);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_list_becomes_a_few_ranges),
                CHECK_CASE(arguments_are_asked_for_as_before),
                CHECK_CASE(what_is_far_away_is_reached),
                CHECK_CASE(whatever_chance_writes_answers_as_before),
                CHECK_CASE(what_is_not_understood_stays),
                {},
        });
}
