/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks Snapshots, Content and Tasks what there is and what keeps it, adds what the images need, and gives
 * the graph of it all, with everything marked that somebody needs. All of it in small steps, beside whatever
 * else the daemon has to do. */

#include "services/images/image-service.h"
#include "services/images/reference-graph.h"

typedef struct Survey Survey;

typedef struct SurveySpec {
        bool roots;             /* things are not listed: only what keeps them is asked for */
        uint64_t older_than;    /* microseconds: what is younger counts as needed */
        uint64_t epochs[2];     /* of Snapshots and Content, for which the lists are; 0: of none */
        ReferenceGraph **again; /* of an earlier survey, which is taken: what keeps things now is added */
} SurveySpec;

/* r >= 0: there is a graph, to be had with TAKE_PTR(). The survey is gone then. */
typedef void (*SurveyDone)(int r, const Fault *fault, ReferenceGraph **graph, void *userdata);

int survey_new(ImageService *service, const SurveySpec *spec, SurveyDone done, void *userdata, Survey **ret);
/* Nobody is told. */
Survey *survey_free(Survey *survey);
DEFINE_CLEANUP(Survey *, survey_free);
