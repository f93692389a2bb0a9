/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The epochs of one owner (bus/collector.h): what was touched in each, whether what keeps things has
 * changed, and calls that wait while something is swept anywhere. */

#include <stdbool.h>
#include <stdint.h>

#include "bus/call-gate.h"
#include "bus/peer.h"

typedef struct CollectorEpochs CollectorEpochs;
typedef struct CollectorEpoch CollectorEpoch;

typedef struct CollectorEpochsSpec {
        sd_bus *bus;
        const CallGateMember *gated; /* borrowed */
        size_t gated_count;
        bool (*is_settling)(void *owner); /* these may be NULL */
        void (*on_hold)(void *owner, bool holding);
        void *owner;
} CollectorEpochsSpec;

int collector_epochs_new(const CollectorEpochsSpec *spec, CollectorEpochs **ret);
CollectorEpochs *collector_epochs_free(CollectorEpochs *epochs);
DEFINE_CLEANUP(CollectorEpochs *, collector_epochs_free);

bool collector_epochs_are_open(const CollectorEpochs *epochs);
/* A name that is safe from now on, in all that are open. */
void collector_epochs_touch(CollectorEpochs *epochs, const char *name);
/* What keeps things has become more. */
void collector_epochs_note_change(CollectorEpochs *epochs);

/* It ends with the connection. -EBUSY when too many are open. */
int collector_epoch_begin(CollectorEpochs *epochs, Peer *peer, uint64_t *ret);
void collector_epoch_end(CollectorEpoch *epoch);
/* NULL: it is not open. */
CollectorEpoch *collector_epoch_find(CollectorEpochs *epochs, uint64_t number);
bool collector_epoch_is_touched(const CollectorEpoch *epoch, const char *name, size_t length);
/* A list begins: of what changes from now on Hold tells. */
void collector_epoch_note_list(CollectorEpoch *epoch);
/* Answers the message, now or when no call of before is at work any more. -EBUSY: it waits already. */
int collector_epoch_hold(CollectorEpoch *epoch, sd_bus_message *message);
void collector_epoch_release(CollectorEpoch *epoch);
/* Nothing that keeps things becomes more in this moment, and it is known whether anything has. */
bool collector_epoch_is_held(const CollectorEpoch *epoch);
