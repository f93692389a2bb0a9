/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "services/images/collection.h"
#include "services/images/survey.h"
#include "services/images/tidy.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/image-transfer-fakes.h"

/* An image "x" of one index, manifest, config and two layers; what else there is a test adds. */

static ImageService service;

typedef struct Told {
        int ends;
        int r;
        uint64_t snapshots, blobs;
        unsigned images, plans;
} Told;

static void on_phase(const char *phase, void *userdata) {
}

static void on_plan(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata) {
        ((Told *) userdata)->plans++;
}

static void on_progress(CollectionPart part, const CollectionCount *gone, void *userdata) {
}

static void on_image(const char *namespace, const char *name, void *userdata) {
        ((Told *) userdata)->images++;
}

static void on_end(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                   void *userdata) {
        Told *told = userdata;
        told->ends++;
        told->r = r;
        told->snapshots = gone[COLLECTION_SNAPSHOTS].things;
        told->blobs = gone[COLLECTION_BLOBS].things;
}

static const CollectionObserver observer = { on_phase, on_plan, on_progress, on_image, on_end };

static void add_blob(const char *digest) {
        FakeBlob *blob = &world.blobs[world.blob_count++];
        *blob = (FakeBlob){ .namespace = "system", .stamp = ++world.stamps };
        snprintf(blob->digest, sizeof(blob->digest), "%s", digest);
}

static void add_snapshot(const char *key, const char *parent) {
        FakeSnapshot *snapshot = &world.snapshots[world.snapshot_count++];
        *snapshot = (FakeSnapshot){ .namespace = "system", .stamp = ++world.stamps };
        snprintf(snapshot->key, sizeof(snapshot->key), "%s", key);
        snprintf(snapshot->parent, sizeof(snapshot->parent), "%s", parent);
}

static void put_image(const char *name) {
        char index[] = "index", manifest[] = "manifest", config[] = "config", layer_1[] = "layer-1",
             layer_2[] = "layer-2", chain_1[] = "chain-1", chain_2[] = "chain-2", system[] = "system",
             empty[] = "";
        char *blobs[] = { index, manifest, config, layer_1, layer_2, NULL };
        char *chains[] = { chain_1, chain_2, NULL };
        const ImageRecord record = {
                .namespace = system,
                .name = (char *) name,
                .digest = blobs[0],
                .media_type = empty,
                .manifest = blobs[1],
                .config = blobs[2],
                .chain_id = chains[1],
                .platform = empty,
                .blobs = blobs,
                .chains = chains,
        };
        CHECK_OK(image_store_put(service.images, &record, NULL));
        if (world.blob_count > 0)
                return;
        for (char *const *blob = blobs; *blob; blob++)
                add_blob(*blob);
        add_snapshot("chain-1", "");
        add_snapshot("chain-2", "chain-1");
}

