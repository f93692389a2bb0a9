/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stream and its checkpoints: what is in the file, what is hashed, and how it goes on after an end. */

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "services/content/ingest-hasher.h"
#include "services/content/ingest-store.h"
#include "services/content/ingest-stream.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define MIB ((size_t) HASHER_PIECE)

/* One ingest, run in a thread. */
typedef struct Trial {
        int data, checkpoint, directory;
        int input;   /* write end */
        int control; /* the daemon's end */
        uint64_t at_most;
        IngestStreamSpec spec;
        IngestMessage start, ended;
        pthread_t thread;
} Trial;

static uint8_t *bytes; /* 40 MiB that do not repeat */

static Digest digest_of_first(size_t size) {
        Digest digest;
        CHECK_OK(digest_of_data(DIGEST_SHA256, bytes, size, &digest));
        return digest;
}

static Trial trial_files(const char *name) {
        _cleanup_close_ int directory = check_directory();
        char path[64];
        Trial trial = { .input = -EBADF, .control = -EBADF };
        (void) snprintf(path, sizeof(path), "%s.data", name);
        trial.data = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        (void) snprintf(path, sizeof(path), "%s.state", name);
        trial.checkpoint = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(trial.data >= 0 && trial.checkpoint >= 0);
        trial.directory = TAKE_FD(directory);
        return trial;
}

static void *trial_main(void *userdata) {
        Trial *trial = userdata;
        ingest_stream_run(&trial->spec, &trial->ended);
        fd_close(trial->spec.stream);
        fd_close(trial->spec.control);
        return NULL;
}

/* size: promised; digest: NULL if none is. */
static void trial_begin(Trial *trial, const char *boot, uint64_t size, const Digest *digest) {
        int ends[2], sockets[2];
        CHECK_OK(pipe2(ends, O_CLOEXEC));
        CHECK_OK(message_pair(&sockets[0], &sockets[1]));
        trial->input = ends[1];
        trial->control = sockets[0];
        trial->start = (IngestMessage){
                .type = INGEST_START,
                .size = size,
                .at_most = trial->at_most > 0 ? trial->at_most : INGEST_SIZE_UNKNOWN,
                .has_digest = digest != NULL,
        };
        if (digest)
                trial->start.digest = *digest;
        ingest_checkpoint_init(&trial->start.checkpoint, boot, DIGEST_SHA256);
        CHECK_OK(ingest_checkpoint_read(trial->checkpoint, trial->data, &trial->start.checkpoint,
                                        &trial->start.resume));
        trial->spec = (IngestStreamSpec){ sockets[1],        ends[0],          trial->data,
                                          trial->checkpoint, trial->directory, &trial->start };
        CHECK_INT(pthread_create(&trial->thread, NULL, trial_main, trial), 0);
}

static void trial_write(Trial *trial, size_t from, size_t to) {
        CHECK_OK(fd_write_all(trial->input, bytes + from, to - from));
}

static void trial_end(Trial *trial) {
        trial->input = fd_close(trial->input);
        CHECK_INT(pthread_join(trial->thread, NULL), 0);
        trial->control = fd_close(trial->control);
}

static void trial_done(Trial *trial) {
        fd_close(trial->data);
        fd_close(trial->checkpoint);
        fd_close(trial->directory);
}

/* File, checkpoint and report agree on the first size bytes. */
static void check_holds(const Trial *trial, size_t size) {
        struct stat st;
        CHECK_OK(fstat(trial->data, &st));
        CHECK_INT(st.st_size, size);
        CHECK_INT(trial->ended.bytes, size);
        Digest digest = digest_of_first(size), hashed;
        CHECK(digest_equal(&digest, &trial->ended.digest));
        IngestCheckpoint checkpoint;
        CHECK_INT(pread(trial->checkpoint, &checkpoint, sizeof(checkpoint), 0), sizeof(checkpoint));
        CHECK_INT(checkpoint.state.bytes, size);
        digest_state_finish(&checkpoint.state, &hashed);
        CHECK(digest_equal(&digest, &hashed));
        if (size > 0) {
                void *file = mmap(NULL, size, PROT_READ, MAP_SHARED, trial->data, 0);
                CHECK(file != MAP_FAILED);
                int same = memcmp(file, bytes, size);
                (void) munmap(file, size);
                CHECK(same == 0);
        }
}

