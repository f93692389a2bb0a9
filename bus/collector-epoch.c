/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/collector-epoch.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "bus/bus-error.h"
#include "lib/limits.h"
#include "lib/log.h"

/* Touched names are remembered by a bit each, found by their hash: it takes no more memory however many they
 * are, and a bit that two names share only keeps a thing until the next collection. */
#define TOUCHED_BITS (UINT64_C(1) << 20)
#define GRACE_USEC UINT64_C(1000000)

struct CollectorEpoch {
        CollectorEpoch *next;
        CollectorEpochs *epochs; /* weak */
        uint64_t number;
        uint64_t seed;
        uint64_t *touched;
        PeerWatch *watch;
        bool changed; /* what keeps things, since the last list of it was begun */
        bool held;
        sd_bus_message *holding; /* waits until nothing is at work any more */
        sd_event_source *post;   /* looks after each event whether that is so */
        sd_event_source *timeout;
};

struct CollectorEpochs {
        CollectorEpochsSpec spec;
        CallGate *gate;
        CollectorEpoch *first;
        unsigned count, held;
};

/* ---- all of them ---- */

static void on_full(void *userdata) {
        CollectorEpochs *epochs = userdata;
        log_notice("a collection is left in the middle: too many calls wait for it");
        for (CollectorEpoch *epoch = epochs->first, *next; epoch; epoch = next) {
                next = epoch->next;
                if (epoch->held)
                        collector_epoch_end(epoch);
        }
}

int collector_epochs_new(const CollectorEpochsSpec *spec, CollectorEpochs **ret) {
        _cleanup_(collector_epochs_freep) CollectorEpochs *epochs = new0(CollectorEpochs, 1);
        if (!epochs)
                return -ENOMEM;
        epochs->spec = *spec;
        int r = call_gate_new(
                &(CallGateSpec){
                        .bus = spec->bus,
                        .members = spec->gated,
                        .member_count = spec->gated_count,
                        .on_full = on_full,
                        .userdata = epochs,
                },
                &epochs->gate);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(epochs);
        return 0;
}

CollectorEpochs *collector_epochs_free(CollectorEpochs *epochs) {
        if (!epochs)
                return NULL;
        while (epochs->first)
                collector_epoch_end(epochs->first);
        call_gate_free(epochs->gate);
        free(epochs);
        return NULL;
}

bool collector_epochs_are_open(const CollectorEpochs *epochs) {
        return epochs->first;
}

static uint64_t touched_bit(const CollectorEpoch *epoch, const char *name, size_t length) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ epoch->seed; /* FNV-1a */
        for (size_t i = 0; i < length; i++)
                hash = (hash ^ (uint8_t) name[i]) * UINT64_C(0x100000001b3);
        return (hash ^ (hash >> 32)) % TOUCHED_BITS;
}

void collector_epochs_touch(CollectorEpochs *epochs, const char *name) {
        for (CollectorEpoch *epoch = epochs->first; epoch; epoch = epoch->next) {
                uint64_t bit = touched_bit(epoch, name, strlen(name));
                epoch->touched[bit / 64] |= UINT64_C(1) << (bit % 64);
        }
}

void collector_epochs_note_change(CollectorEpochs *epochs) {
        for (CollectorEpoch *epoch = epochs->first; epoch; epoch = epoch->next)
                epoch->changed = true;
}

static void hold(CollectorEpochs *epochs) {
        const CollectorEpochsSpec *spec = &epochs->spec;
        call_gate_close(epochs->gate);
        if (epochs->held++ == 0 && spec->on_hold)
                spec->on_hold(spec->owner, true);
}

static void release(CollectorEpochs *epochs) {
        const CollectorEpochsSpec *spec = &epochs->spec;
        if (--epochs->held == 0 && spec->on_hold)
                spec->on_hold(spec->owner, false);
        call_gate_open(epochs->gate);
}

/* ---- one of them ---- */

void collector_epoch_end(CollectorEpoch *epoch) {
        CollectorEpochs *epochs = epoch->epochs;
        for (CollectorEpoch **place = &epochs->first; *place; place = &(*place)->next)
                if (*place == epoch) {
                        *place = epoch->next;
                        epochs->count--;
                        break;
                }
        if (epoch->holding) {
                (void) bus_reply_fault(epoch->holding, -EBUSY, NULL);
                sd_bus_message_unref(epoch->holding);
        }
        peer_watch_free(epoch->watch);
        sd_event_source_disable_unref(epoch->post);
        sd_event_source_disable_unref(epoch->timeout);
        free(epoch->touched);
        if (epoch->held)
                release(epochs);
        free(epoch);
}

/* The other owner may be a moment later in hearing of it, and sweeps until then. */
static void epoch_on_gone(void *userdata) {
        CollectorEpoch *epoch = userdata;
        log_debug("the collection was left in the middle");
        epoch->number = 0;
        if (!epoch->held || sd_event_source_set_time_relative(epoch->timeout, GRACE_USEC) < 0 ||
            sd_event_source_set_enabled(epoch->timeout, SD_EVENT_ONESHOT) < 0)
                collector_epoch_end(epoch);
}

