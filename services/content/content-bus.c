/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-bus.h"

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "services/content/blob-store.h"
#include "services/content/ingest-bus.h"

struct ContentBus {
        ContentState *state; /* weak */
        IngestTable *table;  /* weak */
        ObjectKind *ingests;
        sd_bus_slot *slot;
};

/* ---- arguments ---- */

static int parse_digest(const char *text, const char *what, Digest *ret, sd_bus_error *error) {
        int r = digest_parse(text, ret);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(error, bus_error_name(r),
                                         "%s: the algorithm of '%.64s' is not known", what, text);
        return r < 0 ? bus_invalid_argument(error, "%s: '%.64s' is not a digest", what, text) : 0;
}

static int read_reference(sd_bus_message *message, const char **ret, sd_bus_error *error) {
        int r = sd_bus_message_read(message, "s", ret);
        if (r < 0)
                return r;
        if (!ingest_reference_is_valid(*ret))
                return bus_invalid_argument(error, "reference: must be 1 to %i printable characters",
                                            LIMIT_INGEST_REFERENCE_LENGTH);
        return 0;
}

/* Digest and options without a key of their own. */
static int read_digest_call(sd_bus_message *message, Digest *ret, sd_bus_error *error) {
        const char *text;
        int r = sd_bus_message_read(message, "s", &text);
        if (r >= 0)
                r = parse_digest(text, "digest", ret, error);
        return r < 0 ? r : bus_options_read(message, NULL, 0, NULL, error);
}

static int read_ingest_call(sd_bus_message *message, IngestTable *table, Ingest **ret, sd_bus_error *error) {
        const char *reference;
        int r = read_reference(message, &reference, error);
        if (r < 0)
                return r;
        *ret = ingest_table_find(table, bus_call_namespace(message), reference);
        return 0;
}

static int no_such_ingest(sd_bus_error *error) {
        return sd_bus_error_set(error, bus_error_name(-ENOENT), "there is no such ingest");
}

static int blob_error(sd_bus_error *error, int r, const Digest *digest, const char *namespace) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char text[DIGEST_STRING_MAX];
        digest_to_string(digest, text);
        if (r == -ENOENT)
                fault_set(&fault, r, "the namespace %s has no blob %s", namespace, text);
        else
                fault_set_errno(&fault, r, "%s", text);
        return bus_error_set_fault(error, r, &fault);
}

/* ---- ingests ---- */

typedef struct PromiseOptions {
        const char *digest;
        uint64_t size;
        bool restart;
        bool size_given;
} PromiseOptions;

static const BusOption promise_options[] = {
        { "digest", "s", offsetof(PromiseOptions, digest) },
        { "size", "t", offsetof(PromiseOptions, size), NULL, offsetof(PromiseOptions, size_given) },
        { "restart", "b", offsetof(PromiseOptions, restart) },
};
#define INGEST_OPTIONS ELEMENTS_OF(promise_options)
#define COMMIT_OPTIONS (ELEMENTS_OF(promise_options) - 1) /* all but "restart" */

static int read_promise(sd_bus_message *message, size_t option_count, IngestPromise *ret, bool *ret_restart,
                        sd_bus_error *error) {
        PromiseOptions options = { 0 };
        IngestPromise promise = { .size = INGEST_SIZE_UNKNOWN };

        int r = bus_options_read(message, promise_options, option_count, &options, error);
        if (r >= 0 && options.digest)
                r = parse_digest(options.digest, "option 'digest'", &promise.digest, error);
        if (r < 0)
                return r;
        promise.has_digest = options.digest != NULL;
        if (options.size_given) {
                if (options.size > INT64_MAX)
                        return bus_invalid_argument(error, "option 'size': no file is that large");
                promise.size = options.size;
        }
        *ret = promise;
        *ret_restart = options.restart;
        return 0;
}

static int method_ingest(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *path = NULL;
        IngestRequest request = { .namespace = bus_call_namespace(message) };
        IngestPromise promise;
        Ingest *ingest;

        int r = read_reference(message, &request.reference, error);
        if (r >= 0)
                r = read_promise(message, INGEST_OPTIONS, &promise, &request.restart, error);
        if (r < 0)
                return r;
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        request.uid = peer_uid(peer);
        request.has_digest = promise.has_digest;
        request.digest = promise.digest;
        request.size = promise.size;

        _cleanup_close_ int stream = ingest_open_stream(content->table, &request, &ingest, &fault);
        if (stream < 0)
                return bus_error_set_fault(error, stream, &fault);
        r = object_kind_get_path(content->ingests, request.namespace, request.reference, &path);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, "hto", stream, ingest_offset(ingest), path);
}

static void on_committed(int r, const Fault *fault, const Digest *digest, uint64_t size, void *userdata) {
        sd_bus_message *message = userdata;
        char text[DIGEST_STRING_MAX];
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, "st", digest_to_string(digest, text), size);
        sd_bus_message_unref(message);
}

