/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/strv.h"
#include "services/images/fetch-answer.h"
#include "services/images/http-challenge.h"
#include "services/images/http-header.h"
#include "services/images/http-url.h"
#include "tests/unit/check-fault.h"

static int parse(const char *first, const char *second, HttpChallenge *ret, Fault *fault) {
        char *values[] = { (char *) first, (char *) second, NULL };
        return http_challenge_parse(values, ret, fault);
}

typedef struct Expected {
        HttpScheme scheme;
        const char *realm;
        const char *service;
        const char *scope;
        const char *error;
} Expected;

static void check_challenge(const char *first, const char *second, const Expected *expected) {
        _cleanup_(http_challenge_done) HttpChallenge got = { 0 };
        CHECK_NO_FAULT(parse(first, second, &got, &fault));
        CHECK_INT(got.scheme, expected->scheme);
        CHECK(string_equal(got.realm, expected->realm));
        CHECK(string_equal(got.service, expected->service));
        CHECK(string_equal(got.scope, expected->scope));
        CHECK(string_equal(got.error, expected->error));
}

static void reads_the_challenges_that_registries_send(void) {
        check_challenge("Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
                        "scope=\"repository:library/debian:pull\"",
                        NULL,
                        &(Expected){ HTTP_SCHEME_BEARER, "https://auth.docker.io/token",
                                     "registry.docker.io", "repository:library/debian:pull" });
        check_challenge("bearer realm=\"/token\" , error=\"invalid_token\"", NULL,
                        &(Expected){ HTTP_SCHEME_BEARER, "/token", .error = "invalid_token" });
        check_challenge("Bearer realm=https://x.example/token", NULL,
                        &(Expected){ HTTP_SCHEME_BEARER, "https://x.example/token" });
        check_challenge("Basic realm=\"a \\\"quoted\\\" one\"", NULL,
                        &(Expected){ HTTP_SCHEME_BASIC, "a \"quoted\" one" });
        check_challenge("Basic", NULL, &(Expected){ HTTP_SCHEME_BASIC });
}

static void prefers_a_token_whatever_the_order(void) {
        Expected expected = { HTTP_SCHEME_BEARER, "https://t" };
        check_challenge("Basic realm=\"r\", Bearer realm=\"https://t\"", NULL, &expected);
        check_challenge("Bearer realm=\"https://t\", Basic realm=\"r\"", NULL, &expected);
        check_challenge("Basic realm=\"r\"", "Bearer realm=\"https://t\"", &expected);
        check_challenge("Bearer realm=\"https://t\"", "Basic realm=\"r\"", &expected);
}

static void passes_over_what_it_does_not_know(void) {
        check_challenge("Negotiate abc==, Basic realm=\"r\"", NULL, &(Expected){ HTTP_SCHEME_BASIC, "r" });
        check_challenge("Digest realm=\"d\", nonce=\"n\", Basic realm=\"r\", charset=\"UTF-8\"", NULL,
                        &(Expected){ HTTP_SCHEME_BASIC, "r" });
}

static void refuses_broken_challenges(void) {
        static const char *const broken[] = {
                "Bearer realm=\"https://x",
                "Bearer realm=\"a\" realm=\"b\"",
                "Bearer realm=\"a\",realm=\"b\"",
                "Bearer realm=\"a\\",
                "=",
                "Bearer service=\"s\"",
                "Bearer realm=\"line\nbreak\"",
                "\"quoted\"",
                "Bearer ;",
        };
        for (size_t i = 0; i < ELEMENTS_OF(broken); i++) {
                HttpChallenge got = { 0 };
                CHECK_FAULT(parse(broken[i], NULL, &got, &fault), -EBADMSG, "WWW-Authenticate");
        }
        HttpChallenge got = { 0 };
        CHECK_FAULT(parse("Negotiate", NULL, &got, &fault), -EOPNOTSUPP, "no way of authentication");
        CHECK_FAULT(parse(NULL, NULL, &got, &fault), -EOPNOTSUPP, "no way of authentication");
}

static void reads_content_ranges(void) {
        HttpContentRange range;
        CHECK_OK(http_content_range_parse("bytes 10-19/20", &range));
        CHECK(range.first == 10 && range.last == 19 && range.has_total && range.total == 20);
        CHECK_OK(http_content_range_parse("Bytes 0-0/*", &range));
        CHECK(range.first == 0 && range.last == 0 && !range.has_total);
}

