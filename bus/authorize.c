/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/authorize.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/call-details.h"
#include "bus/foreign-fd.h"
#include "bus/polkit.h"
#include "bus/quota.h"
#include "lib/identifier.h"
#include "lib/log.h"
#include "lib/strv.h"

/* The way of a call, from the filter to its handler:
 *
 *   1. authorize_filter() sees it first. A Call holds it; sender unknown: peer_registry_learn() asks.
 *   2. call_on_peer(): the sender is known. No rule: refused. call_check() decides, or asks polkit: the
 * rule's own action, then org.crt.other-namespaces if the call names a namespace that is not the sender's
 * own.
 *   3. call_admit(): state ADMITTED, put back into the connection's queue.
 *   4. authorize_filter() sees it again, finds its Call, makes that the current one, and lets it pass to the
 * handler.
 */

typedef enum CallState {
        CALL_WAITING,
        CALL_ADMITTED, /* in the queue, to be passed when it comes by again */
} CallState;

typedef struct Call {
        struct Call *next;
        Authorizer *authorizer; /* weak */
        sd_bus_message *message;
        const BusRule *rule;
        CallState state;
        CallDetails details;
        bool foreign;      /* names a namespace that is not the sender's own */
        const char *asked; /* the action that polkit is being asked about */
        sd_bus_slot *question;
        QuotaHold *hold;
        bool pinned;     /* its sender */
        uint64_t sender; /* as a number, if descriptors came with it */
        bool withheld;   /* those that came with it were not taken */
        int error;       /* it can't be read */
} Call;

struct Authorizer {
        sd_bus *bus;
        PeerRegistry *peers; /* weak */
        const BusRule *rules;
        size_t rule_count;
        const char *root_path;
        sd_bus_slot *filter;
        Call *calls;
        void (*on_call)(void *userdata);
        void *userdata;
        AuthorizerOwnerOf owner_of;
        void *owner_of_userdata;
};

