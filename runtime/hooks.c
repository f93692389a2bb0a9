/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/init-report.h"

/* What a hook says is kept for the sentence, as far as it helps. */
#define OUTPUT_MAX 400
#define READS_AFTER_END 512 /* of a full pipe it takes fewer */

static int add(json_object *object, const char *key, json_object *value) {
        if (!value || json_object_object_add(object, key, value) < 0) {
                json_document_free(value);
                return -ENOMEM;
        }
        return 0;
}

int hooks_state_to_json(const RuntimeConfig *config, const HookState *state, char **ret) {
        _cleanup_json_ json_object *document = json_object_new_object();
        json_object *annotations = json_object_new_object();
        int r = document ? add(document, "annotations", annotations) : -ENOMEM;
        for (size_t i = 0; i < config->annotation_count && r >= 0; i++)
                r = add(annotations, config->annotations[i].key,
                        json_object_new_string(config->annotations[i].value));
        if (r < 0 || (r = add(document, "ociVersion", json_object_new_string(config->oci_version))) < 0 ||
            (r = add(document, "id", json_object_new_string(state->id))) < 0 ||
            (r = add(document, "status", json_object_new_string(state->status))) < 0 ||
            (r = add(document, "bundle", json_object_new_string(state->bundle))) < 0)
                return r;
        if (state->pid > 0 && (r = add(document, "pid", json_object_new_int(state->pid))) < 0)
                return r;
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
                                                                            JSON_C_TO_STRING_NOSLASHESCAPE);
        *ret = text ? strdup(text) : NULL;
        return *ret ? 0 : -ENOMEM;
}

