/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/images/sweep.h"
#include "services/images/tidy.h"
#include "services/images/transfer-private.h"

/* ---- life ---- */

static int copy_reference(const OciReference *from, OciReference *ret) {
        return oci_reference_parse(from->name, ret, NULL);
}

static int copy_spec(Transfer *transfer, const TransferSpec *spec) {
        transfer->namespace = strdup(spec->namespace);
        transfer->name = strdup(spec->name);
        transfer->username = spec->username ? strdup(spec->username) : NULL;
        transfer->password = spec->password ? strdup(spec->password) : NULL;
        if (!transfer->namespace || !transfer->name || (spec->username && !transfer->username) ||
            (spec->password && !transfer->password))
                return -ENOMEM;
        if (spec->ca_fd >= 0 && (transfer->ca_fd = fd_duplicate(spec->ca_fd)) < 0)
                return transfer->ca_fd;
        int r = copy_reference(spec->reference, &transfer->reference);
        return r < 0 ? r : oci_platform_copy(spec->platform, &transfer->platform);
}

int transfer_new(ImageService *service, const TransferSpec *spec, Transfer **ret) {
        Transfer *transfer = new0(Transfer, 1);
        if (!transfer)
                return -ENOMEM;
        *transfer = (Transfer){
                .service = service,
                .next = service->transfers,
                .unpack = spec->unpack,
                .plain_http = spec->plain_http,
                .ca_fd = -EBADF,
                .observer = spec->observer,
                .userdata = spec->userdata,
        };
        service->transfers = transfer;
        int r = copy_spec(transfer, spec);
        if (r >= 0)
                r = identifier_new_random(16, &transfer->id);
        if (r >= 0 && asprintf(&transfer->key_prefix, "unpack-%s-", transfer->id) < 0) {
                transfer->key_prefix = NULL;
                r = -ENOMEM;
        }
        if (r < 0) {
                transfer_free(transfer);
                return r;
        }
        *ret = transfer;
        return 0;
}

/* All that asks and is asked, and all that is held. */
static void transfer_let_go(Transfer *transfer) {
        transfer->fetch = fetch_client_free(transfer->fetch);
        transfer->reading = store_call_free(transfer->reading);
        transfer->reader = document_client_free(transfer->reader);
        for (size_t i = 0; i < transfer->document_count; i++) {
                transfer_blob_done(transfer->documents[i]);
                free(transfer->documents[i]);
        }
        for (size_t i = 0; i < transfer->layer_count; i++)
                transfer_layer_done(&transfer->layers[i]);
        transfer->document_count = transfer->layer_count = 0;
}

Transfer *transfer_free(Transfer *transfer) {
        if (!transfer)
                return NULL;
        for (Transfer **p = &transfer->service->transfers; *p; p = &(*p)->next)
                if (*p == transfer) {
                        *p = transfer->next;
                        break;
                }
        transfer_let_go(transfer);
        free(transfer->layers);
        if (transfer->has_manifest)
                oci_manifest_done(&transfer->manifest);
        oci_image_config_done(&transfer->config);
        image_record_done(&transfer->record);
        fault_done(&transfer->fault);
        oci_reference_done(&transfer->reference);
        oci_platform_done(&transfer->platform);
        if (transfer->password)
                explicit_bzero(transfer->password, strlen(transfer->password));
        free(transfer->password);
        free(transfer->username);
        fd_close(transfer->ca_fd);
        free(transfer->id);
        free(transfer->key_prefix);
        free(transfer->namespace);
        free(transfer->name);
        free(transfer);
        return NULL;
}

int transfer_note_unpacking(Transfer *transfer) {
        if (transfer->noted)
                return 0;
        int r = image_store_add_unpacking(transfer->service->images, transfer->namespace,
                                          transfer->key_prefix);
        if (r >= 0)
                transfer->noted = true;
        return r;
}

/* ---- the worker ---- */

static void on_resolved(Transfer *transfer, const FetchMessage *message) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        Digest digest;
        int r;

        if (digest_parse(message->digest, &digest) < 0)
                r = fault_set(&fault, -EBADMSG, "the registry names no digest for %s",
                              transfer->reference.name);
        else
                /* The size is what somebody says; Content finds out. */
                r = transfer_add_document(transfer, message->digest, message->media_type, 0, &fault);
        if (r < 0)
                transfer_fail(transfer, r, &fault);
        transfer_advance(transfer);
}

