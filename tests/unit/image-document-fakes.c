/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-document as test-image-transfer.c gives it to transfers: the same records, in the same process. */

#include <string.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "services/images/document-client.h"
#include "tests/unit/image-transfer-fakes.h"

struct DocumentClient {
        DocumentClient *next;
        char *data; /* NULL: nothing is asked */
        size_t size;
        bool is_config;
        char *media_type;
        DocumentDone done;
        void *userdata;
};

static DocumentClient *clients;

int document_client_new(sd_event *event, DocumentClient **ret, Fault *fault) {
        DocumentClient *client = new0(DocumentClient, 1);
        client->next = clients;
        clients = client;
        *ret = client;
        return 0;
}

DocumentClient *document_client_free(DocumentClient *client) {
        if (!client)
                return NULL;
        for (DocumentClient **p = &clients; *p; p = &(*p)->next)
                if (*p == client) {
                        *p = client->next;
                        break;
                }
        free(client->data);
        free(client->media_type);
        free(client);
        return NULL;
}

int document_client_read(DocumentClient *client, const DocumentSource *source, DocumentDone done,
                         void *userdata, Fault *fault) {
        assert(!client->data);
        client->is_config = source->is_config;
        client->media_type = source->media_type ? strdup(source->media_type) : NULL;
        client->done = done;
        client->userdata = userdata;
        return fd_read_all(source->fd, SIZE_MAX / 2, &client->data, &client->size);
}

static int write_records(DocumentClient *client, char **ret, size_t *ret_size, Fault *fault) {
        _cleanup_(document_done) Document document = { 0 };
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        int r = document_parse(client->data, client->size, client->is_config, client->media_type, &document,
                               fault);
        if (r >= 0)
                r = record_writer_new("fake", &writer);
        if (r >= 0)
                r = document_write(&document, writer);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = record_writer_finish(writer);
        return fd_read_all(fd, SIZE_MAX / 2, ret, ret_size);
}

static void answer(DocumentClient *client) {
        Document document = { 0 };
        DocumentReply reply = { .document = &document };
        _cleanup_free_ char *records = NULL;

        reply.r = write_records(client, &records, &reply.size, &reply.fault);
        if (++world.documents_read == world.fail_document_at)
                reply.r = fault_set(&reply.fault, -EHOSTUNREACH, "crt-document was killed");
        if (reply.r >= 0)
                reply.r = document_read(&(RecordFile){ .data = records, .size = reply.size }, &document,
                                        &reply.fault);
        if (reply.r < 0)
                reply.document = NULL;
        reply.records = records;
        client->data = mfree(client->data);
        client->media_type = mfree(client->media_type);
        client->done(&reply, client->userdata);
        document_done(&document);
        fault_done(&reply.fault);
}

bool fake_document_step(void) {
        for (DocumentClient *client = clients; client; client = client->next)
                if (client->data) {
                        answer(client);
                        return true;
                }
        return false;
}
