/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/device-filter.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"

/* Loading costs by the instruction (the verifier walks every path), and is among the dearest parts of a
 * start: so the rules that every container has are written by hand. At most: that prologue; type, access,
 * major, minor and verdict of each rule; the denial at the end. */
#define RULE_SIZE_MAX 8
#define EPILOGUE_SIZE 2

static struct bpf_insn alu(uint8_t operation, uint8_t to, int32_t value) {
        return (struct bpf_insn){ .code = BPF_ALU | operation | BPF_K, .dst_reg = to, .imm = value };
}

static struct bpf_insn jump(uint8_t operation, uint8_t left, int64_t value) {
        return (struct bpf_insn){
                .code = BPF_JMP32 | operation | BPF_K,
                .dst_reg = left,
                .imm = (int32_t) (uint32_t) value,
        };
}

#define LOAD(to, field)                                                                                     \
        {                                                                                                   \
                .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = BPF_REG_1,                   \
                .off = offsetof(struct bpf_cgroup_dev_ctx, field)                                           \
        }
#define SET(operation, to, value)                                                                           \
        { .code = BPF_ALU | (operation) | BPF_K, .dst_reg = (to), .imm = (value) }
#define SET_FROM(operation, to, from)                                                                       \
        { .code = BPF_ALU | (operation) | BPF_X, .dst_reg = (to), .src_reg = (from) }
/* Jumps are relative: from where this one stands to a label. */
#define JUMP_IF(at, label, operation, left, value)                                                          \
        {                                                                                                   \
                .code = BPF_JMP32 | (operation) | BPF_K, .dst_reg = (left), .off = (label) - (at) -1,       \
                .imm = (value)                                                                              \
        }
#define JUMP(at, label)                                                                                     \
        { .code = BPF_JMP | BPF_JA, .off = (label) - (at) -1 }
#define EXIT                                                                                                \
        { .code = BPF_JMP | BPF_EXIT }

#define TERMINALS 5
#define UNIX98_TERMINALS 136
#define MEMORY 1
#define MEMORY_ALLOWED (1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9) /* null, zero, full, random, urandom */
#define NOT_TERMINALS 12
#define ALLOW 18
#define RULES 20

/* Puts type into r2, access into r3, major into r4 and minor into r5, and allows what comes last and so wins
 * over all rules of a configuration: making (not opening) any node, and config-linux.md, "Default Devices".
 */
static const struct bpf_insn prologue[RULES] = {
        [0] = LOAD(BPF_REG_2, access_type),
        [1] = SET_FROM(BPF_MOV, BPF_REG_3, BPF_REG_2),
        [2] = SET(BPF_RSH, BPF_REG_3, 16),
        [3] = SET(BPF_AND, BPF_REG_2, 0xffff),
        [4] = LOAD(BPF_REG_4, major),
        [5] = LOAD(BPF_REG_5, minor),
        [6] = JUMP_IF(6, ALLOW, BPF_JEQ, BPF_REG_3, BPF_DEVCG_ACC_MKNOD),
        [7] = JUMP_IF(7, RULES, BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR),
        [8] = JUMP_IF(8, ALLOW, BPF_JEQ, BPF_REG_4, UNIX98_TERMINALS),
        [9] = JUMP_IF(9, NOT_TERMINALS, BPF_JNE, BPF_REG_4, TERMINALS),
        [10] = JUMP_IF(10, ALLOW, BPF_JLE, BPF_REG_5, 2), /* tty, console, ptmx */
        [11] = JUMP(11, RULES),
        [NOT_TERMINALS] = JUMP_IF(12, RULES, BPF_JNE, BPF_REG_4, MEMORY),
        [13] = JUMP_IF(13, RULES, BPF_JGT, BPF_REG_5, 9),
        [14] = SET(BPF_MOV, BPF_REG_0, MEMORY_ALLOWED),
        [15] = SET_FROM(BPF_RSH, BPF_REG_0, BPF_REG_5),
        [16] = JUMP_IF(16, ALLOW, BPF_JSET, BPF_REG_0, 1),
        [17] = JUMP(17, RULES),
        [ALLOW] = SET(BPF_MOV, BPF_REG_0, 1),
        [19] = EXIT,
};

/* r2 type, r3 access, r4 major, r5 minor. An allowing rule has to grant all that is asked for; a denying one
 * has to touch any of it. Jumps lead past the rule. */
