/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/oci-index.h"
#include "lib/strv.h"
#include "services/images/transfer-private.h"

/* Documents are read from Content, which has verified them; a wrong one can still be anything its author
 * likes. crt-document reads them, and one of its own serves each transfer. */

int transfer_add_document(Transfer *transfer, const char *digest, const char *media_type, uint64_t size,
                          Fault *fault) {
        bool is_config = transfer->has_manifest;
        uint64_t limit = is_config ? LIMIT_IMAGE_CONFIG_SIZE : LIMIT_MANIFEST_SIZE;

        if (size > limit)
                return fault_set(fault, -EBADMSG, "%s: %llu bytes are too many for a document", digest,
                                 (unsigned long long) size);
        if (transfer->document_count + !is_config >= TRANSFER_DOCUMENTS_MAX)
                return fault_set(fault, -EBADMSG, "%s: too many indexes in each other", digest);

        TransferBlob *blob = new0(TransferBlob, 1);
        if (!blob)
                return -ENOMEM;
        transfer_blob_init(blob, transfer);
        transfer->documents[transfer->document_count++] = blob;
        snprintf(blob->digest, sizeof(blob->digest), "%s", digest);
        blob->size = size;
        blob->is_manifest = !is_config;
        if (media_type && !string_is_empty(media_type) && !(blob->media_type = strdup(media_type)))
                return -ENOMEM;
        transfer->step = TRANSFER_DOCUMENT;
        transfer->again = true;
        return 0;
}

static int add_described(Transfer *transfer, const OciDescriptor *descriptor, Fault *fault) {
        char digest[DIGEST_STRING_MAX];
        return transfer_add_document(transfer, digest_to_string(&descriptor->digest, digest),
                                     descriptor->media_type, descriptor->size, fault);
}

static int take_index(Transfer *transfer, const OciIndex *index, Fault *fault) {
        size_t position;
        int r = oci_index_select(index, &transfer->platform, &position, fault);
        return r < 0 ? r : add_described(transfer, &index->manifests[position], fault);
}

/* ---- the manifest ---- */

static int add_layers(Transfer *transfer) {
        const OciManifest *manifest = &transfer->manifest;
        transfer->layers = new0(TransferLayer, manifest->layer_count + 1);
        if (!transfer->layers)
                return -ENOMEM;
        for (size_t i = 0; i < manifest->layer_count; i++) {
                TransferLayer *layer = &transfer->layers[i];
                transfer_layer_init(layer, transfer);
                transfer->layer_count++;
                digest_to_string(&manifest->layers[i].digest, layer->blob.digest);
                layer->blob.size = manifest->layers[i].size;
                layer->below = i > 0 ? layer - 1 : NULL;
                layer->blob.has_part = true;
                layer->blob.part = 2 + i;
        }
        return 0;
}

static int announce_parts(Transfer *transfer) {
        TransferBlob *manifest = transfer->documents[transfer->document_count - 1];
        char config[DIGEST_STRING_MAX];
        _cleanup_free_ TransferPart *parts = new0(TransferPart, 2 + transfer->layer_count);
        if (!parts)
                return -ENOMEM;

        parts[0] = (TransferPart){ manifest->digest, "manifest", manifest->size };
        parts[1] = (TransferPart){ digest_to_string(&transfer->manifest.config.digest, config), "config",
                                   transfer->manifest.config.size };
        for (size_t i = 0; i < transfer->layer_count; i++)
                parts[2 + i] = (TransferPart){ transfer->layers[i].blob.digest, "layer",
                                               transfer->layers[i].blob.size };
        transfer->observer->on_parts(parts, 2 + transfer->layer_count, transfer->userdata);
        manifest->has_part = true;
        manifest->part = 0;
        transfer_blob_report(manifest);
        return 0;
}

int transfer_needs_too_much(const Transfer *transfer, Fault *fault) {
        return fault_set(fault, -EDQUOT,
                         "the images of the namespace %s may need %i blobs and snapshots, each counted for "
                         "every name",
                         transfer->namespace, LIMIT_NEEDS_PER_NAMESPACE);
}

