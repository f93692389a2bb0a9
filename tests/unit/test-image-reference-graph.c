/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/reference-graph.h"
#include "tests/unit/check.h"

static ReferenceGraph *graph;

static uint32_t add(NodeKind kind, const char *name) {
        uint32_t node = NODE_NONE;
        CHECK_OK(reference_graph_add(graph, kind, NODE_NAME("system"), NODE_NAME(name), &node));
        return node;
}

static void refer(NodeKind from_kind, const char *from, NodeKind to_kind, const char *to, const char *how) {
        uint32_t a = add(from_kind, from), b = add(to_kind, to);
        CHECK_OK(reference_graph_add_edge(graph, a, b, how));
}

static struct {
        const char *digest, *child, *how;
        NodeKind kind;
} sayings[8];
static size_t saying_count;

static void say(const char *digest, NodeKind kind, const char *child, const char *how) {
        CHECK_OK(reference_graph_add_document(graph, NODE_NAME(digest)));
        sayings[saying_count].digest = digest;
        sayings[saying_count].kind = kind;
        sayings[saying_count].child = child;
        sayings[saying_count++].how = how;
}

static int tell(const char *digest, void *userdata) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < saying_count; i++)
                if (strcmp(sayings[i].digest, digest) == 0)
                        r = reference_graph_tell(graph, sayings[i].kind, NODE_NAME(sayings[i].child),
                                                 sayings[i].how);
        return r;
}

static void mark(uint32_t root, const char *reason, bool flat) {
        CHECK_OK(reference_graph_mark(graph, root, reason, flat));
        int r;
        while ((r = reference_graph_follow(graph, 1)) > 0)
                ;
        CHECK_OK(r);
}

static bool reached_by(uint32_t node, const char *how) {
        _cleanup_free_ NodeStep *steps = NULL;
        size_t count;
        CHECK_OK(reference_graph_why(graph, node, &steps, &count));
        return count > 0 && strcmp(steps[count - 1].how, how) == 0;
}

static bool step_is(const NodeStep *step, NodeKind kind, const char *name, const char *how) {
        char buffer[DIGEST_STRING_MAX];
        return reference_graph_node(graph, step->node)->kind == kind &&
               strcmp(reference_graph_name(graph, step->node, buffer), name) == 0 &&
               strcmp(step->how, how) == 0;
}

static bool is_live(NodeKind kind, const char *name) {
        return reference_graph_node(graph, add(kind, name))->live;
}

static void begin(void) {
        graph = reference_graph_free(graph);
        CHECK_OK(reference_graph_new(&graph));
        reference_graph_set_tell(graph, tell, NULL);
        saying_count = 0;
}

static void keeps_one_node_for_each_name(void) {
        begin();
        uint32_t blob = add(NODE_BLOB, "a"), other;
        CHECK(add(NODE_BLOB, "a") == blob);
        CHECK(add(NODE_SNAPSHOT, "a") != blob);
        CHECK_OK(reference_graph_add(graph, NODE_BLOB, NODE_NAME("u1000"), NODE_NAME("a"), &other));
        CHECK(other != blob);
        CHECK(reference_graph_find(graph, NODE_BLOB, NODE_NAME("system"), NODE_NAME("a")) == blob);
        CHECK(reference_graph_find(graph, NODE_BLOB, NODE_NAME("u1001"), NODE_NAME("a")) == NODE_NONE);
        CHECK(reference_graph_find(graph, NODE_BLOB, NODE_NAME("system"), NODE_NAME("aa")) == NODE_NONE);
        CHECK_STRING(reference_graph_namespace(graph, other), "u1000");
}

static void an_empty_graph_has_nothing(void) {
        begin();
        CHECK(reference_graph_find(graph, NODE_BLOB, NODE_NAME("system"), NODE_NAME("a")) == NODE_NONE);
        CHECK(reference_graph_count(graph) == 0);
}

static void holds_many(void) {
        char name[32];
        begin();
        for (unsigned i = 0; i < 50000; i++) {
                snprintf(name, sizeof(name), "sha256:%x", i * 2654435761U);
                add(NODE_BLOB, name);
        }
        CHECK(reference_graph_count(graph) == 50001);
        for (unsigned i = 0; i < 50000; i++) {
                snprintf(name, sizeof(name), "sha256:%x", i * 2654435761U);
                CHECK(reference_graph_find(graph, NODE_BLOB, NODE_NAME("system"), NODE_NAME(name)) !=
                      NODE_NONE);
        }
}