/* Who holds does not say what becomes of it: nobody waits for that any longer. */
static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        CollectorEpoch *epoch = userdata;
        if (epoch->number != 0)
                log_notice("a collection has been holding for too long, and is ended");
        collector_epoch_end(epoch);
        return 0;
}

static int on_post(sd_event_source *source, void *userdata);

static int add_sources(CollectorEpoch *epoch) {
        sd_event *event = sd_bus_get_event(epoch->epochs->spec.bus);
        int r = sd_event_add_post(event, &epoch->post, on_post, epoch);
        if (r >= 0)
                r = sd_event_source_set_enabled(epoch->post, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &epoch->timeout, CLOCK_MONOTONIC, UINT64_MAX / 2, 0,
                                               on_timeout, epoch);
        return r < 0 ? r : sd_event_source_set_enabled(epoch->timeout, SD_EVENT_OFF);
}

int collector_epoch_begin(CollectorEpochs *epochs, Peer *peer, uint64_t *ret) {
        uint64_t random[2];
        if (epochs->count >= LIMIT_EPOCHS)
                return -EBUSY;
        CollectorEpoch *epoch = new0(CollectorEpoch, 1);
        if (!epoch)
                return -ENOMEM;
        *epoch = (CollectorEpoch){ .next = epochs->first, .epochs = epochs };
        epochs->first = epoch;
        epochs->count++;
        epoch->touched = new0(uint64_t, TOUCHED_BITS / 64);
        int r = epoch->touched ? 0 : -ENOMEM;
        if (r >= 0 && getrandom(random, sizeof(random), 0) != sizeof(random))
                r = -EIO;
        if (r >= 0)
                r = peer_watch_new(peer, epoch_on_gone, epoch, &epoch->watch);
        if (r >= 0)
                r = add_sources(epoch);
        if (r < 0) {
                collector_epoch_end(epoch);
                return r;
        }
        /* Not one that an earlier process gave. */
        epoch->number = random[0] | 1;
        epoch->seed = random[1];
        /* No list was made in it so far. */
        epoch->changed = true;
        *ret = epoch->number;
        return 0;
}

CollectorEpoch *collector_epoch_find(CollectorEpochs *epochs, uint64_t number) {
        for (CollectorEpoch *epoch = epochs->first; epoch; epoch = epoch->next)
                if (epoch->number == number && number != 0)
                        return epoch;
        return NULL;
}

bool collector_epoch_is_touched(const CollectorEpoch *epoch, const char *name, size_t length) {
        uint64_t bit = touched_bit(epoch, name, length);
        return epoch->touched[bit / 64] & (UINT64_C(1) << (bit % 64));
}

void collector_epoch_note_list(CollectorEpoch *epoch) {
        epoch->changed = false;
}

/* ---- holding ---- */

bool collector_epoch_is_held(const CollectorEpoch *epoch) {
        return epoch->held && !epoch->holding;
}

static bool is_settling(const CollectorEpoch *epoch) {
        const CollectorEpochsSpec *spec = &epoch->epochs->spec;
        return spec->is_settling && spec->is_settling(spec->owner);
}

static int answer(const CollectorEpoch *epoch, sd_bus_message *message) {
        return sd_bus_reply_method_return(message, "b", (int) epoch->changed);
}

static int end_after(const CollectorEpoch *epoch, uint64_t seconds) {
        int r = sd_event_source_set_time_relative(epoch->timeout, seconds * UINT64_C(1000000));
        return r < 0 ? r : sd_event_source_set_enabled(epoch->timeout, SD_EVENT_ONESHOT);
}

static int on_post(sd_event_source *source, void *userdata) {
        CollectorEpoch *epoch = userdata;
        if (is_settling(epoch))
                return 0;
        (void) end_after(epoch, LIMIT_HOLD_SECONDS);
        sd_bus_message *message = TAKE_PTR(epoch->holding);
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        (void) answer(epoch, message);
        sd_bus_message_unref(message);
        return 0;
}

int collector_epoch_hold(CollectorEpoch *epoch, sd_bus_message *message) {
        if (epoch->holding)
                return -EBUSY;
        int r = end_after(epoch, is_settling(epoch) ? LIMIT_SETTLE_SECONDS : LIMIT_HOLD_SECONDS);
        if (r < 0)
                return r;
        if (!epoch->held)
                hold(epoch->epochs);
        epoch->held = true;
        if (!is_settling(epoch))
                return answer(epoch, message);
        r = sd_event_source_set_enabled(epoch->post, SD_EVENT_ON);
        if (r < 0)
                return r;
        epoch->holding = sd_bus_message_ref(message);
        return 1;
}

void collector_epoch_release(CollectorEpoch *epoch) {
        if (!epoch->held || epoch->holding)
                return;
        (void) sd_event_source_set_enabled(epoch->timeout, SD_EVENT_OFF);
        epoch->held = false;
        release(epoch->epochs);
}
