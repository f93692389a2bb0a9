/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stream and its checkpoints: what is in the file, what is hashed, and how it goes on after an end. */

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>

#include "tests/unit/ingest-trial.h"

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

/* Bytes that nobody can see: of a disk that fails to read them, a signal would come. */
static void what_can_not_be_read_is_an_error(void) {
        Trial trial = trial_files("unreadable");
        IngestCheckpoint checkpoint;
        Syncer *syncer = NULL;
        Hasher *hasher = NULL;
        ingest_checkpoint_init(&checkpoint, BOOT, DIGEST_SHA256);
        CHECK_OK(digest_state_init(&checkpoint.state, DIGEST_SHA256));
        CHECK_OK(syncer_new(&(SyncerSpec){ trial.data, trial.checkpoint, trial.directory, 0 }, &syncer));
        CHECK_OK(hasher_new(&checkpoint, trial.checkpoint, trial.data, syncer, &hasher));
        CHECK_ERROR(hasher_push(hasher, 4096), -EIO);
        hasher_free(hasher);
        syncer_free(syncer);
        trial_done(&trial);
}

int main(void) {
        if (trial_bytes() < 0)
                return EXIT_FAILURE;
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
                CHECK_CASE(damaged_checkpoints_do_not_count),
                CHECK_CASE(a_file_that_lost_bytes_begins_anew),
                CHECK_CASE(more_than_promised_is_noticed_at_the_first_byte),
                CHECK_CASE(finish_does_not_wait_for_the_end),
                CHECK_CASE(finish_overlooks_nothing_that_was_written),
                CHECK_CASE(an_end_is_told_from_breaking_off),
                CHECK_CASE(what_fits_is_kept_when_no_more_does),
                CHECK_CASE(what_can_not_be_read_is_an_error),
                {},
        });
        free(bytes);
        return result;
}
