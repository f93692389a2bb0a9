/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a manifest says of a tree, what it costs to make and to compare, and that it stays what it was: trees
 * are committed with one version of crt, and compared by another one. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/contents-checksum.h"
#include "services/snapshots/tree-manifest.h"
#include "services/snapshots/tree-verify.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define ID 7
#define KIBIBYTE 1024
#define MEBIBYTE (KIBIBYTE * KIBIBYTE)
#define GIBIBYTE ((off_t) MEBIBYTE * KIBIBYTE)

typedef struct Case {
        int trees, files;
        SnapshotMeasure measure;
        TreeDamage damage;
} Case;

static void case_done(Case *test) {
        fd_close(test->trees);
        fd_close(test->files);
}

static int directory_at(int top, const char *name) {
        int fd = path_make_directories(top, name, 0755, PATH_BENEATH);
        CHECK(fd >= 0);
        fd_close(fd);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

static Case case_make(void) {
        _cleanup_close_ int top = check_directory();
        CHECK(path_remove_tree(top, "case") >= 0 || errno == ENOENT);
        return (Case){ .trees = directory_at(top, "case"), .files = directory_at(top, "case/7/fs") };
}

static void note(Case *test) {
        CHECK_OK(tree_manifest_make(test->trees, &(TreeArgument){ .id = ID, .driver = DRIVER_OVERLAYFS },
                                    &test->measure, NULL));
}

static void verify(Case *test) {
        const TreeVerifySpec spec = {
                .trees = test->trees, .id = ID, .manifest = test->measure.manifest, .sample = -EBADF
        };
        test->damage = (TreeDamage){ 0 };
        CHECK_OK(tree_verify(&spec, &test->damage, NULL));
}

static void check_well(Case *test) {
        verify(test);
        CHECK_FORMAT(test->damage.count == 0, "%s", test->damage.first);
}

static void check_damage(Case *test, const char *sentence) {
        verify(test);
        CHECK(test->damage.count > 0);
        CHECK_STRING(test->damage.first, sentence);
}

/* So that only its contents have changed. */
static void write_at(int fd, off_t offset, const void *data, size_t size) {
        struct stat st;
        CHECK(fstat(fd, &st) == 0);
        CHECK(pwrite(fd, data, size, offset) == (ssize_t) size);
        CHECK(futimens(fd, (const struct timespec[]){ st.st_atim, st.st_mtim }) == 0);
}

static int open_file(const Case *test, const char *name) {
        int fd = openat(test->files, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        CHECK(fd >= 0);
        return fd;
}

/* Whether this file system knows of holes: then nearly nothing of a file that has one is on the disk. */
static void need_holes(int fd) {
        struct stat st;
        CHECK(fstat(fd, &st) == 0);
        if (lseek(fd, 0, SEEK_HOLE) != 0 || st.st_blocks > 0)
                check_skip("no holes here");
}

static ContentsChecksum checksum_of(int fd) {
        static char buffer[CONTENTS_BUFFER_SIZE];
        ContentsChecksum sum;
        struct stat st;
        CHECK(fstat(fd, &st) == 0);
        CHECK_OK(contents_checksum_read(fd, &st, buffer, &sum));
        return sum;
}

/* ---- checksums ---- */

/* Bit by bit, as the standard has it. */
static uint64_t checksum(uint64_t sum, const unsigned char *data, size_t size) {
        sum = ~sum;
        for (size_t i = 0; i < size; i++) {
                sum ^= data[i];
                for (int bit = 0; bit < 8; bit++)
                        sum = (sum >> 1) ^ (sum & 1 ? UINT64_C(0xc96c5795d7870f42) : 0);
        }
        return ~sum;
}

static void zeros_count_as_if_they_were_read(void) {
        static const size_t counts[] = { 0, 1, 2, 7, 8, 63, 64, 1000, 4096, 65537, MEBIBYTE };
        static const uint64_t sums[] = { 0, 1, UINT64_MAX, UINT64_C(0x995dc9bbdf1939fa) };
        static unsigned char zeros[MEBIBYTE];
        for (size_t i = 0; i < ELEMENTS_OF(counts); i++)
                for (size_t k = 0; k < ELEMENTS_OF(sums); k++)
                        CHECK(contents_checksum_add_zeros(sums[k], counts[i]) ==
                              checksum(sums[k], zeros, counts[i]));
        uint64_t many = UINT64_C(200) << 30, sum = contents_checksum_add_zeros(sums[3], many);
        CHECK(sum == contents_checksum_add_zeros(contents_checksum_add_zeros(sums[3], many - 12345), 12345));
}

/* The check value of CRC-64/XZ. */
static void checksums_stay_what_they_were(void) {
        _cleanup_(case_done) Case test = case_make();
        _cleanup_close_ int fd = open_file(&test, "file");
        write_at(fd, 0, "123456789", 9);
        ContentsChecksum sum = checksum_of(fd);
        CHECK(sum.checksum == UINT64_C(0x995dc9bbdf1939fa));
        CHECK_INT(sum.length, 9);
        CHECK_INT(sum.bytes, 9);
}

static void holes_that_are_filled_have_the_same(void) {
        static unsigned char all[3 * MEBIBYTE + 5];
        _cleanup_(case_done) Case test = case_make();
        _cleanup_close_ int fd = open_file(&test, "file");
        static const size_t data[] = { 0, 4096, 65536, MEBIBYTE + 17, 2 * MEBIBYTE, sizeof(all) - 3 };
        CHECK(ftruncate(fd, sizeof(all)) == 0);
        for (size_t i = 0; i < ELEMENTS_OF(data); i++) {
                memcpy(all + data[i], "abc", 3);
                write_at(fd, (off_t) data[i], "abc", 3);
        }
        uint64_t expected = checksum(0, all, sizeof(all));
        ContentsChecksum sum = checksum_of(fd);
        CHECK(sum.checksum == expected);
        CHECK_INT(sum.length, sizeof(all));
        write_at(fd, 0, all, sizeof(all));
        sum = checksum_of(fd);
        CHECK(sum.checksum == expected);
        CHECK_INT(sum.bytes, sizeof(all));
}

static void holes_are_not_read(void) {
        _cleanup_(case_done) Case test = case_make();
        _cleanup_close_ int fd = open_file(&test, "file");
        CHECK(ftruncate(fd, 200 * GIBIBYTE) == 0);
        need_holes(fd);
        ContentsChecksum sum = checksum_of(fd);
        CHECK(sum.checksum == contents_checksum_add_zeros(0, (uint64_t) (200 * GIBIBYTE)));
        CHECK(sum.length == (uint64_t) (200 * GIBIBYTE));
        CHECK_INT(sum.bytes, 0);
        write_at(fd, 0, "begin", 5);
        write_at(fd, 100 * GIBIBYTE + 4321, "middle", 6);
        write_at(fd, 200 * GIBIBYTE - 3, "end", 3);
        sum = checksum_of(fd);
        CHECK(sum.length == (uint64_t) (200 * GIBIBYTE));
        CHECK(sum.bytes >= 14 && sum.bytes <= 16 * MEBIBYTE); /* file systems have large blocks, some */
        uint64_t expected = checksum(0, (const unsigned char *) "begin", 5);
        expected = contents_checksum_add_zeros(expected, (uint64_t) (100 * GIBIBYTE + 4321 - 5));
        expected = checksum(expected, (const unsigned char *) "middle", 6);
        expected = contents_checksum_add_zeros(expected, (uint64_t) (100 * GIBIBYTE - 4321 - 6 - 3));
        CHECK(sum.checksum == checksum(expected, (const unsigned char *) "end", 3));
}

/* ---- trees ---- */

static void what_is_in_a_hole_is_found(void) {
        static const char zeros[MEBIBYTE];
        _cleanup_(case_done) Case test = case_make();
        _cleanup_close_ int fd = open_file(&test, "sparse");
        CHECK(ftruncate(fd, 200 * GIBIBYTE) == 0);
        need_holes(fd);
        write_at(fd, 5 * GIBIBYTE, "data", 4);
        note(&test);
        check_well(&test);
        CHECK(test.damage.bytes <= 16 * MEBIBYTE);
        write_at(fd, 7 * GIBIBYTE, zeros, sizeof(zeros));
        check_well(&test);
        write_at(fd, 9 * GIBIBYTE, "x", 1);
        check_damage(&test, "'sparse' has other contents");
        write_at(fd, 9 * GIBIBYTE, zeros, 1);
        check_well(&test);
}

static void a_file_is_read_once_for_all_its_names(void) {
        enum { NAMES = 200 };
        static const char data[MEBIBYTE] = "data";
        _cleanup_(case_done) Case test = case_make();
        _cleanup_close_ int fd = open_file(&test, "file");
        (void) close(open_file(&test, "other"));
        write_at(fd, 0, data, sizeof(data));
        for (int i = 0; i < NAMES; i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "name%i", i);
                CHECK(linkat(test.files, "file", test.files, name, 0) == 0);
        }
        note(&test);
        CHECK_INT(test.measure.inodes, 3); /* with the directory */
        check_well(&test);
        CHECK_INT(test.damage.bytes, sizeof(data));
        write_at(fd, 17, "x", 1);
        check_damage(&test, "'file' has other contents");
        CHECK_INT(test.damage.count, NAMES + 1);
        write_at(fd, 17, "\0", 1);
        check_well(&test);

        /* A name that became another file's is seen. */
        struct stat st;
        CHECK(fstat(test.files, &st) == 0);
        CHECK(unlinkat(test.files, "name7", 0) == 0);
        CHECK(linkat(test.files, "other", test.files, "name7", 0) == 0);
        CHECK(futimens(test.files, (const struct timespec[]){ st.st_atim, st.st_mtim }) == 0);
        verify(&test);
        CHECK_CONTAINS(test.damage.first, "'name7' is empty");
}

/* More than is in memory at once. */
static void long_manifests_are_compared(void) {
        enum { DIRECTORIES = 30, NAMES = 40 };
        _cleanup_(case_done) Case test = case_make();
        char name[256];
        for (int d = 0; d < DIRECTORIES; d++) {
                (void) snprintf(name, sizeof(name), "%i", d);
                _cleanup_close_ int in = directory_at(test.files, name);
                for (int i = 0; i < NAMES; i++) {
                        (void) snprintf(name, sizeof(name), "%0*i", 3 + (i * 37 + d) % 250, i);
                        check_directory_write(in, name, "x");
                }
        }
        note(&test);
        check_well(&test);
        CHECK(path_remove_tree(test.files, "11") >= 0);
        verify(&test);
        CHECK_INT(test.damage.count, 2); /* and the time of what it was in */
        fd_close(directory_at(test.files, "zz"));
        verify(&test);
        CHECK_INT(test.damage.count, 3);
}

static void a_manifest_that_is_not_the_one_is_damage(void) {
        static const char text[] = "The manifest of the tree is damaged or missing";
        _cleanup_(case_done) Case test = case_make();
        struct stat st;
        check_directory_write(test.files, "file", "x");
        note(&test);
        _cleanup_close_ int fd = openat(test.trees, "7/manifest", O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0 && fstat(fd, &st) == 0);
        CHECK(ftruncate(fd, st.st_size - 1) == 0);
        check_damage(&test, text);
        note(&test);
        CHECK(pwrite(fd, "\xff\xff\xff\xff", 4, 0) == 4);
        check_damage(&test, text);
        CHECK(unlinkat(test.trees, "7/manifest", 0) == 0);
        check_damage(&test, text);
        note(&test);
        check_well(&test);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(zeros_count_as_if_they_were_read),
                CHECK_CASE(checksums_stay_what_they_were),
                CHECK_CASE(holes_that_are_filled_have_the_same),
                CHECK_CASE(holes_are_not_read),
                CHECK_CASE(what_is_in_a_hole_is_found),
                CHECK_CASE(a_file_is_read_once_for_all_its_names),
                CHECK_CASE(long_manifests_are_compared),
                CHECK_CASE(a_manifest_that_is_not_the_one_is_damage),
                {},
        });
}
