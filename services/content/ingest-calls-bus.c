/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ingest, Commit, Abort, StatIngest and ListIngests of org.crt.Content1. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/page.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/content-calls-bus.h"

static int read_reference(sd_bus_message *message, const char **ret, sd_bus_error *error) {
        int r = sd_bus_message_read(message, "s", ret);
        if (r < 0)
                return r;
        if (!ingest_reference_is_valid(*ret))
                return bus_invalid_argument(error, "reference: must be 1 to %i printable characters",
                                            LIMIT_INGEST_REFERENCE_LENGTH);
        return 0;
}

static int no_such_ingest(sd_bus_error *error) {
        return sd_bus_error_set(error, bus_error_name(-ENOENT), "there is no such ingest");
}

/* ---- what is promised ---- */

typedef struct PromiseOptions {
        const char *digest;
        const char *algorithm;
        const char *lease;
        char **labels;
        uint64_t size;
        uint64_t at_most;
        bool restart;
        bool size_given;
        bool at_most_given;
} PromiseOptions;

static const BusOption promise_options[] = {
        { "digest", "s", offsetof(PromiseOptions, digest) },
        { "size", "t", offsetof(PromiseOptions, size), NULL, offsetof(PromiseOptions, size_given) },
        { "labels", "a{ss}", offsetof(PromiseOptions, labels) },
        { "lease", "s", offsetof(PromiseOptions, lease) },
        { "at-most", "t", offsetof(PromiseOptions, at_most), NULL, offsetof(PromiseOptions, at_most_given) },
        { "restart", "b", offsetof(PromiseOptions, restart) },
        { "algorithm", "s", offsetof(PromiseOptions, algorithm) },
};
#define INGEST_OPTIONS ELEMENTS_OF(promise_options)
#define COMMIT_OPTIONS (ELEMENTS_OF(promise_options) - 3) /* neither "at-most" nor those behind it */

static void promise_options_done(PromiseOptions *options) {
        options->labels = strv_free(options->labels);
}

static int parse_size(bool given, uint64_t value, const char *what, uint64_t *ret, sd_bus_error *error) {
        if (given && value > INT64_MAX)
                return bus_invalid_argument(error, "option '%s': no file is that large", what);
        *ret = given ? value : INGEST_SIZE_UNKNOWN;
        return 0;
}

static int read_promise(sd_bus_message *message, size_t option_count, PromiseOptions *options,
                        IngestPromise *ret, sd_bus_error *error) {
        IngestPromise promise = { .has_digest = false };

        int r = bus_options_read(message, promise_options, option_count, options, error);
        if (r >= 0 && options->digest)
                r = content_bus_parse_digest(options->digest, "option 'digest'", &promise.digest, error);
        if (r >= 0)
                r = parse_size(options->size_given, options->size, "size", &promise.size, error);
        if (r >= 0)
                r = content_bus_check_labels(LABELLED_BLOB, options->labels, error);
        if (r < 0)
                return r;
        promise.has_digest = options->digest != NULL;
        promise.labels = options->labels;
        *ret = promise;
        return 0;
}

/* ---- Ingest ---- */

/* That of the digest that is promised, or else what its algorithm will be. */
static int read_algorithm(const PromiseOptions *options, IngestPromise *promise, sd_bus_error *error) {
        if (!options->algorithm)
                return 0;
        DigestAlgorithm algorithm = digest_algorithm_from_string(options->algorithm);
        if (algorithm < 0)
                return sd_bus_error_setf(error, bus_error_name(-EOPNOTSUPP),
                                         "option 'algorithm': '%.64s' is not known here",
                                         options->algorithm);
        if (promise->has_digest && promise->digest.algorithm != algorithm)
                return bus_invalid_argument(error, "option 'algorithm': another one than that of 'digest'");
        promise->digest.algorithm = algorithm;
        return 0;
}

