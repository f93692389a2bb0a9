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

static void let_expire(const char *name) {
        char *labels[] = { (char *) "org.crt.gc.expire=2020-01-01T00:00:00Z", NULL };
        ImageRecord record = { 0 };
        CHECK_OK(image_store_get(service.images, "system", name, &record));
        CHECK_NO_FAULT(image_store_change_labels(service.images, &record, labels, false, &fault));
        image_record_done(&record);
}

static void tag_as(const char *name) {
        ImageRecord record = { 0 };
        CHECK_OK(image_store_get(service.images, "system", "other", &record));
        CHECK_OK(image_store_tag(service.images, &record, name, true, NULL));
        image_record_done(&record);
}

/* Names are given and taken all the time, whenever nobody holds: what is over goes, and only that. */
static void an_image_goes_when_its_time_is_over_though_others_get_names(void) {
        for (unsigned every = 1; every < 30; every++) {
                char name[16];
                Told told;
                open_service();
                put_image("other");
                let_expire("x");
                begin(&told);
                for (unsigned i = 0; told.ends == 0 && i < 10000; i++) {
                        if (!step())
                                break;
                        snprintf(name, sizeof(name), "name-%u", i % 7);
                        if (holds == 0 && i % every == 0)
                                tag_as(name);
                }
                CHECK(told.ends == 1 && told.r == 0 && told.images == 1);
                CHECK(!image_store_has(service.images, "system", "x"));
                CHECK(image_store_has(service.images, "system", "other"));
                CHECK(world.blob_count == 5 && world.snapshot_count == 2);
                close_service();
        }
}

/* The label is taken away again, at any time before it has gone. */
static void an_image_whose_time_is_longer_now_stays(void) {
        char *labels[] = { (char *) "org.crt.gc.expire=", NULL };
        unsigned kept = 0;
        for (unsigned lead = 0; lead < 40; lead++) {
                ImageRecord record = { 0 };
                Told told;
                open_service();
                let_expire("x");
                begin(&told);
                for (unsigned i = 0; i < lead || holds > 0; i++)
                        if (!step())
                                break;
                bool there = image_store_get(service.images, "system", "x", &record) >= 0;
                if (there)
                        CHECK_NO_FAULT(
                                image_store_change_labels(service.images, &record, labels, false, &fault));
                image_record_done(&record);
                run_all();
                CHECK(told.ends == 1 && told.r == 0);
                CHECK(image_store_has(service.images, "system", "x") == there);
                CHECK(world.blob_count == (there ? 5 : 0));
                kept += there;
                close_service();
        }
        CHECK(kept > 3 && kept < 40);
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
                CHECK_CASE(an_image_goes_when_its_time_is_over_though_others_get_names),
                CHECK_CASE(an_image_whose_time_is_longer_now_stays),
                CHECK_CASE(no_blob_goes_when_snapshots_holds_no_longer),
                CHECK_CASE(too_many_calls_that_wait_make_it_begin_anew),
                {},
        });
}
