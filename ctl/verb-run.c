/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>

#include "bus/bus-names.h"
#include "bus/object-path.h"
#include "ctl/attach.h"
#include "ctl/run-options.h"
#include "ctl/verb.h"

#define DELETE_TRIES 3U /* the service may end before it answers */

static int print_id(const char *path) {
        _cleanup_free_ char *namespace = NULL, *id = NULL;
        int r = object_path_decode(CRT_TASKS_PATH, path, "container", &namespace, &id);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        puts(id);
        return 0;
}

/* A container that never ran does not end, so nobody else would delete it. */
static void delete_container(Context *context, const char *path) {
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        int r = -EHOSTUNREACH;
        for (unsigned i = 0; i < DELETE_TRIES && r == -EHOSTUNREACH; i++) {
                _cleanup_message_ sd_bus_message *reply = NULL;
                r = client_invoke(&context->client, &container, "Delete", NULL, &reply, NULL);
        }
}

static int run_foreground(Context *context, const RunOptions *options, const char *path, Fault *fault) {
        const AttachSpec spec = { path, options->interactive, options->terminal };
        int status = EXIT_CRT_FAILED;
        int r = attach_run(context, &spec, &status, fault);
        return r < 0 ? r : status;
}

static int run_run(Context *context, void *userdata, char **operands, Fault *fault) {
        const RunOptions *options = userdata;
        _cleanup_free_ char *path = NULL;

        if (options->detach && options->interactive)
                return fault_set(fault, -EINVAL, "-i and -d do not go together");
        int r = run_create(context, options, operands, &path, fault);
        if (r < 0)
                return r;
        r = options->detach ? attach_start(context, path, fault)
                            : run_foreground(context, options, path, fault);
        if (r == -ENOEXEC) {
                int status = attach_failure_status(context, path);
                verb_complain(fault, r);
                r = status;
        } else if (r >= 0)
                return options->detach ? print_id(path) : r;
        if (options->remove && r != -EINTR)
                delete_container(context, path);
        return r;
}

const Verb verb_run = {
        .name = "run",
        .operands = "IMAGE [COMMAND…]",
        .help = "Make a container from an image and run it",
        .arguments = run_arguments,
        .options_size = sizeof(RunOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .leading = true,
        .failure = EXIT_CRT_FAILED,
        .run = run_run,
};

static int run_create_verb(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = run_create(context, options, operands, &path, fault);
        return r < 0 ? r : print_id(path);
}

const Verb verb_create = {
        .name = "create",
        .operands = "IMAGE [COMMAND…]",
        .help = "Make a container without running it",
        .arguments = CREATE_ARGUMENTS,
        .options_size = sizeof(RunOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .leading = true,
        .failure = EXIT_CRT_FAILED,
        .run = run_create_verb,
};

typedef struct StartOptions {
        bool attach, interactive;
} StartOptions;

static const Argument start_arguments[] = {
        { "attach", 'a', NULL, "Stay in the foreground, with its output", offsetof(StartOptions, attach) },
        { "interactive", 'i', NULL, "Give it our standard input (with -a)",
          offsetof(StartOptions, interactive) },
        {},
};

static int start_attached(Context *context, const StartOptions *options, const char *path, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        static const BusField fields[] = { { "Terminal", "b", 0 }, {} };
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        AttachSpec spec = { path, options->interactive, false };
        int status;

        int r = client_get_properties(&context->client, &container, &reply, fault);
        if (r >= 0)
                r = bus_fields_read(reply, fields, &spec.terminal);
        if (r >= 0)
                r = attach_run(context, &spec, &status, fault);
        return r < 0 ? r : status;
}

static int start_one(Context *context, void *options, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = client_get_object(&context->client, &target_tasks, "Get", id, &path, fault);
        if (r >= 0)
                r = attach_start(context, path, fault);
        if (r < 0)
                return fault_prefix(fault, r, "%s", id);
        return print_id(path);
}

static int run_start(Context *context, void *userdata, char **operands, Fault *fault) {
        const StartOptions *options = userdata;
        _cleanup_free_ char *path = NULL;

        if (!options->attach && options->interactive)
                return fault_set(fault, -EINVAL, "-i needs -a");
        if (!options->attach)
                return verb_for_each(context, userdata, operands, start_one) == 0 ? 0 : EXIT_CRT_FAILED;
        if (operands[1])
                return fault_set(fault, -EINVAL, "only one container can be attached to");
        int r = client_get_object(&context->client, &target_tasks, "Get", operands[0], &path, fault);
        if (r >= 0)
                r = start_attached(context, options, path, fault);
        if (r == -ENOEXEC) {
                verb_complain(fault, r);
                return attach_failure_status(context, path);
        }
        return r;
}

const Verb verb_start = {
        .name = "start",
        .operands = "CONTAINER…",
        .help = "Start containers that were made or have ended",
        .arguments = start_arguments,
        .options_size = sizeof(StartOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .failure = EXIT_CRT_FAILED,
        .run = run_start,
};
