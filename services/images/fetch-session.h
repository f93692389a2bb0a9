/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A fetch worker's one conversation with its daemon about one repository: what was opened, and the requests
 * that run side by side. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "services/images/fetch-protocol.h"
#include "services/images/http-client.h"
#include "services/images/registry-auth.h"

typedef struct FetchRequest FetchRequest;

typedef struct FetchSession {
        int socket;
        HttpClient *client;
        RegistryAuth *auth;
        char *host;
        char *repository;
        bool plain_http;    /* nothing else is spoken, or TLS was tried in vain on a loopback address */
        bool may_leave_tls; /* a loopback address that has not shown that it speaks TLS */
        FetchRequest *requests;
        int lost; /* negative: the daemon can't be told anything any more */
} FetchSession;

void fetch_session_init(FetchSession *session, int socket);

/* Until the daemon closes the connection (0), or says what is not understood (negative). */
int fetch_session_run(FetchSession *session);

/* For requests. */
void fetch_session_send(FetchSession *session, const FetchMessage *message);
uint64_t fetch_session_now(void);
