/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/reference-graph.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

/* Deeper stacks are not mounted; a circle ends here. */
#define DEPTH_MAX 1024
/* As many as HOWS_MAX leave room for in an edge: an owner that lists more is not believed. */
#define NODE_BITS 26
#define NODES_MAX (UINT32_C(1) << NODE_BITS)
#define HOWS_MAX 64

typedef struct Edge {
        uint32_t to : NODE_BITS;
        uint32_t how : 32 - NODE_BITS;
        uint32_t next; /* that leaves the same node */
} Edge;

static_assert(HOWS_MAX == 1 << (32 - NODE_BITS), "each has its number");

struct ReferenceGraph {
        NameArena names;
        Node *nodes;
        uint32_t node_count, nodes_allocated;
        Edge *edges;
        uint32_t edge_count, edges_allocated;
        uint32_t first_edges; /* what was told in the first round; UINT32_MAX: this is it */
        uint32_t *slots;      /* of the hash table: indexes of nodes, or NODE_NONE */
        uint32_t slot_count;
        uint32_t *queue; /* nodes that are to be followed; those before position have been */
        uint32_t queued, position, queue_allocated;
        const char *hows[HOWS_MAX];
        uint8_t how_count;
        uint64_t *since; /* NULL: it is not known of any */
        uint32_t since_count;
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
        ReferenceGraph *graph = new0(ReferenceGraph, 1);
        if (!graph)
                return -ENOMEM;
        graph->first_edges = UINT32_MAX;
        *ret = graph;
        return 0;
}

