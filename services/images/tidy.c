/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/tidy.h"

#include <errno.h>

#include "lib/log.h"
#include "services/images/collection.h"

typedef struct TidyWaiter {
        struct TidyWaiter *next;
        TidyDone done;
        void *userdata;
} TidyWaiter;

struct Tidy {
        ImageService *service; /* weak */
        bool running;
        TidyWaiter *waiting; /* for the next run */
        TidyWaiter *served;  /* by this one */
};

int tidy_new(ImageService *service, Tidy **ret) {
        Tidy *tidy = new0(Tidy, 1);
        if (!tidy)
                return -ENOMEM;
        tidy->service = service;
        *ret = tidy;
        return 0;
}

static void waiters_free(TidyWaiter *waiter) {
        for (TidyWaiter *next; waiter; waiter = next) {
                next = waiter->next;
                free(waiter);
        }
}

Tidy *tidy_free(Tidy *tidy) {
        if (!tidy)
                return NULL;
        waiters_free(tidy->waiting);
        waiters_free(tidy->served);
        free(tidy);
        return NULL;
}

static void run(Tidy *tidy);

static void tell(Tidy *tidy) {
        TidyWaiter *waiter = TAKE_PTR(tidy->served);
        tidy->running = false;
        for (TidyWaiter *next; waiter; waiter = next) {
                next = waiter->next;
                waiter->done(waiter->userdata);
                free(waiter);
        }
        if (!tidy->running && tidy->waiting)
                run(tidy);
}

/* ---- one collection of what is noted ---- */

static void on_phase(const char *phase, void *userdata) {
}

static void on_plan(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata) {
}

static void on_progress(CollectionPart part, const CollectionCount *gone, void *userdata) {
}

static void on_image(const char *namespace, const char *name, void *userdata) {
}

static void on_end(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                   void *userdata) {
        if (r < 0)
                log_notice("what is not needed any longer is left for the next collection: %s",
                           fault_text(fault, r));
        tell(userdata);
}

static const CollectionObserver observer = { on_phase, on_plan, on_progress, on_image, on_end };

static void run(Tidy *tidy) {
        Collection *collection;
        tidy->running = true;
        tidy->served = TAKE_PTR(tidy->waiting);
        if (!image_store_has_garbage(tidy->service->images)) {
                tell(tidy);
                return;
        }
        int r = collection_new(tidy->service,
                               &(CollectionSpec){ .noted = true, .observer = &observer, .userdata = tidy },
                               &collection);
        if (r >= 0)
                collection_start(collection);
        else
                on_end(r, NULL, NULL, tidy);
}

int tidy_request(Tidy *tidy, TidyDone done, void *userdata) {
        TidyWaiter *waiter = new0(TidyWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (TidyWaiter){ .next = tidy->waiting, .done = done, .userdata = userdata };
        tidy->waiting = waiter;
        if (!tidy->running)
                run(tidy);
        return 0;
}
