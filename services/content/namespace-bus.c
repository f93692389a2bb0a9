/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* StatNamespace and UpdateNamespace of org.crt.Content1. */

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/strv.h"
#include "services/content/content-calls-bus.h"
#include "services/content/content-namespace.h"

/* What is taken of a share, and how much that is at most; 0: no limit. */
static int append_shares(sd_bus_message *reply, const char *namespace, const NamespaceUsage *usage) {
        const struct {
                const char *limit_key;
                NamespaceShare share;
        } shares[] = {
                { "blob-limit", NAMESPACE_BLOBS },
                { "label-limit", NAMESPACE_LABELS },
                { "lease-limit", NAMESPACE_LEASES },
        };
        int r = bus_append_entry(reply, "label-bytes", "t", usage->label_bytes);
        if (r >= 0)
                r = bus_append_entry(reply, "lease-bytes", "t", usage->lease_bytes);
        for (size_t i = 0; i < ELEMENTS_OF(shares) && r >= 0; i++) {
                uint64_t limit = content_namespace_share_limit(namespace, shares[i].share);
                r = bus_append_entry(reply, shares[i].limit_key, "t",
                                     limit == UINT64_MAX ? UINT64_C(0) : limit);
        }
        return r;
}

static int append_usage(sd_bus_message *reply, ContentBus *content, const char *namespace,
                        const NamespaceUsage *usage) {
        uint64_t limit = content_namespace_limit(content->state, namespace);
        uint64_t ingests, bytes = ingest_table_bytes(content->table, namespace, NULL, &ingests);
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "namespace", "s", namespace);
        if (r >= 0)
                r = bus_append_entry(reply, "blobs", "t", usage->blobs);
        if (r >= 0)
                r = bus_append_entry(reply, "bytes", "t", usage->bytes);
        if (r >= 0)
                r = bus_append_entry(reply, "ingests", "t", ingests);
        if (r >= 0)
                r = bus_append_entry(reply, "ingest-bytes", "t", bytes);
        if (r >= 0)
                r = bus_append_entry(reply, "limit", "t", limit == UINT64_MAX ? UINT64_C(0) : limit);
        if (r >= 0)
                r = append_shares(reply, namespace, usage);
        if (r >= 0)
                r = bus_append_entry(reply, "shareable", "b", usage->shareable);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int method_stat_namespace(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *namespace = bus_call_namespace(message);
        NamespaceUsage usage;

        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = content_namespace_usage(content->state, namespace, &usage);
        if (r >= 0)
                r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_usage(reply, content, namespace, &usage);
        return r < 0 ? r : sd_bus_message_send(reply);
}

typedef struct UpdateOptions {
        bool shareable;
        bool shareable_given;
} UpdateOptions;

static const BusOption update_options[] = {
        { "shareable", "b", offsetof(UpdateOptions, shareable), NULL,
          offsetof(UpdateOptions, shareable_given) },
};

int method_update_namespace(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        UpdateOptions options = { 0 };

        int r = bus_options_read(message, update_options, ELEMENTS_OF(update_options), &options, error);
        if (r < 0)
                return r;
        if (options.shareable_given)
                r = content_namespace_share(content->state, bus_call_namespace(message), options.shareable);
        return r < 0 ? bus_error_set_fault(error, r, NULL) : sd_bus_reply_method_return(message, NULL);
}
