/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/digest.h"
#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/strv.h"
#include "services/images/byte-buffer.h"
#include "services/images/fetch-answer.h"
#include "services/images/fetch-retry.h"
#include "services/images/http-header.h"
#include "services/images/http-url.h"

/* The life of a request:
 *
 * 1. begin_try() asks the registry itself. What came is kept in try.
 * 2. A redirect is followed to wherever it leads, but the Authorization header goes only to where it was
 * meant for.
 * 3. A challenge (401) makes the request wait for a token, or try again with credentials.
 * 4. The bytes of a good answer go into the streams, which are told apart from the answer's position: an
 * answer that begins at 0 although a later offset was asked for is skipped as far as it is known.
 * 5. What went wrong in passing is tried again after a while, from where it stopped: fetch-retry.h.
 * 6. The daemon is told how it ended, and the request is gone. */

#define REDIRECTS_MAX 5
#define CHALLENGES_MAX 3
#define PROGRESS_INTERVAL 100 /* milliseconds */
#define ERROR_BODY_MAX 4096

typedef enum FetchMethod {
        FETCH_METHOD_HEAD,    /* what a tag stands for */
        FETCH_METHOD_READ,    /* the same, from a registry that does not say it in headers */
        FETCH_METHOD_DOWNLOAD /* into the streams */
} FetchMethod;

struct FetchRequest {
        FetchSession *session; /* weak */
        FetchRequest *next;
        uint32_t id;
        FetchMethod method;
        bool is_manifest;
        char *object; /* tag or digest */
        uint64_t size;
        FetchSink sink;
        bool is_paused;
        uint64_t told;      /* bytes, to the daemon */
        uint64_t last_told; /* when */

        FetchRetry retry;
        unsigned redirects;
        unsigned challenges;
        bool waits_for_token;
        uint64_t deadline;

        /* The try that is under way. */
        char *url;
        HttpExchange *exchange;
        unsigned generation;
        uint64_t offset;         /* asked for */
        uint64_t written_before; /* by earlier tries */
        HttpResponse response;
        ByteBuffer body; /* of a document that is read, or of an error */
        Fault fault;     /* why the answer can't be used */
};

static int begin_try(FetchRequest *request, const char *url);

/* ---- life ---- */

static int request_new(FetchSession *session, uint32_t id, FetchMethod method, const char *object,
                       FetchRequest **ret) {
        _cleanup_free_ char *copy = strdup(object);
        FetchRequest *request = new0(FetchRequest, 1);
        if (!copy || !request) {
                free(request);
                return -ENOMEM;
        }
        *request = (FetchRequest){
                .session = session,
                .next = session->requests,
                .id = id,
                .method = method,
                .object = TAKE_PTR(copy),
                .sink = FETCH_SINK_INIT,
                .deadline = UINT64_MAX,
                .response = HTTP_RESPONSE_INIT,
        };
        session->requests = request;
        *ret = request;
        return 0;
}

static void try_done(FetchRequest *request) {
        http_response_done(&request->response);
        byte_buffer_clear(&request->body);
        fault_done(&request->fault);
        request->url = mfree(request->url);
}

FetchRequest *fetch_request_free(FetchRequest *request) {
        if (!request)
                return NULL;
        for (FetchRequest **p = &request->session->requests; *p; p = &(*p)->next)
                if (*p == request) {
                        *p = request->next;
                        break;
                }
        http_exchange_free(request->exchange);
        try_done(request);
        fetch_sink_close(&request->sink);
        free(request->object);
        free(request);
        return NULL;
}

FetchRequest *fetch_request_next(const FetchRequest *request) {
        return request->next;
}

uint64_t fetch_request_deadline(const FetchRequest *request) {
        if (fetch_sink_written(&request->sink) > request->told)
                return MIN_OF(request->deadline, request->last_told + PROGRESS_INTERVAL);
        return request->deadline;
}

size_t fetch_request_poll(const FetchRequest *request, struct pollfd polls[FETCH_SINK_STREAMS]) {
        return fetch_sink_poll(&request->sink, request->is_paused, polls);
}

/* ---- outcomes ---- */

static void fail(FetchRequest *request, int r, const Fault *fault) {
        fetch_session_send(request->session, &(FetchMessage){
                                                     .type = FETCH_FAILED,
                                                     .request = request->id,
                                                     .error = (uint32_t) -r,
                                                     .sentence = fault_text(fault, r),
                                             });
        fetch_request_free(request);
}