static int method_commit(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        IngestPromise promise;
        Ingest *ingest;
        bool restart;

        int r = read_ingest_call(message, content->table, &ingest, error);
        if (r >= 0)
                r = read_promise(message, COMMIT_OPTIONS, &promise, &restart, error);
        if (r < 0)
                return r;
        if (!ingest)
                return no_such_ingest(error);
        DigestAlgorithm algorithm = ingest_record(ingest)->digest.algorithm;
        if (promise.has_digest && promise.digest.algorithm != algorithm)
                return bus_invalid_argument(error, "option 'digest': this ingest is hashed with %s",
                                            digest_algorithm_to_string(algorithm));
        ingest_commit(ingest, &promise, on_committed, sd_bus_message_ref(message));
        return 1;
}

static int method_abort(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        Ingest *ingest;

        int r = read_ingest_call(message, content->table, &ingest, error);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        if (!ingest)
                return no_such_ingest(error);
        r = ingest_abort(ingest, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        return sd_bus_reply_method_return(message, NULL);
}

/* ---- blobs ---- */

static int method_open(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message);
        Digest digest;
        Blob blob;

        int r = read_digest_call(message, &digest, error);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = blob_open(content->state, namespace, &digest, &blob);
        if (fd < 0)
                return blob_error(error, fd, &digest, namespace);
        return sd_bus_reply_method_return(message, "ht", fd, blob.size);
}

static int append_blob(const Blob *blob, void *userdata) {
        sd_bus_message *reply = userdata;
        char text[DIGEST_STRING_MAX];
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "digest", "s", digest_to_string(&blob->digest, text));
        if (r >= 0)
                r = bus_append_entry(reply, "size", "t", blob->size);
        if (r >= 0)
                r = bus_append_entry(reply, "created", "t", blob->created);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_stat(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *namespace = bus_call_namespace(message);
        Digest digest;
        Blob blob;

        int r = read_digest_call(message, &digest, error);
        if (r < 0)
                return r;
        r = blob_find(content->state, namespace, &digest, &blob);
        if (r < 0)
                return blob_error(error, r, &digest, namespace);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_blob(&blob, reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

typedef struct ListOptions {
        const char *after;
        uint32_t limit;
} ListOptions;

static const BusOption list_options[] = {
        { "after", "s", offsetof(ListOptions, after) },
        { "limit", "u", offsetof(ListOptions, limit) },
};

typedef struct Page {
        sd_bus_message *reply;
        Digest last;
} Page;

static int append_to_page(const Blob *blob, void *userdata) {
        Page *page = userdata;
        page->last = blob->digest;
        return append_blob(blob, page->reply);
}

static int append_page(ContentState *state, const char *namespace, const Digest *after, uint32_t limit,
                       sd_bus_message *reply) {
        Page page = { .reply = reply };
        char next[DIGEST_STRING_MAX] = "";

        int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r < 0)
                return r;
        int more = blob_list(state, namespace, after, limit, append_to_page, &page);
        if (more < 0)
                return more;
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_message_append(reply, "s", more ? digest_to_string(&page.last, next) : next);
}

static int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        ListOptions options = { .limit = LIMIT_PAGE_DEFAULT };
        Digest after;

        int r = bus_options_read(message, list_options, ELEMENTS_OF(list_options), &options, error);
        if (r >= 0 && options.after)
                r = parse_digest(options.after, "option 'after'", &after, error);
        if (r < 0)
                return r;
        if (options.limit == 0 || options.limit > LIMIT_PAGE_MAX)
                return bus_invalid_argument(error, "option 'limit': must be 1 to %i", LIMIT_PAGE_MAX);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_page(content->state, bus_call_namespace(message), options.after ? &after : NULL,
                                options.limit, reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message);
        Digest digest;

        int r = read_digest_call(message, &digest, error);
        if (r < 0)
                return r;
        r = blob_delete(content->state, namespace, &digest);
        if (r < 0)
                return blob_error(error, r, &digest, namespace);
        return sd_bus_reply_method_return(message, NULL);
}

/* UNPRIVILEGED: who may call what is decided by the table of rules. sd-bus reads it from each method alone.
 */
static const sd_bus_vtable content_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Ingest", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("h", stream, "t", offset, "o", ingest), method_ingest,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Commit", SD_BUS_ARGS("s", reference, "a{sv}", options),
                                SD_BUS_RESULT("s", digest, "t", size), method_commit,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Abort", SD_BUS_ARGS("s", reference, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_abort, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("s", digest, "a{sv}", options),
                                SD_BUS_RESULT("h", blob, "t", size), method_open,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Stat", SD_BUS_ARGS("s", digest, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", info), method_stat, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("List", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("aa{sv}", blobs, "s", next), method_list,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_ARGS("s", digest, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_delete, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int content_bus_new(sd_bus *bus, ContentState *state, IngestTable *table, ContentBus **ret) {
        _cleanup_(content_bus_freep) ContentBus *content = new0(ContentBus, 1);
        if (!content)
                return -ENOMEM;
        content->state = state;
        content->table = table;
        int r = ingest_bus_new(bus, table, &content->ingests);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, &content->slot, CRT_CONTENT_PATH, CRT_CONTENT_INTERFACE,
                                             content_vtable, content);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(content);
        return 0;
}

ContentBus *content_bus_free(ContentBus *content) {
        if (!content)
                return NULL;
        ingest_table_observe(content->table, &(IngestObserver){ 0 });
        sd_bus_slot_unref(content->slot);
        object_kind_free(content->ingests);
        free(content);
        return NULL;
}
