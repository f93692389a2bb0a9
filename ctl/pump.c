/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/pump.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/fd.h"

/* What a terminal's master takes at once without blocking after it was found writable. */
#define POLITE_CHUNK 256U

struct Pump {
        PumpSpec spec;
        sd_event_source *reader, *writer;
        char data[PUMP_SIZE + 1];
        size_t begin, end; /* what was read and not written yet */
        bool ended;
};

static void pump_close(Pump *pump) {
        pump->reader = sd_event_source_disable_unref(pump->reader);
        pump->writer = sd_event_source_disable_unref(pump->writer);
        if (pump->spec.close_from)
                pump->spec.from = fd_close(pump->spec.from);
        if (pump->spec.close_to)
                pump->spec.to = fd_close(pump->spec.to);
}

static int pump_end(Pump *pump) {
        if (pump->ended)
                return 0;
        pump->ended = true;
        pump_close(pump);
        if (pump->spec.on_end)
                pump->spec.on_end(pump->spec.userdata);
        return 0;
}

static int on_writable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Pump *pump = userdata;
        size_t size = MIN_OF(pump->end - pump->begin, (size_t) POLITE_CHUNK);

        ssize_t n = write(pump->spec.to, pump->data + pump->begin, size);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : pump_end(pump);
        pump->begin += (size_t) n;
        if (pump->begin < pump->end)
                return 0;
        int r = sd_event_source_set_enabled(pump->writer, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_enabled(pump->reader, SD_EVENT_ON);
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Pump *pump = userdata;
        char buffer[PUMP_SIZE];

        ssize_t n = read(pump->spec.from, buffer, sizeof(buffer));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        /* A terminal's master answers EIO when nobody has the other side open any more. */
        if (n <= 0)
                return pump_end(pump);
        if (pump->spec.on_data)
                pump->spec.on_data(pump->spec.userdata);

        pump->begin = 0;
        if (pump->spec.filter)
                pump->end = pump->spec.filter(buffer, (size_t) n, pump->data, pump->spec.userdata);
        else {
                memcpy(pump->data, buffer, (size_t) n);
                pump->end = (size_t) n;
        }
        if (pump->end == 0)
                return 0;
        if (!pump->spec.polite)
                return fd_write_all(pump->spec.to, pump->data, pump->end) < 0 ? pump_end(pump) : 0;
        int r = sd_event_source_set_enabled(pump->reader, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_enabled(pump->writer, SD_EVENT_ON);
}

int pump_new(sd_event *event, const PumpSpec *spec, Pump **ret) {
        _cleanup_(pump_freep) Pump *pump = new0(Pump, 1);
        if (!pump) {
                if (spec->close_from)
                        fd_close(spec->from);
                if (spec->close_to)
                        fd_close(spec->to);
                return -ENOMEM;
        }
        pump->spec = *spec;
        int r = sd_event_add_io(event, &pump->reader, spec->from, EPOLLIN, on_readable, pump);
        if (r >= 0 && spec->polite) {
                r = sd_event_add_io(event, &pump->writer, spec->to, EPOLLOUT, on_writable, pump);
                if (r >= 0)
                        r = sd_event_source_set_enabled(pump->writer, SD_EVENT_OFF);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(pump);
        return 0;
}

Pump *pump_free(Pump *pump) {
        if (!pump)
                return NULL;
        pump_close(pump);
        free(pump);
        return NULL;
}

bool pump_has_ended(const Pump *pump) {
        return !pump || pump->ended;
}