static void open_service(void) {
        static int number;
        char name[32];
        snprintf(name, sizeof(name), "service-%i", number++);
        CHECK(mkdirat(check_directory(), name, 0700) >= 0);
        _cleanup_close_ int directory = openat(check_directory(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        service = (ImageService){ 0 };
        CHECK_OK(sd_event_new(&service.event));
        CHECK_NO_FAULT(image_store_open(directory, &service.images, &fault));
        CHECK_OK(claim_table_new(&service.claims));
        CHECK_OK(tidy_new(&service, &service.tidy));
        fake_world_reset();
        put_image("x");
}

static void close_service(void) {
        CHECK(!service.collections);
        CHECK_INT(service.surveys, 0);
        CHECK_INT(service.sweeps, 0);
        CHECK(world.epochs[0] == 0 && world.epochs[1] == 0);
        tidy_free(service.tidy);
        claim_table_free(service.claims);
        image_store_free(service.images);
        sd_event_unref(service.event);
        fake_world_reset();
}

/* One thing, wherever it waits. */
static bool step(void) {
        return fake_world_step() || sd_event_run(service.event, 0) > 0;
}

static void run_all(void) {
        for (unsigned i = 0; i < 100000; i++)
                if (!step())
                        return;
        CHECK(false);
}

static Collection *begin(Told *told) {
        Collection *collection = NULL;
        *told = (Told){ 0 };
        CHECK_OK(collection_new(&service, &(CollectionSpec){ .observer = &observer, .userdata = told },
                                &collection));
        collection_start(collection);
        return collection;
}

static void collect(Told *told) {
        begin(told);
        run_all();
        CHECK_INT(told->ends, 1);
        CHECK_OK(told->r);
}

static void what_an_image_needs_stays_and_the_rest_goes(void) {
        Told told;
        open_service();
        add_blob("nobody's");
        add_snapshot("stray", "chain-2");
        collect(&told);
        CHECK(told.blobs == 1 && told.snapshots == 1);
        CHECK(world.blob_count == 5 && world.snapshot_count == 2);
        collect(&told);
        CHECK(told.blobs == 0 && told.snapshots == 0);
        CHECK_OK(image_store_remove(service.images, "system", "x"));
        collect(&told);
        CHECK(told.blobs == 5 && told.snapshots == 2);
        close_service();
}

static void a_container_keeps_the_image_that_has_no_name(void) {
        Told told;
        open_service();
        world.containers[world.container_count++] = (FakeContainer){ "c", "own", "chain-2", "index" };
        add_snapshot("own", "chain-2");
        CHECK_OK(image_store_remove(service.images, "system", "x"));
        collect(&told);
        CHECK(told.blobs == 0 && told.snapshots == 0);
        world.container_count = 0;
        collect(&told);
        CHECK(told.blobs == 5 && told.snapshots == 3);
        close_service();
}

static void labels_and_leases_keep_what_they_name(void) {
        static const struct {
                const char *records;
                unsigned blobs; /* that go, of a manifest with three children, and an index */
        } cases[] = {
                { "", 5 },
                { "lease\tsystem\tl\t\nresource\tsystem\tl\tcontent\tmanifest\n", 1 },
                { "lease\tsystem\tl\tflat\nresource\tsystem\tl\tcontent\tmanifest\n", 4 },
                { "resource\tsystem\tl\tcontent\tmanifest\nlease\tsystem\tl\t\n", 1 },
                { "lease\tu1\tl\t\nresource\tu1\tl\tcontent\tmanifest\n", 5 },
                { "label\tblob\tsystem\tmanifest\torg.crt.gc.root\tyes\n", 1 },
                { "label\tblob\tsystem\tmanifest\torg.crt.gc.root\t\n", 5 },
                { "label\tblob\tsystem\tmanifest\tcolour\tred\n", 5 },
                { "label\tblob\tsystem\tlayer-1\torg.crt.gc.root\tyes\n"
                  "label\tblob\tsystem\tlayer-1\torg.crt.gc.ref.content.a\tlayer-2\n",
                  3 },
                { "label\tblob\tsystem\tlayer-1\torg.crt.gc.expire\t2020-01-01T00:00:00Z\n"
                  "label\tblob\tsystem\tlayer-1\torg.crt.gc.root\tyes\n",
                  5 },
                { "label\tblob\tsystem\tlayer-1\torg.crt.gc.root\tyes\n"
                  "label\tblob\tsystem\tlayer-1\torg.crt.gc.expire\t2020-01-01T00:00:00Z\n",
                  5 },
                { "label\tblob\tsystem\tlayer-1\torg.crt.gc.expire\tsoon\n"
                  "label\tblob\tsystem\tlayer-1\torg.crt.gc.root\tyes\n",
                  4 },
                { "ingest\tsystem\ti\tlayer-1\n", 4 },
                { "ingest\tsystem\ti\t\n", 5 },
        };
        static const char *const blobs[] = { "index", "manifest", "config", "layer-1", "layer-2" };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Told told;
                char *end = world.records;
                open_service();
                CHECK_OK(image_store_remove(service.images, "system", "x"));
                if (cases[i].records[0]) {
                        end = world.records + sprintf(world.records, "%s", cases[i].records);
                        for (size_t k = 0; k < ELEMENTS_OF(blobs); k++)
                                end += sprintf(end, "blob\tsystem\t%s\t%zu\t1\n", blobs[k], k + 1);
                }
                collect(&told);
                CHECK_INT((int) told.blobs, (int) cases[i].blobs);
                close_service();
        }
}

/* Who does not understand what keeps things must not remove any. */
static void a_record_that_is_not_understood_ends_it(void) {
        static const char *const cases[] = {
                "tree\tsystem\ta\n",
                "label\tnamespace\tsystem\ta\torg.crt.gc.root\tyes\n",
                "lease\tsystem\tl\t\nresource\tsystem\tl\tcontainer\tmanifest\n",
                "blob\tsystem\ta\tx\t1\n",
                "blob\tsystem\ta\t1\t1",
                "\n",
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Told told;
                open_service();
                add_blob("nobody's");
                sprintf(world.records, "%s", cases[i]);
                begin(&told);
                run_all();
                CHECK_INT(told.ends, 1);
                CHECK_ERROR(told.r, -EBADMSG);
                CHECK(world.blob_count == 6);
                close_service();
        }
}

static void whatever_call_fails_nothing_is_lost_and_the_next_one_finishes(void) {
        bool failed = true;
        unsigned at;
        for (at = 1; failed; at++) {
                Told told;
                open_service();
                add_blob("nobody's");
                add_snapshot("stray", "");
                world.fail_at = at;
                begin(&told);
                run_all();
                failed = world.calls >= at;
                CHECK_INT(told.ends, 1);
                CHECK(world.blob_count >= 5 && world.snapshot_count >= 2);
                world.fail_at = 0;
                /* The epoch of a service that died is over with it. */
                world.epochs[0] = world.epochs[1] = 0;
                collect(&told);
                CHECK(world.blob_count == 5 && world.snapshot_count == 2);
                close_service();
        }
        CHECK(at > 8);
}

static void it_can_be_cancelled_at_any_point(void) {
        for (unsigned lead = 0; lead < 30; lead++) {
                Told told;
                open_service();
                add_blob("nobody's");
                Collection *collection = begin(&told);
                for (unsigned i = 0; i < lead && told.ends == 0; i++)
                        step();
                if (told.ends == 0)
                        collection_cancel(collection);
                run_all();
                CHECK_INT(told.ends, 1);
                CHECK(told.r == 0 || told.r == -ECANCELED);
                CHECK(world.blob_count >= 5);
                close_service();
        }
}

static void one_runs_and_the_others_wait(void) {
        Told first, second, third;
        open_service();
        add_blob("nobody's");
        begin(&first);
        Collection *cancelled = begin(&second);
        begin(&third);
        collection_cancel(cancelled);
        CHECK_INT(second.ends, 1);
        CHECK_ERROR(second.r, -ECANCELED);
        run_all();
        CHECK(first.ends == 1 && third.ends == 1 && third.r == 0 && third.blobs == 0);
        close_service();
}

static void what_a_transfer_wants_stays(void) {
        _cleanup_(claim_hold_freep) ClaimHold *blob = NULL, *snapshot = NULL;
        Told told;
        open_service();
        add_blob("wanted");
        add_snapshot("wanted", "");
        CHECK_OK(claim_table_hold(service.claims, CLAIM_NEED, "system", THING_BLOB, "wanted", &blob));
        CHECK_OK(
                claim_table_hold(service.claims, CLAIM_NEED, "system", THING_SNAPSHOT, "wanted", &snapshot));
        collect(&told);
        CHECK(told.blobs == 0 && told.snapshots == 0);
        blob = claim_hold_free(blob);
        snapshot = claim_hold_free(snapshot);
        collect(&told);
        CHECK(told.blobs == 1 && told.snapshots == 1);
        close_service();
}

static void count_done(void *userdata) {
        (*(int *) userdata)++;
}

static void a_removal_leaves_what_others_keep(void) {
        int done = 0;
        open_service();
        add_blob("nobody's");
        world.containers[world.container_count++] = (FakeContainer){ "c", "own", "chain-2", "manifest" };
        CHECK_OK(image_store_remove(service.images, "system", "x"));
        CHECK_OK(tidy_request(service.tidy, count_done, &done));
        CHECK_OK(tidy_request(service.tidy, count_done, &done));
        run_all();
        CHECK_INT(done, 2);
        /* Only the index, which the container does not need, has gone. */
        CHECK(world.blob_count == 5 && !fake_world_has_blob("system", "index"));
        CHECK(fake_world_has_blob("system", "nobody's") && world.snapshot_count == 2);
        CHECK(!image_store_has_garbage(service.images));
        close_service();
}

static void what_documents_say_is_forgotten_with_them(void) {
        Told told;
        open_service();
        CHECK_OK(image_store_remove(service.images, "system", "x"));
        collect(&told);
        collect(&told);
        /* The blobs come again, without the image: a lease on the manifest leads no further. */
        add_blob("manifest");
        add_blob("layer-1");
        sprintf(world.records,
                "blob\tsystem\tmanifest\t%u\t1\nblob\tsystem\tlayer-1\t%u\t1\n"
                "lease\tsystem\tl\t\nresource\tsystem\tl\tcontent\tmanifest\n",
                world.stamps - 1, world.stamps);
        collect(&told);
        CHECK(told.blobs == 1 && fake_world_has_blob("system", "manifest"));
        close_service();
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(what_an_image_needs_stays_and_the_rest_goes),
                CHECK_CASE(a_container_keeps_the_image_that_has_no_name),
                CHECK_CASE(labels_and_leases_keep_what_they_name),
                CHECK_CASE(a_record_that_is_not_understood_ends_it),
                CHECK_CASE(whatever_call_fails_nothing_is_lost_and_the_next_one_finishes),
                CHECK_CASE(it_can_be_cancelled_at_any_point),
                CHECK_CASE(one_runs_and_the_others_wait),
                CHECK_CASE(what_a_transfer_wants_stays),
                CHECK_CASE(a_removal_leaves_what_others_keep),
                CHECK_CASE(what_documents_say_is_forgotten_with_them),
                {},
        });
}
