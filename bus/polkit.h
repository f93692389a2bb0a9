/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One question to polkit (org.freedesktop.PolicyKit1.Authority.CheckAuthorization), asynchronously. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

typedef enum PolkitAnswer {
        POLKIT_YES,
        POLKIT_NO,
        POLKIT_CHALLENGE, /* yes, if the caller were allowed to interact with the user */
        POLKIT_UNAVAILABLE,
} PolkitAnswer;

typedef void (*PolkitAnswered)(PolkitAnswer answer, void *userdata);

typedef struct PolkitQuestion {
        const char *action;
        const char *sender;         /* unique bus name of who is asked about */
        const char *const *details; /* key, value, key, value, …, NULL */
        bool interactive;
} PolkitQuestion;

/* The question ends when *ret_slot is unreferenced. */
int polkit_ask(sd_bus *bus, const PolkitQuestion *question, PolkitAnswered answered, void *userdata,
               sd_bus_slot **ret_slot);
