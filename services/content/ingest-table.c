/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/ingest-private.h"
#include "services/content/lease-store.h"

#define EXPIRY_PERIOD_USEC (UINT64_C(10) * 60 * 1000000)

static int compare(const Ingest *ingest, const char *namespace, const char *reference) {
        int order = strcmp(ingest->record.namespace, namespace);
        return order ? order : strcmp(ingest->record.reference, reference);
}

/* The first one that is not before these names. */
static size_t table_position(const IngestTable *table, const char *namespace, const char *reference) {
        size_t low = 0, high = table->count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(table->ordered[middle], namespace, reference) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

Ingest *ingest_table_find(IngestTable *table, const char *namespace, const char *reference) {
        size_t position = table_position(table, namespace, reference);
        return position < table->count && compare(table->ordered[position], namespace, reference) == 0
                       ? table->ordered[position]
                       : NULL;
}

Ingest *ingest_table_behind(IngestTable *table, const char *namespace, const char *reference) {
        size_t position = table_position(table, namespace, reference);
        if (position < table->count && compare(table->ordered[position], namespace, reference) == 0)
                position++;
        return position < table->count ? table->ordered[position] : NULL;
}

int ingest_table_add(IngestTable *table, Ingest *ingest) {
        const IngestRecord *record = &ingest->record;
        Ingest **ordered = reallocarray(table->ordered, table->count + 1, sizeof(Ingest *));
        if (!ordered)
                return -ENOMEM;
        table->ordered = ordered;
        size_t position = table_position(table, record->namespace, record->reference);
        memmove(&ordered[position + 1], &ordered[position], (table->count - position) * sizeof(Ingest *));
        ordered[position] = ingest;
        table->count++;
        ingest->next = table->ingests;
        table->ingests = ingest;
        return 0;
}

void ingest_table_take_out(IngestTable *table, Ingest *ingest) {
        Ingest **place = &table->ingests;
        while (*place && *place != ingest)
                place = &(*place)->next;
        if (!*place)
                return;
        *place = ingest->next;
        size_t position = table_position(table, ingest->record.namespace, ingest->record.reference);
        assert(table->ordered[position] == ingest);
        table->count--;
        memmove(&table->ordered[position], &table->ordered[position + 1],
                (table->count - position) * sizeof(Ingest *));
}

uint64_t ingest_table_bytes(const IngestTable *table, const char *namespace, const Ingest *except,
                            uint64_t *ret_count) {
        uint64_t bytes = 0, count = 0;
        for (size_t i = table_position(table, namespace, ""); i < table->count; i++) {
                const Ingest *ingest = table->ordered[i];
                if (!string_equal(ingest->record.namespace, namespace))
                        break;
                count++;
                if (ingest != except)
                        bytes += ingest->record.size != INGEST_SIZE_UNKNOWN ? ingest->record.size
                                                                            : ingest->offset;
        }
        if (ret_count)
                *ret_count = count;
        return bytes;
}

Ingest *ingest_table_next(IngestTable *table, Ingest *previous) {
        return previous ? previous->next : table->ingests;
}

void ingest_table_observe(IngestTable *table, const IngestObserver *observer) {
        table->observer = *observer;
}

bool ingest_table_is_busy(const IngestTable *table) {
        for (const Ingest *ingest = table->ingests; ingest; ingest = ingest->next)
                if (ingest->worker)
                        return true;
        return false;
}

bool ingest_table_is_syncing(const IngestTable *table) {
        for (const Ingest *ingest = table->ingests; ingest; ingest = ingest->next)
                if (ingest->phase == INGEST_SYNCING)
                        return true;
        return false;
}

void ingest_table_stop(IngestTable *table) {
        table->stopping = true;
        for (Ingest *ingest = table->ingests; ingest; ingest = ingest->next) {
                if (ingest->phase == INGEST_SYNCING)
                        continue;
                if (ingest->worker)
                        ingest_become_idle(ingest);
                ingest_commit_fail(ingest, -EAGAIN, "the service stops; the ingest can be continued");
        }
}

static bool is_leased(const Ingest *ingest) {
        const LeaseResource resource = { LEASE_INGEST, ingest->record.reference };
        return lease_holds(ingest->table->state, ingest->record.namespace, &resource) != 0;
}

static void table_expire(IngestTable *table) {
        uint64_t now = content_now();
        for (Ingest *ingest = table->ingests, *next; ingest; ingest = next) {
                next = ingest->next;
                if (ingest->worker || ingest->committed || !ingest_record_is_expired(&ingest->record, now) ||
                    is_leased(ingest))
                        continue;
                log_info("ingest '%s' of %s has waited long enough and goes", ingest->record.reference,
                         ingest->record.namespace);
                int r = ingest_remove(ingest);
                if (r < 0)
                        log_warning("it can't be removed: %s", strerror(-r));
        }
}

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata) {
        table_expire(userdata);
        int r = sd_event_source_set_time_relative(source, EXPIRY_PERIOD_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int take_record(IngestRecord *record, void *userdata) {
        IngestTable *table = userdata;
        IngestResume resume;
        Ingest *ingest = ingest_new(table, record);
        if (!ingest)
                return -ENOMEM;
        /* Those of earlier days count too, but are not refused. */
        (void) quota_hold_new(ingest->record.uid, QUOTA_INGESTS, &ingest->hold);
        if (ingest_read_checkpoint(ingest, &resume) >= 0)
                ingest->offset = resume.offset;
        return 0;
}

static int read_boot_id(char ret[BOOT_ID_SIZE]) {
        _cleanup_free_ char *line = NULL;
        int r = fd_read_line_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &line);
        if (r >= 0)
                (void) snprintf(ret, BOOT_ID_SIZE, "%s", line);
        return r;
}

int ingest_table_new(sd_event *event, ContentState *state, IngestTable **ret, Fault *fault) {
        _cleanup_(ingest_table_freep) IngestTable *table = new0(IngestTable, 1);
        if (!table)
                return -ENOMEM;
        table->event = sd_event_ref(event);
        table->state = state;
        state->placing = ingest_commit_is_placing;
        state->placing_userdata = table;
        int r = read_boot_id(table->boot_id);
        if (r < 0)
                return fault_set_errno(fault, r, "can't read the boot id");
        r = ingest_record_visit_all(state, take_record, table);
        if (r < 0)
                return fault_set_errno(fault, r, "can't read the ingests");
        table_expire(table);
        r = sd_event_add_time_relative(event, &table->expiry, CLOCK_MONOTONIC, EXPIRY_PERIOD_USEC,
                                       EXPIRY_PERIOD_USEC / 10, on_expiry, table);
        if (r < 0)
                return fault_set_errno(fault, r, "can't make a timer");
        *ret = TAKE_PTR(table);
        return 0;
}

IngestTable *ingest_table_free(IngestTable *table) {
        if (!table)
                return NULL;
        while (table->ingests) {
                ingest_commit_fail(table->ingests, -EAGAIN,
                                   "the service stops; the ingest can be continued");
                ingest_free(table->ingests);
        }
        if (table->state)
                table->state->placing = NULL;
        sd_event_source_disable_unref(table->expiry);
        sd_event_unref(table->event);
        free(table->ordered);
        free(table);
        return NULL;
}
