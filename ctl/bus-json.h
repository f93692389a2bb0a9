/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Values of the bus as JSON: dictionaries with string keys become objects, variants what they hold. */

#include <systemd/sd-bus.h>

#include "ctl/json-writer.h"

/* Writes the value at which the message stands. */
int bus_json_write_value(JsonWriter *writer, sd_bus_message *message);
/* Writes the entries of an a{sv} at which the message stands, as members of the object that is open. */
int bus_json_write_entries(JsonWriter *writer, sd_bus_message *message);
