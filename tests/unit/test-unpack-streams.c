/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "lib/digest.h"
#include "lib/fd.h"
#include "services/snapshots/chunk-pipe.h"
#include "services/snapshots/decompress.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

#define PLAIN_SIZE ((size_t) 3 * 1024 * 1024 + 12345)

typedef struct Buffer {
        uint8_t *data;
        size_t size, room;
} Buffer;

static void buffer_done(Buffer *buffer) {
        free(buffer->data);
}

static Buffer make_plain(size_t size) {
        Buffer plain = { malloc(size + 1), size, size + 1 };
        CHECK(plain.data);
        uint32_t x = 1;
        for (size_t i = 0; i < size; i++) {
                x = x * 1103515245 + 12345;
                plain.data[i] = (uint8_t) ((x >> 16) % 23 + 'a');
        }
        return plain;
}

static void append(Buffer *to, const void *data, size_t size) {
        if (to->size + size >= to->room) {
                to->room = 2 * (to->size + size) + 1;
                to->data = realloc(to->data, to->room);
        }
        CHECK(to->data);
        if (size > 0)
                memcpy(to->data + to->size, data, size);
        to->size += size;
}

/* One member. */
static void append_member(Buffer *to, const uint8_t *data, size_t size, gz_header *header) {
        z_stream stream = { 0 };
        size_t bound = size + size / 100 + 1000;
        uint8_t *out = malloc(bound);
        CHECK(out && deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        CHECK(!header || deflateSetHeader(&stream, header) == Z_OK);
        stream.next_in = (uint8_t *) data;
        stream.avail_in = (uInt) size;
        stream.next_out = out;
        stream.avail_out = (uInt) bound;
        CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
        append(to, out, stream.total_out);
        (void) deflateEnd(&stream);
        free(out);
}

static void append_gzip(Buffer *to, const uint8_t *data, size_t size) {
        gz_header header = { .name = (Bytef *) "layer.tar", .comment = (Bytef *) "a comment", .hcrc = 1 };
        append_member(to, data, size, &header);
}

static void append_zstd(Buffer *to, const uint8_t *data, size_t size) {
        size_t bound = ZSTD_compressBound(size);
        uint8_t *out = malloc(bound);
        size_t n = out ? ZSTD_compress(out, bound, data, size, 3) : 0;
        CHECK(n > 0 && !ZSTD_isError(n));
        append(to, out, n);
        free(out);
}

/* Writes in small pieces of changing size, so that every state of a decoder sees the end of its input. */
typedef struct Feeder {
        const Buffer *from;
        size_t piece;
        int fd;
} Feeder;

static void *feed(void *userdata) {
        Feeder *feeder = userdata;
        size_t done = 0, piece = feeder->piece;
        while (done < feeder->from->size) {
                size_t n = MIN_OF(piece, feeder->from->size - done);
                ssize_t written = write(feeder->fd, feeder->from->data + done, n);
                if (written <= 0)
                        break;
                done += (size_t) written;
                piece = piece % 997 + 1;
        }
        feeder->fd = fd_close(feeder->fd);
        return NULL;
}

/* The decompressed bytes; a small out makes the decoder stop in the middle everywhere. */
static int decode_fd(int fd, Compression compression, size_t out_size, Buffer *ret, Fault *fault) {
        LayerInput input;
        Decompressor decompressor;
        uint8_t *out = malloc(out_size);
        CHECK(out);
        CHECK_OK(layer_input_init(&input, fd, 5, NULL));
        int r = decompressor_init(&decompressor, compression, &input, fault);
        while (r >= 0) {
                ssize_t n = decompressor_read(&decompressor, out, out_size, fault);
                if (n <= 0) {
                        r = (int) n;
                        break;
                }
                append(ret, out, (size_t) n);
        }
        decompressor_done(&decompressor);
        layer_input_done(&input);
        free(out);
        return r;
}

static int decode(const Buffer *from, Compression compression, Buffer *ret, Fault *fault) {
        _cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC);
        CHECK(fd >= 0 && fd_write_all(fd, from->data, from->size) >= 0);
        return decode_fd(fd, compression, CHUNK_SIZE, ret, fault);
}

