/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-imagesd: org.crt.Images on the system bus. */

#include <errno.h>
#include <malloc.h>

#include "bus/bus-names.h"
#include "bus/daemon.h"
#include "lib/fd.h"
#include "services/images/images-bus.h"
#include "services/images/store-client-bus.h"
#include "services/images/collection.h"
#include "services/images/sweep.h"
#include "services/images/tidy.h"
#include "services/images/transfer.h"

typedef struct ImagesDaemon {
        ImageService service;
        ImagesBus *bus;
        bool stopping;
} ImagesDaemon;

#define LARGE_ARRAY (128 * 1024)

#define INSPECT "org.crt.images.inspect"
#define PULL "org.crt.images.pull"
#define REMOVE "org.crt.images.remove"
#define UPDATE "org.crt.images.update"
#define COLLECT "org.crt.images.collect"

static const BusRule rules[] = {
        { CRT_IMAGES_INTERFACE, "Pull", BUS_POLKIT, PULL, "image" },
        { CRT_IMAGES_INTERFACE, "Get", BUS_POLKIT, INSPECT, "image" },
        { CRT_IMAGES_INTERFACE, "List", BUS_POLKIT, INSPECT },
        { CRT_IMAGES_INTERFACE, "Resolve", BUS_POLKIT, INSPECT, "image" },
        { CRT_IMAGES_INTERFACE, "Remove", BUS_POLKIT, REMOVE, "image" },
        { CRT_IMAGES_INTERFACE, "Tag", BUS_POLKIT, UPDATE, "image", .second = "source" },
        { CRT_IMAGES_INTERFACE, "Update", BUS_POLKIT, UPDATE, "image" },
        { CRT_IMAGES_INTERFACE, "Collect", BUS_POLKIT, COLLECT },
        { CRT_IMAGES_INTERFACE, "Plan", BUS_POLKIT, COLLECT },
        { CRT_IMAGES_INTERFACE, "Why", BUS_POLKIT, COLLECT, "kind" },
        { CRT_TRANSFER_INTERFACE, "Wait", BUS_POLKIT, INSPECT },
        { CRT_TRANSFER_INTERFACE, "Cancel", BUS_POLKIT, PULL, .owner = true },
};

static void *daemon_service_free(void *userdata) {
        ImagesDaemon *images = userdata;
        if (!images)
                return NULL;
        while (images->service.transfers)
                transfer_free(images->service.transfers);
        while (images->service.collections)
                collection_free(images->service.collections);
        while (images->service.tidyings)
                collection_free(images->service.tidyings);
        tidy_free(images->service.tidy);
        images_bus_free(images->bus);
        claim_table_free(images->service.claims);
        image_store_free(images->service.images);
        store_client_free(images->service.stores);
        free(images);
        return NULL;
}

static void daemon_service_freep(ImagesDaemon **images) {
        *images = daemon_service_free(*images);
}

static void on_recovered(void *userdata) {
}

/* What a daemon that was killed has left undone. */
static int recover(ImageService *service) {
        _cleanup_(sweep_freep) Sweep *sweep = NULL;
        int r = sweep_new(service, &sweep);
        if (r >= 0)
                r = sweep_add_unpackings(sweep);
        if (r < 0)
                return r;
        sweep_start(TAKE_PTR(sweep), on_recovered, NULL);
        return image_store_has_garbage(service->images) ? tidy_request(service->tidy, on_recovered, NULL)
                                                        : 0;
}

static int setup(Daemon *daemon, void **ret_service, Fault *fault) {
        _cleanup_close_ int directory = daemon_open_state_directory(fault);
        if (directory < 0)
                return directory;
        _cleanup_(daemon_service_freep) ImagesDaemon *images = new0(ImagesDaemon, 1);
        if (!images)
                return -ENOMEM;
        images->service.event = daemon_event(daemon);
        int r = image_store_open(directory, &images->service.images, fault);
        if (r >= 0)
                r = store_client_new(daemon_bus(daemon), &images->service.stores);
        if (r >= 0)
                r = claim_table_new(&images->service.claims);
        if (r >= 0)
                r = tidy_new(&images->service, &images->service.tidy);
        if (r >= 0)
                r = images_bus_new(daemon_bus(daemon), &images->service, &images->bus);
        if (r >= 0)
                r = recover(&images->service);
        if (r < 0)
                return r;
        *ret_service = TAKE_PTR(images);
        return 0;
}

static int owner_of(void *userdata, const char *namespace, const char *object, uid_t *ret) {
        const ImagesDaemon *images = userdata;
        return job_table_owner_of(images->bus->transfers, namespace, object, ret);
}

static bool is_busy(void *userdata) {
        const ImagesDaemon *images = userdata;
        /* Outcomes that are kept do not hold up a stop. */
        return images->service.transfers || images->service.sweeps > 0 || images->service.surveys > 0 ||
               images->service.collections || images->service.tidyings || images->bus->resolves ||
               (!images->stopping && job_table_is_busy(images->bus->transfers));
}

static void stop(void *userdata) {
        ImagesDaemon *images = userdata;
        images->stopping = true;
        job_table_cancel_all(images->bus->transfers);
}

int main(int argc, char *argv[]) {
        static const DaemonSpec spec = {
                .program = "crt-imagesd",
                .bus_name = CRT_IMAGES_NAME,
                .root_path = CRT_IMAGES_PATH,
                .rules = rules,
                .rule_count = ELEMENTS_OF(rules),
                .setup = setup,
                .owner_of = owner_of,
                .is_busy = is_busy,
                .stop = stop,
                .free = daemon_service_free,
                .idle_seconds = 30,
        };
        /* The graph of a collection is a few large arrays that grow. With the limit of glibc, which rises
         * with what was freed, they would lie in the heap, and be there twice while they grow: from here on
         * they are maps of their own, which mremap(2) makes larger. */
        (void) mallopt(M_MMAP_THRESHOLD, LARGE_ARRAY);
        return daemon_main(&spec, argc, argv);
}
