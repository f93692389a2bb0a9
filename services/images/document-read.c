/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/oci-annotations.h"
#include "lib/strv.h"
#include "services/images/document.h"

/* Who wrote the records may have been taken over by what it read: each field is looked at as if nobody had
 * done so before. */

/* A list that grows; its room is twice what it needs at most. */
typedef struct List {
        void *items;
        size_t count, room, limit, size;
} List;

typedef enum ListKind {
        LIST_DESCRIPTORS,
        LIST_DIFF_IDS,
        LIST_ENVIRONMENT,
        LIST_ENTRYPOINT,
        LIST_COMMAND,
        LIST_PORTS,
        LIST_VOLUMES,
        LIST_LABELS,
        _LIST_KIND_MAX,
} ListKind;

typedef struct Reader {
        Document document;
        List lists[_LIST_KIND_MAX];
        bool has_config; /* a manifest's descriptor of it */
        uint64_t bytes;  /* of all that a manifest refers to */
} Reader;

typedef struct RecordRule {
        const char *name;
        DocumentKind kind;
        /* NULL, or what is wrong with it. */
        const char *(*read)(Reader *reader, const RecordField *fields, ListKind list);
        ListKind list;
} RecordRule;

static const char out_of_memory[] = "there is no memory for it";

/* ---- lists ---- */

/* Room for one more, and for an end behind it. */
static void *list_add(List *list) {
        if (list->count + 1 >= list->room) {
                size_t room = 2 * list->room + 8;
                void *items = reallocarray(list->items, room, list->size);
                if (!items)
                        return NULL;
                memset((char *) items + list->room * list->size, 0, (room - list->room) * list->size);
                list->items = items;
                list->room = room;
        }
        return (char *) list->items + list->count++ * list->size;
}

static bool list_is_full(const List *list) {
        return list->count >= list->limit;
}

static void lists_init(List lists[_LIST_KIND_MAX], DocumentKind kind) {
        for (size_t i = 0; i < _LIST_KIND_MAX; i++)
                lists[i] = (List){ .size = sizeof(char *), .limit = LIMIT_ANNOTATIONS };
        lists[LIST_DESCRIPTORS].size = sizeof(OciDescriptor);
        lists[LIST_DESCRIPTORS].limit =
                kind == DOCUMENT_INDEX ? LIMIT_INDEX_MANIFESTS : LIMIT_MANIFEST_LAYERS;
        lists[LIST_DIFF_IDS].size = sizeof(Digest);
        lists[LIST_DIFF_IDS].limit = LIMIT_MANIFEST_LAYERS;
        for (ListKind i = LIST_ENVIRONMENT; i <= LIST_COMMAND; i++)
                lists[i].limit = LIMIT_CONFIG_STRINGS;
        lists[LIST_LABELS].limit = 2 * LIMIT_ANNOTATIONS;
}

static void reader_done(Reader *reader) {
        document_done(&reader->document);
        oci_descriptor_free_array(reader->lists[LIST_DESCRIPTORS].items,
                                  reader->lists[LIST_DESCRIPTORS].count);
        free(reader->lists[LIST_DIFF_IDS].items);
        for (ListKind i = LIST_ENVIRONMENT; i < _LIST_KIND_MAX; i++)
                strv_free(reader->lists[i].items);
}

/* ---- fields ---- */

static const char *read_digest(const RecordField *field, Digest *ret) {
        char text[DIGEST_STRING_MAX];
        if (field->length >= sizeof(text))
                return "its digest is too long";
        memcpy(text, field->data, field->length);
        text[field->length] = '\0';
        return digest_parse(text, ret) < 0 ? "its digest is none" : NULL;
}

/* Text without control characters; an empty one is not given. */
static const char *read_name(const RecordField *field, char **ret) {
        if (field->length == 0)
                return NULL;
        int r = record_field_text(field, ret);
        if (r < 0)
                return r == -ENOMEM ? out_of_memory : "has what is no text";
        return string_is_printable(*ret) ? NULL : "has control characters";
}

static const char *read_platform(const RecordField fields[4], OciPlatform *ret) {
        OciPlatform parts = { 0 };
        char **places[] = { &parts.os, &parts.architecture, &parts.variant, &parts.os_version };
        const char *wrong = NULL;

        for (size_t i = 0; !wrong && i < ELEMENTS_OF(places); i++)
                wrong = read_name(&fields[i], places[i]);
        if (!wrong && oci_platform_from_parts(&parts, ret) < 0)
                wrong = "its platform is none";
        oci_platform_done(&parts);
        return wrong;
}

static const char *read_type(const RecordField *field, MediaKind kind, const char **ret) {
        _cleanup_free_ char *name = record_field_copy(field);
        const MediaType *type = name ? media_type_find(name) : NULL;
        if (!type || type->kind != kind)
                return "its media type is not of such a document";
        *ret = type->name;
        return NULL;
}

