/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.hooks: config.md, "POSIX-platform Hooks". */

#include <errno.h>
#include <string.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

/* A longer one would not end while anybody waits. */
#define TIMEOUT_MAX (366 * 24 * 3600)

static const char *const kind_names[_RUNTIME_HOOK_KIND_MAX] = {
        [RUNTIME_HOOK_PRESTART] = "prestart",
        [RUNTIME_HOOK_CREATE_RUNTIME] = "createRuntime",
        [RUNTIME_HOOK_CREATE_CONTAINER] = "createContainer",
        [RUNTIME_HOOK_START_CONTAINER] = "startContainer",
        [RUNTIME_HOOK_POSTSTART] = "poststart",
        [RUNTIME_HOOK_POSTSTOP] = "poststop",
};

const char *runtime_hook_kind_to_string(RuntimeHookKind kind) {
        return kind >= 0 && kind < _RUNTIME_HOOK_KIND_MAX ? kind_names[kind] : NULL;
}

RuntimeHookKind runtime_hook_kind_from_string(const char *name) {
        return (RuntimeHookKind) string_table_find(kind_names, _RUNTIME_HOOK_KIND_MAX, name);
}

static int parse_hook(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "path", "args", "env", "timeout", NULL };
        RuntimeHook *hook = element;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_string(node, "path", JSON_REQUIRED, &hook->path, fault)) < 0 ||
            (r = config_get_strings(node, "args", JSON_OPTIONAL, &hook->args, fault)) < 0 ||
            (r = config_get_strings(node, "env", JSON_OPTIONAL, &hook->env, fault)) < 0 ||
            (r = config_get_number(node, "timeout", 1, TIMEOUT_MAX, &hook->timeout, fault)) < 0)
                return r;
        if (hook->path[0] != '/')
                return json_fault_member(node, "path", fault, -EBADMSG, "must be an absolute path");
        return 0;
}

int config_parse_hooks(const JsonNode *root, RuntimeConfig *config, Fault *fault) {
        JsonNode node;
        int r = json_get(root, "hooks", json_type_object, JSON_OPTIONAL, &node, fault);
        if (r <= 0)
                return r;
        for (RuntimeHookKind kind = 0; kind < _RUNTIME_HOOK_KIND_MAX; kind++) {
                RuntimeHooks *hooks = &config->hooks[kind];
                r = config_get_items(&node, kind_names[kind], sizeof(RuntimeHook), parse_hook,
                                     (void **) &hooks->items, &hooks->count, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

void config_hooks_done(RuntimeConfig *config) {
        for (RuntimeHookKind kind = 0; kind < _RUNTIME_HOOK_KIND_MAX; kind++) {
                RuntimeHooks *hooks = &config->hooks[kind];
                for (size_t i = 0; i < hooks->count; i++) {
                        free(hooks->items[i].args);
                        free(hooks->items[i].env);
                }
                free(hooks->items);
        }
}