static void refuses_ranges_that_are_none(void) {
        static const char *const broken[] = {
                "",
                "bytes",
                "bytes 1-0/2",
                "bytes 0-2/2",
                "bytes 0-1/1 ",
                "bytes -1/2",
                "bytes 0-/2",
                "lines 0-1/2",
                "bytes 0-1",
                "bytes */2",
                "bytes 0-1/two",
                "bytes +0-1/2",
                "bytes 0-99999999999999999999/*",
                "bytes 0-18446744073709551615/*",
        };
        for (size_t i = 0; i < ELEMENTS_OF(broken); i++) {
                HttpContentRange range;
                CHECK_ERROR(http_content_range_parse(broken[i], &range), -EBADMSG);
        }
}

static void waits_as_long_as_it_is_told_but_not_for_ever(void) {
        uint64_t delay;
        time_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
        CHECK_OK(http_retry_after_parse("3", now, 60000, &delay));
        CHECK_INT(delay, 3000);
        CHECK_OK(http_retry_after_parse("3600", now, 60000, &delay));
        CHECK_INT(delay, 60000);
        CHECK_OK(http_retry_after_parse("9223372036854775807", now, 60000, &delay));
        CHECK_INT(delay, 60000);
        CHECK_OK(http_retry_after_parse("Sun, 06 Nov 1994 08:49:40 GMT", now, 60000, &delay));
        CHECK_INT(delay, 3000);
        CHECK_OK(http_retry_after_parse("Sun, 06 Nov 1994 08:00:00 GMT", now, 60000, &delay));
        CHECK_INT(delay, 0);
        CHECK_ERROR(http_retry_after_parse("soon", now, 60000, &delay), -EBADMSG);
        CHECK_ERROR(http_retry_after_parse("3 s", now, 60000, &delay), -EBADMSG);
        CHECK_ERROR(http_retry_after_parse("-3", now, 60000, &delay), -EBADMSG);
}

static void check_resolved(const char *base, const char *location, const char *expected) {
        _cleanup_free_ char *url = NULL;
        CHECK_OK(http_url_resolve(base, location, &url));
        CHECK_STRING(url, expected);
}

static void follows_locations(void) {
        check_resolved("https://r.example/v2/a/blobs/x", "/b?c=d", "https://r.example/b?c=d");
        check_resolved("https://r.example/v2/a/blobs/x", "https://cdn.example/y", "https://cdn.example/y");
        check_resolved("https://r.example:5000/v2/a", "//cdn.example/y", "https://cdn.example/y");
        check_resolved("http://r.example/v2/a", "b#fragment", "http://r.example/v2/b");
}

static void leads_nowhere_but_to_the_web(void) {
        static const char *const elsewhere[] = {
                "file:///etc/passwd", "gopher://x/",     "ftp://x/y", "unix:/run/x",
                "https://user@x/",    "https://u:p@x/y", "http://",   "https://a b/",
        };
        for (size_t i = 0; i < ELEMENTS_OF(elsewhere); i++) {
                _cleanup_free_ char *url = NULL;
                CHECK_ERROR(http_url_resolve("https://r.example/", elsewhere[i], &url), -EBADMSG);
        }
}

static void knows_who_may_see_credentials(void) {
        CHECK(http_url_same_origin("https://r.example/a", "https://R.example:443/b"));
        CHECK(!http_url_same_origin("https://r.example/a", "http://r.example/a"));
        CHECK(!http_url_same_origin("https://r.example/a", "https://r.example:444/a"));
        CHECK(!http_url_same_origin("https://r.example/a", "https://r.example.evil/a"));
        CHECK(!http_url_same_origin("https://r.example/a", "https://r.example@evil.example/a"));
        CHECK(fetch_answer_is_of_registry("http://localhost:5000/v2/", "localhost:5000"));
        CHECK(!fetch_answer_is_of_registry("http://localhost:5004/v2/", "localhost:5000"));
        CHECK(http_url_is_loopback("http://127.9.9.9:5000/") && http_url_is_loopback("https://[::1]/") &&
              http_url_is_loopback("http://LOCALHOST/"));
        CHECK(!http_url_is_loopback("http://127.0.0.1.example/") &&
              !http_url_is_loopback("http://10.0.0.1/"));
}

