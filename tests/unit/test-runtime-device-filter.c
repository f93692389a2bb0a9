/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The program is run by a small interpreter of the instructions that it is made of. */

#include <linux/bpf.h>

#include "runtime/device-filter.h"
#include "tests/unit/check.h"

#define R BPF_DEVCG_ACC_READ
#define W BPF_DEVCG_ACC_WRITE
#define M BPF_DEVCG_ACC_MKNOD
#define C BPF_DEVCG_DEV_CHAR
#define B BPF_DEVCG_DEV_BLOCK

static uint32_t load(const struct bpf_cgroup_dev_ctx *context, int16_t offset) {
        uint32_t value;
        CHECK(offset >= 0 && (size_t) offset + 4 <= sizeof(*context));
        memcpy(&value, (const char *) context + offset, 4);
        return value;
}

static bool run(const struct bpf_insn *program, size_t count, const struct bpf_cgroup_dev_ctx *context) {
        uint32_t r[11] = { 0 };
        for (size_t pc = 0; pc < count; pc++) {
                const struct bpf_insn *i = &program[pc];
                uint32_t imm = (uint32_t) i->imm;
                switch (i->code) {
                case BPF_LDX | BPF_MEM | BPF_W:
                        r[i->dst_reg] = load(context, i->off);
                        break;
                case BPF_ALU | BPF_MOV | BPF_X:
                        r[i->dst_reg] = r[i->src_reg];
                        break;
                case BPF_ALU | BPF_MOV | BPF_K:
                        r[i->dst_reg] = imm;
                        break;
                case BPF_ALU | BPF_AND | BPF_K:
                        r[i->dst_reg] &= imm;
                        break;
                case BPF_ALU | BPF_RSH | BPF_K:
                        r[i->dst_reg] >>= imm;
                        break;
                case BPF_JMP32 | BPF_JNE | BPF_K:
                        pc += r[i->dst_reg] != imm ? (size_t) i->off : 0;
                        break;
                case BPF_JMP32 | BPF_JEQ | BPF_K:
                        pc += r[i->dst_reg] == imm ? (size_t) i->off : 0;
                        break;
                case BPF_JMP32 | BPF_JSET | BPF_K:
                        pc += (r[i->dst_reg] & imm) ? (size_t) i->off : 0;
                        break;
                case BPF_JMP32 | BPF_JGT | BPF_K:
                        pc += r[i->dst_reg] > imm ? (size_t) i->off : 0;
                        break;
                case BPF_JMP32 | BPF_JLE | BPF_K:
                        pc += r[i->dst_reg] <= imm ? (size_t) i->off : 0;
                        break;
                case BPF_JMP | BPF_JA:
                        pc += (size_t) i->off;
                        break;
                case BPF_ALU | BPF_RSH | BPF_X:
                        r[i->dst_reg] >>= r[i->src_reg] & 31;
                        break;
                case BPF_JMP | BPF_EXIT:
                        return r[0] != 0;
                default:
                        CHECK_FORMAT(false, "instruction %zu: code %#x", pc, i->code);
                }
        }
        CHECK_FORMAT(false, "the program has no end");
        return false;
}

static void check(const RuntimeDeviceRule *rules, size_t count, uint32_t type, uint32_t access,
                  uint32_t major, uint32_t minor, bool expected) {
        struct bpf_insn *program = NULL;
        size_t size = 0;
        struct bpf_cgroup_dev_ctx context = {
                .access_type = access << 16 | type,
                .major = major,
                .minor = minor,
        };
        CHECK_OK(device_filter_build(rules, count, &program, &size));
        bool allowed = run(program, size, &context);
        CHECK_FORMAT(allowed == expected, "type %u access %u %u:%u is %s", type, access, major, minor,
                     allowed ? "allowed" : "denied");
        free(program);
}

static const RuntimeDeviceRule deny_all = { false, 'a', -1, -1, true, true, true };
static const RuntimeDeviceRule allow_all = { true, 'a', -1, -1, true, true, true };

static void default_devices_are_always_allowed(void) {
        static const struct {
                uint32_t major, minor;
        } devices[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 },   { 1, 9 },
                        { 5, 0 }, { 5, 1 }, { 5, 2 }, { 136, 77 } };
        for (uint32_t major = 0; major < 200; major++)
                for (uint32_t minor = 0; minor < 80; minor++) {
                        bool expected = major == 136;
                        for (size_t i = 0; i < ELEMENTS_OF(devices); i++)
                                expected |= devices[i].major == major && devices[i].minor == minor;
                        check(&deny_all, 1, C, R | W, major, minor, expected);
                        check(NULL, 0, B, R, major, minor, false);
                }
}

static void nodes_may_be_made_but_not_opened(void) {
        check(&deny_all, 1, B, M, 8, 0, true);
        check(&deny_all, 1, B, M | R, 8, 0, false);
        check(NULL, 0, B, R, 8, 0, false);
}

static void the_last_rule_that_matches_decides(void) {
        const RuntimeDeviceRule rules[] = {
                deny_all,
                { true, 'c', 10, 229, true, true, false },
                { true, 'b', 8, -1, true, false, false },
                { false, 'b', 8, 1, true, true, true },
        };
        check(rules, 4, C, R | W, 10, 229, true);
        check(rules, 4, C, R, 10, 229, true);
        check(rules, 4, C, R, 10, 228, false);
        check(rules, 4, B, R, 8, 0, true);
        check(rules, 4, B, W, 8, 0, false);
        check(rules, 4, B, R | W, 8, 0, false);
        check(rules, 4, B, R, 8, 1, false);
        check(rules, 4, B, R, 9, 0, false);
        check(rules, 4, C, R, 8, 0, false);
}

static void a_denial_touches_any_of_what_is_asked_for(void) {
        const RuntimeDeviceRule rules[] = { allow_all, { false, 'b', 8, 0, false, true, false } };
        check(rules, 2, B, R, 8, 0, true);
        check(rules, 2, B, R | W, 8, 0, false);
        check(rules, 2, B, R | W, 8, 16, true);
}

static void what_stands_before_a_rule_for_all_is_not_in_the_program(void) {
        const RuntimeDeviceRule rules[] = { { true, 'b', 8, 0, true, true, true }, deny_all };
        struct bpf_insn *one = NULL, *two = NULL;
        size_t one_size = 0, two_size = 0;
        CHECK_OK(device_filter_build(rules, 2, &two, &two_size));
        CHECK_OK(device_filter_build(&deny_all, 1, &one, &one_size));
        CHECK_INT(two_size, one_size);
        free(one);
        free(two);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(default_devices_are_always_allowed),
                CHECK_CASE(nodes_may_be_made_but_not_opened),
                CHECK_CASE(the_last_rule_that_matches_decides),
                CHECK_CASE(a_denial_touches_any_of_what_is_asked_for),
                CHECK_CASE(what_stands_before_a_rule_for_all_is_not_in_the_program),
                {},
        });
}
