/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-contentd: org.crt.Content on the system bus. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/daemon.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "services/content/collect-content-bus.h"
#include "services/content/blob-sweep.h"
#include "services/content/content-bus.h"

/* In the runtime directory, which no boot outlives: the last one to use the state left it in order. */
#define ORDERLY_NAME "orderly"
/* For the administrator, in a drop-in of the unit. */
#define BYTES_VARIABLE "CRT_CONTENT_BYTES_PER_USER"

typedef struct ContentService {
        int runtime_directory;
        ContentState *state;
        IngestTable *table;
        ContentBus *bus;
        BlobSweep *sweep; /* while it goes on */
        sd_event_source *idle;
        bool is_orderly; /* it has come to its end, or was not needed */
        ContentCollector *collector;
} ContentService;

#define READ "org.crt.content.read"
#define WRITE "org.crt.content.write"
#define DELETE "org.crt.content.delete"
#define LEASE "org.crt.content.lease"
#define VERIFY "org.crt.content.verify"

/* Images acts for everyone. */
static const BusRule rules[] = {
        { CRT_CONTENT_INTERFACE, "Ingest", BUS_POLKIT, WRITE, "reference", BUS_SIBLING_IMAGES, "lease" },
        { CRT_CONTENT_INTERFACE, "Commit", BUS_POLKIT, WRITE, "reference", BUS_SIBLING_IMAGES, "lease" },
        { CRT_CONTENT_INTERFACE, "Abort", BUS_POLKIT, WRITE, "reference", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "StatIngest", BUS_POLKIT, READ, "reference", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "ListIngests", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "Open", BUS_POLKIT, READ, "digest", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "Stat", BUS_POLKIT, READ, "digest", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "List", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "Update", BUS_POLKIT, WRITE, "digest", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "Delete", BUS_POLKIT, DELETE, "digest", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "CreateLease", BUS_POLKIT, LEASE, "lease", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "GetLease", BUS_POLKIT, READ, "lease", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "ListLeases", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "Verify", BUS_POLKIT, VERIFY, "digest", BUS_SIBLING_IMAGES },
        { CRT_CONTENT_JOB_INTERFACE, "Wait", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_JOB_INTERFACE, "Cancel", BUS_POLKIT, VERIFY, NULL, BUS_SIBLING_IMAGES, .owner = true },
        { CRT_CONTENT_INTERFACE, "StatNamespace", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_INTERFACE, "UpdateNamespace", BUS_POLKIT, WRITE, NULL, BUS_SIBLING_IMAGES },
        { CRT_LEASE_INTERFACE, "Add", BUS_POLKIT, LEASE, NULL, BUS_SIBLING_IMAGES },
        { CRT_LEASE_INTERFACE, "Remove", BUS_POLKIT, LEASE, NULL, BUS_SIBLING_IMAGES },
        { CRT_LEASE_INTERFACE, "ListResources", BUS_POLKIT, READ, NULL, BUS_SIBLING_IMAGES },
        { CRT_LEASE_INTERFACE, "Update", BUS_POLKIT, LEASE, NULL, BUS_SIBLING_IMAGES },
        { CRT_LEASE_INTERFACE, "Delete", BUS_POLKIT, LEASE, NULL, BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "Begin", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "Inventory", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "Hold", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "Release", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "Sweep", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
        { CRT_CONTENT_COLLECTOR_INTERFACE, "End", BUS_SIBLINGS, .siblings = BUS_SIBLING_IMAGES },
};

static void *service_free(void *userdata) {
        ContentService *service = userdata;
        if (!service)
                return NULL;
        bool orderly = service->is_orderly && service->table && !ingest_table_is_syncing(service->table);
        sd_event_source_disable_unref(service->idle);
        blob_sweep_free(service->sweep);
        content_collector_free(service->collector);
        content_bus_free(service->bus);
        ingest_table_free(service->table);
        content_state_free(service->state);
        if (orderly) {
                int fd = openat(service->runtime_directory, ORDERLY_NAME, O_WRONLY | O_CREAT | O_CLOEXEC,
                                0600);
                fd_close(fd);
        }
        fd_close(service->runtime_directory);
        free(service);
        return NULL;
}

static void service_freep(ContentService **service) {
        *service = service_free(*service);
}

/* The mark goes before anything is done: who is killed leaves none. */
static int open_state(ContentService *service, Fault *fault) {
        _cleanup_close_ int directory = daemon_open_state_directory(fault);
        if (directory < 0)
                return directory;
        int r = content_state_open(directory, &service->state, fault);
        if (r >= 0)
                r = daemon_read_number(BYTES_VARIABLE, LIMIT_BLOB_BYTES_PER_UID, INT64_MAX,
                                       &service->state->bytes_per_user, fault);
        if (r < 0)
                return r;
        if (unlinkat(service->runtime_directory, ORDERLY_NAME, 0) >= 0)
                return 0;
        if (errno != ENOENT)
                return fault_set_errno(fault, -errno, "%s", ORDERLY_NAME);
        r = ingest_store_sweep(service->state);
        if (r >= 0)
                r = blob_sweep_new(service->state, &service->sweep);
        return r < 0 ? fault_set_errno(fault, r, "the state can't be put in order") : 0;
}

/* When nobody wants anything else. */
static int on_idle(sd_event_source *source, void *userdata) {
        ContentService *service = userdata;
        int r = blob_sweep_step(service->sweep);
        if (r > 0)
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_error("the store can't be put in order, and the next start tries again: %s",
                          strerror(-r));
        service->is_orderly = r == 0;
        service->sweep = blob_sweep_free(service->sweep);
        return 0;
}

static int begin_sweep(ContentService *service, sd_event *event) {
        service->is_orderly = !service->sweep;
        if (!service->sweep)
                return 0;
        int r = sd_event_add_defer(event, &service->idle, on_idle, service);
        return r < 0 ? r : sd_event_source_set_priority(service->idle, SD_EVENT_PRIORITY_IDLE);
}

static int service_setup(Daemon *daemon, void **ret_service, Fault *fault) {
        _cleanup_(service_freep) ContentService *service = new0(ContentService, 1);
        if (!service)
                return -ENOMEM;
        service->runtime_directory = daemon_open_runtime_directory(fault);
        if (service->runtime_directory < 0)
                return service->runtime_directory;
        int r = open_state(service, fault);
        if (r >= 0)
                r = ingest_table_new(daemon_event(daemon), service->state, &service->table, fault);
        if (r >= 0)
                r = begin_sweep(service, daemon_event(daemon));
        if (r >= 0)
                r = content_bus_new(daemon_bus(daemon), service->state, service->table, &service->bus);
        if (r >= 0)
                r = content_collector_new(daemon_bus(daemon), service->state, &service->collector);
        if (r < 0)
                return r;
        *ret_service = TAKE_PTR(service);
        return 0;
}

static bool service_is_busy(void *userdata) {
        const ContentService *service = userdata;
        return service->sweep || ingest_table_is_busy(service->table) || content_bus_is_busy(service->bus) ||
               content_collector_is_busy(service->collector);
}

static void service_stop(void *userdata) {
        ContentService *service = userdata;
        ingest_table_stop(service->table);
        content_bus_stop(service->bus);
}

static int service_owner_of(void *userdata, const char *namespace, const char *object, uid_t *ret) {
        const ContentService *service = userdata;
        return content_bus_owner_of(service->bus, namespace, object, ret);
}

int main(int argc, char *argv[]) {
        static const DaemonSpec spec = {
                .program = "crt-contentd",
                .bus_name = CRT_CONTENT_NAME,
                .root_path = CRT_CONTENT_PATH,
                .rules = rules,
                .rule_count = ELEMENTS_OF(rules),
                .setup = service_setup,
                .is_busy = service_is_busy,
                .owner_of = service_owner_of,
                .stop = service_stop,
                .free = service_free,
                .idle_seconds = 30,
        };
        return daemon_main(&spec, argc, argv);
}