static int read_ingest(sd_bus_message *message, PromiseOptions *options, IngestRequest *ret,
                       sd_bus_error *error) {
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        IngestPromise promise;
        const char *reference;
        uint64_t at_most = INGEST_SIZE_UNKNOWN;

        if (!peer)
                return -ENOTCONN;
        int r = read_reference(message, &reference, error);
        if (r >= 0)
                r = read_promise(message, INGEST_OPTIONS, options, &promise, error);
        if (r >= 0)
                r = read_algorithm(options, &promise, error);
        if (r >= 0)
                r = parse_size(options->at_most_given, options->at_most, "at-most", &at_most, error);
        if (r >= 0 && promise.size != INGEST_SIZE_UNKNOWN && promise.size > at_most)
                r = bus_invalid_argument(error, "option 'size': more than 'at-most'");
        if (r < 0)
                return r;
        *ret = (IngestRequest){
                .namespace = bus_call_namespace(message),
                .reference = reference,
                .has_digest = promise.has_digest,
                .has_algorithm = options->algorithm != NULL,
                .digest = promise.digest,
                .size = promise.size,
                .at_most = at_most,
                .restart = options->restart,
                .labels = promise.labels,
                .uid = peer_uid(peer),
        };
        return 0;
}

/* The lease comes first, so that nothing is ever there without it; who is told that the blob is there has
 * that leased. */
static int take_leases(ContentBus *content, const IngestRequest *request, const char *lease,
                       sd_bus_error *error) {
        const LeaseResource ingest = { LEASE_INGEST, request->reference };
        int r = content_bus_take_lease(content, request->namespace, lease, &ingest, error);
        if (r >= 0 && request->has_digest)
                r = content_bus_take_lease_of_blob(content, request->namespace, lease, &request->digest,
                                                   error);
        return r;
}

int method_ingest(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(promise_options_done) PromiseOptions options = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *path = NULL;
        IngestRequest request;
        Ingest *ingest;

        int r = read_ingest(message, &options, &request, error);
        if (r >= 0 && options.lease)
                r = take_leases(content, &request, options.lease, error);
        if (r < 0)
                return r;
        _cleanup_close_ int stream = ingest_open_stream(content->table, &request, &ingest, &fault);
        if (stream == -EEXIST && options.lease)
                (void) lease_drop(content->state, request.namespace, options.lease,
                                  &(LeaseResource){ LEASE_INGEST, request.reference });
        if (stream < 0)
                return bus_error_set_fault(error, stream, &fault);
        r = object_kind_get_path(content->ingests, request.namespace, request.reference, &path);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, "hto", stream, ingest_offset(ingest), path);
}

/* ---- Commit, Abort ---- */

static void on_committed(int r, const Fault *fault, const Digest *digest, uint64_t size, void *userdata) {
        sd_bus_message *message = userdata;
        char text[DIGEST_STRING_MAX];
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                (void) sd_bus_reply_method_return(message, "st", digest_to_string(digest, text), size);
        sd_bus_message_unref(message);
}

int method_commit(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(promise_options_done) PromiseOptions options = { 0 };
        const char *namespace = bus_call_namespace(message), *reference;
        IngestPromise promise;

        int r = read_reference(message, &reference, error);
        if (r >= 0)
                r = read_promise(message, COMMIT_OPTIONS, &options, &promise, error);
        if (r < 0)
                return r;
        Ingest *ingest = ingest_table_find(content->table, namespace, reference);
        if (!ingest)
                return no_such_ingest(error);
        DigestAlgorithm algorithm = ingest_record(ingest)->digest.algorithm;
        if (promise.has_digest && promise.digest.algorithm != algorithm)
                return bus_invalid_argument(error,
                                            "option 'digest': this ingest is hashed with %s (Ingest has the"
                                            " option 'algorithm' for another one)",
                                            digest_algorithm_to_string(algorithm));
        /* Leases that name the ingest name its blob when it is there. */
        r = content_bus_take_lease(content, namespace, options.lease,
                                   &(LeaseResource){ LEASE_INGEST, reference }, error);
        if (r < 0)
                return r;
        ingest_commit(ingest, &promise, on_committed, sd_bus_message_ref(message));
        return 1;
}

static int read_ingest_call(sd_bus_message *message, IngestTable *table, Ingest **ret, sd_bus_error *error) {
        const char *reference;
        int r = read_reference(message, &reference, error);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        *ret = ingest_table_find(table, bus_call_namespace(message), reference);
        return *ret ? 0 : no_such_ingest(error);
}