static TransferBlob *find_request(Transfer *transfer, uint32_t request) {
        for (size_t i = 0; i < transfer->document_count; i++)
                if (transfer->documents[i]->request == request)
                        return transfer->documents[i];
        for (size_t i = 0; i < transfer->layer_count; i++)
                if (transfer->layers[i].blob.request == request)
                        return &transfer->layers[i].blob;
        return NULL;
}

static void on_message(const FetchMessage *message, void *userdata) {
        Transfer *transfer = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        if (message->request == transfer->resolve_request && transfer->step == TRANSFER_RESOLVING) {
                if (message->type == FETCH_RESOLVED) {
                        on_resolved(transfer, message);
                } else if (message->type == FETCH_FAILED) {
                        fault_set(&fault, -(int) message->error, "%s", message->sentence);
                        transfer_fail(transfer, -(int) message->error, &fault);
                        transfer_advance(transfer);
                }
                return;
        }
        TransferBlob *blob = message->request > 0 ? find_request(transfer, message->request) : NULL;
        if (blob && message->type != FETCH_RESOLVED)
                transfer_blob_on_message(blob, message);
}

static void on_lost(const Fault *fault, void *userdata) {
        Transfer *transfer = userdata;
        Fault copy = FAULT_NULL;
        fault_set(&copy, -EHOSTUNREACH, "%s", fault_text(fault, -EHOSTUNREACH));
        transfer_fail(transfer, -EHOSTUNREACH, &copy);
        fault_done(&copy);
        transfer_advance(transfer);
}

int transfer_need_fetch(Transfer *transfer, Fault *fault) {
        if (transfer->fetch)
                return 0;
        const OciReference *reference = &transfer->reference;
        return fetch_client_new(
                transfer->service->event,
                &(FetchClientSpec){
                        .host = oci_reference_api_host(reference),
                        .repository = reference->repository,
                        .username = transfer->username,
                        .password = transfer->password,
                        .flags = (transfer->plain_http ? FETCH_PLAIN_HTTP : 0U) |
                                 (oci_reference_is_loopback(reference) ? FETCH_LOOPBACK : 0U),
                        .ca_fd = transfer->ca_fd,
                        .on_message = on_message,
                        .on_lost = on_lost,
                        .userdata = transfer,
                },
                &transfer->fetch, fault);
}

/* ---- steps ---- */

static int begin(Transfer *transfer, Fault *fault) {
        char object[DIGEST_STRING_MAX];

        transfer->observer->on_phase("resolving", transfer->userdata);
        /* It is ready when there is something to read. */
        int r = document_client_new(transfer->service->event, &transfer->reader, fault);
        if (r < 0)
                return r;
        if (transfer->reference.has_digest)
                return transfer_add_document(transfer, oci_reference_object(&transfer->reference, object),
                                             NULL, 0, fault);
        r = transfer_need_fetch(transfer, fault);
        if (r < 0)
                return r;
        transfer->resolve_request = ++transfer->last_request;
        transfer->step = TRANSFER_RESOLVING;
        return fetch_client_resolve(transfer->fetch, transfer->resolve_request,
                                    oci_reference_object(&transfer->reference, object));
}

static int advance_layers(Transfer *transfer, Fault *fault) {
        size_t present = 0, done = 0;
        for (size_t i = 0; i < transfer->layer_count; i++) {
                TransferLayer *layer = &transfer->layers[i];
                int unpacked = transfer_layer_advance(layer, fault);
                if (unpacked < 0)
                        return unpacked;
                int r = transfer_blob_advance(&layer->blob, fault);
                if (r < 0)
                        return r;
                present += r > 0;
                done += r > 0 && unpacked > 0;
        }
        if (done == transfer->layer_count) {
                transfer->step = TRANSFER_RECORDING;
                transfer->again = true;
        } else if (present == transfer->layer_count)
                transfer->observer->on_phase("unpacking", transfer->userdata);
        return 0;
}

static bool has_unfinished_keys(const Transfer *transfer) {
        for (size_t i = 0; i < transfer->layer_count; i++)
                if (transfer->layers[i].key)
                        return true;
        return false;
}

