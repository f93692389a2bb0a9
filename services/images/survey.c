/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "lib/strv.h"
#include "services/images/survey-images.h"
#include "services/images/survey-orphans.h"
#include "services/images/survey-records.h"
#include "services/images/transfer.h"

/* What one turn of the loop is used for at most. */
#define SLICE_USEC 5000U
#define NODES_PER_STEP 512

/* Snapshots before leases, leases before containers: what is found to keep something is never older than the
 * things themselves. */
static const struct {
        StoreMethod method;
        const char *what;
} questions[] = {
        { STORE_SNAPSHOT_INVENTORY, "the snapshots" },
        { STORE_CONTENT_INVENTORY, "the blobs" },
        { STORE_TASK_REFERENCES, "the containers" },
};

typedef enum SurveyStep {
        SURVEY_ASK,
        SURVEY_CLAIMS,
        SURVEY_DOCUMENTS,
        SURVEY_NAMES,
        SURVEY_LABELS,
        SURVEY_ROOTS,
        SURVEY_FOLLOW,
        SURVEY_FLAT_ROOTS,
        SURVEY_NEEDS,
        SURVEY_FOLLOW_NEEDS,
        SURVEY_ORPHANS,
        SURVEY_YOUNG,
        SURVEY_FOLLOW_YOUNG,
        _SURVEY_STEP_MAX,
        _SURVEY_STEP_INVALID = -EINVAL,
} SurveyStep;

struct Survey {
        ImageService *service; /* weak */
        SurveySpec spec;
        SurveyDone done;
        void *userdata;
        SurveyStep step;
        size_t question;
        StoreCall *call;
        RecordFile file;
        sd_event_source *turn;
        SurveyRecords records;
        SurveyImages images;
        SurveyOrphans orphans;
        uint32_t node; /* SURVEY_YOUNG: the next one */
};

Survey *survey_free(Survey *survey) {
        if (!survey)
                return NULL;
        store_call_free(survey->call);
        sd_event_source_disable_unref(survey->turn);
        record_file_done(&survey->file);
        survey_records_done(&survey->records);
        survey_images_done(&survey->images);
        survey_orphans_done(&survey->orphans);
        survey->service->surveys--;
        free(survey);
        return NULL;
}

static void survey_end(Survey *survey, int r, const Fault *fault) {
        ReferenceGraph *graph = r >= 0 ? TAKE_PTR(survey->records.graph) : NULL;
        if (graph)
                reference_graph_set_tell(graph, NULL, NULL);
        SurveyDone done = survey->done;
        void *userdata = survey->userdata;
        survey_free(survey);
        done(r, fault, &graph, userdata);
        reference_graph_free(graph);
        (void) malloc_trim(0);
}

/* ---- what the images need ---- */

