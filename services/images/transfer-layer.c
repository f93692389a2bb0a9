/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/transfer-private.h"

/* A layer is unpacked below no parent, at the same time as others, and put on top of the one below it when
 * both are there. It is unpacked from its blob, or, better, from the same bytes as the blob is made from
 * while they arrive: then nothing of it counts before the blob is verified. */

#define TEE_SIZE (1024 * 1024)

void transfer_layer_init(TransferLayer *layer, Transfer *transfer) {
        *layer = (TransferLayer){ .tee = -EBADF };
        transfer_blob_init(&layer->blob, transfer);
        layer->blob.layer = layer;
}

static ImageService *layer_service(TransferLayer *layer) {
        return layer->blob.transfer->service;
}

static void layer_free_slot(TransferLayer *layer) {
        ImageService *service = layer_service(layer);
        if (layer->has_slot)
                service->unpacks--;
        if (layer->has_tee) {
                service->tees--;
                layer->blob.transfer->teeing--;
        }
        service->released |= layer->has_slot || layer->has_tee;
        layer->has_slot = layer->has_tee = false;
        fd_closep(&layer->tee);
}

static void layer_let_go(TransferLayer *layer) {
        if (!layer->busy)
                return;
        layer->busy = claim_hold_free(layer->busy);
        layer_service(layer)->released = true;
}

void transfer_layer_done(TransferLayer *layer) {
        store_call_free(layer->call);
        layer_free_slot(layer);
        layer_let_go(layer);
        claim_hold_free(layer->need);
        fault_done(&layer->fault);
        free(layer->key);
        free(layer->job);
        transfer_blob_done(&layer->blob);
}

static int layer_ask(TransferLayer *layer, const StoreArguments *arguments, StoreDone done) {
        StoreArguments complete = *arguments;
        complete.namespace = layer->blob.transfer->namespace;
        return store_call_new(layer_service(layer)->stores, &complete, done, layer, &layer->call);
}

static void layer_fail(TransferLayer *layer, int r, Fault *fault) {
        Transfer *transfer = layer->blob.transfer;
        fault_prefix(fault, r, "%s: layer %s", transfer->reference.name, layer->blob.digest);
        transfer_fail(transfer, r, fault);
        transfer_advance(transfer);
}

static void layer_set_state(TransferLayer *layer, LayerState state) {
        layer->state = state;
        if (state == LAYER_DONE)
                layer_let_go(layer);
        transfer_blob_report(&layer->blob);
}

/* For an answer that has nothing but its outcome. */
static void layer_go_on(TransferLayer *layer, StoreReply *reply, LayerState state) {
        layer->call = NULL;
        if (reply->r < 0) {
                layer_fail(layer, reply->r, &reply->fault);
                return;
        }
        layer_set_state(layer, state);
        transfer_advance(layer->blob.transfer);
}

/* ---- is it there? ---- */

static void on_stat(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        bool is_wanted = reply->r == -ENOENT;
        if (is_wanted)
                reply->r = 0;
        layer->damaged = reply->r >= 0 && string_equal(reply->text, "damaged");
        layer->existed = reply->r >= 0 && !is_wanted && !layer->damaged;
        layer_go_on(layer, reply, is_wanted ? LAYER_WANTED : layer->damaged ? LAYER_DAMAGED : LAYER_DONE);
}

static void on_cleared(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        /* One that others are built on stays, and is replaced when the new one is committed. */
        layer->damaged = reply->r == -EBUSY;
        if (reply->r == -ENOENT || reply->r == -EBUSY)
                reply->r = 0;
        layer_go_on(layer, reply, LAYER_WANTED);
}

static int layer_clear(TransferLayer *layer) {
        int r = layer_ask(
                layer,
                &(StoreArguments){ .method = STORE_SNAPSHOT_REMOVE, .name = layer->chain_id, .fd = -EBADF },
                on_cleared);
        if (r >= 0)
                layer->state = LAYER_CLEARING;
        return r;
}

