/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small interpreter of what seccomp programs consist of. */

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "tests/unit/check.h"

static inline uint32_t classic_bpf_run(const struct sock_filter *filter, size_t count,
                                       const struct seccomp_data *data) {
        uint32_t a = 0;
        for (size_t pc = 0; pc < count; pc++) {
                const struct sock_filter *i = &filter[pc];
                bool jump = false;
                switch (i->code) {
                case BPF_LD | BPF_W | BPF_ABS:
                        memcpy(&a, (const char *) data + i->k, 4);
                        continue;
                case BPF_ALU | BPF_AND | BPF_K:
                        a &= i->k;
                        continue;
                case BPF_RET | BPF_K:
                        return i->k;
                case BPF_JMP | BPF_JA:
                        pc += i->k;
                        continue;
                case BPF_JMP | BPF_JEQ | BPF_K:
                        jump = a == i->k;
                        break;
                case BPF_JMP | BPF_JGE | BPF_K:
                        jump = a >= i->k;
                        break;
                case BPF_JMP | BPF_JGT | BPF_K:
                        jump = a > i->k;
                        break;
                case BPF_JMP | BPF_JSET | BPF_K:
                        jump = (a & i->k) != 0;
                        break;
                default:
                        CHECK_FORMAT(false, "instruction %zu: code %#x", pc, i->code);
                }
                pc += jump ? i->jt : i->jf;
        }
        CHECK_FORMAT(false, "the program has no end");
        return 0;
}
