/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/erofs-chunks.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "services/snapshots/erofs-inode.h"
#include "services/snapshots/file-copy.h"

#define BLOCK_BITS 12U
#define BITS_MAX (BLOCK_BITS + 31)
#define HOLES_MIN ((uint64_t) 64 * 1024)
#define MAP_ENTRY sizeof(uint32_t)
#define MAP_HOLE UINT32_MAX /* EROFS_NULL_ADDR */
/* A map may be as large as the data are, or 16 KiB: who makes nothing but holes gets no large image. */
#define MAP_COUNT_MIN ((uint64_t) 4 * 1024)
#define MAP_COUNT_MAX ((uint64_t) 64 * 1024)
#define ENTRIES_AT_ONCE ((size_t) 256)

typedef struct Extent {
        off_t begin, end;
} Extent;

typedef struct Extents {
        Extent *items;
        size_t count, allocated;
        uint64_t sum;
} Extents;

static void extents_done(Extents *extents) {
        free(extents->items);
}

static int extents_add(Extents *extents, Extent extent) {
        if (extents->count == extents->allocated) {
                size_t wanted = extents->allocated > 0 ? extents->allocated * 2 : 16;
                Extent *larger = reallocarray(extents->items, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                extents->items = larger;
                extents->allocated = wanted;
        }
        extents->items[extents->count++] = extent;
        extents->sum += (uint64_t) (extent.end - extent.begin);
        return 0;
}

static int find_extents(Extents *extents, int file, uint64_t size) {
        for (off_t at = 0; at < (off_t) size;) {
                Extent extent = { .begin = lseek(file, at, SEEK_DATA) };
                if (extent.begin < 0)
                        return errno == ENXIO ? 0 : -errno;
                extent.end = lseek(file, extent.begin, SEEK_HOLE);
                if (extent.end < 0)
                        return -errno;
                at = extent.end = MIN_OF(extent.end, (off_t) size);
                int r = extent.begin < extent.end ? extents_add(extents, extent) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static uint64_t count_chunks(uint64_t size, unsigned bits) {
        return size > 0 ? ((size - 1) >> bits) + 1 : 0;
}

static unsigned choose_bits(uint64_t size, uint64_t data) {
        uint64_t most = MIN_OF(MAX_OF(data / MAP_ENTRY, MAP_COUNT_MIN), MAP_COUNT_MAX);
        unsigned bits = BLOCK_BITS;
        while (bits < BITS_MAX && count_chunks(size, bits) > most)
                bits++;
        return bits;
}

/* The runs that the extents lie in; returns how many chunks these are. */
static uint64_t find_runs(ErofsChunks *chunks, const Extents *extents) {
        uint64_t sum = 0;
        for (size_t i = 0; i < extents->count; i++) {
                uint64_t first = (uint64_t) extents->items[i].begin >> chunks->bits;
                uint64_t end = (((uint64_t) extents->items[i].end - 1) >> chunks->bits) + 1;
                ErofsRun *last = chunks->run_count > 0 ? &chunks->runs[chunks->run_count - 1] : NULL;
                if (last && first <= last->first + last->count) {
                        sum += end - (last->first + last->count);
                        last->count = end - last->first;
                } else {
                        chunks->runs[chunks->run_count++] =
                                (ErofsRun){ .first = first, .count = end - first };
                        sum += end - first;
                }
        }
        return sum;
}

static int place_runs(ErofsChunks *chunks, uint64_t size, uint64_t *blocks) {
        for (size_t i = 0; i < chunks->run_count; i++) {
                ErofsRun *run = &chunks->runs[i];
                uint64_t begin = run->first << chunks->bits;
                uint64_t end = MIN_OF((run->first + run->count) << chunks->bits, size);
                run->block = *blocks;
                *blocks += EROFS_BLOCKS(end - begin);
                if (*blocks > UINT32_MAX)
                        return -EFBIG;
        }
        return 0;
}

static int copy_extents(const ErofsChunks *chunks, const Extents *extents, int file, int image) {
        const ErofsRun *run = chunks->runs;
        for (size_t i = 0; i < extents->count; i++) {
                const Extent *extent = &extents->items[i];
                while ((uint64_t) extent->begin >> chunks->bits >= run->first + run->count)
                        run++;
                off_t offset = extent->begin - (off_t) (run->first << chunks->bits);
                int r = file_copy_range(file, extent->begin, image,
                                        (off_t) (run->block * EROFS_BLOCK) + offset,
                                        extent->end - extent->begin);
                if (r < 0)
                        return r;
        }
        return 0;
}

int erofs_chunks_take(int file, uint64_t size, int image, uint64_t *blocks, ErofsChunks **ret) {
        _cleanup_(extents_done) Extents extents = { 0 };
        *ret = NULL;
        int r = size < HOLES_MIN ? 0 : find_extents(&extents, file, size);
        if (r < 0 || size < HOLES_MIN || size - extents.sum < HOLES_MIN)
                return r;
        _cleanup_(erofs_chunks_freep) ErofsChunks *chunks = new0(ErofsChunks, 1);
        if (!chunks)
                return -ENOMEM;
        chunks->bits = choose_bits(size, extents.sum);
        chunks->count = count_chunks(size, chunks->bits);
        chunks->runs = new0(ErofsRun, extents.count + 1);
        if (!chunks->runs)
                return -ENOMEM;
        uint64_t holes = chunks->count - find_runs(chunks, &extents);
        if (holes == 0)
                return 0;
        r = place_runs(chunks, size, blocks);
        if (r >= 0)
                r = copy_extents(chunks, &extents, file, image);
        if (r >= 0)
                *ret = TAKE_PTR(chunks);
        return r;
}

ErofsChunks *erofs_chunks_free(ErofsChunks *chunks) {
        if (!chunks)
                return NULL;
        free(chunks->runs);
        return mfree(chunks);
}

uint64_t erofs_chunks_map_size(const ErofsChunks *chunks) {
        return chunks->count * MAP_ENTRY;
}

int erofs_chunks_write_map(const ErofsChunks *chunks,
                           int (*add)(void *userdata, const uint32_t *entries, size_t count),
                           void *userdata) {
        const ErofsRun *run = chunks->runs, *end = chunks->runs + chunks->run_count;
        uint64_t chunk_blocks = UINT64_C(1) << (chunks->bits - BLOCK_BITS);
        uint32_t entries[ENTRIES_AT_ONCE];
        size_t used = 0;
        int r = 0;
        for (uint64_t i = 0; r >= 0 && i < chunks->count; i++) {
                if (run < end && i >= run->first + run->count)
                        run++;
                bool hole = run == end || i < run->first;
                entries[used++] =
                        hole ? MAP_HOLE : htole32((uint32_t) (run->block + (i - run->first) * chunk_blocks));
                if (used == ENTRIES_AT_ONCE || i + 1 == chunks->count) {
                        r = add(userdata, entries, used);
                        used = 0;
                }
        }
        return r;
}
