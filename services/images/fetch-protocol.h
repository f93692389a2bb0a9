/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-imagesd and a fetch worker say to each other: one datagram for each message (lib/message.h), at
 * most MESSAGE_SIZE_MAX bytes, descriptors beside it. One connection is one transfer's; closing it is how a
 * transfer is cancelled.
 *
 * The daemon decides what is fetched and has the documents read (document-protocol.h), once Content has
 * verified them; this worker only speaks HTTP. So a worker that a registry has taken over can give wrong
 * bytes, which Content refuses, and wrong answers about tags, and that is all.
 *
 *   daemon → worker
 *     OPEN      flags (PLAIN_HTTP, LOOPBACK, HAS_CA), host, repository, username, password;
 *               fd: certificates, with HAS_CA. Once, first.
 *     RESOLVE   request, name: what does this tag or digest stand for?
 *     GET       request, flags (MANIFEST, HAS_TEE), digest, size (0: not known), offset: write the bytes
 *               from there on into fd 0, and, with HAS_TEE, into fd 1 as well
 *   worker → daemon
 *     RESOLVED  request, digest, media type (may be empty), size (0: not known)
 *     PROGRESS  request, offset: bytes written so far
 *     WRITTEN   request, media type (of a manifest; may be empty): all is written, the streams are closed
 *     FAILED    request, error, sentence: this request has failed for good; its streams are closed.
 *               EPIPE: whoever reads the stream has closed it, and knows why
 *
 * Encoding: the type in one byte, then the type's fields in the order of the table in fetch-protocol.c.
 * Numbers are 4 or 8 bytes in the machine's order (both ends are of one machine and one build); a string is
 * 4 bytes of length, the bytes, and one NUL. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/macros.h"

#define FETCH_SOCKET "/run/crt/fetch.sock"

typedef enum FetchType {
        FETCH_OPEN,
        FETCH_RESOLVE,
        FETCH_GET,
        FETCH_RESOLVED,
        FETCH_PROGRESS,
        FETCH_WRITTEN,
        FETCH_FAILED,
        _FETCH_TYPE_MAX,
        _FETCH_TYPE_INVALID = -22,
} FetchType;

enum {
        FETCH_PLAIN_HTTP = 1 << 0, /* no TLS at all */
        FETCH_LOOPBACK = 1 << 1,   /* TLS if it is spoken there, else none */
        FETCH_HAS_CA = 1 << 2,
        FETCH_MANIFEST = 1 << 3, /* a document below manifests/, not blobs/ */
        FETCH_HAS_TEE = 1 << 4,
};

/* Fields that a type does not have are 0 or NULL. Strings of a decoded message are borrowed from the
 * datagram. */
typedef struct FetchMessage {
        FetchType type;
        uint32_t request;
        uint32_t flags;
        uint32_t error; /* a positive errno */
        uint64_t size;
        uint64_t offset;
        const char *host;
        const char *repository;
        const char *username;
        const char *password;
        const char *name;
        const char *digest;
        const char *media_type;
        const char *sentence;
} FetchMessage;

/* The size of the datagram, or -EMSGSIZE. A NULL string travels as an empty one. */
ssize_t fetch_message_encode(const FetchMessage *message, void *buffer, size_t size);
/* -EBADMSG for anything that is not exactly one message. */
int fetch_message_decode(const void *data, size_t size, FetchMessage *ret);
