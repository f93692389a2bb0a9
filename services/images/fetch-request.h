/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One thing that the daemon wants of the registry, through all tries, redirects and challenges that it
 * takes. */

#include "services/images/fetch-session.h"
#include "services/images/fetch-sink.h"

/* Registers with the session; it ends by itself when the daemon has been told the outcome. */
int fetch_request_resolve(FetchSession *session, const FetchMessage *message);
/* Takes the descriptors over, also on failure; tee may be -EBADF. */
int fetch_request_get(FetchSession *session, const FetchMessage *message, int fd, int tee);
FetchRequest *fetch_request_free(FetchRequest *request);
FetchRequest *fetch_request_next(const FetchRequest *request);

/* UINT64_MAX when it does not wait for a time. */
uint64_t fetch_request_deadline(const FetchRequest *request);
/* The streams that it writes into, as poll() is to have them. */
size_t fetch_request_poll(const FetchRequest *request, struct pollfd polls[FETCH_SINK_STREAMS]);

/* What poll() has found, in its streams and others'; the time has come; the token is there (r as in
 * RegistryAuthSpec.ready). May end the request. */
void fetch_request_on_streams(FetchRequest *request, const struct pollfd *polls, size_t count);
void fetch_request_on_time(FetchRequest *request, uint64_t now);
void fetch_request_on_token(FetchRequest *request, int r, const Fault *fault);
