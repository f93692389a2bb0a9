/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's end of a conversation with one crt-document: documents of one author, one after the other.
 * Freeing it ends the worker. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "services/images/document.h"

typedef struct DocumentClient DocumentClient;

/* Starts the worker, which is ready when the first document is there. -EHOSTUNREACH with a sentence. */
int document_client_new(sd_event *event, DocumentClient **ret, Fault *fault);
/* Nobody is told. May be called from within the callback. */
DocumentClient *document_client_free(DocumentClient *client);
DEFINE_CLEANUP(DocumentClient *, document_client_free);

typedef struct DocumentSource {
        int fd; /* borrowed */
        bool is_config;
        const char *media_type; /* of another document, as its descriptor or the registry has it; or NULL */
} DocumentSource;

/* What a document is, to be taken with TAKE() (else it is freed), and the records that say so, which
 * document_read() takes again. r < 0: document is NULL; -EBADMSG and -EOPNOTSUPP are the document's fault,
 * -EHOSTUNREACH is a worker that died, did not answer, or told what can't be. */
typedef struct DocumentReply {
        int r;
        Fault fault;
        Document *document;
        const char *records;
        size_t size;
} DocumentReply;
typedef void (*DocumentDone)(DocumentReply *reply, void *userdata);

/* One at a time. */
int document_client_read(DocumentClient *client, const DocumentSource *source, DocumentDone done,
                         void *userdata, Fault *fault);

/* How long a document may take, instead of a minute: for tests. */
void document_client_set_patience(DocumentClient *client, uint64_t microseconds);
