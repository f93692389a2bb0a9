/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/http-client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/limits.h"
#include "lib/strv.h"

#define CONNECT_TIMEOUT 15L /* seconds */
#define SILENCE_TIMEOUT 30L /* seconds without a byte */
#define BUFFER_SIZE (512L * 1024L)
#define HEADER_LENGTH_MAX 8192
#define CHALLENGES_MAX 8

struct HttpClient {
        CURLM *multi;
        char *certificates;
        size_t certificates_size;
        char *user_agent;
};

struct HttpExchange {
        HttpClient *client; /* weak */
        CURL *easy;
        struct curl_slist *headers;
        const HttpHandler *handler;
        void *userdata;
        HttpResponse response;
        bool announced;
        int refused; /* what on_response() said */
        char message[CURL_ERROR_SIZE];
};

int http_client_new(const HttpClientSpec *spec, HttpClient **ret) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return -ENOMEM;
        _cleanup_(http_client_freep) HttpClient *client = new0(HttpClient, 1);
        if (!client)
                return -ENOMEM;
        client->multi = curl_multi_init();
        client->user_agent = strdup(spec->user_agent);
        if (!client->multi || !client->user_agent)
                return -ENOMEM;
        if (spec->certificates) {
                client->certificates = malloc(spec->certificates_size + 1);
                if (!client->certificates)
                        return -ENOMEM;
                memcpy(client->certificates, spec->certificates, spec->certificates_size);
                client->certificates_size = spec->certificates_size;
        }
        curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long) LIMIT_CONCURRENT_DOWNLOADS);
        curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
        *ret = TAKE_PTR(client);
        return 0;
}

HttpClient *http_client_free(HttpClient *client) {
        if (!client)
                return NULL;
        if (client->multi)
                curl_multi_cleanup(client->multi);
        free(client->certificates);
        free(client->user_agent);
        free(client);
        return NULL;
}

void http_response_done(HttpResponse *response) {
        free(response->content_type);
        free(response->content_range);
        free(response->content_digest);
        free(response->location);
        free(response->retry_after);
        strv_free(response->challenges);
        *response = HTTP_RESPONSE_INIT;
}

/* ---- what libcurl calls ---- */

static int response_keep(HttpResponse *response, const char *name, size_t name_length, char *value) {
        struct {
                const char *name;
                char **field;
        } known[] = {
                { "content-type", &response->content_type },
                { "content-range", &response->content_range },
                { "docker-content-digest", &response->content_digest },
                { "location", &response->location },
                { "retry-after", &response->retry_after },
        };
        for (size_t i = 0; i < ELEMENTS_OF(known); i++)
                if (strlen(known[i].name) == name_length &&
                    strncasecmp(known[i].name, name, name_length) == 0) {
                        free(*known[i].field);
                        *known[i].field = value;
                        return 0;
                }
        if (name_length == 16 && strncasecmp(name, "www-authenticate", 16) == 0 &&
            strv_length(response->challenges) < CHALLENGES_MAX)
                return strv_consume(&response->challenges, value);
        uint64_t length;
        if (name_length == 14 && strncasecmp(name, "content-length", 14) == 0 &&
            string_to_uint64(value, INT64_MAX, &length) >= 0)
                response->content_length = (int64_t) length;
        free(value);
        return 0;
}

static int exchange_announce(HttpExchange *exchange) {
        long status = 0;

        curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status < 200)
                return 0;
        exchange->announced = true;
        exchange->response.status = (unsigned) status;
        exchange->refused = exchange->handler->on_response(&exchange->response, exchange->userdata);
        return exchange->refused;
}

static size_t on_header(char *line, size_t one, size_t length, void *userdata) {
        HttpExchange *exchange = userdata;
        size_t size = length;

        /* What comes behind the body (trailers) is of no interest. */
        if (exchange->announced)
                return length;
        while (size > 0 && strchr("\r\n", line[size - 1]))
                size--;
        if (size == 0)
                return exchange_announce(exchange) < 0 ? 0 : length;
        if (size >= 5 && strncmp(line, "HTTP/", 5) == 0) {
                http_response_done(&exchange->response);
                return length;
        }
        const char *colon = memchr(line, ':', size);
        if (!colon || size > HEADER_LENGTH_MAX || memchr(line, '\0', size))
                return length;
        const char *value = colon + 1, *end = line + size;
        while (value < end && (*value == ' ' || *value == '\t'))
                value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
        char *copy = strndup(value, (size_t) (end - value));
        if (!copy || response_keep(&exchange->response, line, (size_t) (colon - line), copy) < 0)
                return 0;
        return length;
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata) {
        HttpExchange *exchange = userdata;
        switch (exchange->handler->on_body(data, size, exchange->userdata)) {
        case HTTP_TAKEN:
                return size;
        case HTTP_PAUSED:
                return CURL_WRITEFUNC_PAUSE;
        default:
                exchange->refused = -ECANCELED;
                return CURL_WRITEFUNC_ERROR;
        }
}

/* ---- exchanges ---- */

static int exchange_add_header(HttpExchange *exchange, const char *name, const char *value) {
        _cleanup_free_ char *line = NULL;
        if (!value)
                return 0;
        if (asprintf(&line, "%s: %s", name, value) < 0) {
                line = NULL;
                return -ENOMEM;
        }
        struct curl_slist *longer = curl_slist_append(exchange->headers, line);
        if (!longer)
                return -ENOMEM;
        exchange->headers = longer;
        return 0;
}

