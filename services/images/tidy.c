/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/tidy.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "lib/strv.h"
#include "services/images/survey.h"
#include "services/images/sweep.h"

typedef struct TidyWaiter {
        struct TidyWaiter *next;
        TidyDone done;
        void *userdata;
} TidyWaiter;

struct Tidy {
        ImageService *service; /* weak */
        Survey *survey;
        bool running;
        TidyWaiter *waiting;   /* for the next run */
        TidyWaiter *served;    /* by this one */
        Sweep *sweep;          /* being filled */
        ReferenceGraph *graph; /* weak, meanwhile */
        char **kept;           /* meanwhile: namespace, kind, name, … */
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
        survey_free(tidy->survey);
        waiters_free(tidy->waiting);
        waiters_free(tidy->served);
        free(tidy);
        return NULL;
}

static void run(Tidy *tidy);

static void on_swept(void *userdata) {
        Tidy *tidy = userdata;
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

static int look_at(const char *namespace, GarbageKind kind, const char *name, void *userdata) {
        Tidy *tidy = userdata;
        uint32_t node = reference_graph_find(tidy->graph, kind == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT,
                                             NODE_NAME(namespace), NODE_NAME(name));
        if (node != NODE_NONE && reference_graph_node(tidy->graph, node)->live) {
                int r = strv_append(&tidy->kept, namespace);
                if (r >= 0)
                        r = strv_append(&tidy->kept, kind == GARBAGE_BLOB ? "blob" : "snapshot");
                return r < 0 ? r : strv_append(&tidy->kept, name);
        }
        return sweep_add(tidy->sweep, kind == GARBAGE_BLOB ? SWEEP_BLOB : SWEEP_SNAPSHOT, namespace, name);
}

/* What is kept by others than images is the business of a later collection. */
static int forget_kept(Tidy *tidy) {
        _cleanup_strv_ char **kept = TAKE_PTR(tidy->kept);
        int r = 0;
        for (size_t i = 0; r >= 0 && kept && kept[i] && kept[i + 1] && kept[i + 2]; i += 3)
                r = image_store_forget_garbage(
                        tidy->service->images, kept[i],
                        string_equal(kept[i + 1], "blob") ? GARBAGE_BLOB : GARBAGE_SNAPSHOT, kept[i + 2]);
        return r < 0 ? r : 0;
}

static void on_surveyed(int r, const Fault *fault, ReferenceGraph **graph, void *userdata) {
        Tidy *tidy = userdata;
        _cleanup_(sweep_freep) Sweep *sweep = NULL;

        tidy->survey = NULL;
        if (r >= 0)
                r = sweep_new(tidy->service, &sweep);
        if (r >= 0) {
                tidy->graph = *graph;
                tidy->sweep = sweep;
                r = image_store_list_garbage(tidy->service->images, look_at, tidy);
                tidy->graph = NULL;
                tidy->sweep = NULL;
                int forgotten = forget_kept(tidy);
                r = r < 0 ? r : forgotten;
        }
        if (r < 0) {
                log_notice("what removed images needed is left for the next collection: %s",
                           fault_text(fault, r));
                on_swept(tidy);
                return;
        }
        sweep_start(TAKE_PTR(sweep), on_swept, tidy);
}

static void run(Tidy *tidy) {
        tidy->running = true;
        tidy->served = TAKE_PTR(tidy->waiting);
        if (!image_store_has_garbage(tidy->service->images)) {
                on_swept(tidy);
                return;
        }
        int r = survey_new(tidy->service, &(SurveySpec){ .roots = true }, on_surveyed, tidy, &tidy->survey);
        if (r < 0)
                on_surveyed(r, NULL, NULL, tidy);
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
