/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/store-client-bus.h"

#include <errno.h>
#include <string.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/strv.h"

struct StoreClient {
        sd_bus *bus;
};

struct StoreCall {
        StoreClient *client; /* weak */
        StoreMethod method;
        StoreDone done;
        void *userdata;
        sd_bus_slot *slot;
        sd_event_source *timer;
        sd_bus_message *message; /* to be sent when the timer ends */
};

/* Whom a call goes to. */
typedef struct StoreObject {
        const char *service;
        const char *path; /* NULL: the name that is given */
        const char *interface;
} StoreObject;

static const StoreObject content = { CRT_CONTENT_NAME, CRT_CONTENT_PATH, CRT_CONTENT_INTERFACE },
                         content_collector = { CRT_CONTENT_NAME, CRT_CONTENT_PATH,
                                               CRT_CONTENT_COLLECTOR_INTERFACE },
                         snapshots = { CRT_SNAPSHOTS_NAME, CRT_SNAPSHOTS_PATH, CRT_SNAPSHOTS_INTERFACE },
                         snapshot_job = { CRT_SNAPSHOTS_NAME, NULL, CRT_SNAPSHOTS_JOB_INTERFACE },
                         snapshot_collector = { CRT_SNAPSHOTS_NAME, CRT_SNAPSHOTS_PATH,
                                                CRT_SNAPSHOTS_COLLECTOR_INTERFACE },
                         tasks = { CRT_TASKS_NAME, CRT_TASKS_PATH, CRT_TASKS_INTERFACE };

/* How a call is written and its answer is read. */
typedef struct StoreFormat {
        const StoreObject *object;
        const char *member;
        int (*append)(sd_bus_message *message,
                      const StoreArguments *arguments); /* what is before the options */
        int (*append_options)(sd_bus_message *message, const StoreArguments *arguments);
        int (*read)(sd_bus_message *message, StoreReply *reply);
} StoreFormat;

static int append_name(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "s", arguments->name);
}

static int append_prepare(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "ss", arguments->name, "");
}

static int append_commit(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "ss", arguments->digest, arguments->name);
}

static int append_unpack(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "sh", arguments->name, arguments->fd);
}

static int options_ingest(sd_bus_message *message, const StoreArguments *arguments) {
        int r = bus_append_entry(message, "digest", "s", arguments->digest);
        if (r < 0)
                return r;
        return arguments->size > 0 ? bus_append_entry(message, "size", "t", arguments->size)
                                   : bus_append_entry(message, "at-most", "t", arguments->at_most);
}

static int options_unpack(sd_bus_message *message, const StoreArguments *arguments) {
        int r = bus_append_entry(message, "diff-id", "s", arguments->digest);
        if (r >= 0 && arguments->compression)
                r = bus_append_entry(message, "compression", "s", arguments->compression);
        if (r >= 0 && arguments->size > 0)
                r = bus_append_entry(message, "size", "t", arguments->size);
        return r;
}

static int options_commit(sd_bus_message *message, const StoreArguments *arguments) {
        return arguments->parent ? bus_append_entry(message, "parent", "s", arguments->parent) : 0;
}

static int options_list(sd_bus_message *message, const StoreArguments *arguments) {
        return bus_append_entry(message, "after", "s", arguments->name);
}

static int read_stream(sd_bus_message *message, StoreReply *reply) {
        int fd;
        int r = sd_bus_message_read(message, "ht", &fd, &reply->size);
        if (r < 0)
                return r;
        reply->fd = fd_duplicate(fd);
        return reply->fd < 0 ? reply->fd : 0;
}

static int read_committed(sd_bus_message *message, StoreReply *reply) {
        return sd_bus_message_read(message, "st", NULL, &reply->size);
}

static int read_job(sd_bus_message *message, StoreReply *reply) {
        const char *path;
        int r = sd_bus_message_read(message, "o", &path);
        if (r < 0)
                return r;
        reply->text = strdup(path);
        return reply->text ? 0 : -ENOMEM;
}

/* One a{sv}: of "size" (t), "state" and "key" (s), whichever are there. The key is appended to the names,
 * the state becomes the text. */
