/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-snapshotsd: org.crt.Snapshots on the system bus. */

#include <errno.h>
#include <fcntl.h>

#include "bus/bus-names.h"
#include "bus/daemon.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/collect-snapshots-bus.h"
#include "services/snapshots/snapshots-bus.h"

/* How the trees of new snapshots are kept: "overlayfs", "btrfs", "copy" or "erofs". */
#define DRIVER_VARIABLE "CRT_SNAPSHOTS_DRIVER"
/* "yes": mounts as before Linux 6.8, to test that way on a newer kernel. */
#define FALLBACK_VARIABLE "CRT_SNAPSHOTS_MOUNT_FALLBACK"
/* "yes": images through loop devices, as before Linux 6.12. */
#define LOOP_VARIABLE "CRT_SNAPSHOTS_LOOP_FALLBACK"
/* Lower than lib/limits.h has it, or higher where that is no bound of the code: bytes that a layer unpacks
 * to, its entries, and the bytes of one user's committed snapshots. */
#define LAYER_SIZE_VARIABLE "CRT_SNAPSHOTS_LAYER_SIZE"
#define LAYER_ENTRIES_VARIABLE "CRT_SNAPSHOTS_LAYER_ENTRIES"
#define BYTES_VARIABLE "CRT_SNAPSHOTS_BYTES_PER_USER"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

typedef struct SnapshotsService {
        SnapshotManager *manager;
        UnpackQueue *unpacks;
        DiffTable *diffs;
        UsageTable *usages;
        VerifyTable *verifies;
        JobTable *jobs;
        SnapshotsBound *bound;
        SnapshotsBus *bus;
        SnapshotCollector *collector;
        bool stopping;
} SnapshotsService;

#define INSPECT "org.crt.snapshots.inspect"
#define WRITE "org.crt.snapshots.write"
#define REMOVE "org.crt.snapshots.remove"
#define MOUNT "org.crt.snapshots.mount"
#define READ "org.crt.snapshots.read"
#define VERIFY "org.crt.snapshots.verify"

