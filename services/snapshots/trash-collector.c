/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/trash-collector.h"

#include <errno.h>

#include "lib/log.h"
#include "services/snapshots/worker-run.h"

struct TrashCollector {
        sd_event *event;
        const TreeStore *trees; /* weak */
        WorkerRun *run;
        bool again; /* something came while it ran */
};

int trash_collector_new(sd_event *event, const TreeStore *trees, TrashCollector **ret) {
        TrashCollector *collector = new0(TrashCollector, 1);
        if (!collector)
                return -ENOMEM;
        *collector = (TrashCollector){ .event = sd_event_ref(event), .trees = trees };
        *ret = collector;
        return 0;
}

TrashCollector *trash_collector_free(TrashCollector *collector) {
        if (!collector)
                return NULL;
        worker_run_free(collector->run);
        sd_event_unref(collector->event);
        return mfree(collector);
}

static void on_end(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        TrashCollector *collector = userdata;
        collector->run = worker_run_free(collector->run);
        if (r < 0)
                log_warning("%s", fault_text(fault, r));
        if (collector->again)
                trash_collector_start(collector);
}

void trash_collector_start(TrashCollector *collector) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (collector->run) {
                collector->again = true;
                return;
        }
        collector->again = false;
        if (!tree_store_has_trash(collector->trees))
                return;
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const[]){ "empty-trash", NULL },
                .fds = &collector->trees->trash,
                .fd_count = 1,
                .on_end = on_end,
                .userdata = collector,
        };
        int r = worker_run_new(collector->event, &spec, &collector->run, &fault);
        if (r < 0)
                log_warning("%s", fault_text(&fault, r));
}

bool trash_collector_is_busy(const TrashCollector *collector) {
        return collector->run;
}
