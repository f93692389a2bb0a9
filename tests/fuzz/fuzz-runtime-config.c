/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <stdlib.h>
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

/* What was taken for the text of the rules is that: it says the same in a document of its own. */
static void require_rules_text(const RuntimeSeccomp *seccomp) {
        static const char before[] =
                "{\"ociVersion\":\"1.0.0\",\"linux\":{\"seccomp\":{\"listenerPath\":\"/a\","
                "\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":";
        _cleanup_(runtime_config_freep) RuntimeConfig *alone = NULL;
        _cleanup_free_ char *text = NULL;
        int n = asprintf(&text, "%s%.*s}}}", before, (int) seccomp->rules_size, seccomp->rules_text);
        FUZZ_REQUIRE(n >= 0 && runtime_config_parse(text, (size_t) n, &alone, NULL) >= 0);
        FUZZ_REQUIRE(alone->seccomp->rule_count == seccomp->rule_count);
}

/* Sparing, no more is refused, and the same is known. */
static void require_sparing(const uint8_t *data, size_t size, const RuntimeConfig *config) {
        _cleanup_(runtime_config_freep) RuntimeConfig *spared = NULL;
        int r = runtime_config_parse_sparing((const char *) data, size, &spared, NULL);
        FUZZ_REQUIRE((r >= 0) == (spared != NULL));
        if (r >= 0)
                require_sound(spared);
        if (!config)
                return;
        FUZZ_REQUIRE(spared && !config->seccomp == !spared->seccomp);
        if (!config->seccomp)
                return;
        FUZZ_REQUIRE(!config->seccomp->rules_left && config->seccomp->notifies == spared->seccomp->notifies);
        FUZZ_REQUIRE(config->seccomp->rules_size == spared->seccomp->rules_size);
        if (config->seccomp->rules_text)
                require_rules_text(config->seccomp);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        int r = runtime_config_parse((const char *) data, size, &config, &fault);
        FUZZ_REQUIRE((r >= 0) == (config != NULL));
        if (r >= 0)
                require_sound(config);
        require_sparing(data, size, config);
        return fuzz_result(r, &fault);
}
