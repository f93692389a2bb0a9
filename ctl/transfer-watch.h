/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Follows a transfer, or another job, to its end, with its progress on standard error: bars on a terminal, a
 * line now and then elsewhere. Ctrl-C asks the service to cancel it, and a second one leaves it alone; or
 * the first one does, where it is not ours. */

#include "ctl/context.h"

typedef struct TransferResult {
        char *name, *digest, *platform;
        uint64_t bytes, usec;
        sd_bus_message *message; /* the whole answer of Wait(), rewound */
} TransferResult;

void transfer_result_done(TransferResult *result);

typedef enum TransferWatchFlags {
        TRANSFER_WATCH_QUIET = 1 << 0, /* no progress */
        TRANSFER_WATCH_OURS = 1 << 1,  /* Ctrl-C cancels it */
} TransferWatchFlags;

/* -ECANCELED where it was cancelled, by whomever. */
int transfer_watch(Context *context, const BusTarget *job, TransferWatchFlags flags, TransferResult *ret,
                   Fault *fault);