/* What was unpacked before is still there, and still counts. */
static int keep_chain(Transfer *transfer) {
        ImageRecord before = { 0 }, *record = &transfer->record;
        int r = image_store_get(transfer->service->images, transfer->namespace, transfer->name, &before);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (string_equal(before.manifest, record->manifest) && !string_is_empty(before.chain_id)) {
                free(record->chain_id);
                record->chain_id = TAKE_PTR(before.chain_id);
                for (size_t i = 0; r >= 0 && i < transfer->layer_count; i++)
                        r = strv_append(&record->chains, transfer->layers[i].chain_id);
        }
        image_record_done(&before);
        return r;
}

static int record(Transfer *transfer, Fault *fault) {
        bool is_clean = transfer->noted && !has_unfinished_keys(transfer);

        transfer->observer->on_phase("committing", transfer->userdata);
        int r = transfer_make_record(transfer);
        if (r >= 0 && !transfer->unpack)
                r = keep_chain(transfer);
        if (r >= 0)
                r = image_store_put(transfer->service->images, &transfer->record,
                                    is_clean ? transfer->key_prefix : NULL);
        if (r == -EDQUOT)
                return transfer_needs_too_much(transfer, fault);
        if (r < 0)
                return fault_set_errno(fault, r, "org.crt.Images: the record of %s can't be written",
                                       transfer->reference.name);
        transfer->record.is_replacement = r > 0;
        transfer->noted = transfer->noted && !is_clean;
        transfer->step = TRANSFER_DONE;
        return 0;
}

static int step(Transfer *transfer, Fault *fault) {
        switch (transfer->step) {
        case TRANSFER_BEGINNING:
                return begin(transfer, fault);
        case TRANSFER_DOCUMENT:
                return transfer_document_advance(transfer, fault);
        case TRANSFER_LAYERS:
                return advance_layers(transfer, fault);
        case TRANSFER_RECORDING:
                return record(transfer, fault);
        default:
                return 0;
        }
}

/* ---- the end ---- */

void transfer_fail(Transfer *transfer, int r, Fault *fault) {
        if (transfer->error < 0)
                return;
        transfer->error = r;
        fault_move(&transfer->fault, fault);
        /* The streams end with it, and what waits for their ends goes on. */
        transfer->fetch = fetch_client_free(transfer->fetch);
        transfer->reader = document_client_free(transfer->reader);
        for (size_t i = 0; i < transfer->document_count; i++)
                fd_closep(&transfer->documents[i]->stream);
        for (size_t i = 0; i < transfer->layer_count; i++) {
                fd_closep(&transfer->layers[i].blob.stream);
                fd_closep(&transfer->layers[i].tee);
        }
}

/* What was asked for and changes something is waited for, so that it is known what there is to sweep. */
static bool is_settling(const Transfer *transfer) {
        for (size_t i = 0; i < transfer->document_count; i++)
                if (transfer->documents[i]->state == BLOB_COMMITTING && transfer->documents[i]->call)
                        return true;
        for (size_t i = 0; i < transfer->layer_count; i++) {
                const TransferLayer *layer = &transfer->layers[i];
                if (layer->blob.state == BLOB_COMMITTING && layer->blob.call)
                        return true;
                if (layer->call && (layer->state == LAYER_PREPARING || layer->state == LAYER_STARTING ||
                                    layer->state == LAYER_COMMITTING))
                        return true;
        }
        return false;
}

/* What is finished may be needed by others by now: that is looked at before it goes. */
static void add_garbage(const Transfer *transfer, GarbageKind kind, const char *name, size_t position) {
        (void) image_store_add_garbage(transfer->service->images, transfer->namespace, kind, name,
                                       (uint32_t) position);
}

static void add_blob_to_sweep(Sweep *sweep, const TransferBlob *blob, bool all) {
        const char *namespace = blob->transfer->namespace;
        if (blob->state == BLOB_PRESENT && !blob->existed && all)
                add_garbage(blob->transfer, GARBAGE_BLOB, blob->digest, 0);
        /* With nothing in it, there is nothing to continue. */
        else if ((blob->state == BLOB_ABSENT ||
                  (blob->state >= BLOB_OPENING && blob->state < BLOB_PRESENT)) &&
                 (all || blob->offset == 0))
                (void) sweep_add(sweep, SWEEP_INGEST, namespace, blob->ingest);
}

/* The image is broken, or not to be had: what has come of it is of no use. */
static bool is_hopeless(int error) {
        return error == -EBADMSG || error == -EUCLEAN || error == -ENOENT || error == -ENOKEY ||
               error == -EOPNOTSUPP;
}

