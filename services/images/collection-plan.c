/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/collection-plan.h"

#include <errno.h>
#include <string.h>

#include "lib/record-file.h"
#include "services/images/image-store-private.h"

/* The others are forgotten after the next collections. */
#define DOCUMENTS_MAX 2000

static const struct {
        NodeKind node;
        GarbageKind garbage;
} kinds[_COLLECTION_PART_MAX] = {
        [COLLECTION_SNAPSHOTS] = { NODE_SNAPSHOT, GARBAGE_SNAPSHOT },
        [COLLECTION_BLOBS] = { NODE_BLOB, GARBAGE_BLOB },
};

void collection_plan_done(CollectionPlan *plan) {
        reference_graph_free(plan->graph);
        for (CollectionPart part = 0; part < _COLLECTION_PART_MAX; part++)
                free(plan->candidates[part]);
        *plan = (CollectionPlan){ 0 };
}

/* ---- all that is garbage ---- */

/* What is built on others goes before them. */
static int compare_candidates(const void *left, const void *right) {
        const CollectionCandidate *a = left, *b = right;
        return a->depth != b->depth ? (a->depth < b->depth) - (a->depth > b->depth)
                                    : (a->node > b->node) - (a->node < b->node);
}

static int find(CollectionPlan *plan, CollectionPart part, const char *namespace, CollectionCount *ret) {
        ReferenceGraph *graph = plan->graph;
        NodeKind kind = kinds[part].node;
        CollectionCount count = { 0 };
        size_t n = 0;

        for (uint32_t i = 0; i < reference_graph_count(graph); i++)
                n += reference_graph_is_garbage(graph, i, kind, namespace);
        CollectionCandidate *candidates = new0(CollectionCandidate, n + 1);
        if (!candidates)
                return -ENOMEM;
        for (uint32_t i = 0; count.things < n; i++) {
                if (!reference_graph_is_garbage(graph, i, kind, namespace))
                        continue;
                candidates[count.things++] = (CollectionCandidate){
                        .node = i,
                        .depth = kind == NODE_SNAPSHOT ? reference_graph_depth(graph, i) : 0,
                };
                count.bytes += reference_graph_node(graph, i)->bytes;
        }
        if (kind == NODE_SNAPSHOT)
                qsort(candidates, n, sizeof(CollectionCandidate), compare_candidates);
        plan->candidates[part] = candidates;
        plan->counts[part] = n;
        *ret = count;
        return 0;
}

int collection_plan_find(CollectionPlan *plan, const char *namespace,
                         CollectionCount ret[_COLLECTION_PART_MAX]) {
        int r = 0;
        for (CollectionPart part = 0; r >= 0 && part < _COLLECTION_PART_MAX; part++)
                r = find(plan, part, namespace, &ret[part]);
        return r;
}

/* ---- what is noted ---- */

static int add_noted(const char *namespace, GarbageKind kind, const char *name, void *userdata) {
        CollectionPlan *plan = userdata;
        CollectionPart part = kind == GARBAGE_BLOB ? COLLECTION_BLOBS : COLLECTION_SNAPSHOTS;
        size_t count = plan->counts[part];
        CollectionCandidate *larger = plan->candidates[part];

        if ((count & (count - 1)) == 0) /* doubles at the powers of two */
                larger = reallocarray(larger, MAX_OF(count * 2, (size_t) 1), sizeof(CollectionCandidate));
        if (!larger)
                return -ENOMEM;
        plan->candidates[part] = larger;
        larger[count] = (CollectionCandidate){ 0 };
        int r = reference_graph_add(plan->graph, kinds[part].node, NODE_NAME(namespace), NODE_NAME(name),
                                    &larger[count].node);
        if (r >= 0)
                plan->counts[part]++;
        return r < 0 ? r : 0;
}

int collection_plan_find_noted(CollectionPlan *plan, ImageStore *store) {
        return image_store_list_garbage(store, add_noted, plan);
}

/* Who is looked after twice is not hurt: these need not be synced. */
int collection_plan_forget_noted(const CollectionPlan *plan, ImageStore *store, bool live) {
        char buffer[DIGEST_STRING_MAX];
        int r = database_set_durable(store->database, false);
        if (r >= 0)
                r = database_begin(store->database);
        for (CollectionPart part = 0; part < _COLLECTION_PART_MAX; part++)
                for (size_t i = 0; r >= 0 && i < plan->counts[part]; i++) {
                        uint32_t node = plan->candidates[part][i].node;
                        if (reference_graph_node(plan->graph, node)->live == live)
                                r = image_store_forget_garbage(
                                        store, reference_graph_namespace(plan->graph, node),
                                        kinds[part].garbage,
                                        reference_graph_name(plan->graph, node, buffer));
                }
        if (r >= 0)
                r = database_commit(store->database);
        database_rollback(store->database);
        int durable = database_set_durable(store->database, true);
        return r < 0 ? r : durable;
}

/* ---- documents ---- */

typedef struct DocumentCursor {
        ReferenceGraph *graph;
        uint32_t next;
        unsigned count;
        char name[DIGEST_STRING_MAX];
} DocumentCursor;

static const char *next_lost_document(void *userdata) {
        DocumentCursor *cursor = userdata;
        while (cursor->next < reference_graph_count(cursor->graph) && cursor->count < DOCUMENTS_MAX) {
                uint32_t i = cursor->next++;
                const Node *node = reference_graph_node(cursor->graph, i);
                if (node->kind != NODE_DOCUMENT || node->listed)
                        continue;
                cursor->count++;
                return reference_graph_name(cursor->graph, i, cursor->name);
        }
        return NULL;
}

int collection_plan_forget_documents(const CollectionPlan *plan, ImageStore *store, uint64_t started) {
        DocumentCursor cursor = { .graph = plan->graph };
        reference_graph_list_documents(plan->graph);
        return image_store_forget_documents(store, next_lost_document, &cursor, started);
}

/* ---- lists ---- */

static bool is_live(const CollectionPlan *plan, CollectionPart part, size_t position) {
        return reference_graph_node(plan->graph, plan->candidates[part][position].node)->live;
}

bool collection_plan_has_more(CollectionPlan *plan, CollectionPart part) {
        size_t *position = &plan->positions[part];
        while (*position < plan->counts[part] && is_live(plan, part, *position))
                ++*position;
        return *position < plan->counts[part];
}

int collection_plan_write(const CollectionPlan *plan, CollectionPart part, size_t count) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        char buffer[DIGEST_STRING_MAX];
        int r = record_writer_new("crt-sweep", &writer);
        for (size_t at = plan->positions[part]; r >= 0 && count > 0 && at < plan->counts[part]; at++) {
                if (is_live(plan, part, at))
                        continue;
                uint32_t node = plan->candidates[part][at].node;
                r = record_writer_add(writer, "ssu", reference_graph_namespace(plan->graph, node),
                                      reference_graph_name(plan->graph, node, buffer),
                                      reference_graph_node(plan->graph, node)->stamp);
                count--;
        }
        return r < 0 ? r : record_writer_finish(writer);
}

void collection_plan_advance(CollectionPlan *plan, CollectionPart part, size_t seen) {
        while (seen > 0 && collection_plan_has_more(plan, part)) {
                plan->positions[part]++;
                seen--;
        }
}
