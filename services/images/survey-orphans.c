/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey-orphans.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/strv.h"
#include "services/images/image-store-private.h"

/* Of one survey: a store that was filled with garbage is remembered bit by bit. */
#define NOTES_MAX 10000
#define PAGE 256
#define NODES_PER_STEP 4096

void survey_orphans_done(SurveyOrphans *orphans) {
        free(orphans->namespace);
        free(orphans->name);
        orphans->namespace = orphans->name = NULL;
}

static NodeKind kind_of(int64_t kind) {
        return kind == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT;
}

/* Whoever loses these notes only knows a younger time: they are not synced. */
static int begin(const SurveyOrphans *orphans) {
        int r = database_set_durable(orphans->store->database, false);
        return r < 0 ? r : database_begin(orphans->store->database);
}

static int end(const SurveyOrphans *orphans, int r) {
        Database *database = orphans->store->database;
        if (r >= 0)
                r = database_commit(database);
        database_rollback(database);
        int durable = database_set_durable(database, true);
        return r < 0 ? r : durable;
}

/* ---- those that are remembered ---- */

/* 1: it is needed again, or gone. */
static int look_at(const SurveyOrphans *orphans, const DatabaseRows *rows) {
        ReferenceGraph *graph = orphans->graph;
        const char *namespace = database_rows_string(rows, 0), *name = database_rows_string(rows, 2);
        NodeKind kind = kind_of(database_rows_int64(rows, 1));
        uint64_t since = (uint64_t) database_rows_int64(rows, 3);
        uint32_t node = reference_graph_find(graph, kind, NODE_NAME(namespace), NODE_NAME(name));
        if (node == NODE_NONE || !reference_graph_is_garbage(graph, node, kind, NULL))
                return 1;
        /* Otherwise it is another one that was given this name later. */
        return since >= reference_graph_node(graph, node)->created
                       ? reference_graph_set_since(graph, node, since)
                       : 0;
}

static int note_place(SurveyOrphans *orphans, const DatabaseRows *rows) {
        survey_orphans_done(orphans);
        orphans->namespace = strdup(database_rows_string(rows, 0));
        orphans->kind = database_rows_int64(rows, 1);
        orphans->name = strdup(database_rows_string(rows, 2));
        return orphans->namespace && orphans->name ? 0 : -ENOMEM;
}

/* Those that are over are given back as namespace, name, …: how many were looked at. */
static int read_page(SurveyOrphans *orphans, char ***ret_over) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int count = 0;
        int r = database_query(orphans->store->database, &rows,
                               "SELECT namespace, kind, thing, since FROM orphans"
                               " WHERE (namespace, kind, thing) > (?, ?, ?)"
                               " ORDER BY namespace, kind, thing LIMIT ?",
                               "sisi", orphans->namespace ? orphans->namespace : "", orphans->kind,
                               orphans->name ? orphans->name : "", (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                r = look_at(orphans, &rows);
                if (r > 0)
                        r = strv_append(ret_over, database_rows_string(&rows, 0));
                if (r > 0)
                        r = strv_append(ret_over, database_rows_string(&rows, 2));
                if (r >= 0 && ++count == PAGE)
                        r = note_place(orphans, &rows);
        }
        return r < 0 ? r : count;
}

static int look_at_page(SurveyOrphans *orphans) {
        _cleanup_strv_ char **over = NULL;
        int count = read_page(orphans, &over);
        if (count < 0)
                return count;
        orphans->noted = count < PAGE;
        if (!over)
                return 0;
        int r = begin(orphans);
        for (size_t i = 0; r >= 0 && over[i] && over[i + 1]; i += 2)
                r = database_execute(orphans->store->database,
                                     "DELETE FROM orphans WHERE namespace = ? AND thing = ?", "ss", over[i],
                                     over[i + 1]);
        return end(orphans, r);
}

/* ---- those that are new ---- */

static int remember(SurveyOrphans *orphans, uint32_t i, uint64_t since) {
        ReferenceGraph *graph = orphans->graph;
        char buffer[DIGEST_STRING_MAX];
        bool is_blob = reference_graph_node(graph, i)->kind == NODE_BLOB;
        int r = reference_graph_set_since(graph, i, since);
        if (r < 0 || orphans->count >= NOTES_MAX)
                return r;
        orphans->count++;
        return database_execute(orphans->store->database,
                                "INSERT OR REPLACE INTO orphans (namespace, kind, thing, since)"
                                " VALUES (?, ?, ?, ?)",
                                "sisi", reference_graph_namespace(graph, i),
                                (int64_t) (is_blob ? GARBAGE_BLOB : GARBAGE_SNAPSHOT),
                                reference_graph_name(graph, i, buffer), (int64_t) since);
}

static bool is_new_orphan(ReferenceGraph *graph, uint32_t i) {
        NodeKind kind = (NodeKind) reference_graph_node(graph, i)->kind;
        return (kind == NODE_BLOB || kind == NODE_SNAPSHOT) && reference_graph_since(graph, i) == 0 &&
               reference_graph_is_garbage(graph, i, kind, NULL);
}

static int remember_some(SurveyOrphans *orphans) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        uint64_t since = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
        uint32_t last = MIN_OF(orphans->node + NODES_PER_STEP, reference_graph_count(orphans->graph));
        unsigned count = 0;

        int r = begin(orphans);
        for (; r >= 0 && orphans->node < last && count < PAGE; orphans->node++)
                if (is_new_orphan(orphans->graph, orphans->node)) {
                        r = remember(orphans, orphans->node, since);
                        count++;
                }
        r = end(orphans, r);
        return r < 0 ? r : orphans->node < reference_graph_count(orphans->graph);
}

int survey_orphans_step(SurveyOrphans *orphans) {
        if (orphans->noted)
                return remember_some(orphans);
        int r = look_at_page(orphans);
        return r < 0 ? r : 1;
}
