/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/registry-auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base64.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/byte-buffer.h"
#include "services/images/fetch-retry.h"
#include "services/images/http-challenge.h"
#include "services/images/http-header.h"
#include "services/images/http-url.h"

#define TOKEN_LENGTH_MAX 65536

struct RegistryAuth {
        HttpClient *client; /* weak */
        char *basic;        /* "Basic …" of the credentials, or NULL */
        char *repository;
        void (*ready)(int r, const Fault *fault, void *userdata);
        void *userdata;

        char *header; /* what requests carry */
        unsigned generation;

        /* The token that is being asked for. */
        char *url;
        HttpExchange *exchange;
        HttpResponse response;
        ByteBuffer body;
        FetchRetry retry;
        uint64_t deadline;
};

static int make_basic(const char *username, const char *password, char **ret) {
        _cleanup_free_ char *pair = NULL, *encoded = NULL;
        int length = asprintf(&pair, "%s:%s", username, password ? password : "");
        if (length < 0) {
                pair = NULL;
                return -ENOMEM;
        }
        int r = base64_encode(pair, (size_t) length, &encoded);
        if (r < 0)
                return r;
        return asprintf(ret, "Basic %s", encoded) < 0 ? -ENOMEM : 0;
}

int registry_auth_new(const RegistryAuthSpec *spec, RegistryAuth **ret) {
        _cleanup_(registry_auth_freep) RegistryAuth *auth = new0(RegistryAuth, 1);
        if (!auth)
                return -ENOMEM;
        auth->client = spec->client;
        auth->ready = spec->ready;
        auth->userdata = spec->userdata;
        auth->response = HTTP_RESPONSE_INIT;
        auth->body.limit = LIMIT_TOKEN_RESPONSE_SIZE;
        auth->deadline = UINT64_MAX;
        auth->repository = strdup(spec->repository);
        if (!auth->repository)
                return -ENOMEM;
        if (spec->username && !string_is_empty(spec->username)) {
                int r = make_basic(spec->username, spec->password, &auth->basic);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(auth);
        return 0;
}

RegistryAuth *registry_auth_free(RegistryAuth *auth) {
        if (!auth)
                return NULL;
        http_exchange_free(auth->exchange);
        http_response_done(&auth->response);
        byte_buffer_clear(&auth->body);
        free(auth->basic);
        free(auth->repository);
        free(auth->header);
        free(auth->url);
        free(auth);
        return NULL;
}

const char *registry_auth_header(const RegistryAuth *auth) {
        return auth->header;
}

unsigned registry_auth_generation(const RegistryAuth *auth) {
        return auth->generation;
}

uint64_t registry_auth_deadline(const RegistryAuth *auth) {
        return auth->deadline;
}

static void set_header(RegistryAuth *auth, char *header) {
        free(auth->header);
        auth->header = header;
        auth->generation++;
}

/* ---- the token service ---- */

static int parse_token(const char *data, size_t size, char **ret, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        const char *token = NULL;

        int r = json_parse(data ? data : "", size, "token", &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document, "token");
        r = json_get_string(&root, "token", JSON_OPTIONAL, &token, fault);
        if (r == 0 || (r > 0 && string_is_empty(token)))
                r = json_get_string(&root, "access_token", JSON_REQUIRED, &token, fault);
        if (r < 0)
                return r;
        /* It becomes part of a header. */
        size_t length = strlen(token);
        if (length == 0 || length > TOKEN_LENGTH_MAX)
                return json_fault_member(&root, "token", fault, -EBADMSG, "is empty or too long");
        for (const char *p = token; *p; p++)
                if (*p <= ' ' || *p > '~')
                        return json_fault_member(&root, "token", fault, -EBADMSG,
                                                 "has a character that no token has");
        if (asprintf(ret, "Bearer %s", token) < 0)
                return -ENOMEM;
        return 0;
}

static void finish(RegistryAuth *auth, int r, const Fault *fault) {
        auth->url = mfree(auth->url);
        auth->deadline = UINT64_MAX;
        auth->ready(r, fault, auth->userdata);
}

static int token_on_response(HttpResponse *response, void *userdata) {
        RegistryAuth *auth = userdata;
        auth->response = *response;
        *response = HTTP_RESPONSE_INIT;
        return 0;
}

static HttpTaken token_on_body(const void *data, size_t size, void *userdata) {
        RegistryAuth *auth = userdata;
        return byte_buffer_append(&auth->body, data, size) < 0 ? HTTP_REFUSED : HTTP_TAKEN;
}

static bool token_try_again(RegistryAuth *auth, int r) {
        struct timespec now;
        FetchOutcome outcome = { .error = r, .status = auth->response.status };
        uint64_t delay = 0;

        if (auth->response.retry_after)
                outcome.has_retry_after =
                        http_retry_after_parse(auth->response.retry_after, time(NULL), FETCH_RETRY_AFTER_MAX,
                                               &outcome.retry_after) >= 0;
        if (fetch_retry_decide(&auth->retry, &outcome, &delay) != FETCH_VERDICT_RETRY)
                return false;
        clock_gettime(CLOCK_MONOTONIC, &now);
        auth->deadline = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000 + delay;
        return true;
}

static void token_on_end(int r, const Fault *reason, void *userdata) {
        RegistryAuth *auth = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *host = NULL, *header = NULL;
        unsigned status = auth->response.status;

        auth->exchange = NULL;
        if ((r < 0 || status != 200) && r != -ECANCELED && token_try_again(auth, r))
                return;
        if (http_url_get_host(auth->url, &host) < 0)
                host = NULL;
        if (r == -ECANCELED)
                r = fault_set(&fault, -EBADMSG, "the token service %s answers with more than %u bytes", host,
                              LIMIT_TOKEN_RESPONSE_SIZE);
        else if (r < 0)
                r = fault_set(&fault, -EHOSTUNREACH, "the token service %s can't be asked: %s", host,
                              fault_text(reason, r));
        else if (status != 200)
                r = fault_set(&fault, status < 500 && status != 429 ? -ENOKEY : -EHOSTUNREACH,
                              "the token service %s answered with HTTP status %u", host, status);
        else if ((r = parse_token(auth->body.data, auth->body.size, &header, &fault)) < 0)
                fault_prefix(&fault, r, "the token service %s", host);
        else
                set_header(auth, TAKE_PTR(header));
        finish(auth, r, &fault);
}

static const HttpHandler token_handler = { token_on_response, token_on_body, token_on_end };

static int token_ask(RegistryAuth *auth) {
        http_response_done(&auth->response);
        byte_buffer_clear(&auth->body);
        auth->deadline = UINT64_MAX;
        return http_exchange_new(auth->client,
                                 &(HttpRequest){
                                         .url = auth->url,
                                         .accept = "application/json",
                                         .authorization = auth->basic,
                                         .handler = &token_handler,
                                         .userdata = auth,
                                 },
                                 &auth->exchange);
}

void registry_auth_run(RegistryAuth *auth, uint64_t now) {
        if (auth->deadline > now)
                return;
        int r = token_ask(auth);
        if (r < 0)
                finish(auth, r, NULL);
}

/* ---- challenges ---- */

static int make_token_url(RegistryAuth *auth, const char *url, const HttpChallenge *challenge, char **ret) {
        _cleanup_free_ char *realm = NULL, *with_service = NULL, *scope = NULL;

        int r = http_url_resolve(url, challenge->realm, &realm);
        if (r < 0)
                return r;
        if (challenge->service) {
                r = http_url_add_query(realm, "service", challenge->service, &with_service);
                if (r < 0)
                        return r;
        }
        if (challenge->scope)
                scope = strdup(challenge->scope);
        else if (asprintf(&scope, "repository:%s:pull", auth->repository) < 0)
                scope = NULL;
        if (!scope)
                return -ENOMEM;
        return http_url_add_query(with_service ? with_service : realm, "scope", scope, ret);
}

static int begin_token(RegistryAuth *auth, const char *url, const HttpChallenge *challenge, Fault *fault) {
        _cleanup_free_ char *token_url = NULL;

        int r = make_token_url(auth, url, challenge, &token_url);
        if (r < 0)
                return fault_set(fault, r, "the address of the token service '%s' is none",
                                 challenge->realm);
        if (http_url_is_https(url) && !http_url_is_https(token_url))
                return fault_set(fault, -ENOKEY,
                                 "the token service '%s' is without TLS, unlike the registry",
                                 challenge->realm);
        auth->url = TAKE_PTR(token_url);
        auth->retry = (FetchRetry){ 0 };
        r = token_ask(auth);
        if (r < 0)
                auth->url = mfree(auth->url);
        return r;
}

int registry_auth_challenge(RegistryAuth *auth, const char *url, char *const *challenges,
                            unsigned generation, Fault *fault) {
        HttpChallenge challenge = { 0 };

        if (auth->url)
                return 0;
        if (generation != auth->generation)
                return 1;
        int r = http_challenge_parse(challenges, &challenge, fault);
        if (r < 0)
                return fault_set(fault, -ENOKEY, "authentication is asked for");
        if (challenge.scheme == HTTP_SCHEME_BEARER)
                r = begin_token(auth, url, &challenge, fault);
        else if (!auth->basic)
                r = fault_set(fault, -ENOKEY, "a user name and a password are asked for");
        else if (string_equal(auth->header, auth->basic))
                r = fault_set(fault, -ENOKEY, "user name or password are wrong");
        else {
                char *copy = strdup(auth->basic);
                if (copy)
                        set_header(auth, copy);
                r = copy ? 1 : -ENOMEM;
        }
        http_challenge_done(&challenge);
        return r;
}
