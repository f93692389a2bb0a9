/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/reference-graph.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

#define ARENA_SIZE ((size_t) 256 * 1024)
/* Deeper stacks are not mounted; a circle ends here. */
#define DEPTH_MAX 1024

typedef struct Arena {
        struct Arena *next;
        size_t used;
        size_t size;
        char data[];
} Arena;

typedef struct Edge {
        uint32_t to;
        uint32_t next; /* that leaves the same node */
        const char *how;
} Edge;

struct ReferenceGraph {
        Arena *arenas;
        Node *nodes;
        uint32_t node_count, nodes_allocated;
        Edge *edges;
        uint32_t edge_count, edges_allocated;
        uint32_t *slots; /* of the hash table: indexes of nodes, or NODE_NONE */
        uint32_t slot_count;
        uint32_t *queue; /* nodes that are to be followed */
        uint32_t queued, queue_allocated;
        ReferenceTell tell;
        void *userdata;
        uint32_t told; /* the document that tells in this moment */
        bool flat;     /* what it refers to is not followed */
};

static const char *const kind_names[_NODE_KIND_MAX] = {
        [NODE_BLOB] = "blob",           [NODE_SNAPSHOT] = "snapshot", [NODE_IMAGE] = "image",
        [NODE_CONTAINER] = "container", [NODE_LEASE] = "lease",       [NODE_INGEST] = "ingest",
        [NODE_TRANSFER] = "transfer",   [NODE_DOCUMENT] = "document", [NODE_NAMESPACE] = "namespace",
};

const char *node_kind_to_string(NodeKind kind) {
        assert(kind >= 0 && kind < _NODE_KIND_MAX);
        return kind_names[kind];
}

NodeKind node_kind_from_string(const char *name) {
        return (NodeKind) string_table_find(kind_names, ELEMENTS_OF(kind_names), name);
}

int reference_graph_new(ReferenceGraph **ret) {
        *ret = new0(ReferenceGraph, 1);
        return *ret ? 0 : -ENOMEM;
}

ReferenceGraph *reference_graph_free(ReferenceGraph *graph) {
        if (!graph)
                return NULL;
        for (Arena *arena = graph->arenas, *next; arena; arena = next) {
                next = arena->next;
                free(arena);
        }
        free(graph->nodes);
        free(graph->edges);
        free(graph->slots);
        free(graph->queue);
        free(graph);
        return NULL;
}

/* The array with room for one more: it doubles. NULL without memory, and the old one stays. */
static void *array_grow(void *array, uint32_t count, uint32_t *allocated, size_t size) {
        if (count < *allocated)
                return array;
        uint32_t more = *allocated ? *allocated * 2 : 256;
        void *larger = more > *allocated ? reallocarray(array, more, size) : NULL;
        if (larger)
                *allocated = more;
        return larger;
}

static char *arena_copy(ReferenceGraph *graph, NodeName text) {
        Arena *arena = graph->arenas;
        if (!arena || arena->size - arena->used < text.length + 1) {
                size_t size = MAX_OF(ARENA_SIZE, text.length + 1);
                arena = malloc(sizeof(Arena) + size);
                if (!arena)
                        return NULL;
                *arena = (Arena){ .next = graph->arenas, .size = size };
                graph->arenas = arena;
        }
        char *copy = arena->data + arena->used;
        memcpy(copy, text.data, text.length);
        copy[text.length] = '\0';
        arena->used += text.length + 1;
        return copy;
}

/* ---- nodes ---- */

static uint32_t hash_of(NodeKind kind, uint32_t namespace, NodeName name) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ ((uint64_t) namespace << 8 | (uint64_t) kind);
        for (size_t i = 0; i < name.length; i++) /* FNV-1a */
                hash = (hash ^ (uint8_t) name.data[i]) * UINT64_C(0x100000001b3);
        return (uint32_t) (hash ^ (hash >> 32));
}

static bool node_is(const Node *node, NodeKind kind, uint32_t namespace, NodeName name) {
        return node->kind == kind && node->namespace == namespace &&
               strncmp(node->name, name.data, name.length) == 0 && node->name[name.length] == '\0';
}

/* Where it is, or where it would be. */
static uint32_t find_slot(const ReferenceGraph *graph, uint32_t hash, NodeKind kind, uint32_t namespace,
                          NodeName name) {
        uint32_t slot = hash & (graph->slot_count - 1);
        for (;; slot = (slot + 1) & (graph->slot_count - 1)) {
                uint32_t found = graph->slots[slot];
                if (found == NODE_NONE || (graph->nodes[found].hash == hash &&
                                           node_is(&graph->nodes[found], kind, namespace, name)))
                        return slot;
        }
}

