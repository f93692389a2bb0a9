/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/http-challenge.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lib/strv.h"

/* One header value may hold several challenges, and a comma separates both challenges and their parameters:
 * a token that is followed by "=" is a parameter's name, any other begins a challenge. */

#define TOKEN_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
#define BLANKS " \t"
#define PARAMETERS_MAX 32

void http_challenge_done(HttpChallenge *challenge) {
        free(challenge->realm);
        free(challenge->service);
        free(challenge->scope);
        free(challenge->error);
        *challenge = (HttpChallenge){ .scheme = _HTTP_SCHEME_INVALID };
}

static HttpScheme scheme_from_token(const char *token, size_t length) {
        if (length == 5 && strncasecmp(token, "basic", 5) == 0)
                return HTTP_SCHEME_BASIC;
        if (length == 6 && strncasecmp(token, "bearer", 6) == 0)
                return HTTP_SCHEME_BEARER;
        return _HTTP_SCHEME_INVALID;
}

static char **challenge_field(HttpChallenge *challenge, const char *name, size_t length) {
        struct {
                const char *name;
                char **field;
        } known[] = {
                { "realm", &challenge->realm },
                { "service", &challenge->service },
                { "scope", &challenge->scope },
                { "error", &challenge->error },
        };
        for (size_t i = 0; i < ELEMENTS_OF(known); i++)
                if (strlen(known[i].name) == length && strncasecmp(known[i].name, name, length) == 0)
                        return known[i].field;
        return NULL;
}

/* A token or a quoted string; *position moves behind it. */
static int parse_value(const char **position, char **ret) {
        const char *p = *position;
        if (*p != '"') {
                size_t length = strspn(p, TOKEN_CHARACTERS "/:=");
                if (length == 0)
                        return -EBADMSG;
                *ret = strndup(p, length);
                *position = p + length;
                return *ret ? 0 : -ENOMEM;
        }
        _cleanup_free_ char *value = new0(char, strlen(p));
        if (!value)
                return -ENOMEM;
        char *to = value;
        for (p++; *p != '"'; p++) {
                if (*p == '\\')
                        p++;
                if (*p == '\0')
                        return -EBADMSG;
                *to++ = *p;
        }
        *to = '\0';
        *position = p + 1;
        *ret = TAKE_PTR(value);
        return 0;
}

static int parse_parameter(const char **position, size_t name_length, HttpChallenge *challenge) {
        _cleanup_free_ char *value = NULL;
        const char *name = *position, *p = name + name_length;

        p += strspn(p, BLANKS);
        assert(*p == '=');
        p++;
        p += strspn(p, BLANKS);
        int r = parse_value(&p, &value);
        if (r < 0)
                return r;
        *position = p;
        char **field = challenge_field(challenge, name, name_length);
        if (!field)
                return 0;
        if (*field || !string_is_printable(value))
                return -EBADMSG;
        *field = TAKE_PTR(value);
        return 0;
}

/* True if the token at p is the name of a parameter: "name =", but not the padding "=" of an opaque token.
 */
static bool is_parameter(const char *p, size_t length) {
        p += length;
        p += strspn(p, BLANKS);
        if (*p != '=')
                return false;
        p++;
        p += strspn(p, BLANKS);
        return *p != '\0' && *p != ',' && *p != '=';
}

static void keep_better(HttpChallenge *best, HttpChallenge *challenge) {
        if (challenge->scheme > best->scheme) {
                HttpChallenge old = *best;
                *best = *challenge;
                *challenge = old;
        }
        http_challenge_done(challenge);
}

/* What follows a scheme, up to the next scheme. */
static int parse_parameters(const char **position, HttpChallenge *challenge) {
        const char *p = *position;
        for (unsigned n = 0;; n++) {
                p += strspn(p, BLANKS ",");
                size_t length = strspn(p, TOKEN_CHARACTERS);
                if (*p == '\0' || (length > 0 && !is_parameter(p, length)))
                        break;
                if (length == 0 || n == PARAMETERS_MAX)
                        return -EBADMSG;
                int r = parse_parameter(&p, length, challenge);
                if (r < 0)
                        return r;
                p += strspn(p, BLANKS);
                if (*p != '\0' && *p != ',')
                        return -EBADMSG;
        }
        *position = p;
        return 0;
}

static int parse_header(const char *value, HttpChallenge *best) {
        const char *p = value;
        for (;;) {
                HttpChallenge challenge = { .scheme = _HTTP_SCHEME_INVALID };

                p += strspn(p, BLANKS ",");
                if (*p == '\0')
                        return 0;
                size_t length = strspn(p, TOKEN_CHARACTERS);
                if (length == 0)
                        return -EBADMSG;
                challenge.scheme = scheme_from_token(p, length);
                p += length;
                if (*p != '\0' && *p != ',' && !strchr(BLANKS, *p))
                        return -EBADMSG;
                /* An opaque token of a scheme such as Negotiate. */
                const char *opaque = p + strspn(p, BLANKS);
                length = strspn(opaque, TOKEN_CHARACTERS "/");
                if (length > 0 && strchr("=,", opaque[length]) && !is_parameter(opaque, length))
                        p = opaque + length + strspn(opaque + length, "=");
                int r = parse_parameters(&p, &challenge);
                keep_better(best, &challenge);
                if (r < 0)
                        return r;
        }
}

int http_challenge_parse(char *const *values, HttpChallenge *ret, Fault *fault) {
        HttpChallenge best = { .scheme = _HTTP_SCHEME_INVALID };

        for (size_t i = 0; values && values[i]; i++) {
                int r = strlen(values[i]) > HTTP_CHALLENGE_LENGTH_MAX ? -EBADMSG
                                                                      : parse_header(values[i], &best);
                if (r == -EBADMSG)
                        fault_set(fault, r, "malformed WWW-Authenticate header");
                if (r < 0) {
                        http_challenge_done(&best);
                        return r;
                }
        }
        if (best.scheme == HTTP_SCHEME_BEARER && !best.realm) {
                http_challenge_done(&best);
                return fault_set(fault, -EBADMSG, "WWW-Authenticate: Bearer without a realm");
        }
        if (best.scheme < 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "no way of authentication that crt knows (Bearer, Basic) is offered");
        *ret = best;
        return 0;
}
