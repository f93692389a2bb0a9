/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-way.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/strv.h"
#include "services/snapshots/entry-name.h"

#define LINKS_MAX 40
#define WORK_OF_LINK 32
#define LENGTH_PER_WORK 16 /* of what is copied and looked through */

void layer_way_begin(LayerWay *way, DirectoryNode *from, const char *path, size_t length,
                     const char *entry) {
        size_t known = from->path_length;
        way->entry = entry;
        way->node = from;
        way->at = way->links = 0;
        memcpy(way->rest, path + known, length - known);
        way->rest[length - known] = '\0';
}

static int go_up(LayerWay *way, Fault *fault) {
        if (!way->node->parent)
                return 0;
        if (!way->node->described)
                return fault_set(
                        fault, -EBADMSG,
                        "%s: a link on the way leads up from a directory that the layer does not have",
                        way->entry);
        way->node = way->node->parent;
        return 0;
}

static int take(LayerWay *way, const char *part, size_t length, Fault *fault) {
        if (length > NAME_MAX)
                return fault_set(fault, -EBADMSG, "%s: a link on the way says a name that is too long",
                                 way->entry);
        if (string_after(part, ENTRY_WHITEOUT_PREFIX))
                return fault_set(fault, -EBADMSG, "%s: a link on the way leads to the name of a whiteout",
                                 way->entry);
        memcpy(way->component, part, length);
        way->component[length] = '\0';
        return 1;
}

int layer_way_next(LayerWay *way, Fault *fault) {
        for (;;) {
                const char *part = way->rest + way->at + strspn(way->rest + way->at, "/");
                size_t length = strcspn(part, "/");
                bool up = length == 2 && part[0] == '.' && part[1] == '.',
                     stays = length == 1 && part[0] == '.';
                way->at = (size_t) (part + length - way->rest);
                if (length == 0)
                        return 0;
                if (stays)
                        continue;
                int r = up ? go_up(way, fault) : take(way, part, length, fault);
                if (r != 0)
                        return r;
        }
}

uint64_t layer_way_work(const LayerWay *way, size_t target_length) {
        return WORK_OF_LINK + (target_length + strlen(way->rest + way->at)) / LENGTH_PER_WORK;
}

int layer_way_insert(LayerWay *way, const char *target, Fault *fault) {
        char joined[sizeof(way->rest)];
        if (++way->links > LINKS_MAX)
                return fault_set(fault, -EBADMSG, "%s: can't go through the links: %s", way->entry,
                                 strerror(ELOOP));
        int n = snprintf(joined, sizeof(joined), "%s%s", target, way->rest + way->at);
        if (n < 0 || (size_t) n >= sizeof(joined))
                return fault_set(fault, -EBADMSG, "%s: can't go through the links: %s", way->entry,
                                 strerror(ENAMETOOLONG));
        memcpy(way->rest, joined, (size_t) n + 1);
        way->at = 0;
        while (target[0] == '/' && way->node->parent)
                way->node = way->node->parent;
        return 0;
}
