/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/collection.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/images/survey.h"

/* A service that died in the middle has forgotten the epoch: it is begun anew, so many times. */
#define TRIES 4
#define BATCH 400

typedef enum CollectionStep {
        COLLECTION_WAITING,
        COLLECTION_BEGIN_SNAPSHOTS,
        COLLECTION_BEGIN_CONTENT,
        COLLECTION_SURVEY,
        COLLECTION_SWEEP_SNAPSHOTS,
        COLLECTION_SWEEP_BLOBS,
        COLLECTION_END_SNAPSHOTS,
        COLLECTION_END_CONTENT,
        COLLECTION_DONE,
        _COLLECTION_STEP_MAX,
        _COLLECTION_STEP_INVALID = -22,
} CollectionStep;

typedef struct Candidate {
        uint32_t node;
        unsigned depth;
} Candidate;

struct Collection {
        ImageService *service; /* weak */
        Collection *next;
        char *namespace;
        uint64_t older_than;
        const CollectionObserver *observer;
        void *userdata;

        CollectionStep step;
        unsigned tries;
        bool again; /* when all is closed, it begins anew */
        uint64_t started;
        StoreCall *call;
        Survey *survey;
        uint64_t epochs[_COLLECTION_PART_MAX];
        ReferenceGraph *graph;
        Candidate *candidates[_COLLECTION_PART_MAX];
        size_t candidate_count[_COLLECTION_PART_MAX];
        size_t position;
        CollectionCount gone[_COLLECTION_PART_MAX];
        int error;
        Fault fault;
};

static void advance(Collection *collection);

static bool is_sweep(CollectionStep step) {
        return step == COLLECTION_SWEEP_SNAPSHOTS || step == COLLECTION_SWEEP_BLOBS;
}

/* ---- life ---- */

int collection_new(ImageService *service, const CollectionSpec *spec, Collection **ret) {
        Collection *collection = new0(Collection, 1);
        if (!collection)
                return -ENOMEM;
        *collection = (Collection){
                .service = service,
                .older_than = spec->older_than,
                .observer = spec->observer,
                .userdata = spec->userdata,
        };
        if (spec->namespace && !(collection->namespace = strdup(spec->namespace))) {
                free(collection);
                return -ENOMEM;
        }
        Collection **place = &service->collections;
        while (*place)
                place = &(*place)->next;
        *place = collection;
        *ret = collection;
        return 0;
}

static void forget_plan(Collection *collection) {
        collection->graph = reference_graph_free(collection->graph);
        for (CollectionPart part = 0; part < _COLLECTION_PART_MAX; part++) {
                collection->candidates[part] = mfree(collection->candidates[part]);
                collection->candidate_count[part] = 0;
        }
        collection->position = 0;
}

Collection *collection_free(Collection *collection) {
        if (!collection)
                return NULL;
        for (Collection **p = &collection->service->collections; *p; p = &(*p)->next)
                if (*p == collection) {
                        *p = collection->next;
                        break;
                }
        store_call_free(collection->call);
        survey_free(collection->survey);
        forget_plan(collection);
        fault_done(&collection->fault);
        free(collection->namespace);
        free(collection);
        return NULL;
}

static void collection_end(Collection *collection) {
        ImageService *service = collection->service;
        if (collection->error >= 0)
                log_info("collected %llu snapshots and %llu blobs, %llu bytes",
                         (unsigned long long) collection->gone[COLLECTION_SNAPSHOTS].things,
                         (unsigned long long) collection->gone[COLLECTION_BLOBS].things,
                         (unsigned long long) (collection->gone[COLLECTION_SNAPSHOTS].bytes +
                                               collection->gone[COLLECTION_BLOBS].bytes));
        collection->observer->on_end(collection->error, &collection->fault, collection->gone,
                                     collection->userdata);
        collection_free(collection);
        if (service->collections && service->collections->step == COLLECTION_WAITING)
                collection_start(service->collections);
}

static bool may_begin_anew(int r) {
        return r == -EBUSY || r == -EHOSTUNREACH;
}

/* Closes what is open, and then it is the end, or another beginning. */
static void collection_fail(Collection *collection, int r, Fault *fault) {
        bool open = collection->step >= COLLECTION_BEGIN_CONTENT;
        if (collection->step >= COLLECTION_END_SNAPSHOTS)
                return;
        collection->again = open && may_begin_anew(r) && collection->tries < TRIES;
        if (collection->again)
                log_info("the collection begins anew: %s", fault_text(fault, r));
        else {
                collection->error = r;
                fault_move(&collection->fault, fault);
        }
        collection->step = COLLECTION_END_SNAPSHOTS;
        advance(collection);
}