static const char *read_descriptor(const RecordField *fields, OciDescriptor *descriptor) {
        descriptor->media_type = record_field_copy(&fields[1]);
        if (!descriptor->media_type)
                return out_of_memory;
        if (!media_type_is_valid(descriptor->media_type))
                return "its media type is none";
        const char *wrong = read_digest(&fields[2], &descriptor->digest);
        if (wrong)
                return wrong;
        if (record_field_number(&fields[3], &descriptor->size) < 0 || descriptor->size > INT64_MAX)
                return "its size is none";
        return NULL;
}

/* ---- records ---- */

static const char *read_entry(Reader *reader, const RecordField *fields, ListKind list) {
        OciDescriptor *entry = list_add(&reader->lists[list]);
        if (!entry)
                return out_of_memory;
        const char *wrong = read_descriptor(fields, entry);
        if (wrong || (fields[4].length == 0 && fields[5].length == 0))
                return wrong;
        wrong = read_platform(&fields[4], &entry->platform);
        entry->has_platform = !wrong;
        return wrong;
}

static const char *count_bytes(Reader *reader, const OciDescriptor *descriptor) {
        bool is_too_much = __builtin_add_overflow(reader->bytes, descriptor->size, &reader->bytes) ||
                           reader->bytes > (uint64_t) INT64_MAX;
        return is_too_much ? "all are larger together than any file system" : NULL;
}

static const char *read_layer(Reader *reader, const RecordField *fields, ListKind list) {
        OciDescriptor *layer = list_add(&reader->lists[list]);
        if (!layer)
                return out_of_memory;
        const char *wrong = read_descriptor(fields, layer);
        return wrong ? wrong : count_bytes(reader, layer);
}

static const char *read_config(Reader *reader, const RecordField *fields, ListKind list) {
        OciDescriptor *config = &reader->document.manifest.config;
        if (reader->has_config)
                return "it is there already";
        reader->has_config = true;
        const char *wrong = read_descriptor(fields, config);
        return wrong ? wrong : count_bytes(reader, config);
}

static const char *read_diff_id(Reader *reader, const RecordField *fields, ListKind list) {
        Digest *diff_id = list_add(&reader->lists[list]);
        return diff_id ? read_digest(&fields[1], diff_id) : out_of_memory;
}

static const char *add_text(List *list, const RecordField *field) {
        char **place = list_add(list);
        if (!place)
                return out_of_memory;
        int r = record_field_text(field, place);
        if (r < 0) {
                list->count--;
                return r == -ENOMEM ? out_of_memory : "it is no text";
        }
        return NULL;
}

static char *last_text(const List *list) {
        return ((char **) list->items)[list->count - 1];
}

static const char *read_argument(Reader *reader, const RecordField *fields, ListKind list) {
        return add_text(&reader->lists[list], &fields[1]);
}

static const char *read_variable(Reader *reader, const RecordField *fields, ListKind list) {
        const char *wrong = add_text(&reader->lists[list], &fields[1]);
        if (wrong)
                return wrong;
        const char *equals = strchr(last_text(&reader->lists[list]), '=');
        return equals && equals != last_text(&reader->lists[list]) ? NULL : "it is not NAME=value";
}

static const char *read_key(Reader *reader, const RecordField *fields, ListKind list) {
        const char *wrong = add_text(&reader->lists[list], &fields[1]);
        if (wrong)
                return wrong;
        const char *key = last_text(&reader->lists[list]);
        return key[0] && string_is_printable(key) ? NULL : "it is empty or has control characters";
}

static const char *read_label(Reader *reader, const RecordField *fields, ListKind list) {
        const char *wrong = add_text(&reader->lists[list], &fields[1]);
        if (wrong)
                return wrong;
        const char *key = last_text(&reader->lists[list]);
        if (!key[0] || string_after(key, OCI_ANNOTATION_RESERVED))
                return "its key is empty or crt's own";
        return add_text(&reader->lists[list], &fields[2]);
}

static const RecordRule rules[] = {
        { "entry", DOCUMENT_INDEX, read_entry, LIST_DESCRIPTORS },
        { "config", DOCUMENT_MANIFEST, read_config, _LIST_KIND_MAX },
        { "layer", DOCUMENT_MANIFEST, read_layer, LIST_DESCRIPTORS },
        { "diff", DOCUMENT_CONFIG, read_diff_id, LIST_DIFF_IDS },
        { "env", DOCUMENT_CONFIG, read_variable, LIST_ENVIRONMENT },
        { "entrypoint", DOCUMENT_CONFIG, read_argument, LIST_ENTRYPOINT },
        { "cmd", DOCUMENT_CONFIG, read_argument, LIST_COMMAND },
        { "port", DOCUMENT_CONFIG, read_key, LIST_PORTS },
        { "volume", DOCUMENT_CONFIG, read_key, LIST_VOLUMES },
        { "label", DOCUMENT_CONFIG, read_label, LIST_LABELS },
};

