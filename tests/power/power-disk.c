/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A disk that remembers: one file, served through FUSE, meant to lie below a loop device. Every write,
 * discard and flush that reaches it is appended to a log, in the order in which it was answered;
 * power_disk.py makes from that log what a disk may hold after a loss of power at any point. Reads, writes
 * and flushes can be made to fail.
 *
 *     power-disk FILE STORE LOG
 *
 * FILE is covered by the mount; STORE holds the bytes, and its size is the disk's. It speaks in lines:
 *
 *     mark TEXT                 into the log; answers when it is there
 *     fail KIND SKIP COUNT      SKIP more of KIND (read, write, flush) succeed, then COUNT fail with EIO
 *     count                     answers how many reads, writes and flushes there were
 *
 * At the end of its input it takes the mount away and ends. It asks nobody and links nothing: what serves a
 * disk must not wait for anything that could be waiting for the disk. */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_SIZE (1024U * 1024U)
#define BUFFER_SIZE (WRITE_SIZE + 65536U)
#define LINE_SIZE 4096

enum {
        RECORD_WRITE = 1,
        RECORD_DISCARD,
        RECORD_FLUSH,
        RECORD_MARK,
};

typedef struct Record {
        uint64_t kind;
        uint64_t offset;
        uint64_t length; /* bytes of data follow in a write and a mark */
} Record;

typedef struct Fault {
        const char *name;
        uint64_t seen;
        uint64_t skip;
        uint64_t count;
} Fault;

enum {
        FAULT_READ,
        FAULT_WRITE,
        FAULT_FLUSH,
        FAULT_MAX,
};

typedef struct Disk {
        int fuse;
        int store;
        int log;
        uint64_t size;
        uint64_t whole_end; /* of the last write, if it had WRITE_SIZE; else 0 */
        Fault faults[FAULT_MAX];
        uint8_t *buffer; /* a request */
        uint8_t *data;   /* what a read answers */
} Disk;

static void die(const char *what) {
        fprintf(stderr, "power-disk: %s: %m\n", what);
        exit(1);
}

static void write_all(int fd, const void *data, size_t size) {
        for (const uint8_t *p = data; size > 0;) {
                ssize_t n = write(fd, p, size);
                if (n < 0)
                        die("write");
                p += n;
                size -= (size_t) n;
        }
}

static bool fault_is_due(Fault *fault) {
        fault->seen++;
        if (fault->count == 0)
                return false;
        if (fault->skip > 0) {
                fault->skip--;
                return false;
        }
        fault->count--;
        return true;
}

static void disk_record(Disk *disk, uint64_t kind, uint64_t offset, uint64_t length, const void *data) {
        Record record = { kind, offset, length };
        write_all(disk->log, &record, sizeof(record));
        if (data)
                write_all(disk->log, data, length);
}

/* ---- FUSE ---- */

static void reply(Disk *disk, uint64_t unique, int error, const void *data, size_t size) {
        struct fuse_out_header header = {
                .len = (uint32_t) (sizeof(header) + size),
                .error = error,
                .unique = unique,
        };
        struct iovec parts[] = { { &header, sizeof(header) }, { (void *) data, size } };
        /* ENOENT: whoever asked was killed meanwhile. */
        if (writev(disk->fuse, parts, 2) < 0 && errno != ENOENT)
                die("answer");
}

static void reply_init(Disk *disk, uint64_t unique, const struct fuse_init_in *in) {
        struct fuse_init_out out = {
                .major = FUSE_KERNEL_VERSION,
                .minor = FUSE_KERNEL_MINOR_VERSION,
                .max_readahead = in->max_readahead,
                .flags = (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES) & in->flags,
                .max_background = 64,
                .congestion_threshold = 48,
                .max_write = WRITE_SIZE,
                .time_gran = 1,
                .max_pages = WRITE_SIZE / 4096,
        };
        reply(disk, unique, 0, &out, sizeof(out));
}