static void exchange_set_fixed_options(HttpExchange *exchange) {
        CURL *easy = exchange->easy;
        HttpClient *client = exchange->client;

        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SILENCE_TIMEOUT);
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->message);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
        if (client->certificates) {
                struct curl_blob blob = { client->certificates, client->certificates_size,
                                          CURL_BLOB_NOCOPY };
                curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
                curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
        }
}

int http_exchange_new(HttpClient *client, const HttpRequest *request, HttpExchange **ret) {
        _cleanup_(http_exchange_freep) HttpExchange *exchange = new0(HttpExchange, 1);
        if (!exchange)
                return -ENOMEM;
        exchange->client = client;
        exchange->handler = request->handler;
        exchange->userdata = request->userdata;
        exchange->response = HTTP_RESPONSE_INIT;
        exchange->easy = curl_easy_init();
        if (!exchange->easy)
                return -ENOMEM;
        exchange_set_fixed_options(exchange);
        curl_easy_setopt(exchange->easy, CURLOPT_URL, request->url);
        curl_easy_setopt(exchange->easy, CURLOPT_NOBODY, request->head ? 1L : 0L);

        char range[64];
        snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long) request->offset);
        int r;
        if ((r = exchange_add_header(exchange, "Accept", request->accept)) < 0 ||
            (r = exchange_add_header(exchange, "Authorization", request->authorization)) < 0 ||
            (r = exchange_add_header(exchange, "Range", request->offset > 0 ? range : NULL)) < 0)
                return r;
        curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers);
        if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK)
                return -ENOMEM;
        *ret = TAKE_PTR(exchange);
        return 0;
}

HttpExchange *http_exchange_free(HttpExchange *exchange) {
        if (!exchange)
                return NULL;
        if (exchange->easy) {
                curl_multi_remove_handle(exchange->client->multi, exchange->easy);
                curl_easy_cleanup(exchange->easy);
        }
        curl_slist_free_all(exchange->headers);
        http_response_done(&exchange->response);
        free(exchange);
        return NULL;
}

void http_exchange_resume(HttpExchange *exchange) {
        curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
}

static int error_from_curl(CURLcode code) {
        switch (code) {
        case CURLE_OK:
                return 0;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_COULDNT_CONNECT:
                return -ECONNREFUSED;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_SSL_CONNECT_ERROR:
                return -EPROTO;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
                return -EACCES;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
        case CURLE_WEIRD_SERVER_REPLY:
                return -EBADMSG;
        case CURLE_GOT_NOTHING:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
        case CURLE_PARTIAL_FILE:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
                return -ECONNRESET;
        default:
                return -EHOSTUNREACH;
        }
}

/* libcurl has no word of its own for a line that is longer than it takes. */
static bool has_endless_headers(const HttpExchange *exchange, CURLcode code) {
        curl_off_t began = 0;
        return code == CURLE_OUT_OF_MEMORY && !exchange->announced &&
               curl_easy_getinfo(exchange->easy, CURLINFO_STARTTRANSFER_TIME_T, &began) == CURLE_OK &&
               began > 0;
}

static void exchange_finish(HttpExchange *exchange, CURLcode code) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const HttpHandler *handler = exchange->handler;
        void *userdata = exchange->userdata;
        int r = exchange->refused < 0 ? exchange->refused : error_from_curl(code);

        if (exchange->refused >= 0 && has_endless_headers(exchange, code))
                r = fault_set(&fault, -EBADMSG, "the headers of the answer are too long");
        else if (r < 0 && exchange->refused >= 0)
                fault_set(&fault, r, "%s",
                          exchange->message[0] ? exchange->message : curl_easy_strerror(code));
        http_exchange_free(exchange);
        handler->on_end(r, &fault, userdata);
}

int http_client_perform(HttpClient *client) {
        bool ended;
        do {
                CURLMsg *message;
                int running, left;

                if (curl_multi_perform(client->multi, &running) != CURLM_OK)
                        return -EIO;
                ended = false;
                while ((message = curl_multi_info_read(client->multi, &left))) {
                        HttpExchange *exchange = NULL;
                        if (message->msg != CURLMSG_DONE)
                                continue;
                        CURLcode code = message->data.result;
                        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
                        exchange_finish(exchange, code);
                        ended = true;
                }
                /* A handler may have begun the next one. */
        } while (ended);
        return 0;
}

int http_client_wait(HttpClient *client, struct pollfd *others, size_t count, int timeout) {
        struct curl_waitfd waits[HTTP_OTHERS_MAX];

        assert(count <= HTTP_OTHERS_MAX);
        for (size_t i = 0; i < count; i++)
                waits[i] = (struct curl_waitfd){
                        .fd = others[i].fd,
                        .events = (short) ((others[i].events & POLLIN ? CURL_WAIT_POLLIN : 0) |
                                           (others[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0)),
                };
        if (curl_multi_poll(client->multi, waits, (unsigned) count, timeout, NULL) != CURLM_OK)
                return -EIO;
        /* libcurl does not tell of POLLERR and POLLHUP. */
        if (poll(others, count, 0) < 0)
                return errno == EINTR ? 0 : -errno;
        return 0;
}
