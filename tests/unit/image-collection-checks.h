/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of collections share: an image "x" of one index, manifest, config and two layers; what else
 * there is a test adds. */

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

static int holds;

static void on_hold(bool hold, void *userdata) {
        holds += hold ? 1 : -1;
}

static void open_service(void) {
        static int number;
        char name[32];
        snprintf(name, sizeof(name), "service-%i", number++);
        CHECK(mkdirat(check_directory(), name, 0700) >= 0);
        _cleanup_close_ int directory = openat(check_directory(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        service = (ImageService){ .hold = on_hold };
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
        CHECK(!fake_world_has_epochs() && !service.tidyings);
        CHECK(!world.broken_rule && holds == 0);
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

static void count_end(void *userdata) {
        ((Told *) userdata)->ends++;
}

static void start_tidying(Told *told) {
        CHECK_OK(tidy_request(service.tidy, count_end, told));
}
