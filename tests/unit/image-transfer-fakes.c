/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/image-transfer-fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/fd.h"
#include "lib/record-file.h"
#include "lib/strv.h"

FakeWorld world;

struct StoreCall {
        StoreCall *next;
        StoreArguments arguments;
        char *namespace, *name, *digest, *parent;
        int fd;
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
        fd_close(call->fd);
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
                .name = arguments->name ? strndup(arguments->name, strcspn(arguments->name, "+"))
                                        : strdup(""), /* an ingest without its size */
                .fd = arguments->fd >= 0 ? fd_duplicate(arguments->fd) : -EBADF,
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

bool fake_world_has_epochs(void) {
        for (size_t owner = 0; owner < FAKE_OWNERS; owner++)
                for (size_t i = 0; i < FAKE_EPOCHS_MAX; i++)
                        if (world.epochs[owner][i].number != 0)
                                return true;
        return false;
}

void fake_world_end_epochs(void) {
        memset(world.epochs, 0, sizeof(world.epochs));
        world.touched_count = 0;
}

static bool is_held(size_t owner) {
        for (size_t i = 0; i < FAKE_EPOCHS_MAX; i++)
                if (world.epochs[owner][i].held)
                        return true;
        return false;
}

bool fake_world_keep(const char *records) {
        if (is_held(1))
                return false;
        assert(strlen(world.more) + strlen(records) < sizeof(world.more));
        strcat(world.more, records);
        for (size_t i = 0; i < FAKE_EPOCHS_MAX; i++)
                world.epochs[1][i].changed = true;
        return true;
}

static void touch(const char *name) {
        if (!fake_world_has_epochs())
                return;
        assert(world.touched_count < ELEMENTS_OF(world.touched));
        snprintf(world.touched[world.touched_count++], sizeof(world.touched[0]), "%s", name);
}

static int call_content(const StoreCall *call, StoreReply *reply) {
        FakeBlob *blob = find_blob(call->namespace, call->name, false),
                 *ingest = find_blob(call->namespace, call->name, true);
        const FakeDocument *document = fake_world_find_document(call->name);

        touch(call->name);
        switch (call->arguments.method) {
        case STORE_CONTENT_STAT:
                reply->size = blob ? document->size : 0;
                return !blob ? -ENOENT : blob->is_found ? -EUCLEAN : 0;
        case STORE_CONTENT_OPEN:
                if (!blob)
                        return -ENOENT;
                if (blob->is_damaged) {
                        blob->is_found = true;
                        return -EUCLEAN;
                }
                reply->fd = fd_new_sealed_memfd("blob", document->data, document->size);
                return 0;
        case STORE_CONTENT_INGEST:
                if (blob && !blob->is_found)
                        return -EEXIST;
                if (!ingest) {
                        FakeBlob *new = &world.blobs[world.blob_count++];
                        *new = (FakeBlob){ .is_ingest = true, .stamp = ++world.stamps };
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
                if (blob) /* the damaged one */
                        remove_blob(blob);
                reply->size = document->size;
                return 0;
        case STORE_CONTENT_ABORT:
                if (!ingest)
                        return -ENOENT;
                remove_blob(ingest);
                return 0;
        default:
                return -ENOSYS;
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

        touch(call->name);
        if (call->parent)
                touch(call->parent);
        switch (call->arguments.method) {
        case STORE_SNAPSHOT_STAT:
                reply->text = strdup(snapshot && snapshot->is_damaged ? "damaged" : "ready");
                return snapshot ? 0 : -ENOENT;
        case STORE_SNAPSHOT_PREPARE: {
                if (snapshot)
                        return -EEXIST;
                FakeSnapshot *new = &world.snapshots[world.snapshot_count++];
                *new = (FakeSnapshot){ .stamp = ++world.stamps };
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

/* ---- collections ---- */

static bool is_touched(const char *name) {
        for (size_t i = 0; i < world.touched_count; i++)
                if (string_equal(world.touched[i], name))
                        return true;
        return false;
}

static void write_blobs(RecordWriter *writer) {
        for (size_t i = 0; i < world.blob_count; i++) {
                const FakeBlob *blob = &world.blobs[i];
                if (blob->is_ingest)
                        record_writer_add(writer, "ssss", "ingest", blob->namespace, blob->digest,
                                          blob->digest);
                else
                        record_writer_add(writer, "sssuu", "blob", blob->namespace, blob->digest,
                                          (uint64_t) blob->stamp, UINT64_C(1));
        }
}

static void write_snapshots(RecordWriter *writer) {
        for (size_t i = 0; i < world.snapshot_count; i++) {
                const FakeSnapshot *snapshot = &world.snapshots[i];
                record_writer_add(writer, "sssuusssu", "snapshot", snapshot->namespace, snapshot->key,
                                  (uint64_t) snapshot->stamp, UINT64_C(1), snapshot->parent, "committed", "",
                                  (uint64_t) snapshot->stamp);
        }
}

static void write_containers(RecordWriter *writer) {
        for (size_t i = 0; i < world.container_count; i++)
                record_writer_add(writer, "ssssss", "container", "system", world.containers[i].id,
                                  world.containers[i].snapshot, world.containers[i].parent,
                                  world.containers[i].image);
}

static int list(void (*write_records)(RecordWriter *writer), const char *text, StoreReply *reply) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        int r = record_writer_new("fake", &writer);
        if (r < 0)
                return r;
        write_records(writer);
        if (text && text[0]) /* records of the test's own: that is all then */
                reply->fd = fd_new_sealed_memfd("fake", text, strlen(text));
        else
                reply->fd = record_writer_finish(writer);
        return 0;
}

/* Lines behind each other. */
static void write_lines(RecordWriter *writer, const char *lines) {
        static const char *const types[] = { "", "s", "ss", "sss", "ssss", "sssss", "ssssss" };
        for (const char *end; (end = strchr(lines, '\n')); lines = end + 1) {
                char line[512], *fields[6] = { 0 }, *rest = line;
                size_t count = 0;
                snprintf(line, sizeof(line), "%.*s", (int) (end - lines), lines);
                while (count < ELEMENTS_OF(fields) && (fields[count] = strsep(&rest, "\t")))
                        count++;
                record_writer_add(writer, types[count], fields[0], fields[1], fields[2], fields[3],
                                  fields[4], fields[5]);
        }
}

static void write_content(RecordWriter *writer) {
        write_blobs(writer);
        write_lines(writer, world.more);
}

/* Only what keeps things. */
static void write_roots(RecordWriter *writer) {
        write_lines(writer, world.more);
}

static void write_nothing(RecordWriter *writer) {
}

static int inventory(const StoreCall *call, bool blobs, StoreReply *reply) {
        const StoreArguments *arguments = &call->arguments;
        for (size_t i = 0; i < FAKE_EPOCHS_MAX; i++)
                if (world.epochs[blobs][i].number == arguments->size)
                        world.epochs[blobs][i].changed = false;
        if (blobs)
                return list(arguments->roots ? write_roots : write_content, world.records, reply);
        return list(arguments->roots ? write_nothing : write_snapshots, NULL, reply);
}

static bool sweep_blob(const char *namespace, const char *name, uint64_t stamp) {
        FakeBlob *blob = find_blob(namespace, name, false);
        if (!blob || (blob->stamp != stamp && stamp != 0))
                return false;
        remove_blob(blob);
        return true;
}

static bool sweep_snapshot(const char *namespace, const char *name, uint64_t stamp) {
        FakeSnapshot *snapshot = fake_world_find_snapshot(namespace, name);
        if (!snapshot || (snapshot->stamp != stamp && stamp != 0) || has_children(snapshot))
                return false;
        *snapshot = world.snapshots[--world.snapshot_count];
        return true;
}

static FakeEpoch *find_epoch(size_t owner, uint64_t number) {
        for (size_t i = 0; i < FAKE_EPOCHS_MAX; i++)
                if (world.epochs[owner][i].number == number)
                        return &world.epochs[owner][i];
        return NULL;
}

static int sweep(const StoreCall *call, bool blobs, StoreReply *reply) {
        RecordFile file;
        RecordField fields[RECORD_FIELDS_MAX];
        const FakeEpoch *epoch = find_epoch(blobs, call->arguments.size);
        if (!epoch || !epoch->held)
                return -EBUSY;
        if (!is_held(0) || !is_held(1))
                world.broken_rule = "something is swept while not all hold";
        world.sweeps++;
        int r = record_file_open(call->fd, &file);
        while (r >= 0 && (reply->seen < world.sweep_max || world.sweep_max == 0) &&
               (r = record_file_next(&file, fields)) > 0) {
                _cleanup_free_ char *namespace = record_field_copy(&fields[0]),
                                    *name = record_field_copy(&fields[1]);
                uint64_t stamp;
                r = record_field_number(&fields[2], &stamp);
                reply->seen++;
                if (r >= 0 && !is_touched(name))
                        reply->count += blobs ? sweep_blob(namespace, name, stamp)
                                              : sweep_snapshot(namespace, name, stamp);
        }
        record_file_done(&file);
        return r < 0 ? r : 0;
}

static int begin_epoch(size_t owner, StoreReply *reply) {
        static unsigned last;
        FakeEpoch *epoch = find_epoch(owner, 0);
        if (!epoch)
                return -EBUSY;
        *epoch = (FakeEpoch){ .number = ++last, .changed = true };
        reply->size = last;
        return 0;
}

static int call_epoch(const StoreCall *call, size_t owner, StoreReply *reply) {
        FakeEpoch *epoch = find_epoch(owner, call->arguments.size);
        if (!epoch)
                return -EBUSY;
        switch (call->arguments.method) {
        case STORE_CONTENT_HOLD:
        case STORE_SNAPSHOT_HOLD:
                epoch->held = true;
                reply->changed = epoch->changed;
                return 0;
        case STORE_CONTENT_RELEASE:
        case STORE_SNAPSHOT_RELEASE:
                epoch->held = false;
                return 0;
        default:
                *epoch = (FakeEpoch){ 0 };
                if (!fake_world_has_epochs())
                        world.touched_count = 0;
                return 0;
        }
}

static int call_collector(const StoreCall *call, StoreReply *reply) {
        switch (call->arguments.method) {
        case STORE_CONTENT_BEGIN:
        case STORE_SNAPSHOT_BEGIN:
                return begin_epoch(call->arguments.method == STORE_CONTENT_BEGIN, reply);
        case STORE_CONTENT_INVENTORY:
        case STORE_SNAPSHOT_INVENTORY:
                return inventory(call, call->arguments.method == STORE_CONTENT_INVENTORY, reply);
        case STORE_TASK_REFERENCES:
                return list(write_containers, NULL, reply);
        case STORE_CONTENT_SWEEP:
        case STORE_SNAPSHOT_SWEEP:
                return sweep(call, call->arguments.method == STORE_CONTENT_SWEEP, reply);
        default:
                return call_epoch(call, call->arguments.method < STORE_SNAPSHOT_BEGIN, reply);
        }
}

static void run_call(StoreCall *call) {
        StoreReply reply = { .fd = -EBADF };
        StoreDone done = call->done;
        void *userdata = call->userdata;

        if (++world.calls == world.fail_at)
                reply.r = fault_set(&reply.fault, -EHOSTUNREACH, "as the test wants it");
        else if (call->arguments.method >= STORE_CONTENT_BEGIN)
                reply.r = call_collector(call, &reply);
        else if (call->arguments.method <= STORE_CONTENT_ABORT)
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
                return fake_document_step();
        return true;
}
