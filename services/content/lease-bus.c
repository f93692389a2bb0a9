/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-bus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "bus/quota.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/content-labels.h"

struct LeaseTable {
        sd_bus *bus;
        ContentState *state; /* weak */
        ObjectKind *objects;
        LeaseOwners *owners;
        sd_event_source *deadline;
        Lease found; /* the one that was looked for last */
};

static void log_unsent(int r) {
        if (r < 0)
                log_debug("a change of a lease can't be announced: %s", strerror(-r));
}

/* ---- ends ---- */

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata);

/* failed: what is over could not be removed, and is not tried again at once. */
static void table_set_deadline(LeaseTable *table, bool failed) {
        sd_event *event = sd_bus_get_event(table->bus);
        uint64_t deadline = 0;
        table->deadline = sd_event_source_disable_unref(table->deadline);
        int r = lease_next_deadline(table->state, &deadline);
        if (r < 0) {
                log_warning("when the next lease ends can't be known: %s", strerror(-r));
                failed = true;
        } else if (deadline == 0)
                return;
        r = failed ? sd_event_add_time_relative(event, &table->deadline, CLOCK_MONOTONIC,
                                                LEASE_PATIENCE_USEC, 0, on_deadline, table)
                   : sd_event_add_time(event, &table->deadline, CLOCK_REALTIME, deadline, 0, on_deadline,
                                       table);
        if (r < 0)
                log_warning("nothing will tell when the next lease ends: %s", strerror(-r));
}

static void table_tell(const LeaseTable *table, const Lease *lease, const char *why) {
        log_info("lease '%s' of %s: %s", lease->id, lease->namespace, why);
        log_unsent(object_kind_emit_removed(table->objects, lease->namespace, lease->id));
}

static void table_forget(LeaseTable *table, const Lease *lease, const char *why) {
        lease_owners_forget(table->owners, lease->number);
        table_tell(table, lease, why);
}

static int table_remove(LeaseTable *table, const Lease *lease, const char *why) {
        int r = lease_remove(table->state, lease);
        if (r >= 0)
                table_forget(table, lease, why);
        return r;
}

/* Some of them: while there are more, the deadline is over at once, and others get their turns meanwhile. */
static void table_expire(LeaseTable *table) {
        Lease leases[LEASES_PER_TURN];
        int r = lease_remove_expired(table->state, content_now(), leases);
        if (r < 0)
                log_warning("leases whose time is over can't be removed: %s", strerror(-r));
        for (int i = 0; i < r; i++) {
                table_forget(table, &leases[i], "its time is over");
                lease_done(&leases[i]);
        }
        if (r > 0)
                lease_owners_try_again(table->owners);
        table_set_deadline(table, /* failed= */ r < 0);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        table_expire(userdata);
        return 0;
}

/* The owner goes with it, on its own. */
static int on_owner_ended(int64_t number, void *userdata) {
        LeaseTable *table = userdata;
        _cleanup_(lease_done) Lease lease = { 0 };
        int r = lease_find_number(table->state, number, &lease);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = lease_remove(table->state, &lease);
        if (r >= 0)
                table_tell(table, &lease, "its owner has ended");
        else
                log_warning("a lease whose owner has ended can't be removed: %s", strerror(-r));
        return r;
}

int lease_table_add(LeaseTable *table, Lease *lease, char *const *labels, Fault *fault) {
        int r = lease_add(table->state, lease, labels, quota_uid_is_limited(lease->uid), fault);
        if (r < 0)
                return r;
        log_unsent(object_kind_emit_added(table->objects, lease->namespace, lease->id));
        if (lease->until > 0)
                table_set_deadline(table, /* failed= */ false);
        if (lease->binding == LEASE_UNBOUND)
                return 0;
        r = lease_owners_watch(table->owners, lease);
        if (r < 0)
                (void) table_remove(table, lease, "its owner can't be watched");
        return r;
}

/* ---- properties ---- */

static int property_string(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Lease *lease = &((const LeaseTable *) userdata)->found;
        const char *value = lease->owner;
        if (string_equal(property, "Namespace"))
                value = lease->namespace;
        else if (string_equal(property, "Id"))
                value = lease->id;
        else if (string_equal(property, "Bound"))
                value = lease_binding_to_string(lease->binding);
        return sd_bus_message_append(reply, "s", value ? value : "");
}

static int property_time(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Lease *lease = &((const LeaseTable *) userdata)->found;
        return sd_bus_message_append(reply, "t",
                                     string_equal(property, "Until") ? lease->until : lease->created);
}

static int property_flat(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "b", (int) ((const LeaseTable *) userdata)->found.flat);
}

