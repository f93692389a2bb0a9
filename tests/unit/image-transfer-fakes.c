/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/image-transfer-fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/fd.h"
#include "lib/strv.h"

FakeWorld world;

struct StoreCall {
        StoreCall *next;
        StoreArguments arguments;
        char *namespace, *name, *digest, *parent;
        StoreDone done;
        void *userdata;
};

typedef struct FakeRequest {
        struct FakeRequest *next;
        FetchClient *client;
        FetchType type;
        uint32_t request;
        char name[160];
} FakeRequest;

struct FetchClient {
        FetchClientSpec spec;
};

static StoreCall *calls;
static FakeRequest *requests;
static bool turn;

static void forget_call(StoreCall *call) {
        for (StoreCall **p = &calls; *p; p = &(*p)->next)
                if (*p == call) {
                        *p = call->next;
                        break;
                }
        free(call->namespace);
        free(call->name);
        free(call->digest);
        free(call->parent);
        free(call);
}

/* ---- the world ---- */

void fake_world_reset(void) {
        for (size_t i = 0; i < world.document_count; i++)
                free(world.documents[i].data);
        while (calls)
                forget_call(calls);
        world = (FakeWorld){ 0 };
}

FakeDocument *fake_world_find_document(const char *digest) {
        for (size_t i = 0; i < world.document_count; i++)
                if (string_equal(world.documents[i].digest, digest))
                        return &world.documents[i];
        return NULL;
}

const char *fake_world_add_document(const void *data, size_t size) {
        FakeDocument *document = &world.documents[world.document_count++];
        Digest digest;
        assert(world.document_count < FAKE_THINGS_MAX);
        digest_of_data(DIGEST_SHA256, data, size, &digest);
        digest_to_string(&digest, document->digest);
        document->data = malloc(size + 1);
        memcpy(document->data, data, size);
        document->size = size;
        return document->digest;
}

static FakeBlob *find_blob(const char *namespace, const char *digest, bool is_ingest) {
        for (size_t i = 0; i < world.blob_count; i++)
                if (string_equal(world.blobs[i].namespace, namespace) &&
                    string_equal(world.blobs[i].digest, digest) && world.blobs[i].is_ingest == is_ingest)
                        return &world.blobs[i];
        return NULL;
}

bool fake_world_has_blob(const char *namespace, const char *digest) {
        return find_blob(namespace, digest, false);
}

FakeSnapshot *fake_world_find_snapshot(const char *namespace, const char *key) {
        for (size_t i = 0; i < world.snapshot_count; i++)
                if (string_equal(world.snapshots[i].namespace, namespace) &&
                    string_equal(world.snapshots[i].key, key))
                        return &world.snapshots[i];
        return NULL;
}

unsigned fake_world_count_unfinished(void) {
        unsigned n = 0;
        for (size_t i = 0; i < world.snapshot_count; i++)
                n += string_after(world.snapshots[i].key, "unpack-") != NULL;
        return n;
}

unsigned fake_world_count_ingests(void) {
        unsigned n = 0;
        for (size_t i = 0; i < world.blob_count; i++)
                n += world.blobs[i].is_ingest;
        return n;
}

/* ---- the stores ---- */

int store_call_new(StoreClient *client, const StoreArguments *arguments, StoreDone done, void *userdata,
                   StoreCall **ret) {
        StoreCall *call = new0(StoreCall, 1);
        StoreCall **end = &calls;
        *call = (StoreCall){
                .arguments = *arguments,
                .namespace = strdup(arguments->namespace ? arguments->namespace : ""),
                .name = strndup(arguments->name,
                                strcspn(arguments->name, "+")), /* an ingest without its size */
                .digest = strdup(arguments->digest ? arguments->digest : ""),
                .parent = arguments->parent ? strdup(arguments->parent) : NULL,
                .done = done,
                .userdata = userdata,
        };
        while (*end)
                end = &(*end)->next;
        *end = call;
        *ret = call;
        return 0;
}

/* As on a bus: what was sent happens all the same. */
StoreCall *store_call_free(StoreCall *call) {
        if (call)
                call->done = NULL;
        return NULL;
}

static void remove_blob(FakeBlob *blob) {
        *blob = world.blobs[--world.blob_count];
}

static int call_content(const StoreCall *call, StoreReply *reply) {
        FakeBlob *blob = find_blob(call->namespace, call->name, false),
                 *ingest = find_blob(call->namespace, call->name, true);
        const FakeDocument *document = fake_world_find_document(call->name);

        switch (call->arguments.method) {
        case STORE_CONTENT_STAT:
                reply->size = blob ? document->size : 0;
                return blob ? 0 : -ENOENT;
        case STORE_CONTENT_OPEN:
                if (!blob)
                        return -ENOENT;
                reply->fd = fd_new_sealed_memfd("blob", document->data, document->size);
                return 0;
        case STORE_CONTENT_INGEST:
                if (blob)
                        return -EEXIST;
                if (!ingest) {
                        FakeBlob *new = &world.blobs[world.blob_count++];
                        new->is_ingest = true;
                        snprintf(new->namespace, sizeof(new->namespace), "%s", call->namespace);
                        snprintf(new->digest, sizeof(new->digest), "%s", call->name);
                }
                reply->fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
                return 0;
        case STORE_CONTENT_COMMIT:
                if (!ingest)
                        return -ENOENT;
                if (document->is_wrong) {
                        remove_blob(ingest);
                        return -EUCLEAN;
                }
                ingest->is_ingest = false;
                reply->size = document->size;
                return 0;
        case STORE_CONTENT_ABORT:
                if (!ingest)
                        return -ENOENT;
                remove_blob(ingest);
                return 0;
        default:
                if (!blob)
                        return -ENOENT;
                remove_blob(blob);
                return 0;
        }
}