/* "registry.example: manifest bookworm of library/debian" before what went wrong. */
static void fail_with_subject(FetchRequest *request, int r, const Fault *reason) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *host = NULL;

        if (!request->url || http_url_get_host(request->url, &host) < 0)
                host = NULL;
        fault_set(&fault, r, "%s: %s %s of %s: %s", host ? host : request->session->host,
                  request->is_manifest ? "manifest" : "blob", request->object, request->session->repository,
                  fault_text(reason, r));
        fail(request, r, &fault);
}

static void finish_resolve(FetchRequest *request, const char *digest, uint64_t size) {
        _cleanup_free_ char *media_type = NULL;
        if (request->response.content_type &&
            media_type_from_header(request->response.content_type, &media_type) < 0)
                media_type = NULL;
        fetch_session_send(request->session, &(FetchMessage){
                                                     .type = FETCH_RESOLVED,
                                                     .request = request->id,
                                                     .digest = digest,
                                                     .media_type = media_type,
                                                     .size = size,
                                             });
        fetch_request_free(request);
}

static void finish_download(FetchRequest *request) {
        _cleanup_free_ char *media_type = NULL;
        if (request->response.content_type &&
            media_type_from_header(request->response.content_type, &media_type) < 0)
                media_type = NULL;
        fetch_sink_close(&request->sink);
        fetch_session_send(request->session, &(FetchMessage){
                                                     .type = FETCH_WRITTEN,
                                                     .request = request->id,
                                                     .media_type = media_type,
                                             });
        fetch_request_free(request);
}

/* ---- an answer arrives ---- */

static bool is_good(const FetchRequest *request) {
        return request->response.status == 200 || request->response.status == 206;
}

static int on_response(HttpResponse *response, void *userdata) {
        FetchRequest *request = userdata;

        request->response = *response;
        *response = HTTP_RESPONSE_INIT;
        if (http_url_is_https(request->url))
                request->session->may_leave_tls = false;
        request->body.limit = ERROR_BODY_MAX;
        if (!is_good(request))
                return 0;
        if (request->method != FETCH_METHOD_DOWNLOAD) {
                request->body.limit = LIMIT_MANIFEST_SIZE;
                return 0;
        }
        uint64_t limit = request->size > 0 ? request->size : LIMIT_MANIFEST_SIZE;
        return fetch_answer_check(&request->response, request->offset, request->size, limit,
                                  &request->sink.position, &request->fault);
}

static void report_progress(FetchRequest *request, uint64_t now) {
        uint64_t written = fetch_sink_written(&request->sink);
        if (written <= request->told || now < request->last_told + PROGRESS_INTERVAL)
                return;
        request->told = written;
        request->last_told = now;
        fetch_session_send(request->session, &(FetchMessage){
                                                     .type = FETCH_PROGRESS,
                                                     .request = request->id,
                                                     .offset = written,
                                             });
}

static int stream_is_closed(Fault *fault) {
        return fault_set(fault, -EPIPE, "the content store has closed the stream");
}

static HttpTaken on_body(const void *data, size_t size, void *userdata) {
        FetchRequest *request = userdata;

        if (!is_good(request)) {
                byte_buffer_append_some(&request->body, data, size);
                return HTTP_TAKEN;
        }
        if (request->method != FETCH_METHOD_DOWNLOAD) {
                if (byte_buffer_append(&request->body, data, size) >= 0)
                        return HTTP_TAKEN;
                fault_set(&request->fault, -EBADMSG, "is longer than %u bytes", LIMIT_MANIFEST_SIZE);
                return HTTP_REFUSED;
        }
        uint64_t limit = request->size > 0 ? request->size : LIMIT_MANIFEST_SIZE;
        if (size > limit - MIN_OF(limit, request->sink.position)) {
                fault_set(&request->fault, -EBADMSG, "is longer than %llu bytes",
                          (unsigned long long) limit);
                return HTTP_REFUSED;
        }
        int r = fetch_sink_push(&request->sink, data, size);
        if (r < 0) {
                stream_is_closed(&request->fault);
                return HTTP_REFUSED;
        }
        report_progress(request, fetch_session_now());
        request->is_paused = r == 0;
        return r == 0 ? HTTP_PAUSED : HTTP_TAKEN;
}

/* Also while the registry says nothing, or is not even asked. */
void fetch_request_on_streams(FetchRequest *request, const struct pollfd *polls, size_t count) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = fetch_sink_polled(&request->sink, polls, count);
        if (r < 0)
                fail_with_subject(request, stream_is_closed(&fault), &fault);
        else if (r > 0 && request->is_paused) {
                request->is_paused = false;
                http_exchange_resume(request->exchange);
        }
}

