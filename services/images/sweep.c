/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/sweep.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "lib/strv.h"

/* An unpacking that was cancelled may take a moment to let go of its snapshot: of all in one sweep, since on
 * a disk that can't be written to any more each would stay busy until the next start. */
#define BUSY_TRIES 300
#define UNREACHABLE_TRIES 10
#define BUSY_DELAY 100 /* milliseconds */

typedef struct SweepItem {
        SweepKind kind;
        char *namespace;
        char *name;
        char *claimed; /* what claims call it: of an ingest, the digest of its blob */
        char *after;   /* SWEEP_KEYS: the page that was read last ended here */
        bool last;     /* SWEEP_KEYS: after all pages, whether anything has stayed */
        unsigned tries;
} SweepItem;

struct Sweep {
        ImageService *service;
        SweepItem *items;
        size_t count;
        size_t position;
        unsigned busy; /* how often an item was */
        StoreCall *call;
        ClaimHold *claim;
        SweepDone done;
        void *userdata;
};

static const struct {
        StoreMethod method;
        const char *thing; /* of claims; NULL: nobody else can want it */
} actions[_SWEEP_KIND_MAX] = {
        [SWEEP_JOB] = { STORE_JOB_CANCEL },
        [SWEEP_KEY] = { STORE_SNAPSHOT_REMOVE },
        [SWEEP_KEYS] = { STORE_SNAPSHOT_LIST },
        [SWEEP_INGEST] = { STORE_CONTENT_ABORT, THING_BLOB },
};

int sweep_new(ImageService *service, Sweep **ret) {
        Sweep *sweep = new0(Sweep, 1);
        if (!sweep)
                return -ENOMEM;
        sweep->service = service;
        *ret = sweep;
        return 0;
}

static void item_done(SweepItem *item) {
        free(item->namespace);
        free(item->name);
        free(item->claimed);
        free(item->after);
}

Sweep *sweep_free(Sweep *sweep) {
        if (!sweep)
                return NULL;
        for (size_t i = 0; i < sweep->count; i++)
                item_done(&sweep->items[i]);
        store_call_free(sweep->call);
        claim_hold_free(sweep->claim);
        free(sweep->items);
        free(sweep);
        return NULL;
}

int sweep_add(Sweep *sweep, SweepKind kind, const char *namespace, const char *name) {
        SweepItem *larger = realloc(sweep->items, (sweep->count + 1) * sizeof(SweepItem));
        if (!larger)
                return -ENOMEM;
        sweep->items = larger;
        SweepItem item = {
                .kind = kind,
                .namespace = strdup(namespace),
                .name = strdup(name),
                .claimed = strndup(name, kind == SWEEP_INGEST ? strcspn(name, "+") : strlen(name)),
                .after = strdup(name),
        };
        if (!item.namespace || !item.name || !item.claimed || !item.after) {
                item_done(&item);
                return -ENOMEM;
        }
        sweep->items[sweep->count++] = item;
        return 0;
}

static int add_unpacking(const char *namespace, const char *prefix, void *userdata) {
        return sweep_add(userdata, SWEEP_KEYS, namespace, prefix);
}

int sweep_add_unpackings(Sweep *sweep) {
        return image_store_list_unpacking(sweep->service->images, add_unpacking, sweep);
}

static bool is_needed(const Sweep *sweep, const SweepItem *item) {
        const char *thing = actions[item->kind].thing;
        return thing && claim_table_has(sweep->service->claims, item->namespace, thing, item->claimed);
}

/* Adds another look at the list. */
static int add_look(Sweep *sweep, const SweepItem *item, const char *after) {
        char *copy = strdup(after ? after : item->name);
        if (!copy)
                return -ENOMEM;
        int r = sweep_add(sweep, SWEEP_KEYS, item->namespace, item->name);
        if (r < 0) {
                free(copy);
                return r;
        }
        SweepItem *added = &sweep->items[sweep->count - 1];
        free(added->after);
        added->after = copy;
        added->last = !after;
        return 0;
}

