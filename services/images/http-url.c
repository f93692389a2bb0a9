/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/http-url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/strv.h"

DEFINE_CLEANUP_VOID(CURLU *, curl_url_cleanup);

static int error_from_curl(CURLUcode code) {
        return code == CURLUE_OK ? 0 : code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EBADMSG;
}

static int url_open(const char *url, CURLU **ret) {
        _cleanup_(curl_url_cleanupp) CURLU *handle = curl_url();
        if (!handle)
                return -ENOMEM;
        int r = error_from_curl(curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(handle);
        return 0;
}

/* A fresh string in our own memory; empty if the part is absent. */
static int url_get(CURLU *handle, CURLUPart part, unsigned flags, char **ret) {
        char *value = NULL;
        CURLUcode code = curl_url_get(handle, part, &value, flags);
        char *copy = strdup(code == CURLUE_OK ? value : "");
        curl_free(value);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static bool scheme_is_http(const char *scheme) {
        return string_equal(scheme, "https") || string_equal(scheme, "http");
}

int http_url_resolve(const char *base, const char *location, char **ret) {
        _cleanup_(curl_url_cleanupp) CURLU *handle = NULL;
        _cleanup_free_ char *scheme = NULL, *user = NULL, *password = NULL;

        int r = url_open(base, &handle);
        if (r < 0)
                return r;
        r = error_from_curl(curl_url_set(handle, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME));
        if (r < 0)
                return r;
        if ((r = url_get(handle, CURLUPART_SCHEME, 0, &scheme)) < 0 ||
            (r = url_get(handle, CURLUPART_USER, 0, &user)) < 0 ||
            (r = url_get(handle, CURLUPART_PASSWORD, 0, &password)) < 0)
                return r;
        if (!scheme_is_http(scheme) || !string_is_empty(user) || !string_is_empty(password))
                return -EBADMSG;
        curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
        return url_get(handle, CURLUPART_URL, 0, ret);
}

int http_url_add_query(const char *url, const char *name, const char *value, char **ret) {
        _cleanup_(curl_url_cleanupp) CURLU *handle = NULL;
        _cleanup_free_ char *pair = NULL;

        int r = url_open(url, &handle);
        if (r < 0)
                return r;
        if (asprintf(&pair, "%s=%s", name, value) < 0) {
                pair = NULL;
                return -ENOMEM;
        }
        r = error_from_curl(
                curl_url_set(handle, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE));
        if (r < 0)
                return r;
        return url_get(handle, CURLUPART_URL, 0, ret);
}

static bool part_is_same(CURLU *a, CURLU *b, CURLUPart part) {
        _cleanup_free_ char *left = NULL, *right = NULL;
        return url_get(a, part, CURLU_DEFAULT_PORT, &left) >= 0 &&
               url_get(b, part, CURLU_DEFAULT_PORT, &right) >= 0 && strcasecmp(left, right) == 0;
}

bool http_url_same_origin(const char *a, const char *b) {
        _cleanup_(curl_url_cleanupp) CURLU *left = NULL, *right = NULL;
        return url_open(a, &left) >= 0 && url_open(b, &right) >= 0 &&
               part_is_same(left, right, CURLUPART_SCHEME) && part_is_same(left, right, CURLUPART_HOST) &&
               part_is_same(left, right, CURLUPART_PORT);
}

bool http_url_is_https(const char *url) {
        return strncasecmp(url, "https://", 8) == 0;
}

int http_url_get_host(const char *url, char **ret) {
        _cleanup_(curl_url_cleanupp) CURLU *handle = NULL;
        _cleanup_free_ char *host = NULL, *port = NULL;

        int r = url_open(url, &handle);
        if (r < 0)
                return r;
        if ((r = url_get(handle, CURLUPART_HOST, 0, &host)) < 0 ||
            (r = url_get(handle, CURLUPART_PORT, 0, &port)) < 0)
                return r;
        if (asprintf(ret, "%s%s%s", host, string_is_empty(port) ? "" : ":", port) < 0)
                return -ENOMEM;
        return 0;
}

bool http_url_is_loopback(const char *url) {
        _cleanup_(curl_url_cleanupp) CURLU *handle = NULL;
        _cleanup_free_ char *host = NULL;
        struct in_addr address;

        if (url_open(url, &handle) < 0 || url_get(handle, CURLUPART_HOST, 0, &host) < 0)
                return false;
        if (strcasecmp(host, "localhost") == 0 || string_equal(host, "[::1]"))
                return true;
        return inet_pton(AF_INET, host, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}