static bool has_children(const FakeSnapshot *snapshot) {
        for (size_t i = 0; i < world.snapshot_count; i++)
                if (string_equal(world.snapshots[i].parent, snapshot->key))
                        return true;
        return false;
}

static int commit_snapshot(const StoreCall *call, FakeSnapshot *snapshot) {
        if (!snapshot)
                return -ENOENT;
        if (!snapshot->is_unpacked)
                world.broken_rule = "a snapshot is committed before it is unpacked";
        if (call->parent && !fake_world_find_snapshot(call->namespace, call->parent))
                world.broken_rule = "a snapshot is committed before the one below it";
        if (fake_world_find_snapshot(call->namespace, call->digest))
                return -EEXIST;
        world.commits++;
        snprintf(snapshot->key, sizeof(snapshot->key), "%s", call->digest);
        snprintf(snapshot->parent, sizeof(snapshot->parent), "%s", call->parent ? call->parent : "");
        return 0;
}

static int call_snapshots(const StoreCall *call, StoreReply *reply) {
        FakeSnapshot *snapshot = fake_world_find_snapshot(call->namespace, call->name);

        switch (call->arguments.method) {
        case STORE_SNAPSHOT_STAT:
                return snapshot ? 0 : -ENOENT;
        case STORE_SNAPSHOT_PREPARE: {
                if (snapshot)
                        return -EEXIST;
                FakeSnapshot *new = &world.snapshots[world.snapshot_count++];
                *new = (FakeSnapshot){ 0 };
                snprintf(new->namespace, sizeof(new->namespace), "%s", call->namespace);
                snprintf(new->key, sizeof(new->key), "%s", call->name);
                return 0;
        }
        case STORE_SNAPSHOT_UNPACK:
                if (!snapshot)
                        return -ENOENT;
                snapshot->is_unpacked = true;
                reply->text = strdup("/job");
                return 0;
        case STORE_SNAPSHOT_COMMIT:
                return commit_snapshot(call, snapshot);
        case STORE_SNAPSHOT_REMOVE:
                if (!snapshot)
                        return -ENOENT;
                if (has_children(snapshot))
                        return -EBUSY;
                *snapshot = world.snapshots[--world.snapshot_count];
                return 0;
        default:
                return 0; /* jobs end well, and lists are empty */
        }
}

static void run_call(StoreCall *call) {
        StoreReply reply = { .fd = -EBADF };
        StoreDone done = call->done;
        void *userdata = call->userdata;

        if (++world.calls == world.fail_at)
                reply.r = fault_set(&reply.fault, -EHOSTUNREACH, "as the test wants it");
        else if (call->arguments.method <= STORE_CONTENT_DELETE)
                reply.r = call_content(call, &reply);
        else
                reply.r = call_snapshots(call, &reply);
        forget_call(call);
        if (done)
                done(&reply, userdata);
        fd_close(reply.fd);
        free(reply.text);
        fault_done(&reply.fault);
}

/* ---- the worker ---- */

int fetch_client_new(sd_event *event, const FetchClientSpec *spec, FetchClient **ret, Fault *fault) {
        FetchClient *client = new0(FetchClient, 1);
        client->spec = *spec;
        *ret = client;
        return 0;
}

FetchClient *fetch_client_free(FetchClient *client) {
        for (FakeRequest **p = &requests, *request; (request = *p);) {
                if (request->client != client) {
                        p = &request->next;
                        continue;
                }
                *p = request->next;
                free(request);
        }
        free(client);
        return NULL;
}

static int add_request(FetchClient *client, FetchType type, uint32_t number, const char *name) {
        FakeRequest *request = new0(FakeRequest, 1), **end = &requests;
        *request = (FakeRequest){ .client = client, .type = type, .request = number };
        snprintf(request->name, sizeof(request->name), "%s", name);
        while (*end)
                end = &(*end)->next;
        *end = request;
        return 0;
}

int fetch_client_resolve(FetchClient *client, uint32_t request, const char *name) {
        return add_request(client, FETCH_RESOLVE, request, name);
}

int fetch_client_get(FetchClient *client, const FetchGet *get) {
        return add_request(client, FETCH_GET, get->request, get->digest);
}

static void run_request(FakeRequest *request) {
        FetchClientSpec spec = request->client->spec;
        FetchMessage message = { .type = FETCH_WRITTEN, .request = request->request };
        char name[160];

        snprintf(name, sizeof(name), "%s", request->name);
        /* A tag of the fake registry is the digest that it stands for, without its colon. */
        if (request->type == FETCH_RESOLVE) {
                message.type = FETCH_RESOLVED;
                name[6] = ':';
                message.digest = name;
        } else
                world.gets++;
        requests = request->next;
        free(request);
        spec.on_message(&message, spec.userdata);
}

bool fake_world_step(void) {
        turn = !turn;
        if (requests && (turn || !calls))
                run_request(requests);
        else if (calls)
                run_call(calls);
        else
                return false;
        return true;
}