static uint64_t clock_usec(clockid_t clock) {
        struct timespec now;
        (void) clock_gettime(clock, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static NodeKind kind_of(GarbageKind kind) {
        return kind == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT;
}

static int tell_reference(GarbageKind kind, const char *thing, const char *how, void *userdata) {
        static const char *const hows[] = { "manifest", "config", "layer", "unpacked" };
        const SurveyRecords *records = userdata;
        int i = string_table_find(hows, ELEMENTS_OF(hows), how);
        return reference_graph_tell(records->graph, kind_of(kind), NODE_NAME(thing),
                                    i < 0 ? "part of it" : hows[i]);
}

static int tell_document(const char *digest, void *userdata) {
        Survey *survey = userdata;
        int r = image_store_visit_document(survey->service->images, digest, tell_reference,
                                           &survey->records);
        return r < 0 ? r : 0;
}

static int add_claim(const char *namespace, const char *thing, const char *name, void *userdata) {
        SurveyRecords *records = userdata;
        uint32_t transfer;
        int r = reference_graph_add(records->graph, NODE_TRANSFER, NODE_NAME(namespace),
                                    NODE_NAME("under way"), &transfer);
        if (r >= 0)
                r = survey_records_refer(records, transfer,
                                         string_equal(thing, THING_BLOB) ? NODE_BLOB : NODE_SNAPSHOT,
                                         NODE_NAME(name), "wanted by a transfer");
        if (r >= 0)
                r = survey_records_add_root(records, transfer, "a transfer that is under way", false);
        return r;
}

/* ---- what is live, step by step ---- */

/* What a transfer has claimed is known before the images are looked at: when it lets go, there is one. */
static int step_claims(Survey *survey) {
        return claim_table_visit(survey->service->claims, add_claim, &survey->records);
}

static int step_documents(Survey *survey) {
        return survey_images_add_documents(&survey->images);
}

static int step_names(Survey *survey) {
        return survey_images_add_names(&survey->images);
}

static int step_labels(Survey *survey) {
        return survey_images_add_labels(&survey->images);
}

static int step_roots(Survey *survey) {
        return survey_records_mark(&survey->records, false);
}

static int step_flat_roots(Survey *survey) {
        return survey_records_mark(&survey->records, true);
}

static int step_follow(Survey *survey) {
        return reference_graph_follow(survey->records.graph, NODES_PER_STEP);
}

static int step_needs(Survey *survey) {
        return survey_images_add_needs(&survey->images);
}

static int step_orphans(Survey *survey) {
        if (survey->spec.roots || survey->spec.again)
                return 0;
        survey->orphans.graph = survey->records.graph;
        return survey_orphans_step(&survey->orphans);
}

static int step_young(Survey *survey) {
        ReferenceGraph *graph = survey->records.graph;
        uint64_t now = clock_usec(CLOCK_REALTIME), older_than = survey->spec.older_than;
        uint64_t since = now > older_than ? now - older_than : 0;
        uint32_t count = reference_graph_count(graph), last = MIN_OF(survey->node + NODES_PER_STEP, count);
        int r = 0;
        if (older_than == 0)
                return 0;
        for (; r >= 0 && survey->node < last; survey->node++) {
                const Node *node = reference_graph_node(graph, survey->node);
                if (node->listed && !node->live && node->kind != NODE_IMAGE && node->created > since)
                        r = reference_graph_mark(graph, survey->node, "its youth", false);
        }
        return r < 0 ? r : survey->node < count;
}

/* ---- asking ---- */

static int ask(Survey *survey);

static int read_some(Survey *survey) {
        RecordField fields[RECORD_FIELDS_MAX];
        int r = 1;
        for (unsigned i = 0; r > 0 && i < 64; i++) {
                r = record_file_next(&survey->file, fields);
                if (r > 0 && (r = survey_records_read(&survey->records, fields)) >= 0)
                        r = 1;
        }
        return r;
}

/* Behind the last list there is nothing to be asked. */
static int read_list(Survey *survey, Fault *fault) {
        int r = read_some(survey);
        if (r < 0)
                return fault_set_errno(fault, r, "the list of %s", questions[survey->question].what);
        if (r > 0)
                return 1;
        record_file_done(&survey->file);
        if (++survey->question == ELEMENTS_OF(questions))
                return 0;
        r = ask(survey);
        return r < 0 ? r : 1;
}

static int run_step(Survey *survey, Fault *fault) {
        static int (*const steps[_SURVEY_STEP_MAX])(Survey * survey) = {
                [SURVEY_CLAIMS] = step_claims,         [SURVEY_DOCUMENTS] = step_documents,
                [SURVEY_NAMES] = step_names,           [SURVEY_LABELS] = step_labels,
                [SURVEY_ROOTS] = step_roots,           [SURVEY_FOLLOW] = step_follow,
                [SURVEY_FLAT_ROOTS] = step_flat_roots, [SURVEY_NEEDS] = step_needs,
                [SURVEY_FOLLOW_NEEDS] = step_follow,   [SURVEY_ORPHANS] = step_orphans,
                [SURVEY_YOUNG] = step_young,           [SURVEY_FOLLOW_YOUNG] = step_follow,
        };
        int r = survey->step == SURVEY_ASK ? read_list(survey, fault) : steps[survey->step](survey);
        if (r == 0)
                survey->step++;
        return r < 0 ? r : survey->step < _SURVEY_STEP_MAX;
}

static int on_turn(sd_event_source *source, void *userdata) {
        Survey *survey = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        uint64_t end = clock_usec(CLOCK_MONOTONIC) + SLICE_USEC;
        int r;

        do
                r = run_step(survey, &fault);
        while (r > 0 && !survey->call && clock_usec(CLOCK_MONOTONIC) < end);
        if (r > 0) {
                record_file_drop(&survey->file);
                return survey->call ? 0 : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        survey_end(survey, r, &fault);
        return 0;
}

static void on_list(StoreReply *reply, void *userdata) {
        Survey *survey = userdata;
        const char *what = questions[survey->question].what;
        int r = reply->r;

        survey->call = NULL;
        if (r >= 0)
                r = record_file_open(reply->fd, &survey->file);
        survey->turn = sd_event_source_disable_unref(survey->turn);
        if (r >= 0)
                r = sd_event_add_defer(survey->service->event, &survey->turn, on_turn, survey);
        if (r >= 0)
                return;
        fault_prefix(&reply->fault, r, "%s can't be listed", what);
        survey_end(survey, r, &reply->fault);
}

static int ask(Survey *survey) {
        /* Of Tasks there is none. */
        uint64_t epoch = survey->question < ELEMENTS_OF(survey->spec.epochs)
                                 ? survey->spec.epochs[survey->question]
                                 : 0;
        return store_call_new(survey->service->stores,
                              &(StoreArguments){
                                      .method = questions[survey->question].method,
                                      .roots = survey->spec.roots,
                                      .size = epoch,
                                      .fd = -EBADF,
                              },
                              on_list, survey, &survey->call);
}

static bool is_transfers(const char *namespace, const char *key, void *userdata) {
        return transfer_owns_key(userdata, namespace, key);
}

int survey_new(ImageService *service, const SurveySpec *spec, SurveyDone done, void *userdata,
               Survey **ret) {
        Survey *new_survey = new0(Survey, 1);
        if (!new_survey)
                return -ENOMEM;
        service->surveys++;
        _cleanup_(survey_freep) Survey *survey = new_survey;
        *survey = (Survey){
                .service = service,
                .spec = *spec,
                .done = done,
                .userdata = userdata,
                .records = { .now = clock_usec(CLOCK_REALTIME),
                             .is_transfers = is_transfers,
                             .userdata = service },
        };
        survey->images = (SurveyImages){ .store = service->images, .records = &survey->records };
        survey->orphans = (SurveyOrphans){ .store = service->images };
        int r = 0;
        if (spec->again) {
                survey->records.graph = TAKE_PTR(*spec->again);
                survey_records_begin_again(&survey->records);
        } else
                r = reference_graph_new(&survey->records.graph);
        if (r >= 0) {
                reference_graph_set_tell(survey->records.graph, tell_document, survey);
                r = ask(survey);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(survey);
        return 0;
}
