/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/image-collection-checks.h"

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
                { "label\tblob\tsystem\tlayer-1\torg.crt.gc.root\tyes\n"
                  "label\tblob\tsystem\tlayer-1\torg.crt.gc.ref.image\tnone\n",
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
                fake_world_end_epochs();
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

static const char *const things[] = { "manifest", "config", "layer-1", "layer-2" };

static unsigned count_things(bool found[ELEMENTS_OF(things)]) {
        unsigned count = 0;
        for (size_t i = 0; i < ELEMENTS_OF(things); i++)
                count += found[i] = fake_world_has_blob("system", things[i]);
        return count;
}

/* At whatever moment a lease has been taken, what there is then of all that it leads to stays. */
static void check_keeping(const char *records, void (*start)(Told *told), unsigned sweep_max) {
        unsigned all = 0, none = 0;
        for (unsigned lead = 0, ends = 0; ends == 0; lead++) {
                bool found[ELEMENTS_OF(things)], chains[2], now[ELEMENTS_OF(things)];
                Told told = { 0 };
                unsigned steps = 0;
                open_service();
                world.sweep_max = sweep_max;
                CHECK_OK(image_store_remove(service.images, "system", "x"));
                start(&told);
                while (steps < lead && step())
                        steps++;
                ends = told.ends;
                while (!fake_world_keep(records))
                        CHECK(step());
                unsigned count = count_things(found);
                chains[0] = fake_world_find_snapshot("system", "chain-1");
                chains[1] = fake_world_find_snapshot("system", "chain-2");
                run_all();
                CHECK_INT(told.ends, 1);
                CHECK_OK(told.r);
                count_things(now);
                for (size_t i = 0; i < ELEMENTS_OF(things); i++)
                        CHECK(now[i] == found[i]);
                CHECK(!!fake_world_find_snapshot("system", "chain-1") == chains[0]);
                CHECK(!!fake_world_find_snapshot("system", "chain-2") == chains[1]);
                all += count == ELEMENTS_OF(things) && chains[0] && chains[1];
                none += count == 0;
                close_service();
        }
        CHECK(all > 5 && none > 0);
}

static void start_collection(Told *told) {
        begin(told);
}

static const char lease[] = "lease\tsystem\tl\t\nresource\tsystem\tl\tcontent\tmanifest\n";

static void a_lease_that_is_taken_meanwhile_keeps_what_it_leads_to(void) {
        check_keeping(lease, start_collection, 1);
        check_keeping(lease, start_collection, 0);
}

static void a_label_that_is_set_meanwhile_keeps_what_it_leads_to(void) {
        check_keeping("label\tblob\tsystem\tmanifest\torg.crt.gc.root\tyes\n", start_collection, 1);
        check_keeping("label\tblob\tsystem\tother\torg.crt.gc.ref.content\tmanifest\n"
                      "label\tblob\tsystem\tother\torg.crt.gc.root\tyes\n",
                      start_collection, 1);
}

static void a_removal_keeps_what_is_leased_meanwhile(void) {
        check_keeping(lease, start_tidying, 1);
        check_keeping(lease, start_tidying, 0);
}

static void a_removal_beside_a_collection_keeps_what_is_leased_meanwhile(void) {
        unsigned kept = 0;
        for (unsigned lead = 0; lead < 60; lead++) {
                bool found[ELEMENTS_OF(things)], now[ELEMENTS_OF(things)];
                Told told = { 0 }, collected = { 0 };
                open_service();
                world.sweep_max = 1;
                begin(&collected);
                for (unsigned i = 0; i < lead / 2; i++)
                        step();
                CHECK_OK(image_store_remove(service.images, "system", "x"));
                start_tidying(&told);
                for (unsigned i = 0; i < lead; i++)
                        step();
                while (!fake_world_keep(lease))
                        CHECK(step());
                kept += count_things(found);
                run_all();
                CHECK(told.ends == 1 && collected.ends == 1 && collected.r == 0);
                count_things(now);
                for (size_t i = 0; i < ELEMENTS_OF(things); i++)
                        CHECK(now[i] == found[i]);
                close_service();
        }
        CHECK(kept > 60);
}

/* Whoever leases without end does not keep it from its end, and what nobody leases goes. */
static void a_stream_of_leases_does_not_hold_it_up(void) {
        Told told;
        open_service();
        world.sweep_max = 2;
        for (unsigned i = 0; i < 20; i++) {
                char name[32];
                snprintf(name, sizeof(name), "nobody's-%u", i);
                add_blob(name);
        }
        begin(&told);
        for (unsigned i = 0; told.ends == 0 && i < 10000; i++) {
                if (!step())
                        break;
                world.more[0] = '\0';
                (void) fake_world_keep("lease\tsystem\tl\t\nresource\tsystem\tl\tcontent\tnobody's-7\n");
        }
        CHECK(told.ends == 1 && told.r == 0 && told.blobs == 19);
        CHECK(fake_world_has_blob("system", "nobody's-7") && world.blob_count == 6);
        close_service();
}

/* It has looked at nothing so far, and so nothing can have changed behind its back. */
static void what_is_leased_while_it_waits_for_its_turn_stays(void) {
        Told first, second;
        open_service();
        CHECK_OK(image_store_remove(service.images, "system", "x"));
        Collection *running = begin(&first);
        begin(&second);
        collection_cancel(running);
        CHECK(fake_world_keep(lease));
        run_all();
        CHECK(second.ends == 1 && second.r == 0 && second.blobs == 1 && second.snapshots == 0);
        close_service();
}

/* What a pull that came to nothing leaves behind is looked at as everything else. */
static void what_is_noted_as_garbage_and_leased_stays(void) {
        int done = 0;
        open_service();
        add_blob("fetched");
        add_blob("leased");
        CHECK_OK(image_store_add_garbage(service.images, "system", GARBAGE_BLOB, "fetched", 0));
        CHECK_OK(image_store_add_garbage(service.images, "system", GARBAGE_BLOB, "leased", 0));
        CHECK_OK(image_store_add_garbage(service.images, "system", GARBAGE_BLOB, "layer-1", 0));
        CHECK(fake_world_keep("lease\tsystem\tl\t\nresource\tsystem\tl\tcontent\tleased\n"));
        CHECK_OK(tidy_request(service.tidy, count_done, &done));
        run_all();
        CHECK(done == 1 && !fake_world_has_blob("system", "fetched"));
        CHECK(fake_world_has_blob("system", "leased") && fake_world_has_blob("system", "layer-1"));
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
                CHECK_CASE(a_lease_that_is_taken_meanwhile_keeps_what_it_leads_to),
                CHECK_CASE(a_label_that_is_set_meanwhile_keeps_what_it_leads_to),
                CHECK_CASE(a_removal_keeps_what_is_leased_meanwhile),
                CHECK_CASE(a_removal_beside_a_collection_keeps_what_is_leased_meanwhile),
                CHECK_CASE(a_stream_of_leases_does_not_hold_it_up),
                CHECK_CASE(what_is_leased_while_it_waits_for_its_turn_stays),
                CHECK_CASE(what_is_noted_as_garbage_and_leased_stays),
                CHECK_CASE(what_documents_say_is_forgotten_with_them),
                {},
        });
}
