/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/device-filter.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"

#define ANY (-1)
/* Load of the arguments; type, access, major, minor and verdict of each rule; the denial at the end. */
#define PROLOGUE_SIZE 6
#define RULE_SIZE_MAX 8
#define EPILOGUE_SIZE 2

/* What every container has: config-linux.md, "Default Devices", and making (not opening) any node. They come
 * last, and so win. */
static const RuntimeDeviceRule default_rules[] = {
        { true, 'c', ANY, ANY, false, false, true }, { true, 'b', ANY, ANY, false, false, true },
        { true, 'c', 1, 3, true, true, true },       { true, 'c', 1, 5, true, true, true },
        { true, 'c', 1, 7, true, true, true },       { true, 'c', 1, 8, true, true, true },
        { true, 'c', 1, 9, true, true, true },       { true, 'c', 5, 0, true, true, true },
        { true, 'c', 5, 1, true, true, true },       { true, 'c', 5, 2, true, true, true },
        { true, 'c', 136, ANY, true, true, true },
};

static struct bpf_insn load_argument(uint8_t to, int16_t offset) {
        return (struct bpf_insn){
                .code = BPF_LDX | BPF_MEM | BPF_W,
                .dst_reg = to,
                .src_reg = BPF_REG_1,
                .off = offset,
        };
}

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
                out[n++] = (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_X,
                                              .dst_reg = BPF_REG_1,
                                              .src_reg = BPF_REG_3 };
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
        out[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
        for (size_t i = 0; i < jump_count; i++)
                out[jumps[i]].off = (int16_t) (n - jumps[i] - 1);
        return n;
}

int device_filter_build(const RuntimeDeviceRule *rules, size_t count, struct bpf_insn **ret,
                        size_t *ret_count) {
        size_t size = PROLOGUE_SIZE + EPILOGUE_SIZE + (count + ELEMENTS_OF(default_rules)) * RULE_SIZE_MAX;
        struct bpf_insn *out = new0(struct bpf_insn, size);
        if (!out)
                return -ENOMEM;

        size_t n = 0;
        out[n++] = load_argument(BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
        out[n++] = (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_X,
                                      .dst_reg = BPF_REG_3,
                                      .src_reg = BPF_REG_2 };
        out[n++] = alu(BPF_RSH, BPF_REG_3, 16);
        out[n++] = alu(BPF_AND, BPF_REG_2, 0xffff);
        out[n++] = load_argument(BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
        out[n++] = load_argument(BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor));

        /* The last rule that matches decides: asked first. What stands before a rule for everything is never
         * reached, and the verifier refuses code that is not. */
        for (size_t i = ELEMENTS_OF(default_rules); i > 0; i--)
                n += add_rule(out + n, &default_rules[i - 1]);
        bool reachable = true;
        for (size_t i = count; i > 0 && reachable; i--) {
                const RuntimeDeviceRule *rule = &rules[i - 1];
                n += add_rule(out + n, rule);
                reachable = !(rule->type == 'a' && rule->read && rule->write && rule->mknod);
        }
        if (reachable) {
                out[n++] = alu(BPF_MOV, BPF_REG_0, 0);
                out[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
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
