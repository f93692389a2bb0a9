/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/peer.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "services/images/collection.h"
#include "services/images/images-bus.h"

typedef struct CollectOptions {
        uint64_t older_than; /* seconds */
        bool all;
        bool wait;
} CollectOptions;

static const BusOption collect_options[] = {
        { "older-than", "t", offsetof(CollectOptions, older_than) },
        { "all-namespaces", "b", offsetof(CollectOptions, all) },
        { "wait", "b", offsetof(CollectOptions, wait) },
};
#define PLAN_OPTIONS (ELEMENTS_OF(collect_options) - 1) /* all but "wait" */

typedef struct CollectWaiter {
        struct CollectWaiter *next;
        sd_bus_message *message;
} CollectWaiter;

/* One collection from its call to its end. */
typedef struct Collect {
        ImagesBus *images; /* weak */
        Job *job;          /* weak */
        Collection *collection;
        size_t image_count;
        CollectionCount gone[_COLLECTION_PART_MAX];
        CollectWaiter *waiters; /* calls that are answered at the end */
        unsigned waiter_count;
} Collect;

/* ---- what the job tells ---- */

static void on_phase(const char *phase, void *userdata) {
        const Collect *collect = userdata;
        job_set_phase(collect->job, phase);
}

/* After a beginning anew, what went before is done already. */
static void on_plan(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata) {
        const Collect *collect = userdata;
        const JobPart parts[_COLLECTION_PART_MAX] = {
                [COLLECTION_SNAPSHOTS] = { "snapshots", "collect",
                                           plan[COLLECTION_SNAPSHOTS].bytes +
                                                   collect->gone[COLLECTION_SNAPSHOTS].bytes },
                [COLLECTION_BLOBS] = { "blobs", "collect",
                                       plan[COLLECTION_BLOBS].bytes +
                                               collect->gone[COLLECTION_BLOBS].bytes },
        };
        (void) job_set_parts(collect->job, parts, ELEMENTS_OF(parts));
}

static void on_progress(CollectionPart part, const CollectionCount *gone, void *userdata) {
        Collect *collect = userdata;
        collect->gone[part] = *gone;
        job_part_progress(collect->job, (size_t) part, "removing", gone->bytes);
}

static void on_image(const char *namespace, const char *name, void *userdata) {
        Collect *collect = userdata;
        collect->image_count++;
        (void) object_kind_emit_removed(collect->images->images, namespace, name);
}

static void set_number(Job *job, const char *key, uint64_t value) {
        char text[24];
        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        (void) job_set_result(job, key, text);
}

static int reply_with_job(sd_bus_message *message, const Job *job) {
        _cleanup_free_ char *path = NULL;
        int r = job_get_path(job, &path);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static void on_end(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                   void *userdata) {
        Collect *collect = userdata;
        set_number(collect->job, "images", collect->image_count);
        set_number(collect->job, "snapshots", gone[COLLECTION_SNAPSHOTS].things);
        set_number(collect->job, "blobs", gone[COLLECTION_BLOBS].things);
        set_number(collect->job, "bytes", gone[COLLECTION_SNAPSHOTS].bytes + gone[COLLECTION_BLOBS].bytes);
        if (r < 0 && r != -ECANCELED)
                log_notice("the collection failed: %s", fault_text(fault, r));
        for (CollectWaiter *waiter = collect->waiters, *next; waiter; waiter = next) {
                next = waiter->next;
                if (r < 0 || reply_with_job(waiter->message, collect->job) < 0)
                        (void) bus_reply_fault(waiter->message, r < 0 ? r : -EIO, fault);
                sd_bus_message_unref(waiter->message);
                free(waiter);
        }
        job_finish(collect->job, r, fault);
        free(collect);
}

static const CollectionObserver observer = { on_phase, on_plan, on_progress, on_image, on_end };

static void on_cancel(Job *job, void *userdata) {
        const Collect *collect = userdata;
        collection_cancel(collect->collection);
}

/* ---- Collect ---- */

int collect_read_options(sd_bus_message *message, bool may_wait, CollectRequest *ret, sd_bus_error *error) {
        CollectOptions options = { 0 };
        int r = bus_options_read(message, collect_options,
                                 may_wait ? ELEMENTS_OF(collect_options) : PLAN_OPTIONS, &options, error);
        if (r < 0)
                return r;
        if (options.all && !peer_is_root(bus_current_peer(sd_bus_message_get_bus(message))))
                return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
                                        "option 'all-namespaces' is for root");
        if (options.older_than > UINT32_MAX)
                return bus_invalid_argument(error, "option 'older-than': that is too long ago");
        *ret = (CollectRequest){
                .namespace = options.all ? NULL : bus_call_namespace(message),
                .older_than = options.older_than * 1000000,
                .wait = options.wait,
        };
        return 0;
}

static int begin_job(Collect *collect, sd_bus_message *message, const char *work, Fault *fault) {
        const Peer *peer = bus_current_peer(collect->images->bus);
        int r = job_new(collect->images->transfers,
                        &(JobSpec){
                                .namespace = bus_call_namespace(message),
                                .verb = "collect",
                                .object = "garbage",
                                .work = work,
                                .owner = peer ? peer_uid(peer) : 0,
                                .quota = QUOTA_TRANSFERS,
                                .cancel = on_cancel,
                                .userdata = collect,
                        },
                        &collect->job);
        if (r == -EDQUOT)
                fault_set(fault, r, "too many transfers of this user are under way");
        return r;
}

/* Now, or at the end. */
static int answer(Collect *collect, sd_bus_message *message, const CollectRequest *request,
                  sd_bus_error *error) {
        if (!request->wait)
                return reply_with_job(message, collect->job);
        if (collect->waiter_count >= LIMIT_WAITERS_PER_JOB)
                return bus_error_set_fault(error, -EDQUOT, NULL);
        CollectWaiter *waiter = new0(CollectWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (CollectWaiter){ .next = collect->waiters, .message = sd_bus_message_ref(message) };
        collect->waiters = waiter;
        collect->waiter_count++;
        return 1;
}

int method_collect(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ Collect *collect = new0(Collect, 1);
        _cleanup_free_ char *work = NULL;
        CollectRequest request;

        if (!collect)
                return -ENOMEM;
        int r = collect_read_options(message, true, &request, error);
        if (r < 0)
                return r;
        if (asprintf(&work, "collect %i %" PRIu64, !request.namespace, request.older_than) < 0) {
                work = NULL;
                return -ENOMEM;
        }
        const Job *running = job_table_find_running(images->transfers, bus_call_namespace(message), work);
        if (running)
                return answer(job_userdata(running), message, &request, error);
        collect->images = images;
        r = begin_job(collect, message, work, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        r = collection_new(images->service,
                           &(CollectionSpec){
                                   .namespace = request.namespace,
                                   .older_than = request.older_than,
                                   .observer = &observer,
                                   .userdata = collect,
                           },
                           &collect->collection);
        if (r < 0) {
                job_finish(collect->job, r, NULL);
                return r;
        }
        r = answer(collect, message, &request, error);
        collection_start(TAKE_PTR(collect)->collection);
        return r;
}