static void follows_references_from_a_root(void) {
        begin();
        refer(NODE_IMAGE, "x", NODE_BLOB, "index", "target");
        refer(NODE_BLOB, "index", NODE_BLOB, "manifest", "manifest");
        refer(NODE_BLOB, "other", NODE_BLOB, "layer", "layer");
        mark(add(NODE_IMAGE, "x"), "its name", false);
        CHECK(is_live(NODE_IMAGE, "x") && is_live(NODE_BLOB, "index") && is_live(NODE_BLOB, "manifest"));
        CHECK(!is_live(NODE_BLOB, "other") && !is_live(NODE_BLOB, "layer"));
}

static void what_a_document_says_holds_where_the_blob_is(void) {
        uint32_t foreign, layer;
        begin();
        say("manifest", NODE_BLOB, "layer", "layer");
        say("manifest", NODE_SNAPSHOT, "chain", "unpacked");
        refer(NODE_IMAGE, "x", NODE_BLOB, "manifest", "target");
        CHECK_OK(reference_graph_add(graph, NODE_BLOB, NODE_NAME("u1"), NODE_NAME("manifest"), &foreign));
        CHECK_OK(reference_graph_add(graph, NODE_BLOB, NODE_NAME("u1"), NODE_NAME("layer"), &layer));
        mark(add(NODE_IMAGE, "x"), "its name", false);
        CHECK(is_live(NODE_BLOB, "layer") && is_live(NODE_SNAPSHOT, "chain"));
        CHECK(!reference_graph_node(graph, layer)->live && !reference_graph_node(graph, foreign)->live);
}

static void a_flat_root_keeps_what_it_names_and_nothing_behind(void) {
        begin();
        say("manifest", NODE_BLOB, "layer", "layer");
        refer(NODE_LEASE, "l", NODE_BLOB, "manifest", "resource");
        mark(add(NODE_LEASE, "l"), "lease", true);
        CHECK(is_live(NODE_BLOB, "manifest") && !is_live(NODE_BLOB, "layer"));
        /* Somebody else may want all of it. */
        refer(NODE_IMAGE, "x", NODE_BLOB, "manifest", "target");
        mark(add(NODE_IMAGE, "x"), "its name", false);
        CHECK(is_live(NODE_BLOB, "layer"));
}

static void survives_circles(void) {
        begin();
        refer(NODE_BLOB, "a", NODE_BLOB, "b", "label");
        refer(NODE_BLOB, "b", NODE_BLOB, "a", "label");
        refer(NODE_SNAPSHOT, "s", NODE_SNAPSHOT, "s", REFERENCE_PARENT);
        mark(add(NODE_BLOB, "a"), "root", false);
        mark(add(NODE_BLOB, "b"), "root", false);
        CHECK(is_live(NODE_BLOB, "b"));
        CHECK(reference_graph_depth(graph, add(NODE_SNAPSHOT, "s")) > 0);
}

static void tells_why(void) {
        _cleanup_free_ NodeStep *steps = NULL, *none = NULL;
        size_t count, none_count;
        begin();
        say("index", NODE_BLOB, "manifest", "manifest");
        say("manifest", NODE_BLOB, "layer", "layer");
        refer(NODE_IMAGE, "x", NODE_BLOB, "index", "target");
        mark(add(NODE_IMAGE, "x"), "its name", false);
        CHECK_OK(reference_graph_why(graph, add(NODE_BLOB, "layer"), &steps, &count));
        CHECK(count == 4);
        CHECK(step_is(&steps[0], NODE_IMAGE, "x", "its name"));
        CHECK(step_is(&steps[1], NODE_BLOB, "index", "target"));
        CHECK(step_is(&steps[2], NODE_BLOB, "manifest", "manifest"));
        CHECK(step_is(&steps[3], NODE_BLOB, "layer", "layer"));
        CHECK_OK(reference_graph_why(graph, add(NODE_BLOB, "nobody's"), &none, &none_count));
        CHECK(none_count == 0);
}