static const BusRule common_rules[] = {
        { "org.freedesktop.DBus.Peer", "Ping", BUS_ANYONE },
        { "org.freedesktop.DBus.Peer", "GetMachineId", BUS_ANYONE },
        { "org.freedesktop.DBus.Introspectable", "Introspect", BUS_ANYONE },
        { "org.freedesktop.DBus.Properties", "Get", BUS_ANYONE },
        { "org.freedesktop.DBus.Properties", "GetAll", BUS_ANYONE },
        { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", BUS_ANYONE },
};

/* The call that is being dispatched. A daemon has one thread, and one connection that it authorizes. */
static struct {
        const Authorizer *authorizer;
        sd_bus_message *message; /* weak: only compared */
        char *namespace;
        bool foreign;
} current;

/* The one that there is. */
static Authorizer *the_authorizer;

static void current_set(const Authorizer *authorizer, sd_bus_message *message, const char *namespace,
                        bool foreign) {
        free(current.namespace);
        current.authorizer = authorizer;
        current.message = message;
        current.namespace = namespace ? strdup(namespace) : NULL;
        current.foreign = foreign;
}

static const BusRule *rule_find(const BusRule *rules, size_t count, const char *interface,
                                const char *member) {
        for (size_t i = 0; i < count; i++)
                if (string_equal(rules[i].interface, interface) && string_equal(rules[i].member, member))
                        return &rules[i];
        return NULL;
}

static bool peer_is_sibling(const Peer *peer, BusSibling siblings) {
        static const struct {
                BusSibling sibling;
                const char *user;
        } table[] = { { BUS_SIBLING_IMAGES, CRT_IMAGES_USER }, { BUS_SIBLING_CONTENT, CRT_CONTENT_USER } };

        for (size_t i = 0; i < ELEMENTS_OF(table); i++)
                if ((siblings & table[i].sibling) && peer_uid(peer) == quota_system_uid(table[i].user))
                        return peer_uid(peer) != (uid_t) -1;
        return false;
}

static void call_take_out(Call *call) {
        Call **place = &call->authorizer->calls;
        while (*place && *place != call)
                place = &(*place)->next;
        if (*place)
                *place = call->next;
        call->authorizer = NULL;
}

static void call_free(Call *call) {
        sd_bus_slot_unref(call->question);
        quota_hold_free(call->hold);
        if (call->pinned)
                peer_registry_unpin(call->authorizer->peers, sd_bus_message_get_sender(call->message));
        if (call->authorizer)
                call_take_out(call);
        call_details_done(&call->details);
        sd_bus_message_unref(call->message);
        free(call);
}

static void call_refuse(Call *call, const char *name, const char *format, ...) _printf_(3, 4);
static void call_refuse(Call *call, const char *name, const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        (void) sd_bus_reply_method_errorfv(call->message, name, format, arguments);
        va_end(arguments);
        call_free(call);
}

static void call_admit(Call *call) {
        call->state = CALL_ADMITTED;
        call->question = sd_bus_slot_unref(call->question);
        call->hold = quota_hold_free(call->hold);
        int r = sd_bus_enqueue_for_read(call->authorizer->bus, call->message);
        if (r < 0)
                call_refuse(call, SD_BUS_ERROR_LIMITS_EXCEEDED, "too many calls are waiting");
}

static void call_log(const Call *call, int level, const char *verdict) {
        const char *sender = sd_bus_message_get_sender(call->message);
        const Peer *peer = peer_registry_find(call->authorizer->peers, sender);
        log_write(level, NULL, "%s: %s.%s by uid %u (%s), namespace %s, %s", verdict, call->rule->interface,
                  call->rule->member, peer ? peer_uid(peer) : (uid_t) -1, sender,
                  call->details.namespace ? call->details.namespace : "own",
                  call->details.object     ? call->details.object
                  : call->details.argument ? call->details.argument
                                           : "-");
}

static void call_on_answer(PolkitAnswer answer, void *userdata);

static void call_ask(Call *call, const char *action) {
        const CallDetails *about = &call->details;
        const char *details[2 * 5 + 1] = { "verb", call->rule->member, "namespace", about->namespace };
        size_t n = 4;

        if (about->object || (call->rule->argument && about->argument)) {
                details[n++] = about->object ? "object" : call->rule->argument;
                details[n++] = about->object ? about->object : about->argument;
        }
        if (call->rule->second && about->second) {
                details[n++] = call->rule->second;
                details[n++] = about->second;
        }
        if (about->option) {
                details[n++] = call->rule->option;
                details[n++] = about->option;
        }

        const PolkitQuestion question = {
                .action = action,
                .sender = sd_bus_message_get_sender(call->message),
                .details = details,
                .interactive = sd_bus_message_get_allow_interactive_authorization(call->message) > 0,
        };
        call->asked = action;
        call->question = sd_bus_slot_unref(call->question);
        int r = polkit_ask(call->authorizer->bus, &question, call_on_answer, call, &call->question);
        if (r < 0)
                call_refuse(call, SD_BUS_ERROR_ACCESS_DENIED, "polkit cannot be asked about %s: %s", action,
                            strerror(-r));
}

static void call_on_answer(PolkitAnswer answer, void *userdata) {
        Call *call = userdata;

        if (answer == POLKIT_YES && call->foreign &&
            !string_equal(call->asked, CRT_ACTION_OTHER_NAMESPACES)) {
                call_ask(call, CRT_ACTION_OTHER_NAMESPACES);
                return;
        }
        switch (answer) {
        case POLKIT_YES:
                call_log(call, LOG_INFO, "granted by polkit");
                call_admit(call);
                return;
        case POLKIT_CHALLENGE:
                call_refuse(call, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                            "Interactive authentication is required for %s", call->asked);
                return;
        case POLKIT_UNAVAILABLE:
                call_refuse(call, SD_BUS_ERROR_ACCESS_DENIED, "polkit does not answer, and %s needs it",
                            call->asked);
                return;
        case POLKIT_NO:
        default:
                call_log(call, LOG_NOTICE, "refused by polkit");
                call_refuse(call, SD_BUS_ERROR_ACCESS_DENIED, "polkit does not authorize %s", call->asked);
        }
}

static bool peer_is_owner(const Peer *peer, const Call *call) {
        const Authorizer *authorizer = call->authorizer;
        uid_t owner;

        return call->rule->owner && authorizer->owner_of && call->details.object &&
               authorizer->owner_of(authorizer->owner_of_userdata, call->details.namespace,
                                    call->details.object, &owner) > 0 &&
               owner == peer_uid(peer);
}

/* The sender is known: decide, or ask. */
static void call_check(Call *call, const Peer *peer) {
        const BusRule *rule = call->rule;

        if (!call->details.namespace)
                call->details.namespace = strdup(peer_namespace(peer));
        if (!call->details.namespace) {
                call_refuse(call, SD_BUS_ERROR_NO_MEMORY, "out of memory");
                return;
        }
        if (!identifier_is_valid(call->details.namespace)) {
                call_refuse(call, SD_BUS_ERROR_INVALID_ARGS, "option 'namespace': not a valid identifier");
                return;
        }
        call->foreign = !string_equal(call->details.namespace, peer_namespace(peer));

        if (peer_is_root(peer) || peer_is_sibling(peer, rule->siblings) || peer_is_owner(peer, call) ||
            (rule->access == BUS_ANYONE && !call->foreign))
                call_admit(call);
        else if (rule->access == BUS_SIBLINGS) {
                call_log(call, LOG_NOTICE, "refused");
                call_refuse(call, SD_BUS_ERROR_ACCESS_DENIED, "%s.%s is for crt's own services",
                            rule->interface, rule->member);
        } else
                call_ask(call, rule->access == BUS_ANYONE ? CRT_ACTION_OTHER_NAMESPACES : rule->action);
}

static void call_refuse_unknown(Call *call) {
        const char *interface = sd_bus_message_get_interface(call->message);
        call_refuse(call, SD_BUS_ERROR_ACCESS_DENIED, "%s.%s: no rule allows this call",
                    interface ? interface : "(no interface)", sd_bus_message_get_member(call->message));
}

/* Unique names are never used again, nor are these numbers, but for one chance in 2^64. */
static uint64_t sender_number(const char *name) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
        for (; name && *name; name++)
                hash = (hash ^ (uint8_t) *name) * UINT64_C(0x100000001b3);
        return hash | 1;
}

