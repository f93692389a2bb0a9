/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "lib/runtime-config.h"
#include "tests/fuzz/fuzz.h"

/* What the runtime relies on without looking again. */
static void require_sound(const RuntimeConfig *config) {
        const RuntimeProcess *process = &config->process;
        const RuntimeCapabilities *sets = &process->capabilities;
        FUZZ_REQUIRE(!process->given || (process->args && process->args[0] && process->args[0][0]));
        FUZZ_REQUIRE(!process->given || process->cwd[0] == '/');
        FUZZ_REQUIRE(!(sets->effective & ~sets->permitted));
        FUZZ_REQUIRE(!(sets->ambient & ~(sets->permitted & sets->inheritable)));
        for (size_t i = 0; i < process->rlimit_count; i++)
                FUZZ_REQUIRE(process->rlimits[i].soft <= process->rlimits[i].hard);
        for (size_t i = 0; i < config->mount_count; i++)
                FUZZ_REQUIRE(config->mounts[i].destination[0]);
        for (size_t i = 0; i < config->device_count; i++)
                FUZZ_REQUIRE(config->devices[i].path[0] == '/' && strchr("cbp", config->devices[i].type) &&
                             config->devices[i].mode <= 0777);
        for (size_t i = 0; i < config->mappings.uid_count; i++)
                FUZZ_REQUIRE(config->mappings.uids[i].size > 0 &&
                             config->mappings.uids[i].host_id + config->mappings.uids[i].size >
                                     config->mappings.uids[i].host_id);
        for (size_t i = 0; i < config->resources.unified_count; i++)
                FUZZ_REQUIRE(!strchr(config->resources.unified[i].key, '/'));
        for (size_t i = 0; config->seccomp && i < config->seccomp->rule_count; i++)
                FUZZ_REQUIRE(config->seccomp->rules[i].names[0]);
        FUZZ_REQUIRE(!config->cgroups_path || !strstr(config->cgroups_path, "/../"));
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        int r = runtime_config_parse((const char *) data, size, &config, &fault);
        FUZZ_REQUIRE((r >= 0) == (config != NULL));
        if (r >= 0)
                require_sound(config);
        return fuzz_result(r, &fault);
}