/* Unfinished snapshots always; of a hopeless image everything that came with it; what has only been
 * interrupted stays, and the next try goes on with it. */
static void fill_sweep(Transfer *transfer, Sweep *sweep) {
        bool all = is_hopeless(transfer->error);

        for (size_t i = transfer->layer_count; i-- > 0;) {
                const TransferLayer *layer = &transfer->layers[i];
                if (layer->job)
                        (void) sweep_add(sweep, SWEEP_JOB, transfer->namespace, layer->job);
                if (layer->key)
                        (void) sweep_add(sweep, SWEEP_KEY, transfer->namespace, layer->key);
                if (all && transfer->unpack && layer->state == LAYER_DONE && !layer->existed)
                        add_garbage(transfer, GARBAGE_SNAPSHOT, layer->chain_id, i);
        }
        /* With the last of its keys the note of them goes. */
        if (transfer->noted)
                (void) sweep_add(sweep, SWEEP_KEYS, transfer->namespace, transfer->key_prefix);
        if (transfer->error >= 0)
                return;
        for (size_t i = 0; i < transfer->layer_count; i++)
                add_blob_to_sweep(sweep, &transfer->layers[i].blob, all);
        for (size_t i = 0; i < transfer->document_count; i++)
                add_blob_to_sweep(sweep, transfer->documents[i], all);
}

static void on_tidied(void *userdata) {
        Transfer *transfer = userdata;
        transfer->observer->on_end(transfer->error, &transfer->fault,
                                   transfer->error < 0 ? NULL : &transfer->record, transfer->userdata);
        transfer_free(transfer);
}

static void on_swept(void *userdata) {
        Transfer *transfer = userdata;
        if (transfer->error >= 0 || tidy_request(transfer->service->tidy, on_tidied, transfer) < 0)
                on_tidied(transfer);
}

static void transfer_end(Transfer *transfer) {
        Sweep *sweep = NULL;

        transfer->step = TRANSFER_ENDING;
        int r = sweep_new(transfer->service, &sweep);
        if (r >= 0)
                fill_sweep(transfer, sweep);
        transfer_let_go(transfer);
        if (r >= 0)
                sweep_start(sweep, on_swept, transfer);
        else
                on_swept(transfer);
}

void transfer_advance(Transfer *transfer) {
        ImageService *service = transfer->service;

        if (transfer->advancing) {
                transfer->again = true;
                return;
        }
        if (transfer->step == TRANSFER_ENDING)
                return;
        transfer->advancing = true;
        do {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                transfer->again = false;
                int r = transfer->error < 0 ? 0 : step(transfer, &fault);
                if (r < 0)
                        transfer_fail(transfer, r, &fault);
        } while (transfer->again);
        transfer->advancing = false;
        if (transfer->step == TRANSFER_DONE || (transfer->error < 0 && !is_settling(transfer)))
                transfer_end(transfer);
        image_service_poke(service);
}

void transfer_start(Transfer *transfer) {
        transfer_advance(transfer);
}

void transfer_cancel(Transfer *transfer) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (transfer->step == TRANSFER_DONE || transfer->step == TRANSFER_ENDING)
                return;
        fault_set(&fault, -ECANCELED, "the transfer was cancelled");
        transfer_fail(transfer, -ECANCELED, &fault);
        transfer_advance(transfer);
}

/* ---- all transfers ---- */

bool transfer_owns_key(const ImageService *service, const char *namespace, const char *key) {
        for (const Transfer *transfer = service->transfers; transfer; transfer = transfer->next)
                if (string_equal(transfer->namespace, namespace) && string_after(key, transfer->key_prefix))
                        return true;
        return false;
}

static Transfer *find_poked(ImageService *service) {
        for (Transfer *transfer = service->transfers; transfer; transfer = transfer->next)
                if (transfer->poked)
                        return transfer;
        return NULL;
}

void image_service_poke(ImageService *service) {
        if (service->poking)
                return;
        service->poking = true;
        while (service->released) {
                Transfer *transfer;
                service->released = false;
                for (transfer = service->transfers; transfer; transfer = transfer->next)
                        transfer->poked = true;
                /* Any of them may be gone after any step. */
                while ((transfer = find_poked(service))) {
                        transfer->poked = false;
                        transfer_advance(transfer);
                }
        }
        service->poking = false;
}
