/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/process-limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "lib/fd.h"

static int limit_fault(const RuntimeRlimit *limit, size_t index, Fault *fault) {
        return fault_set_errno(fault, -errno, "config.process.rlimits[%zu]: soft %" PRIu64 ", hard %" PRIu64,
                               index, limit->soft, limit->hard);
}

int process_limits_make_room(const ContainerPlan *plan, pid_t pid, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        for (size_t i = 0; i < process->rlimit_count; i++) {
                const RuntimeRlimit *limit = &process->rlimits[i];
                struct rlimit current;
                if (prlimit(pid, limit->resource, NULL, &current) < 0)
                        return limit_fault(limit, i, fault);
                if (current.rlim_max >= limit->hard)
                        continue;
                current.rlim_max = limit->hard;
                if (prlimit(pid, limit->resource, &current, NULL) < 0)
                        return limit_fault(limit, i, fault);
        }
        return 0;
}

int process_limits_step_set(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        for (size_t i = 0; i < process->rlimit_count; i++) {
                const RuntimeRlimit *limit = &process->rlimits[i];
                struct rlimit value = { .rlim_cur = limit->soft, .rlim_max = limit->hard };
                if (setrlimit(limit->resource, &value) < 0)
                        return limit_fault(limit, i, fault);
        }
        return 0;
}

int process_limits_set_oom_score(const ContainerPlan *plan, pid_t pid, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        char path[64], text[32];
        if (process->oom_score_adj == RUNTIME_UNSET)
                return 0;
        (void) snprintf(path, sizeof(path), "%i/oom_score_adj", pid);
        (void) snprintf(text, sizeof(text), "%" PRIi64, process->oom_score_adj);
        int r = fd_write_file_at(plan->proc_fd, path, text);
        return r < 0 ? fault_set_errno(fault, r, "config.process.oomScoreAdj: %s", text) : 0;
}
