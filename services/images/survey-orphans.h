/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Since when it is known of things that nothing reaches them: remembered from one survey to the next. */

#include "services/images/image-store.h"
#include "services/images/reference-graph.h"

typedef struct SurveyOrphans {
        ImageStore *store;     /* weak */
        ReferenceGraph *graph; /* weak; all things are listed in it, and what is live is marked */
        bool noted;            /* all that was remembered has been looked at */
        int64_t kind;          /* the one that was looked at last */
        char *namespace, *name;
        uint32_t node; /* the next one to be remembered */
        unsigned count;
} SurveyOrphans;

void survey_orphans_done(SurveyOrphans *orphans);

/* Fills in reference_graph_since(), some at a time. 1: there is more. */
int survey_orphans_step(SurveyOrphans *orphans);
