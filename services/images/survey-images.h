/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the database of images says of who needs what, as nodes, references and roots of a graph; a page in
 * each step. */

#include "services/images/image-store.h"
#include "services/images/survey-records.h"

typedef struct SurveyImages {
        ImageStore *store; /* weak, as the next */
        SurveyRecords *records;
        char *after[4]; /* the key of the row that was read last */
} SurveyImages;

void survey_images_done(SurveyImages *images);

/* Each is called until it returns 0, and all in this order; 1: there is more. */
int survey_images_add_documents(SurveyImages *images);
int survey_images_add_names(SurveyImages *images);
int survey_images_add_labels(SurveyImages *images);
/* When what is live has been followed: the records of images are the authority; what their documents say
 * only explains it better. */
int survey_images_add_needs(SurveyImages *images);
