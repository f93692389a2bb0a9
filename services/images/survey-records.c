/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/survey-records.h"

#include <errno.h>
#include <string.h>

#include "lib/label.h"
#include "lib/limits.h"
#include "lib/strv.h"

void survey_records_done(SurveyRecords *records) {
        reference_graph_free(records->graph);
        free(records->roots);
        *records = (SurveyRecords){ 0 };
}

int survey_records_add_root(SurveyRecords *records, uint32_t node, const char *reason, bool flat) {
        SurveyRoot *larger = records->roots;
        /* Doubles at the powers of two. */
        if ((records->root_count & (records->root_count - 1)) == 0)
                larger = reallocarray(records->roots, MAX_OF(records->root_count * 2, (size_t) 1),
                                      sizeof(SurveyRoot));
        if (!larger)
                return -ENOMEM;
        records->roots = larger;
        records->roots[records->root_count++] = (SurveyRoot){ node, reason, flat };
        return 0;
}

static NodeName name_of(const RecordField *field) {
        return (NodeName){ field->data, field->length };
}

/* A field that is not there leaves a reference out. */
static int refer_in(SurveyRecords *records, uint32_t from, NodeName namespace, NodeKind kind,
                    const RecordField *name, const char *how) {
        uint32_t to;
        if (name->length == 0)
                return 0;
        int r = reference_graph_add(records->graph, kind, namespace, name_of(name), &to);
        return r < 0 ? r : reference_graph_add_edge(records->graph, from, to, how);
}

int survey_records_refer(SurveyRecords *records, uint32_t from, NodeKind kind, NodeName name,
                         const char *how) {
        const char *namespace = reference_graph_namespace(records->graph, from);
        const RecordField field = { name.data, name.length };
        return refer_in(records, from, NODE_NAME(namespace), kind, &field, how);
}

static const char root_label[] = "label " LABEL_GC_ROOT;

static int add_expiry(SurveyRecords *records, uint32_t node, NodeName value) {
        _cleanup_free_ char *text = strndup(value.data, value.length);
        uint64_t time;
        if (!text)
                return -ENOMEM;
        /* One that is not understood is no reason to remove anything. */
        if (label_parse_time(text, &time) >= 0 && time <= records->now)
                reference_graph_node(records->graph, node)->expired = true;
        return 0;
}

int survey_records_add_label(SurveyRecords *records, uint32_t node, NodeName key, NodeName value) {
        static const struct {
                const char *key, *how;
                NodeKind kind;
        } references[] = {
                { LABEL_GC_REF_CONTENT, "label " LABEL_GC_REF_CONTENT, NODE_BLOB },
                { LABEL_GC_REF_SNAPSHOT, "label " LABEL_GC_REF_SNAPSHOT, NODE_SNAPSHOT },
                { LABEL_GC_REF_IMAGE, "label " LABEL_GC_REF_IMAGE, NODE_IMAGE },
        };
        char name[LIMIT_LABEL_LENGTH + 1];
        if (key.length >= sizeof(name))
                return -EBADMSG;
        memcpy(name, key.data, key.length);
        name[key.length] = '\0';
        if (value.length == 0)
                return 0;
        if (string_equal(name, LABEL_GC_ROOT))
                return survey_records_add_root(records, node, root_label, false);
        if (string_equal(name, LABEL_GC_EXPIRE))
                return add_expiry(records, node, value);
        for (size_t i = 0; i < ELEMENTS_OF(references); i++)
                if (label_key_is(name, references[i].key))
                        return survey_records_refer(records, node, references[i].kind, value,
                                                    references[i].how);
        return 0;
}

/* ---- one for each kind of record; the fields behind its name ---- */

static int read_thing(SurveyRecords *records, NodeKind kind, const RecordField *fields, uint32_t *ret) {
        uint64_t stamp, bytes;
        int r = record_field_number(&fields[2], &stamp);
        if (r >= 0)
                r = record_field_number(&fields[3], &bytes);
        if (r >= 0)
                r = reference_graph_add(records->graph, kind, name_of(&fields[0]), name_of(&fields[1]), ret);
        if (r < 0)
                return r;
        Node *node = reference_graph_node(records->graph, *ret);
        node->listed = true;
        node->stamp = node->created = stamp;
        node->bytes = MIN_OF(bytes, NODE_BYTES_MAX);
        return 0;
}

/* namespace, digest, stamp, bytes */
static int read_blob(SurveyRecords *records, const RecordField *fields) {
        uint32_t node;
        return read_thing(records, NODE_BLOB, fields, &node);
}

static bool is_of_a_transfer(const SurveyRecords *records, uint32_t node) {
        const char *namespace = reference_graph_namespace(records->graph, node);
        char buffer[DIGEST_STRING_MAX];
        return records->is_transfers &&
               records->is_transfers(namespace, reference_graph_name(records->graph, node, buffer),
                                     records->userdata);
}

