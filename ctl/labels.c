/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/labels.h"

#include <errno.h>
#include <string.h>

#include "bus/options.h"

const Argument labels_arguments[] = {
        { "replace", 'r', NULL, "All other labels go", offsetof(LabelsOptions, replace) },
        {},
};

int labels_check(char *const *labels, Fault *fault) {
        for (; labels && *labels; labels++) {
                const char *equals = strchr(*labels, '=');
                if (!equals || equals == *labels)
                        return fault_set(fault, -EINVAL, "label '%s': KEY=VALUE is expected", *labels);
        }
        return 0;
}

int labels_update(Context *context, const BusTarget *target, char **operands, const LabelsOptions *options,
                  Fault *fault) {
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;

        int r = labels_check(operands + 1, fault);
        if (r >= 0)
                r = client_new_call(client, target, "Update", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", operands[0]);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = bus_append_entry_map(message, "labels", operands + 1);
        if (r >= 0 && options->replace)
                r = bus_append_entry(message, "replace-labels", "b", 1);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}