/* At most half of the slots are taken. */
static int slots_grow(ReferenceGraph *graph) {
        if (graph->node_count < graph->slot_count / 2)
                return 0;
        uint32_t count = graph->slot_count ? graph->slot_count * 2 : 1024;
        uint32_t *slots = reallocarray(NULL, count, sizeof(uint32_t));
        if (!slots)
                return -ENOMEM;
        memset(slots, 0xff, count * sizeof(uint32_t));
        for (uint32_t i = 0; i < graph->node_count; i++) {
                uint32_t slot = graph->nodes[i].hash & (count - 1);
                while (slots[slot] != NODE_NONE)
                        slot = (slot + 1) & (count - 1);
                slots[slot] = i;
        }
        free(graph->slots);
        graph->slots = slots;
        graph->slot_count = count;
        return 0;
}

static int add_node(ReferenceGraph *graph, NodeKind kind, uint32_t namespace, NodeName name, uint32_t *ret) {
        uint32_t hash = hash_of(kind, namespace, name);
        int r = slots_grow(graph);
        if (r < 0)
                return r;
        uint32_t slot = find_slot(graph, hash, kind, namespace, name);
        if (graph->slots[slot] != NODE_NONE) {
                *ret = graph->slots[slot];
                return 0;
        }
        Node *nodes = array_grow(graph->nodes, graph->node_count, &graph->nodes_allocated, sizeof(Node));
        if (!nodes)
                return -ENOMEM;
        graph->nodes = nodes;
        char *copy = arena_copy(graph, name);
        if (!copy)
                return -ENOMEM;
        graph->nodes[graph->node_count] = (Node){
                .name = copy,
                .namespace = namespace,
                .hash = hash,
                .edges = NODE_NONE,
                .from = NODE_NONE,
                .kind = kind,
        };
        graph->slots[slot] = graph->node_count;
        *ret = graph->node_count++;
        return 0;
}

static uint32_t find_node(const ReferenceGraph *graph, NodeKind kind, uint32_t namespace, NodeName name) {
        if (graph->slot_count == 0)
                return NODE_NONE;
        return graph->slots[find_slot(graph, hash_of(kind, namespace, name), kind, namespace, name)];
}

int reference_graph_add(ReferenceGraph *graph, NodeKind kind, NodeName namespace, NodeName name,
                        uint32_t *ret) {
        uint32_t space;
        int r = add_node(graph, NODE_NAMESPACE, NODE_NONE, namespace, &space);
        return r < 0 ? r : add_node(graph, kind, space, name, ret);
}

uint32_t reference_graph_find(const ReferenceGraph *graph, NodeKind kind, NodeName namespace,
                              NodeName name) {
        uint32_t space = find_node(graph, NODE_NAMESPACE, NODE_NONE, namespace);
        return space == NODE_NONE ? NODE_NONE : find_node(graph, kind, space, name);
}

Node *reference_graph_node(ReferenceGraph *graph, uint32_t node) {
        assert(node < graph->node_count);
        return &graph->nodes[node];
}

uint32_t reference_graph_count(const ReferenceGraph *graph) {
        return graph->node_count;
}

const char *reference_graph_namespace(const ReferenceGraph *graph, uint32_t node) {
        uint32_t space = graph->nodes[node].namespace;
        return space == NODE_NONE ? "" : graph->nodes[space].name;
}

/* ---- references ---- */

int reference_graph_add_edge(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how) {
        Edge *edges = array_grow(graph->edges, graph->edge_count, &graph->edges_allocated, sizeof(Edge));
        if (!edges)
                return -ENOMEM;
        graph->edges = edges;
        graph->edges[graph->edge_count] = (Edge){
                .to = to,
                .next = graph->nodes[from].edges,
                .how = how,
        };
        graph->nodes[from].edges = graph->edge_count++;
        return 0;
}

int reference_graph_add_document(ReferenceGraph *graph, NodeName digest) {
        uint32_t document;
        return add_node(graph, NODE_DOCUMENT, NODE_NONE, digest, &document);
}

void reference_graph_set_tell(ReferenceGraph *graph, ReferenceTell tell, void *userdata) {
        graph->tell = tell;
        graph->userdata = userdata;
}

