/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "lib/digest.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/collection.h"
#include "services/images/document.h"
#include "services/images/image-store-private.h"
#include "services/images/tidy.h"
#include "services/images/transfer.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/image-transfer-fakes.h"

#define LAYERS 3

static ImageService service;
static bool unpack = true;

/* What a transfer has told. */
typedef struct Told {
        int ends;
        int r;
        char sentence[300];
        char chain_id[DIGEST_STRING_MAX];
        size_t parts;
        uint64_t done[LAYERS + 2];
} Told;

static void on_phase(const char *phase, void *userdata) {
}

static void on_parts(const TransferPart *parts, size_t count, void *userdata) {
        Told *told = userdata;
        told->parts = count;
}

static void on_progress(size_t part, const char *state, uint64_t done, void *userdata) {
        Told *told = userdata;
        CHECK(part < told->parts);
        told->done[part] = done;
}

static void on_end(int r, const Fault *fault, const ImageRecord *record, void *userdata) {
        Told *told = userdata;
        told->ends++;
        told->r = r;
        snprintf(told->sentence, sizeof(told->sentence), "%s", fault_text(fault, r));
        snprintf(told->chain_id, sizeof(told->chain_id), "%s", record ? record->chain_id : "");
}

static const TransferObserver observer = { on_phase, on_parts, on_progress, on_end };

