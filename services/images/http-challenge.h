/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The WWW-Authenticate header (RFC 9110, section 11.6.1; RFC 6750, section 3) as registries send it. */

#include "lib/fault.h"
#include "lib/macros.h"

typedef enum HttpScheme {
        HTTP_SCHEME_BASIC,
        HTTP_SCHEME_BEARER,
        _HTTP_SCHEME_MAX,
        _HTTP_SCHEME_INVALID = -22,
} HttpScheme;

/* One challenge: where a token is to be had, and for what. Fields that it lacks are NULL. */
typedef struct HttpChallenge {
        HttpScheme scheme;
        char *realm;
        char *service;
        char *scope;
        char *error;
} HttpChallenge;

#define HTTP_CHALLENGE_LENGTH_MAX 8192

/* The best challenge that these header values offer: Bearer before Basic; schemes that crt does not know are
 * passed over. -EOPNOTSUPP if there is none that it knows, -EBADMSG with a sentence if the syntax is broken.
 */
int http_challenge_parse(char *const *values, HttpChallenge *ret, Fault *fault);
void http_challenge_done(HttpChallenge *challenge);
