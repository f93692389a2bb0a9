/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* CreateLease, GetLease and ListLeases of org.crt.Content1. */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/page.h"
#include "bus/quota.h"
#include "lib/identifier.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/content-calls-bus.h"
#include "services/content/lease-unit-bus.h"

#define ID_LENGTH 32
#define UNIT_NAME_LENGTH 255

/* ---- CreateLease ---- */

typedef struct CreateOptions {
        char **labels;
        uint64_t until;
        const char *bind;
        const char *unit;
        int pidfd;
        bool flat;
} CreateOptions;

static const BusOption create_options[] = {
        { "labels", "a{ss}", offsetof(CreateOptions, labels) },
        { "until", "t", offsetof(CreateOptions, until) },
        { "bind", "s", offsetof(CreateOptions, bind) },
        { "unit", "s", offsetof(CreateOptions, unit) },
        { "pidfd", "h", offsetof(CreateOptions, pidfd) },
        { "flat", "b", offsetof(CreateOptions, flat) },
};

/* A lease that is being made: while systemd is asked about its unit, the call waits. */
struct LeaseCreation {
        LeaseCreation *next;
        ContentBus *content; /* weak */
        sd_bus_message *message;
        Lease lease;
        char **labels;
        UnitQuestion *question;
        ContentWaiter waiter;
};

LeaseCreation *lease_creation_free(LeaseCreation *creation) {
        if (!creation)
                return NULL;
        LeaseCreation **place = &creation->content->creations;
        while (*place && *place != creation)
                place = &(*place)->next;
        if (*place)
                *place = creation->next;
        unit_question_free(creation->question);
        content_waiter_done(&creation->waiter);
        sd_bus_message_unref(creation->message);
        lease_done(&creation->lease);
        strv_free(creation->labels);
        free(creation);
        return NULL;
}
DEFINE_CLEANUP(LeaseCreation *, lease_creation_free);

static int check_create(const char *id, const CreateOptions *options, sd_bus_error *error) {
        if (id[0] && !identifier_is_valid(id))
                return bus_invalid_argument(error, "id: '%.80s' is not a valid identifier", id);
        if ((options->bind != NULL) + (options->unit != NULL) + (options->pidfd >= 0) > 1)
                return bus_invalid_argument(error,
                                            "options 'bind', 'unit' and 'pidfd': at most one of them");
        if (options->bind && !string_equal(options->bind, "caller"))
                return bus_invalid_argument(error, "option 'bind': must be 'caller'");
        if (options->unit && (string_is_empty(options->unit) || strlen(options->unit) > UNIT_NAME_LENGTH ||
                              !strchr(options->unit, '.') || !string_is_printable(options->unit)))
                return bus_invalid_argument(error, "option 'unit': is not the name of a unit");
        if (options->until > INT64_MAX)
                return bus_invalid_argument(error, "option 'until': no time is that late");
        int r = content_bus_check_labels(LABELLED_LEASE, options->labels, error);
        if (r < 0)
                return r;
        uint64_t until = lease_until(options->until, options->labels);
        if (until > 0 && until <= content_now())
                return bus_invalid_argument(error, "option '%s': is over already",
                                            until == options->until ? "until" : "labels");
        return 0;
}

static int fill_lease(Lease *lease, const char *namespace, const char *id, const CreateOptions *options) {
        lease->namespace = strdup(namespace);
        lease->until = options->until;
        lease->flat = options->flat;
        if (!lease->namespace)
                return -ENOMEM;
        if (!id[0])
                return identifier_new_random(ID_LENGTH, &lease->id);
        lease->id = strdup(id);
        return lease->id ? 0 : -ENOMEM;
}

static int read_create(sd_bus_message *message, LeaseCreation *creation, CreateOptions *options,
                       sd_bus_error *error) {
        const char *id;
        int r = sd_bus_message_read(message, "s", &id);
        if (r >= 0)
                r = bus_options_read(message, create_options, ELEMENTS_OF(create_options), options, error);
        creation->labels = TAKE_PTR(options->labels);
        if (r < 0)
                return r;
        options->labels = creation->labels; /* borrowed from now on */
        r = check_create(id, options, error);
        return r < 0 ? r : fill_lease(&creation->lease, bus_call_namespace(message), id, options);
}

