/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.hooks: programs that are told the container's state on their standard input (runtime.md,
 * "Lifecycle"; config.md, "POSIX-platform Hooks"). Who creates a container runs the first three kinds and
 * init the fourth, all in container_create() and container_start(); the last two are for who starts and
 * deletes it. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"
#include "runtime/plan.h"

typedef struct HookState {
        const char *id;
        const char *bundle; /* absolute; hooks outside of the container work there */
        const char *status; /* "creating", "created", "running", "stopped" */
        pid_t pid;          /* 0: none any more */
} HookState;

/* The state as JSON, in a fresh string. */
int hooks_state_to_json(const RuntimeConfig *config, const HookState *state, char **ret);

/* Runs all of a kind in their order, in the caller's namespaces, until the first that fails: poststart and
 * what comes before. The sentence says which, how it ended and what it wrote last. */
int hooks_run(const RuntimeConfig *config, RuntimeHookKind kind, const HookState *state, Fault *fault);

/* The same, but a failure is only told, and the rest runs all the same: poststop. */
typedef void (*HookWarning)(const char *sentence, void *userdata);
void hooks_run_all(const RuntimeConfig *config, RuntimeHookKind kind, const HookState *state,
                   HookWarning warn, void *userdata);

/* True if there are hooks that may look for the root file system where config.root.path says. */
bool hooks_see_root(const RuntimeConfig *config);

int hooks_prepare(const ContainerPlan *plan, Fault *fault);

/* prestart and createRuntime, by the parent, when init reports that its namespaces stand. */
int hooks_run_outside(const ContainerPlan *plan, pid_t pid, Fault *fault);

/* Init's steps: it waits for those; createContainer in its namespaces, with the host's tree in sight. */
int hooks_step_wait_for_outside(ContainerPlan *plan, Fault *fault);
int hooks_step_create_container(ContainerPlan *plan, Fault *fault);

/* Init, between its start and its execve(): startContainer, as the user that the program runs as. */
int hooks_run_inside(const ContainerPlan *plan, Fault *fault);
