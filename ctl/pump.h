/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Copies from one descriptor to another within an event loop: between our own terminal and a container. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/macros.h"

typedef struct Pump Pump;

#define PUMP_SIZE 16384

/* Changes what is passed on: out has room for size + 1 bytes. */
typedef size_t (*PumpFilter)(const char *data, size_t size, char *out, void *userdata);

typedef struct PumpSpec {
        int from, to; /* owned by the pump if the flags say so */
        bool close_from, close_to;
        bool polite; /* to is waited for and never blocks us (a pipe or a terminal's master); else it is just
                        written to */
        PumpFilter filter;
        void (*on_data)(void *userdata); /* something was copied; may be NULL */
        void (*on_end)(void *userdata);  /* once: nothing more comes, or nobody takes it; may be NULL */
        void *userdata;
} PumpSpec;

/* The descriptors are taken over even on failure. */
int pump_new(sd_event *event, const PumpSpec *spec, Pump **ret);
Pump *pump_free(Pump *pump);
DEFINE_CLEANUP(Pump *, pump_free);

bool pump_has_ended(const Pump *pump);