/* The keys that were listed become items of their own, with another look at the list behind them. When there
 * is none left at all, the transfer that they were of is forgotten. */
static int add_keys(Sweep *sweep, const StoreReply *reply) {
        const SweepItem item = sweep->items[sweep->position];
        const char *last = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && reply->names && reply->names[i]; i++) {
                if (!string_after(reply->names[i], item.name))
                        break;
                last = reply->names[i];
                if (!item.last)
                        r = sweep_add(sweep, SWEEP_KEY, item.namespace, last);
        }
        if (r < 0)
                return r;
        if (last)
                return item.last ? 0 : add_look(sweep, &item, last);
        if (!item.last && !string_equal(item.after, item.name))
                return add_look(sweep, &item, NULL);
        return image_store_remove_unpacking(sweep->service->images, item.namespace, item.name);
}

static void on_reply(StoreReply *reply, void *userdata);

/* 1 if an answer is waited for. */
static int begin_item(Sweep *sweep) {
        SweepItem *item = &sweep->items[sweep->position];

        if (is_needed(sweep, item))
                return 0;
        if (actions[item->kind].thing) {
                int r = claim_table_hold(sweep->service->claims, CLAIM_BUSY, item->namespace,
                                         actions[item->kind].thing, item->claimed, &sweep->claim);
                if (r < 0)
                        return r;
        }
        int r = store_call_new(sweep->service->stores,
                               &(StoreArguments){
                                       .method = actions[item->kind].method,
                                       .namespace = item->namespace,
                                       .name = item->kind == SWEEP_KEYS ? item->after : item->name,
                                       .fd = -EBADF,
                                       .delay = item->tries > 0 ? BUSY_DELAY : 0,
                               },
                               on_reply, sweep, &sweep->call);
        return r < 0 ? r : 1;
}

static void end_item(Sweep *sweep) {
        if (sweep->claim) {
                sweep->claim = claim_hold_free(sweep->claim);
                sweep->service->released = true;
        }
        sweep->position++;
}

static void run(Sweep *sweep) {
        while (sweep->position < sweep->count) {
                int r = begin_item(sweep);
                if (r > 0)
                        return;
                if (r < 0)
                        log_debug("%s of %s is left: %s", sweep->items[sweep->position].name,
                                  sweep->items[sweep->position].namespace, strerror(-r));
                end_item(sweep);
        }
        ImageService *service = sweep->service;
        SweepDone done = sweep->done;
        void *userdata = sweep->userdata;
        service->sweeps--;
        sweep_free(sweep);
        done(userdata);
        image_service_poke(service);
}

static void on_reply(StoreReply *reply, void *userdata) {
        Sweep *sweep = userdata;
        SweepItem *item = &sweep->items[sweep->position];

        sweep->call = NULL;
        if (item->kind == SWEEP_KEYS && reply->r >= 0) {
                reply->r = add_keys(sweep, reply);
                item = &sweep->items[sweep->position];
        }
        /* A service that died meanwhile is started by being asked again. */
        bool again = item->kind == SWEEP_KEY && reply->r == -EBUSY ? ++sweep->busy < BUSY_TRIES
                     : reply->r == -EHOSTUNREACH                   ? item->tries + 1 < UNREACHABLE_TRIES
                                                                   : false;
        item->tries++;
        if (again) {
                run(sweep);
                return;
        }
        if (reply->r < 0 && reply->r != -ENOENT)
                log_debug("%s of %s is left: %s", item->name, item->namespace,
                          fault_text(&reply->fault, reply->r));
        end_item(sweep);
        run(sweep);
}

void sweep_start(Sweep *sweep, SweepDone done, void *userdata) {
        sweep->done = done;
        sweep->userdata = userdata;
        sweep->service->sweeps++;
        run(sweep);
}
