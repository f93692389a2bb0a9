/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* bench-unpack-stages STAGE LAYER [DIRECTORY]: one stage of unpacking a layer, alone, and how long it takes:
 *
 *   decompress   the layer, into nothing
 *   hash         the (decompressed) archive
 *   write        the archive's files with their contents, and nothing else: no owner, mode or time
 *   unpack       all of it, as crt-unpack does, without the service
 *
 * Prints the seconds that passed and the seconds of processor time. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/layer-unpack.h"

/* Of what a stage alone has at hand: what is fastest for it. */
#define STAGE_CHUNK ((size_t) 128 * 1024)

static double seconds_now(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static double seconds_of(const struct rusage *usage) {
        return (double) (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
               (double) (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static double processor_now(void) {
        struct rusage own, children;
        (void) getrusage(RUSAGE_SELF, &own);
        (void) getrusage(RUSAGE_CHILDREN, &children);
        return seconds_of(&own) + seconds_of(&children);
}

/* Calls for each chunk of what the layer decompresses to. */
static int for_each_chunk(int layer, DigestState *state, Fault *fault) {
        LayerInput input = { 0 };
        Decompressor decompressor;
        _cleanup_free_ uint8_t *chunk = malloc(STAGE_CHUNK);
        int r = chunk ? layer_input_init(&input, layer, 0, fault) : -ENOMEM;
        if (r >= 0)
                r = decompressor_init(&decompressor, COMPRESSION_AUTO, &input, fault);
        for (ssize_t n = 1; r >= 0 && n > 0;) {
                n = decompressor_read(&decompressor, chunk, STAGE_CHUNK, fault);
                if (n > 0 && state)
                        digest_state_update(state, chunk, (size_t) n);
                r = n < 0 ? (int) n : r;
        }
        layer_input_done(&input);
        return r;
}

static int stage_decompress(int layer, int root, Fault *fault) {
        return for_each_chunk(layer, NULL, fault);
}

static int stage_hash(int layer, int root, Fault *fault) {
        DigestState state;
        int r = digest_state_init(&state, DIGEST_SHA256);
        return r < 0 ? r : for_each_chunk(layer, &state, fault);
}

typedef struct Memory {
        const uint8_t *data;
        size_t left;
} Memory;

static int memory_next(void *userdata, const uint8_t **ret_data, size_t *ret_size, Fault *fault) {
        Memory *memory = userdata;
        size_t n = MIN_OF(memory->left, STAGE_CHUNK);
        *ret_data = memory->data;
        *ret_size = n;
        memory->data += n;
        memory->left -= n;
        return n > 0;
}

static int make_parents(const char *path, int root) {
        _cleanup_free_ char *parents = strdup(path);
        char *slash = parents ? strrchr(parents, '/') : NULL;
        if (!slash)
                return -ENOENT;
        *slash = '\0';
        int r = path_make_directories(root, parents, 0755, PATH_BENEATH);
        fd_close(r);
        return r;
}

static int write_bare(LayerArchive *archive, const LayerEntry *entry, int root, Fault *fault) {
        const void *data;
        size_t size;
        uint64_t offset;
        const char *path = entry->path + strspn(entry->path, "./");
        if (S_ISDIR(entry->mode))
                return 0;
        if (!S_ISREG(entry->mode))
                return 0;
        _cleanup_close_ int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 && errno == ENOENT && make_parents(path, root) >= 0)
                fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        int r = fd < 0 ? -errno : 1;
        while (r > 0 && (r = layer_archive_read(archive, &data, &size, &offset, fault)) > 0)
                if (fd_write_all(fd, data, size) < 0)
                        r = -errno;
        return r;
}

static int stage_write(int layer, int root, Fault *fault) {
        _cleanup_(layer_archive_freep) LayerArchive *archive = NULL;
        struct stat st;
        LayerEntry entry;
        if (fstat(layer, &st) < 0)
                return -errno;
        void *all = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, layer, 0);
        if (all == MAP_FAILED)
                return -errno;
        Memory memory = { .data = all, .left = (size_t) st.st_size };
        int r = layer_archive_new((LayerSource){ .next = memory_next, .userdata = &memory }, &archive);
        while (r >= 0 && (r = layer_archive_next(archive, &entry, fault)) > 0)
                r = write_bare(archive, &entry, root, fault);
        (void) munmap(all, (size_t) st.st_size);
        return r;
}

static int stage_unpack(int layer, int root, Fault *fault) {
        LayerResult result;
        const LayerUnpack unpack = {
                .layer = layer, .root = root, .notes = -EBADF, .compression = COMPRESSION_AUTO
        };
        return layer_unpack(&unpack, &result, fault);
}

static const struct {
        const char *name;
        int (*run)(int layer, int root, Fault *fault);
} stages[] = {
        { "decompress", stage_decompress },
        { "hash", stage_hash },
        { "write", stage_write },
        { "unpack", stage_unpack },
};

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_close_ int layer = argc >= 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -EBADF;
        _cleanup_close_ int root = argc >= 4 ? open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        for (size_t i = 0; layer >= 0 && i < ELEMENTS_OF(stages); i++) {
                if (!string_equal(argv[1], stages[i].name))
                        continue;
                double wall = seconds_now(), processor = processor_now();
                int r = stages[i].run(layer, root, &fault);
                if (r < 0) {
                        fprintf(stderr, "%s: %s\n", argv[1], fault_text(&fault, r));
                        return EXIT_FAILURE;
                }
                printf("%.4f %.4f\n", seconds_now() - wall, processor_now() - processor);
                return EXIT_SUCCESS;
        }
        fprintf(stderr, "usage: %s decompress|hash|write|unpack LAYER [DIRECTORY]\n", argv[0]);
        return EXIT_FAILURE;
}