void collection_cancel(Collection *collection) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (collection->step == COLLECTION_DONE || collection->error < 0)
                return;
        fault_set(&fault, -ECANCELED, "the collection was cancelled");
        /* An epoch whose number is still on its way could not be closed: its answer is waited for. */
        if (collection->step != COLLECTION_SURVEY && !is_sweep(collection->step)) {
                collection->error = -ECANCELED;
                fault_move(&collection->fault, &fault);
                if (collection->step == COLLECTION_WAITING)
                        collection_end(collection);
                return;
        }
        collection->call = store_call_free(collection->call);
        collection->survey = survey_free(collection->survey);
        collection_fail(collection, -ECANCELED, &fault);
}

/* ---- what is to go ---- */

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* What is built on others goes before them. */
static int compare_candidates(const void *left, const void *right) {
        const Candidate *a = left, *b = right;
        return a->depth != b->depth ? (a->depth < b->depth) - (a->depth > b->depth)
                                    : (a->node > b->node) - (a->node < b->node);
}

static int find_candidates(Collection *collection, CollectionPart part, CollectionCount *ret) {
        NodeKind kind = part == COLLECTION_BLOBS ? NODE_BLOB : NODE_SNAPSHOT;
        CollectionCount count = { 0 };
        size_t n = 0;

        for (uint32_t i = 0; i < reference_graph_count(collection->graph); i++)
                n += reference_graph_is_garbage(collection->graph, i, kind, collection->namespace);
        Candidate *candidates = new0(Candidate, n + 1);
        if (!candidates)
                return -ENOMEM;
        for (uint32_t i = 0; count.things < n; i++) {
                if (!reference_graph_is_garbage(collection->graph, i, kind, collection->namespace))
                        continue;
                candidates[count.things++] = (Candidate){
                        .node = i,
                        .depth = kind == NODE_SNAPSHOT ? reference_graph_depth(collection->graph, i) : 0,
                };
                count.bytes += reference_graph_node(collection->graph, i)->bytes;
        }
        qsort(candidates, n, sizeof(Candidate), compare_candidates);
        collection->candidates[part] = candidates;
        collection->candidate_count[part] = n;
        *ret = count;
        return 0;
}

static int remove_expired_images(Collection *collection) {
        int r = 0;
        for (uint32_t i = 0; r >= 0 && i < reference_graph_count(collection->graph); i++) {
                if (!reference_graph_is_garbage(collection->graph, i, NODE_IMAGE, collection->namespace))
                        continue;
                const char *namespace = reference_graph_namespace(collection->graph, i),
                           *name = reference_graph_node(collection->graph, i)->name;
                r = image_store_remove(collection->service->images, namespace, name);
                if (r >= 0) {
                        log_info("the time of %s in %s is over", name, namespace);
                        collection->observer->on_image(namespace, name, collection->userdata);
                }
        }
        return r < 0 ? r : 0;
}

typedef struct DocumentCursor {
        ReferenceGraph *graph;
        uint32_t next;
} DocumentCursor;

static const char *next_lost_document(void *userdata) {
        DocumentCursor *cursor = userdata;
        while (cursor->next < reference_graph_count(cursor->graph)) {
                const Node *node = reference_graph_node(cursor->graph, cursor->next++);
                if (node->kind == NODE_DOCUMENT && !node->listed)
                        return node->name;
        }
        return NULL;
}

/* What documents say that nobody has any longer need not be remembered. */
static int forget_documents(Collection *collection) {
        DocumentCursor cursor = { .graph = collection->graph };
        reference_graph_list_documents(collection->graph);
        return image_store_forget_documents(collection->service->images, next_lost_document, &cursor,
                                            collection->started);
}

static void on_surveyed(int r, const Fault *fault, ReferenceGraph **graph, void *userdata) {
        Collection *collection = userdata;
        CollectionCount plan[_COLLECTION_PART_MAX];
        Fault copy = FAULT_NULL;

        collection->survey = NULL;
        if (r >= 0) {
                collection->graph = TAKE_PTR(*graph);
                r = remove_expired_images(collection);
        }
        for (CollectionPart part = 0; r >= 0 && part < _COLLECTION_PART_MAX; part++)
                r = find_candidates(collection, part, &plan[part]);
        if (r >= 0)
                r = forget_documents(collection);
        if (r < 0) {
                fault_set(&copy, r, "%s", fault_text(fault, r));
                collection_fail(collection, r, &copy);
                fault_done(&copy);
                return;
        }
        collection->observer->on_plan(plan, collection->userdata);
        collection->step = COLLECTION_SWEEP_SNAPSHOTS;
        advance(collection);
}

/* ---- asking ---- */