static void all_sizes_arrive_whole(void) {
        static const size_t sizes[] = { 0,
                                        1,
                                        4095,
                                        4097,
                                        MIB - 1,
                                        MIB,
                                        MIB + 1,
                                        3 * MIB + 77,
                                        16 * MIB,
                                        16 * MIB + 1,
                                        33 * MIB + 4095 };
        for (size_t i = 0; i < ELEMENTS_OF(sizes); i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "size-%zu", i);
                Trial trial = trial_files(name);
                trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
                trial_write(&trial, 0, sizes[i]);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, 0);
                check_holds(&trial, sizes[i]);
                trial_done(&trial);
        }
}

static void small_writes_arrive_whole(void) {
        Trial trial = trial_files("small");
        trial_begin(&trial, BOOT, 300007, NULL);
        for (size_t at = 0; at < 300007; at += 997)
                trial_write(&trial, at, MIN_OF(at + 997, (size_t) 300007));
        trial_end(&trial);
        CHECK_INT(trial.ended.error, 0);
        check_holds(&trial, 300007);
        trial_done(&trial);
}

static void goes_on_at_any_offset(void) {
        static const size_t stops[] = {
                1, 4095, 100000, MIB, 5 * MIB + 3, 16 * MIB, 16 * MIB + 5, 20 * MIB
        };
        Trial trial = trial_files("resume");
        size_t at = 0;
        for (size_t i = 0; i < ELEMENTS_OF(stops); i++) {
                trial_begin(&trial, BOOT, 20 * MIB, NULL);
                CHECK_INT(trial.start.resume.offset, at);
                trial_write(&trial, at, stops[i]);
                at = stops[i];
                trial_end(&trial);
                CHECK_INT(trial.ended.error, at < 20 * MIB ? -ENODATA : 0);
                check_holds(&trial, at);
        }
        trial_done(&trial);
}

static void nothing_is_hashed_twice(void) {
        Trial trial = trial_files("once");
        Digest digest = digest_of_first(6 * MIB);
        trial_begin(&trial, BOOT, 6 * MIB, &digest);
        trial_write(&trial, 0, 5 * MIB);
        trial_end(&trial);
        CHECK_INT(pwrite(trial.data, "spoiled", 7, 0), 7);
        trial_begin(&trial, BOOT, 6 * MIB, &digest);
        trial_write(&trial, 5 * MIB, 6 * MIB);
        trial_end(&trial);
        CHECK_INT(trial.ended.error, 0);
        CHECK(digest_equal(&digest, &trial.ended.digest));
        trial_done(&trial);
}

/* As after a loss of power: what has been synced counts, whether a digest is promised or not. */
static void another_boot_goes_on_where_it_was_synced(void) {
        const Digest digest = digest_of_first(6 * MIB);
        for (int promised = 0; promised < 2; promised++) {
                Trial trial = trial_files(promised ? "boot-promised" : "boot");
                trial_begin(&trial, BOOT, 6 * MIB, promised ? &digest : NULL);
                trial_write(&trial, 0, 5 * MIB);
                trial_end(&trial);
                CHECK_INT(trial.ended.durable, 5 * MIB);
                CHECK_INT(pwrite(trial.data, "spoiled", 7, 0), 7); /* and nothing is hashed again */
                trial_begin(&trial, "another", 6 * MIB, promised ? &digest : NULL);
                CHECK_INT(trial.start.resume.offset, 5 * MIB);
                trial_write(&trial, 5 * MIB, 6 * MIB);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, 0);
                CHECK(digest_equal(&digest, &trial.ended.digest));
                trial_done(&trial);
        }
}

static void another_boot_begins_anew_with_what_was_not_synced(void) {
        Trial trial = trial_files("boot-anew");
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial_end(&trial);
        CHECK_INT(trial.ended.durable, 0);
        trial_begin(&trial, "another", INGEST_SIZE_UNKNOWN, NULL);
        CHECK_INT(trial.start.resume.offset, 0);
        trial_write(&trial, 0, 10);
        trial_end(&trial);
        check_holds(&trial, 10);
        trial_done(&trial);
}

