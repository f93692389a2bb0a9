/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/collector.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"

/* What one turn of the loop is used for at most. */
#define SLICE_USEC 3000U
#define TASKS_MAX 8

/* Touched names are remembered by a bit each, found by their hash: it takes no more memory however many they
 * are, and a bit that two names share only keeps a thing until the next collection. */
#define TOUCHED_BITS (UINT64_C(1) << 20)
/* No call that is right has more arguments or options; one that is not could set all bits. */
#define NAMES_MAX 64

typedef struct CollectorTask {
        struct CollectorTask *next;
        Collector *collector; /* weak */
        sd_bus_message *message;
        PeerWatch *watch;
        sd_event_source *source;

        RecordWriter *writer; /* of an inventory; NULL: a sweep */
        void *cursor;

        uint64_t epoch;
        RecordFile list;
        uint32_t gone;
        uint64_t bytes;
} CollectorTask;

struct Collector {
        sd_bus *bus;
        CollectorSpec spec;
        sd_bus_slot *slot;
        sd_bus_slot *filter;
        CollectorTask *tasks;
        size_t task_count;

        uint64_t epoch; /* 0: none is open */
        PeerWatch *watch;
        uint64_t seed;
        uint64_t *touched;
};

/* ---- the epoch ---- */

static uint64_t touched_bit(const Collector *collector, const char *name, size_t length) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ collector->seed; /* FNV-1a */
        for (size_t i = 0; i < length; i++)
                hash = (hash ^ (uint8_t) name[i]) * UINT64_C(0x100000001b3);
        return (hash ^ (hash >> 32)) % TOUCHED_BITS;
}

static bool is_touched(const Collector *collector, const RecordField *name) {
        uint64_t bit = touched_bit(collector, name->data, name->length);
        return collector->touched[bit / 64] & (UINT64_C(1) << (bit % 64));
}