static void adds_parameters(void) {
        _cleanup_free_ char *one = NULL, *two = NULL;
        CHECK_OK(http_url_add_query("https://t.example/token", "service", "a&b c", &one));
        CHECK_STRING(one, "https://t.example/token?service=a%26b+c");
        CHECK_OK(http_url_add_query("https://t.example/token?x=1", "scope", "r:a/b:pull", &two));
        CHECK_CONTAINS(two, "?x=1&scope=r%3aa%2fb%3apull");
}

static void holds_answers_against_descriptors(void) {
        uint64_t position = 99;
        CHECK_NO_FAULT(fetch_answer_check(&(HttpResponse){ .status = 200, .content_length = 10 }, 0, 10, 10,
                                          &position, &fault));
        CHECK_INT(position, 0);
        /* A range that was ignored. */
        CHECK_NO_FAULT(fetch_answer_check(&(HttpResponse){ .status = 200, .content_length = -1 }, 5, 10, 10,
                                          &position, &fault));
        CHECK_INT(position, 0);
        CHECK_NO_FAULT(fetch_answer_check(
                &(HttpResponse){ .status = 206, .content_range = (char *) "bytes 5-9/10" }, 5, 10, 10,
                &position, &fault));
        CHECK_INT(position, 5);
        CHECK_FAULT(fetch_answer_check(&(HttpResponse){ .status = 200, .content_length = 5 }, 0, 10, 10,
                                       &position, &fault),
                    -EBADMSG, "has 5 bytes by the registry's account, 10 by its descriptor");
        CHECK_FAULT(fetch_answer_check(&(HttpResponse){ .status = 200, .content_length = 50 }, 0, 0, 10,
                                       &position, &fault),
                    -EBADMSG, "has 50 bytes, at most 10 are taken");
        CHECK_FAULT(fetch_answer_check(&(HttpResponse){ .status = 206 }, 5, 10, 10, &position, &fault),
                    -EBADMSG, "without saying which");
        CHECK_FAULT(fetch_answer_check(
                            &(HttpResponse){ .status = 206, .content_range = (char *) "bytes 4-9/10" }, 5,
                            10, 10, &position, &fault),
                    -EBADMSG, "from 4 on are sent, those from 5");
        CHECK_FAULT(fetch_answer_check(
                            &(HttpResponse){ .status = 206, .content_range = (char *) "bytes 5-9/11" }, 5,
                            10, 10, &position, &fault),
                    -EBADMSG, "has 11 bytes");
        CHECK_FAULT(fetch_answer_check(
                            &(HttpResponse){ .status = 206, .content_range = (char *) "bytes 0-9/10" }, 0,
                            10, 10, &position, &fault),
                    -EBADMSG, "a part is sent where all was asked for");
}

static void check_explained(const char *body, const char *expected) {
        _cleanup_free_ char *text = fetch_answer_explain(body, strlen(body));
        CHECK(string_equal(text, expected));
}

static void tells_what_a_registry_says(void) {
        check_explained("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}", "DENIED: no");
        check_explained("{\"errors\":[{\"message\":\"only that\"}]}", "only that");
        check_explained("{\"errors\":[{\"message\":\"\\u001b[31m\"}]}", NULL);
        check_explained("{\"errors\":[]}", NULL);
        check_explained("[]", NULL);
        check_explained("<html>", NULL);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reads_the_challenges_that_registries_send),
                CHECK_CASE(prefers_a_token_whatever_the_order),
                CHECK_CASE(passes_over_what_it_does_not_know),
                CHECK_CASE(refuses_broken_challenges),
                CHECK_CASE(reads_content_ranges),
                CHECK_CASE(refuses_ranges_that_are_none),
                CHECK_CASE(waits_as_long_as_it_is_told_but_not_for_ever),
                CHECK_CASE(follows_locations),
                CHECK_CASE(leads_nowhere_but_to_the_web),
                CHECK_CASE(knows_who_may_see_credentials),
                CHECK_CASE(adds_parameters),
                CHECK_CASE(holds_answers_against_descriptors),
                CHECK_CASE(tells_what_a_registry_says),
                {},
        });
}
