/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An ingest whose commit was ended in the middle, or whose worker was killed, begins again. */

#include <sys/file.h>

#include "tests/unit/ingest-trial.h"

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

int main(void) {
        if (trial_bytes() < 0)
                return EXIT_FAILURE;
        int result = check_run((const Check[]){
                CHECK_CASE(what_is_sealed_needs_no_more_bytes),
                CHECK_CASE(what_is_sealed_takes_no_more_bytes),
                CHECK_CASE(the_worker_before_is_waited_for),
                {},
        });
        free(bytes);
        return result;
}
