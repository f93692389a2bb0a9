/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/transfer-private.h"

/* An ingest that another writer has open: the worker of a daemon that died, most likely, which is about to
 * go. */
#define BUSY_TRIES 40
#define BUSY_DELAY 250 /* milliseconds */

void transfer_blob_init(TransferBlob *blob, Transfer *transfer) {
        *blob = (TransferBlob){ .transfer = transfer, .stream = -EBADF };
}

static void blob_let_go(TransferBlob *blob) {
        if (!blob->busy)
                return;
        blob->busy = claim_hold_free(blob->busy);
        blob->transfer->service->released = true;
}

void transfer_blob_done(TransferBlob *blob) {
        store_call_free(blob->call);
        blob_let_go(blob);
        claim_hold_free(blob->need);
        fd_close(blob->stream);
        free(blob->media_type);
        transfer_blob_init(blob, blob->transfer);
}

/* What the part's state is, by blob and snapshot together. */
void transfer_blob_report(const TransferBlob *blob) {
        const Transfer *transfer = blob->transfer;
        const TransferLayer *layer = blob->layer;
        const char *state = "waiting";
        uint64_t done = blob->offset;

        if (!blob->has_part)
                return;
        if (blob->state == BLOB_PRESENT) {
                bool unpacking = layer && transfer->unpack && layer->state != LAYER_DONE;
                bool existed = blob->existed && (!layer || !transfer->unpack || layer->existed);
                state = unpacking ? "unpacking" : existed ? "exists" : "done";
                done = blob->size;
        } else if (blob->state == BLOB_FETCHED || blob->state == BLOB_COMMITTING)
                state = "verifying";
        else if (blob->state == BLOB_FETCHING)
                state = "downloading";
        transfer->observer->on_progress(blob->part, state, done, transfer->userdata);
}

static int blob_ask(TransferBlob *blob, StoreMethod method, uint64_t size, StoreDone done) {
        return store_call_new(
                blob->transfer->service->stores,
                &(StoreArguments){
                        .method = method,
                        .namespace = blob->transfer->namespace,
                        .name = method == STORE_CONTENT_STAT ? blob->digest : blob->ingest,
                        .digest = blob->digest,
                        .size = size,
                        .at_most = LIMIT_MANIFEST_SIZE, /* all others come with a descriptor */
                        .fd = -EBADF,
                        .delay = method == STORE_CONTENT_INGEST && blob->tries > 0 ? BUSY_DELAY : 0,
                },
                done, blob, &blob->call);
}

static void blob_fail(TransferBlob *blob, int r, Fault *fault) {
        fault_prefix(fault, r, "%s: %s", blob->transfer->reference.name, blob->digest);
        transfer_fail(blob->transfer, r, fault);
        transfer_advance(blob->transfer);
}

static void blob_is_present(TransferBlob *blob, uint64_t size) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        Transfer *transfer = blob->transfer;

        blob->state = BLOB_PRESENT;
        blob_let_go(blob);
        if (blob->size > 0 && size != blob->size) {
                int r = fault_set(&fault, -EBADMSG, "it has %llu bytes, not the %llu of its descriptor",
                                  (unsigned long long) size, (unsigned long long) blob->size);
                blob_fail(blob, r, &fault);
                return;
        }
        blob->size = size;
        transfer_blob_report(blob);
        transfer_advance(transfer);
}

/* ---- is it there? ---- */

static void on_stat(StoreReply *reply, void *userdata) {
        TransferBlob *blob = userdata;
        blob->call = NULL;
        /* What Content has found to be damaged it takes again. */
        if (reply->r == -ENOENT || reply->r == -EUCLEAN) {
                blob->state = BLOB_ABSENT;
                transfer_advance(blob->transfer);
        } else if (reply->r < 0)
                blob_fail(blob, reply->r, &reply->fault);
        else {
                blob->existed = true;
                blob_is_present(blob, reply->size);
        }
}

static int blob_begin(TransferBlob *blob) {
        ImageService *service = blob->transfer->service;
        const char *namespace = blob->transfer->namespace;

        if (!blob->need) {
                int r = claim_table_hold(service->claims, CLAIM_NEED, namespace, THING_BLOB, blob->digest,
                                         &blob->need);
                if (r < 0)
                        return r;
        }
        int r = claim_table_hold(service->claims, CLAIM_BUSY, namespace, THING_BLOB, blob->digest,
                                 &blob->busy);
        if (r == -EBUSY)
                return 0;
        if (r < 0)
                return r;
        if (blob->size > 0)
                snprintf(blob->ingest, sizeof(blob->ingest), "%s+%llu", blob->digest,
                         (unsigned long long) blob->size);
        else
                snprintf(blob->ingest, sizeof(blob->ingest), "%s", blob->digest);
        blob->state = BLOB_ASKING;
        return blob_ask(blob, STORE_CONTENT_STAT, 0, on_stat);
}

/* What came just now and is damaged already is not to be had. */
bool transfer_blob_is_damaged(TransferBlob *blob) {
        if (blob->state != BLOB_PRESENT || !blob->existed)
                return false;
        blob->existed = false;
        blob->state = BLOB_NEW;
        return true;
}

/* ---- a stream into Content ---- */

