/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.linux.seccomp: config-linux.md, "Seccomp". */

#include <errno.h>

#include "lib/runtime-config-read.h"
#include "lib/strv.h"

/* seccomp(2): the kernel cuts what is above off. */
#define SECCOMP_ERRNO_MAX 4095

/* SCMP_ACT_KILL is an old name for SCMP_ACT_KILL_THREAD. */
static const char *const action_names[] = {
        [RUNTIME_SECCOMP_KILL_THREAD] = "SCMP_ACT_KILL_THREAD",
        [RUNTIME_SECCOMP_KILL_PROCESS] = "SCMP_ACT_KILL_PROCESS",
        [RUNTIME_SECCOMP_TRAP] = "SCMP_ACT_TRAP",
        [RUNTIME_SECCOMP_ERRNO] = "SCMP_ACT_ERRNO",
        [RUNTIME_SECCOMP_TRACE] = "SCMP_ACT_TRACE",
        [RUNTIME_SECCOMP_ALLOW] = "SCMP_ACT_ALLOW",
        [RUNTIME_SECCOMP_LOG] = "SCMP_ACT_LOG",
        [RUNTIME_SECCOMP_NOTIFY] = "SCMP_ACT_NOTIFY",
        [_RUNTIME_SECCOMP_ACTION_MAX] = "SCMP_ACT_KILL",
};

static const char *const comparison_names[] = {
        [RUNTIME_SECCOMP_NOT_EQUAL] = "SCMP_CMP_NE",           [RUNTIME_SECCOMP_LESS] = "SCMP_CMP_LT",
        [RUNTIME_SECCOMP_LESS_OR_EQUAL] = "SCMP_CMP_LE",       [RUNTIME_SECCOMP_EQUAL] = "SCMP_CMP_EQ",
        [RUNTIME_SECCOMP_GREATER_OR_EQUAL] = "SCMP_CMP_GE",    [RUNTIME_SECCOMP_GREATER] = "SCMP_CMP_GT",
        [RUNTIME_SECCOMP_MASKED_EQUAL] = "SCMP_CMP_MASKED_EQ",
};

static int parse_action(const JsonNode *node, const char *key, RuntimeSeccompAction *ret, Fault *fault) {
        int r = config_get_word(node, key, action_names, ELEMENTS_OF(action_names), fault);
        if (r == -ENOENT)
                return json_fault_member(node, key, fault, -EBADMSG, "is missing");
        if (r < 0)
                return r;
        if (r == _RUNTIME_SECCOMP_ACTION_MAX)
                r = RUNTIME_SECCOMP_KILL_THREAD;
        *ret = (RuntimeSeccompAction) r;
        return 0;
}

/* Only ERRNO and TRACE carry a number; with other actions it would be lost without a word. */
static int parse_errno(const JsonNode *node, const char *key, RuntimeSeccompAction action, uint32_t *ret,
                       Fault *fault) {
        int64_t value = RUNTIME_UNSET;
        int64_t maximum = action == RUNTIME_SECCOMP_TRACE ? UINT16_MAX : SECCOMP_ERRNO_MAX;
        int r = config_get_number(node, key, 0, maximum, &value, fault);
        if (r < 0)
                return r;
        bool carries = action == RUNTIME_SECCOMP_ERRNO || action == RUNTIME_SECCOMP_TRACE;
        if (r > 0 && !carries)
                return json_fault_member(node, key, fault, -EBADMSG, "does not go with this action");
        *ret = r > 0 ? (uint32_t) value : carries ? EPERM : 0;
        return 0;
}

static int parse_argument(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "index", "value", "valueTwo", "op", NULL };
        RuntimeSeccompArgument *argument = element;
        int r;
        config_note_unknown(node, members);
        if ((r = json_get_uint32(node, "index", JSON_REQUIRED, &argument->index, fault)) < 0 ||
            (r = json_get_uint64(node, "value", JSON_REQUIRED, &argument->value, fault)) < 0 ||
            (r = json_get_uint64(node, "valueTwo", JSON_OPTIONAL, &argument->value_two, fault)) < 0)
                return r;
        if (argument->index > 5)
                return json_fault_member(node, "index", fault, -EBADMSG,
                                         "system calls have arguments 0 to 5");
        r = config_get_word(node, "op", comparison_names, ELEMENTS_OF(comparison_names), fault);
        if (r == -ENOENT)
                return json_fault_member(node, "op", fault, -EBADMSG, "is missing");
        if (r < 0)
                return r;
        argument->comparison = (RuntimeSeccompComparison) r;
        return 0;
}

