/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* URLs as libcurl reads them, so that a check and the request that follows it never disagree. */

#include <stdbool.h>

#include "lib/macros.h"

/* The absolute URL that a Location (absolute or relative) means in an answer from base. -EBADMSG if it is
 * none of http or https, or carries a user's name. */
int http_url_resolve(const char *base, const char *location, char **ret);
/* Adds "&name=value" (or "?name=value"), escaped. */
int http_url_add_query(const char *url, const char *name, const char *value, char **ret);

/* Scheme, host and port are the same: what may see the same credentials. */
bool http_url_same_origin(const char *a, const char *b);
bool http_url_is_https(const char *url);
/* "registry.example:5000": for sentences; a fresh string, never with a path or a query. */
int http_url_get_host(const char *url, char **ret);
/* localhost, 127.0.0.0/8 or ::1 */
bool http_url_is_loopback(const char *url);