static int creation_end(LeaseCreation *creation, Fault *fault) {
        ContentBus *content = creation->content;
        _cleanup_free_ char *path = NULL;
        int r = lease_table_get_path(content->leases, &creation->lease, &path);
        if (r >= 0)
                r = lease_table_add(content->leases, &creation->lease, creation->labels, fault);
        return r < 0 ? r : sd_bus_reply_method_return(creation->message, "os", path, creation->lease.id);
}

static void on_released(void *userdata) {
        _cleanup_(lease_creation_freep) LeaseCreation *creation = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = creation_end(creation, &fault);
        if (r < 0)
                (void) bus_reply_fault(creation->message, r, &fault);
}

static void on_unit(int r, const char *invocation, const Fault *unit_fault, void *userdata) {
        _cleanup_(lease_creation_freep) LeaseCreation *creation = userdata;
        ContentState *state = creation->content->state;
        if (r >= 0 && !(creation->lease.proof = strdup(invocation)))
                r = -ENOMEM;
        if (r < 0) {
                (void) bus_reply_fault(creation->message, r == -ENOENT ? -EBUSY : r, unit_fault);
                return;
        }
        if (state->held)
                content_state_wait(state, &creation->waiter, on_released, creation);
        else
                on_released(creation);
        TAKE_PTR(creation);
}

/* Calls that wait for systemd count as the leases that they ask for. */
static int check_share(ContentBus *content, uid_t uid, Fault *fault) {
        if (!quota_uid_is_limited(uid))
                return 0;
        int count = lease_count_of(content->state, uid);
        if (count < 0)
                return count;
        for (const LeaseCreation *other = content->creations; other; other = other->next)
                if (other->lease.uid == uid)
                        count++;
        return count < LIMIT_LEASES_PER_UID
                       ? 0
                       : fault_set(fault, -EDQUOT, "user %u has as many leases as one may have", uid);
}

/* 1 if the answer comes later. */
static int creation_bind(LeaseCreation *creation, const CreateOptions *options, Fault *fault) {
        ContentBus *content = creation->content;
        LeaseOwners *owners = lease_table_owners(content->leases);
        Lease *lease = &creation->lease;
        if (options->bind)
                return lease_owners_name_caller(owners, lease, fault);
        if (options->pidfd >= 0)
                return lease_owners_name_process(owners, options->pidfd, lease, fault);
        if (!options->unit)
                return 0;
        int r = check_share(content, lease->uid, fault);
        if (r < 0)
                return r;
        lease->binding = LEASE_BOUND_UNIT;
        lease->owner = strdup(options->unit);
        if (!lease->owner)
                return -ENOMEM;
        r = unit_question_new(content->bus, options->unit, on_unit, creation, &creation->question);
        return r < 0 ? r : 1;
}