static void on_ingest(StoreReply *reply, void *userdata) {
        TransferBlob *blob = userdata;
        Transfer *transfer = blob->transfer;

        blob->call = NULL;
        if (reply->r >= 0) {
                blob->stream = TAKE_FD(reply->fd);
                blob->offset = reply->size;
                blob->state = BLOB_READY;
                transfer_advance(transfer);
                return;
        }
        transfer->fetching--;
        if (reply->r == -EEXIST || (reply->r == -EBUSY && ++blob->tries < BUSY_TRIES)) {
                /* Somebody else has brought it meanwhile, or is at it. */
                blob->state = reply->r == -EEXIST ? BLOB_NEW : BLOB_ABSENT;
                if (reply->r == -EEXIST)
                        blob_let_go(blob);
                transfer_advance(transfer);
                return;
        }
        blob_fail(blob, reply->r, &reply->fault);
}

static int blob_open(TransferBlob *blob, Fault *fault) {
        Transfer *transfer = blob->transfer;
        if (transfer->fetching >= LIMIT_CONCURRENT_DOWNLOADS)
                return 0;
        int r = transfer_need_fetch(transfer, fault);
        if (r < 0)
                return r;
        r = blob_ask(blob, STORE_CONTENT_INGEST, blob->size, on_ingest);
        if (r < 0)
                return r;
        transfer->fetching++;
        blob->state = BLOB_OPENING;
        return 0;
}

/* ---- the worker writes into it ---- */

static int blob_fetch(TransferBlob *blob) {
        Transfer *transfer = blob->transfer;
        LayerTee tee = LAYER_TEE_NO;

        if (blob->size > 0 && blob->offset >= blob->size) {
                /* An earlier transfer ended between the last byte and the commit. */
                blob->stream = fd_close(blob->stream);
                transfer->fetching--;
                blob->state = BLOB_FETCHED;
                transfer->again = true;
                return 0;
        }
        if (blob->layer) {
                int r = transfer_layer_tee(blob->layer, &tee);
                if (r < 0 || tee == LAYER_TEE_WAIT)
                        return r;
        }
        blob->request = ++transfer->last_request;
        int r = fetch_client_get(transfer->fetch,
                                 &(FetchGet){
                                         .request = blob->request,
                                         .digest = blob->digest,
                                         .is_manifest = blob->is_manifest,
                                         .size = blob->size,
                                         .offset = blob->offset,
                                         .fd = blob->stream,
                                         .tee = tee == LAYER_TEE_YES ? blob->layer->tee : -EBADF,
                                 });
        if (r < 0)
                return r;
        blob->stream = fd_close(blob->stream);
        if (blob->layer)
                fd_closep(&blob->layer->tee);
        blob->state = BLOB_FETCHING;
        transfer_blob_report(blob);
        return 0;
}

/* Whether the error says why a stream was closed: a service that died, or is about to go, does not. */
static bool is_reason(int r) {
        return r != -EBUSY && r != -EHOSTUNREACH && r != -ENOENT;
}

static void on_reason(StoreReply *reply, void *userdata) {
        TransferBlob *blob = userdata;
        blob->call = NULL;
        if (reply->r >= 0) {
                blob_is_present(blob, reply->size);
                return;
        }
        if (!is_reason(reply->r)) {
                reply->r = -EHOSTUNREACH;
                fault_prefix(&reply->fault, reply->r, "the content store has closed the stream");
        }
        blob->state = BLOB_ABSENT;
        blob_fail(blob, reply->r, &reply->fault);
}

/* Content has closed the stream (its disk is full, say), and tells why when it is asked to commit. What has
 * come stays. */
static int blob_ask_why(TransferBlob *blob) {
        int r = blob_ask(blob, STORE_CONTENT_COMMIT, 0, on_reason);
        if (r >= 0)
                blob->state = BLOB_COMMITTING;
        return r;
}

void transfer_blob_on_message(TransferBlob *blob, const FetchMessage *message) {
        Transfer *transfer = blob->transfer;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        if (blob->state != BLOB_FETCHING)
                return;
        switch (message->type) {
        case FETCH_PROGRESS:
                blob->offset = MAX_OF(blob->offset, message->offset);
                if (blob->size > 0)
                        blob->offset = MIN_OF(blob->offset, blob->size);
                transfer_blob_report(blob);
                return;
        case FETCH_WRITTEN:
                if (!blob->media_type && !string_is_empty(message->media_type))
                        blob->media_type = strdup(message->media_type);
                transfer->fetching--;
                blob->state = BLOB_FETCHED;
                transfer_advance(transfer);
                return;
        default:
                transfer->fetching--;
                if (message->error == EPIPE && transfer->error >= 0 && blob_ask_why(blob) >= 0)
                        return;
                fault_set(&fault, -(int) message->error, "%s", message->sentence);
                blob->state = BLOB_ABSENT;
                transfer_fail(transfer, -(int) message->error, &fault);
                transfer_advance(transfer);
        }
}

/* ---- Content's verdict ---- */

static void on_commit(StoreReply *reply, void *userdata) {
        TransferBlob *blob = userdata;
        blob->call = NULL;
        if (reply->r < 0) {
                blob->state = BLOB_ABSENT;
                blob_fail(blob, reply->r, &reply->fault);
                return;
        }
        blob_is_present(blob, reply->size);
}

static int blob_commit(TransferBlob *blob) {
        int r = blob_ask(blob, STORE_CONTENT_COMMIT, 0, on_commit);
        if (r < 0)
                return r;
        blob->state = BLOB_COMMITTING;
        transfer_blob_report(blob);
        return 0;
}

int transfer_blob_advance(TransferBlob *blob, Fault *fault) {
        switch (blob->state) {
        case BLOB_NEW:
                return blob_begin(blob);
        case BLOB_ABSENT:
                return blob_open(blob, fault);
        case BLOB_READY:
                return blob_fetch(blob);
        case BLOB_FETCHED:
                return blob_commit(blob);
        case BLOB_PRESENT:
                return 1;
        default:
                return 0;
        }
}
