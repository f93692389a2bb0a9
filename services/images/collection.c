/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/collection.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/images/collection-plan.h"
#include "services/images/survey.h"

/* A service that died in the middle has forgotten the epoch: it is begun anew, so many times. */
#define TRIES 4
/* Of one list: an owner stops when it has taken its time. */
#define BATCH 1000
/* So often in a row somebody else may be first with something that is needed now; after that all hold while
 * they are asked what keeps things. */
#define LATE_MAX 2

typedef enum CollectionStep {
        COLLECTION_WAITING,
        COLLECTION_BEGIN_SNAPSHOTS,
        COLLECTION_BEGIN_CONTENT,
        COLLECTION_SURVEY,
        COLLECTION_HOLD_SNAPSHOTS,
        COLLECTION_HOLD_CONTENT,
        COLLECTION_SURVEY_HELD, /* if anything has changed, too often */
        COLLECTION_SWEEP_SNAPSHOTS,
        COLLECTION_SWEEP_BLOBS,
        COLLECTION_RELEASE_SNAPSHOTS,
        COLLECTION_RELEASE_CONTENT,
        COLLECTION_SURVEY_AGAIN, /* if anything has changed; leads back to hold */
        COLLECTION_END_SNAPSHOTS,
        COLLECTION_END_CONTENT,
        COLLECTION_DONE,
        _COLLECTION_STEP_MAX,
        _COLLECTION_STEP_INVALID = -22,
} CollectionStep;

struct Collection {
        ImageService *service; /* weak */
        Collection *next;
        char *namespace;
        bool noted;
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
        CollectionPlan plan;
        bool holding;
        sd_event_source *hold_timeout;
        bool has_expired;       /* images whose names are to go */
        bool changed;           /* what keeps things, since it was surveyed */
        unsigned late;          /* how often in a row it was */
        uint64_t image_changes; /* image_store_changes(), when it was surveyed */
        CollectionCount gone[_COLLECTION_PART_MAX];
        int error;
        Fault fault;
};

static void advance(Collection *collection);

static bool is_sweep(CollectionStep step) {
        return step == COLLECTION_SWEEP_SNAPSHOTS || step == COLLECTION_SWEEP_BLOBS;
}

static bool is_survey(CollectionStep step) {
        return step == COLLECTION_SURVEY || step == COLLECTION_SURVEY_HELD ||
               step == COLLECTION_SURVEY_AGAIN;
}

/* ---- life ---- */

static Collection **list_of(const Collection *collection) {
        return collection->noted ? &collection->service->tidyings : &collection->service->collections;
}

static int on_hold_timeout(sd_event_source *source, uint64_t usec, void *userdata);

static int add_hold_timeout(Collection *collection) {
        int r = sd_event_add_time_relative(collection->service->event, &collection->hold_timeout,
                                           CLOCK_MONOTONIC, UINT64_MAX / 2, 0, on_hold_timeout, collection);
        return r < 0 ? r : sd_event_source_set_enabled(collection->hold_timeout, SD_EVENT_OFF);
}

int collection_new(ImageService *service, const CollectionSpec *spec, Collection **ret) {
        Collection *collection = new0(Collection, 1);
        if (!collection)
                return -ENOMEM;
        *collection = (Collection){
                .service = service,
                .noted = spec->noted,
                .older_than = spec->older_than,
                .observer = spec->observer,
                .userdata = spec->userdata,
        };
        int r = add_hold_timeout(collection);
        if (r >= 0 && spec->namespace && !(collection->namespace = strdup(spec->namespace)))
                r = -ENOMEM;
        if (r < 0) {
                collection_free(collection);
                return r;
        }
        Collection **place = list_of(collection);
        while (*place)
                place = &(*place)->next;
        *place = collection;
        *ret = collection;
        return 0;
}