/* ---- an answer has ended ---- */

static void follow_redirect(FetchRequest *request) {
        _cleanup_free_ char *target = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = http_url_resolve(request->url, request->response.location, &target);
        if (r < 0)
                r = fault_set(&fault, -EBADMSG, "is redirected to what is no address");
        else if (http_url_is_https(request->url) && !http_url_is_https(target))
                r = fault_set(&fault, -EBADMSG, "is redirected to an address without TLS");
        else if (++request->redirects > REDIRECTS_MAX)
                r = fault_set(&fault, -EBADMSG, "is redirected more than %i times", REDIRECTS_MAX);
        else
                r = begin_try(request, target);
        if (r < 0)
                fail_with_subject(request, r, &fault);
}

static bool is_redirect(const FetchRequest *request) {
        unsigned status = request->response.status;
        return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
               request->response.location;
}

static int start_over(FetchRequest *request) {
        _cleanup_free_ char *url = NULL;
        const FetchSession *session = request->session;

        request->redirects = 0;
        if (asprintf(&url, "%s://%s/v2/%s/%s/%s", session->plain_http ? "http" : "https", session->host,
                     session->repository, request->is_manifest ? "manifests" : "blobs",
                     request->object) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        return begin_try(request, url);
}

static void start_over_or_fail(FetchRequest *request) {
        int r = start_over(request);
        if (r < 0)
                fail(request, r, NULL);
}

static void answer_challenge(FetchRequest *request) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *said = NULL;
        int r;

        if (++request->challenges > CHALLENGES_MAX ||
            !fetch_answer_is_of_registry(request->url, request->session->host))
                r = -ENOKEY;
        else
                r = registry_auth_challenge(request->session->auth, request->url,
                                            request->response.challenges, request->generation, &fault);
        if (r == 1) {
                start_over_or_fail(request);
                return;
        }
        if (r == 0) {
                request->waits_for_token = true;
                return;
        }
        said = fetch_answer_explain(request->body.data, request->body.size);
        fault_set(&fault, r, "access is refused%s%s", said ? ": " : "", said ? said : "");
        fail_with_subject(request, r, &fault);
}

void fetch_request_on_token(FetchRequest *request, int r, const Fault *fault) {
        if (!request->waits_for_token)
                return;
        request->waits_for_token = false;
        if (r < 0)
                fail_with_subject(request, r, fault);
        else
                start_over_or_fail(request);
}

void fetch_request_on_time(FetchRequest *request, uint64_t now) {
        report_progress(request, now);
        if (request->deadline > now)
                return;
        request->deadline = UINT64_MAX;
        start_over_or_fail(request);
}

/* 1 if another try is on its way. */
static int try_again(FetchRequest *request, int error) {
        FetchOutcome outcome = {
                .error = error,
                .status = request->response.status,
                .progressed = fetch_sink_written(&request->sink) > request->written_before,
        };
        uint64_t delay = 0;

        if (request->response.retry_after)
                outcome.has_retry_after =
                        http_retry_after_parse(request->response.retry_after, time(NULL),
                                               FETCH_RETRY_AFTER_MAX, &outcome.retry_after) >= 0;
        if (fetch_retry_decide(&request->retry, &outcome, &delay) != FETCH_VERDICT_RETRY)
                return 0;
        request->deadline = fetch_session_now() + delay;
        return 1;
}

static void on_status(FetchRequest *request) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        unsigned status = request->response.status;

        if (is_redirect(request)) {
                follow_redirect(request);
                return;
        }
        if (status == 401) {
                answer_challenge(request);
                return;
        }
        if (request->method == FETCH_METHOD_HEAD && (status == 405 || status == 501)) {
                request->method = FETCH_METHOD_READ;
                start_over_or_fail(request);
                return;
        }
        if (try_again(request, 0) > 0)
                return;
        _cleanup_free_ char *said = fetch_answer_explain(request->body.data, request->body.size);
        int r = status == 416 ? -EBADMSG : fetch_status_to_error(status);
        fault_set(&fault, r, "HTTP status %u%s%s%s", status, said ? " (" : "", said ? said : "",
                  said ? ")" : "");
        fail_with_subject(request, r, &fault);
}

