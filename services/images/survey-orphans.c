/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey-orphans.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/strv.h"
#include "services/images/image-store-private.h"

/* Of one survey: a store that was filled with garbage is remembered bit by bit. */
#define NOTES_MAX 10000

static NodeKind kind_of(int64_t kind) {
        return kind == GARBAGE_BLOB ? NODE_BLOB : NODE_SNAPSHOT;
}

/* Those that are needed again, or gone, are given back as namespace, name, … to be forgotten. */
static int read_notes(Database *database, ReferenceGraph *graph, char ***ret_over) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(database, &rows, "SELECT namespace, thing, kind, since FROM orphans", "");
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                const char *namespace = database_rows_string(&rows, 0),
                           *name = database_rows_string(&rows, 1);
                NodeKind kind = kind_of(database_rows_int64(&rows, 2));
                uint32_t node = reference_graph_find(graph, kind, NODE_NAME(namespace), NODE_NAME(name));
                if (node != NODE_NONE && reference_graph_is_garbage(graph, node, kind, NULL)) {
                        uint64_t since = (uint64_t) database_rows_int64(&rows, 3);
                        /* Otherwise it is another one that was given this name later. */
                        if (since >= reference_graph_node(graph, node)->created)
                                reference_graph_node(graph, node)->since = since;
                        continue;
                }
                r = strv_append(ret_over, namespace);
                if (r >= 0)
                        r = strv_append(ret_over, name);
        }
        return r;
}

static int write_notes(Database *database, ReferenceGraph *graph) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        uint64_t since = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
        unsigned count = 0;
        int r = 0;

        for (uint32_t i = 0; r >= 0 && i < reference_graph_count(graph); i++) {
                Node *node = reference_graph_node(graph, i);
                bool is_blob = node->kind == NODE_BLOB;
                if ((!is_blob && node->kind != NODE_SNAPSHOT) || node->since > 0 ||
                    !reference_graph_is_garbage(graph, i, node->kind, NULL))
                        continue;
                node->since = since;
                if (count++ < NOTES_MAX)
                        r = database_execute(database,
                                             "INSERT OR REPLACE INTO orphans (namespace, kind, thing, since)"
                                             " VALUES (?, ?, ?, ?)",
                                             "sisi", reference_graph_namespace(graph, i),
                                             (int64_t) (is_blob ? GARBAGE_BLOB : GARBAGE_SNAPSHOT),
                                             node->name, (int64_t) since);
        }
        return r < 0 ? r : 0;
}

int survey_note_orphans(ImageStore *store, ReferenceGraph *graph) {
        _cleanup_strv_ char **over = NULL;
        Database *database = store->database;

        int r = read_notes(database, graph, &over);
        if (r >= 0)
                r = database_begin(database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = database;
        for (size_t i = 0; r >= 0 && over && over[i] && over[i + 1]; i += 2)
                r = database_execute(database, "DELETE FROM orphans WHERE namespace = ? AND thing = ?", "ss",
                                     over[i], over[i + 1]);
        if (r >= 0)
                r = write_notes(database, graph);
        return r < 0 ? r : database_commit(database);
}