void collector_touch(Collector *collector, const char *name) {
        if (collector->epoch == 0)
                return;
        uint64_t bit = touched_bit(collector, name, strlen(name));
        collector->touched[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* Names that are options: a parent, a promised digest. */
static void touch_options(Collector *collector, sd_bus_message *message) {
        const char *key, *value, *contents;
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        for (unsigned n = 0;
             n < NAMES_MAX && r > 0 && sd_bus_message_enter_container(message, 'e', "sv") > 0; n++) {
                r = sd_bus_message_read(message, "s", &key);
                if (r > 0)
                        r = sd_bus_message_peek_type(message, NULL, &contents);
                if (r > 0 && string_equal(contents, "s")) {
                        r = sd_bus_message_read(message, "v", "s", &value);
                        if (r > 0)
                                collector_touch(collector, value);
                } else if (r > 0)
                        r = sd_bus_message_skip(message, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
}

/* In whatever namespace, and also when the call is refused then: what is left too long goes the next time.
 */
static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        const char *name;
        uint8_t type;
        char kind;

        if (collector->epoch == 0 || sd_bus_message_get_type(message, &type) < 0 ||
            type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        for (unsigned n = 0; n < NAMES_MAX && sd_bus_message_peek_type(message, &kind, NULL) > 0 &&
                             kind == 's' && sd_bus_message_read(message, "s", &name) > 0;
             n++)
                collector_touch(collector, name);
        touch_options(collector, message);
        int r = sd_bus_message_rewind(message, true);
        return r < 0 ? r : 0;
}

static void epoch_end(Collector *collector) {
        collector->epoch = 0;
        collector->watch = peer_watch_free(collector->watch);
        collector->touched = mfree(collector->touched);
}

static void epoch_on_gone(void *userdata) {
        Collector *collector = userdata;
        log_debug("the collection was left in the middle");
        epoch_end(collector);
}

static int method_begin(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        if (collector->epoch != 0)
                return sd_bus_error_set(error, bus_error_name(-EBUSY), "a collection is under way");
        collector->touched = new0(uint64_t, TOUCHED_BITS / 64);
        if (!collector->touched)
                return -ENOMEM;
        uint64_t random[2];
        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                r = -EIO;
        if (r >= 0)
                r = peer_watch_new(bus_current_peer(collector->bus), epoch_on_gone, collector,
                                   &collector->watch);
        if (r < 0) {
                epoch_end(collector);
                return r;
        }
        /* Not one that an earlier process gave. */
        collector->epoch = random[0] | 1;
        collector->seed = random[1];
        return sd_bus_reply_method_return(message, "t", collector->epoch);
}

static int check_epoch(const Collector *collector, uint64_t epoch, sd_bus_error *error) {
        if (epoch != 0 && epoch == collector->epoch)
                return 0;
        return sd_bus_error_set(error, bus_error_name(-EBUSY), "this epoch is not open");
}

static int method_end(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        uint64_t epoch;
        int r = sd_bus_message_read(message, "t", &epoch);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = check_epoch(collector, epoch, error);
        if (r < 0)
                return r;
        epoch_end(collector);
        return sd_bus_reply_method_return(message, NULL);
}

/* ---- lists, step by step ---- */

static CollectorTask *task_free(CollectorTask *task) {
        if (!task)
                return NULL;
        Collector *collector = task->collector;
        for (CollectorTask **place = &collector->tasks; *place; place = &(*place)->next)
                if (*place == task) {
                        *place = task->next;
                        collector->task_count--;
                        break;
                }
        sd_event_source_disable_unref(task->source);
        peer_watch_free(task->watch);
        if (task->cursor)
                collector->spec.inventory_free(task->cursor);
        record_writer_free(task->writer);
        record_file_done(&task->list);
        sd_bus_message_unref(task->message);
        free(task);
        return NULL;
}
DEFINE_CLEANUP(CollectorTask *, task_free);

static void task_on_gone(void *userdata) {
        task_free(userdata);
}

static int task_reply(CollectorTask *task) {
        if (!task->writer) {
                if (task->collector->spec.sweep_end)
                        task->collector->spec.sweep_end(task->collector->spec.owner);
                return sd_bus_reply_method_return(task->message, "ut", task->gone, task->bytes);
        }
        _cleanup_close_ int fd = record_writer_finish(task->writer);
        return fd < 0 ? fd : sd_bus_reply_method_return(task->message, "h", fd);
}

/* 1: there is more. */
static int sweep_next(CollectorTask *task) {
        Collector *collector = task->collector;
        RecordField fields[RECORD_FIELDS_MAX];
        uint64_t bytes = 0;

        if (task->epoch != collector->epoch)
                return -EBUSY;
        int r = record_file_next(&task->list, fields);
        if (r <= 0)
                return r;
        if (is_touched(collector, &fields[COLLECTOR_NAME]))
                return 1;
        r = collector->spec.sweep(collector->spec.owner, fields, &bytes);
        if (r < 0)
                log_debug("%.*s is left: %s", (int) MIN_OF(fields[COLLECTOR_NAME].length, (size_t) 200),
                          fields[COLLECTOR_NAME].data, strerror(-r));
        else if (r > 0) {
                task->gone++;
                task->bytes += bytes;
        }
        return 1;
}

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static int on_turn(sd_event_source *source, void *userdata) {
        CollectorTask *task = userdata;
        uint64_t end = now_usec() + SLICE_USEC;
        int r;

        do
                r = task->writer ? task->collector->spec.inventory_step(task->cursor, task->writer)
                                 : sweep_next(task);
        while (r > 0 && now_usec() < end);
        if (r > 0)
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (r == 0)
                r = task_reply(task);
        if (r < 0)
                (void) bus_reply_fault(task->message, r, NULL);
        task_free(task);
        return 0;
}

static int task_new(Collector *collector, sd_bus_message *message, CollectorTask **ret,
                    sd_bus_error *error) {
        if (collector->task_count >= TASKS_MAX)
                return bus_error_set_fault(error, -EDQUOT, NULL);
        CollectorTask *task = new0(CollectorTask, 1);
        if (!task)
                return -ENOMEM;
        *task = (CollectorTask){
                .next = collector->tasks,
                .collector = collector,
                .message = sd_bus_message_ref(message),
        };
        collector->tasks = task;
        collector->task_count++;
        int r = peer_watch_new(bus_current_peer(collector->bus), task_on_gone, task, &task->watch);
        if (r >= 0)
                r = sd_event_add_defer(sd_bus_get_event(collector->bus), &task->source, on_turn, task);
        if (r < 0) {
                task_free(task);
                return r;
        }
        *ret = task;
        return 0;
}

typedef struct InventoryOptions {
        bool roots;
} InventoryOptions;

static const BusOption inventory_options[] = {
        { "roots", "b", offsetof(InventoryOptions, roots) },
};

static int method_inventory(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        InventoryOptions options = { 0 };
        _cleanup_(task_freep) CollectorTask *task = NULL;

        int r = bus_options_read(message, inventory_options, ELEMENTS_OF(inventory_options), &options,
                                 error);
        if (r >= 0)
                r = task_new(collector, message, &task, error);
        if (r >= 0)
                r = record_writer_new("crt-inventory", &task->writer);
        if (r >= 0)
                r = collector->spec.inventory_new(collector->spec.owner, options.roots, &task->cursor);
        if (r < 0)
                return r;
        TAKE_PTR(task);
        return 1;
}

static int method_sweep(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        _cleanup_(task_freep) CollectorTask *task = NULL;
        uint64_t epoch;
        int fd;

        int r = sd_bus_message_read(message, "th", &epoch, &fd);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = check_epoch(collector, epoch, error);
        if (r >= 0)
                r = task_new(collector, message, &task, error);
        if (r < 0)
                return r;
        task->epoch = epoch;
        r = record_file_open(fd, &task->list);
        if (r == -EINVAL || r == -EFBIG)
                return bus_invalid_argument(error, "the list is no sealed memfd, or is too long");
        if (r < 0)
                return r;
        TAKE_PTR(task);
        return 1;
}

/* ---- the object ---- */

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Begin", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("t", epoch),
                                method_begin, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Inventory", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("h", inventory),
                                method_inventory, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Sweep", SD_BUS_ARGS("t", epoch, "h", list, "a{sv}", options),
                                SD_BUS_RESULT("u", gone, "t", bytes), method_sweep,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("End", SD_BUS_ARGS("t", epoch, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_end, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int collector_new(sd_bus *bus, const CollectorSpec *spec, Collector **ret) {
        _cleanup_(collector_freep) Collector *collector = new0(Collector, 1);
        if (!collector)
                return -ENOMEM;
        collector->bus = sd_bus_ref(bus);
        collector->spec = *spec;
        int r = sd_bus_add_filter(bus, &collector->filter, on_message, collector);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, &collector->slot, spec->path, spec->interface, vtable,
                                             collector);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(collector);
        return 0;
}

Collector *collector_free(Collector *collector) {
        if (!collector)
                return NULL;
        while (collector->tasks)
                task_free(collector->tasks);
        epoch_end(collector);
        sd_bus_slot_unref(collector->slot);
        sd_bus_slot_unref(collector->filter);
        sd_bus_unref(collector->bus);
        free(collector);
        return NULL;
}

bool collector_is_busy(const Collector *collector) {
        return collector->epoch != 0 || collector->tasks;
}
