/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-session.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/strv.h"
#include "services/images/fetch-request.h"

#define CERTIFICATES_SIZE_MAX (4U * 1024U * 1024U)
#define REQUESTS_MAX 64

void fetch_session_init(FetchSession *session, int socket) {
        *session = (FetchSession){ .socket = socket };
}

uint64_t fetch_session_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

void fetch_session_send(FetchSession *session, const FetchMessage *message) {
        char buffer[MESSAGE_SIZE_MAX];
        ssize_t size = fetch_message_encode(message, buffer, sizeof(buffer));
        int r = size < 0 ? (int) size : message_send(session->socket, buffer, (size_t) size, NULL, 0);
        if (r < 0 && session->lost >= 0)
                session->lost = r;
}

/* A request that ends takes itself out of the list, so the next one is found before it is told. */
static void on_token(int r, const Fault *fault, void *userdata) {
        FetchSession *session = userdata;
        for (FetchRequest *request = session->requests, *next; request; request = next) {
                next = fetch_request_next(request);
                fetch_request_on_token(request, r, fault);
        }
}

/* ---- messages ---- */

static int read_certificates(int fd, char **ret, size_t *ret_size) {
        int r = fd_verify_type(fd, S_IFREG);
        return r < 0 ? r : fd_read_all(fd, CERTIFICATES_SIZE_MAX, ret, ret_size);
}

static int open_session(FetchSession *session, const FetchMessage *message, int *fds, size_t fd_count) {
        _cleanup_free_ char *certificates = NULL;
        size_t size = 0;
        int r;

        if (session->client || fd_count != (message->flags & FETCH_HAS_CA ? 1 : 0))
                return -EBADMSG;
        if (fd_count > 0 && (r = read_certificates(fds[0], &certificates, &size)) < 0)
                return r;
        session->host = strdup(message->host);
        session->repository = strdup(message->repository);
        if (!session->host || !session->repository)
                return -ENOMEM;
        session->plain_http = message->flags & FETCH_PLAIN_HTTP;
        session->may_leave_tls = (message->flags & FETCH_LOOPBACK) && !certificates;
        r = http_client_new(&(HttpClientSpec){ .certificates = certificates,
                                               .certificates_size = size,
                                               .user_agent = "crt/" CRT_VERSION },
                            &session->client);
        if (r < 0)
                return r;
        return registry_auth_new(
                &(RegistryAuthSpec){
                        .client = session->client,
                        .username = message->username,
                        .password = message->password,
                        .repository = session->repository,
                        .ready = on_token,
                        .userdata = session,
                },
                &session->auth);
}

static unsigned count_requests(const FetchSession *session) {
        unsigned n = 0;
        for (FetchRequest *request = session->requests; request; request = fetch_request_next(request))
                n++;
        return n;
}

static int on_message(FetchSession *session, const FetchMessage *message, int *fds, size_t fd_count) {
        if (message->type == FETCH_OPEN)
                return open_session(session, message, fds, fd_count);
        if (!session->auth || count_requests(session) >= REQUESTS_MAX)
                return -EBADMSG;
        if (message->type == FETCH_RESOLVE && fd_count == 0)
                return fetch_request_resolve(session, message);
        if (message->type == FETCH_GET && fd_count == (message->flags & FETCH_HAS_TEE ? 2 : 1)) {
                int fd = TAKE_FD(fds[0]), tee = fd_count > 1 ? TAKE_FD(fds[1]) : -EBADF;
                return fetch_request_get(session, message, fd, tee);
        }
        return -EBADMSG;
}

/* 0 at the end of the conversation. */
static int receive(FetchSession *session) {
        char buffer[MESSAGE_SIZE_MAX];
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;
        FetchMessage message;

        ssize_t size = message_receive(session->socket, buffer, sizeof(buffer), fds, &fd_count);
        if (size <= 0)
                return (int) size;
        int r = fetch_message_decode(buffer, (size_t) size, &message);
        if (r >= 0)
                r = on_message(session, &message, fds, fd_count);
        /* Credentials do not stay on the stack. */
        explicit_bzero(buffer, sizeof(buffer));
        fd_close_many(fds, fd_count);
        return r < 0 ? r : 1;
}

/* ---- the loop ---- */

static int timeout_until(uint64_t deadline) {
        if (deadline == UINT64_MAX)
                return INT_MAX;
        uint64_t now = fetch_session_now();
        return deadline <= now ? 0 : (int) MIN_OF(deadline - now, (uint64_t) INT_MAX);
}

static void run_deadlines(FetchSession *session) {
        uint64_t now = fetch_session_now();
        registry_auth_run(session->auth, now);
        for (FetchRequest *request = session->requests, *next; request; request = next) {
                next = fetch_request_next(request);
                fetch_request_on_time(request, now);
        }
}

static void run_streams(FetchSession *session, const struct pollfd *polls, size_t count) {
        for (FetchRequest *request = session->requests, *next; request; request = next) {
                next = fetch_request_next(request);
                fetch_request_on_streams(request, polls, count);
        }
}

static int run_once(FetchSession *session) {
        struct pollfd polls[1 + REQUESTS_MAX * FETCH_SINK_STREAMS] = { { .fd = session->socket,
                                                                         .events = POLLIN } };
        uint64_t deadline = UINT64_MAX;
        size_t count = 1;

        if (!session->client)
                return receive(session);
        int r = http_client_perform(session->client);
        if (r < 0)
                return r;
        deadline = registry_auth_deadline(session->auth);
        for (FetchRequest *request = session->requests; request; request = fetch_request_next(request)) {
                deadline = MIN_OF(deadline, fetch_request_deadline(request));
                count += fetch_request_poll(request, polls + count);
        }
        r = http_client_wait(session->client, polls, count, timeout_until(deadline));
        if (r < 0)
                return r;
        run_streams(session, polls + 1, count - 1);
        run_deadlines(session);
        if (session->lost < 0)
                return session->lost == -EPIPE ? 0 : session->lost;
        return polls[0].revents ? receive(session) : 1;
}

int fetch_session_run(FetchSession *session) {
        int r;
        do
                r = run_once(session);
        while (r > 0);
        return r;
}
