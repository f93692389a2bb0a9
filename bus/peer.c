/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/peer.h"

#include <errno.h>
#include <string.h>

#include "lib/identifier.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"

#define BUCKETS 256

typedef struct PeerQuestion {
        struct PeerQuestion *next;
        PeerReady ready;
        void *userdata;
} PeerQuestion;

struct PeerWatch {
        PeerWatch *next;
        Peer *peer; /* weak; NULL once the connection has ended */
        PeerGone gone;
        void *userdata;
};

struct Peer {
        Peer *next;
        PeerRegistry *registry; /* weak */
        char *name;
        bool known;
        unsigned pins;
        uint64_t last_call; /* by the registry's count of calls */
        uid_t uid;
        pid_t pid;
        char namespace[NAMESPACE_SIZE];
        sd_bus_slot *asking;
        PeerQuestion *questions;
        PeerWatch *watches;
};

struct PeerRegistry {
        sd_bus *bus;
        sd_bus_slot *owner_changed;
        size_t count;
        uint64_t calls;
        Peer *buckets[BUCKETS];
};

static size_t name_bucket(const char *name) {
        size_t hash = 5381;
        for (; *name; name++)
                hash = hash * 33 + (unsigned char) *name;
        return hash % BUCKETS;
}

static void peer_answer(Peer *peer, bool known) {
        PeerQuestion *question = TAKE_PTR(peer->questions);
        while (question) {
                PeerQuestion *next = question->next;
                question->ready(known ? peer : NULL, question->userdata);
                free(question);
                question = next;
        }
}

static void peer_free(Peer *peer) {
        Peer **place = &peer->registry->buckets[name_bucket(peer->name)];
        while (*place && *place != peer)
                place = &(*place)->next;
        if (*place) {
                *place = peer->next;
                peer->registry->count--;
        }
        sd_bus_slot_unref(peer->asking);
        peer_answer(peer, false);

        /* A watch may free itself or others while it is told. */
        while (peer->watches) {
                PeerWatch *watch = peer->watches;
                peer->watches = watch->next;
                watch->peer = NULL;
                watch->gone(watch->userdata);
        }
        free(peer->name);
        free(peer);
}

static int on_name_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        PeerRegistry *registry = userdata;
        const char *name, *old_owner, *new_owner;

        if (sd_bus_message_read(message, "sss", &name, &old_owner, &new_owner) < 0 || new_owner[0])
                return 0;
        for (Peer *peer = registry->buckets[name_bucket(name)]; peer; peer = peer->next)
                if (strcmp(peer->name, name) == 0) {
                        peer_free(peer);
                        break;
                }
        return 0;
}

static int on_match_installed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_method_error(message, NULL))
                log_error("the bus does not tell us who disconnects: %s",
                          sd_bus_message_get_error(message)->message);
        return 0;
}