static int layer_begin(TransferLayer *layer) {
        ImageService *service = layer_service(layer);
        const char *namespace = layer->blob.transfer->namespace;

        if (!layer->need) {
                int r = claim_table_hold(service->claims, CLAIM_NEED, namespace, THING_SNAPSHOT,
                                         layer->chain_id, &layer->need);
                if (r < 0)
                        return r;
        }
        int r = claim_table_hold(service->claims, CLAIM_BUSY, namespace, THING_SNAPSHOT, layer->chain_id,
                                 &layer->busy);
        if (r < 0)
                return r == -EBUSY ? 0 : r;
        layer->state = LAYER_ASKING;
        return layer_ask(
                layer,
                &(StoreArguments){ .method = STORE_SNAPSHOT_STAT, .name = layer->chain_id, .fd = -EBADF },
                on_stat);
}

/* ---- a tree to unpack into ---- */

static void on_prepare(StoreReply *reply, void *userdata) {
        layer_go_on(userdata, reply, LAYER_PREPARED);
}

static int layer_prepare(TransferLayer *layer) {
        Transfer *transfer = layer->blob.transfer;
        int r = transfer_note_unpacking(transfer);
        if (r < 0)
                return r;
        if (asprintf(&layer->key, "%s%s", transfer->key_prefix, layer->chain_id) < 0) {
                layer->key = NULL;
                return -ENOMEM;
        }
        r = layer_ask(
                layer,
                &(StoreArguments){ .method = STORE_SNAPSHOT_PREPARE, .name = layer->key, .fd = -EBADF },
                on_prepare);
        if (r >= 0)
                layer->state = LAYER_PREPARING;
        return r;
}

/* ---- unpacking ---- */

static void on_unpacked(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        bool teed = layer->has_tee;

        layer->job = mfree(layer->job);
        layer_free_slot(layer);
        bool is_content = reply->r == -EBADMSG || reply->r == -EUCLEAN;
        if (!teed || !is_content || layer->blob.state == BLOB_PRESENT) {
                layer_go_on(layer, reply, LAYER_UNPACKED);
                return;
        }
        /* Bytes that are not what they should be can't be unpacked either; their digest says it better. */
        layer->call = NULL;
        fault_move(&layer->fault, &reply->fault);
        layer_set_state(layer, LAYER_FAILED);
        transfer_advance(layer->blob.transfer);
}

static void on_started(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        layer->call = NULL;
        if (reply->r < 0) {
                layer_fail(layer, reply->r, &reply->fault);
                return;
        }
        layer->job = TAKE_PTR(reply->text);
        layer_set_state(layer, LAYER_RUNNING);
        int r = layer_ask(layer,
                          &(StoreArguments){ .method = STORE_JOB_WAIT, .name = layer->job, .fd = -EBADF },
                          on_unpacked);
        if (r < 0) {
                layer_fail(layer, r, &fault);
                return;
        }
        transfer_advance(layer->blob.transfer);
}

static int layer_unpack(TransferLayer *layer, int fd) {
        int r = layer_ask(layer,
                          &(StoreArguments){
                                  .method = STORE_SNAPSHOT_UNPACK,
                                  .name = layer->key,
                                  .digest = layer->diff_id,
                                  .size = layer->blob.size,
                                  .fd = fd,
                          },
                          on_started);
        if (r >= 0)
                layer->state = LAYER_STARTING;
        return r;
}

static int layer_unpack_tee(TransferLayer *layer) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        layer->tee = ends[1];
        _cleanup_close_ int source = ends[0];
        /* A larger pipe means fewer turns; it works with a small one as well. */
        (void) fcntl(source, F_SETPIPE_SZ, TEE_SIZE);
        return layer_unpack(layer, source);
}

static void on_opened(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        layer->call = NULL;
        if (reply->r == -EUCLEAN && transfer_blob_is_damaged(&layer->blob)) {
                layer->state = LAYER_PREPARED;
                transfer_advance(layer->blob.transfer);
                return;
        }
        if (reply->r < 0) {
                layer_fail(layer, reply->r, &reply->fault);
                return;
        }
        int r = layer_unpack(layer, reply->fd);
        if (r < 0)
                layer_fail(layer, r, &fault);
}