static int read_info(sd_bus_message *message, StoreReply *reply) {
        const char *key, *value;
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = sd_bus_message_read(message, "s", &key);
                if (r < 0)
                        break;
                if (string_equal(key, "size"))
                        r = sd_bus_message_read(message, "v", "t", &reply->size);
                else if (string_equal(key, "state")) {
                        r = sd_bus_message_read(message, "v", "s", &value);
                        free(reply->text);
                        reply->text = r >= 0 ? strdup(value) : NULL;
                } else if (string_equal(key, "key")) {
                        r = sd_bus_message_read(message, "v", "s", &value);
                        if (r >= 0)
                                r = strv_append(&reply->names, value);
                } else
                        r = sd_bus_message_skip(message, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int read_list(sd_bus_message *message, StoreReply *reply) {
        int r = sd_bus_message_enter_container(message, 'a', "a{sv}");
        while (r >= 0 && (r = sd_bus_message_at_end(message, false)) == 0)
                r = read_info(message, reply);
        return r < 0 ? r : 0;
}

/* ---- collections ---- */

static int append_epoch(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "t", arguments->size);
}

static int append_sweep(sd_bus_message *message, const StoreArguments *arguments) {
        return sd_bus_message_append(message, "th", arguments->size, arguments->fd);
}

static int options_inventory(sd_bus_message *message, const StoreArguments *arguments) {
        int r = arguments->roots ? bus_append_entry(message, "roots", "b", 1) : 0;
        return r >= 0 && arguments->size > 0 ? bus_append_entry(message, "epoch", "t", arguments->size) : r;
}

static int read_epoch(sd_bus_message *message, StoreReply *reply) {
        return sd_bus_message_read(message, "t", &reply->size);
}

static int read_held(sd_bus_message *message, StoreReply *reply) {
        return sd_bus_message_read(message, "b", &reply->changed);
}

static int read_swept(sd_bus_message *message, StoreReply *reply) {
        return sd_bus_message_read(message, "utu", &reply->count, &reply->size, &reply->seen);
}

static int read_records(sd_bus_message *message, StoreReply *reply) {
        int fd;
        int r = sd_bus_message_read(message, "h", &fd);
        if (r < 0)
                return r;
        reply->fd = fd_duplicate(fd);
        return reply->fd < 0 ? reply->fd : 0;
}

static const StoreFormat formats[_STORE_METHOD_MAX] = {
        [STORE_CONTENT_STAT] = { &content, "Stat", append_name, NULL, read_info },
        [STORE_CONTENT_OPEN] = { &content, "Open", append_name, NULL, read_stream },
        [STORE_CONTENT_INGEST] = { &content, "Ingest", append_name, options_ingest, read_stream },
        [STORE_CONTENT_COMMIT] = { &content, "Commit", append_name, NULL, read_committed },
        [STORE_CONTENT_ABORT] = { &content, "Abort", append_name },
        [STORE_SNAPSHOT_STAT] = { &snapshots, "Stat", append_name, NULL, read_info },
        [STORE_SNAPSHOT_PREPARE] = { &snapshots, "Prepare", append_prepare },
        [STORE_SNAPSHOT_UNPACK] = { &snapshots, "Unpack", append_unpack, options_unpack, read_job },
        [STORE_SNAPSHOT_COMMIT] = { &snapshots, "Commit", append_commit, options_commit },
        [STORE_SNAPSHOT_REMOVE] = { &snapshots, "Remove", append_name },
        [STORE_SNAPSHOT_LIST] = { &snapshots, "List", NULL, options_list, read_list },
        [STORE_JOB_WAIT] = { &snapshot_job, "Wait" },
        [STORE_JOB_CANCEL] = { &snapshot_job, "Cancel" },
        [STORE_CONTENT_BEGIN] = { &content_collector, "Begin", NULL, NULL, read_epoch },
        [STORE_CONTENT_INVENTORY] = { &content_collector, "Inventory", NULL, options_inventory,
                                      read_records },
        [STORE_CONTENT_HOLD] = { &content_collector, "Hold", append_epoch, NULL, read_held },
        [STORE_CONTENT_RELEASE] = { &content_collector, "Release", append_epoch },
        [STORE_CONTENT_SWEEP] = { &content_collector, "Sweep", append_sweep, NULL, read_swept },
        [STORE_CONTENT_END] = { &content_collector, "End", append_epoch },
        [STORE_SNAPSHOT_BEGIN] = { &snapshot_collector, "Begin", NULL, NULL, read_epoch },
        [STORE_SNAPSHOT_INVENTORY] = { &snapshot_collector, "Inventory", NULL, options_inventory,
                                       read_records },
        [STORE_SNAPSHOT_HOLD] = { &snapshot_collector, "Hold", append_epoch, NULL, read_held },
        [STORE_SNAPSHOT_RELEASE] = { &snapshot_collector, "Release", append_epoch },
        [STORE_SNAPSHOT_SWEEP] = { &snapshot_collector, "Sweep", append_sweep, NULL, read_swept },
        [STORE_SNAPSHOT_END] = { &snapshot_collector, "End", append_epoch },
        [STORE_TASK_REFERENCES] = { &tasks, "References", NULL, NULL, read_records },
};

int store_client_new(sd_bus *bus, StoreClient **ret) {
        StoreClient *client = new0(StoreClient, 1);
        if (!client)
                return -ENOMEM;
        client->bus = sd_bus_ref(bus);
        *ret = client;
        return 0;
}

StoreClient *store_client_free(StoreClient *client) {
        if (!client)
                return NULL;
        sd_bus_unref(client->bus);
        free(client);
        return NULL;
}

StoreCall *store_call_free(StoreCall *call) {
        if (!call)
                return NULL;
        sd_bus_slot_unref(call->slot);
        sd_event_source_disable_unref(call->timer);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

static void finish(StoreCall *call, StoreReply *reply) {
        StoreDone done = call->done;
        void *userdata = call->userdata;

        store_call_free(call);
        done(reply, userdata);
        fd_close(reply->fd);
        free(reply->text);
        strv_free(reply->names);
        fault_done(&reply->fault);
}

/* Of a disk one must know whose it is. */
static int read_error(const sd_bus_error *error, const StoreFormat *format, Fault *fault) {
        int r = bus_error_to_fault(error, fault);
        return r == -ENOSPC || r == -EROFS || r == -EIO
                       ? fault_prefix(fault, r, "%s", format->object->service)
                       : r;
}

static int on_reply(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        StoreCall *call = userdata;
        const StoreFormat *format = &formats[call->method];
        StoreReply reply = { .fd = -EBADF };

        if (sd_bus_message_is_method_error(message, NULL))
                reply.r = read_error(sd_bus_message_get_error(message), format, &reply.fault);
        else if (format->read) {
                reply.r = format->read(message, &reply);
                if (reply.r < 0)
                        fault_set_errno(&reply.fault, reply.r, "the answer of %s to %s is not understood",
                                        format->object->service, format->member);
                else
                        reply.r = 0;
        }
        finish(call, &reply);
        return 0;
}

static int new_message(StoreClient *client, const StoreArguments *arguments, sd_bus_message **ret) {
        const StoreFormat *format = &formats[arguments->method];
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        const StoreObject *object = format->object;

        int r = sd_bus_message_new_method_call(client->bus, &message, object->service,
                                               object->path ? object->path : arguments->name,
                                               object->interface, format->member);
        if (r >= 0 && format->append)
                r = format->append(message, arguments);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0 && format->append_options)
                r = format->append_options(message, arguments);
        /* A job's namespace is in its path; a collection is of all. */
        if (r >= 0 && arguments->namespace && object->path)
                r = bus_append_entry(message, "namespace", "s", arguments->namespace);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(message);
        return 0;
}

static int send_call(StoreCall *call, sd_bus_message *message) {
        return sd_bus_call_async(call->client->bus, &call->slot, message, on_reply, call, UINT64_MAX);
}

static int on_delay(sd_event_source *source, uint64_t usec, void *userdata) {
        StoreCall *call = userdata;
        int r = send_call(call, call->message);
        if (r < 0) {
                StoreReply reply = { .r = r, .fd = -EBADF };
                finish(call, &reply);
        }
        return 0;
}

int store_call_new(StoreClient *client, const StoreArguments *arguments, StoreDone done, void *userdata,
                   StoreCall **ret) {
        _cleanup_(store_call_freep) StoreCall *call = new0(StoreCall, 1);
        if (!call)
                return -ENOMEM;
        call->client = client;
        call->method = arguments->method;
        call->done = done;
        call->userdata = userdata;
        int r = new_message(client, arguments, &call->message);
        if (r < 0)
                return r;
        if (arguments->delay > 0)
                r = sd_event_add_time_relative(sd_bus_get_event(client->bus), &call->timer, CLOCK_MONOTONIC,
                                               (uint64_t) arguments->delay * 1000, 0, on_delay, call);
        else
                r = send_call(call, call->message);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(call);
        return 0;
}