static int property_labels(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const LeaseTable *table = userdata;
        const Labelled labelled = { LABELLED_LEASE, table->found.namespace, table->found.id };
        _cleanup_strv_ char **labels = NULL;
        int r = content_labels_read(table->state, &labelled, &labels);
        return r < 0 ? r : bus_append_map(reply, labels);
}

/* ---- methods ---- */

typedef struct Resources {
        LeaseResource *array;
        size_t count;
} Resources;

static void resources_done(Resources *resources) {
        free(resources->array);
}

static int read_resources(sd_bus_message *message, Resources *ret, sd_bus_error *error) {
        const char *type, *name;
        int r = sd_bus_message_enter_container(message, 'a', "(ss)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(message, "(ss)", &type, &name)) > 0) {
                if (ret->count == LIMIT_LEASE_RESOURCES)
                        return sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                                 "a lease may name %i things", LIMIT_LEASE_RESOURCES);
                if (ret->count % 256 == 0) {
                        LeaseResource *array =
                                reallocarray(ret->array, ret->count + 256, sizeof(LeaseResource));
                        if (!array)
                                return -ENOMEM;
                        ret->array = array;
                }
                ret->array[ret->count++] = (LeaseResource){ type, name };
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r < 0 ? r : bus_options_read(message, NULL, 0, NULL, error);
}

