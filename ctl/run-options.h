/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of "run" and "create", and the container that they describe. */

#include "ctl/command-line.h"
#include "ctl/context.h"

typedef enum PullPolicy {
        PULL_MISSING,
        PULL_ALWAYS,
        PULL_NEVER,
        _PULL_POLICY_MAX,
        _PULL_POLICY_INVALID = -22,
} PullPolicy;

typedef struct RunOptions {
        const char *name, *directory, *user, *hostname, *entrypoint, *platform, *stop_signal;
        char **environment, **environment_files, **volumes, **labels;
        uint64_t memory, tasks, cpu_percent, storage;
        PullPolicy pull;
        bool terminal, interactive, detach, remove, read_only, quiet;
} RunOptions;

extern const Argument run_arguments[];
#define CREATE_ARGUMENTS (run_arguments + 1) /* without --detach */

/* Creates the container, after pulling the image where the policy says so. operands are the image and the
 * command. */
int run_create(Context *context, const RunOptions *options, char *const *operands, char **ret_path,
               Fault *fault);