/* The places are taken in turn, so that one write that is cut off spoils one of them. */
static void a_durable_checkpoint_that_is_cut_off_leaves_the_one_before(void) {
        IngestCheckpoint checkpoint;
        IngestResume resume;
        Trial trial = trial_files("places");
        CHECK_OK(ftruncate(trial.data, 3 * (off_t) MIB));
        for (unsigned turn = 0; turn < 3; turn++) {
                ingest_checkpoint_init(&checkpoint, BOOT, DIGEST_SHA512);
                CHECK_OK(digest_state_init(&checkpoint.state, DIGEST_SHA512));
                digest_state_update(&checkpoint.state, bytes, (turn + 1) * MIB);
                CHECK_OK(ingest_checkpoint_write_durable(trial.checkpoint, &checkpoint, turn));
        }
        for (size_t left = 3; left >= 2; left--) {
                ingest_checkpoint_init(&checkpoint, "another", DIGEST_SHA512);
                CHECK_OK(ingest_checkpoint_read(trial.checkpoint, trial.data, &checkpoint, &resume));
                CHECK_INT(resume.offset, left * MIB);
                CHECK_INT(checkpoint.state.bytes, left * MIB);
                CHECK_STRING(checkpoint.boot_id, "another");
                off_t place = left == 3 ? 4096 : 8192;
                CHECK_INT(pwrite(trial.checkpoint, "cut off", 7, place + 100), 7);
        }
        ingest_checkpoint_init(&checkpoint, "another", DIGEST_SHA512);
        CHECK_OK(ingest_checkpoint_read(trial.checkpoint, trial.data, &checkpoint, &resume));
        CHECK_INT(resume.offset, 0);
        trial_done(&trial);
}

static void bytes_that_could_not_be_synced_do_not_count(void) {
        IngestCheckpoint checkpoint;
        IngestResume resume;
        struct stat st;
        Trial trial = trial_files("fall-back");
        CHECK_OK(ftruncate(trial.data, 3 * (off_t) MIB));
        ingest_checkpoint_init(&checkpoint, BOOT, DIGEST_SHA256);
        CHECK_OK(digest_state_init(&checkpoint.state, DIGEST_SHA256));
        digest_state_update(&checkpoint.state, bytes, MIB);
        CHECK_OK(ingest_checkpoint_write_durable(trial.checkpoint, &checkpoint, 0));
        digest_state_update(&checkpoint.state, bytes + MIB, MIB);
        CHECK_OK(ingest_checkpoint_write(trial.checkpoint, &checkpoint));
        CHECK_OK(ingest_checkpoint_fall_back(trial.checkpoint, trial.data));
        ingest_checkpoint_init(&checkpoint, BOOT, DIGEST_SHA256);
        CHECK_OK(ingest_checkpoint_read(trial.checkpoint, trial.data, &checkpoint, &resume));
        CHECK_INT(resume.offset, MIB);
        CHECK_OK(fstat(trial.data, &st));
        CHECK_INT(st.st_size, MIB);
        trial_done(&trial);
}

static void what_is_hashed_becomes_durable_meanwhile(void) {
        Trial trial = trial_files("meanwhile");
        Syncer *syncer = NULL;
        IngestCheckpoint checkpoint;
        CHECK_OK(ftruncate(trial.data, 128 * (off_t) MIB));
        CHECK_OK(syncer_new(&(SyncerSpec){ trial.data, trial.checkpoint, trial.directory, 0 }, &syncer));
        ingest_checkpoint_init(&checkpoint, BOOT, DIGEST_SHA256);
        checkpoint.state.bytes = 64 * MIB;
        CHECK_OK(syncer_offer(syncer, &checkpoint)); /* too early */
        CHECK_INT(syncer_durable(syncer), 0);
        (void) usleep(1100000);
        checkpoint.state.bytes = 63 * MIB;
        CHECK_OK(syncer_offer(syncer, &checkpoint)); /* too little */
        checkpoint.state.bytes = 65 * MIB;
        CHECK_OK(syncer_offer(syncer, &checkpoint));
        checkpoint.state.bytes = 66 * MIB;
        CHECK_OK(syncer_offer(syncer, &checkpoint));
        CHECK_OK(syncer_drain(syncer));
        CHECK_INT(syncer_durable(syncer), 65 * MIB);
        syncer_free(syncer);
        trial_done(&trial);
}

static void at_most_so_much_is_taken_without_a_promise(void) {
        Trial trial = trial_files("at-most");
        trial.at_most = 1000;
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial_end(&trial);
        CHECK_INT(trial.ended.error, 0);
        check_holds(&trial, 1000);
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 1000, 1001);
        trial_end(&trial);
        CHECK_INT(trial.ended.error, -EDQUOT);
        check_holds(&trial, 1000);
        trial_done(&trial);
}

