/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/call-details.h"

#include <errno.h>
#include <string.h>

#include "bus/object-path.h"
#include "lib/strv.h"

void call_details_done(CallDetails *details) {
        free(details->namespace);
        free(details->object);
        free(details->argument);
        free(details->second);
        free(details->option);
        *details = (CallDetails){ 0 };
}

/* Where the value of a string option goes that matters here. The first one counts; a second one is refused
 * by the handler's parser. */
static char **option_place(CallDetails *details, const char *option, const char *key) {
        char **place = string_equal(key, "namespace")        ? &details->namespace
                       : option && string_equal(key, option) ? &details->option
                                                             : NULL;
        return place && !*place ? place : NULL;
}

static int read_options(sd_bus_message *message, const char *option, CallDetails *details) {
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                const char *key, *contents, *value;
                char type;
                r = sd_bus_message_read(message, "s", &key);
                if (r >= 0)
                        r = sd_bus_message_peek_type(message, &type, &contents);
                if (r < 0)
                        break;
                char **place = string_equal(contents, "s") ? option_place(details, option, key) : NULL;
                if (place) {
                        r = sd_bus_message_read(message, "v", "s", &value);
                        if (r >= 0 && !(*place = strdup(value)))
                                r = -ENOMEM;
                } else
                        r = sd_bus_message_skip(message, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r;
}

static int read_arguments(sd_bus_message *message, const char *option, CallDetails *details) {
        for (unsigned position = 0;; position++) {
                const char *contents, *value;
                char type;
                int r = sd_bus_message_peek_type(message, &type, &contents);
                if (r <= 0)
                        return r;
                if (position < 2 && type == 's') {
                        char **place = position == 0 ? &details->argument : &details->second;
                        r = sd_bus_message_read(message, "s", &value);
                        if (r >= 0 && !(*place = strdup(value)))
                                r = -ENOMEM;
                } else if (type == 'a' && string_equal(contents, "{sv}"))
                        r = read_options(message, option, details);
                else
                        r = sd_bus_message_skip(message, NULL);
                if (r < 0)
                        return r;
        }
}

int call_details_read(sd_bus_message *message, const char *root_path, const char *option, CallDetails *ret) {
        _cleanup_(call_details_done) CallDetails details = { 0 };

        int r = object_path_decode(root_path, sd_bus_message_get_path(message), NULL, &details.namespace,
                                   &details.object);
        if (r >= 0)
                r = read_arguments(message, option, &details);
        if (r >= 0)
                r = sd_bus_message_rewind(message, true);
        if (r < 0)
                return r;
        *ret = TAKE(details, (CallDetails){ 0 });
        return 0;
}