int peer_registry_new(sd_bus *bus, PeerRegistry **ret) {
        _cleanup_(peer_registry_freep) PeerRegistry *registry = new0(PeerRegistry, 1);
        if (!registry)
                return -ENOMEM;
        registry->bus = sd_bus_ref(bus);

        /* One match for all of them: the bus limits how many a connection may have. */
        int r = sd_bus_add_match_async(
                bus, &registry->owner_changed,
                "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                on_name_owner_changed, on_match_installed, registry);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(registry);
        return 0;
}

PeerRegistry *peer_registry_free(PeerRegistry *registry) {
        if (!registry)
                return NULL;
        for (size_t i = 0; i < BUCKETS; i++)
                while (registry->buckets[i])
                        peer_free(registry->buckets[i]);
        sd_bus_slot_unref(registry->owner_changed);
        sd_bus_unref(registry->bus);
        free(registry);
        return NULL;
}

static Peer *registry_find_any(PeerRegistry *registry, const char *name) {
        for (Peer *peer = registry->buckets[name_bucket(name)]; peer; peer = peer->next)
                if (strcmp(peer->name, name) == 0)
                        return peer;
        return NULL;
}

Peer *peer_registry_find(PeerRegistry *registry, const char *unique_name) {
        Peer *peer = unique_name ? registry_find_any(registry, unique_name) : NULL;
        return peer && peer->known ? peer : NULL;
}

static int read_credentials(sd_bus_message *message, uid_t *ret_uid, pid_t *ret_pid) {
        bool have_uid = false;
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                const char *key;
                uint32_t value = 0;
                r = sd_bus_message_read(message, "s", &key);
                if (r < 0)
                        break;
                bool is_uid = string_equal(key, "UnixUserID");
                if (is_uid || string_equal(key, "ProcessID"))
                        r = sd_bus_message_read(message, "v", "u", &value);
                else
                        r = sd_bus_message_skip(message, "v");
                if (r < 0)
                        break;
                if (is_uid) {
                        *ret_uid = value;
                        have_uid = true;
                } else if (string_equal(key, "ProcessID"))
                        *ret_pid = (pid_t) value;
                r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : have_uid ? 0 : -ENODATA;
}

static int on_credentials(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Peer *peer = userdata;

        peer->asking = sd_bus_slot_unref(peer->asking);
        if (sd_bus_message_is_method_error(message, NULL) ||
            read_credentials(message, &peer->uid, &peer->pid) < 0) {
                peer_free(peer); /* gone already: nobody is left to be answered */
                return 0;
        }
        peer->known = true;
        (void) namespace_of_uid(peer->uid, peer->namespace);
        peer_answer(peer, true);
        return 0;
}

/* The one that called least recently and has nothing under way. */
static Peer *registry_find_idle(PeerRegistry *registry) {
        Peer *idle = NULL;
        for (size_t i = 0; i < BUCKETS; i++)
                for (Peer *peer = registry->buckets[i]; peer; peer = peer->next)
                        if (peer->known && peer->pins == 0 && !peer->watches &&
                            (!idle || peer->last_call < idle->last_call))
                                idle = peer;
        return idle;
}

static int peer_new(PeerRegistry *registry, const char *name, Peer **ret) {
        if (registry->count >= LIMIT_PEERS) {
                Peer *idle = registry_find_idle(registry);
                if (!idle)
                        return -EDQUOT;
                peer_free(idle);
        }
        Peer *peer = new0(Peer, 1);
        if (!peer)
                return -ENOMEM;
        peer->registry = registry;
        peer->name = strdup(name);
        if (!peer->name) {
                free(peer);
                return -ENOMEM;
        }
        size_t bucket = name_bucket(name);
        peer->next = registry->buckets[bucket];
        registry->buckets[bucket] = peer;
        registry->count++;

        /* The match was installed by an earlier message of ours, so that an end between this answer and now
         * is seen. */
        int r = sd_bus_call_method_async(registry->bus, &peer->asking, "org.freedesktop.DBus",
                                         "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                         "GetConnectionCredentials", on_credentials, peer, "s", name);
        if (r < 0) {
                peer_free(peer);
                return r;
        }
        *ret = peer;
        return 0;
}

int peer_registry_learn(PeerRegistry *registry, const char *unique_name, PeerReady ready, void *userdata) {
        Peer *peer = registry_find_any(registry, unique_name);
        registry->calls++;
        if (peer)
                peer->last_call = registry->calls;
        if (peer && peer->known) {
                ready(peer, userdata);
                return 0;
        }

        PeerQuestion *question = new0(PeerQuestion, 1);
        if (!question)
                return -ENOMEM;
        *question = (PeerQuestion){ .ready = ready, .userdata = userdata };
        if (!peer) {
                int r = peer_new(registry, unique_name, &peer);
                if (r < 0) {
                        free(question);
                        return r;
                }
        }
        peer->last_call = registry->calls;
        question->next = peer->questions;
        peer->questions = question;
        return 0;
}

void peer_registry_pin(PeerRegistry *registry, const char *unique_name) {
        Peer *peer = peer_registry_find(registry, unique_name);
        if (peer)
                peer->pins++;
}

void peer_registry_unpin(PeerRegistry *registry, const char *unique_name) {
        Peer *peer = peer_registry_find(registry, unique_name);
        if (!peer)
                return;
        assert(peer->pins > 0);
        peer->pins--;
}

int peer_registry_visit(PeerRegistry *registry, int (*visit)(const Peer *peer, void *userdata),
                        void *userdata) {
        for (size_t i = 0; i < BUCKETS; i++)
                for (const Peer *peer = registry->buckets[i]; peer; peer = peer->next) {
                        int r = peer->known ? visit(peer, userdata) : 0;
                        if (r < 0)
                                return r;
                }
        return 0;
}

const char *peer_unique_name(const Peer *peer) {
        return peer->name;
}

uid_t peer_uid(const Peer *peer) {
        return peer->uid;
}

pid_t peer_pid(const Peer *peer) {
        return peer->pid;
}

bool peer_is_root(const Peer *peer) {
        return peer->uid == 0;
}

const char *peer_namespace(const Peer *peer) {
        return peer->namespace;
}

int peer_watch_new(Peer *peer, PeerGone gone, void *userdata, PeerWatch **ret) {
        PeerWatch *watch = new0(PeerWatch, 1);
        if (!watch)
                return -ENOMEM;
        *watch = (PeerWatch){ .next = peer->watches, .peer = peer, .gone = gone, .userdata = userdata };
        peer->watches = watch;
        *ret = watch;
        return 0;
}

PeerWatch *peer_watch_free(PeerWatch *watch) {
        if (!watch)
                return NULL;
        if (watch->peer) {
                PeerWatch **place = &watch->peer->watches;
                while (*place != watch)
                        place = &(*place)->next;
                *place = watch->next;
        }
        free(watch);
        return NULL;
}