/* Neither from the beginning nor when Commit brings one. */
static void at_most_so_much_is_taken_with_a_promise(void) {
        static const struct {
                const char *name;
                uint64_t size, finish, written;
                int error;
        } cases[] = {
                { "at-most-promised", 2000, INGEST_SIZE_UNKNOWN, 1001, -EDQUOT },
                { "at-most-finished", INGEST_SIZE_UNKNOWN, 2000, 1001, -EDQUOT },
                { "at-most-the-same", INGEST_SIZE_UNKNOWN, 1000, 1001, -E2BIG },
                { "at-most-whole", INGEST_SIZE_UNKNOWN, 1000, 1000, 0 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Trial trial = trial_files(cases[i].name);
                IngestMessage finish = { .type = INGEST_FINISH, .size = cases[i].finish };
                trial.at_most = 1000;
                trial_begin(&trial, BOOT, cases[i].size, NULL);
                trial_write(&trial, 0, 500);
                CHECK_OK(message_send(trial.control, &finish, sizeof(finish), NULL, 0));
                while (poll(&(struct pollfd){ .fd = trial.spec.control, .events = POLLIN }, 1, 0) > 0)
                        (void) sched_yield();
                trial_write(&trial, 500, cases[i].written);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, cases[i].error);
                CHECK(trial.ended.bytes <= 1000);
                check_holds(&trial, cases[i].error < 0 ? trial.ended.bytes : 1000);
                trial_done(&trial);
        }
}

static void bytes_beyond_the_checkpoint_are_cut_off(void) {
        Trial trial = trial_files("beyond");
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial_end(&trial);
        CHECK_INT(pwrite(trial.data, "written, but not hashed", 23, 1000), 23);
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        CHECK_INT(trial.start.resume.offset, 1000);
        trial_end(&trial);
        check_holds(&trial, 1000);
        trial_done(&trial);
}

/* The kernel shows who waits for a lock. */
static bool is_waited_for(int file) {
        FILE *locks = fopen("/proc/locks", "re");
        struct stat st;
        char line[256], inode[32];
        bool found = false;
        CHECK(locks);
        CHECK_OK(fstat(file, &st));
        (void) snprintf(inode, sizeof(inode), ":%llu ", (unsigned long long) st.st_ino);
        while (!found && fgets(line, sizeof(line), locks))
                found = strstr(line, "-> FLOCK") && strstr(line, inode);
        (void) fclose(locks);
        return found;
}

/* Who was killed may still be in a system call: it has the lock until that has ended. */
static void the_worker_before_is_waited_for(void) {
        for (int takes_back = 0; takes_back < 2; takes_back++) {
                const char *name = takes_back ? "taken-back" : "waited-for";
                struct stat st;
                Trial trial = trial_files(name);
                trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
                trial_write(&trial, 0, 1000);
                trial_end(&trial);
                char path[64];
                (void) snprintf(path, sizeof(path), "%s.data", name);
                int before = openat(trial.directory, path, O_RDWR | O_CLOEXEC);
                CHECK_OK(before);
                CHECK_OK(flock(trial.data, LOCK_UN)); /* of the first one, which has ended */
                CHECK_OK(flock(before, LOCK_EX));
                CHECK_INT(pwrite(before, "more", 4, 1000), 4);
                trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
                while (!is_waited_for(before))
                        (void) usleep(1000);
                CHECK_OK(fstat(before, &st));
                CHECK_INT(st.st_size, 1004);
                if (takes_back)
                        CHECK_OK(ingest_checkpoint_fall_back(trial.checkpoint, before));
                fd_close(before);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, takes_back ? -EAGAIN : 0);
                if (!takes_back)
                        check_holds(&trial, 1000);
                trial_done(&trial);
        }
}

static void damaged_checkpoints_do_not_count(void) {
        static const struct {
                const char *name;
                off_t offset;
                size_t size;
        } damages[] = {
                { "magic", 0, 4 },
                { "version", offsetof(IngestCheckpoint, state), 4 },
                { "algorithm", offsetof(IngestCheckpoint, state.algorithm), 4 },
                { "bytes", offsetof(IngestCheckpoint, state.bytes), 8 },
                { "context", offsetof(IngestCheckpoint, state.context), sizeof(uint64_t[32]) },
        };
        for (size_t i = 0; i < ELEMENTS_OF(damages); i++) {
                static const uint8_t garbage[512] = { [0 ... 511] = 0x5a };
                Trial trial = trial_files(damages[i].name);
                trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
                trial_write(&trial, 0, 1000);
                trial_end(&trial);
                CHECK_INT(pwrite(trial.checkpoint, garbage, damages[i].size, damages[i].offset),
                          damages[i].size);
                trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
                CHECK_FORMAT(trial.start.resume.offset == 0, "damaged %s is trusted", damages[i].name);
                trial_write(&trial, 0, 10);
                trial_end(&trial);
                check_holds(&trial, 10);
                trial_done(&trial);
        }
}