ReferenceGraph *reference_graph_free(ReferenceGraph *graph) {
        if (!graph)
                return NULL;
        name_arena_done(&graph->names);
        free(graph->nodes);
        free(graph->edges);
        free(graph->slots);
        free(graph->queue);
        free(graph->since);
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

/* ---- nodes ---- */

static uint32_t hash_of(NodeKind kind, uint32_t namespace, const PackedName *name) {
        return (uint32_t) packed_name_hash(name, (uint64_t) namespace << 8 | (uint64_t) kind);
}

static uint32_t hash_of_node(const ReferenceGraph *graph, uint32_t node) {
        PackedName name;
        name_arena_get(&graph->names, graph->nodes[node].name, &name);
        return hash_of((NodeKind) graph->nodes[node].kind, graph->nodes[node].namespace, &name);
}

static bool node_is(const ReferenceGraph *graph, const Node *node, NodeKind kind, uint32_t namespace,
                    const PackedName *name) {
        return node->kind == (uint8_t) kind && node->namespace == namespace &&
               name_arena_is(&graph->names, node->name, name);
}

/* Where it is, or where it would be. */
static uint32_t find_slot(const ReferenceGraph *graph, NodeKind kind, uint32_t namespace,
                          const PackedName *name) {
        uint32_t slot = hash_of(kind, namespace, name) & (graph->slot_count - 1);
        for (;; slot = (slot + 1) & (graph->slot_count - 1)) {
                uint32_t found = graph->slots[slot];
                if (found == NODE_NONE || node_is(graph, &graph->nodes[found], kind, namespace, name))
                        return slot;
        }
}

/* At most three of four slots are taken. */
static int slots_grow(ReferenceGraph *graph) {
        if (graph->node_count < graph->slot_count / 4 * 3)
                return 0;
        uint32_t count = graph->slot_count ? graph->slot_count * 2 : 1024;
        uint32_t *slots = reallocarray(NULL, count, sizeof(uint32_t));
        if (!slots)
                return -ENOMEM;
        memset(slots, 0xff, count * sizeof(uint32_t));
        for (uint32_t i = 0; i < graph->node_count; i++) {
                uint32_t slot = hash_of_node(graph, i) & (count - 1);
                while (slots[slot] != NODE_NONE)
                        slot = (slot + 1) & (count - 1);
                slots[slot] = i;
        }
        free(graph->slots);
        graph->slots = slots;
        graph->slot_count = count;
        return 0;
}

static void pack(NodeKind kind, NodeName name, PackedName *ret) {
        (kind == NODE_NAMESPACE ? name_pack_text : name_pack)(name, ret);
}

static int add_node(ReferenceGraph *graph, NodeKind kind, uint32_t namespace, NodeName name, uint32_t *ret) {
        PackedName packed;
        uint32_t number;
        int r = slots_grow(graph);
        if (r < 0)
                return r;
        pack(kind, name, &packed);
        uint32_t slot = find_slot(graph, kind, namespace, &packed);
        if (graph->slots[slot] != NODE_NONE) {
                *ret = graph->slots[slot];
                return 0;
        }
        if (graph->node_count == NODES_MAX)
                return -E2BIG;
        Node *nodes = array_grow(graph->nodes, graph->node_count, &graph->nodes_allocated, sizeof(Node));
        if (!nodes)
                return -ENOMEM;
        graph->nodes = nodes;
        r = name_arena_add(&graph->names, &packed, &number);
        if (r < 0)
                return r;
        graph->nodes[graph->node_count] = (Node){
                .name = number,
                .namespace = namespace,
                .edges = NODE_NONE,
                .from = NODE_NONE,
                .kind = (uint8_t) kind,
        };
        graph->slots[slot] = graph->node_count;
        *ret = graph->node_count++;
        return 0;
}

static uint32_t find_node(const ReferenceGraph *graph, NodeKind kind, uint32_t namespace, NodeName name) {
        PackedName packed;
        if (graph->slot_count == 0)
                return NODE_NONE;
        pack(kind, name, &packed);
        return graph->slots[find_slot(graph, kind, namespace, &packed)];
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
        /* Kept as text: no buffer is needed. */
        return space == NODE_NONE ? "" : name_arena_text(&graph->names, graph->nodes[space].name, NULL);
}

const char *reference_graph_name(const ReferenceGraph *graph, uint32_t node,
                                 char buffer[DIGEST_STRING_MAX]) {
        return name_arena_text(&graph->names, graph->nodes[node].name, buffer);
}

int reference_graph_set_since(ReferenceGraph *graph, uint32_t node, uint64_t since) {
        if (node >= graph->since_count) {
                uint64_t *larger = reallocarray(graph->since, graph->node_count, sizeof(uint64_t));
                if (!larger)
                        return -ENOMEM;
                memset(larger + graph->since_count, 0,
                       (graph->node_count - graph->since_count) * sizeof(uint64_t));
                graph->since = larger;
                graph->since_count = graph->node_count;
        }
        graph->since[node] = since;
        return 0;
}

uint64_t reference_graph_since(const ReferenceGraph *graph, uint32_t node) {
        return node < graph->since_count ? graph->since[node] : 0;
}

/* ---- references ---- */

/* Its number: there are a few of them. */
static uint8_t number_of_how(ReferenceGraph *graph, const char *how) {
        uint8_t i = 0;
        while (i < graph->how_count && !string_equal(graph->hows[i], how))
                i++;
        assert(i < HOWS_MAX);
        if (i == graph->how_count)
                graph->hows[graph->how_count++] = how;
        return i;
}

int reference_graph_add_edge(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how) {
        Edge *edges = array_grow(graph->edges, graph->edge_count, &graph->edges_allocated, sizeof(Edge));
        if (!edges)
                return -ENOMEM;
        graph->edges = edges;
        graph->edges[graph->edge_count] = (Edge){
                .to = to,
                .next = graph->nodes[from].edges,
                .how = number_of_how(graph, how),
        };
        graph->nodes[from].edges = graph->edge_count++;
        return graph->nodes[from].followed ? reference_graph_reach(graph, from, to, how) : 0;
}

void reference_graph_begin_again(ReferenceGraph *graph) {
        if (graph->first_edges == UINT32_MAX)
                graph->first_edges = graph->edge_count;
        for (uint32_t i = 0; i < graph->node_count; i++) {
                Node *node = &graph->nodes[i];
                node->expired = false;
                while (node->edges != NODE_NONE && node->edges >= graph->first_edges)
                        node->edges = graph->edges[node->edges].next;
        }
        graph->edge_count = graph->first_edges;
        graph->queued = graph->position = 0;
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

static void make_live(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how) {
        Node *node = &graph->nodes[to];
        if (node->live)
                return;
        node->live = true;
        node->from = from;
        node->how = number_of_how(graph, how);
}

static int reach(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how, bool flat) {
        make_live(graph, from, to, how);
        if (flat || graph->nodes[to].followed)
                return 0;
        graph->nodes[to].followed = true;
        return queue_push(graph, to);
}

int reference_graph_reach(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how) {
        return reach(graph, from, to, how, false);
}

int reference_graph_tell(ReferenceGraph *graph, NodeKind kind, NodeName name, const char *how) {
        uint32_t to;
        int r = add_node(graph, kind, graph->nodes[graph->told].namespace, name, &to);
        return r < 0 ? r : reach(graph, graph->told, to, how, graph->flat);
}

static bool is_document(const ReferenceGraph *graph, uint32_t node) {
        PackedName name;
        if (!graph->tell || graph->nodes[node].kind != NODE_BLOB)
                return false;
        name_arena_get(&graph->names, graph->nodes[node].name, &name);
        return graph->slots[find_slot(graph, NODE_DOCUMENT, NODE_NONE, &name)] != NODE_NONE;
}

/* Names move when others are added: the one that is told about is a copy. */
static int hear_document(ReferenceGraph *graph, uint32_t node, bool flat) {
        char buffer[DIGEST_STRING_MAX];
        _cleanup_free_ char *name = strdup(reference_graph_name(graph, node, buffer));
        if (!name)
                return -ENOMEM;
        graph->told = node;
        graph->flat = flat;
        return graph->tell(name, graph->userdata);
}

static int follow(ReferenceGraph *graph, uint32_t node, bool flat) {
        int r = is_document(graph, node) ? hear_document(graph, node, flat) : 0;
        for (uint32_t e = graph->nodes[node].edges; r >= 0 && e != NODE_NONE; e = graph->edges[e].next)
                r = reach(graph, node, graph->edges[e].to, graph->hows[graph->edges[e].how], flat);
        return r;
}

/* The nearest first, so that every answer to "why?" is a short one. */
int reference_graph_follow(ReferenceGraph *graph, unsigned count) {
        int r = 0;
        for (; r >= 0 && count > 0 && graph->position < graph->queued; count--)
                r = follow(graph, graph->queue[graph->position++], false);
        if (r < 0)
                return r;
        if (graph->position < graph->queued)
                return 1;
        graph->queued = graph->position = 0;
        return 0;
}

int reference_graph_mark(ReferenceGraph *graph, uint32_t root, const char *reason, bool flat) {
        make_live(graph, NODE_NONE, root, reason);
        if (flat)
                return follow(graph, root, true);
        if (graph->nodes[root].followed)
                return 0;
        graph->nodes[root].followed = true;
        return queue_push(graph, root);
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
                steps[i] = (NodeStep){ node, graph->hows[at->how] };
        }
        *ret = steps;
        *ret_count = count;
        return 0;
}

unsigned reference_graph_depth(const ReferenceGraph *graph, uint32_t node) {
        unsigned depth = 0;
        while (depth < DEPTH_MAX) {
                uint32_t e = graph->nodes[node].edges;
                while (e != NODE_NONE && !string_equal(graph->hows[graph->edges[e].how], REFERENCE_PARENT))
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
        return at->kind == (uint8_t) kind && at->listed && !at->live &&
               (!namespace || string_equal(reference_graph_namespace(graph, node), namespace));
}

void reference_graph_list_documents(ReferenceGraph *graph) {
        for (uint32_t i = 0; i < graph->node_count; i++) {
                const Node *node = &graph->nodes[i];
                PackedName name;
                if (node->kind != NODE_BLOB || !node->listed)
                        continue;
                name_arena_get(&graph->names, node->name, &name);
                uint32_t document = graph->slots[find_slot(graph, NODE_DOCUMENT, NODE_NONE, &name)];
                if (document != NODE_NONE)
                        graph->nodes[document].listed = true;
        }
}