static int parse_rule(const JsonNode *node, void *element, Fault *fault) {
        static const char *const members[] = { "names", "action", "errnoRet", "args", NULL };
        RuntimeSeccompRule *rule = element;
        int r;
        config_note_unknown(node, members);
        if ((r = config_get_strings(node, "names", JSON_REQUIRED, &rule->names, fault)) < 0 ||
            (r = parse_action(node, "action", &rule->action, fault)) < 0 ||
            (r = parse_errno(node, "errnoRet", rule->action, &rule->errno_return, fault)) < 0 ||
            (r = config_get_items(node, "args", sizeof(RuntimeSeccompArgument), parse_argument,
                                  (void **) &rule->arguments, &rule->argument_count, fault)) < 0)
                return r;
        if (!rule->names[0])
                return json_fault_member(node, "names", fault, -EBADMSG, "is empty");
        return 0;
}

static int parse_flags(const JsonNode *node, RuntimeSeccomp *seccomp, Fault *fault) {
        _cleanup_free_ const char **flags = NULL;
        int r = config_get_strings(node, "flags", JSON_OPTIONAL, &flags, fault);
        if (r <= 0)
                return r;
        STRV_FOREACH (flag, flags) {
                if (string_equal(flag, "SECCOMP_FILTER_FLAG_LOG"))
                        seccomp->flag_log = true;
                else if (string_equal(flag, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
                        seccomp->flag_spec_allow = true;
                else if (string_equal(flag, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
                        seccomp->flag_wait_killable = true;
                else if (!string_equal(flag, "SECCOMP_FILTER_FLAG_TSYNC")) /* init has one thread */
                        return json_fault_member(node, "flags", fault, -EBADMSG, "'%s' is not known", flag);
        }
        return 0;
}

static int parse_listener(const JsonNode *node, RuntimeSeccomp *seccomp, Fault *fault) {
        int r;
        if ((r = json_get_string(node, "listenerPath", JSON_OPTIONAL, &seccomp->listener_path, fault)) < 0 ||
            (r = json_get_string(node, "listenerMetadata", JSON_OPTIONAL, &seccomp->listener_metadata,
                                 fault)) < 0)
                return r;
        if (string_is_empty(seccomp->listener_path))
                seccomp->listener_path = NULL;
        if (string_is_empty(seccomp->listener_metadata))
                seccomp->listener_metadata = NULL;
        if (seccomp->listener_metadata && !seccomp->listener_path)
                return json_fault_member(node, "listenerMetadata", fault, -EBADMSG, "needs a listenerPath");
        if (seccomp->default_action == RUNTIME_SECCOMP_NOTIFY)
                return json_fault_member(node, "defaultAction", fault, -EBADMSG,
                                         "must not be SCMP_ACT_NOTIFY: the start itself would wait for an "
                                         "answer that nobody can give yet");
        for (size_t i = 0; i < seccomp->rule_count; i++) {
                if (seccomp->rules[i].action != RUNTIME_SECCOMP_NOTIFY)
                        continue;
                seccomp->notifies = true;
                if (strv_contains(seccomp->rules[i].names, "write"))
                        return json_fault_member(node, "syscalls", fault, -EBADMSG,
                                                 "SCMP_ACT_NOTIFY must not be for write, by which the start "
                                                 "tells of the listener");
        }
        if (seccomp->notifies && !seccomp->listener_path)
                return json_fault_member(node, "listenerPath", fault, -EBADMSG,
                                         "is missing: SCMP_ACT_NOTIFY needs it");
        return 0;
}

int config_parse_seccomp(const JsonNode *node, RuntimeSeccomp **ret, Fault *fault) {
        static const char *const members[] = {
                "defaultAction", "defaultErrnoRet",  "flags", "architectures", "syscalls",
                "listenerPath",  "listenerMetadata", NULL,
        };
        _cleanup_(config_seccomp_freep) RuntimeSeccomp *seccomp = new0(RuntimeSeccomp, 1);
        if (!seccomp)
                return -ENOMEM;
        int r;
        config_note_unknown(node, members);
        if ((r = parse_action(node, "defaultAction", &seccomp->default_action, fault)) < 0 ||
            (r = parse_errno(node, "defaultErrnoRet", seccomp->default_action,
                             &seccomp->default_errno_return, fault)) < 0 ||
            (r = parse_flags(node, seccomp, fault)) < 0 ||
            (r = config_get_strings(node, "architectures", JSON_OPTIONAL, &seccomp->architectures, fault)) <
                    0 ||
            (r = config_get_items(node, "syscalls", sizeof(RuntimeSeccompRule), parse_rule,
                                  (void **) &seccomp->rules, &seccomp->rule_count, fault)) < 0 ||
            (r = parse_listener(node, seccomp, fault)) < 0)
                return r;
        *ret = TAKE_PTR(seccomp);
        return 0;
}

RuntimeSeccomp *config_seccomp_free(RuntimeSeccomp *seccomp) {
        if (!seccomp)
                return NULL;
        for (size_t i = 0; i < seccomp->rule_count; i++) {
                free(seccomp->rules[i].names);
                free(seccomp->rules[i].arguments);
        }
        free(seccomp->rules);
        free(seccomp->rules_text);
        free(seccomp->architectures);
        return mfree(seccomp);
}