static void a_file_that_lost_bytes_begins_anew(void) {
        Trial trial = trial_files("shorter");
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial_end(&trial);
        CHECK_OK(ftruncate(trial.data, 999));
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        CHECK_INT(trial.start.resume.offset, 0);
        trial_end(&trial);
        trial_done(&trial);
}

/* With fs-verity: a file that is open for reading only stands for it. */
static void trial_seal(Trial *trial, const char *name) {
        char path[64];
        (void) snprintf(path, sizeof(path), "%s.data", name);
        fd_close(trial->data);
        trial->data = openat(trial->directory, path, O_RDONLY | O_CLOEXEC);
        CHECK_OK(trial->data);
}

/* What a commit that was ended in the middle has sealed is whole, and only hashed from where that stands:
 * after a loss of power, where it was synced. */
static void what_is_sealed_needs_no_more_bytes(void) {
        static const struct {
                const char *name, *boot;
                uint64_t hashed;
        } cases[] = { { "sealed", BOOT, 6 * MIB + 5 }, { "sealed-cut", "another", 5 * MIB } };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Trial trial = trial_files(cases[i].name);
                trial_begin(&trial, BOOT, 6 * MIB + 5, NULL);
                trial_write(&trial, 0, 5 * MIB);
                trial_end(&trial);
                const Digest digest = digest_of_first(6 * MIB + 5);
                trial_begin(&trial, BOOT, 6 * MIB + 5, &digest);
                trial_write(&trial, 5 * MIB, 6 * MIB + 5);
                trial_end(&trial);
                CHECK_INT(pwrite(trial.data, "spoiled", 7, 0), 7);
                trial_seal(&trial, cases[i].name);
                trial_begin(&trial, cases[i].boot, INGEST_SIZE_UNKNOWN, NULL);
                CHECK_INT(trial.start.resume.offset, 6 * MIB + 5);
                CHECK(trial.start.resume.complete);
                CHECK_INT(trial.start.checkpoint.state.bytes, cases[i].hashed);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, 0);
                CHECK_INT(trial.ended.bytes, 6 * MIB + 5);
                CHECK(digest_equal(&trial.ended.digest, &digest));
                trial_done(&trial);
        }
}

static void what_is_sealed_takes_no_more_bytes(void) {
        Trial trial = trial_files("sealed-more");
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial_end(&trial);
        trial_seal(&trial, "sealed-more");
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 1000, 1001);
        trial_end(&trial);
        CHECK_INT(trial.ended.error, -E2BIG);
        check_holds(&trial, 1000);
        trial_done(&trial);
}

static void more_than_promised_is_noticed_at_the_first_byte(void) {
        static const size_t sizes[] = { 0, 10, MIB, 3 * MIB + 1 };
        for (size_t i = 0; i < ELEMENTS_OF(sizes); i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "more-%zu", i);
                Trial trial = trial_files(name);
                trial_begin(&trial, BOOT, sizes[i], NULL);
                trial_write(&trial, 0, sizes[i] + 1);
                trial_end(&trial);
                CHECK_INT(trial.ended.error, -E2BIG);
                struct stat st;
                CHECK_OK(fstat(trial.data, &st));
                CHECK(st.st_size <= (off_t) sizes[i]);
                trial_done(&trial);
        }
}

static void finish_does_not_wait_for_the_end(void) {
        Trial trial = trial_files("finish");
        IngestMessage finish = { .type = INGEST_FINISH, .size = 1000 };
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 500);
        CHECK_OK(message_send(trial.control, &finish, sizeof(finish), NULL, 0));
        trial_write(&trial, 500, 1000);
        CHECK_INT(pthread_join(trial.thread, NULL), 0);
        CHECK_INT(trial.ended.error, 0);
        check_holds(&trial, 1000);
        fd_close(trial.input);
        fd_close(trial.control);
        trial_done(&trial);
}

