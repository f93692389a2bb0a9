/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* events: what a container uses, again and again, and each time that its memory runs out. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/oci-command.h"
#include "runtime/oci-output.h"
#include "runtime/oci-statistics.h"

static int print_event(const char *type, const char *id, json_object *data, Fault *fault) {
        _cleanup_json_ json_object *event = json_object_new_object();
        int r;
        if (!event) {
                json_object_put(data);
                return -ENOMEM;
        }
        if ((r = oci_output_add(event, "type", json_object_new_string(type))) < 0 ||
            (r = oci_output_add(event, "id", json_object_new_string(id))) < 0) {
                json_object_put(data);
                return r;
        }
        if (data && (r = oci_output_add(event, "data", data)) < 0)
                return r;
        return oci_output_json(event, false, fault);
}

static int print_statistics(const char *id, int cgroup, Fault *fault) {
        json_object *data = NULL;
        int r = oci_statistics_read(cgroup, &data, fault);
        return r < 0 ? r : print_event("stats", id, data, fault);
}

/* How often the memory limit has killed so far. */
static uint64_t read_kills(int events) {
        char text[512];
        ssize_t n = events < 0 ? -1 : pread(events, text, sizeof(text) - 1, 0);
        if (n <= 0)
                return 0;
        text[n] = '\0';
        const char *line = strstr(text, "oom_kill ");
        return line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}

static int64_t now_ms(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the container ends. */
static int watch(const OciOptions *options, int init, int cgroup, Fault *fault) {
        _cleanup_close_ int events = openat(cgroup, "memory.events", O_RDONLY | O_CLOEXEC);
        uint64_t kills = read_kills(events);
        int64_t next = now_ms() + options->interval_ms;
        for (;;) {
                struct pollfd wait[] = {
                        { .fd = init, .events = POLLIN },
                        { .fd = events, .events = POLLPRI },
                };
                int r = poll(wait, ELEMENTS_OF(wait), (int) MAX_OF(next - now_ms(), 0));
                if (r < 0 && errno != EINTR)
                        return fault_set_errno(fault, -errno, "waiting for events");
                uint64_t killed = read_kills(events);
                for (; kills < killed; kills++)
                        if ((r = print_event("oom", options->id, NULL, fault)) < 0)
                                return r;
                if (wait[0].revents)
                        return 0;
                if (now_ms() < next)
                        continue;
                next += options->interval_ms;
                if ((r = print_statistics(options->id, cgroup, fault)) < 0)
                        return r;
        }
}

int oci_events(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_close_ int root = -EBADF, cgroup = -EBADF, init = -EBADF;
        int r = oci_peek_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        init = state_file_open_init(&state);
        if (init < 0)
                return fault_set(fault, -EBUSY, "container '%s' is not running", options->id);
        cgroup = oci_open_cgroup(&state, fault);
        if (cgroup < 0)
                return cgroup;
        return options->stats ? print_statistics(options->id, cgroup, fault)
                              : watch(options, init, cgroup, fault);
}
