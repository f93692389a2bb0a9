/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-labels.h"

#include <errno.h>

#include "lib/label.h"
#include "lib/strv.h"
#include "services/content/content-namespace.h"

int content_labels_check(LabelledKind kind, char *const *labels, Fault *fault) {
        static const char *const own[] = { LABEL_SHAREABLE, NULL };
        return label_check(labels, kind == LABELLED_LEASE ? NULL : own, fault);
}

int content_labels_read(ContentState *state, const Labelled *labelled, char ***ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        _cleanup_strv_ char **labels = NULL;

        int r = database_query(state->database, &rows,
                               "SELECT key, value FROM labels WHERE kind = ? AND namespace = ?"
                               " AND object = ? ORDER BY key",
                               "iss", (int64_t) labelled->kind, labelled->namespace, labelled->object);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                r = strv_appendf(&labels, "%s=%s", database_rows_string(&rows, 0),
                                 database_rows_string(&rows, 1));
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(labels);
        return 0;
}

/* These are sorted as they are kept, and without those that have no value. */
int content_labels_are(ContentState *state, const Labelled *labelled, char *const *labels, Fault *fault) {
        _cleanup_strv_ char **kept = NULL, **given = NULL;
        size_t i = 0;
        int r = content_labels_read(state, labelled, &kept);
        if (r >= 0)
                r = label_change(&given, labels, /* replace= */ true, fault);
        if (r < 0)
                return r;
        if (strv_length(kept) != strv_length(given))
                return 0;
        while (kept && kept[i] && string_equal(kept[i], given[i]))
                i++;
        return i == strv_length(kept);
}

static int write_label(ContentState *state, const Labelled *labelled, const char *label) {
        const char *equals = strchr(label, '=');
        _cleanup_free_ char *key = strndup(label, (size_t) (equals - label));
        if (!key)
                return -ENOMEM;
        return database_execute(state->database,
                                "INSERT INTO labels (kind, namespace, object, key, value)"
                                " VALUES (?, ?, ?, ?, ?)",
                                "issss", (int64_t) labelled->kind, labelled->namespace, labelled->object,
                                key, equals + 1);
}

int content_labels_change(ContentState *state, const Labelled *labelled, char *const *changes, bool replace,
                          Fault *fault) {
        _cleanup_strv_ char **labels = NULL, **before = NULL;

        int r = content_labels_read(state, labelled, &labels);
        if (r >= 0)
                r = strv_copy((const char *const *) labels, &before);
        if (r >= 0)
                r = label_change(&labels, changes, replace, fault);
        if (r >= 0)
                r = database_execute(state->database,
                                     "DELETE FROM labels WHERE kind = ? AND namespace = ? AND object = ?",
                                     "iss", (int64_t) labelled->kind, labelled->namespace, labelled->object);
        for (size_t i = 0; r >= 0 && labels && labels[i]; i++)
                r = write_label(state, labelled, labels[i]);
        /* What only makes them less is right in any case. */
        if (r >= 0 && strv_size(labels) > strv_size(before))
                r = content_namespace_check(state, labelled->namespace, NAMESPACE_LABELS, 0, fault);
        if (r >= 0 && label_keeps_more(before, labels))
                content_state_note_change(state);
        return r < 0 ? r : 0;
}

int content_labels_visit_reserved(ContentState *state, LabelledKind kind, const LabelPlace *after,
                                  uint32_t limit, LabelVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        uint32_t count = 0;
        int r = database_query(state->database, &rows,
                               "SELECT namespace, object, key, value FROM labels INDEXED BY labels_reserved"
                               " WHERE kind = ? AND key >= 'org.crt.' AND key < 'org.crt/'"
                               " AND (object, key, namespace) > (?, ?, ?)"
                               " ORDER BY object, key, namespace LIMIT ?",
                               "isssi", (int64_t) kind, after ? after->labelled.object : "",
                               after ? after->key : "", after ? after->labelled.namespace : "",
                               (int64_t) limit);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                const LabelPlace place = {
                        .labelled = { kind, database_rows_string(&rows, 0), database_rows_string(&rows, 1) },
                        .key = database_rows_string(&rows, 2),
                };
                r = visit(&place, database_rows_string(&rows, 3), userdata);
                if (r < 0)
                        return r;
                count++;
        }
        return r < 0 ? r : count == limit;
}
