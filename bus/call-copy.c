/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/call-copy.h"

#include <stdbool.h>

#include "lib/macros.h"

int call_copy(sd_bus_message *call, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        int r = sd_bus_message_new_method_call(
                sd_bus_message_get_bus(call), &copy, sd_bus_message_get_destination(call),
                sd_bus_message_get_path(call), sd_bus_message_get_interface(call),
                sd_bus_message_get_member(call));
        if (r >= 0)
                r = sd_bus_message_rewind(call, true);
        if (r >= 0)
                r = sd_bus_message_copy(copy, call, true);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(copy);
        return 0;
}
