/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/document-client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bus/worker.h"
#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "services/images/document-protocol.h"

#define PROGRAM "crt-document"
#define PATIENCE (UINT64_C(60) * 1000000)

struct DocumentClient {
        sd_event *event;
        Worker *worker;
        uint64_t patience;
        sd_event_source *timer;
        bool is_config;
        int answer; /* the file in memory; -EBADF: nothing is asked */
        DocumentDone done;
        void *userdata;
        bool telling; /* within done(), which may free it */
        bool freed;
};

static void client_release(DocumentClient *client) {
        worker_free(client->worker);
        sd_event_source_disable_unref(client->timer);
        sd_event_unref(client->event);
        fd_close(client->answer);
        free(client);
}

DocumentClient *document_client_free(DocumentClient *client) {
        if (!client)
                return NULL;
        if (client->telling)
                client->freed = true;
        else
                client_release(client);
        return NULL;
}

void document_client_set_patience(DocumentClient *client, uint64_t microseconds) {
        client->patience = microseconds;
}

/* ---- what comes back ---- */

/* The last thing that a handler does with a client. */
static void client_tell(DocumentClient *client, DocumentReply *reply) {
        client->timer = sd_event_source_disable_unref(client->timer);
        client->answer = fd_close(client->answer);
        client->telling = true;
        client->done(reply, client->userdata);
        client->telling = false;
        if (client->freed)
                client_release(client);
}

/* It is not asked again: what it would say next is worth nothing. */
static void client_lose(DocumentClient *client, const char *reason) {
        DocumentReply reply = { .r = -EHOSTUNREACH };
        client->worker = worker_free(client->worker);
        if (client->answer < 0)
                return;
        fault_set(&reply.fault, reply.r, PROGRAM " %s", reason);
        client_tell(client, &reply);
        fault_done(&reply.fault);
}

/* A copy: the worker still has the file. */
static int copy_records(int fd, char **ret, size_t *ret_size) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size <= 0 || st.st_size > (off_t) DOCUMENT_ANSWER_MAX)
                return -EPROTO;
        _cleanup_free_ char *data = malloc((size_t) st.st_size);
        if (!data)
                return -ENOMEM;
        ssize_t n = pread(fd, data, (size_t) st.st_size, 0);
        if (n != st.st_size)
                return n < 0 ? -errno : -EPROTO;
        *ret = TAKE_PTR(data);
        *ret_size = (size_t) n;
        return 0;
}

static void take_records(DocumentClient *client) {
        _cleanup_(document_done) Document document = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *records = NULL;
        size_t size = 0;

        int r = copy_records(client->answer, &records, &size);
        if (r >= 0) {
                RecordFile file = { .data = records, .size = size };
                r = document_read(&file, &document, &fault);
        }
        if (r >= 0 && client->is_config != (document.kind == DOCUMENT_CONFIG))
                r = fault_set(&fault, -EPROTO, "it is another document than was asked for");
        if (r < 0) {
                _cleanup_free_ char *reason = NULL;
                fault_prefix(&fault, r, "told what can't be");
                reason = strdup(fault_text(&fault, r));
                client_lose(client, reason ? reason : "told what can't be");
                return;
        }
        client_tell(client, &(DocumentReply){ .document = &document, .records = records, .size = size });
}

static void on_message(Worker *worker, const void *data, size_t size, int *fds, size_t fd_count,
                       void *userdata) {
        DocumentClient *client = userdata;
        DocumentAnswer answer;

        if (size != sizeof(answer) || fd_count > 0 || client->answer < 0) {
                client_lose(client, "said what is not understood");
                return;
        }
        memcpy(&answer, data, sizeof(answer));
        answer.sentence[sizeof(answer.sentence) - 1] = '\0';
        string_make_printable(answer.sentence);
        if (answer.error == 0) {
                take_records(client);
                return;
        }
        if (answer.error != -EBADMSG && answer.error != -EOPNOTSUPP) {
                _cleanup_free_ char *reason = NULL;
                if (asprintf(&reason, "has failed: %s", answer.sentence) < 0)
                        reason = NULL;
                client_lose(client, reason ? reason : "has failed");
                return;
        }
        DocumentReply reply = { .r = answer.error };
        fault_set(&reply.fault, reply.r, "%s", answer.sentence);
        client_tell(client, &reply);
        fault_done(&reply.fault);
}

static void on_worker_exit(Worker *worker, const siginfo_t *info, void *userdata) {
        char reason[64];
        if (info->si_code == CLD_EXITED)
                (void) snprintf(reason, sizeof(reason), "ended with status %i", info->si_status);
        else
                (void) snprintf(reason, sizeof(reason), "was killed by %s",
                                signal_to_string(info->si_status) ? signal_to_string(info->si_status)
                                                                  : "a signal");
        client_lose(userdata, reason);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        client_lose(userdata, "does not come to an end with it");
        return 0;
}

/* ---- asking ---- */

static int client_start(DocumentClient *client, Fault *fault) {
        if (client->worker)
                return 0;
        int r = worker_new(client->event,
                           &(WorkerSpec){
                                   .program = PROGRAM,
                                   .on_message = on_message,
                                   .on_exit = on_worker_exit,
                                   .userdata = client,
                           },
                           &client->worker);
        return r < 0 ? fault_set(fault, -EHOSTUNREACH, PROGRAM " can't be started: %s", strerror(-r)) : 0;
}

int document_client_new(sd_event *event, DocumentClient **ret, Fault *fault) {
        _cleanup_(document_client_freep) DocumentClient *client = new0(DocumentClient, 1);
        if (!client)
                return -ENOMEM;
        *client = (DocumentClient){
                .event = sd_event_ref(event),
                .patience = PATIENCE,
                .answer = -EBADF,
        };
        int r = client_start(client, fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(client);
        return 0;
}

static int client_send(DocumentClient *client, const DocumentSource *source) {
        DocumentOrder order = { .is_config = source->is_config };
        const int fds[] = { source->fd, client->answer };
        if (source->media_type)
                (void) snprintf(order.media_type, sizeof(order.media_type), "%s", source->media_type);
        int r = worker_send(client->worker, &order, sizeof(order), fds, ELEMENTS_OF(fds));
        /* It has died, and we are about to hear of it: that says why. */
        return r == -EPIPE ? 0 : r;
}

int document_client_read(DocumentClient *client, const DocumentSource *source, DocumentDone done,
                         void *userdata, Fault *fault) {
        assert(client->answer < 0);

        int r = client_start(client, fault);
        if (r < 0)
                return r;
        client->answer = memfd_create(PROGRAM, MFD_CLOEXEC);
        if (client->answer < 0)
                return -errno;
        client->is_config = source->is_config;
        client->done = done;
        client->userdata = userdata;
        r = client_send(client, source);
        if (r >= 0)
                r = sd_event_add_time_relative(client->event, &client->timer, CLOCK_MONOTONIC,
                                               client->patience, 0, on_timer, client);
        if (r < 0)
                client->answer = fd_close(client->answer);
        return r;
}
