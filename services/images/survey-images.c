/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey-images.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"
#include "services/images/image-store-private.h"

#define PAGE 256

static void forget_place(SurveyImages *images) {
        for (size_t i = 0; i < ELEMENTS_OF(images->after); i++)
                images->after[i] = mfree(images->after[i]);
}

void survey_images_done(SurveyImages *images) {
        forget_place(images);
}

static const char *after(const SurveyImages *images, size_t i) {
        return images->after[i] ? images->after[i] : "";
}

/* The first columns of a row are its key. */
static int note_place(SurveyImages *images, const DatabaseRows *rows, size_t columns) {
        forget_place(images);
        for (size_t i = 0; i < columns; i++)
                if (!(images->after[i] = strdup(database_rows_string(rows, (int) i))))
                        return -ENOMEM;
        return 0;
}

static NodeName text(const DatabaseRows *rows, int column) {
        const char *value = database_rows_string(rows, column);
        return NODE_NAME(value);
}

typedef int (*AddRow)(SurveyImages *images, const DatabaseRows *rows);

/* r: of the query. */
static int add_page(SurveyImages *images, DatabaseRows *rows, int r, size_t key_columns, AddRow add) {
        unsigned count = 0;
        while (r >= 0 && (r = database_rows_next(rows)) > 0) {
                r = add(images, rows);
                if (r >= 0 && ++count == PAGE)
                        r = note_place(images, rows, key_columns);
        }
        if (r >= 0 && count < PAGE)
                forget_place(images);
        return r < 0 ? r : count == PAGE;
}

static int add_document(SurveyImages *images, const DatabaseRows *rows) {
        return reference_graph_add_document(images->records->graph, text(rows, 0));
}

int survey_images_add_documents(SurveyImages *images) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(
                images->store->database, &rows,
                "SELECT DISTINCT digest FROM documents WHERE digest > ? ORDER BY digest LIMIT ?", "si",
                after(images, 0), (int64_t) PAGE);
        return add_page(images, &rows, r, 1, add_document);
}

/* namespace, name, digest, pulled */
static int add_image(SurveyImages *images, const DatabaseRows *rows) {
        SurveyRecords *records = images->records;
        uint32_t image;
        int r = reference_graph_add(records->graph, NODE_IMAGE, text(rows, 0), text(rows, 1), &image);
        if (r < 0)
                return r;
        Node *node = reference_graph_node(records->graph, image);
        node->listed = true;
        node->created = (uint64_t) database_rows_int64(rows, 3);
        r = survey_records_refer(records, image, NODE_BLOB, text(rows, 2), "its target");
        return r < 0 ? r : survey_records_add_root(records, image, "its name", false);
}

int survey_images_add_names(SurveyImages *images) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(images->store->database, &rows,
                               "SELECT namespace, name, digest, pulled FROM images"
                               " WHERE (namespace, name) > (?, ?) ORDER BY namespace, name LIMIT ?",
                               "ssi", after(images, 0), after(images, 1), (int64_t) PAGE);
        return add_page(images, &rows, r, 2, add_image);
}

/* namespace, name, key, value */
static int add_label(SurveyImages *images, const DatabaseRows *rows) {
        SurveyRecords *records = images->records;
        uint32_t image = reference_graph_find(records->graph, NODE_IMAGE, text(rows, 0), text(rows, 1));
        if (image == NODE_NONE) /* it has come this moment */
                return 0;
        return survey_records_add_label(records, image, text(rows, 2), text(rows, 3));
}

int survey_images_add_labels(SurveyImages *images) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(images->store->database, &rows,
                               "SELECT namespace, name, key, value FROM labels"
                               " WHERE (namespace, name, key) > (?, ?, ?)"
                               " ORDER BY namespace, name, key LIMIT ?",
                               "sssi", after(images, 0), after(images, 1), after(images, 2), (int64_t) PAGE);
        return add_page(images, &rows, r, 3, add_label);
}

/* namespace, name, kind, thing */
static int add_need(SurveyImages *images, const DatabaseRows *rows) {
        ReferenceGraph *graph = images->records->graph;
        uint32_t image = reference_graph_find(graph, NODE_IMAGE, text(rows, 0), text(rows, 1)), needed;
        if (image == NODE_NONE || !reference_graph_node(graph, image)->live)
                return 0;
        NodeKind kind = database_rows_int64(rows, 2) == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT;
        int r = reference_graph_add(graph, kind, text(rows, 0), text(rows, 3), &needed);
        return r < 0 ? r : reference_graph_reach(graph, image, needed, "needed by it");
}

int survey_images_add_needs(SurveyImages *images) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int64_t kind = 0;
        if (images->after[2])
                kind = strtoll(images->after[2], NULL, 10);
        int r = database_query(images->store->database, &rows,
                               "SELECT namespace, name, kind, thing FROM needs"
                               " WHERE (namespace, name, kind, thing) > (?, ?, ?, ?)"
                               " ORDER BY namespace, name, kind, thing LIMIT ?",
                               "ssisi", after(images, 0), after(images, 1), kind, after(images, 3),
                               (int64_t) PAGE);
        return add_page(images, &rows, r, 4, add_need);
}