int method_create_lease(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        CreateOptions options = { .pidfd = -EBADF };
        const Peer *peer = bus_current_peer(content->bus);

        _cleanup_(lease_creation_freep) LeaseCreation *creation = new0(LeaseCreation, 1);
        if (!creation)
                return -ENOMEM;
        creation->content = content;
        creation->message = sd_bus_message_ref(message);
        if (!peer)
                return -ENOTCONN;
        creation->lease.uid = peer_uid(peer);
        int r = read_create(message, creation, &options, error);
        if (r < 0)
                return r;
        r = creation_bind(creation, &options, &fault);
        if (r > 0) {
                creation->next = content->creations;
                content->creations = TAKE_PTR(creation);
                return 1;
        }
        if (r >= 0)
                r = creation_end(creation, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : 1;
}

/* ---- GetLease, ListLeases ---- */

static void on_settled(void *userdata) {
        sd_bus_message *message = userdata;
        int r = sd_bus_enqueue_for_read(sd_bus_message_get_bus(message), message);
        if (r < 0)
                (void) sd_bus_reply_method_errno(message, r, NULL);
        sd_bus_message_unref(message);
}

/* Just after a start it is not known yet whose owners have ended meanwhile: the call comes again when it is.
 * 1 if so. */
static int wait_for_owners(ContentBus *content, sd_bus_message *message) {
        LeaseOwners *owners = lease_table_owners(content->leases);
        if (!lease_owners_are_looked_for(owners))
                return 0;
        int r = lease_owners_settle(owners, on_settled, message);
        if (r < 0)
                return r;
        sd_bus_message_ref(message);
        return 1;
}

int method_get_lease(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        _cleanup_(lease_done) Lease lease = { 0 };
        _cleanup_free_ char *path = NULL;
        const char *id;

        int r = wait_for_owners(content, message);
        if (r != 0)
                return r;
        r = sd_bus_message_read(message, "s", &id);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = lease_find(content->state, bus_call_namespace(message), id, &lease);
        if (r == -ENOENT)
                return sd_bus_error_setf(error, bus_error_name(r), "there is no lease '%.80s'", id);
        if (r >= 0)
                r = lease_table_get_path(content->leases, &lease, &path);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static const FilterField list_fields[] = {
        { .name = "id" },
        { .name = "bound" },
        { .name = "owner" },
        { .name = "flat" },
        { .name = "labels", .has_key = true },
        {},
};

typedef struct Listing {
        BusPage page;
        ContentState *state;
        const Lease *lease;
        char **labels;
} Listing;

static const char *look_up_field(const char *field, const char *key, void *userdata) {
        const Listing *listing = userdata;
        if (string_equal(field, "id"))
                return listing->lease->id;
        if (string_equal(field, "bound"))
                return lease_binding_to_string(listing->lease->binding);
        if (string_equal(field, "owner"))
                return listing->lease->owner;
        if (string_equal(field, "flat"))
                return listing->lease->flat ? "true" : "false";
        return strv_get_environment((const char *const *) listing->labels, key);
}

static int append_lease(sd_bus_message *reply, const Lease *lease, char *const *labels) {
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = bus_append_entry(reply, "id", "s", lease->id);
        if (r >= 0)
                r = bus_append_entry(reply, "created", "t", lease->created);
        if (r >= 0)
                r = bus_append_entry(reply, "until", "t", lease->until);
        if (r >= 0)
                r = bus_append_entry(reply, "bound", "s", lease_binding_to_string(lease->binding));
        if (r >= 0)
                r = bus_append_entry(reply, "owner", "s", lease->owner);
        if (r >= 0)
                r = bus_append_entry(reply, "flat", "b", lease->flat);
        if (r >= 0)
                r = bus_append_entry_map(reply, "labels", labels);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int list_one(Lease *lease, void *userdata) {
        Listing *listing = userdata;
        const Labelled labelled = { LABELLED_LEASE, lease->namespace, lease->id };
        listing->lease = lease;
        int r = content_labels_read(listing->state, &labelled, &listing->labels);
        _cleanup_strv_ char **labels = TAKE_PTR(listing->labels);
        if (r < 0)
                return r;
        listing->labels = labels;
        int offer = bus_page_offer(&listing->page, lease->id, look_up_field, listing);
        listing->labels = NULL;
        if (offer == BUS_PAGE_FULL)
                return 1;
        if (offer != BUS_PAGE_TAKE)
                return offer;
        listing->page.bytes += strv_size(labels);
        r = append_lease(listing->page.reply, lease, labels);
        return r < 0 ? r : 0;
}

int method_list_leases(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        Listing listing = { .state = content->state };

        int r = wait_for_owners(content, message);
        if (r != 0)
                return r;
        r = bus_page_begin(&listing.page, message, list_fields, error);
        if (r >= 0)
                r = lease_visit(content->state, bus_call_namespace(message), listing.page.after, list_one,
                                &listing);
        if (r >= 0)
                r = bus_page_send(&listing.page);
        bus_page_done(&listing.page);
        return r;
}
