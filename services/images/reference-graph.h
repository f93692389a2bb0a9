/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who needs whom: things of all namespaces, the references between them, and what can be reached from the
 * roots. What cannot be is garbage. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"
#include "services/images/name-arena.h"

typedef enum NodeKind {
        NODE_BLOB,
        NODE_SNAPSHOT,
        NODE_IMAGE,
        NODE_CONTAINER,
        NODE_LEASE,
        NODE_INGEST,
        NODE_TRANSFER,
        NODE_DOCUMENT, /* a digest whose blobs refer to others: reference_graph_add_document() */
        NODE_NAMESPACE,
        _NODE_KIND_MAX,
        _NODE_KIND_INVALID = -22,
} NodeKind;

/* "blob", "snapshot", "image", … */
const char *node_kind_to_string(NodeKind kind);
NodeKind node_kind_from_string(const char *name);

#define NODE_NONE UINT32_MAX

/* There are as many of these as things: each byte counts. */
typedef struct Node {
        uint64_t stamp;
        uint64_t created;
        uint64_t bytes : 48; /* at most NODE_BYTES_MAX, whatever its owner says */
        uint64_t kind : 4;
        uint64_t how : 8;      /* of one that is live: how it was reached, or why it is a root */
        uint64_t listed : 1;   /* its owner says that it is there */
        uint64_t expired : 1;  /* its label org.crt.gc.root counts no longer */
        uint64_t live : 1;     /* reached */
        uint64_t followed : 1; /* and so is what it refers to, or will be */
        uint32_t name;         /* reference_graph_name() */
        uint32_t from;      /* of one that is live: from which one it was reached; NODE_NONE: it is a root */
        uint32_t namespace; /* a node */
        uint32_t edges;     /* the first one that leaves it; or NODE_NONE */
} Node;

static_assert(sizeof(Node) == 40, "nothing in it is wasted");
#define NODE_BYTES_MAX ((UINT64_C(1) << 48) - 1)

/* One step of the answer to "why?". */
typedef struct NodeStep {
        uint32_t node;
        const char *how; /* it is reached from the one before; of the first: why it is a root */
} NodeStep;

typedef struct ReferenceGraph ReferenceGraph;

int reference_graph_new(ReferenceGraph **ret);
ReferenceGraph *reference_graph_free(ReferenceGraph *graph);
DEFINE_CLEANUP(ReferenceGraph *, reference_graph_free);

/* The node, made if there is none. Pointers to nodes, and names that are no digests, are valid until the
 * next one is made. */
int reference_graph_add(ReferenceGraph *graph, NodeKind kind, NodeName namespace, NodeName name,
                        uint32_t *ret);
uint32_t reference_graph_find(const ReferenceGraph *graph, NodeKind kind, NodeName namespace, NodeName name);
Node *reference_graph_node(ReferenceGraph *graph, uint32_t node);
uint32_t reference_graph_count(const ReferenceGraph *graph);
const char *reference_graph_namespace(const ReferenceGraph *graph, uint32_t node);
const char *reference_graph_name(const ReferenceGraph *graph, uint32_t node, char buffer[DIGEST_STRING_MAX]);
/* Since when nothing reaches it, as far as is known; 0: that is not known. */
int reference_graph_set_since(ReferenceGraph *graph, uint32_t node, uint64_t since);
uint64_t reference_graph_since(const ReferenceGraph *graph, uint32_t node);

/* how and reason are literals. From one that is live already, what it leads to is so, too. */
int reference_graph_add_edge(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how);
/* A blob with that digest is a document: what it refers to, in whatever namespace it is, is asked for when
 * it is reached. */
int reference_graph_add_document(ReferenceGraph *graph, NodeName digest);
typedef int (*ReferenceTell)(const char *digest, void *userdata);
void reference_graph_set_tell(ReferenceGraph *graph, ReferenceTell tell, void *userdata);
/* Within tell(), for each reference: how is a literal. */
int reference_graph_tell(ReferenceGraph *graph, NodeKind kind, NodeName name, const char *how);
/* Something that is live needs this as well; nothing happens if it is live already. */
int reference_graph_reach(ReferenceGraph *graph, uint32_t from, uint32_t to, const char *how);
/* It is live from now on. flat: what it refers to is so, too, and nothing behind that. */
int reference_graph_mark(ReferenceGraph *graph, uint32_t root, const char *reason, bool flat);
/* And so is everything that can be reached from what was marked or reached: some of it. 1: there is more. */
int reference_graph_follow(ReferenceGraph *graph, unsigned count);
/* What refers to what will be told once more, and so is forgotten as far as it was told since the first
 * call; what is live stays live. */
void reference_graph_begin_again(ReferenceGraph *graph);

/* From the root to the node, malloc()ed; *ret_count is 0 if nothing reaches it. */
int reference_graph_why(const ReferenceGraph *graph, uint32_t node, NodeStep **ret, size_t *ret_count);
/* How many parents a snapshot stands on. */
unsigned reference_graph_depth(const ReferenceGraph *graph, uint32_t node);

/* It is there, nothing reaches it, and it is of that kind and namespace (NULL: any). */
bool reference_graph_is_garbage(const ReferenceGraph *graph, uint32_t node, NodeKind kind,
                                const char *namespace);
/* Documents are listed when a blob of that digest is, in whatever namespace. */
void reference_graph_list_documents(ReferenceGraph *graph);

/* How a snapshot refers to the one below it. */
#define REFERENCE_PARENT "parent"
