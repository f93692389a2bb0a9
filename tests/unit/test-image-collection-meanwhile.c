/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens to images while there is a collection. */

#include "tests/unit/image-collection-checks.h"

static void a_label_of_an_image_that_is_set_meanwhile_counts(void) {
        char *labels[] = { (char *) "org.crt.gc.ref.content=kept", NULL };
        for (unsigned lead = 0; lead < 40; lead++) {
                ImageRecord record = { 0 };
                Told told;
                open_service();
                world.sweep_max = 1;
                add_blob("other");
                add_blob("kept");
                begin(&told);
                for (unsigned i = 0; i < lead || holds > 0; i++)
                        if (!step())
                                break;
                bool there = fake_world_has_blob("system", "kept");
                CHECK_OK(image_store_get(service.images, "system", "x", &record));
                CHECK_NO_FAULT(image_store_change_labels(service.images, &record, labels, false, &fault));
                image_record_done(&record);
                run_all();
                CHECK(told.ends == 1 && told.r == 0);
                CHECK(fake_world_has_blob("system", "kept") == there);
                CHECK(!fake_world_has_blob("system", "other"));
                close_service();
        }
}

/* Whatever has been looked at by then: the image goes, and what another name stands for stays. */
static void what_gets_another_name_meanwhile_stays(void) {
        for (unsigned lead = 0; lead < 40; lead++) {
                ImageRecord record = { 0 };
                Told told;
                open_service();
                world.sweep_max = 1;
                add_blob("other");
                begin(&told);
                for (unsigned i = 0; i < lead || holds > 0; i++)
                        if (!step())
                                break;
                CHECK_OK(image_store_get(service.images, "system", "x", &record));
                CHECK_OK(image_store_tag(service.images, &record, "a", false, NULL));
                CHECK_OK(image_store_remove(service.images, "system", "x"));
                image_record_done(&record);
                start_tidying(&told);
                run_all();
                CHECK(told.ends == 2 && world.blob_count == 5 && world.snapshot_count == 2);
                close_service();
        }
}

/* Who has resolved an image makes a container of it, though its name goes, whatever has been asked by then.
 */
static void check_made_of_what_goes(bool expires) {
        char *labels[] = { (char *) "org.crt.gc.expire=2020-01-01T00:00:00Z", NULL };
        unsigned made = 0;
        for (unsigned lead = 0; lead < 40; lead++) {
                ImageRecord record = { 0 };
                Told told;
                open_service();
                add_blob("other");
                CHECK_OK(image_store_get(service.images, "system", "x", &record));
                if (expires)
                        CHECK_NO_FAULT(
                                image_store_change_labels(service.images, &record, labels, false, &fault));
                image_record_done(&record);
                begin(&told);
                for (unsigned i = 0; i < lead || holds > 0; i++)
                        if (!step())
                                break;
                if (image_store_has(service.images, "system", "x")) {
                        world.containers[world.container_count++] =
                                (FakeContainer){ "c", "own", "chain-2", "index" };
                        made++;
                        if (!expires)
                                CHECK_OK(image_store_remove(service.images, "system", "x"));
                }
                run_all();
                CHECK(told.ends == 1 && told.r == 0 && !fake_world_has_blob("system", "other"));
                if (world.container_count > 0)
                        CHECK(world.blob_count == 5 && world.snapshot_count == 2);
                close_service();
        }
        CHECK(made > 3);
}

static void a_container_that_is_made_meanwhile_keeps_its_image(void) {
        check_made_of_what_goes(false);
        check_made_of_what_goes(true);
}

static bool holds_both(void) {
        return world.epochs[0][0].held && world.epochs[1][0].held;
}

/* Though it has nothing to remove itself: somebody may take up there what leads to a blob. */
static void no_blob_goes_when_snapshots_holds_no_longer(void) {
        Told told;
        open_service();
        add_blob("other");
        begin(&told);
        while (!holds_both())
                CHECK(step());
        world.epochs[0][0] = (FakeEpoch){ 0 };
        while (world.epochs[0][0].number == 0) {
                CHECK(fake_world_has_blob("system", "other"));
                CHECK(step());
        }
        run_all();
        CHECK(told.ends == 1 && told.r == 0 && told.blobs == 1);
        CHECK(!fake_world_has_blob("system", "other"));
        close_service();
}

/* Nobody waits any longer, and what nothing needs goes all the same. */
static void too_many_calls_that_wait_make_it_begin_anew(void) {
        Told told;
        open_service();
        add_blob("other");
        begin(&told);
        while (!holds_both())
                CHECK(step());
        CHECK_INT(holds, 1);
        collection_let_go(&service);
        CHECK_INT(holds, 0);
        run_all();
        CHECK(told.ends == 1 && told.r == 0 && told.plans == 2 && told.blobs == 1);
        CHECK(!fake_world_has_blob("system", "other"));
        close_service();
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_label_of_an_image_that_is_set_meanwhile_counts),
                CHECK_CASE(what_gets_another_name_meanwhile_stays),
                CHECK_CASE(a_container_that_is_made_meanwhile_keeps_its_image),
                CHECK_CASE(no_blob_goes_when_snapshots_holds_no_longer),
                CHECK_CASE(too_many_calls_that_wait_make_it_begin_anew),
                {},
        });
}
