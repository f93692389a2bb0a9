/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* HTTP requests side by side in one thread: the face of libcurl's multi interface. It follows no redirect,
 * decodes nothing and keeps no cookie; what an answer means is its users' business. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct HttpClient HttpClient;
typedef struct HttpExchange HttpExchange;

typedef struct HttpClientSpec {
        char *certificates; /* PEM to trust instead of the system's; or NULL */
        size_t certificates_size;
        const char *user_agent;
} HttpClientSpec;

int http_client_new(const HttpClientSpec *spec, HttpClient **ret);
HttpClient *http_client_free(HttpClient *client);
DEFINE_CLEANUP(HttpClient *, http_client_free);

/* Moves everything on as far as it goes, and calls the handlers below. */
int http_client_perform(HttpClient *client);

#define HTTP_OTHERS_MAX 160

/* Waits at most timeout milliseconds until the network or one of these descriptors is ready; their revents
 * are set. To be called directly after http_client_perform(), so that what a handler has changed there is
 * waited for. */
int http_client_wait(HttpClient *client, struct pollfd *others, size_t count, int timeout);

/* Headers that are looked at; NULL (or -1) where the answer lacks them. A handler may take it: copy, and
 * leave an initialized one. */
typedef struct HttpResponse {
        unsigned status;
        int64_t content_length;
        char *content_type;
        char *content_range;
        char *content_digest; /* Docker-Content-Digest */
        char *location;
        char *retry_after;
        char **challenges; /* WWW-Authenticate */
} HttpResponse;

#define HTTP_RESPONSE_INIT ((HttpResponse){ .content_length = -1 })
void http_response_done(HttpResponse *response);

typedef enum HttpTaken {
        HTTP_TAKEN,  /* all of it */
        HTTP_PAUSED, /* none of it: the same bytes come again after http_exchange_resume() */
        HTTP_REFUSED /* the exchange ends with -ECANCELED */
} HttpTaken;

typedef struct HttpHandler {
        /* The headers are complete. A negative result ends the exchange with it. */
        int (*on_response)(HttpResponse *response, void *userdata);
        HttpTaken (*on_body)(const void *data, size_t size, void *userdata);
        /* Once; the exchange is gone afterwards. r is 0 or a negative errno: -EPROTO where TLS failed to
         * come about, -EACCES where a certificate is not trusted, -EHOSTUNREACH, -ECONNREFUSED, -ECONNRESET,
         * -ETIMEDOUT; fault has a sentence. */
        void (*on_end)(int r, const Fault *fault, void *userdata);
} HttpHandler;

typedef struct HttpRequest {
        const char *url;
        bool head;
        const char *accept;        /* or NULL */
        const char *authorization; /* the value of that header, or NULL */
        uint64_t offset;           /* asks for the bytes from there on if not 0 */
        const HttpHandler *handler;
        void *userdata;
} HttpRequest;

int http_exchange_new(HttpClient *client, const HttpRequest *request, HttpExchange **ret);
/* Ends it without a call of on_end(). Not from within a handler. */
HttpExchange *http_exchange_free(HttpExchange *exchange);
DEFINE_CLEANUP(HttpExchange *, http_exchange_free);
void http_exchange_resume(HttpExchange *exchange);