static void what_is_needed_besides_is_reached_later(void) {
        begin();
        refer(NODE_IMAGE, "x", NODE_BLOB, "a", "target");
        refer(NODE_BLOB, "b", NODE_BLOB, "c", "label");
        uint32_t image = add(NODE_IMAGE, "x"), a = add(NODE_BLOB, "a"), b = add(NODE_BLOB, "b");
        mark(image, "its name", false);
        CHECK(!is_live(NODE_BLOB, "b"));
        CHECK_OK(reference_graph_reach(graph, image, a, "needs"));
        CHECK_OK(reference_graph_reach(graph, image, b, "needs"));
        CHECK_OK(reference_graph_follow(graph, 10));
        CHECK(is_live(NODE_BLOB, "b") && is_live(NODE_BLOB, "c"));
        CHECK(reached_by(a, "target") && reached_by(b, "needs"));
}

/* What was told once more leads on from what is live, and what is told no longer leads nowhere. */
static void what_is_told_again_is_added(void) {
        begin();
        refer(NODE_IMAGE, "x", NODE_BLOB, "a", "target");
        refer(NODE_SNAPSHOT, "upper", NODE_SNAPSHOT, "lower", REFERENCE_PARENT);
        mark(add(NODE_IMAGE, "x"), "its name", false);
        for (unsigned round = 0; round < 3; round++) {
                reference_graph_begin_again(graph);
                refer(NODE_BLOB, "c", NODE_BLOB, "d", "label");
        }
        reference_graph_begin_again(graph);
        refer(NODE_BLOB, "a", NODE_BLOB, "b", "label");
        CHECK_OK(reference_graph_follow(graph, 10));
        CHECK(is_live(NODE_BLOB, "b") && !is_live(NODE_BLOB, "d"));
        mark(add(NODE_BLOB, "c"), "root", false);
        CHECK(!is_live(NODE_BLOB, "d"));
        mark(add(NODE_SNAPSHOT, "upper"), "root", false);
        CHECK(is_live(NODE_SNAPSHOT, "lower"));
}

static void names_are_what_they_were(void) {
        char digits[129] = "", name[2][160], buffer[DIGEST_STRING_MAX];
        for (unsigned i = 0; i < 128; i++)
                digits[i] = "0123456789abcdef"[i * 7 % 16];
        digits[128] = '\0';
        snprintf(name[0], sizeof(name[0]), "sha512:%s", digits);
        snprintf(name[1], sizeof(name[1]), "sha256:%.64s", digits);
        const char *const names[] = { name[0], name[1], "sha256:", "sha256:0",
                                      "",      "A",     "md5:00",  "sha512:ab/../x" };
        uint32_t nodes[ELEMENTS_OF(names)];
        begin();
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                nodes[i] = add(NODE_BLOB, names[i]);
        for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
                CHECK_STRING(reference_graph_name(graph, nodes[i], buffer), names[i]);
                CHECK(add(NODE_BLOB, names[i]) == nodes[i]);
        }
        /* Not even a namespace that looks like a digest is one. */
        uint32_t node;
        CHECK_OK(reference_graph_add(graph, NODE_BLOB, NODE_NAME(name[1]), NODE_NAME(name[1]), &node));
        CHECK_STRING(reference_graph_namespace(graph, node), name[1]);
        CHECK_STRING(reference_graph_name(graph, node, buffer), name[1]);
}

static void counts_what_a_snapshot_stands_on(void) {
        begin();
        refer(NODE_SNAPSHOT, "c", NODE_SNAPSHOT, "b", REFERENCE_PARENT);
        refer(NODE_SNAPSHOT, "b", NODE_SNAPSHOT, "a", REFERENCE_PARENT);
        refer(NODE_SNAPSHOT, "b", NODE_BLOB, "x", "label");
        CHECK(reference_graph_depth(graph, add(NODE_SNAPSHOT, "c")) == 2);
        CHECK(reference_graph_depth(graph, add(NODE_SNAPSHOT, "a")) == 0);
}

int main(void) {
        int r = check_run((const Check[]){
                CHECK_CASE(keeps_one_node_for_each_name),
                CHECK_CASE(an_empty_graph_has_nothing),
                CHECK_CASE(holds_many),
                CHECK_CASE(follows_references_from_a_root),
                CHECK_CASE(what_a_document_says_holds_where_the_blob_is),
                CHECK_CASE(a_flat_root_keeps_what_it_names_and_nothing_behind),
                CHECK_CASE(survives_circles),
                CHECK_CASE(tells_why),
                CHECK_CASE(what_is_needed_besides_is_reached_later),
                CHECK_CASE(what_is_told_again_is_added),
                CHECK_CASE(names_are_what_they_were),
                CHECK_CASE(counts_what_a_snapshot_stands_on),
                {},
        });
        reference_graph_free(graph);
        return r;
}