/* Its sender as a number, if descriptors came with it; else 0. */
static uint64_t claim_descriptors(sd_bus_message *message, bool *ret_withheld) {
        uint64_t serial, sender = sender_number(sd_bus_message_get_sender(message));
        *ret_withheld = false;
        return sd_bus_message_get_cookie(message, &serial) >= 0 &&
                               foreign_fd_claim((uint32_t) serial, sender, ret_withheld)
                       ? sender
                       : 0;
}

static void call_on_peer(Peer *peer, void *userdata) {
        Call *call = userdata;
        if (!peer) {
                call_free(call); /* gone before it could be answered */
                return;
        }
        peer_registry_pin(call->authorizer->peers, sd_bus_message_get_sender(call->message));
        call->pinned = true;
        if (call->sender)
                foreign_fd_know(call->sender, peer_uid(peer));
        if (call->withheld) {
                call_refuse(call, bus_error_name(-EDQUOT),
                            "too many descriptors of this user wait to be closed: their file systems do not "
                            "answer");
                return;
        }
        if (!call->rule) {
                call_refuse_unknown(call);
                return;
        }
        if (call->error < 0) {
                call_refuse(call, bus_error_name(call->error), "cannot authorize: %s",
                            strerror(-call->error));
                return;
        }
        int r = quota_hold_new(peer_uid(peer), QUOTA_CALLS, &call->hold);
        if (r < 0) {
                call_refuse(call, bus_error_name(r), "too many calls of this user wait for authorization");
                return;
        }
        call_check(call, peer);
}

static Call *call_find_admitted(const Authorizer *authorizer, const sd_bus_message *message) {
        for (Call *call = authorizer->calls; call; call = call->next)
                if (call->message == message && call->state == CALL_ADMITTED)
                        return call;
        return NULL;
}

static int call_begin(Authorizer *authorizer, sd_bus_message *message, const BusRule *rule) {
        Call *call = new0(Call, 1);
        if (!call)
                return -ENOMEM;
        *call = (Call){
                .next = authorizer->calls,
                .authorizer = authorizer,
                .message = sd_bus_message_ref(message),
                .rule = rule,
        };
        authorizer->calls = call;
        call->sender = claim_descriptors(message, &call->withheld);

        /* Whose descriptors came with it is to be known even if it is refused. */
        call->error =
                rule ? call_details_read(message, authorizer->root_path, rule->option, &call->details) : 0;
        int r = peer_registry_learn(authorizer->peers, sd_bus_message_get_sender(message), call_on_peer,
                                    call);
        if (r < 0)
                call_free(call);
        return r;
}

static int authorize_filter(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Authorizer *authorizer = userdata;
        uint8_t type;
        bool withheld;

        int r = sd_bus_message_get_type(message, &type);
        if (r < 0 || type != SD_BUS_MESSAGE_METHOD_CALL) {
                /* Nobody's but its sender's, whoever that is: nothing of a signal is looked at. */
                (void) claim_descriptors(message, &withheld);
                return r;
        }

        Call *call = call_find_admitted(authorizer, message);
        if (call) {
                bool is_there = peer_registry_find(authorizer->peers, sd_bus_message_get_sender(message));
                current_set(authorizer, message, call->details.namespace, call->foreign);
                call_free(call);
                return is_there ? 0 : 1; /* nobody to do it for any more */
        }

        if (authorizer->on_call)
                authorizer->on_call(authorizer->userdata);
        const char *interface = sd_bus_message_get_interface(message),
                   *member = sd_bus_message_get_member(message);
        const BusRule *rule = rule_find(authorizer->rules, authorizer->rule_count, interface, member);
        if (!rule)
                rule = rule_find(common_rules, ELEMENTS_OF(common_rules), interface, member);
        /* Whatever becomes of the answer (a caller may want none): what is not admitted ends here. */
        r = call_begin(authorizer, message, rule);
        if (r < 0)
                (void) sd_bus_reply_method_errorf(message, bus_error_name(r), "cannot authorize: %s",
                                                  strerror(-r));
        return 1;
}

