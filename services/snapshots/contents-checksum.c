/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/contents-checksum.h"

#include <errno.h>
#include <isa-l/crc64.h>
#include <stdbool.h>
#include <unistd.h>

#include "lib/macros.h"

#define STAT_BLOCK 512U

/* ---- zeros ---- */

/* Polynomials over GF(2), the coefficient of x^0 in the highest bit; what the checksum is the remainder of a
 * division by has x^64 besides. */
#define DIVISOR UINT64_C(0xc96c5795d7870f42)
#define ONE (UINT64_C(1) << 63)
#define ONE_BYTE (ONE >> 8) /* x^8 */

static uint64_t multiply(uint64_t a, uint64_t b) {
        uint64_t product = 0;
        for (; a; a <<= 1) {
                if (a & ONE)
                        product ^= b;
                b = (b >> 1) ^ (b & 1 ? DIVISOR : 0);
        }
        return product;
}

/* Each zero byte multiplies what is in the register by x^8. It is inverted before and after. */
uint64_t contents_checksum_add_zeros(uint64_t checksum, uint64_t count) {
        uint64_t factor = ONE;
        for (uint64_t square = ONE_BYTE; count > 0; count >>= 1) {
                if (count & 1)
                        factor = multiply(factor, square);
                square = multiply(square, square);
        }
        return ~multiply(factor, ~checksum);
}

/* ---- contents ---- */

/* 0: the file is shorter than it was. */
static int read_data(int fd, uint64_t end, char *buffer, ContentsChecksum *sum) {
        while (sum->length < end) {
                size_t wanted = (size_t) MIN_OF(end - sum->length, (uint64_t) CONTENTS_BUFFER_SIZE);
                ssize_t n = pread(fd, buffer, wanted, (off_t) sum->length);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                sum->checksum = crc64_ecma_refl(sum->checksum, (unsigned char *) buffer, (uint64_t) n);
                sum->length += (uint64_t) n;
                sum->bytes += (uint64_t) n;
        }
        return 1;
}

/* A file system that does not know any holes says so, or that all is data. */
static int find(int fd, uint64_t from, int what, uint64_t otherwise, uint64_t *ret) {
        off_t found = lseek(fd, (off_t) from, what);
        if (found < 0 && errno != ENXIO && errno != EINVAL && errno != EOPNOTSUPP)
                return -errno;
        *ret = found >= 0 ? (uint64_t) found : errno == ENXIO ? otherwise : from;
        return 0;
}

int contents_checksum_read(int fd, const struct stat *st, char buffer[CONTENTS_BUFFER_SIZE],
                           ContentsChecksum *ret) {
        ContentsChecksum sum = { 0 };
        uint64_t size = (uint64_t) st->st_size, start, end;
        bool has_holes = (uint64_t) st->st_blocks * STAT_BLOCK < size;
        int r = 1;
        while (r > 0 && sum.length < size) {
                start = sum.length;
                end = size;
                r = has_holes ? find(fd, sum.length, SEEK_DATA, size, &start) : 0;
                if (r >= 0 && start < size && has_holes)
                        r = find(fd, start, SEEK_HOLE, size, &end);
                if (r < 0)
                        return r;
                start = MIN_OF(start, size);
                end = end > start ? MIN_OF(end, size) : size;
                sum.checksum = contents_checksum_add_zeros(sum.checksum, start - sum.length);
                sum.length = start;
                r = read_data(fd, end, buffer, &sum);
        }
        if (r >= 0)
                *ret = sum;
        return r < 0 ? r : 0;
}