static int decode_pieces(const Buffer *from, size_t piece, size_t out_size, Buffer *ret, Fault *fault) {
        int ends[2];
        pthread_t thread;
        CHECK(pipe2(ends, O_CLOEXEC) >= 0);
        Feeder feeder = { .from = from, .piece = piece, .fd = ends[1] };
        CHECK(pthread_create(&thread, NULL, feed, &feeder) == 0);
        int r = decode_fd(ends[0], COMPRESSION_AUTO, out_size, ret, fault);
        (void) close(ends[0]);
        (void) pthread_join(thread, NULL);
        return r;
}

static void check_decodes(const Buffer *packed, const Buffer *plain) {
        static const size_t pieces[] = { 1, 7, 500 };
        Buffer got = { 0 };
        CHECK_NO_FAULT(decode(packed, COMPRESSION_AUTO, &got, &fault));
        CHECK(got.size == plain->size && (got.size == 0 || memcmp(got.data, plain->data, got.size) == 0));
        for (size_t i = 0; i < ELEMENTS_OF(pieces); i++) {
                got.size = 0;
                CHECK_NO_FAULT(decode_pieces(packed, pieces[i], 1000 + pieces[i], &got, &fault));
                CHECK(got.size == plain->size &&
                      (got.size == 0 || memcmp(got.data, plain->data, got.size) == 0));
        }
        buffer_done(&got);
}

/* ---- cases ---- */

static void passes_on_what_is_not_compressed(void) {
        _cleanup_(buffer_done) Buffer plain = make_plain(PLAIN_SIZE);
        check_decodes(&plain, &plain);
        _cleanup_(buffer_done) Buffer empty = make_plain(0);
        check_decodes(&empty, &empty);
}

static void reads_gzip_of_many_members(void) {
        _cleanup_(buffer_done) Buffer plain = make_plain(PLAIN_SIZE), packed = { 0 };
        size_t done = 0;
        for (size_t i = 0; done < plain.size; i++) {
                size_t n = MIN_OF((size_t) 1 << (2 * i), plain.size - done);
                append_gzip(&packed, plain.data + done, n);
                if (i % 3 == 0)
                        append_gzip(&packed, NULL, 0);
                done += n;
        }
        check_decodes(&packed, &plain);
        append(&packed, "\0\0\0\0\0\0\0", 7); /* as tapes are filled up */
        check_decodes(&packed, &plain);
}

