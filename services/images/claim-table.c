/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/claim-table.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

typedef struct ClaimEntry {
        char *key;
        bool is_busy;
        unsigned needs;
} ClaimEntry;

struct ClaimTable {
        void *tree;
};

struct ClaimHold {
        ClaimTable *table; /* weak */
        ClaimEntry *entry;
        ClaimKind kind;
};

static int entry_compare(const void *a, const void *b) {
        return strcmp(((const ClaimEntry *) a)->key, ((const ClaimEntry *) b)->key);
}

static void entry_free(void *pointer) {
        ClaimEntry *entry = pointer;
        free(entry->key);
        free(entry);
}

int claim_table_new(ClaimTable **ret) {
        *ret = new0(ClaimTable, 1);
        return *ret ? 0 : -ENOMEM;
}

ClaimTable *claim_table_free(ClaimTable *table) {
        if (!table)
                return NULL;
        tdestroy(table->tree, entry_free);
        free(table);
        return NULL;
}

/* Namespaces and kinds of things have no '/'. */
static char *make_key(const char *namespace, const char *thing, const char *name) {
        char *key;
        return asprintf(&key, "%s/%s/%s", namespace, thing, name) < 0 ? NULL : key;
}

static ClaimEntry *entry_find(const ClaimTable *table, char *key) {
        void *node = tfind(&(ClaimEntry){ .key = key }, &table->tree, entry_compare);
        return node ? *(ClaimEntry **) node : NULL;
}

static int entry_get(ClaimTable *table, const char *namespace, const char *thing, const char *name,
                     ClaimEntry **ret) {
        _cleanup_free_ char *key = make_key(namespace, thing, name);
        if (!key)
                return -ENOMEM;
        ClaimEntry *entry = entry_find(table, key);
        if (!entry) {
                entry = new0(ClaimEntry, 1);
                if (!entry)
                        return -ENOMEM;
                entry->key = TAKE_PTR(key);
                if (!tsearch(entry, &table->tree, entry_compare)) {
                        entry_free(entry);
                        return -ENOMEM;
                }
        }
        *ret = entry;
        return 0;
}

static void entry_drop_if_unused(ClaimTable *table, ClaimEntry *entry) {
        if (entry->is_busy || entry->needs > 0)
                return;
        tdelete(entry, &table->tree, entry_compare);
        entry_free(entry);
}

int claim_table_hold(ClaimTable *table, ClaimKind kind, const char *namespace, const char *thing,
                     const char *name, ClaimHold **ret) {
        ClaimHold *hold = new0(ClaimHold, 1);
        if (!hold)
                return -ENOMEM;
        int r = entry_get(table, namespace, thing, name, &hold->entry);
        if (r >= 0 && kind == CLAIM_BUSY && hold->entry->is_busy)
                r = -EBUSY;
        if (r < 0) {
                free(hold);
                return r;
        }
        hold->table = table;
        hold->kind = kind;
        if (kind == CLAIM_BUSY)
                hold->entry->is_busy = true;
        else
                hold->entry->needs++;
        *ret = hold;
        return 0;
}

ClaimHold *claim_hold_free(ClaimHold *hold) {
        if (!hold)
                return NULL;
        if (hold->kind == CLAIM_BUSY)
                hold->entry->is_busy = false;
        else
                hold->entry->needs--;
        entry_drop_if_unused(hold->table, hold->entry);
        free(hold);
        return NULL;
}

bool claim_table_has(const ClaimTable *table, const char *namespace, const char *thing, const char *name) {
        _cleanup_free_ char *key = make_key(namespace, thing, name);
        return key && entry_find(table, key);
}

typedef struct ClaimWalk {
        ClaimVisit visit;
        void *userdata;
        int r;
} ClaimWalk;

static void visit_entry(const void *node, VISIT order, void *userdata) {
        const ClaimEntry *entry = *(ClaimEntry *const *) node;
        ClaimWalk *walk = userdata;
        if (walk->r < 0 || (order != postorder && order != leaf))
                return;
        const char *thing = strchr(entry->key, '/'), *name = strchr(thing + 1, '/');
        _cleanup_free_ char *namespace_text = strndup(entry->key, (size_t) (thing - entry->key));
        _cleanup_free_ char *thing_text = strndup(thing + 1, (size_t) (name - thing - 1));
        walk->r = namespace_text && thing_text
                          ? walk->visit(namespace_text, thing_text, name + 1, walk->userdata)
                          : -ENOMEM;
}

int claim_table_visit(const ClaimTable *table, ClaimVisit visit, void *userdata) {
        ClaimWalk walk = { .visit = visit, .userdata = userdata };
        twalk_r(table->tree, visit_entry, &walk);
        return walk.r;
}