/* Images makes the snapshots of layers, and never mounts anything. */
static const BusRule rules[] = {
        { CRT_SNAPSHOTS_INTERFACE, "Prepare", BUS_POLKIT, WRITE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "View", BUS_POLKIT, WRITE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Commit", BUS_POLKIT, WRITE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Remove", BUS_POLKIT, REMOVE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Update", BUS_POLKIT, WRITE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Stat", BUS_POLKIT, INSPECT, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "List", BUS_POLKIT, INSPECT, NULL, BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Usage", BUS_POLKIT, INSPECT, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Cleanup", BUS_POLKIT, REMOVE, NULL, BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Verify", BUS_POLKIT, VERIFY, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Unpack", BUS_POLKIT, WRITE, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Diff", BUS_POLKIT, READ, "snapshot", BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_INTERFACE, "Mount", BUS_POLKIT, MOUNT, "snapshot", BUS_SIBLING_NONE },
        { CRT_SNAPSHOTS_JOB_INTERFACE, "Wait", BUS_POLKIT, INSPECT, NULL, BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_JOB_INTERFACE, "Cancel", BUS_POLKIT, WRITE, NULL, BUS_SIBLING_IMAGES,
          .owner = true },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "Begin", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "Inventory", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "Hold", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "Release", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "Sweep", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_SNAPSHOTS_COLLECTOR_INTERFACE, "End", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
};

/* Ends what uses the manager before it. */
static void *service_free(void *userdata) {
        SnapshotsService *service = userdata;
        if (!service)
                return NULL;
        snapshot_collector_free(service->collector);
        snapshots_bus_free(service->bus);
        snapshots_bound_free(service->bound);
        unpack_queue_free(service->unpacks);
        diff_table_free(service->diffs);
        usage_table_free(service->usages);
        verify_table_free(service->verifies);
        job_table_free(service->jobs);
        snapshot_manager_free(service->manager);
        return mfree(service);
}

static void service_freep(SnapshotsService **service) {
        *service = service_free(*service);
}

static int open_manager(Daemon *daemon, SnapshotManager **ret, Fault *fault) {
        _cleanup_close_ int state = daemon_open_state_directory(fault);
        if (state < 0)
                return state;
        _cleanup_free_ char *boot_id = NULL;
        uint64_t bytes;
        int r = daemon_read_number(BYTES_VARIABLE, LIMIT_SNAPSHOT_BYTES_PER_UID, INT64_MAX, &bytes, fault);
        if (r < 0)
                return r;
        r = fd_read_line_at(AT_FDCWD, BOOT_ID, &boot_id);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", BOOT_ID);
        const SnapshotManagerSpec spec = {
                .event = daemon_event(daemon),
                .state = state,
                .boot_id = boot_id,
                .driver = secure_getenv(DRIVER_VARIABLE),
                .old_kernel = string_equal(secure_getenv(FALLBACK_VARIABLE), "yes"),
                .images_by_loop = string_equal(secure_getenv(LOOP_VARIABLE), "yes"),
                .bytes_per_uid = bytes,
        };
        return snapshot_manager_new(&spec, ret, fault);
}

static int service_setup(Daemon *daemon, void **ret_service, Fault *fault) {
        _cleanup_(service_freep) SnapshotsService *service = new0(SnapshotsService, 1);
        if (!service)
                return -ENOMEM;
        LayerRules layers = { 0 };
        int r = daemon_read_number(LAYER_SIZE_VARIABLE, LIMIT_LAYER_SIZE, LIMIT_LAYER_SIZE, &layers.size_max,
                                   fault);
        if (r >= 0)
                r = daemon_read_number(LAYER_ENTRIES_VARIABLE, LIMIT_LAYER_ENTRIES, LIMIT_LAYER_ENTRIES,
                                       &layers.entries_max, fault);
        if (r >= 0)
                r = open_manager(daemon, &service->manager, fault);
        if (r >= 0)
                r = unpack_queue_new(service->manager, &layers, &service->unpacks);
        if (r >= 0)
                r = diff_table_new(service->manager, &service->diffs);
        if (r >= 0)
                r = usage_table_new(service->manager, &service->usages);
        if (r >= 0)
                r = verify_table_new(service->manager, &service->verifies);
        if (r >= 0)
                r = job_table_new(daemon_bus(daemon), CRT_SNAPSHOTS_PATH, "job", CRT_SNAPSHOTS_JOB_INTERFACE,
                                  &service->jobs);
        if (r >= 0)
                r = snapshots_bound_new(service->manager, daemon_peers(daemon), &service->bound, fault);
        if (r < 0)
                return r;
        const SnapshotsBusSpec spec = {
                .bus = daemon_bus(daemon),
                .manager = service->manager,
                .unpacks = service->unpacks,
                .diffs = service->diffs,
                .usages = service->usages,
                .verifies = service->verifies,
                .jobs = service->jobs,
                .bound = service->bound,
        };
        r = snapshots_bus_new(&spec, &service->bus);
        if (r >= 0)
                r = snapshot_collector_new(daemon_bus(daemon), service->manager, &service->collector);
        if (r < 0)
                return r;
        *ret_service = TAKE_PTR(service);
        return 0;
}

static int service_owner_of(void *userdata, const char *namespace, const char *object, uid_t *ret) {
        const SnapshotsService *service = userdata;
        return job_table_owner_of(service->jobs, namespace, object, ret);
}

/* Outcomes that are still kept, and trees that are being deleted, are no reason to put a stop off. */
static bool service_is_busy(void *userdata) {
        const SnapshotsService *service = userdata;
        if (service->stopping)
                return snapshot_manager_is_committing(service->manager);
        return job_table_is_busy(service->jobs) || usage_table_is_busy(service->usages) ||
               snapshot_manager_is_busy(service->manager) || snapshots_bound_is_busy(service->bound) ||
               snapshot_collector_is_busy(service->collector);
}

static void service_stop(void *userdata) {
        SnapshotsService *service = userdata;
        service->stopping = true;
        job_table_cancel_all(service->jobs);
}

int main(int argc, char *argv[]) {
        static const DaemonSpec spec = {
                .program = "crt-snapshotsd",
                .bus_name = CRT_SNAPSHOTS_NAME,
                .root_path = CRT_SNAPSHOTS_PATH,
                .rules = rules,
                .rule_count = ELEMENTS_OF(rules),
                .setup = service_setup,
                .owner_of = service_owner_of,
                .is_busy = service_is_busy,
                .stop = service_stop,
                .free = service_free,
                .idle_seconds = 30,
        };
        return daemon_main(&spec, argc, argv);
}