int method_abort(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        Ingest *ingest;

        int r = read_ingest_call(message, content->table, &ingest, error);
        if (r < 0)
                return r;
        r = ingest_abort(ingest, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        return sd_bus_reply_method_return(message, NULL);
}

/* ---- how they stand ---- */

static int append_numbers(sd_bus_message *reply, const Ingest *ingest) {
        const IngestRecord *record = ingest_record(ingest);
        int r = 0;
        if (record->size != INGEST_SIZE_UNKNOWN)
                r = bus_append_entry(reply, "size", "t", record->size);
        if (r >= 0 && record->at_most != INGEST_SIZE_UNKNOWN)
                r = bus_append_entry(reply, "at-most", "t", record->at_most);
        if (r >= 0)
                r = bus_append_entry(reply, "offset", "t", ingest_offset(ingest));
        if (r >= 0)
                r = bus_append_entry(reply, "started", "t", record->started);
        if (r >= 0)
                r = bus_append_entry(reply, "touched", "t", record->touched);
        return r < 0 ? r : bus_append_entry(reply, "owner", "u", (uint32_t) record->uid);
}

static int append_ingest(sd_bus_message *reply, const Ingest *ingest, char *const *labels) {
        const IngestRecord *record = ingest_record(ingest);
        char text[DIGEST_STRING_MAX];
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "reference", "s", record->reference);
        if (r >= 0 && record->has_digest)
                r = bus_append_entry(reply, "digest", "s", digest_to_string(&record->digest, text));
        if (r >= 0)
                r = bus_append_entry(reply, "algorithm", "s",
                                     digest_algorithm_to_string(record->digest.algorithm));
        if (r >= 0)
                r = bus_append_entry(reply, "state", "s", ingest_is_writing(ingest) ? "writing" : "waiting");
        if (r >= 0)
                r = append_numbers(reply, ingest);
        if (r >= 0)
                r = bus_append_entry_map(reply, "labels", labels);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int read_labels(ContentState *state, const Ingest *ingest, char ***ret) {
        const IngestRecord *record = ingest_record(ingest);
        const Labelled labelled = { LABELLED_INGEST, record->namespace, record->reference };
        return content_labels_read(state, &labelled, ret);
}

int method_stat_ingest(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_strv_ char **labels = NULL;
        Ingest *ingest;

        int r = read_ingest_call(message, content->table, &ingest, error);
        if (r >= 0)
                r = read_labels(content->state, ingest, &labels);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_ingest(reply, ingest, labels);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static const FilterField list_fields[] = {
        { .name = "reference" },
        { .name = "digest" },
        { .name = "state" },
        { .name = "owner" },
        { .name = "labels", .has_key = true },
        {},
};

typedef struct Listed {
        const Ingest *ingest;
        char **labels;
        char digest[DIGEST_STRING_MAX];
        char owner[16];
} Listed;

static const char *look_up_field(const char *field, const char *key, void *userdata) {
        Listed *listed = userdata;
        const IngestRecord *record = ingest_record(listed->ingest);
        if (string_equal(field, "reference"))
                return record->reference;
        if (string_equal(field, "digest"))
                return record->has_digest ? digest_to_string(&record->digest, listed->digest) : NULL;
        if (string_equal(field, "state"))
                return ingest_is_writing(listed->ingest) ? "writing" : "waiting";
        if (string_equal(field, "owner")) {
                (void) snprintf(listed->owner, sizeof(listed->owner), "%" PRIu32, (uint32_t) record->uid);
                return listed->owner;
        }
        return strv_get_environment((const char *const *) listed->labels, key);
}

/* 1 if the page is full. */
static int list_one(BusPage *page, ContentState *state, const Ingest *ingest) {
        Listed listed = { .ingest = ingest };
        int r = read_labels(state, ingest, &listed.labels);
        _cleanup_strv_ char **labels = listed.labels;
        if (r < 0)
                return r;
        int offer = bus_page_offer(page, ingest_record(ingest)->reference, look_up_field, &listed);
        if (offer == BUS_PAGE_FULL)
                return 1;
        if (offer != BUS_PAGE_TAKE)
                return offer;
        page->bytes += strv_size(labels);
        r = append_ingest(page->reply, ingest, labels);
        return r < 0 ? r : 0;
}

int method_list_ingests(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message);
        _cleanup_(bus_page_done) BusPage page = BUS_PAGE_NULL;

        int r = bus_page_begin(&page, message, list_fields, error);
        if (r < 0)
                return r;
        const Ingest *ingest = ingest_table_behind(content->table, namespace, page.after);
        for (; r == 0 && ingest && string_equal(ingest_record(ingest)->namespace, namespace);
             ingest = ingest_table_behind(content->table, namespace, ingest_record(ingest)->reference))
                r = list_one(&page, content->state, ingest);
        return r < 0 ? r : bus_page_send(&page);
}
