/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The a{sv} of options that ends every method: read by a table into a struct. An unknown, duplicate or
 * wrongly typed key is an error that names the key.
 *
 *   typedef struct PullOptions { const char *platform; bool unpack; uint64_t size; char **env; int stdin_fd;
 * } PullOptions; static const BusOption pull_options[] = { { "platform", "s", offsetof(PullOptions,
 * platform) }, { "unpack", "b", offsetof(PullOptions, unpack) }, { "stdin", "h", offsetof(PullOptions,
 * stdin_fd) },
 *   };
 *   r = bus_options_read(message, pull_options, ELEMENTS_OF(pull_options), &options, error);
 *
 * The field's type by signature: "s" const char * (borrowed from the message), "b" bool, "u" uint32_t, "t"
 * uint64_t, "i" int32_t, "x" int64_t, "h" int (borrowed from the message: dup it), "as" char ** (owned
 * strv), "a{ss}" char ** (owned strv of "KEY=value" in order, keys without '='); for any other signature
 * give a reader. Fields of absent keys are untouched: set defaults first. "namespace" is accepted by every
 * table without being listed: bus_call_namespace() has its value. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

/* For a value with a signature of its own (such as "a(ssas)"): reads it from the message, which stands
 * inside the variant. */
typedef int (*BusOptionReader)(sd_bus_message *message, void *field, sd_bus_error *error);

typedef struct BusOption {
        const char *key;
        const char *signature;
        size_t offset;
        BusOptionReader reader; /* NULL for the signatures above */
        size_t given_offset; /* of a bool that is set when the key was given; 0: none (so the struct does not
                                begin with it) */
} BusOption;

/* Reads the a{sv} at the message's current position, and checks that nothing follows. */
int bus_options_read(sd_bus_message *message, const BusOption *table, size_t count, void *options,
                     sd_bus_error *error);

/* For the other direction: one entry of an a{sv} that is being built, "key" and a variant of one basic value
 * or "as". */
int bus_append_entry(sd_bus_message *message, const char *key, const char *signature, ...);
/* "KEY=value" strings as an a{ss}, or as an entry whose value is one. */
int bus_append_map(sd_bus_message *message, char *const *strv);
int bus_append_entry_map(sd_bus_message *message, const char *key, char *const *strv);