/* Before anything more is fetched. It counts when the record is written: others may be quicker. */
static int check_needs(const Transfer *transfer, Fault *fault) {
        size_t documents = transfer->document_count + 1, things = transfer->unpack ? 2 : 1;
        int r = image_store_check_needs(transfer->service->images, transfer->namespace, transfer->name,
                                        documents + transfer->layer_count * things);
        return r == -EDQUOT ? transfer_needs_too_much(transfer, fault) : r;
}

static int take_manifest(Transfer *transfer, OciManifest *manifest, Fault *fault) {
        transfer->manifest = TAKE(*manifest, (OciManifest){ 0 });
        transfer->has_manifest = true;
        int r = oci_manifest_verify_image(&transfer->manifest, fault);
        if (r >= 0)
                r = add_layers(transfer);
        if (r >= 0)
                r = check_needs(transfer, fault);
        if (r >= 0)
                r = announce_parts(transfer);
        if (r >= 0)
                r = add_described(transfer, &transfer->manifest.config, fault);
        if (r < 0)
                return r;
        TransferBlob *config = transfer->documents[transfer->document_count - 1];
        config->has_part = true;
        config->part = 1;
        transfer->observer->on_phase("downloading", transfer->userdata);
        return 0;
}

/* ---- the config ---- */

static int verify_platform(Transfer *transfer, Fault *fault) {
        if (oci_platform_rank(&transfer->platform, &transfer->config.platform) >= 0)
                return 0;
        _cleanup_free_ char *wanted = oci_platform_to_string(&transfer->platform),
                            *offered = oci_platform_to_string(&transfer->config.platform);
        if (!wanted || !offered)
                return -ENOMEM;
        return fault_set(fault, -ENOENT, "the image is for %s, not for %s", offered, wanted);
}

static int take_config(Transfer *transfer, OciImageConfig *config, Fault *fault) {
        _cleanup_free_ Digest *chain_ids = NULL;
        size_t count = 0;

        transfer->config = TAKE(*config, (OciImageConfig){ 0 });
        config = &transfer->config;
        int r = verify_platform(transfer, fault);
        if (r < 0)
                return r;
        if (config->diff_id_count != transfer->layer_count)
                return fault_set(fault, -EBADMSG, "the config tells of %zu layers, the manifest has %zu",
                                 config->diff_id_count, transfer->layer_count);
        r = oci_image_config_chain_ids(config, &chain_ids, &count);
        if (r < 0)
                return r;
        for (size_t i = 0; i < transfer->layer_count; i++) {
                digest_to_string(&config->diff_ids[i], transfer->layers[i].diff_id);
                digest_to_string(&chain_ids[i], transfer->layers[i].chain_id);
        }
        transfer->step = TRANSFER_LAYERS;
        transfer->again = true;
        return 0;
}

/* ---- reading ---- */

static int take_document(Transfer *transfer, Document *document, Fault *fault) {
        switch (document->kind) {
        case DOCUMENT_INDEX:
                return take_index(transfer, &document->index, fault);
        case DOCUMENT_MANIFEST:
                return take_manifest(transfer, &document->manifest, fault);
        default:
                transfer->reader = document_client_free(transfer->reader);
                return take_config(transfer, &document->config, fault);
        }
}

static void read_failed(Transfer *transfer, int r, Fault *fault) {
        fault_prefix(fault, r, "%s: %s", transfer->reference.name,
                     transfer->documents[transfer->document_count - 1]->digest);
        transfer_fail(transfer, r, fault);
}

static int keep_records(Transfer *transfer, const DocumentReply *reply) {
        if (reply->document->kind != DOCUMENT_CONFIG || reply->size > LIMIT_CONFIG_KEPT)
                return 0;
        char *copy = malloc(reply->size);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, reply->records, reply->size);
        transfer->record.config_records = copy;
        transfer->record.config_size = reply->size;
        return 0;
}