static void reply_attributes(Disk *disk, uint64_t unique) {
        struct fuse_attr_out out = {
                .attr_valid = 3600,
                .attr = {
                        .ino = FUSE_ROOT_ID,
                        .size = disk->size,
                        .blocks = disk->size / 512,
                        .mode = S_IFREG | 0600,
                        .nlink = 1,
                        .blksize = 4096,
                },
        };
        reply(disk, unique, 0, &out, sizeof(out));
}

static void reply_read(Disk *disk, uint64_t unique, const struct fuse_read_in *in) {
        if (fault_is_due(&disk->faults[FAULT_READ]))
                return reply(disk, unique, -EIO, NULL, 0);
        ssize_t n = pread(disk->store, disk->data, in->size < WRITE_SIZE ? in->size : WRITE_SIZE,
                          (off_t) in->offset);
        if (n < 0)
                die("read");
        reply(disk, unique, 0, disk->data, (size_t) n);
}

/* A write that is larger than WRITE_SIZE comes in parts. When not the first of them fails, FUSE makes a
 * shorter write of it, and a loop device takes that for a whole one: nobody would learn of an error. */
static bool is_rest(Disk *disk, const struct fuse_write_in *in) {
        bool rest = disk->whole_end > 0 && in->offset == disk->whole_end;
        disk->whole_end = in->size == WRITE_SIZE ? in->offset + in->size : 0;
        return rest;
}

static void reply_write(Disk *disk, uint64_t unique, const struct fuse_write_in *in) {
        struct fuse_write_out out = { .size = in->size };
        if (!is_rest(disk, in) && fault_is_due(&disk->faults[FAULT_WRITE]))
                return reply(disk, unique, -EIO, NULL, 0);
        if (in->offset > disk->size || in->size > disk->size - in->offset)
                return reply(disk, unique, -ENOSPC, NULL, 0);
        const uint8_t *data = (const uint8_t *) (in + 1);
        for (uint32_t done = 0; done < in->size;) {
                ssize_t n = pwrite(disk->store, data + done, in->size - done, (off_t) (in->offset + done));
                if (n < 0)
                        die("write to the store");
                done += (uint32_t) n;
        }
        disk_record(disk, RECORD_WRITE, in->offset, in->size, data);
        reply(disk, unique, 0, &out, sizeof(out));
}

static void reply_flush(Disk *disk, uint64_t unique) {
        if (fault_is_due(&disk->faults[FAULT_FLUSH]))
                return reply(disk, unique, -EIO, NULL, 0);
        disk_record(disk, RECORD_FLUSH, 0, 0, NULL);
        reply(disk, unique, 0, NULL, 0);
}

static void reply_discard(Disk *disk, uint64_t unique, const struct fuse_fallocate_in *in) {
        if (!(in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
                return reply(disk, unique, -EOPNOTSUPP, NULL, 0);
        if (fallocate(disk->store, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) in->offset,
                      (off_t) in->length) < 0)
                die("discard");
        disk_record(disk, RECORD_DISCARD, in->offset, in->length, NULL);
        reply(disk, unique, 0, NULL, 0);
}

static void disk_answer(Disk *disk, const struct fuse_in_header *header, const void *body) {
        static const struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };
        static const struct fuse_statfs_out statistics = {
                .st = { .bsize = 4096, .frsize = 4096, .namelen = 255 }
        };

        switch (header->opcode) {
        case FUSE_INIT:
                return reply_init(disk, header->unique, body);
        case FUSE_GETATTR:
        case FUSE_SETATTR:
                return reply_attributes(disk, header->unique);
        case FUSE_OPEN:
                return reply(disk, header->unique, 0, &opened, sizeof(opened));
        case FUSE_READ:
                return reply_read(disk, header->unique, body);
        case FUSE_WRITE:
                return reply_write(disk, header->unique, body);
        case FUSE_FSYNC:
                return reply_flush(disk, header->unique);
        case FUSE_FALLOCATE:
                return reply_discard(disk, header->unique, body);
        case FUSE_STATFS:
                return reply(disk, header->unique, 0, &statistics, sizeof(statistics));
        case FUSE_RELEASE:
        case FUSE_ACCESS:
        case FUSE_SYNCFS:
        case FUSE_DESTROY:
                return reply(disk, header->unique, 0, NULL, 0);
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
                return;
        default:
                return reply(disk, header->unique, -ENOSYS, NULL, 0);
        }
}

