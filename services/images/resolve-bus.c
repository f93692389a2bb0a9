/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/oci-image-config.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"

/* One call that waits for Content to open the image's config. */
typedef struct ResolveCall {
        sd_bus_message *message;
        ImageRecord record;
        StoreCall *call;
} ResolveCall;

static ResolveCall *resolve_call_free(ResolveCall *call) {
        if (!call)
                return NULL;
        store_call_free(call->call);
        sd_bus_message_unref(call->message);
        image_record_done(&call->record);
        free(call);
        return NULL;
}
DEFINE_CLEANUP(ResolveCall *, resolve_call_free);

static int read_config(int fd, OciImageConfig *ret, Fault *fault) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = fd_read_all(fd, LIMIT_IMAGE_CONFIG_SIZE, &data, &size);
        return r < 0 ? r : oci_image_config_parse(data, size, ret, fault);
}

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

static int answer(const ResolveCall *call, const OciImageConfig *config) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = append_answer(reply, &call->record, config);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static void on_opened(StoreReply *store_reply, void *userdata) {
        _cleanup_(resolve_call_freep) ResolveCall *call = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        OciImageConfig config = { 0 };

        call->call = NULL;
        int r = store_reply->r;
        if (r < 0)
                fault_move(&fault, &store_reply->fault);
        else
                r = read_config(store_reply->fd, &config, &fault);
        if (r >= 0)
                r = answer(call, &config);
        if (r < 0) {
                fault_prefix(&fault, r, "config %s of %s", call->record.config, call->record.name);
                (void) bus_reply_fault(call->message, r, &fault);
        }
        oci_image_config_done(&config);
}

int method_resolve(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(resolve_call_freep) ResolveCall *call = new0(ResolveCall, 1);
        if (!call)
                return -ENOMEM;
        int r = images_find_record(images, message, &(ImageCall){ 0 }, &call->record, error);
        if (r < 0)
                return r;
        if (string_is_empty(call->record.chain_id)) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                r = fault_set(&fault, -EBUSY, "%s was pulled without unpacking", call->record.name);
                return bus_error_set_fault(error, r, &fault);
        }
        call->message = sd_bus_message_ref(message);
        r = store_call_new(images->service->stores,
                           &(StoreArguments){
                                   .method = STORE_CONTENT_OPEN,
                                   .namespace = call->record.namespace,
                                   .name = call->record.config,
                                   .fd = -EBADF,
                           },
                           on_opened, call, &call->call);
        if (r < 0)
                return r;
        TAKE_PTR(call);
        return 1;
}