static void open_service(void) {
        static int number;
        char name[32];
        snprintf(name, sizeof(name), "service-%i", number++);
        CHECK(mkdirat(check_directory(), name, 0700) >= 0);
        int directory = openat(check_directory(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        service = (ImageService){ 0 };
        CHECK_OK(sd_event_new(&service.event));
        CHECK_NO_FAULT(image_store_open(directory, &service.images, &fault));
        CHECK_OK(claim_table_new(&service.claims));
        CHECK_OK(tidy_new(&service, &service.tidy));
        close(directory);
        fake_world_reset();
}

static void close_service(void) {
        CHECK(!service.transfers);
        CHECK_INT(service.sweeps + service.unpacks + service.tees, 0);
        CHECK(!world.broken_rule);
        tidy_free(service.tidy);
        claim_table_free(service.claims);
        image_store_free(service.images);
        sd_event_unref(service.event);
        fake_world_reset();
}

/* An image of layers with these contents; the name of its tag. */
static void make_image(const char *const layers[LAYERS], char tag[DIGEST_STRING_MAX]) {
        char config[2000], manifest[4000], descriptors[3000] = "", diff_ids[1000] = "";

        for (size_t i = 0; i < LAYERS; i++) {
                Digest digest;
                char text[DIGEST_STRING_MAX];
                const char *layer = fake_world_find_document(layers[i])
                                            ? layers[i]
                                            : fake_world_add_document(layers[i], strlen(layers[i]));
                snprintf(descriptors + strlen(descriptors), sizeof(descriptors) - strlen(descriptors),
                         "%s{\"mediaType\":\"application/"
                         "vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}",
                         i > 0 ? "," : "", layer, fake_world_find_document(layer)->size);
                digest_of_data(DIGEST_SHA256, layer, strlen(layer), &digest);
                snprintf(diff_ids + strlen(diff_ids), sizeof(diff_ids) - strlen(diff_ids), "%s\"%s\"",
                         i > 0 ? "," : "", digest_to_string(&digest, text));
        }
        snprintf(config, sizeof(config),
                 "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
                 "[%s]}}",
                 diff_ids);
        const char *digest = fake_world_add_document(config, strlen(config));
        snprintf(manifest, sizeof(manifest),
                 "{\"schemaVersion\":2,\"mediaType\":\"application/"
                 "vnd.oci.image.manifest.v1+json\",\"config\":"
                 "{\"mediaType\":\"application/"
                 "vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
                 "\"layers\":[%s]}",
                 digest, strlen(config), descriptors);
        snprintf(tag, DIGEST_STRING_MAX, "%s", fake_world_add_document(manifest, strlen(manifest)));
        tag[6] = '-';
}

static Transfer *begin(const char *tag, const char *name, Told *told) {
        OciReference reference = { 0 };
        OciPlatform platform = { 0 };
        Transfer *transfer = NULL;
        char text[300];

        snprintf(text, sizeof(text), "r.example/image:%s", tag);
        CHECK_NO_FAULT(oci_reference_parse(text, &reference, &fault));
        CHECK_NO_FAULT(oci_platform_parse("linux/amd64", &platform, &fault));
        *told = (Told){ 0 };
        CHECK_OK(transfer_new(&service,
                              &(TransferSpec){
                                      .namespace = "system",
                                      .name = name,
                                      .reference = &reference,
                                      .platform = &platform,
                                      .unpack = unpack,
                                      .ca_fd = -EBADF,
                                      .observer = &observer,
                                      .userdata = told,
                              },
                              &transfer));
        oci_reference_done(&reference);
        oci_platform_done(&platform);
        transfer_start(transfer);
        return transfer;
}

static unsigned run_all(void) {
        unsigned steps = 0;
        while (fake_world_step() || sd_event_run(service.event, 0) > 0)
                CHECK(++steps < 10000);
        return steps;
}

static void check_done(const Told *told) {
        CHECK_FORMAT(told->ends == 1 && told->r == 0, "ended %i times: %s", told->ends, told->sentence);
        CHECK(fake_world_find_snapshot("system", told->chain_id));
        CHECK_INT(fake_world_count_unfinished() + fake_world_count_ingests(), 0);
}

static const char *const stack[LAYERS] = { "lowest", "middle", "highest" };
static const char *const other[LAYERS] = { "lowest", "middle", "another" };

static void a_pull_brings_blobs_and_stacks_snapshots(void) {
        char tag[DIGEST_STRING_MAX];
        Told told;
        open_service();
        make_image(stack, tag);
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        CHECK_INT(told.parts, LAYERS + 2);
        CHECK_INT(told.done[4], strlen("highest"));
        CHECK_INT(world.blob_count, LAYERS + 2);
        CHECK_INT(world.snapshot_count, LAYERS);
        CHECK(image_store_has(service.images, "system", "a"));

        unsigned gets = world.gets;
        begin(tag, "b", &told);
        run_all();
        check_done(&told);
        CHECK_INT(world.gets, gets);
        close_service();
}

static void transfers_share_what_they_have_in_common(void) {
        char first[DIGEST_STRING_MAX], second[DIGEST_STRING_MAX];
        Told told[3];
        open_service();
        make_image(stack, first);
        make_image(other, second);
        begin(first, "a", &told[0]);
        begin(second, "b", &told[1]);
        begin(first, "c", &told[2]);
        run_all();
        for (size_t i = 0; i < ELEMENTS_OF(told); i++)
                check_done(&told[i]);
        /* Two manifests, two configs, four layers: each was asked for once, and unpacked once. */
        CHECK_INT(world.gets, 8);
        CHECK_INT(world.snapshot_count, 4);
        close_service();
}

static void the_same_blob_twice_in_an_image_is_fetched_once(void) {
        static const char *const twice[LAYERS] = { "same", "same", "same" };
        char tag[DIGEST_STRING_MAX];
        Told told;
        open_service();
        make_image(twice, tag);
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        CHECK_INT(world.gets, 3);
        CHECK_INT(world.snapshot_count, LAYERS);
        close_service();
}

static void a_broken_image_takes_only_its_own_along(void) {
        char good[DIGEST_STRING_MAX], bad[DIGEST_STRING_MAX];
        /* At whatever point the good one is when the other fails. */
        for (unsigned lead = 0; lead < 60; lead++) {
                Told told[2];
                open_service();
                make_image(stack, good);
                make_image(other, bad);
                for (size_t i = 0; i < world.document_count; i++)
                        world.documents[i].is_wrong = world.documents[i].size == strlen("another") &&
                                                      memcmp(world.documents[i].data, "another", 7) == 0;
                begin(bad, "bad", &told[1]);
                for (unsigned i = 0; i < lead; i++)
                        fake_world_step();
                begin(good, "good", &told[0]);
                run_all();
                CHECK_INT(told[1].ends, 1);
                CHECK_ERROR(told[1].r, -EUCLEAN);
                check_done(&told[0]);
                CHECK_INT(world.blob_count, LAYERS + 2);
                CHECK_INT(world.snapshot_count, LAYERS);
                close_service();
        }
}

static void a_broken_image_leaves_nothing(void) {
        char tag[DIGEST_STRING_MAX];
        for (size_t wrong = 0; wrong < LAYERS + 2; wrong++) {
                Told told;
                open_service();
                make_image(stack, tag);
                world.documents[wrong].is_wrong = true;
                begin(tag, "a", &told);
                run_all();
                CHECK(told.ends == 1 && told.r == -EUCLEAN);
                CHECK_INT(world.blob_count + world.snapshot_count, 0);
                /* Only what is below the wrong layer has been visible for a moment. */
                CHECK(world.commits <= (wrong < LAYERS ? wrong : 0));
                CHECK(!image_store_has(service.images, "system", "a"));
                close_service();
        }
}

static void it_can_be_cancelled_at_any_point(void) {
        char tag[DIGEST_STRING_MAX];
        bool cancelled = true;
        unsigned at;
        for (at = 0; cancelled; at++) {
                Told told;
                open_service();
                make_image(stack, tag);
                Transfer *transfer = begin(tag, "a", &told);
                for (unsigned i = 0; i < at; i++)
                        fake_world_step();
                if (told.ends == 0)
                        transfer_cancel(transfer);
                run_all();
                cancelled = told.r < 0;
                CHECK(told.ends == 1 && (told.r == 0 || told.r == -ECANCELED));
                CHECK_INT(fake_world_count_unfinished(), 0);

                begin(tag, "a", &told);
                run_all();
                check_done(&told);
                CHECK_INT(world.snapshot_count, LAYERS);
                close_service();
        }
        CHECK(at > 30);
}

static void whatever_call_fails_the_next_pull_succeeds(void) {
        char tag[DIGEST_STRING_MAX];
        unsigned failed = 1, at;
        for (at = 1; failed; at++) {
                Told told;
                open_service();
                make_image(stack, tag);
                world.fail_at = at;
                begin(tag, "a", &told);
                run_all();
                failed = world.calls >= at;
                CHECK_INT(told.ends, 1);
                CHECK(told.r == 0 || told.r == -EHOSTUNREACH);
                CHECK(told.r == 0 || strstr(told.sentence, "as the test wants it"));

                world.fail_at = 0;
                begin(tag, "a", &told);
                run_all();
                CHECK(told.ends == 1 && told.r == 0);
                CHECK(fake_world_find_snapshot("system", told.chain_id));
                close_service();
        }
        CHECK(at > 20);
}

/* Nothing is to blame but the worker: what has come stays. */
static void whatever_document_is_not_read_the_next_pull_goes_on(void) {
        char tag[DIGEST_STRING_MAX];
        for (unsigned at = 1; at <= 2; at++) {
                Told told;
                open_service();
                make_image(stack, tag);
                world.fail_document_at = at;
                begin(tag, "a", &told);
                run_all();
                CHECK(told.ends == 1 && told.r == -EHOSTUNREACH);
                CHECK_CONTAINS(told.sentence, "crt-document was killed");
                CHECK_CONTAINS(told.sentence, "r.example/image");
                CHECK_INT(world.blob_count, at);
                CHECK(!image_store_has(service.images, "system", "a"));

                unsigned gets = world.gets;
                CHECK_INT(gets, at);
                begin(tag, "a", &told);
                run_all();
                check_done(&told);
                CHECK_INT(world.gets, LAYERS + 2);
                close_service();
        }
}

static void what_the_config_says_is_kept_with_the_image(void) {
        char tag[DIGEST_STRING_MAX], *records = NULL;
        ImageRecord record = { 0 };
        Document document = { 0 };
        size_t size = 0;
        Told told;
        open_service();
        make_image(stack, tag);
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        CHECK_OK(image_store_get(service.images, "system", "a", &record));
        CHECK_OK(image_store_get_config(service.images, &record, &records, &size));
        CHECK_NO_FAULT(document_read(&(RecordFile){ .data = records, .size = size }, &document, &fault));
        CHECK_INT(document.kind, DOCUMENT_CONFIG);
        CHECK_INT(document.config.diff_id_count, LAYERS);
        document_done(&document);
        free(records);

        free(record.config); /* of another config nothing is known */
        record.config = strdup(record.manifest);
        CHECK_ERROR(image_store_get_config(service.images, &record, &records, &size), -ENOENT);
        CHECK_OK(image_store_remove(service.images, "system", "a"));
        CHECK_ERROR(image_store_put_config(service.images, &record, "x", 1), -EBUSY);
        image_record_done(&record);
        close_service();
}

static void count_sweep(void *userdata) {
        (*(int *) userdata)++;
}

/* One thing of all that waits, by chance: what is asked of others, or what the loop has to do. */
static bool step_by_chance(unsigned *seed) {
        *seed = *seed * 1103515245 + 12345;
        if ((*seed >> 16) % 3 > 0)
                return fake_world_step() || sd_event_run(service.event, 0) > 0;
        return sd_event_run(service.event, 0) > 0 || fake_world_step();
}

static void a_removal_spares_what_a_transfer_counts_on(void) {
        char first[DIGEST_STRING_MAX], second[DIGEST_STRING_MAX];
        for (unsigned lead = 0; lead < 60; lead++) {
                Told told;
                unsigned seed = lead;
                int swept = 0;
                open_service();
                make_image(stack, first);
                make_image(other, second);
                begin(first, "a", &told);
                run_all();
                begin(second, "b", &told);
                for (unsigned i = 0; i < lead; i++)
                        fake_world_step();
                CHECK_OK(image_store_remove(service.images, "system", "a"));
                CHECK_OK(tidy_request(service.tidy, count_sweep, &swept));
                while (step_by_chance(&seed))
                        ;
                CHECK_INT(swept, 1);
                check_done(&told);
                for (const char *key = told.chain_id; key[0];) {
                        const FakeSnapshot *snapshot = fake_world_find_snapshot("system", key);
                        CHECK(snapshot);
                        key = snapshot->parent;
                }
                CHECK_INT(world.blob_count, LAYERS + 2);
                CHECK_INT(world.snapshot_count, LAYERS);
                close_service();
        }
}

static void ignore_phase(const char *phase, void *userdata) {
}

static void ignore_plan(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata) {
}

static void ignore_progress(CollectionPart part, const CollectionCount *gone, void *userdata) {
}

static void on_collected(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                         void *userdata) {
        int *ends = userdata;
        CHECK_OK(r);
        (*ends)++;
}

static void collect(int *ends) {
        static const CollectionObserver collection_observer = { ignore_phase, ignore_plan, ignore_progress,
                                                                NULL, on_collected };
        Collection *collection;
        *ends = 0;
        CHECK_OK(collection_new(&service,
                                &(CollectionSpec){ .observer = &collection_observer, .userdata = ends },
                                &collection));
        collection_start(collection);
}

static void a_collection_takes_nothing_that_a_transfer_counts_on(void) {
        for (unsigned lead = 0; lead < 240; lead++) {
                unsigned seed = lead;
                char first[DIGEST_STRING_MAX], second[DIGEST_STRING_MAX];
                Told told;
                int ends;
                open_service();
                make_image(stack, first);
                make_image(other, second);
                begin(first, "a", &told);
                run_all();
                CHECK_OK(image_store_remove(service.images, "system", "a"));
                /* Either begins before the other, and what they share is garbage until the transfer wants
                 * it. */
                if (lead % 2 == 0)
                        collect(&ends);
                else
                        begin(second, "b", &told);
                for (unsigned i = 0; i < lead / 2 % 40; i++)
                        step_by_chance(&seed);
                if (lead % 2 == 0)
                        begin(second, "b", &told);
                else
                        collect(&ends);
                while (step_by_chance(&seed))
                        ;
                CHECK_INT(ends, 1);
                check_done(&told);
                for (const char *key = told.chain_id; key[0];) {
                        const FakeSnapshot *snapshot = fake_world_find_snapshot("system", key);
                        CHECK(snapshot);
                        key = snapshot->parent;
                }
                collect(&ends);
                run_all();
                CHECK_INT(world.blob_count, LAYERS + 2);
                CHECK_INT(world.snapshot_count, LAYERS);
                close_service();
        }
}

static void damaged_things_come_again(void) {
        for (unsigned found = 0; found < 2; found++)
                for (size_t i = 0; i < LAYERS + 2; i++) {
                        char tag[DIGEST_STRING_MAX];
                        Told told;
                        open_service();
                        make_image(stack, tag);
                        begin(tag, "a", &told);
                        run_all();
                        check_done(&told);
                        unsigned gets = world.gets;
                        world.blobs[i].is_damaged = true;
                        world.blobs[i].is_found = found > 0;
                        world.snapshots[0].is_damaged = false;
                        begin(tag, "a", &told);
                        run_all();
                        check_done(&told);
                        /* Of a layer that is unpacked nobody reads the blob. */
                        CHECK(found == 0 || world.gets == gets + 1);
                        CHECK_INT(world.blob_count, LAYERS + 2);
                        close_service();
                }
}

static void a_damaged_snapshot_is_unpacked_again(void) {
        char tag[DIGEST_STRING_MAX];
        Told told;
        open_service();
        make_image(stack, tag);
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        unsigned commits = world.commits;
        FakeSnapshot *top = fake_world_find_snapshot("system", told.chain_id);
        CHECK(top);
        top->is_damaged = true;
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        top = fake_world_find_snapshot("system", told.chain_id);
        CHECK(top && !top->is_damaged);
        CHECK_INT(world.commits, commits + 1);
        /* One that others are built on is for the service to replace, and this one can't. */
        fake_world_find_snapshot("system", top->parent)->is_damaged = true;
        begin(tag, "a", &told);
        run_all();
        CHECK(told.r == -EBUSY && strstr(told.sentence, "is damaged"));
        CHECK_INT(fake_world_count_unfinished(), 0);
        close_service();
}

static void a_pull_without_unpacking_forgets_no_snapshots(void) {
        char tag[DIGEST_STRING_MAX];
        ImageRecord record = { 0 };
        Told told;
        open_service();
        make_image(stack, tag);
        begin(tag, "a", &told);
        run_all();
        check_done(&told);
        unpack = false;
        begin(tag, "a", &told);
        unpack = true;
        run_all();
        CHECK_OK(told.r);
        CHECK_OK(image_store_get(service.images, "system", "a", &record));
        CHECK(record.chain_id[0]);
        CHECK(image_store_needs_chain(service.images, "system", record.chain_id));
        image_record_done(&record);
        close_service();
}

/* The manifest tells: nothing but it is fetched. */
static void what_a_namespace_may_not_need_is_not_fetched(void) {
        char tag[DIGEST_STRING_MAX];
        ImageRecord large = { .namespace = (char *) "system",
                              .name = (char *) "large",
                              .digest = (char *) "d",
                              .media_type = (char *) "t",
                              .manifest = (char *) "m",
                              .config = (char *) "c",
                              .chain_id = (char *) "",
                              .platform = (char *) "p" };
        /* A manifest, a config, and for each layer its blob and its snapshot. */
        for (size_t room = 2; room <= 2 + 2 * LAYERS; room++) {
                Told told;
                unpack = room > 2 + LAYERS;
                open_service();
                make_image(stack, tag);
                CHECK_OK(image_store_put(service.images, &large, NULL));
                CHECK_OK(database_execute(service.images->database, "UPDATE images SET needs = ?", "i",
                                          (int64_t) (LIMIT_NEEDS_PER_NAMESPACE - room)));
                begin(tag, "a", &told);
                run_all();
                CHECK_INT(told.ends, 1);
                if (room == 2 + LAYERS || room == 2 + 2 * LAYERS)
                        CHECK_INT(told.r, 0);
                else {
                        CHECK_ERROR(told.r, -EDQUOT);
                        CHECK_CONTAINS(told.sentence, "system");
                        CHECK_INT(world.gets, 1);
                }
                close_service();
        }
        unpack = true;
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_pull_brings_blobs_and_stacks_snapshots),
                CHECK_CASE(transfers_share_what_they_have_in_common),
                CHECK_CASE(the_same_blob_twice_in_an_image_is_fetched_once),
                CHECK_CASE(a_broken_image_takes_only_its_own_along),
                CHECK_CASE(a_broken_image_leaves_nothing),
                CHECK_CASE(it_can_be_cancelled_at_any_point),
                CHECK_CASE(whatever_call_fails_the_next_pull_succeeds),
                CHECK_CASE(whatever_document_is_not_read_the_next_pull_goes_on),
                CHECK_CASE(what_the_config_says_is_kept_with_the_image),
                CHECK_CASE(a_removal_spares_what_a_transfer_counts_on),
                CHECK_CASE(a_collection_takes_nothing_that_a_transfer_counts_on),
                CHECK_CASE(damaged_things_come_again),
                CHECK_CASE(a_damaged_snapshot_is_unpacked_again),
                CHECK_CASE(a_pull_without_unpacking_forgets_no_snapshots),
                CHECK_CASE(what_a_namespace_may_not_need_is_not_fetched),
                {},
        });
}
