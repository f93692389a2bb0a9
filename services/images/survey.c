/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "lib/strv.h"
#include "services/images/survey-orphans.h"
#include "services/images/survey-records.h"
#include "services/images/transfer.h"

/* What one turn of the loop is used for at most. */
#define SLICE_USEC 5000U

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

struct Survey {
        ImageService *service; /* weak */
        SurveySpec spec;
        SurveyDone done;
        void *userdata;
        size_t question;
        StoreCall *call;
        RecordFile file;
        sd_event_source *turn;
        SurveyRecords records;
};

Survey *survey_free(Survey *survey) {
        if (!survey)
                return NULL;
        store_call_free(survey->call);
        sd_event_source_disable_unref(survey->turn);
        record_file_done(&survey->file);
        survey_records_done(&survey->records);
        survey->service->surveys--;
        free(survey);
        return NULL;
}

static void survey_end(Survey *survey, int r, const Fault *fault) {
        ReferenceGraph *graph = r >= 0 ? TAKE_PTR(survey->records.graph) : NULL;
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

static int add_image(const ImageRecord *record, void *userdata) {
        SurveyRecords *records = userdata;
        uint32_t image;
        int r = reference_graph_add(records->graph, NODE_IMAGE, NODE_NAME(record->namespace),
                                    NODE_NAME(record->name), &image);
        if (r < 0)
                return r;
        Node *node = reference_graph_node(records->graph, image);
        node->listed = true;
        node->created = record->pulled;
        r = survey_records_refer(records, image, NODE_BLOB, NODE_NAME(record->digest), "its target");
        for (char *const *label = record->labels; r >= 0 && label && *label; label++) {
                size_t length = strcspn(*label, "=");
                const char *value = *label + length + ((*label)[length] == '=');
                r = survey_records_add_label(records, image, (NodeName){ *label, length }, NODE_NAME(value));
        }
        if (r >= 0 && !reference_graph_node(records->graph, image)->expired)
                r = survey_records_add_root(records, image, "its name", false);
        return r < 0 ? r : 0;
}

static NodeKind kind_of(GarbageKind kind) {
        return kind == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT;
}

static int add_document(const char *digest, void *userdata) {
        const SurveyRecords *records = userdata;
        return reference_graph_add_document(records->graph, NODE_NAME(digest));
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

static int add_need(const char *namespace, const char *name, GarbageKind kind, const char *thing,
                    void *userdata) {
        ReferenceGraph *graph = ((const SurveyRecords *) userdata)->graph;
        uint32_t image = reference_graph_find(graph, NODE_IMAGE, NODE_NAME(namespace), NODE_NAME(name)),
                 needed;
        if (image == NODE_NONE || !reference_graph_node(graph, image)->live)
                return 0;
        int r = reference_graph_add(graph, kind_of(kind), NODE_NAME(namespace), NODE_NAME(thing), &needed);
        return r < 0 ? r : reference_graph_reach(graph, image, needed, "needed by it");
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

static int mark_young(Survey *survey) {
        SurveyRecords *records = &survey->records;
        uint64_t now = clock_usec(CLOCK_REALTIME);
        int r = 0;
        if (survey->spec.older_than == 0)
                return 0;
        uint64_t since = now > survey->spec.older_than ? now - survey->spec.older_than : 0;
        for (uint32_t i = 0; r >= 0 && i < reference_graph_count(records->graph); i++) {
                const Node *node = reference_graph_node(records->graph, i);
                if (node->listed && !node->live && node->kind != NODE_IMAGE && node->created > since)
                        r = reference_graph_mark(records->graph, i, "its youth", false);
        }
        return r;
}

static int mark(Survey *survey) {
        ImageService *service = survey->service;
        SurveyRecords *records = &survey->records;
        reference_graph_set_tell(records->graph, tell_document, survey);
        int r = image_store_visit_documents(service->images, add_document, records);
        if (r >= 0)
                r = image_store_list(service->images, NULL, NULL, add_image, records);
        if (r >= 0)
                r = claim_table_visit(service->claims, add_claim, records);
        if (r >= 0)
                r = survey_records_mark(records);
        /* The record of an image is the authority; what its documents say only explains it better, so that
         * was followed first. */
        if (r >= 0)
                r = image_store_visit_needs(service->images, add_need, records);
        if (r >= 0 && !survey->spec.roots)
                r = survey_note_orphans(service->images, records->graph);
        if (r >= 0)
                r = mark_young(survey);
        reference_graph_set_tell(records->graph, NULL, NULL);
        return r;
}

/* ---- asking ---- */

static int ask(Survey *survey);

static int read_some(Survey *survey) {
        uint64_t end = clock_usec(CLOCK_MONOTONIC) + SLICE_USEC;
        RecordField fields[RECORD_FIELDS_MAX];
        int r;
        do
                for (unsigned i = 0; i < 64; i++) {
                        r = record_file_next(&survey->file, fields);
                        if (r > 0)
                                r = survey_records_read(&survey->records, fields);
                        else if (r == 0)
                                return 0;
                        if (r < 0)
                                return r;
                }
        while (clock_usec(CLOCK_MONOTONIC) < end);
        record_file_drop(&survey->file);
        return 1;
}

static int on_turn(sd_event_source *source, void *userdata) {
        Survey *survey = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = read_some(survey);
        if (r > 0)
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (r < 0)
                fault_set_errno(&fault, r, "the list of %s", questions[survey->question].what);
        record_file_done(&survey->file);
        if (r >= 0 && ++survey->question < ELEMENTS_OF(questions)) {
                r = ask(survey);
                if (r >= 0)
                        return 0;
        } else if (r >= 0)
                r = mark(survey);
        survey_end(survey, r < 0 ? r : 0, &fault);
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
        return store_call_new(survey->service->stores,
                              &(StoreArguments){
                                      .method = questions[survey->question].method,
                                      .roots = survey->spec.roots,
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
        int r = reference_graph_new(&survey->records.graph);
        if (r >= 0)
                r = ask(survey);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(survey);
        return 0;
}
