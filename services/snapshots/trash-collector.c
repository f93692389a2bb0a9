/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/trash-collector.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/worker-run.h"

/* A worker costs more than what most of them delete, and takes its processor from the calls that come next:
 * of containers that come and go it begins once for many. */
#define DELAY_USEC (UINT64_C(100) * 1000)
#define DELAY_ACCURACY_USEC (UINT64_C(10) * 1000)

typedef struct TrashWaiter {
        struct TrashWaiter *next;
        TrashFreed freed;
        bool next_run; /* what it waits for came while the worker ran, which may have missed it */
        TrashOnEnd on_end;
        void *userdata;
} TrashWaiter;

struct TrashCollector {
        sd_event *event;
        const TreeStore *trees; /* weak */
        sd_event_source *delay; /* on: a worker is about to be started */
        WorkerRun *run;
        bool again;       /* something came while it ran */
        bool finding;     /* what an earlier run of the daemon has left is not all there yet */
        bool has_left;    /* not all of it is gone */
        TrashFreed freed; /* of that, and nobody has heard of it */
        TrashWaiter *waiters;
};

/* ---- who waits ---- */

/* Those whose turn it is are taken off the list before anybody is told: who is told may wait again. */
static TrashWaiter *take_waiters(TrashCollector *collector, const TrashFreed *freed) {
        TrashWaiter *ready = NULL;
        for (TrashWaiter **place = &collector->waiters; *place;) {
                TrashWaiter *waiter = *place;
                waiter->freed.size += freed->size;
                waiter->freed.inodes += freed->inodes;
                if (collector->finding || waiter->next_run) {
                        waiter->next_run = collector->finding;
                        place = &waiter->next;
                        continue;
                }
                *place = waiter->next;
                waiter->next = ready;
                ready = waiter;
        }
        return ready;
}

static void tell_waiters(TrashCollector *collector, int r, const TrashFreed *freed, const Fault *fault) {
        for (TrashWaiter *waiter = take_waiters(collector, freed), *next; waiter; waiter = next) {
                next = waiter->next;
                waiter->on_end(r, &waiter->freed, fault, waiter->userdata);
                free(waiter);
        }
}

/* ---- the worker ---- */

static void run_worker(TrashCollector *collector);

/* When nobody waits for the room, nobody is to wait for the disk. But on a disk that others always need, it
 * would never end. */
static void set_idle(TrashCollector *collector) {
        int r = collector->run ? worker_run_set_idle(collector->run, !collector->waiters) : 0;
        if (r < 0)
                log_debug("can't tell the disk how urgent the trash is: %s", strerror(-r));
}

/* They do not wait for what may come. */
static void start_for_waiters(TrashCollector *collector) {
        run_worker(collector);
        if (!collector->run)
                tell_waiters(collector, 0, &(const TrashFreed){ 0 }, NULL);
}

/* Who asks first after a start hears of what was left, too, however soon that was gone. */
static void count_left(TrashCollector *collector, const TrashFreed *freed) {
        if (collector->has_left && !collector->waiters) {
                collector->freed.size += freed->size;
                collector->freed.inodes += freed->inodes;
        }
        collector->has_left = collector->finding || collector->again;
}

static void on_end_of_worker(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        TrashCollector *collector = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        TrashFreed freed = { .size = done->bytes };
        if (r < 0) {
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
                log_warning("%s", own.text);
        } else
                (void) string_to_uint64(done->text, UINT64_MAX, &freed.inodes);
        collector->run = worker_run_free(collector->run);
        count_left(collector, &freed);
        tell_waiters(collector, r, &freed, &own);
        if (collector->again && collector->waiters)
                start_for_waiters(collector);
        else if (collector->again)
                trash_collector_start(collector);
}

static void run_worker(TrashCollector *collector) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        (void) sd_event_source_set_enabled(collector->delay, SD_EVENT_OFF);
        if (collector->run) {
                collector->again = true;
                return;
        }
        collector->again = false;
        if (!tree_store_has_trash(collector->trees)) {
                collector->has_left = collector->has_left && collector->finding;
                return;
        }
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const[]){ "empty-trash", NULL },
                .fds = &collector->trees->handed_trash,
                .fd_count = 1,
                .on_end = on_end_of_worker,
                .userdata = collector,
        };
        int r = worker_run_new(collector->event, &spec, &collector->run, &fault);
        if (r < 0)
                log_warning("%s", fault_text(&fault, r));
        else
                set_idle(collector);
}

/* ---- when it begins ---- */

static int on_delay(sd_event_source *source, uint64_t now, void *userdata) {
        run_worker(userdata);
        return 0;
}

static bool is_delayed(const TrashCollector *collector) {
        int enabled;
        return sd_event_source_get_enabled(collector->delay, &enabled) > 0;
}

void trash_collector_start(TrashCollector *collector) {
        if (collector->run) {
                collector->again = true;
                return;
        }
        if (is_delayed(collector))
                return;
        int r = sd_event_source_set_time_relative(collector->delay, DELAY_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(collector->delay, SD_EVENT_ONESHOT);
        if (r < 0)
                run_worker(collector);
}

int trash_collector_wait(TrashCollector *collector, TrashOnEnd on_end, void *userdata, Fault *fault) {
        size_t count = 0;
        for (const TrashWaiter *waiter = collector->waiters; waiter; waiter = waiter->next)
                count++;
        if (count >= LIMIT_CLEANUPS)
                return fault_set(fault, -EDQUOT, "%zu calls wait for the cleanup already", count);
        TrashWaiter *waiter = new0(TrashWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (TrashWaiter){ .next = collector->waiters,
                                 .freed = collector->freed,
                                 .next_run = collector->run != NULL,
                                 .on_end = on_end,
                                 .userdata = userdata };
        collector->waiters = waiter;
        collector->freed = (TrashFreed){ 0 };
        set_idle(collector);
        start_for_waiters(collector);
        return 0;
}

void trash_collector_has_all(TrashCollector *collector) {
        collector->finding = false;
        for (TrashWaiter *waiter = collector->waiters; waiter; waiter = waiter->next)
                waiter->next_run = collector->run != NULL;
        run_worker(collector);
        if (collector->run)
                return;
        collector->has_left = false;
        tell_waiters(collector, 0, &(const TrashFreed){ 0 }, NULL);
}

bool trash_collector_is_busy(const TrashCollector *collector) {
        return collector->run || is_delayed(collector);
}

/* ---- life ---- */

int trash_collector_new(sd_event *event, const TreeStore *trees, TrashCollector **ret) {
        _cleanup_(trash_collector_freep) TrashCollector *collector = new0(TrashCollector, 1);
        if (!collector)
                return -ENOMEM;
        *collector = (TrashCollector){
                .event = sd_event_ref(event), .trees = trees, .finding = true, .has_left = true
        };
        int r = sd_event_add_time(event, &collector->delay, CLOCK_MONOTONIC, 0, DELAY_ACCURACY_USEC,
                                  on_delay, collector);
        if (r >= 0)
                r = sd_event_source_set_enabled(collector->delay, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(collector);
        return 0;
}

TrashCollector *trash_collector_free(TrashCollector *collector) {
        if (!collector)
                return NULL;
        worker_run_free(collector->run);
        sd_event_source_disable_unref(collector->delay);
        for (TrashWaiter *waiter = collector->waiters, *next; waiter; waiter = next) {
                next = waiter->next;
                free(waiter);
        }
        sd_event_unref(collector->event);
        return mfree(collector);
}
