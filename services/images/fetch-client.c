/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/fd.h"
#include "lib/media-type.h"
#include "lib/message.h"
#include "lib/strv.h"

#define MESSAGES_PER_TURN 64

struct FetchClient {
        int socket;
        sd_event_source *source;
        void (*on_message)(const FetchMessage *message, void *userdata);
        void (*on_lost)(const Fault *fault, void *userdata);
        void *userdata;
        bool dispatching; /* within on_input(), which frees it then */
        bool freed;
};

FetchClient *fetch_client_free(FetchClient *client) {
        if (!client)
                return NULL;
        client->source = sd_event_source_disable_unref(client->source);
        client->socket = fd_close(client->socket);
        client->freed = true;
        if (!client->dispatching)
                free(client);
        return NULL;
}

static void lose(FetchClient *client, const char *reason) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        fault_set(&fault, -EHOSTUNREACH, "the fetch worker %s", reason);
        client->source = sd_event_source_disable_unref(client->source);
        client->on_lost(&fault, client->userdata);
}

/* What a worker that a registry has taken over says must not get further than it would have by itself: types
 * are recorded and published, sentences are shown. */
static bool is_from_worker(const FetchMessage *message) {
        if (!string_is_empty(message->media_type) && !media_type_is_valid(message->media_type))
                return false;
        if (message->sentence)
                string_make_printable((char *) message->sentence); /* in our buffer */
        return message->type == FETCH_RESOLVED || message->type == FETCH_PROGRESS ||
               message->type == FETCH_WRITTEN ||
               (message->type == FETCH_FAILED && message->error > 0 && message->error < 4096);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FetchClient *client = userdata;
        char buffer[MESSAGE_SIZE_MAX];

        client->dispatching = true;
        /* A worker that talks without end is not listened to alone: the event comes again. */
        for (unsigned i = 0; client->source && i < MESSAGES_PER_TURN; i++) {
                FetchMessage message;
                ssize_t n = message_receive(client->socket, buffer, sizeof(buffer), NULL, NULL);
                if (n == -EAGAIN)
                        break;
                if (n == 0)
                        lose(client, "ended before its work was done");
                else if (n < 0)
                        lose(client, "can't be heard");
                else if (fetch_message_decode(buffer, (size_t) n, &message) < 0 || !is_from_worker(&message))
                        lose(client, "said what is not understood");
                else
                        client->on_message(&message, client->userdata);
        }
        client->dispatching = false;
        if (client->freed)
                free(client);
        return 0;
}

static int client_send(FetchClient *client, const FetchMessage *message, const int *fds, size_t fd_count) {
        char buffer[MESSAGE_SIZE_MAX];
        ssize_t size = fetch_message_encode(message, buffer, sizeof(buffer));
        if (size < 0)
                return (int) size;
        int r = message_send(client->socket, buffer, (size_t) size, fds, fd_count);
        explicit_bzero(buffer, (size_t) size);
        return r;
}

static int client_connect(FetchClient *client) {
        const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = FETCH_SOCKET };
        client->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (client->socket < 0)
                return -errno;
        if (connect(client->socket, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return 0;
}

int fetch_client_new(sd_event *event, const FetchClientSpec *spec, FetchClient **ret, Fault *fault) {
        _cleanup_(fetch_client_freep) FetchClient *client = new0(FetchClient, 1);
        if (!client)
                return -ENOMEM;
        *client = (FetchClient){
                .socket = -EBADF,
                .on_message = spec->on_message,
                .on_lost = spec->on_lost,
                .userdata = spec->userdata,
        };
        int r = client_connect(client);
        if (r >= 0)
                r = client_send(client,
                                &(FetchMessage){
                                        .type = FETCH_OPEN,
                                        .flags = spec->flags | (spec->ca_fd >= 0 ? FETCH_HAS_CA : 0),
                                        .host = spec->host,
                                        .repository = spec->repository,
                                        .username = spec->username,
                                        .password = spec->password,
                                },
                                &spec->ca_fd, spec->ca_fd >= 0 ? 1 : 0);
        if (r < 0)
                return fault_set(fault, -EHOSTUNREACH, "no fetch worker can be had at " FETCH_SOCKET ": %s",
                                 strerror(-r));
        r = sd_event_add_io(event, &client->source, client->socket, EPOLLIN, on_input, client);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(client);
        return 0;
}

int fetch_client_resolve(FetchClient *client, uint32_t request, const char *name) {
        return client_send(
                client, &(FetchMessage){ .type = FETCH_RESOLVE, .request = request, .name = name }, NULL, 0);
}

int fetch_client_get(FetchClient *client, const FetchGet *get) {
        const int fds[] = { get->fd, get->tee };
        return client_send(client,
                           &(FetchMessage){
                                   .type = FETCH_GET,
                                   .request = get->request,
                                   .flags = (get->is_manifest ? FETCH_MANIFEST : 0) |
                                            (get->tee >= 0 ? FETCH_HAS_TEE : 0),
                                   .digest = get->digest,
                                   .size = get->size,
                                   .offset = get->offset,
                           },
                           fds, get->tee >= 0 ? 2 : 1);
}