static size_t add_rule(struct bpf_insn *out, const RuntimeDeviceRule *rule) {
        int32_t access = (rule->read ? BPF_DEVCG_ACC_READ : 0) | (rule->write ? BPF_DEVCG_ACC_WRITE : 0) |
                         (rule->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
        bool all = rule->read && rule->write && rule->mknod;
        size_t n = 0, jumps[4], jump_count = 0;

        if (rule->type != 'a') {
                jumps[jump_count++] = n;
                out[n++] = jump(BPF_JNE, BPF_REG_2,
                                rule->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
        }
        if (!all && rule->allow) {
                jumps[jump_count++] = n;
                out[n++] = jump(BPF_JSET, BPF_REG_3, ~access & 7);
        } else if (!all) {
                out[n++] = (struct bpf_insn) SET_FROM(BPF_MOV, BPF_REG_1, BPF_REG_3);
                out[n++] = alu(BPF_AND, BPF_REG_1, access);
                jumps[jump_count++] = n;
                out[n++] = jump(BPF_JEQ, BPF_REG_1, 0);
        }
        if (rule->major >= 0 && rule->type != 'a') {
                jumps[jump_count++] = n;
                out[n++] = jump(BPF_JNE, BPF_REG_4, rule->major);
        }
        if (rule->minor >= 0 && rule->type != 'a') {
                jumps[jump_count++] = n;
                out[n++] = jump(BPF_JNE, BPF_REG_5, rule->minor);
        }
        out[n++] = alu(BPF_MOV, BPF_REG_0, rule->allow);
        out[n++] = (struct bpf_insn) EXIT;
        for (size_t i = 0; i < jump_count; i++)
                out[jumps[i]].off = (int16_t) (n - jumps[i] - 1);
        return n;
}

int device_filter_build(const RuntimeDeviceRule *rules, size_t count, struct bpf_insn **ret,
                        size_t *ret_count) {
        size_t size = ELEMENTS_OF(prologue) + EPILOGUE_SIZE + count * RULE_SIZE_MAX;
        struct bpf_insn *out = new0(struct bpf_insn, size);
        if (!out)
                return -ENOMEM;

        /* The last rule that matches decides: asked first. What stands before a rule for everything is never
         * reached, and the verifier refuses code that is not. */
        size_t n = ELEMENTS_OF(prologue);
        memcpy(out, prologue, sizeof(prologue));
        bool reachable = true;
        for (size_t i = count; i > 0 && reachable; i--) {
                const RuntimeDeviceRule *rule = &rules[i - 1];
                n += add_rule(out + n, rule);
                reachable = !(rule->type == 'a' && rule->read && rule->write && rule->mknod);
        }
        if (reachable) {
                out[n++] = alu(BPF_MOV, BPF_REG_0, 0);
                out[n++] = (struct bpf_insn) EXIT;
        }
        *ret = out;
        *ret_count = n;
        return 0;
}

static int bpf_call(int command, union bpf_attr *attributes) {
        long r = syscall(SYS_bpf, command, attributes, sizeof(*attributes));
        return r < 0 ? -errno : (int) r;
}

int device_filter_attach(int cgroup, const RuntimeDeviceRule *rules, size_t count, Fault *fault) {
        _cleanup_free_ struct bpf_insn *program = NULL;
        size_t size;
        int r = device_filter_build(rules, count, &program, &size);
        if (r < 0)
                return r;

        union bpf_attr load = {
                .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                .insns = (uint64_t) (uintptr_t) program,
                .insn_cnt = (uint32_t) size,
                .license = (uint64_t) (uintptr_t) "LGPL-2.1-or-later",
        };
        _cleanup_close_ int fd = bpf_call(BPF_PROG_LOAD, &load);
        if (fd < 0)
                return fault_set_errno(fault, fd, "config.linux.resources.devices: loading the BPF program");
        union bpf_attr attach = {
                .target_fd = (uint32_t) cgroup,
                .attach_bpf_fd = (uint32_t) fd,
                .attach_type = BPF_CGROUP_DEVICE,
                .attach_flags = BPF_F_ALLOW_MULTI,
        };
        r = bpf_call(BPF_PROG_ATTACH, &attach);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.resources.devices: attaching the BPF program")
                     : 0;
}