static void on_read(DocumentReply *reply, void *userdata) {
        Transfer *transfer = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = reply->r;
        if (r < 0)
                fault_move(&fault, &reply->fault);
        else
                r = keep_records(transfer, reply);
        if (r >= 0)
                r = take_document(transfer, reply->document, &fault);
        if (r < 0)
                read_failed(transfer, r, &fault);
        transfer_advance(transfer);
}

static int read_document(Transfer *transfer, int fd, Fault *fault) {
        const TransferBlob *blob = transfer->documents[transfer->document_count - 1];
        return document_client_read(transfer->reader,
                                    &(DocumentSource){
                                            .fd = fd,
                                            .is_config = transfer->has_manifest,
                                            .media_type = blob->media_type,
                                    },
                                    on_read, transfer, fault);
}

static void on_opened(StoreReply *reply, void *userdata) {
        Transfer *transfer = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        TransferBlob *blob = transfer->documents[transfer->document_count - 1];

        transfer->reading = NULL;
        int r = reply->r;
        if (r == -EUCLEAN && transfer->error >= 0 && transfer_blob_is_damaged(blob)) {
                transfer->step = TRANSFER_DOCUMENT;
                transfer_advance(transfer);
                return;
        }
        if (r < 0)
                fault_move(&fault, &reply->fault);
        else if (transfer->error >= 0)
                r = read_document(transfer, reply->fd, &fault);
        if (r < 0)
                read_failed(transfer, r, &fault);
        transfer_advance(transfer);
}

int transfer_document_advance(Transfer *transfer, Fault *fault) {
        TransferBlob *blob = transfer->documents[transfer->document_count - 1];
        int r = transfer_blob_advance(blob, fault);
        if (r <= 0)
                return r;
        transfer->step = TRANSFER_READING;
        return store_call_new(transfer->service->stores,
                              &(StoreArguments){
                                      .method = STORE_CONTENT_OPEN,
                                      .namespace = transfer->namespace,
                                      .name = blob->digest,
                                      .fd = -EBADF,
                              },
                              on_opened, transfer, &transfer->reading);
}

/* ---- what is remembered ---- */

static uint64_t now_usec(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static int collect_needs(Transfer *transfer) {
        ImageRecord *record = &transfer->record;
        int r = 0;
        for (size_t i = 0; r >= 0 && i < transfer->document_count; i++)
                r = strv_append(&record->blobs, transfer->documents[i]->digest);
        for (size_t i = 0; r >= 0 && i < transfer->layer_count; i++) {
                r = strv_append(&record->blobs, transfer->layers[i].blob.digest);
                if (r >= 0 && transfer->unpack)
                        r = strv_append(&record->chains, transfer->layers[i].chain_id);
        }
        return r;
}

int transfer_make_record(Transfer *transfer) {
        ImageRecord *record = &transfer->record;
        const TransferBlob *target = transfer->documents[0];
        const TransferBlob *config = transfer->documents[transfer->document_count - 1];
        const TransferBlob *manifest = transfer->documents[transfer->document_count - 2];
        bool has_chain = transfer->unpack && transfer->layer_count > 0;
        /* A single manifest says itself what it is; the registry says it of an index. */
        const char *media_type = target == manifest   ? transfer->manifest.media_type
                                 : target->media_type ? target->media_type
                                                      : MEDIA_TYPE_OCI_INDEX;

        record->namespace = strdup(transfer->namespace);
        record->name = strdup(transfer->name);
        record->digest = strdup(target->digest);
        record->media_type = strdup(media_type);
        record->manifest = strdup(manifest->digest);
        record->config = strdup(config->digest);
        record->chain_id = strdup(has_chain ? transfer->layers[transfer->layer_count - 1].chain_id : "");
        record->platform = oci_platform_to_string(&transfer->config.platform);
        if (!record->namespace || !record->name || !record->digest || !record->media_type ||
            !record->manifest || !record->config || !record->chain_id || !record->platform)
                return -ENOMEM;
        record->size = manifest->size + config->size + oci_manifest_layers_size(&transfer->manifest);
        record->created = image_record_parse_time(transfer->config.created);
        record->pulled = now_usec();
        return collect_needs(transfer);
}