/* ---- marking ---- */

static int queue_push(ReferenceGraph *graph, uint32_t node) {
        uint32_t *queue = array_grow(graph->queue, graph->queued, &graph->queue_allocated, sizeof(uint32_t));
        if (!queue)
                return -ENOMEM;
        graph->queue = queue;
        graph->queue[graph->queued++] = node;
        return 0;
}

static int reach(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how, bool flat) {
        Node *node = &graph->nodes[to];
        if (!node->live) {
                node->live = true;
                node->from = from;
                node->how = how;
        }
        if (flat || node->followed)
                return 0;
        node->followed = true;
        return queue_push(graph, to);
}

int reference_graph_tell(ReferenceGraph *graph, NodeKind kind, NodeName name, const char *how) {
        uint32_t to;
        int r = add_node(graph, kind, graph->nodes[graph->told].namespace, name, &to);
        return r < 0 ? r : reach(graph, graph->told, to, how, graph->flat);
}

static int follow(ReferenceGraph *graph, uint32_t node, bool flat) {
        const char *name = graph->nodes[node].name;
        int r = 0;
        if (graph->tell && graph->nodes[node].kind == NODE_BLOB &&
            find_node(graph, NODE_DOCUMENT, NODE_NONE, NODE_NAME(name)) != NODE_NONE) {
                graph->told = node;
                graph->flat = flat;
                r = graph->tell(name, graph->userdata);
        }
        for (uint32_t e = graph->nodes[node].edges; r >= 0 && e != NODE_NONE; e = graph->edges[e].next)
                r = reach(graph, node, graph->edges[e].to, graph->edges[e].how, flat);
        return r;
}

/* The nearest first, so that every answer to "why?" is a short one. */
static int follow_queue(ReferenceGraph *graph) {
        int r = 0;
        for (uint32_t i = 0; r >= 0 && i < graph->queued; i++)
                r = follow(graph, graph->queue[i], false);
        return r;
}

int reference_graph_mark(ReferenceGraph *graph, uint32_t root, const char *reason, bool flat) {
        Node *node = &graph->nodes[root];
        if (!node->live) {
                node->live = true;
                node->how = reason;
        }
        node->followed = true;
        graph->queued = 0;
        int r = follow(graph, root, flat);
        return r < 0 ? r : follow_queue(graph);
}

int reference_graph_reach(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how) {
        graph->queued = 0;
        int r = reach(graph, from, to, how, false);
        return r < 0 ? r : follow_queue(graph);
}

int reference_graph_why(const ReferenceGraph *graph, uint32_t node, NodeStep **ret, size_t *ret_count) {
        size_t count = 0;
        if (graph->nodes[node].live)
                for (uint32_t at = node; at != NODE_NONE && count < DEPTH_MAX; count++)
                        at = graph->nodes[at].from;
        NodeStep *steps = new0(NodeStep, count + 1);
        if (!steps)
                return -ENOMEM;
        for (size_t i = count; i-- > 0; node = graph->nodes[node].from) {
                const Node *at = &graph->nodes[node];
                steps[i] = (NodeStep){ at->kind, at->name, at->how };
        }
        *ret = steps;
        *ret_count = count;
        return 0;
}

unsigned reference_graph_depth(const ReferenceGraph *graph, uint32_t node) {
        unsigned depth = 0;
        while (depth < DEPTH_MAX) {
                uint32_t e = graph->nodes[node].edges;
                while (e != NODE_NONE && !string_equal(graph->edges[e].how, REFERENCE_PARENT))
                        e = graph->edges[e].next;
                if (e == NODE_NONE)
                        break;
                node = graph->edges[e].to;
                depth++;
        }
        return depth;
}

bool reference_graph_is_garbage(const ReferenceGraph *graph, uint32_t node, NodeKind kind,
                                const char *namespace) {
        const Node *at = &graph->nodes[node];
        return at->kind == kind && at->listed && !at->live &&
               (!namespace || string_equal(reference_graph_namespace(graph, node), namespace));
}

void reference_graph_list_documents(ReferenceGraph *graph) {
        for (uint32_t i = 0; i < graph->node_count; i++) {
                const Node *node = &graph->nodes[i];
                if (node->kind != NODE_BLOB || !node->listed)
                        continue;
                uint32_t document = find_node(graph, NODE_DOCUMENT, NODE_NONE, NODE_NAME(node->name));
                if (document != NODE_NONE)
                        graph->nodes[document].listed = true;
        }
}