/* The first one, which says what it is. */
static const char *read_head(Reader *reader, const RecordField *fields) {
        Document *document = &reader->document;
        const char *wrong = NULL;

        if (record_field_equal(&fields[0], "index")) {
                document->kind = DOCUMENT_INDEX;
                wrong = read_type(&fields[1], MEDIA_INDEX, &document->index.media_type);
        } else if (record_field_equal(&fields[0], "manifest")) {
                document->kind = DOCUMENT_MANIFEST;
                wrong = read_type(&fields[1], MEDIA_MANIFEST, &document->manifest.media_type);
        } else if (record_field_equal(&fields[0], "image")) {
                OciImageConfig *config = &document->config;
                char **names[] = { &config->created, &config->user, &config->working_directory,
                                   &config->stop_signal };
                document->kind = DOCUMENT_CONFIG;
                wrong = read_platform(&fields[1], &config->platform);
                for (size_t i = 0; !wrong && i < ELEMENTS_OF(names); i++)
                        wrong = read_name(&fields[5 + i], names[i]);
        } else
                wrong = "no document begins so";
        lists_init(reader->lists, document->kind);
        return wrong;
}

static const char *read_record(Reader *reader, const RecordField *fields) {
        for (size_t i = 0; i < ELEMENTS_OF(rules); i++) {
                const RecordRule *rule = &rules[i];
                if (rule->kind != reader->document.kind || !record_field_equal(&fields[0], rule->name))
                        continue;
                if (rule->list < _LIST_KIND_MAX && list_is_full(&reader->lists[rule->list]))
                        return "there are too many of these";
                return rule->read(reader, fields, rule->list);
        }
        return "such a document has none of these";
}

static const char *read_end(const Reader *reader, const RecordFile *file, const RecordField *fields,
                            uint64_t count) {
        uint64_t told;
        if (record_field_number(&fields[1], &told) < 0 || told != count || file->position != file->size)
                return "it is not the end";
        if (reader->document.kind == DOCUMENT_MANIFEST && !reader->has_config)
                return "there is no config";
        return NULL;
}

/* ---- the whole ---- */

/* The lists are the document's from now on. */
static void assemble(Reader *reader) {
        Document *document = &reader->document;
        List *lists = reader->lists;

        switch (document->kind) {
        case DOCUMENT_INDEX:
                document->index.manifests = TAKE_PTR(lists[LIST_DESCRIPTORS].items);
                document->index.manifest_count = lists[LIST_DESCRIPTORS].count;
                break;
        case DOCUMENT_MANIFEST:
                document->manifest.layers = TAKE_PTR(lists[LIST_DESCRIPTORS].items);
                document->manifest.layer_count = lists[LIST_DESCRIPTORS].count;
                break;
        default:
                document->config.diff_ids = TAKE_PTR(lists[LIST_DIFF_IDS].items);
                document->config.diff_id_count = lists[LIST_DIFF_IDS].count;
                document->config.environment = TAKE_PTR(lists[LIST_ENVIRONMENT].items);
                document->config.entrypoint = TAKE_PTR(lists[LIST_ENTRYPOINT].items);
                document->config.command = TAKE_PTR(lists[LIST_COMMAND].items);
                document->config.exposed_ports = TAKE_PTR(lists[LIST_PORTS].items);
                document->config.volumes = TAKE_PTR(lists[LIST_VOLUMES].items);
                document->config.labels = TAKE_PTR(lists[LIST_LABELS].items);
        }
        lists[LIST_DESCRIPTORS].count = 0;
}

int document_read(RecordFile *file, Document *ret, Fault *fault) {
        _cleanup_(reader_done) Reader reader = { 0 };
        RecordField fields[RECORD_FIELDS_MAX];
        uint64_t count = 0;

        for (;; count++) {
                int r = record_file_next(file, fields);
                if (r <= 0)
                        return fault_set(fault, -EPROTO, "record %llu: %s", (unsigned long long) count + 1,
                                         r < 0 ? "is none" : "is missing");
                bool is_end = count > 0 && record_field_equal(&fields[0], "end");
                const char *wrong = is_end      ? read_end(&reader, file, fields, count)
                                    : count > 0 ? read_record(&reader, fields)
                                                : read_head(&reader, fields);
                if (wrong)
                        return fault_set(fault, wrong == out_of_memory ? -ENOMEM : -EPROTO,
                                         "record %llu: %s", (unsigned long long) count + 1, wrong);
                if (is_end)
                        break;
        }
        assemble(&reader);
        *ret = TAKE(reader.document, (Document){ 0 });
        return 0;
}

void document_done(Document *document) {
        switch (document->kind) {
        case DOCUMENT_INDEX:
                oci_index_done(&document->index);
                break;
        case DOCUMENT_MANIFEST:
                oci_manifest_done(&document->manifest);
                break;
        default:
                oci_image_config_done(&document->config);
        }
        *document = (Document){ 0 };
}
