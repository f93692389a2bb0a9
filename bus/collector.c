/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/collector.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/collector-epoch.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"

/* What one turn of the loop is used for at most. */
#define SLICE_USEC 3000U
/* And one Sweep, which keeps other calls waiting; and how many things go with one sync. */
#define SWEEP_USEC 30000U
#define SWEEP_BATCH 256
#define TASKS_MAX 8

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
        uint64_t end; /* of its time */
        uint32_t seen, gone;
        uint64_t bytes;
} CollectorTask;

struct Collector {
        sd_bus *bus;
        CollectorSpec spec;
        sd_bus_slot *slot;
        sd_bus_slot *filter;
        CollectorTask *tasks;
        size_t task_count;

        CollectorEpochs *epochs;
};

/* ---- the epoch ---- */

void collector_touch(Collector *collector, const char *name) {
        collector_epochs_touch(collector->epochs, name);
}

void collector_note_change(Collector *collector) {
        collector_epochs_note_change(collector->epochs);
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

        if (!collector_epochs_are_open(collector->epochs) || sd_bus_message_get_type(message, &type) < 0 ||
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

static int method_begin(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        uint64_t number;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = collector_epoch_begin(collector->epochs, bus_current_peer(collector->bus), &number);
        if (r == -EBUSY)
                return sd_bus_error_set(error, bus_error_name(r), "too many collections are under way");
        return r < 0 ? r : sd_bus_reply_method_return(message, "t", number);
}

static int find_epoch(const Collector *collector, uint64_t number, CollectorEpoch **ret,
                      sd_bus_error *error) {
        *ret = collector_epoch_find(collector->epochs, number);
        return *ret ? 0 : sd_bus_error_set(error, bus_error_name(-EBUSY), "this epoch is not open");
}

static int read_epoch(const Collector *collector, sd_bus_message *message, CollectorEpoch **ret,
                      sd_bus_error *error) {
        uint64_t number;
        int r = sd_bus_message_read(message, "t", &number);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        return r < 0 ? r : find_epoch(collector, number, ret, error);
}

static int method_hold(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        CollectorEpoch *epoch;
        int r = read_epoch(userdata, message, &epoch, error);
        if (r < 0)
                return r;
        r = collector_epoch_hold(epoch, message);
        return r < 0 ? bus_error_set_fault(error, r, NULL) : 1;
}

static int method_release(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        CollectorEpoch *epoch;
        int r = read_epoch(userdata, message, &epoch, error);
        if (r < 0)
                return r;
        collector_epoch_release(epoch);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_end(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        CollectorEpoch *epoch;
        int r = read_epoch(userdata, message, &epoch, error);
        if (r < 0)
                return r;
        collector_epoch_end(epoch);
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
        if (!task->writer)
                return sd_bus_reply_method_return(task->message, "utu", task->gone, task->bytes, task->seen);
        _cleanup_close_ int fd = record_writer_finish(task->writer);
        return fd < 0 ? fd : sd_bus_reply_method_return(task->message, "h", fd);
}

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static int sweep_one(CollectorTask *task, const CollectorEpoch *epoch,
                     const RecordField fields[RECORD_FIELDS_MAX]) {
        const CollectorSpec *spec = &task->collector->spec;
        const RecordField *name = &fields[COLLECTOR_NAME];
        if (collector_epoch_is_touched(epoch, name->data, name->length))
                return 0;
        int r = spec->sweep(spec->owner, fields);
        if (r < 0)
                log_debug("%.*s is left: %s", (int) MIN_OF(name->length, (size_t) 200), name->data,
                          strerror(-r));
        return r;
}

/* What goes in one turn goes with one sync. */
static int sweep_commit(CollectorTask *task) {
        const CollectorSpec *spec = &task->collector->spec;
        uint32_t gone = 0;
        uint64_t bytes = 0;
        int r = spec->sweep_commit(spec->owner, &gone, &bytes);
        if (r < 0)
                return r;
        task->gone += gone;
        task->bytes += bytes;
        return 0;
}

/* 1: there is more. */
static int sweep_some(CollectorTask *task) {
        uint64_t now = now_usec(), end = now + SLICE_USEC;
        RecordField fields[RECORD_FIELDS_MAX];
        const CollectorEpoch *epoch = collector_epoch_find(task->collector->epochs, task->epoch);
        unsigned count = 0;
        int r;

        if (!epoch || !collector_epoch_is_held(epoch))
                return -EBUSY;
        if (task->end == 0)
                task->end = now + SWEEP_USEC;
        for (r = 1; r > 0 && count < SWEEP_BATCH && now < end; now = now_usec()) {
                r = record_file_next(&task->list, fields);
                if (r > 0) {
                        (void) sweep_one(task, epoch, fields);
                        count++;
                }
        }
        task->seen += count;
        int committed = sweep_commit(task);
        if (committed < 0)
                return committed;
        /* The rest of the list is asked for again. */
        return r > 0 && now_usec() >= task->end ? 0 : r;
}

static int list_some(CollectorTask *task) {
        uint64_t end = now_usec() + SLICE_USEC;
        int r;
        do
                r = task->collector->spec.inventory_step(task->cursor, task->writer);
        while (r > 0 && now_usec() < end);
        return r;
}

static int on_turn(sd_event_source *source, void *userdata) {
        CollectorTask *task = userdata;
        int r = task->writer ? list_some(task) : sweep_some(task);
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
        uint64_t epoch; /* 0: of none */
        bool roots;
} InventoryOptions;

static const BusOption inventory_options[] = {
        { "roots", "b", offsetof(InventoryOptions, roots) },
        { "epoch", "t", offsetof(InventoryOptions, epoch) },
};

static int method_inventory(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        InventoryOptions options = { 0 };
        _cleanup_(task_freep) CollectorTask *task = NULL;
        CollectorEpoch *epoch = NULL;

        int r = bus_options_read(message, inventory_options, ELEMENTS_OF(inventory_options), &options,
                                 error);
        if (r >= 0 && options.epoch != 0)
                r = find_epoch(collector, options.epoch, &epoch, error);
        if (r >= 0)
                r = task_new(collector, message, &task, error);
        if (r >= 0)
                r = record_writer_new("crt-inventory", &task->writer);
        if (r >= 0)
                r = collector->spec.inventory_new(collector->spec.owner, options.roots, &task->cursor);
        if (r < 0)
                return r;
        if (epoch)
                collector_epoch_note_list(epoch);
        TAKE_PTR(task);
        return 1;
}

static int method_sweep(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Collector *collector = userdata;
        _cleanup_(task_freep) CollectorTask *task = NULL;
        CollectorEpoch *epoch;
        uint64_t number;
        int fd;

        int r = sd_bus_message_read(message, "th", &number, &fd);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r >= 0)
                r = find_epoch(collector, number, &epoch, error);
        if (r >= 0 && !collector_epoch_is_held(epoch))
                r = sd_bus_error_set(error, bus_error_name(-EBUSY), "this epoch does not hold");
        if (r >= 0)
                r = task_new(collector, message, &task, error);
        if (r < 0)
                return r;
        task->epoch = number;
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
        SD_BUS_METHOD_WITH_ARGS("Hold", SD_BUS_ARGS("t", epoch, "a{sv}", options),
                                SD_BUS_RESULT("b", changed), method_hold, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Sweep", SD_BUS_ARGS("t", epoch, "h", list, "a{sv}", options),
                                SD_BUS_RESULT("u", gone, "t", bytes, "u", seen), method_sweep,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("t", epoch, "a{sv}", options), SD_BUS_NO_RESULT,
                                method_release, SD_BUS_VTABLE_UNPRIVILEGED),
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
        int r = collector_epochs_new(
                &(CollectorEpochsSpec){
                        .bus = bus,
                        .gated = spec->gated,
                        .gated_count = spec->gated_count,
                        .is_settling = spec->is_settling,
                        .on_hold = spec->on_hold,
                        .owner = spec->owner,
                },
                &collector->epochs);
        if (r >= 0)
                r = sd_bus_add_filter(bus, &collector->filter, on_message, collector);
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
        sd_bus_slot_unref(collector->slot);
        sd_bus_slot_unref(collector->filter);
        collector_epochs_free(collector->epochs);
        sd_bus_unref(collector->bus);
        free(collector);
        return NULL;
}

bool collector_is_busy(const Collector *collector) {
        return collector_epochs_are_open(collector->epochs) || collector->tasks;
}