static void on_resolved(FetchRequest *request) {
        Digest digest;
        char text[DIGEST_STRING_MAX];

        if (request->method == FETCH_METHOD_HEAD) {
                const char *value = request->response.content_digest;
                if (value && digest_parse(value, &digest) >= 0) {
                        int64_t length = request->response.content_length;
                        finish_resolve(request, digest_to_string(&digest, text),
                                       length > 0 ? (uint64_t) length : 0);
                        return;
                }
                request->method = FETCH_METHOD_READ;
                start_over_or_fail(request);
                return;
        }
        int r = digest_of_data(DIGEST_SHA256, request->body.data ? request->body.data : "",
                               request->body.size, &digest);
        if (r < 0) {
                fail(request, r, NULL);
                return;
        }
        finish_resolve(request, digest_to_string(&digest, text), request->body.size);
}

static void on_lost(FetchRequest *request, int error, const Fault *reason) {
        FetchSession *session = request->session;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        if (error == -EPROTO && !http_url_is_https(request->url))
                error = -ECONNRESET;
        if (error == -EPROTO && (session->may_leave_tls || session->plain_http)) {
                session->plain_http = true;
                start_over_or_fail(request);
                return;
        }
        if (try_again(request, error) > 0)
                return;
        if (request->method == FETCH_METHOD_DOWNLOAD && request->response.status > 0)
                fault_set(&fault, -EHOSTUNREACH, "the connection ended after %llu of %llu bytes: %s",
                          (unsigned long long) fetch_sink_written(&request->sink),
                          (unsigned long long) request->size, fault_text(reason, error));
        else
                fault_set(&fault, -EHOSTUNREACH, "%s%s",
                          error == -EACCES ? "the certificate is not trusted: " : "",
                          fault_text(reason, error));
        fail_with_subject(request, -EHOSTUNREACH, &fault);
}

static void on_end(int r, const Fault *reason, void *userdata) {
        FetchRequest *request = userdata;

        request->exchange = NULL;
        request->is_paused = false;
        if (request->fault.error)
                fail_with_subject(request, request->fault.error, &request->fault);
        else if (r < 0)
                on_lost(request, r, reason);
        else if (!is_good(request))
                on_status(request);
        else if (request->method != FETCH_METHOD_DOWNLOAD)
                on_resolved(request);
        else if (request->sink.position < request->size) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                fault_set(&fault, -ECONNRESET, "the answer is too short");
                on_lost(request, -ECONNRESET, &fault);
        } else
                finish_download(request);
}

static const HttpHandler handler = { on_response, on_body, on_end };

static int begin_try(FetchRequest *request, const char *url) {
        _cleanup_free_ char *copy = strdup(url);
        FetchSession *session = request->session;
        if (!copy)
                return -ENOMEM;

        try_done(request);
        request->url = TAKE_PTR(copy);
        request->offset = request->method == FETCH_METHOD_DOWNLOAD ? fetch_sink_written(&request->sink) : 0;
        request->written_before = fetch_sink_written(&request->sink);
        request->sink.position = request->offset;
        request->generation = registry_auth_generation(session->auth);
        bool is_registry = fetch_answer_is_of_registry(request->url, session->host);
        return http_exchange_new(
                session->client,
                &(HttpRequest){
                        .url = request->url,
                        .head = request->method == FETCH_METHOD_HEAD,
                        .accept = request->is_manifest ? MEDIA_TYPES_ACCEPTED : NULL,
                        .authorization = is_registry ? registry_auth_header(session->auth) : NULL,
                        .offset = request->offset,
                        .handler = &handler,
                        .userdata = request,
                },
                &request->exchange);
}

/* ---- what the daemon asks for ---- */

int fetch_request_resolve(FetchSession *session, const FetchMessage *message) {
        FetchRequest *request;
        int r = request_new(session, message->request, FETCH_METHOD_HEAD, message->name, &request);
        if (r < 0)
                return r;
        request->is_manifest = true;
        return start_over(request);
}

int fetch_request_get(FetchSession *session, const FetchMessage *message, int fd, int tee) {
        FetchSink sink = FETCH_SINK_INIT;
        FetchRequest *request;

        int r = fetch_sink_open(&sink, fd, tee, message->offset);
        if (r >= 0)
                r = request_new(session, message->request, FETCH_METHOD_DOWNLOAD, message->digest, &request);
        if (r < 0) {
                fetch_sink_close(&sink);
                return r;
        }
        request->sink = sink;
        request->told = message->offset;
        request->is_manifest = message->flags & FETCH_MANIFEST;
        request->size = message->size;
        return start_over(request);
}
