/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A transfer from within: transfer.c steers, transfer-document.c has indexes, manifests and configs read,
 * transfer-blob.c brings blobs into Content, transfer-layer.c turns them into snapshots.
 *
 * Nothing waits: each of these has a state, an *_advance() that does what can be done in that state, and
 * handlers of answers that set the state and end with transfer_advance(). */

#include "lib/oci-image-config.h"
#include "lib/oci-manifest.h"
#include "services/images/document-client.h"
#include "services/images/fetch-client.h"
#include "services/images/transfer.h"

typedef enum BlobState {
        BLOB_NEW,
        BLOB_ASKING,  /* is it there? */
        BLOB_ABSENT,  /* it is ours to fetch, when its turn comes */
        BLOB_OPENING, /* its ingest is being opened */
        BLOB_READY,   /* its stream is open; does an unpacking want it, too? */
        BLOB_FETCHING,
        BLOB_FETCHED,    /* all of it is in the stream */
        BLOB_COMMITTING, /* Content has the word */
        BLOB_PRESENT,
} BlobState;

typedef enum LayerState {
        LAYER_NEW,
        LAYER_ASKING, /* is its snapshot there? */
        LAYER_DAMAGED,
        LAYER_CLEARING, /* the damaged one is being removed, if it can be */
        LAYER_WANTED,   /* it is ours to unpack */
        LAYER_PREPARING,
        LAYER_PREPARED,
        LAYER_OPENING, /* the blob */
        LAYER_STARTING,
        LAYER_RUNNING,
        LAYER_UNPACKED, /* waits for the blob's verdict and for the layer below */
        LAYER_COMMITTING,
        LAYER_FAILED, /* unless the blob is to blame */
        LAYER_DONE,
} LayerState;

typedef struct TransferLayer TransferLayer;

/* "sha256:…+1234": an ingest that somebody began with a wrong size is not in the way of one with the right
 * size. */
#define TRANSFER_INGEST_MAX (DIGEST_STRING_MAX + 1 + 20)

typedef struct TransferBlob {
        Transfer *transfer;   /* weak */
        TransferLayer *layer; /* weak; NULL for documents */
        char digest[DIGEST_STRING_MAX];
        char ingest[TRANSFER_INGEST_MAX]; /* what Content calls it before it is there */
        char *media_type;                 /* as its descriptor or the registry has it, or NULL */
        uint64_t size;                    /* 0: not known */
        bool is_manifest;                 /* below manifests/ in the registry */
        bool has_part;
        size_t part;
        BlobState state;
        bool existed; /* before this transfer */
        uint32_t request;
        int stream;
        uint64_t offset;
        unsigned tries;
        StoreCall *call;
        ClaimHold *need;
        ClaimHold *busy;
} TransferBlob;

struct TransferLayer {
        TransferBlob blob;
        TransferLayer *below; /* weak */
        char diff_id[DIGEST_STRING_MAX];
        char chain_id[DIGEST_STRING_MAX];
        LayerState state;
        bool existed;
        bool damaged;  /* the one that is there; it is to be replaced */
        bool has_slot; /* counted in ImageService.unpacks */
        bool has_tee;  /* counted in ImageService.tees */
        int tee;       /* write end of what it is unpacked from while it is fetched */
        char *key;     /* of the unfinished snapshot */
        char *job;     /* that is running */
        Fault fault;   /* LAYER_FAILED */
        StoreCall *call;
        ClaimHold *need;
        ClaimHold *busy;
};

typedef enum TransferStep {
        TRANSFER_BEGINNING,
        TRANSFER_RESOLVING,
        TRANSFER_DOCUMENT, /* the last document is being brought in */
        TRANSFER_READING,  /* and is there */
        TRANSFER_LAYERS,
        TRANSFER_RECORDING,
        TRANSFER_DONE,
        TRANSFER_ENDING, /* what is left over is being swept up */
} TransferStep;

/* An index in an index in an index is enough; then the manifest and the config. */
#define TRANSFER_DOCUMENTS_MAX 5

struct Transfer {
        ImageService *service; /* weak */
        Transfer *next;
        char *id;
        char *key_prefix;
        char *namespace;
        char *name;
        OciReference reference;
        OciPlatform platform;
        bool unpack;
        bool plain_http;
        char *username;
        char *password;
        int ca_fd;
        const TransferObserver *observer;
        void *userdata;

        TransferStep step;
        int error; /* negative: it has failed, and only settles */
        Fault fault;
        bool advancing;
        bool again;
        bool poked;
        bool noted; /* image_store_add_unpacking() */

        FetchClient *fetch;
        uint32_t last_request;
        uint32_t resolve_request;
        unsigned fetching; /* ingests that are open */
        unsigned teeing;

        TransferBlob *documents[TRANSFER_DOCUMENTS_MAX];
        size_t document_count;
        StoreCall *reading;
        DocumentClient *reader; /* until all are read */
        OciManifest manifest;
        bool has_manifest;
        OciImageConfig config;
        TransferLayer *layers;
        size_t layer_count;
        ImageRecord record;
};

/* transfer.c */
void transfer_fail(Transfer *transfer, int r, Fault *fault);
int transfer_need_fetch(Transfer *transfer, Fault *fault);
/* Before the first unfinished snapshot is made. */
int transfer_note_unpacking(Transfer *transfer);

/* transfer-document.c */
int transfer_add_document(Transfer *transfer, const char *digest, const char *media_type, uint64_t size,
                          Fault *fault);
int transfer_document_advance(Transfer *transfer, Fault *fault);
int transfer_make_record(Transfer *transfer);
int transfer_needs_too_much(const Transfer *transfer, Fault *fault); /* says so: -EDQUOT */

/* transfer-blob.c: 1 when it is present, 0 when something is waited for. */
void transfer_blob_init(TransferBlob *blob, Transfer *transfer);
void transfer_blob_done(TransferBlob *blob);
int transfer_blob_advance(TransferBlob *blob, Fault *fault);
void transfer_blob_on_message(TransferBlob *blob, const FetchMessage *message);
/* Content has found out only now that its bytes are others: true if they are fetched again. */
bool transfer_blob_is_damaged(TransferBlob *blob);
void transfer_blob_report(const TransferBlob *blob);

/* transfer-layer.c: 1 when its snapshot is there, or none is wanted. */
void transfer_layer_init(TransferLayer *layer, Transfer *transfer);
void transfer_layer_done(TransferLayer *layer);
int transfer_layer_advance(TransferLayer *layer, Fault *fault);
typedef enum LayerTee {
        LAYER_TEE_NO,
        LAYER_TEE_WAIT, /* it is not known yet, or not ready */
        LAYER_TEE_YES,  /* into layer->tee */
} LayerTee;
/* Whether the bytes of its blob, which begin to arrive now, are to be unpacked on the way. */
int transfer_layer_tee(TransferLayer *layer, LayerTee *ret);