/* In this process as well; the owners are told by others. */
static void hold(Collection *collection, bool holding) {
        const ImageService *service = collection->service;
        if (collection->holding == holding)
                return;
        collection->holding = holding;
        if (holding)
                (void) sd_event_source_set_time_relative(collection->hold_timeout,
                                                         LIMIT_HOLD_SECONDS * UINT64_C(1000000));
        (void) sd_event_source_set_enabled(collection->hold_timeout,
                                           holding ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (service->hold)
                service->hold(holding, service->hold_userdata);
}

Collection *collection_free(Collection *collection) {
        if (!collection)
                return NULL;
        for (Collection **place = list_of(collection); *place; place = &(*place)->next)
                if (*place == collection) {
                        *place = collection->next;
                        break;
                }
        hold(collection, false);
        sd_event_source_disable_unref(collection->hold_timeout);
        store_call_free(collection->call);
        survey_free(collection->survey);
        collection_plan_done(&collection->plan);
        fault_done(&collection->fault);
        free(collection->namespace);
        free(collection);
        return NULL;
}

static void log_end(const Collection *collection) {
        const CollectionCount *gone = collection->gone;
        if (collection->error >= 0 && !collection->noted)
                log_info("collected %llu snapshots and %llu blobs, %llu bytes",
                         (unsigned long long) gone[COLLECTION_SNAPSHOTS].things,
                         (unsigned long long) gone[COLLECTION_BLOBS].things,
                         (unsigned long long) (gone[COLLECTION_SNAPSHOTS].bytes +
                                               gone[COLLECTION_BLOBS].bytes));
}

static void collection_end(Collection *collection) {
        ImageService *service = collection->service;
        if (collection->noted && collection->error >= 0)
                (void) collection_plan_forget_noted(&collection->plan, service->images, false);
        log_end(collection);
        collection->observer->on_end(collection->error, &collection->fault, collection->gone,
                                     collection->userdata);
        collection_free(collection);
        (void) malloc_trim(0);
        if (!service->collections && !service->tidyings)
                image_store_keep_room(service->images);
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
        if (collection->step < COLLECTION_SURVEY || collection->step >= COLLECTION_END_SNAPSHOTS) {
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

static void let_go(Collection *collection, int r, const char *why) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        hold(collection, false);
        if (collection->step >= COLLECTION_END_SNAPSHOTS)
                return; /* it is ending anyway */
        fault_set(&fault, r, "%s", why);
        collection->call = store_call_free(collection->call);
        collection->survey = survey_free(collection->survey);
        collection_fail(collection, r, &fault);
}

/* An owner that holds has the same limit, but may never answer. */
static int on_hold_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        let_go(userdata, -ETIMEDOUT, "the collection has been holding calls for too long");
        return 0;
}

static Collection *find_holding(Collection *first) {
        while (first && !first->holding)
                first = first->next;
        return first;
}

void collection_let_go(ImageService *service) {
        Collection *collection;
        while ((collection = find_holding(service->collections)) ||
               (collection = find_holding(service->tidyings)))
                let_go(collection, -EBUSY, "too many calls wait for this collection");
}

/* ---- what is to go ---- */

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static bool is_expired_image(const Collection *collection, uint32_t node) {
        return reference_graph_is_garbage(collection->plan.graph, node, NODE_IMAGE, collection->namespace);
}

static bool has_expired_images(const Collection *collection) {
        for (uint32_t i = 0; i < reference_graph_count(collection->plan.graph); i++)
                if (is_expired_image(collection, i))
                        return true;
        return false;
}

static bool have_names_changed(const Collection *collection) {
        return image_store_changes(collection->service->images) != collection->image_changes;
}

/* While all hold, and nothing is other than it was found to be. Somebody may have resolved such a name and
 * be about to make something of it, so what keeps things is asked for once more before anything else goes.
 */
static int remove_expired_images(Collection *collection) {
        ReferenceGraph *graph = collection->plan.graph;
        ImageStore *images = collection->service->images;
        char buffer[DIGEST_STRING_MAX];
        int r = 0;
        collection->has_expired = false;
        collection->changed = true;
        for (uint32_t i = 0; r >= 0 && i < reference_graph_count(graph); i++) {
                if (!is_expired_image(collection, i))
                        continue;
                const char *namespace = reference_graph_namespace(graph, i),
                           *name = reference_graph_name(graph, i, buffer);
                r = image_store_remove(images, namespace, name);
                if (r == -ENOENT) {
                        r = 0;
                        continue;
                }
                if (r >= 0) {
                        log_info("the time of %s in %s is over", name, namespace);
                        collection->observer->on_image(namespace, name, collection->userdata);
                }
        }
        return r < 0 ? r : 0;
}

static int plan_all(Collection *collection) {
        CollectionCount counts[_COLLECTION_PART_MAX];
        collection->has_expired = has_expired_images(collection);
        int r = collection_plan_find(&collection->plan, collection->namespace, counts);
        if (r >= 0)
                r = collection_plan_forget_documents(&collection->plan, collection->service->images,
                                                     collection->started);
        if (r >= 0)
                collection->observer->on_plan(counts, collection->userdata);
        return r;
}

/* What is kept by others than images is the business of a later collection. */
static int plan_noted(Collection *collection) {
        int r = collection_plan_find_noted(&collection->plan, collection->service->images);
        return r < 0 ? r
                     : collection_plan_forget_noted(&collection->plan, collection->service->images, true);
}

static CollectionStep step_when_surveyed(Collection *collection) {
        if (collection->step == COLLECTION_SURVEY_AGAIN)
                return COLLECTION_HOLD_SNAPSHOTS;
        return collection->changed ? COLLECTION_SURVEY_HELD : collection->step + 1;
}

static void on_surveyed(int r, const Fault *fault, ReferenceGraph **graph, void *userdata) {
        Collection *collection = userdata;
        _cleanup_(fault_done) Fault copy = FAULT_NULL;

        collection->survey = NULL;
        if (r >= 0) {
                collection->plan.graph = TAKE_PTR(*graph);
                collection->changed = false;
        }
        if (r >= 0 && collection->step == COLLECTION_SURVEY)
                r = collection->noted ? plan_noted(collection) : plan_all(collection);
        if (r >= 0 && collection->step == COLLECTION_SURVEY_HELD && collection->has_expired &&
            !have_names_changed(collection))
                r = remove_expired_images(collection);
        if (r < 0) {
                fault_set(&copy, r, "%s", fault_text(fault, r));
                collection_fail(collection, r, &copy);
                return;
        }
        collection->step = step_when_surveyed(collection);
        advance(collection);
}

static int survey(Collection *collection) {
        bool first = collection->step == COLLECTION_SURVEY;
        collection->image_changes = image_store_changes(collection->service->images);
        return survey_new(collection->service,
                          &(SurveySpec){
                                  .roots = collection->noted || !first,
                                  .older_than = first ? collection->older_than : 0,
                                  .epochs = { collection->epochs[COLLECTION_SNAPSHOTS],
                                              collection->epochs[COLLECTION_BLOBS] },
                                  .again = first ? NULL : &collection->plan.graph,
                          },
                          on_surveyed, collection, &collection->survey);
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
        [COLLECTION_HOLD_SNAPSHOTS] = { STORE_SNAPSHOT_HOLD, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_HOLD_CONTENT] = { STORE_CONTENT_HOLD, COLLECTION_BLOBS, "removing" },
        [COLLECTION_SURVEY_HELD] = { _STORE_METHOD_INVALID, _COLLECTION_PART_INVALID, "removing" },
        [COLLECTION_SWEEP_SNAPSHOTS] = { STORE_SNAPSHOT_SWEEP, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_SWEEP_BLOBS] = { STORE_CONTENT_SWEEP, COLLECTION_BLOBS, "removing" },
        [COLLECTION_RELEASE_SNAPSHOTS] = { STORE_SNAPSHOT_RELEASE, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_RELEASE_CONTENT] = { STORE_CONTENT_RELEASE, COLLECTION_BLOBS, "removing" },
        [COLLECTION_SURVEY_AGAIN] = { _STORE_METHOD_INVALID, _COLLECTION_PART_INVALID, "removing" },
        [COLLECTION_END_SNAPSHOTS] = { STORE_SNAPSHOT_END, COLLECTION_SNAPSHOTS, "removing" },
        [COLLECTION_END_CONTENT] = { STORE_CONTENT_END, COLLECTION_BLOBS, "removing" },
};

static bool has_more(Collection *collection) {
        return collection->has_expired ||
               collection_plan_has_more(&collection->plan, COLLECTION_SNAPSHOTS) ||
               collection_plan_has_more(&collection->plan, COLLECTION_BLOBS);
}

/* All hold: nothing can become needed until they are released. What has become so before is found first. */
static int go_on_when_held(Collection *collection) {
        int r = 0;
        if (have_names_changed(collection))
                collection->changed = true;
        if (!collection->changed && collection->has_expired)
                r = remove_expired_images(collection);
        if (!collection->changed) {
                collection->late = 0;
                collection->step = COLLECTION_SWEEP_SNAPSHOTS;
        } else
                collection->step = ++collection->late > LATE_MAX ? COLLECTION_SURVEY_HELD
                                                                 : COLLECTION_RELEASE_SNAPSHOTS;
        return r;
}

/* What is left goes in another round, so that nobody waits for long. */
static CollectionStep step_when_released(Collection *collection) {
        if (collection->changed)
                return COLLECTION_SURVEY_AGAIN;
        return has_more(collection) ? COLLECTION_HOLD_SNAPSHOTS : COLLECTION_END_SNAPSHOTS;
}

static int take_swept(Collection *collection, CollectionPart part, const StoreReply *reply) {
        bool had_more = collection_plan_has_more(&collection->plan, part);
        collection->gone[part].things += reply->count;
        collection->gone[part].bytes += reply->size;
        collection->observer->on_progress(part, &collection->gone[part], collection->userdata);
        collection_plan_advance(&collection->plan, part, reply->seen);
        /* Blobs go when all snapshots have been seen. */
        collection->step = collection_plan_has_more(&collection->plan, part) ? COLLECTION_RELEASE_SNAPSHOTS
                                                                             : collection->step + 1;
        return reply->seen > 0 || !had_more ? 0 : -EPROTO;
}

static int take_answer(Collection *collection, const StoreReply *reply) {
        CollectionPart part = steps[collection->step].part;
        switch (collection->step) {
        case COLLECTION_BEGIN_SNAPSHOTS:
        case COLLECTION_BEGIN_CONTENT:
                collection->epochs[part] = reply->size;
                break;
        case COLLECTION_HOLD_SNAPSHOTS:
                collection->changed = reply->changed;
                break;
        case COLLECTION_HOLD_CONTENT:
                collection->changed = collection->changed || reply->changed;
                return go_on_when_held(collection);
        case COLLECTION_SWEEP_SNAPSHOTS:
        case COLLECTION_SWEEP_BLOBS:
                return take_swept(collection, part, reply);
        case COLLECTION_RELEASE_CONTENT:
                hold(collection, false);
                collection->step = step_when_released(collection);
                return 0;
        case COLLECTION_END_SNAPSHOTS:
        case COLLECTION_END_CONTENT:
                collection->epochs[part] = 0;
                break;
        default:
                break;
        }
        collection->step++;
        return 0;
}

static void on_reply(StoreReply *reply, void *userdata) {
        Collection *collection = userdata;
        collection->call = NULL;
        /* Whether an epoch that is not needed any longer can be closed does not matter. */
        int r = reply->r < 0 && collection->step < COLLECTION_END_SNAPSHOTS ? reply->r
                                                                            : take_answer(collection, reply);
        if (r < 0) {
                collection_fail(collection, r, &reply->fault);
                return;
        }
        if (collection->error < 0 && collection->step < COLLECTION_END_SNAPSHOTS)
                collection->step = COLLECTION_END_SNAPSHOTS;
        advance(collection);
}

static int ask(Collection *collection) {
        CollectionStep step = collection->step;
        CollectionPart part = steps[step].part;
        _cleanup_close_ int list = -EBADF;

        if (is_sweep(step)) {
                list = collection_plan_write(&collection->plan, part, BATCH);
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

static bool has_nothing_to_do(Collection *collection) {
        CollectionStep step = collection->step;
        /* Blobs go only while Snapshots holds as well: it is asked even if it has nothing to remove. */
        if (step == COLLECTION_SWEEP_SNAPSHOTS)
                return !has_more(collection);
        if (step == COLLECTION_SWEEP_BLOBS)
                return !collection_plan_has_more(&collection->plan, COLLECTION_BLOBS);
        return step >= COLLECTION_END_SNAPSHOTS && collection->epochs[steps[step].part] == 0;
}

/* Steps that nothing is left for. Who has nothing to remove need not hold, and who ends need not release. */
static void pass_over(Collection *collection) {
        while (collection->step < COLLECTION_DONE) {
                bool idle = collection->step == COLLECTION_HOLD_SNAPSHOTS ||
                            collection->step == COLLECTION_RELEASE_SNAPSHOTS;
                if (idle && !collection->changed && !has_more(collection))
                        collection->step = COLLECTION_END_SNAPSHOTS;
                else if (has_nothing_to_do(collection))
                        collection->step++;
                else
                        return;
        }
}

/* The owners' epochs, and with them what they hold, are over. */
static void finish(Collection *collection) {
        hold(collection, false);
        if (collection->again && collection->error >= 0)
                collection_start(collection);
        else
                collection_end(collection);
}

static void advance(Collection *collection) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        pass_over(collection);
        if (collection->step == COLLECTION_DONE) {
                finish(collection);
                return;
        }
        if (collection->step == COLLECTION_HOLD_SNAPSHOTS)
                hold(collection, true);
        collection->observer->on_phase(steps[collection->step].phase, collection->userdata);
        int r = is_survey(collection->step) ? survey(collection) : ask(collection);
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
        if (!collection->noted && collection->service->collections != collection)
                return;
        collection_plan_done(&collection->plan);
        image_store_make_room(collection->service->images);
        collection->tries++;
        collection->again = collection->changed = collection->has_expired = false;
        collection->late = 0;
        collection->started = now_usec();
        collection->step = COLLECTION_BEGIN_SNAPSHOTS;
        advance(collection);
}