static int layer_unpack_blob(TransferLayer *layer) {
        if (layer->blob.state != BLOB_PRESENT)
                return 0;
        int r = layer_ask(
                layer,
                &(StoreArguments){ .method = STORE_CONTENT_OPEN, .name = layer->blob.digest, .fd = -EBADF },
                on_opened);
        if (r >= 0)
                layer->state = LAYER_OPENING;
        return r;
}

static int layer_take_slot(TransferLayer *layer) {
        ImageService *service = layer_service(layer);
        if (service->unpacks >= LIMIT_CONCURRENT_UNPACKS)
                return 0;
        service->unpacks++;
        layer->has_slot = true;
        return layer_prepare(layer);
}

int transfer_layer_tee(TransferLayer *layer, LayerTee *ret) {
        Transfer *transfer = layer->blob.transfer;
        ImageService *service = layer_service(layer);

        switch (layer->state) {
        case LAYER_ASKING:
        case LAYER_DAMAGED:
        case LAYER_CLEARING:
        case LAYER_PREPARING:
        case LAYER_STARTING:
                *ret = LAYER_TEE_WAIT;
                return 0;
        case LAYER_PREPARED:
                *ret = layer->has_tee ? LAYER_TEE_WAIT : LAYER_TEE_NO;
                return 0;
        case LAYER_RUNNING:
                *ret = layer->tee >= 0 ? LAYER_TEE_YES : LAYER_TEE_NO;
                return 0;
        case LAYER_WANTED:
                break;
        default:
                *ret = LAYER_TEE_NO;
                return 0;
        }
        if (!transfer->unpack || layer->blob.offset > 0 || transfer->teeing >= LIMIT_CONCURRENT_UNPACKS ||
            service->tees >= LIMIT_CONCURRENT_TEES) {
                *ret = LAYER_TEE_NO;
                return 0;
        }
        transfer->teeing++;
        service->tees++;
        layer->has_tee = true;
        *ret = LAYER_TEE_WAIT;
        return layer_prepare(layer);
}

/* ---- on top of the one below ---- */

static void on_committed(StoreReply *reply, void *userdata) {
        TransferLayer *layer = userdata;
        if (reply->r == -EEXIST && layer->damaged)
                fault_set(&reply->fault, reply->r = -EBUSY,
                          "the snapshot %s is damaged, and others are built on it", layer->chain_id);
        else if (reply->r == -EEXIST) {
                /* Somebody else has made the same one; ours is swept up at the end. */
                reply->r = 0;
                layer->existed = true;
        } else if (reply->r >= 0)
                layer->key = mfree(layer->key);
        layer_go_on(layer, reply, LAYER_DONE);
}

static int layer_commit(TransferLayer *layer) {
        if (layer->blob.state != BLOB_PRESENT || (layer->below && layer->below->state != LAYER_DONE))
                return 0;
        int r = layer_ask(layer,
                          &(StoreArguments){
                                  .method = STORE_SNAPSHOT_COMMIT,
                                  .name = layer->key,
                                  .digest = layer->chain_id,
                                  .parent = layer->below ? layer->below->chain_id : NULL,
                                  .fd = -EBADF,
                          },
                          on_committed);
        if (r >= 0)
                layer->state = LAYER_COMMITTING;
        return r;
}

int transfer_layer_advance(TransferLayer *layer, Fault *fault) {
        if (!layer->blob.transfer->unpack || layer->state == LAYER_DONE)
                return 1;
        switch (layer->state) {
        case LAYER_NEW:
                return layer_begin(layer);
        case LAYER_DAMAGED:
                return layer_clear(layer);
        case LAYER_WANTED:
                return layer->blob.state == BLOB_PRESENT ? layer_take_slot(layer) : 0;
        case LAYER_PREPARED:
                return layer->has_tee ? layer_unpack_tee(layer) : layer_unpack_blob(layer);
        case LAYER_UNPACKED:
                return layer_commit(layer);
        case LAYER_FAILED:
                if (layer->blob.state != BLOB_PRESENT)
                        return 0;
                fault_move(fault, &layer->fault);
                return fault_prefix(fault, fault->error, "%s: layer %s",
                                    layer->blob.transfer->reference.name, layer->blob.digest);
        default:
                return 0;
        }
}
