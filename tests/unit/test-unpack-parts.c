/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The three processes that unpack a layer: what they say when one of them dies, lies or takes too long. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/layer-unpack.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"
#include "tests/unit/test-unpack-tar.h"

static int open_root(void) {
        static int top = -1;
        if (top < 0)
                top = check_directory();
        CHECK_OK(path_remove_tree(top, "t"));
        CHECK(mkdirat(top, "t", 0755) >= 0);
        return openat(top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int unpack(int layer, const LayerUnpack *like, LayerResult *ret, Fault *fault) {
        _cleanup_close_ int root = open_root();
        LayerUnpack unpack = *like;
        unpack.layer = layer;
        unpack.root = root;
        unpack.notes = -EBADF;
        unpack.compression = COMPRESSION_AUTO;
        return layer_unpack(&unpack, ret, fault);
}

static int memfd_of(const Tar *tar) {
        int fd = memfd_create("layer", MFD_CLOEXEC);
        CHECK(fd >= 0 && fd_write_all(fd, tar->data, tar->size) >= 0);
        return fd;
}

static Tar small_layer(void) {
        Tar tar = { 0 };
        tar_add(&tar,
                &(TarEntry){
                        .name = "a", .type = '0', .contents = "x", .uid = geteuid(), .gid = getegid() });
        tar_end(&tar);
        return tar;
}

/* ---- whoever dies ---- */

static LayerPart victim;
static int victim_signal;

static int die(LayerPart part, Fault *fault) {
        if (part == victim)
                (void) raise(victim_signal);
        return 0;
}

static int refuse(LayerPart part, Fault *fault) {
        return part == victim ? fault_set(fault, -EPERM, "part %i may not", (int) part) : 0;
}

static void a_part_that_dies_is_explained(void) {
        static const struct {
                LayerPart part;
                int signal;
                int error;
                const char *sentence;
        } rows[] = {
                { LAYER_PART_DECOMPRESS, SIGSYS, -EIO, "decompresses the layer was killed by SIGSYS" },
                { LAYER_PART_WRITE, SIGKILL, -EIO, "writes the layer was killed by SIGKILL" },
                { LAYER_PART_WRITE, SIGXCPU, -EDQUOT, "more processor time" },
                { LAYER_PART_DECOMPRESS, SIGXCPU, -EDQUOT, "more processor time" },
        };
        Tar tar = small_layer();
        LayerResult result;
        const struct rlimit no_cores = { 0, 0 };
        (void) setrlimit(RLIMIT_CORE, &no_cores);
        for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
                _cleanup_close_ int layer = memfd_of(&tar);
                victim = rows[i].part;
                victim_signal = rows[i].signal;
                CHECK_FAULT(unpack(layer, &(LayerUnpack){ .confine = die }, &result, &fault), rows[i].error,
                            rows[i].sentence);
        }
        tar_done(&tar);
}

static void a_part_that_can_not_be_confined_does_nothing(void) {
        Tar tar = small_layer();
        LayerResult result;
        for (victim = 0; victim < _LAYER_PART_MAX; victim++) {
                _cleanup_close_ int layer = memfd_of(&tar);
                CHECK_FAULT(unpack(layer, &(LayerUnpack){ .confine = refuse }, &result, &fault), -EPERM,
                            "may not");
        }
        tar_done(&tar);
}

/* ---- time ---- */

typedef struct Trickle {
        int fd;
        const Tar *tar;
        unsigned milliseconds;
        size_t piece;
        atomic_bool stop;
} Trickle;

static void *trickle(void *userdata) {
        Trickle *trickle = userdata;
        for (size_t done = 0; done < trickle->tar->size && !trickle->stop; done += trickle->piece) {
                size_t n = MIN_OF(trickle->piece, trickle->tar->size - done);
                if (write(trickle->fd, trickle->tar->data + done, n) != (ssize_t) n)
                        break;
                (void) usleep(trickle->milliseconds * 1000);
        }
        while (!trickle->stop)
                (void) usleep(10000);
        trickle->fd = fd_close(trickle->fd);
        return NULL;
}

static void check_slow(const LayerPace *pace, unsigned milliseconds, const char *sentence) {
        int ends[2];
        pthread_t thread;
        LayerResult result;
        Tar tar = small_layer();
        CHECK(pipe2(ends, O_CLOEXEC) >= 0);
        Trickle feeder = { .fd = ends[1], .tar = &tar, .milliseconds = milliseconds, .piece = 10 };
        CHECK(pthread_create(&thread, NULL, trickle, &feeder) == 0);
        Fault fault = FAULT_NULL;
        int r = unpack(ends[0], &(LayerUnpack){ .pace = *pace }, &result, &fault);
        (void) close(ends[0]);
        feeder.stop = true;
        (void) pthread_join(thread, NULL);
        tar_done(&tar);
        char text[200];
        (void) snprintf(text, sizeof(text), "%s", fault_text(&fault, r));
        fault_done(&fault);
        CHECK_INT(r, -ETIMEDOUT);
        CHECK_CONTAINS(text, sentence);
}

static void a_layer_that_trickles_in_fails(void) {
        check_slow(&(LayerPace){ .window_seconds = 1, .window_bytes = 1000 }, 50,
                   "bytes of the layer arrived in 1");
        check_slow(&(LayerPace){ .deadline_seconds = 1 }, 10, "not unpacked within 1 seconds");
        check_slow(&(LayerPace){ .stall_seconds = 1 }, 0, "Nothing of the layer arrived for 1 seconds");
}

static atomic_ulong told;

static void on_progress(uint64_t bytes, void *userdata) {
        told = bytes;
}

static void a_slow_layer_that_keeps_its_pace_is_unpacked(void) {
        int ends[2];
        pthread_t thread;
        LayerResult result;
        Tar tar = small_layer();
        CHECK(pipe2(ends, O_CLOEXEC) >= 0);
        Trickle feeder = { .fd = ends[1], .tar = &tar, .milliseconds = 150, .piece = 200, .stop = false };
        CHECK(pthread_create(&thread, NULL, trickle, &feeder) == 0);
        /* The last bytes are told while nothing else happens; then the stream may end. */
        const LayerUnpack like = {
                .pace = { .window_seconds = 1, .window_bytes = 500, .deadline_seconds = 5 },
                .on_progress = on_progress
        };
        CHECK_FAULT(unpack(ends[0], &like, &result, &fault), -ETIMEDOUT, "Only 0 bytes");
        CHECK_INT(told, tar.size);
        (void) close(ends[0]);
        feeder.stop = true;
        (void) pthread_join(thread, NULL);
        tar_done(&tar);
}

int main(void) {
        (void) signal(SIGPIPE, SIG_IGN);
        return check_run((const Check[]){
                CHECK_CASE(a_part_that_dies_is_explained),
                CHECK_CASE(a_part_that_can_not_be_confined_does_nothing),
                CHECK_CASE(a_layer_that_trickles_in_fails),
                CHECK_CASE(a_slow_layer_that_keeps_its_pace_is_unpacked),
                {},
        });
}
