/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a collection is about to remove: things of a graph that nothing was found to need, in the order in
 * which they go. What is found to be needed later stays behind. */

#include "services/images/collection.h"
#include "services/images/reference-graph.h"

typedef struct CollectionCandidate {
        uint32_t node;
        uint32_t depth;
} CollectionCandidate;

typedef struct CollectionPlan {
        ReferenceGraph *graph;
        CollectionCandidate *candidates[_COLLECTION_PART_MAX];
        size_t counts[_COLLECTION_PART_MAX];
        size_t positions[_COLLECTION_PART_MAX];
} CollectionPlan;

void collection_plan_done(CollectionPlan *plan);

/* Of a graph in which all things are listed: what is garbage in a namespace (NULL: in all). */
int collection_plan_find(CollectionPlan *plan, const char *namespace,
                         CollectionCount ret[_COLLECTION_PART_MAX]);
/* What is noted as garbage, whether it is needed or not. */
int collection_plan_find_noted(CollectionPlan *plan, ImageStore *store);
/* Of that, what is needed, or the rest, need not be noted any longer. */
int collection_plan_forget_noted(const CollectionPlan *plan, ImageStore *store, bool live);
/* What documents say that nobody has any longer need not be remembered; started: the collection. */
int collection_plan_forget_documents(const CollectionPlan *plan, ImageStore *store, uint64_t started);

bool collection_plan_has_more(CollectionPlan *plan, CollectionPart part);
/* The next ones as a list for their owner, who has seen that many of them then. */
int collection_plan_write(const CollectionPlan *plan, CollectionPart part, size_t count);
void collection_plan_advance(CollectionPlan *plan, CollectionPart part, size_t seen);
