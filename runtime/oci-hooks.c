/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-hooks.h"

#include <errno.h>
#include <signal.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "runtime/hooks.h"
#include "runtime/oci-log.h"

int oci_hooks_prepare_poststart(const StateFile *state, RuntimeConfig **ret, Fault *fault) {
        return state_file_has_hooks(state) ? state_file_read_config(state, true, ret, fault) : 0;
}

int oci_hooks_poststart(const RuntimeConfig *config, const StateFile *state, Fault *fault) {
        if (!config)
                return 0;
        HookState told = {
                .id = state->id,
                .bundle = state_file_get_string(state, "bundle"),
                .status = "running",
                .pid = state_file_pid(state, CONTAINER_RUNNING),
        };
        int r = hooks_run(config, RUNTIME_HOOK_POSTSTART, &told, fault);
        if (r < 0) {
                _cleanup_close_ int init = state_file_open_init(state);
                if (init >= 0)
                        (void) process_send_signal(init, SIGKILL);
        }
        return r;
}

RuntimeConfig *oci_hooks_prepare_poststop(const StateFile *state) {
        RuntimeConfig *config = NULL;
        Fault fault = FAULT_NULL;
        if (!state_file_has_hooks(state))
                return NULL;
        if (state_file_read_config(state, true, &config, &fault) < 0)
                oci_log_warning("container '%s': no poststop hooks: %s", state->id,
                                fault_text(&fault, -EIO));
        fault_done(&fault);
        return config;
}

static void warn(const char *sentence, void *userdata) {
        oci_log_warning("container '%s': %s", (const char *) userdata, sentence);
}

void oci_hooks_poststop(const RuntimeConfig *config, const char *id, const char *bundle) {
        HookState told = { .id = id, .bundle = bundle, .status = "stopped" };
        if (config)
                hooks_run_all(config, RUNTIME_HOOK_POSTSTOP, &told, warn, (void *) id);
}