static int64_t now_ms(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The end of what it writes, for as long as it runs: what it leaves running in the background may keep the
 * pipe, even write, and nobody waits for that. 1 when it has ended, 0 when its time is over. */
static int follow(int pidfd, int output, const RuntimeHook *hook, char text[static OUTPUT_MAX + 1]) {
        int64_t end = hook->timeout > 0 ? now_ms() + hook->timeout * 1000 : 0;
        size_t used = 0;
        unsigned further = READS_AFTER_END;
        bool ended = false;
        for (;;) {
                /* poll(2) passes over what is -1. */
                struct pollfd wait[2] = { { .fd = ended ? -1 : pidfd, .events = POLLIN },
                                          { .fd = output, .events = POLLIN } };
                int64_t left = end ? MAX_OF(end - now_ms(), 0) : -1;
                int r = poll(wait, 2, ended ? 0 : (int) MIN_OF(left, INT32_MAX));
                if (r < 0 && errno != EINTR)
                        return -errno;
                ended = ended || (wait[0].revents & POLLIN);
                if (ended ? r == 0 || further-- == 0 : left == 0)
                        return ended;
                if (!wait[1].revents)
                        continue;
                if (used > OUTPUT_MAX / 2) {
                        memmove(text, text + used / 2, used - used / 2);
                        used -= used / 2;
                }
                ssize_t n = read(output, text + used, OUTPUT_MAX - used);
                if (n <= 0)
                        output = -1;
                used += (size_t) MAX_OF(n, 0);
                text[used] = '\0';
        }
}

static int end_to_fault(const siginfo_t *end, char *text, Fault *fault) {
        if (end->si_code == CLD_EXITED && end->si_status == 0)
                return 0;
        string_make_printable(text);
        for (char *p = text + strlen(text); p > text && (p[-1] == '?' || p[-1] == ' '); p--)
                p[-1] = '\0';
        const char *separator = text[0] ? ": " : "";
        if (end->si_code == CLD_EXITED)
                return fault_set(fault, -EPROTO, "ended with status %i%s%s", end->si_status, separator,
                                 text);
        const char *name = signal_to_string(end->si_status);
        return fault_set(fault, -EPROTO, "died of %s%s%s", name ? name : "a signal", separator, text);
}

static int run_hook(const RuntimeHook *hook, const char *directory, int state_fd, Fault *fault) {
        const char *const alone[] = { hook->path, NULL };
        static const char *const nothing[] = { NULL };
        char text[OUTPUT_MAX + 1] = "";
        int output[2];
        siginfo_t end;
        if (lseek(state_fd, 0, SEEK_SET) < 0 || pipe2(output, O_CLOEXEC) < 0)
                return -errno;
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = hook->path;
        spawn.arguments = hook->args && hook->args[0] ? hook->args : alone;
        spawn.environment = hook->env ? hook->env : nothing;
        spawn.directory = directory;
        spawn.standard[0] = state_fd;
        spawn.standard[1] = spawn.standard[2] = output[1];
        _cleanup_close_ int pidfd = -EBADF;
        int r = process_spawn(&spawn, NULL, &pidfd);
        fd_close(output[1]);
        if (r >= 0) {
                r = follow(pidfd, output[0], hook, text);
                if (r <= 0) {
                        pidfd = process_kill_and_reap(pidfd);
                        r = r < 0 ? r
                                  : fault_set(fault, -ETIMEDOUT, "still runs after %lli s, and was killed",
                                              (long long) hook->timeout);
                } else {
                        r = process_wait(pidfd, 0, &end);
                        r = r < 0 ? r : end_to_fault(&end, text, fault);
                }
        }
        fd_close(output[0]);
        return r;
}

/* The state is a file, not a pipe: a hook that does not read it hinders nobody. */
static int open_state(const RuntimeConfig *config, const HookState *state) {
        _cleanup_free_ char *text = NULL;
        int r = hooks_state_to_json(config, state, &text);
        return r < 0 ? r : fd_new_sealed_memfd("state", text, strlen(text));
}

static int run_all(const RuntimeConfig *config, RuntimeHookKind kind, const HookState *state,
                   const char *directory, Fault *fault) {
        const RuntimeHooks *hooks = &config->hooks[kind];
        if (hooks->count == 0)
                return 0;
        _cleanup_close_ int state_fd = open_state(config, state);
        if (state_fd < 0)
                return fault_set_errno(fault, state_fd, "the state for hooks");
        for (size_t i = 0; i < hooks->count; i++) {
                int r = run_hook(&hooks->items[i], directory, state_fd, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "config.hooks.%s[%zu]: %s",
                                            runtime_hook_kind_to_string(kind), i, hooks->items[i].path);
        }
        return 0;
}

int hooks_run(const RuntimeConfig *config, RuntimeHookKind kind, const HookState *state, Fault *fault) {
        return run_all(config, kind, state, state->bundle, fault);
}

void hooks_run_all(const RuntimeConfig *config, RuntimeHookKind kind, const HookState *state,
                   HookWarning warn, void *userdata) {
        const RuntimeHooks *hooks = &config->hooks[kind];
        if (hooks->count == 0)
                return;
        _cleanup_close_ int state_fd = open_state(config, state);
        for (size_t i = 0; i < hooks->count; i++) {
                Fault fault = FAULT_NULL;
                int r = state_fd < 0 ? state_fd
                                     : run_hook(&hooks->items[i], state->bundle, state_fd, &fault);
                if (r < 0) {
                        r = fault_prefix(&fault, r, "config.hooks.%s[%zu]: %s",
                                         runtime_hook_kind_to_string(kind), i, hooks->items[i].path);
                        warn(fault_text(&fault, r), userdata);
                }
                fault_done(&fault);
        }
}

static bool has_any(const RuntimeConfig *config) {
        for (RuntimeHookKind kind = 0; kind < _RUNTIME_HOOK_KIND_MAX; kind++)
                if (config->hooks[kind].count > 0)
                        return true;
        return false;
}

bool hooks_see_root(const RuntimeConfig *config) {
        return config->hooks[RUNTIME_HOOK_PRESTART].count > 0 ||
               config->hooks[RUNTIME_HOOK_CREATE_RUNTIME].count > 0 ||
               config->hooks[RUNTIME_HOOK_CREATE_CONTAINER].count > 0;
}

static bool has_outside(const RuntimeConfig *config) {
        return config->hooks[RUNTIME_HOOK_PRESTART].count > 0 ||
               config->hooks[RUNTIME_HOOK_CREATE_RUNTIME].count > 0;
}

int hooks_prepare(const ContainerPlan *plan, Fault *fault) {
        if (has_any(plan->config) && (!plan->request->id || !plan->request->bundle))
                return fault_set(fault, -EOPNOTSUPP, "config.hooks: this caller runs no hooks");
        return 0;
}

static HookState state_of(const ContainerPlan *plan, const char *status, pid_t pid) {
        return (HookState){
                .id = plan->request->id,
                .bundle = plan->request->bundle,
                .status = status,
                .pid = pid,
        };
}

int hooks_run_outside(const ContainerPlan *plan, pid_t pid, Fault *fault) {
        HookState state = state_of(plan, "creating", pid);
        int r = hooks_run(plan->config, RUNTIME_HOOK_PRESTART, &state, fault);
        return r < 0 ? r : hooks_run(plan->config, RUNTIME_HOOK_CREATE_RUNTIME, &state, fault);
}

int hooks_step_wait_for_outside(ContainerPlan *plan, Fault *fault) {
        return has_outside(plan->config) ? init_report_and_wait(plan->init_socket, INIT_REPORT_HOOKS) : 0;
}

/* The path is the runtime's, the namespaces and the pid are the container's. */
int hooks_step_create_container(ContainerPlan *plan, Fault *fault) {
        HookState state = state_of(plan, "creating", getpid());
        mode_t own = umask(plan->caller_umask);
        int r = run_all(plan->config, RUNTIME_HOOK_CREATE_CONTAINER, &state, state.bundle, fault);
        (void) umask(own);
        return r;
}

int hooks_run_inside(const ContainerPlan *plan, Fault *fault) {
        HookState state = state_of(plan, "created", getpid());
        return run_all(plan->config, RUNTIME_HOOK_START_CONTAINER, &state, NULL, fault);
}