/* false: the mount is gone. */
static bool disk_serve(Disk *disk) {
        ssize_t n = read(disk->fuse, disk->buffer, BUFFER_SIZE);
        if (n < 0) {
                if (errno == ENODEV)
                        return false;
                if (errno == EINTR || errno == EAGAIN || errno == ENOENT)
                        return true;
                die("read of requests");
        }
        const struct fuse_in_header *header = (const void *) disk->buffer;
        disk_answer(disk, header, header + 1);
        return true;
}

/* ---- commands ---- */

static void disk_command(Disk *disk, char *line) {
        char kind[8];
        unsigned long long skip, count;

        if (strncmp(line, "mark ", 5) == 0)
                disk_record(disk, RECORD_MARK, 0, strlen(line + 5), line + 5);
        else if (sscanf(line, "fail %7s %llu %llu", kind, &skip, &count) == 3) {
                for (size_t i = 0; i < FAULT_MAX; i++)
                        if (strcmp(disk->faults[i].name, kind) == 0) {
                                disk->faults[i].skip = skip;
                                disk->faults[i].count = count;
                        }
        } else if (strcmp(line, "count") != 0) {
                dprintf(STDOUT_FILENO, "what is '%s'?\n", line);
                return;
        }
        dprintf(STDOUT_FILENO, "%llu %llu %llu\n", (unsigned long long) disk->faults[FAULT_READ].seen,
                (unsigned long long) disk->faults[FAULT_WRITE].seen,
                (unsigned long long) disk->faults[FAULT_FLUSH].seen);
}

/* false at the end of the input. One line each: whoever writes waits for the answer. */
static bool disk_listen(Disk *disk) {
        char line[LINE_SIZE];
        size_t length = 0;
        do {
                ssize_t n = read(STDIN_FILENO, line + length, sizeof(line) - 1 - length);
                if (n <= 0)
                        return false;
                length += (size_t) n;
        } while (line[length - 1] != '\n' && length < sizeof(line) - 1);
        line[length - 1] = '\0';
        disk_command(disk, line);
        return true;
}

static void disk_mount(Disk *disk, const char *where) {
        char options[128];
        disk->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (disk->fuse < 0)
                die("/dev/fuse");
        snprintf(options, sizeof(options), "fd=%i,rootmode=%o,user_id=0,group_id=0,max_read=%u", disk->fuse,
                 S_IFREG | 0600, WRITE_SIZE);
        if (mount("power-disk", where, "fuse.power-disk", MS_NOSUID | MS_NODEV, options) < 0)
                die("mount");
}

int main(int argc, char **argv) {
        if (argc != 4) {
                fprintf(stderr, "power-disk FILE STORE LOG\n");
                return 2;
        }
        Disk disk = {
                .faults = { { .name = "read" }, { .name = "write" }, { .name = "flush" } },
                .store = open(argv[2], O_RDWR | O_CLOEXEC),
                .log = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600),
                .buffer = malloc(BUFFER_SIZE),
                .data = malloc(WRITE_SIZE),
        };
        struct stat status;
        if (disk.store < 0 || disk.log < 0 || !disk.buffer || !disk.data || fstat(disk.store, &status) < 0)
                die("start");
        disk.size = (uint64_t) status.st_size;
        disk_mount(&disk, argv[1]);
        dprintf(STDOUT_FILENO, "ready\n");

        struct pollfd polled[] = { { disk.fuse, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
        for (bool open = true; open;) {
                if (poll(polled, 2, -1) < 0)
                        die("poll");
                if (polled[0].revents)
                        open = disk_serve(&disk);
                if (open && polled[1].revents)
                        open = disk_listen(&disk);
        }
        (void) umount2(argv[1], MNT_DETACH);
        return 0;
}
