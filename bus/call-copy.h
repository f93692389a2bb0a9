/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A method call that is sent again: sd-bus sends each message only once. */

#include <systemd/sd-bus.h>

/* To the same method of the same object, with the same arguments; what its flags say is not taken over. */
int call_copy(sd_bus_message *call, sd_bus_message **ret);