static void finish_overlooks_nothing_that_was_written(void) {
        for (int i = 0; i < 50; i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "overlook-%i", i);
                Trial trial = trial_files(name);
                IngestMessage finish = { .type = INGEST_FINISH, .size = INGEST_SIZE_UNKNOWN };
                trial_begin(&trial, BOOT, 1000, NULL);
                trial_write(&trial, 0, 1001);
                (void) message_send(trial.control, &finish, sizeof(finish), NULL, 0);
                CHECK_INT(pthread_join(trial.thread, NULL), 0);
                CHECK_INT(trial.ended.error, -E2BIG);
                fd_close(trial.input);
                fd_close(trial.control);
                trial_done(&trial);
        }
}

static void an_end_is_told_from_breaking_off(void) {
        Trial trial = trial_files("broken");
        IngestCheckpoint checkpoint;
        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_write(&trial, 0, 1000);
        trial.control = fd_close(trial.control); /* the daemon is gone */
        CHECK_INT(pthread_join(trial.thread, NULL), 0);
        CHECK(trial.ended.error < 0);
        CHECK_INT(pread(trial.checkpoint, &checkpoint, sizeof(checkpoint), 0), sizeof(checkpoint));
        CHECK_INT(checkpoint.complete, 0);
        fd_close(trial.input);

        trial_begin(&trial, BOOT, INGEST_SIZE_UNKNOWN, NULL);
        trial_end(&trial);
        CHECK_INT(pread(trial.checkpoint, &checkpoint, sizeof(checkpoint), 0), sizeof(checkpoint));
        CHECK_INT(checkpoint.complete, 1);
        trial_done(&trial);
}

/* A file that can't grow stands for a disk that is full. */
static void what_fits_is_kept_when_no_more_does(void) {
        Trial trial = trial_files("full");
        fd_close(trial.data);
        trial.data = memfd_create("full", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK_OK(trial.data);
        trial_begin(&trial, BOOT, 4 * MIB, NULL);
        trial_write(&trial, 0, 2 * MIB);
        trial_end(&trial);
        check_holds(&trial, 2 * MIB);
        CHECK_OK(fcntl(trial.data, F_ADD_SEALS, F_SEAL_GROW));
        trial_begin(&trial, BOOT, 4 * MIB, NULL);
        trial_write(&trial, 2 * MIB, 2 * MIB + 4096);
        trial_end(&trial);
        CHECK_INT(trial.ended.error, -EPERM);
        check_holds(&trial, 2 * MIB);
        trial_done(&trial);
}

int main(void) {
        size_t size = 40 * MIB;
        bytes = malloc(size);
        if (!bytes)
                return EXIT_FAILURE;
        uint64_t x = 1;
        for (size_t i = 0; i < size; i += 8) {
                x = x * 6364136223846793005U + 1442695040888963407U;
                memcpy(bytes + i, &x, 8);
        }
        int result = check_run((const Check[]){
                CHECK_CASE(all_sizes_arrive_whole),
                CHECK_CASE(small_writes_arrive_whole),
                CHECK_CASE(goes_on_at_any_offset),
                CHECK_CASE(nothing_is_hashed_twice),
                CHECK_CASE(another_boot_goes_on_where_it_was_synced),
                CHECK_CASE(another_boot_begins_anew_with_what_was_not_synced),
                CHECK_CASE(a_durable_checkpoint_that_is_cut_off_leaves_the_one_before),
                CHECK_CASE(bytes_that_could_not_be_synced_do_not_count),
                CHECK_CASE(what_is_hashed_becomes_durable_meanwhile),
                CHECK_CASE(at_most_so_much_is_taken_without_a_promise),
                CHECK_CASE(at_most_so_much_is_taken_with_a_promise),
                CHECK_CASE(bytes_beyond_the_checkpoint_are_cut_off),
                CHECK_CASE(the_worker_before_is_waited_for),
                CHECK_CASE(damaged_checkpoints_do_not_count),
                CHECK_CASE(a_file_that_lost_bytes_begins_anew),
                CHECK_CASE(what_is_sealed_needs_no_more_bytes),
                CHECK_CASE(what_is_sealed_takes_no_more_bytes),
                CHECK_CASE(more_than_promised_is_noticed_at_the_first_byte),
                CHECK_CASE(finish_does_not_wait_for_the_end),
                CHECK_CASE(finish_overlooks_nothing_that_was_written),
                CHECK_CASE(an_end_is_told_from_breaking_off),
                CHECK_CASE(what_fits_is_kept_when_no_more_does),
                {},
        });
        free(bytes);
        return result;
}
