/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/quota.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/document-client.h"
#include "services/images/images-bus.h"

/* What the image's config says is kept with its name, as crt-document has told it during the pull. Where
 * that is not so (an image of an earlier version of crt, a very long config), the call waits for its turn,
 * for Content to open the config, and for crt-document to read it. It ends with who has made it. */
struct ResolveCall {
        ResolveCall *next;
        ImagesBus *images; /* weak */
        sd_bus_message *message;
        ImageRecord record;
        QuotaHold *hold;
        PeerWatch *watch;
        Turn *turn;
        StoreCall *call;
        DocumentClient *reader;
};

static ResolveCall *resolve_call_free(ResolveCall *call) {
        if (!call)
                return NULL;
        for (ResolveCall **place = &call->images->resolves; *place; place = &(*place)->next)
                if (*place == call) {
                        *place = call->next;
                        break;
                }
        store_call_free(call->call);
        document_client_free(call->reader);
        turn_free(call->turn);
        peer_watch_free(call->watch);
        quota_hold_free(call->hold);
        sd_bus_message_unref(call->message);
        image_record_done(&call->record);
        free(call);
        return NULL;
}
DEFINE_CLEANUP(ResolveCall *, resolve_call_free);

static int append_string(sd_bus_message *message, const char *key, const char *value) {
        return bus_append_entry(message, key, "s", value ? value : "");
}

static int append_strings(sd_bus_message *message, const char *key, char **value) {
        char *none[] = { NULL };
        return bus_append_entry(message, key, "as", value ? value : none);
}

/* Labels are a flat list of keys and values. */
static int append_labels(sd_bus_message *message, char *const *labels) {
        int r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", "labels");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', "a{ss}");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{ss}");
        for (size_t i = 0; r >= 0 && labels && labels[i] && labels[i + 1]; i += 2)
                r = sd_bus_message_append(message, "{ss}", labels[i], labels[i + 1]);
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(message);
        return r;
}

static int append_answer(sd_bus_message *message, const ImageRecord *record, const OciImageConfig *config) {
        const struct {
                const char *key, *value;
        } strings[] = {
                { "name", record->name },
                { "digest", record->digest },
                { "manifest-digest", record->manifest },
                { "config-digest", record->config },
                { "chain-id", record->chain_id },
                { "platform", record->platform },
                { "user", config->user },
                { "working-dir", config->working_directory },
                { "stop-signal", config->stop_signal },
        };
        const struct {
                const char *key;
                char **value;
        } arrays[] = {
                { "env", config->environment },
                { "entrypoint", config->entrypoint },
                { "cmd", config->command },
                { "volumes", config->volumes },
                { "exposed-ports", config->exposed_ports },
        };

        int r = sd_bus_message_open_container(message, 'a', "{sv}");
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(strings); i++)
                r = append_string(message, strings[i].key, strings[i].value);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(arrays); i++)
                r = append_strings(message, arrays[i].key, arrays[i].value);
        if (r >= 0)
                r = append_labels(message, config->labels);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int answer(sd_bus_message *message, const ImageRecord *record, const OciImageConfig *config) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_answer(reply, record, config);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* 1 if it was answered. */
static int answer_from_store(ImageStore *store, sd_bus_message *message, const ImageRecord *record) {
        _cleanup_(document_done) Document document = { 0 };
        _cleanup_free_ char *records = NULL;
        size_t size = 0;

        int r = image_store_get_config(store, record, &records, &size);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = document_read(&(RecordFile){ .data = records, .size = size }, &document, NULL);
        if (r < 0 || document.kind != DOCUMENT_CONFIG)
                return 0;
        r = answer(message, record, &document.config);
        return r < 0 ? r : 1;
}

static void fail(ResolveCall *call, int r, Fault *fault) {
        fault_prefix(fault, r, "config %s of %s", call->record.config, call->record.name);
        (void) bus_reply_fault(call->message, r, fault);
        resolve_call_free(call);
}

static void on_read(DocumentReply *reply, void *userdata) {
        ResolveCall *call = userdata;
        int r = reply->r;
        if (r >= 0) {
                (void) image_store_put_config(call->images->service->images, &call->record, reply->records,
                                              reply->size);
                r = answer(call->message, &call->record, &reply->document->config);
        }
        if (r < 0)
                fail(call, r, &reply->fault);
        else
                resolve_call_free(call);
}

static void on_opened(StoreReply *reply, void *userdata) {
        ResolveCall *call = userdata;
        const DocumentSource source = { .fd = reply->fd, .is_config = true };

        call->call = NULL;
        int r = reply->r;
        if (r >= 0)
                r = document_client_read(call->reader, &source, on_read, call, &reply->fault);
        if (r < 0)
                fail(call, r, &reply->fault);
}

static void on_turn(void *userdata) {
        ResolveCall *call = userdata;
        ImageService *service = call->images->service;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int r = document_client_new(service->event, &call->reader, &fault);
        if (r >= 0)
                r = store_call_new(service->stores,
                                   &(StoreArguments){
                                           .method = STORE_CONTENT_OPEN,
                                           .namespace = call->record.namespace,
                                           .name = call->record.config,
                                           .fd = -EBADF,
                                   },
                                   on_opened, call, &call->call);
        if (r < 0)
                fail(call, r, &fault);
}

static void on_gone(void *userdata) {
        resolve_call_free(userdata);
}

static int wait_for_turn(ResolveCall *call, Fault *fault) {
        ImagesBus *images = call->images;
        Peer *peer = bus_current_peer(images->bus);
        if (!peer)
                return -ENOTCONN;
        if (quota_uid_is_limited(peer_uid(peer)) && turn_queue_count(images->readers) >= LIMIT_RESOLVES)
                return fault_set(fault, -EDQUOT, "%i calls wait for the configs of images", LIMIT_RESOLVES);
        int r = quota_hold_new(peer_uid(peer), QUOTA_RESOLVES, &call->hold);
        if (r == -EDQUOT)
                return fault_set(fault, r, "%i calls of user %u wait for the configs of images",
                                 LIMIT_RESOLVES_PER_UID, peer_uid(peer));
        if (r >= 0)
                r = peer_watch_new(peer, on_gone, call, &call->watch);
        if (r >= 0)
                r = turn_new(images->readers, call->record.namespace, on_turn, call, &call->turn);
        return r;
}

void resolve_calls_free(ImagesBus *images) {
        while (images->resolves)
                resolve_call_free(images->resolves);
}

int method_resolve(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(resolve_call_freep) ResolveCall *call = new0(ResolveCall, 1);
        if (!call)
                return -ENOMEM;
        call->images = images;
        int r = images_find_record(images, message, &(ImageCall){ 0 }, &call->record, error);
        if (r < 0)
                return r;
        if (string_is_empty(call->record.chain_id)) {
                r = fault_set(&fault, -EBUSY, "%s was pulled without unpacking", call->record.name);
                return bus_error_set_fault(error, r, &fault);
        }
        r = answer_from_store(images->service->images, message, &call->record);
        if (r != 0)
                return r;
        call->message = sd_bus_message_ref(message);
        r = wait_for_turn(call, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        call->next = images->resolves;
        images->resolves = TAKE_PTR(call);
        return 1;
}