static void reads_zstd_of_many_frames(void) {
        _cleanup_(buffer_done) Buffer plain = make_plain(PLAIN_SIZE), packed = { 0 };
        static const uint8_t skippable[] = { 0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
        append(&packed, skippable, sizeof(skippable));
        size_t done = 0;
        for (size_t i = 0; done < plain.size; i++) {
                size_t n = MIN_OF((size_t) 1 << (2 * i), plain.size - done);
                append_zstd(&packed, plain.data + done, n);
                append(&packed, skippable, sizeof(skippable));
                done += n;
        }
        check_decodes(&packed, &plain);
}

static void check_refuses(const Buffer *packed, Compression compression, const char *sentence) {
        Buffer got = { 0 };
        CHECK_FAULT(decode(packed, compression, &got, &fault), -EBADMSG, sentence);
        buffer_done(&got);
}

static void refuses_damaged_gzip(void) {
        _cleanup_(buffer_done) Buffer plain = make_plain(5000), packed = { 0 }, empty = { 0 };
        append_gzip(&packed, plain.data, plain.size);
        check_refuses(&empty, COMPRESSION_GZIP, "is empty");
        check_refuses(&plain, COMPRESSION_GZIP, "a damaged header");
        size_t size = packed.size;
        for (packed.size = 3; packed.size < size; packed.size += packed.size < 60 ? 1 : 97)
                check_refuses(&packed, COMPRESSION_GZIP, "truncated");
        packed.size = size;
        packed.data[size - 6] ^= 1;
        check_refuses(&packed, COMPRESSION_GZIP, "a wrong checksum");
        packed.data[size - 6] ^= 1;
        packed.data[size - 2] ^= 1; /* the length */
        check_refuses(&packed, COMPRESSION_GZIP, "has ");
        packed.data[size - 2] ^= 1;
        append(&packed, "garbage", 7);
        check_refuses(&packed, COMPRESSION_GZIP, "ends with garbage");
        packed.size = size;
        append(&packed, "\0\0\x1f\x8b", 4); /* padding, and then something more */
        check_refuses(&packed, COMPRESSION_GZIP, "ends with garbage");
        packed.size = size;
        append(&packed, "\x1f\x8b\x08\0", 4); /* a second member that is cut off */
        check_refuses(&packed, COMPRESSION_GZIP, "truncated");
}

static void refuses_damaged_zstd(void) {
        _cleanup_(buffer_done) Buffer plain = make_plain(5000), packed = { 0 }, empty = { 0 };
        append_zstd(&packed, plain.data, plain.size);
        check_refuses(&empty, COMPRESSION_ZSTD, "is empty");
        check_refuses(&plain, COMPRESSION_ZSTD, "damaged");
        size_t size = packed.size;
        for (packed.size = 4; packed.size < size; packed.size += 97)
                check_refuses(&packed, COMPRESSION_ZSTD, "truncated");
        packed.size = size;
        append(&packed, "garbage", 7);
        check_refuses(&packed, COMPRESSION_ZSTD, "damaged");
        /* A window of 2^41 bytes. */
        static const uint8_t huge[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00 };
        Buffer window = { (uint8_t *) huge, sizeof(huge), 0 };
        check_refuses(&window, COMPRESSION_ZSTD, "damaged");
}

static void a_silent_stream_fails(void) {
        int ends[2];
        LayerInput input;
        CHECK(pipe2(ends, O_CLOEXEC) >= 0);
        CHECK_OK(layer_input_init(&input, ends[0], 1, NULL));
        CHECK_FAULT(layer_input_fill(&input, &fault), -ETIMEDOUT, "for 1 seconds");
        layer_input_done(&input);
        fd_close_many(ends, 2);
}

/* A stream that pauses is not held back until a whole chunk is there. */
static void what_has_arrived_is_passed_on(void) {
        int ends[2];
        uint8_t out[1000];
        LayerInput input;
        Decompressor decompressor;
        _cleanup_(buffer_done) Buffer plain = make_plain(300), packed = { 0 };
        append_member(&packed, plain.data, plain.size, NULL);
        for (unsigned i = 0; i < 2; i++) {
                const Buffer *from = i == 0 ? &plain : &packed;
                CHECK(pipe2(ends, O_CLOEXEC) >= 0);
                CHECK_OK(layer_input_init(&input, ends[0], 1, NULL));
                CHECK(fd_write_all(ends[1], from->data, from->size) >= 0);
                CHECK_OK(decompressor_init(&decompressor, COMPRESSION_AUTO, &input, NULL));
                CHECK_INT(decompressor_read(&decompressor, out, sizeof(out), NULL), (long) plain.size);
                CHECK(memcmp(out, plain.data, plain.size) == 0);
                CHECK_FAULT((int) decompressor_read(&decompressor, out, sizeof(out), &fault), -ETIMEDOUT,
                            "for 1 seconds");
                decompressor_done(&decompressor);
                layer_input_done(&input);
                fd_close_many(ends, 2);
        }
}

/* ---- from process to process ---- */

#define TEST_CHUNKS 6U

typedef struct Ends {
        ChunkPipe pipe;
        ChunkEnd from;
        ChunkEnd to;
} Ends;

static Ends make_ends(void) {
        Ends ends = { CHUNK_PIPE_NULL, CHUNK_END_NULL, CHUNK_END_NULL };
        CHECK_OK(chunk_pipe_new(TEST_CHUNKS, &ends.pipe));
        CHECK_OK(chunk_pipe_produce(&ends.pipe, &ends.from));
        CHECK_OK(chunk_pipe_consume(&ends.pipe, &ends.to));
        return ends;
}

static void ends_done(Ends *ends) {
        chunk_end_done(&ends->from);
        chunk_end_done(&ends->to);
        chunk_pipe_done(&ends->pipe);
}

static void *consume(void *userdata) {
        const uint8_t *data;
        size_t size, total = 0;
        while (chunk_end_next(userdata, &data, &size) > 0)
                for (size_t i = 0; i < size; i += 4096)
                        total += data[i];
        return (void *) total;
}

static void chunks_arrive_in_order(void) {
        _cleanup_(ends_done) Ends ends = make_ends();
        pthread_t thread;
        void *total;
        size_t expected = 0;
        CHECK(pthread_create(&thread, NULL, consume, &ends.to) == 0);
        for (unsigned i = 1; i <= 100; i++) {
                uint8_t *chunk = chunk_end_reserve(&ends.from);
                CHECK(chunk);
                memset(chunk, (int) i, 4096);
                CHECK_OK(chunk_end_publish(&ends.from, i * 40, 0));
                expected += i;
        }
        CHECK_OK(chunk_end_publish(&ends.from, 0, 0));
        CHECK(pthread_join(thread, &total) == 0);
        CHECK_INT((size_t) total, expected);
        const uint8_t *data;
        size_t size;
        for (unsigned i = 0; i < 3; i++)
                CHECK_INT(chunk_end_next(&ends.to, &data, &size), 0);
}

static void *produce(void *userdata) {
        for (unsigned i = 1; i <= 5 * TEST_CHUNKS; i++) {
                uint8_t *chunk = chunk_end_reserve(userdata);
                if (!chunk)
                        return NULL;
                memset(chunk, (int) i, CHUNK_SIZE);
                if (chunk_end_publish(userdata, CHUNK_SIZE, 0) < 0)
                        return NULL;
        }
        return userdata;
}

static void a_producer_waits_until_chunks_are_given_back(void) {
        _cleanup_(ends_done) Ends ends = make_ends();
        pthread_t thread;
        const uint8_t *data;
        size_t size;
        void *result;
        CHECK(pthread_create(&thread, NULL, produce, &ends.from) == 0);
        for (unsigned i = 1; i <= 5 * TEST_CHUNKS; i++) {
                CHECK_INT(chunk_end_next(&ends.to, &data, &size), 1);
                (void) usleep(i == 1 ? 20000 : 100); /* in which nothing of it may change */
                CHECK(size == CHUNK_SIZE && data[0] == i && data[CHUNK_SIZE - 1] == i);
        }
        CHECK(pthread_join(thread, &result) == 0 && result);
}

static void what_was_given_back_is_used_first(void) {
        _cleanup_(ends_done) Ends ends = make_ends();
        const uint8_t *data;
        size_t size;
        for (unsigned i = 0; i < 5 * TEST_CHUNKS; i++) {
                CHECK(chunk_end_reserve(&ends.from) == ends.from.data);
                CHECK_OK(chunk_end_publish(&ends.from, 1, 0));
                CHECK(chunk_end_reserve(&ends.from) == ends.from.data + CHUNK_SIZE);
                CHECK_INT(chunk_end_next(&ends.to, &data, &size), 1);
                CHECK(data == ends.to.data && chunk_end_give_back(&ends.to) >= 0);
        }
}

static void what_was_not_sent_can_not_be_given_back(void) {
        _cleanup_(ends_done) Ends ends = make_ends();
        const ChunkNote note = { .type = CHUNK_NOTE_FREE, .chunk = 1 };
        CHECK(chunk_end_reserve(&ends.from));
        CHECK_OK(chunk_end_publish(&ends.from, 1, 0));
        CHECK_INT(chunk_end_take_back(&ends.from, &note), -EBADMSG);
        CHECK(send(ends.to.socket, &note, sizeof(note), 0) > 0);
        CHECK(!chunk_end_reserve(&ends.from));
}

static void whoever_is_gone_is_noticed(void) {
        const uint8_t *data;
        size_t size;
        _cleanup_(ends_done) Ends ends = make_ends();
        ends.from.socket = fd_close(ends.from.socket);
        CHECK_INT(chunk_end_next(&ends.to, &data, &size), -EPIPE);
        _cleanup_(ends_done) Ends others = make_ends();
        others.to.socket = fd_close(others.to.socket);
        CHECK_INT(chunk_end_publish(&others.from, 1, 0), -EPIPE);
        others.from.busy = ((uint64_t) 1 << TEST_CHUNKS) - 1;
        CHECK(!chunk_end_reserve(&others.from));
}

static void check_memory(void) {
        _cleanup_(ends_done) Ends ends = make_ends();
        size_t all = CHUNK_SIZE * TEST_CHUNKS;
        int fd = ends.pipe.reading;
        CHECK(ends.pipe.memory < 0);
        CHECK(mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
        CHECK(mprotect(ends.to.data, all, PROT_READ | PROT_WRITE) < 0);
        CHECK(pwrite(fd, "x", 1, 0) < 0 && ftruncate(fd, 0) < 0 && fallocate(fd, 0, 0, 2 * (off_t) all) < 0);
        CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
        memset(chunk_end_reserve(&ends.from), 7, CHUNK_SIZE);
        CHECK_OK(chunk_end_publish(&ends.from, CHUNK_SIZE, 0));
        const uint8_t *data;
        size_t size;
        CHECK_INT(chunk_end_next(&ends.to, &data, &size), 1);
        CHECK(size == CHUNK_SIZE && data[0] == 7 && data[CHUNK_SIZE - 1] == 7);
}

/* Who may not mount has small pages, and as safe ones. */
static void nobody_else_can_write_to_the_memory(void) {
        check_memory();
        if (geteuid() != 0)
                return;
        CHECK(seteuid(65534) >= 0);
        ChunkPipe pipe;
        CHECK_OK(chunk_pipe_new(TEST_CHUNKS, &pipe));
        CHECK(pipe.is_sealed);
        chunk_pipe_done(&pipe);
        check_memory();
        CHECK(seteuid(0) >= 0);
}

static void what_is_no_message_is_refused(void) {
        static const ChunkNote bad[] = {
                { .type = 0 },
                { .type = _CHUNK_NOTE_TYPE_MAX },
                { .type = CHUNK_NOTE_DATA, .size = 0 },
                { .type = CHUNK_NOTE_DATA, .size = CHUNK_SIZE + 1 },
                { .type = CHUNK_NOTE_END, .size = 1 },
                { .type = CHUNK_NOTE_DATA, .size = 1, .chunk = TEST_CHUNKS },
                { .type = CHUNK_NOTE_FREE, .chunk = UINT64_MAX },
        };
        _cleanup_(ends_done) Ends ends = make_ends();
        ChunkNote note;
        WorkerMessage report = { .type = WORKER_FAILED, .error = 1 };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                CHECK(send(ends.from.socket, &bad[i], sizeof(bad[i]), 0) > 0);
                CHECK_INT(chunk_end_receive(&ends.to, &note, &report), -EBADMSG);
        }
        CHECK_OK(chunk_end_report(&ends.from, &report)); /* an error must be negative */
        CHECK_INT(chunk_end_receive(&ends.to, &note, &report), -EBADMSG);
        CHECK(send(ends.from.socket, "x", 1, 0) > 0);
        CHECK_INT(chunk_end_receive(&ends.to, &note, &report), -EBADMSG);
}

int main(void) {
        (void) signal(SIGPIPE, SIG_IGN); /* a layer that is refused is not read to its end */
        return check_run((const Check[]){
                CHECK_CASE(passes_on_what_is_not_compressed),
                CHECK_CASE(reads_gzip_of_many_members),
                CHECK_CASE(reads_zstd_of_many_frames),
                CHECK_CASE(refuses_damaged_gzip),
                CHECK_CASE(refuses_damaged_zstd),
                CHECK_CASE(a_silent_stream_fails),
                CHECK_CASE(what_has_arrived_is_passed_on),
                CHECK_CASE(chunks_arrive_in_order),
                CHECK_CASE(a_producer_waits_until_chunks_are_given_back),
                CHECK_CASE(what_was_given_back_is_used_first),
                CHECK_CASE(what_was_not_sent_can_not_be_given_back),
                CHECK_CASE(whoever_is_gone_is_noticed),
                CHECK_CASE(nobody_else_can_write_to_the_memory),
                CHECK_CASE(what_is_no_message_is_refused),
                {},
        });
}