static const struct {
        StoreMethod method;
        CollectionPart part;
        const char *phase;
} steps[_COLLECTION_STEP_MAX] = {
        [COLLECTION_BEGIN_SNAPSHOTS] = { STORE_SNAPSHOT_BEGIN, COLLECTION_SNAPSHOTS, "marking" },
        [COLLECTION_BEGIN_CONTENT] = { STORE_CONTENT_BEGIN, COLLECTION_BLOBS, "marking" },
        [COLLECTION_SURVEY] = { _STORE_METHOD_INVALID, _COLLECTION_PART_INVALID, "marking" },
        [COLLECTION_SWEEP_SNAPSHOTS] = { STORE_SNAPSHOT_SWEEP, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_SWEEP_BLOBS] = { STORE_CONTENT_SWEEP, COLLECTION_BLOBS, "removing" },
        [COLLECTION_END_SNAPSHOTS] = { STORE_SNAPSHOT_END, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_END_CONTENT] = { STORE_CONTENT_END, COLLECTION_BLOBS, "removing" },
};

static void take_answer(Collection *collection, const StoreReply *reply) {
        CollectionPart part = steps[collection->step].part;
        if (is_sweep(collection->step)) {
                collection->gone[part].things += reply->count;
                collection->gone[part].bytes += reply->size;
                collection->observer->on_progress(part, &collection->gone[part], collection->userdata);
                if (collection->position < collection->candidate_count[part])
                        return;
                collection->position = 0;
        } else if (collection->step < COLLECTION_SURVEY)
                collection->epochs[part] = reply->size;
        else
                collection->epochs[part] = 0;
        collection->step++;
}

static void on_reply(StoreReply *reply, void *userdata) {
        Collection *collection = userdata;
        collection->call = NULL;
        /* Whether an epoch that is not needed any longer can be closed does not matter. */
        if (reply->r < 0 && collection->step < COLLECTION_END_SNAPSHOTS) {
                collection_fail(collection, reply->r, &reply->fault);
                return;
        }
        take_answer(collection, reply);
        if (collection->error < 0 && collection->step < COLLECTION_END_SNAPSHOTS)
                collection->step = COLLECTION_END_SNAPSHOTS;
        advance(collection);
}

/* The next candidates as a list. */
static int write_batch(Collection *collection, CollectionPart part) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        size_t end = MIN_OF(collection->position + BATCH, collection->candidate_count[part]);
        int r = record_writer_new("crt-sweep", &writer);
        for (; r >= 0 && collection->position < end; collection->position++) {
                uint32_t i = collection->candidates[part][collection->position].node;
                const Node *node = reference_graph_node(collection->graph, i);
                r = record_writer_add(writer, "ssu", reference_graph_namespace(collection->graph, i),
                                      node->name, node->stamp);
        }
        return r < 0 ? r : record_writer_finish(writer);
}

static int ask(Collection *collection) {
        CollectionStep step = collection->step;
        CollectionPart part = steps[step].part;
        _cleanup_close_ int list = -EBADF;

        if (is_sweep(step)) {
                list = write_batch(collection, part);
                if (list < 0)
                        return list;
        }
        return store_call_new(collection->service->stores,
                              &(StoreArguments){
                                      .method = steps[step].method,
                                      .size = collection->epochs[part],
                                      .fd = list,
                              },
                              on_reply, collection, &collection->call);
}

static int survey(Collection *collection) {
        return survey_new(collection->service, &(SurveySpec){ .older_than = collection->older_than },
                          on_surveyed, collection, &collection->survey);
}

static bool has_nothing_to_do(const Collection *collection) {
        CollectionPart part = steps[collection->step].part;
        if (is_sweep(collection->step))
                return collection->position >= collection->candidate_count[part];
        return collection->step > COLLECTION_SURVEY && collection->epochs[part] == 0;
}

static void advance(Collection *collection) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        while (collection->step < COLLECTION_DONE && has_nothing_to_do(collection))
                collection->step++;
        if (collection->step == COLLECTION_DONE && collection->again && collection->error >= 0) {
                collection_start(collection);
                return;
        }
        if (collection->step == COLLECTION_DONE) {
                collection_end(collection);
                return;
        }
        collection->observer->on_phase(steps[collection->step].phase, collection->userdata);
        int r = collection->step == COLLECTION_SURVEY ? survey(collection) : ask(collection);
        if (r < 0 && collection->step >= COLLECTION_END_SNAPSHOTS) {
                /* An epoch that can't be closed ends with this connection or with the next one that begins.
                 */
                collection->epochs[steps[collection->step].part] = 0;
                collection->step++;
                advance(collection);
        } else if (r < 0)
                collection_fail(collection, r, &fault);
}

void collection_start(Collection *collection) {
        if (collection->service->collections != collection)
                return;
        forget_plan(collection);
        collection->tries++;
        collection->again = false;
        collection->started = now_usec();
        collection->step = COLLECTION_BEGIN_SNAPSHOTS;
        advance(collection);
}
