/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Open, Stat, List, Update and Delete of org.crt.Content1. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/page.h"
#include "lib/fd.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/content-calls-bus.h"

static int blob_error(sd_bus_error *error, int r, const Digest *digest, const char *namespace) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        char text[DIGEST_STRING_MAX];
        digest_to_string(digest, text);
        if (r == -ENOENT)
                fault_set(&fault, r, "the namespace %s has no blob %s", namespace, text);
        else if (r == -EUCLEAN)
                fault_set(&fault, r, "the stored bytes of %s are damaged: they must be ingested again",
                          text);
        else
                fault_set_errno(&fault, r, "%s", text);
        return bus_error_set_fault(error, r, &fault);
}

/* There are no options. */
static int read_digest_alone(sd_bus_message *message, Digest *ret_digest, sd_bus_error *error) {
        int r = content_bus_read_digest(message, ret_digest, error);
        return r < 0 ? r : bus_options_read(message, NULL, 0, NULL, error);
}

int method_open(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message);
        Digest digest;
        Blob blob;

        int r = read_digest_alone(message, &digest, error);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = blob_open(content->state, namespace, &digest, &blob);
        if (fd < 0)
                return blob_error(error, fd, &digest, namespace);
        return sd_bus_reply_method_return(message, "ht", fd, blob.size);
}

/* One a{sv} with the labels, which are read here unless they are known. */
static int append_blob(sd_bus_message *reply, const Blob *blob, char *const *labels) {
        char text[DIGEST_STRING_MAX];
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "digest", "s", digest_to_string(&blob->digest, text));
        if (r >= 0)
                r = bus_append_entry(reply, "size", "t", blob->size);
        if (r >= 0)
                r = bus_append_entry(reply, "created", "t", blob->created);
        if (r >= 0)
                r = bus_append_entry(reply, "updated", "t", blob->updated);
        if (r >= 0)
                r = bus_append_entry(reply, "state", "s", blob->damaged ? "damaged" : "good");
        if (r >= 0)
                r = bus_append_entry(reply, "verity", "b", blob->verity);
        if (r >= 0)
                r = bus_append_entry_map(reply, "labels", labels);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int read_labels(ContentState *state, const char *namespace, const Blob *blob, char ***ret) {
        char text[DIGEST_STRING_MAX];
        const Labelled labelled = { LABELLED_BLOB, namespace, digest_to_string(&blob->digest, text) };
        return content_labels_read(state, &labelled, ret);
}

int method_stat(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *namespace = bus_call_namespace(message);
        _cleanup_strv_ char **labels = NULL;
        Digest digest;
        Blob blob;

        int r = read_digest_alone(message, &digest, error);
        if (r < 0)
                return r;
        r = blob_find(content->state, namespace, &digest, &blob);
        if (r >= 0 && blob.damaged)
                r = -EUCLEAN;
        if (r >= 0)
                r = read_labels(content->state, namespace, &blob, &labels);
        if (r < 0)
                return blob_error(error, r, &digest, namespace);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_blob(reply, &blob, labels);
        return r < 0 ? r : sd_bus_message_send(reply);
}

/* ---- the list ---- */

static const FilterField list_fields[] = {
        { .name = "digest" },
        { .name = "size" },
        { .name = "state" },
        { .name = "labels", .has_key = true },
        {},
};

typedef struct Listing {
        BusPage page;
        ContentState *state;
        const char *namespace;

        /* of one blob */
        const Blob *blob;
        char digest[DIGEST_STRING_MAX];
        char size[24];
        char **labels; /* when somebody has asked for them */
        bool has_labels;
        int error;
} Listing;

static void listing_read_labels(Listing *listing) {
        if (listing->has_labels)
                return;
        listing->has_labels = true;
        listing->error = read_labels(listing->state, listing->namespace, listing->blob, &listing->labels);
}

static const char *look_up_field(const char *field, const char *key, void *userdata) {
        Listing *listing = userdata;
        if (string_equal(field, "digest"))
                return listing->digest;
        if (string_equal(field, "size"))
                return listing->size;
        if (string_equal(field, "state"))
                return listing->blob->damaged ? "damaged" : "good";
        listing_read_labels(listing);
        return strv_get_environment((const char *const *) listing->labels, key);
}

static int list_one(Listing *listing) {
        int offer = bus_page_offer(&listing->page, listing->digest, look_up_field, listing);
        if (offer == BUS_PAGE_TAKE)
                listing_read_labels(listing);
        if (listing->error < 0)
                return listing->error;
        if (offer == BUS_PAGE_FULL)
                return 1;
        if (offer != BUS_PAGE_TAKE)
                return offer;
        listing->page.bytes += strv_size(listing->labels);
        int r = append_blob(listing->page.reply, listing->blob, listing->labels);
        return r < 0 ? r : 0;
}

static int list_blob(const Blob *blob, void *userdata) {
        Listing *listing = userdata;
        listing->blob = blob;
        listing->has_labels = false;
        digest_to_string(&blob->digest, listing->digest);
        (void) snprintf(listing->size, sizeof(listing->size), "%" PRIu64, blob->size);
        int r = list_one(listing);
        listing->labels = strv_free(listing->labels);
        return r;
}

int method_list(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        Listing listing = { .state = content->state, .namespace = bus_call_namespace(message) };
        Digest after;

        int r = bus_page_begin(&listing.page, message, list_fields, error);
        if (r >= 0 && listing.page.after[0])
                r = content_bus_parse_digest(listing.page.after, "option 'after'", &after, error);
        if (r >= 0)
                r = blob_visit(content->state, listing.namespace, listing.page.after, list_blob, &listing);
        if (r >= 0)
                r = bus_page_send(&listing.page);
        bus_page_done(&listing.page);
        return r;
}

/* ---- changing ---- */

typedef struct UpdateOptions {
        char **labels;
        bool replace_labels;
} UpdateOptions;

static const BusOption update_options[] = {
        { "labels", "a{ss}", offsetof(UpdateOptions, labels) },
        { "replace-labels", "b", offsetof(UpdateOptions, replace_labels) },
};

int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const char *namespace = bus_call_namespace(message);
        UpdateOptions options = { 0 };
        Digest digest;

        int r = content_bus_read_digest(message, &digest, error);
        if (r >= 0)
                r = bus_options_read(message, update_options, ELEMENTS_OF(update_options), &options, error);
        _cleanup_strv_ char **labels = options.labels;
        if (r < 0)
                return r;
        r = blob_update(content->state, namespace, &digest, labels, options.replace_labels, &fault);
        if (r < 0 && fault.text)
                return bus_error_set_fault(error, r, &fault);
        if (r < 0)
                return blob_error(error, r, &digest, namespace);
        return sd_bus_reply_method_return(message, NULL);
}

int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message);
        Digest digest;

        int r = read_digest_alone(message, &digest, error);
        if (r < 0)
                return r;
        r = blob_delete(content->state, namespace, &digest);
        if (r < 0)
                return blob_error(error, r, &digest, namespace);
        return sd_bus_reply_method_return(message, NULL);
}