/* namespace, key, stamp, bytes, parent, kind, "held" or "", created */
static int read_snapshot(SurveyRecords *records, const RecordField *fields) {
        uint64_t created;
        uint32_t node;
        int r = read_thing(records, NODE_SNAPSHOT, fields, &node);
        if (r >= 0)
                r = record_field_number(&fields[7], &created);
        if (r < 0)
                return r;
        reference_graph_node(records->graph, node)->created = created;
        r = refer_in(records, node, name_of(&fields[0]), NODE_SNAPSHOT, &fields[4], REFERENCE_PARENT);
        if (r >= 0 && is_of_a_transfer(records, node))
                r = survey_records_add_root(records, node, "a transfer that is under way", false);
        else if (r >= 0 && fields[6].length > 0)
                r = survey_records_add_root(records, node, "in use", false);
        return r;
}

/* what has it, namespace, its name, key, value */
static int read_label(SurveyRecords *records, const RecordField *fields) {
        static const NodeKind kinds[] = { NODE_BLOB, NODE_SNAPSHOT, NODE_CONTAINER, NODE_LEASE,
                                          NODE_INGEST };
        for (size_t i = 0; i < ELEMENTS_OF(kinds); i++) {
                uint32_t node;
                if (!record_field_equal(&fields[0], node_kind_to_string(kinds[i])))
                        continue;
                int r = reference_graph_add(records->graph, kinds[i], name_of(&fields[1]),
                                            name_of(&fields[2]), &node);
                return r < 0 ? r
                             : survey_records_add_label(records, node, name_of(&fields[3]),
                                                        name_of(&fields[4]));
        }
        return -EBADMSG;
}

/* namespace, id, "flat" or "" */
static int read_lease(SurveyRecords *records, const RecordField *fields) {
        uint32_t node;
        int r = reference_graph_add(records->graph, NODE_LEASE, name_of(&fields[0]), name_of(&fields[1]),
                                    &node);
        return r < 0 ? r : survey_records_add_root(records, node, "a lease", fields[2].length > 0);
}

/* namespace, lease, type, name */
static int read_resource(SurveyRecords *records, const RecordField *fields) {
        static const struct {
                const char *type;
                NodeKind kind;
        } types[] = {
                { "content", NODE_BLOB },
                { "snapshot", NODE_SNAPSHOT },
                { "image", NODE_IMAGE },
                { "ingest", NODE_INGEST },
        };
        uint32_t lease;
        int r = reference_graph_add(records->graph, NODE_LEASE, name_of(&fields[0]), name_of(&fields[1]),
                                    &lease);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(types); i++)
                if (record_field_equal(&fields[2], types[i].type))
                        return refer_in(records, lease, name_of(&fields[0]), types[i].kind, &fields[3],
                                        "named by the lease");
        return r < 0 ? r : -EBADMSG;
}

/* namespace, reference, digest or "" */
static int read_ingest(SurveyRecords *records, const RecordField *fields) {
        uint32_t node;
        int r = reference_graph_add(records->graph, NODE_INGEST, name_of(&fields[0]), name_of(&fields[1]),
                                    &node);
        if (r >= 0)
                r = survey_records_add_root(records, node, "an ingest that is under way", false);
        if (r >= 0)
                r = refer_in(records, node, name_of(&fields[0]), NODE_BLOB, &fields[2], "expected");
        return r;
}

/* namespace, id, its own snapshot, the one below, the image's digest */
static int read_container(SurveyRecords *records, const RecordField *fields) {
        NodeName namespace = name_of(&fields[0]);
        uint32_t node;
        int r = reference_graph_add(records->graph, NODE_CONTAINER, namespace, name_of(&fields[1]), &node);
        if (r >= 0)
                r = survey_records_add_root(records, node, "a container", false);
        if (r >= 0)
                r = refer_in(records, node, namespace, NODE_SNAPSHOT, &fields[2], "its file system");
        if (r >= 0)
                r = refer_in(records, node, namespace, NODE_SNAPSHOT, &fields[3], "below its file system");
        if (r >= 0)
                r = refer_in(records, node, namespace, NODE_BLOB, &fields[4], "its image");
        return r;
}

int survey_records_read(SurveyRecords *records, const RecordField fields[RECORD_FIELDS_MAX]) {
        static const struct {
                const char *name;
                int (*read)(SurveyRecords *records, const RecordField *fields);
        } kinds[] = {
                { "blob", read_blob },           { "snapshot", read_snapshot }, { "label", read_label },
                { "lease", read_lease },         { "resource", read_resource }, { "ingest", read_ingest },
                { "container", read_container },
        };
        for (size_t i = 0; i < ELEMENTS_OF(kinds); i++)
                if (record_field_equal(&fields[0], kinds[i].name))
                        return kinds[i].read(records, fields + 1);
        return -EBADMSG;
}

/* ---- roots ---- */

/* An image whose time is over is none, and a label is none on what has expired. */
static bool is_over(const SurveyRecords *records, const SurveyRoot *root) {
        const Node *node = reference_graph_node(records->graph, root->node);
        return node->expired && (root->reason == root_label || node->kind == NODE_IMAGE);
}

int survey_records_mark(SurveyRecords *records, bool flat) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < records->root_count; i++) {
                const SurveyRoot *root = &records->roots[i];
                if (root->flat == flat && !is_over(records, root))
                        r = reference_graph_mark(records->graph, root->node, root->reason, root->flat);
        }
        return r;
}

void survey_records_begin_again(SurveyRecords *records) {
        records->root_count = 0;
        records->roots = mfree(records->roots);
        reference_graph_begin_again(records->graph);
}