static int method_add(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const LeaseTable *table = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(resources_done) Resources resources = { 0 };
        int r = read_resources(message, &resources, error);
        if (r < 0)
                return r;
        r = lease_add_resources(table->state, &table->found, resources.array, resources.count, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const LeaseTable *table = userdata;
        _cleanup_(resources_done) Resources resources = { 0 };
        int r = read_resources(message, &resources, error);
        if (r < 0)
                return r;
        r = lease_remove_resources(table->state, &table->found, resources.array, resources.count);
        return r < 0 ? bus_error_set_fault(error, r, NULL) : sd_bus_reply_method_return(message, NULL);
}

typedef struct PageOptions {
        const char *after;
        uint32_t limit;
} PageOptions;

static const BusOption page_options[] = {
        { "after", "s", offsetof(PageOptions, after) },
        { "limit", "u", offsetof(PageOptions, limit) },
};

typedef struct ResourcePage {
        sd_bus_message *reply;
        uint32_t left;
        char *last; /* type and name of the last one, with a blank between them */
} ResourcePage;

static int append_resource(const LeaseResource *resource, void *userdata) {
        ResourcePage *page = userdata;
        if (page->left == 0)
                return 1;
        if (--page->left == 0 && asprintf(&page->last, "%s %s", resource->type, resource->name) < 0)
                return -ENOMEM;
        int r = sd_bus_message_append(page->reply, "(ss)", resource->type, resource->name);
        return r < 0 ? r : 0;
}

/* "after" is what "next" was. */
static int append_resources(const LeaseTable *table, const PageOptions *options, sd_bus_message *reply) {
        const char *blank = options->after ? strchr(options->after, ' ') : NULL;
        _cleanup_free_ char *type =
                blank ? strndup(options->after, (size_t) (blank - options->after)) : NULL;
        const LeaseResource after = { type, blank ? blank + 1 : NULL };
        ResourcePage page = { .reply = reply, .left = options->limit };

        if (blank && !type)
                return -ENOMEM;
        int r = sd_bus_message_open_container(reply, 'a', "(ss)");
        int more = r < 0 ? r
                         : lease_visit_resources(table->state, &table->found, blank ? &after : NULL,
                                                 append_resource, &page);
        _cleanup_free_ char *last = page.last;
        if (more < 0)
                return more;
        r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_append(reply, "s", more ? last : "");
}

static int method_list_resources(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        PageOptions options = { .limit = LIMIT_PAGE_DEFAULT };
        int r = bus_options_read(message, page_options, ELEMENTS_OF(page_options), &options, error);
        if (r < 0)
                return r;
        if (options.limit == 0 || options.limit > LIMIT_PAGE_MAX)
                return bus_invalid_argument(error, "option 'limit': must be 1 to %i", LIMIT_PAGE_MAX);
        if (!string_is_empty(options.after) && !strchr(options.after, ' '))
                return bus_invalid_argument(error, "option 'after': is not the 'next' of a page");
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_resources(userdata, &options, reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

typedef struct UpdateOptions {
        char **labels;
        uint64_t until;
        bool replace_labels;
        bool labels_given;
        bool until_given;
} UpdateOptions;

static const BusOption update_options[] = {
        { "labels", "a{ss}", offsetof(UpdateOptions, labels), NULL, offsetof(UpdateOptions, labels_given) },
        { "replace-labels", "b", offsetof(UpdateOptions, replace_labels) },
        { "until", "t", offsetof(UpdateOptions, until), NULL, offsetof(UpdateOptions, until_given) },
};

static int method_update(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        LeaseTable *table = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        UpdateOptions options = { 0 };

        int r = bus_options_read(message, update_options, ELEMENTS_OF(update_options), &options, error);
        _cleanup_strv_ char **labels = options.labels;
        if (r >= 0 && options.until > INT64_MAX)
                r = bus_invalid_argument(error, "option 'until': no time is that late");
        if (r < 0)
                return r;
        /* To announce the change finds it again. */
        _cleanup_(lease_done) Lease lease = TAKE(table->found, (Lease){ 0 });
        const LeaseChange change = { labels, options.replace_labels, options.until_given, options.until };
        uint64_t before = lease.until;
        r = lease_update(table->state, &lease, &change, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        char *changed[3] = { NULL };
        size_t n = 0;
        if (options.until_given || lease.until != before)
                changed[n++] = (char *) "Until";
        if (options.labels_given || options.replace_labels)
                changed[n++] = (char *) "Labels";
        if (n > 0)
                log_unsent(object_kind_emit_changed(table->objects, lease.namespace, lease.id, changed));
        if (options.until_given || lease.until != before)
                table_set_deadline(table, /* failed= */ false);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        LeaseTable *table = userdata;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        _cleanup_(lease_done) Lease lease = TAKE(table->found, (Lease){ 0 });
        r = table_remove(table, &lease, "deleted");
        if (r < 0)
                return bus_error_set_fault(error, r, NULL);
        table_set_deadline(table, /* failed= */ false);
        return sd_bus_reply_method_return(message, NULL);
}

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

/* Their userdata is the table, in which find_lease() has put the lease. */
static const sd_bus_vtable lease_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Namespace", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Id", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Created", "t", property_time, 0, CONST),
        SD_BUS_PROPERTY("Until", "t", property_time, 0, CHANGES),
        SD_BUS_PROPERTY("Bound", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Owner", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Flat", "b", property_flat, 0, CONST),
        SD_BUS_PROPERTY("Labels", "a{ss}", property_labels, 0, CHANGES),
        SD_BUS_METHOD_WITH_ARGS("Add", SD_BUS_ARGS("a(ss)", resources, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_add, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_ARGS("a(ss)", resources, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_remove, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListResources", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("a(ss)", resources, "s", next), method_list_resources,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_update,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_delete,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int find_lease(void *service, const char *namespace, const char *object, void **ret) {
        LeaseTable *table = service;
        Lease lease;
        int r = lease_find(table->state, namespace, object, &lease);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        lease_done(&table->found);
        table->found = lease;
        *ret = table;
        return 1;
}

static int list_lease(Lease *lease, void *userdata) {
        return object_kind_list_add(userdata, lease->namespace, lease->id);
}

static int list_leases(void *service, ObjectKind *kind) {
        return lease_visit_all(((LeaseTable *) service)->state, list_lease, kind);
}

/* ---- the table ---- */

LeaseOwners *lease_table_owners(LeaseTable *table) {
        return table->owners;
}

int lease_table_get_path(const LeaseTable *table, const Lease *lease, char **ret) {
        return object_kind_get_path(table->objects, lease->namespace, lease->id, ret);
}

int lease_table_new(sd_bus *bus, ContentState *state, LeaseTable **ret) {
        _cleanup_(lease_table_freep) LeaseTable *table = new0(LeaseTable, 1);
        if (!table)
                return -ENOMEM;
        table->bus = sd_bus_ref(bus);
        table->state = state;
        const ObjectKindSpec spec = {
                .root = CRT_CONTENT_PATH,
                .kind = "lease",
                .interface = CRT_LEASE_INTERFACE,
                .vtable = lease_vtable,
                .find = find_lease,
                .list = list_leases,
                .service = table,
        };
        int r = object_kind_new(bus, &spec, &table->objects);
        if (r >= 0)
                r = lease_owners_new(bus, &(LeaseOwnersSpec){ state, on_owner_ended, table },
                                     &table->owners);
        if (r < 0)
                return r;
        table_expire(table);
        *ret = TAKE_PTR(table);
        return 0;
}

LeaseTable *lease_table_free(LeaseTable *table) {
        if (!table)
                return NULL;
        sd_event_source_disable_unref(table->deadline);
        lease_owners_free(table->owners);
        object_kind_free(table->objects);
        lease_done(&table->found);
        sd_bus_unref(table->bus);
        free(table);
        return NULL;
}
