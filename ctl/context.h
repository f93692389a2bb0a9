/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the options that every verb has say, and the bus connection that the verb may open. */

#include <stdbool.h>

#include "ctl/bus-client.h"

typedef enum OutputFormat {
        OUTPUT_TABLE,
        OUTPUT_JSON_SHORT,
        OUTPUT_JSON_PRETTY,
        _OUTPUT_FORMAT_MAX,
        _OUTPUT_FORMAT_INVALID = -22,
} OutputFormat;

typedef struct Context {
        const char *verb;      /* as it was called: "content ls" */
        const char *namespace; /* NULL: the caller's own */
        OutputFormat output;
        bool no_pager;
        bool no_legend;
        bool no_ask_password;
        bool help;
        bool version;
        Client client;
} Context;

static inline bool context_is_json(const Context *context) {
        return context->output != OUTPUT_TABLE;
}
