/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA_SIZE ((size_t) 128 * 1024)
#define BLOCK ((uint64_t) 4096)
/* Holes are kept where they make up at least so much: a map of them is not for free. */
#define HOLES_MIN ((uint64_t) 64 * 1024)
#define EXTENTS_MAX ((size_t) 64 * 1024)

static uint64_t end_of(const TarExtent *extent) {
        return extent->offset + extent->size;
}

static int append(FileExtents *extents, uint64_t offset, uint64_t size) {
        if (extents->count == extents->allocated) {
                size_t wanted = extents->allocated > 0 ? extents->allocated * 2 : 16;
                TarExtent *larger = reallocarray(extents->items, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                extents->items = larger;
                extents->allocated = wanted;
        }
        extents->items[extents->count++] = (TarExtent){ .offset = offset, .size = size };
        return 0;
}

/* There are too many: the smallest holes become zeros. */
static void join(FileExtents *extents) {
        while (extents->count > EXTENTS_MAX / 2) {
                size_t last = 0;
                extents->gap *= 2;
                for (size_t i = 1; i < extents->count; i++) {
                        TarExtent *before = &extents->items[last];
                        const TarExtent *extent = &extents->items[i];
                        if (extent->offset - end_of(before) < extents->gap)
                                before->size = end_of(extent) - before->offset;
                        else
                                extents->items[++last] = *extent;
                }
                extents->count = last + 1;
        }
}

static int add(FileExtents *extents, uint64_t offset, uint64_t size) {
        if (extents->count == EXTENTS_MAX)
                join(extents);
        TarExtent *last = extents->count > 0 ? &extents->items[extents->count - 1] : NULL;
        if (last && offset - end_of(last) < extents->gap) {
                last->size = offset + size - last->offset;
                return 0;
        }
        return append(extents, offset, size);
}

static bool is_zero(const char *data, size_t size) {
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* All of it, but for what is gone meanwhile. */
static ssize_t read_at(int fd, char *data, size_t size, uint64_t offset) {
        size_t done = 0;
        while (done < size) {
                ssize_t n = pread(fd, data + done, size - done, (off_t) (offset + done));
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        break;
                done += n > 0 ? (size_t) n : 0;
        }
        return (ssize_t) done;
}

/* Both at the border of a block, or the end of the file. */
static int look_at(FileExtents *extents, int fd, uint64_t offset, uint64_t end) {
        while (offset < end) {
                size_t wanted = MIN_OF(end - offset, DATA_SIZE);
                ssize_t size = read_at(fd, extents->data, wanted, offset);
                if (size < 0)
                        return (int) size;
                for (size_t at = 0; at < (size_t) size; at += BLOCK) {
                        size_t part = MIN_OF((size_t) size - at, BLOCK);
                        int r = is_zero(extents->data + at, part) ? 0 : add(extents, offset + at, part);
                        if (r < 0)
                                return r;
                }
                if ((size_t) size < wanted)
                        return 0;
                offset += wanted;
        }
        return 0;
}

/* What the file system knows to be a hole is not read. */
static int look_at_all(FileExtents *extents, int fd, uint64_t size) {
        for (uint64_t at = 0; at < size;) {
                off_t data = lseek(fd, (off_t) at, SEEK_DATA);
                if (data < 0 && errno == ENXIO)
                        return 0;
                off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
                if (hole < 0 && errno != EINVAL)
                        return -errno;
                uint64_t begin = hole < 0 ? at : MAX_OF((uint64_t) data / BLOCK * BLOCK, at);
                uint64_t end = hole < 0 ? size : ((uint64_t) hole + BLOCK - 1) / BLOCK * BLOCK;
                int r = look_at(extents, fd, begin, MIN_OF(end, size));
                if (r < 0)
                        return r;
                at = MAX_OF(end, begin + BLOCK);
        }
        return 0;
}

static int has_no_holes(int fd, uint64_t size) {
        off_t hole = lseek(fd, 0, SEEK_HOLE);
        if (hole < 0)
                return errno == EINVAL || errno == ENXIO ? 1 : -errno;
        return (uint64_t) hole >= size;
}

int file_extents_find(FileExtents *extents, int fd, uint64_t size, bool look) {
        extents->count = 0;
        extents->gap = BLOCK;
        if (size < HOLES_MIN)
                return 0;
        int r = look ? 0 : has_no_holes(fd, size);
        if (r != 0)
                return r < 0 ? r : 0;
        if (!extents->data && !(extents->data = malloc(DATA_SIZE)))
                return -ENOMEM;
        r = look_at_all(extents, fd, size);
        if (r < 0)
                return r;
        uint64_t sum = 0;
        for (size_t i = 0; i < extents->count; i++)
                sum += extents->items[i].size;
        if (size - sum < HOLES_MIN)
                return 0;
        bool ends = extents->count > 0 && end_of(&extents->items[extents->count - 1]) == size;
        r = ends ? 0 : append(extents, size, 0);
        return r < 0 ? r : 1;
}

void file_extents_done(FileExtents *extents) {
        free(extents->items);
        free(extents->data);
        *extents = (FileExtents){ 0 };
}
