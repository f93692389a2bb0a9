/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Records of the owners (introspection/org.crt.Content1.Collector.xml and its siblings) as nodes, references
 * and roots of a graph. */

#include "lib/record-file.h"
#include "services/images/reference-graph.h"

typedef struct SurveyRoot {
        uint32_t node;
        const char *reason;
        bool flat;
} SurveyRoot;

typedef struct SurveyRecords {
        ReferenceGraph *graph;
        SurveyRoot *roots;
        size_t root_count;
        uint64_t now; /* microseconds since 1970 */

        /* Whether some transfer that is under way works in that snapshot. */
        bool (*is_transfers)(const char *namespace, const char *key, void *userdata);
        void *userdata;
} SurveyRecords;

void survey_records_done(SurveyRecords *records);

/* -EBADMSG for a record that is not understood: who does not know what keeps things must not remove any. */
int survey_records_read(SurveyRecords *records, const RecordField fields[RECORD_FIELDS_MAX]);

int survey_records_add_root(SurveyRecords *records, uint32_t node, const char *reason, bool flat);
/* What labels of a node say. */
int survey_records_add_label(SurveyRecords *records, uint32_t node, NodeName key, NodeName value);
/* One reference; the node that it leads to is made if there is none. */
int survey_records_refer(SurveyRecords *records, uint32_t from, NodeKind kind, NodeName name,
                         const char *how);
/* Marks the roots that are flat, or the others. */
int survey_records_mark(SurveyRecords *records, bool flat);
/* What keeps things will be told once more. */
void survey_records_begin_again(SurveyRecords *records);
