/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plan and Why: what a collection would do, and why it leaves a thing. */

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/quota.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/oci-reference.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"
#include "services/images/survey.h"

/* A call that waits for its survey. */
typedef struct Question {
        sd_bus_message *message;
        char *namespace; /* NULL: all */
        NodeKind kind;   /* of Why */
        char *name;
        Survey *survey;
        QuotaHold *hold;

        /* of Plan, while its answer is written */
        ReferenceGraph *graph;
        RecordWriter *writer;
        sd_event_source *turn;
        uint32_t node;
        uint64_t things, bytes;
} Question;

#define NODES_PER_TURN 4096

static Question *question_free(Question *question) {
        if (!question)
                return NULL;
        survey_free(question->survey);
        sd_event_source_disable_unref(question->turn);
        record_writer_free(question->writer);
        if (question->graph) {
                reference_graph_free(question->graph);
                (void) malloc_trim(0);
        }
        quota_hold_free(question->hold);
        sd_bus_message_unref(question->message);
        free(question->namespace);
        free(question->name);
        free(question);
        return NULL;
}
DEFINE_CLEANUP(Question *, question_free);

static int question_new(sd_bus_message *message, const char *namespace, Question **ret) {
        Question *question = new0(Question, 1);
        if (!question)
                return -ENOMEM;
        question->message = sd_bus_message_ref(message);
        if (namespace && !(question->namespace = strdup(namespace))) {
                question_free(question);
                return -ENOMEM;
        }
        *ret = question;
        return 0;
}

/* Each of these looks at everything: there are not many at once, and one for each user. */
static int ask(ImagesBus *images, Question *question, const SurveySpec *spec, SurveyDone done,
               sd_bus_error *error) {
        uid_t uid = peer_uid(bus_current_peer(sd_bus_message_get_bus(question->message)));
        int r = quota_hold_new(uid, QUOTA_SURVEYS, &question->hold);
        if (r < 0 || (quota_uid_is_limited(uid) && images->service->surveys >= LIMIT_CONCURRENT_SURVEYS))
                return sd_bus_error_set(error, bus_error_name(-EDQUOT),
                                        "enough is being looked for: ask again in a moment");
        return survey_new(images->service, spec, done, question, &question->survey);
}

/* ---- Plan ---- */

static int write_thing(Question *question, uint32_t i) {
        ReferenceGraph *graph = question->graph;
        const Node *node = reference_graph_node(graph, i);
        NodeKind kind = (NodeKind) node->kind;
        char buffer[DIGEST_STRING_MAX];
        if (kind > NODE_IMAGE || !reference_graph_is_garbage(graph, i, kind, question->namespace))
                return 0;
        question->things++;
        question->bytes += node->bytes;
        return record_writer_add(question->writer, "sssuuu", node_kind_to_string(kind),
                                 reference_graph_namespace(graph, i), reference_graph_name(graph, i, buffer),
                                 (uint64_t) node->bytes, node->created, reference_graph_since(graph, i));
}

static int answer_plan(const Question *question) {
        _cleanup_close_ int fd = record_writer_finish(question->writer);
        return fd < 0 ? fd
                      : sd_bus_reply_method_return(question->message, "htt", fd, question->things,
                                                   question->bytes);
}

/* Some of it: there may be many things. */
static int on_plan_turn(sd_event_source *source, void *userdata) {
        _cleanup_(question_freep) Question *question = userdata;
        uint32_t count = reference_graph_count(question->graph),
                 last = MIN_OF(question->node + NODES_PER_TURN, count);
        int r = 0;
        for (; r >= 0 && question->node < last; question->node++)
                r = write_thing(question, question->node);
        if (r >= 0 && question->node < count)
                r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        else if (r >= 0)
                r = answer_plan(question);
        if (r >= 0 && question->node < count)
                TAKE_PTR(question);
        else if (r < 0)
                (void) bus_reply_fault(question->message, r, NULL);
        return 0;
}

static int begin_plan(Question *question, ReferenceGraph **graph) {
        sd_event *event = sd_bus_get_event(sd_bus_message_get_bus(question->message));
        question->graph = TAKE_PTR(*graph);
        int r = record_writer_new("crt-plan", &question->writer);
        return r < 0 ? r : sd_event_add_defer(event, &question->turn, on_plan_turn, question);
}

static void on_planned(int r, const Fault *fault, ReferenceGraph **graph, void *userdata) {
        _cleanup_(question_freep) Question *question = userdata;
        question->survey = NULL;
        if (r >= 0)
                r = begin_plan(question, graph);
        if (r >= 0)
                TAKE_PTR(question);
        else
                (void) bus_reply_fault(question->message, r, fault);
}

int method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(question_freep) Question *question = NULL;
        CollectRequest request;
        int r = collect_read_options(message, false, &request, error);
        if (r >= 0)
                r = question_new(message, request.namespace, &question);
        if (r >= 0)
                r = ask(userdata, question, &(SurveySpec){ .older_than = request.older_than }, on_planned,
                        error);
        if (r < 0)
                return r;
        TAKE_PTR(question);
        return 1;
}

/* ---- Why ---- */

static int answer_why(const Question *question, ReferenceGraph *graph, Fault *fault) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ NodeStep *steps = NULL;
        char buffer[DIGEST_STRING_MAX];
        size_t count = 0;
        uint32_t node = reference_graph_find(graph, question->kind, NODE_NAME(question->namespace),
                                             NODE_NAME(question->name));
        if (node == NODE_NONE || !reference_graph_node(graph, node)->listed)
                return fault_set(fault, -ENOENT, "the namespace %s has no %s %s", question->namespace,
                                 node_kind_to_string(question->kind), question->name);
        int r = reference_graph_why(graph, node, &steps, &count);
        if (r >= 0)
                r = sd_bus_message_new_method_return(question->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sss)");
        for (size_t i = 0; r >= 0 && i < count; i++) {
                const Node *step = reference_graph_node(graph, steps[i].node);
                r = sd_bus_message_append(reply, "(sss)", node_kind_to_string((NodeKind) step->kind),
                                          reference_graph_name(graph, steps[i].node, buffer), steps[i].how);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static void on_explained(int r, const Fault *fault, ReferenceGraph **graph, void *userdata) {
        _cleanup_(question_freep) Question *question = userdata;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        question->survey = NULL;
        if (r >= 0) {
                r = answer_why(question, *graph, &own);
                fault = &own;
        }
        if (r < 0)
                (void) bus_reply_fault(question->message, r, fault);
}

/* Images are known by their full names. */
static int read_name(const char *kind, const char *name, Question *question, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        OciReference reference = { 0 };

        question->kind = node_kind_from_string(kind);
        if (question->kind != NODE_BLOB && question->kind != NODE_SNAPSHOT && question->kind != NODE_IMAGE)
                return bus_invalid_argument(error, "kind: must be 'blob', 'snapshot' or 'image'");
        if (question->kind != NODE_IMAGE) {
                question->name = strdup(name);
                return question->name ? 0 : -ENOMEM;
        }
        int r = oci_reference_parse(name, &reference, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        question->name = TAKE_PTR(reference.name);
        oci_reference_done(&reference);
        return 0;
}

int method_why(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(question_freep) Question *question = NULL;
        const char *kind, *name;
        int r = question_new(message, bus_call_namespace(message), &question);
        if (r >= 0)
                r = sd_bus_message_read(message, "ss", &kind, &name);
        if (r >= 0)
                r = read_name(kind, name, question, error);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = ask(userdata, question, &(SurveySpec){ 0 }, on_explained, error);
        if (r < 0)
                return r;
        TAKE_PTR(question);
        return 1;
}