int authorizer_new(sd_bus *bus, PeerRegistry *peers, const BusRule *rules, size_t rule_count,
                   Authorizer **ret) {
        _cleanup_(authorizer_freep) Authorizer *authorizer = new0(Authorizer, 1);
        if (!authorizer)
                return -ENOMEM;
        *authorizer = (Authorizer){
                .bus = sd_bus_ref(bus),
                .peers = peers,
                .rules = rules,
                .rule_count = rule_count,
                .root_path = "/",
        };
        int r = sd_bus_add_filter(bus, &authorizer->filter, authorize_filter, authorizer);
        if (r < 0)
                return r;
        the_authorizer = authorizer;
        *ret = TAKE_PTR(authorizer);
        return 0;
}

void authorizer_configure(Authorizer *authorizer, const char *root_path, void (*on_call)(void *userdata),
                          void *userdata) {
        authorizer->root_path = root_path;
        authorizer->on_call = on_call;
        authorizer->userdata = userdata;
}

Authorizer *authorizer_free(Authorizer *authorizer) {
        if (!authorizer)
                return NULL;
        if (current.authorizer == authorizer)
                current_set(NULL, NULL, NULL, false);
        if (the_authorizer == authorizer)
                the_authorizer = NULL;
        sd_bus_slot_unref(authorizer->filter);
        /* One whose sender is still being asked for is freed with the answer, which comes at the latest when
         * the registry goes. */
        while (authorizer->calls)
                (authorizer->calls->pinned ? call_free : call_take_out)(authorizer->calls);
        sd_bus_unref(authorizer->bus);
        free(authorizer);
        return NULL;
}

void authorizer_set_owner_of(Authorizer *authorizer, AuthorizerOwnerOf owner_of, void *userdata) {
        authorizer->owner_of = owner_of;
        authorizer->owner_of_userdata = userdata;
}

bool authorizer_is_busy(const Authorizer *authorizer) {
        return authorizer->calls != NULL;
}

int bus_call_begin_waiting(sd_bus *bus, sd_bus_message *message) {
        Call *call = the_authorizer && the_authorizer->bus == bus
                             ? call_find_admitted(the_authorizer, message)
                             : NULL;
        const Peer *peer =
                call ? peer_registry_find(the_authorizer->peers, sd_bus_message_get_sender(message)) : NULL;
        if (!peer)
                return 0;
        int r = call->hold ? 0 : quota_hold_new(peer_uid(peer), QUOTA_CALLS, &call->hold);
        if (r >= 0)
                return 1;
        call_refuse(call, bus_error_name(r), "too many calls of this user wait for a collection");
        return r;
}

Peer *bus_current_peer(sd_bus *bus) {
        sd_bus_message *message = sd_bus_get_current_message(bus);
        if (!message || message != current.message)
                return NULL;
        return peer_registry_find(current.authorizer->peers, sd_bus_message_get_sender(message));
}

const char *bus_call_namespace(sd_bus_message *message) {
        assert(message == current.message);
        return current.namespace;
}

PeerRegistry *bus_peers(sd_bus *bus) {
        return the_authorizer && the_authorizer->bus == bus ? the_authorizer->peers : NULL;
}

bool bus_peer_may_see_namespace(const Peer *peer, const char *namespace) {
        return peer_is_root(peer) || peer_is_sibling(peer, BUS_SIBLING_IMAGES | BUS_SIBLING_CONTENT) ||
               string_equal(namespace, peer_namespace(peer));
}

bool bus_may_see_namespace(sd_bus *bus, const char *namespace) {
        sd_bus_message *message = sd_bus_get_current_message(bus);
        const Peer *peer = bus_current_peer(bus);
        uint8_t type;

        if (!peer) /* a call that was not admitted sees nothing */
                return !message || sd_bus_message_get_type(message, &type) < 0 ||
                       type != SD_BUS_MESSAGE_METHOD_CALL;
        return bus_peer_may_see_namespace(peer, namespace) ||
               (current.foreign && string_equal(namespace, current.namespace));
}
