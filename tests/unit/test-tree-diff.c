/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-diff.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/digest.h"
#include "lib/fd.h"
#include "lib/strv.h"
#include "services/snapshots/compress.h"
#include "services/snapshots/diff-output.h"
#include "services/snapshots/file-extents.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

/* ---- trees ---- */

/* What a shell makes of them: $old and $new are the roots. */
static void make_trees(const char *script) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_free_ char *command = NULL;
        (void) path_remove_tree(directory, "old");
        (void) path_remove_tree(directory, "new");
        CHECK(asprintf(&command,
                       "set -e; umask 022; cd '%s'; mkdir -m 755 old new; old=$PWD/old; new=$PWD/new;"
                       " t() { touch -h -d @$1 \"$2\"; }; %s; t 1000000000 old; t 1000000000 new",
                       check_directory_name, script) > 0);
        CHECK_OK(chdir("/")); /* reading trees changes it */
        CHECK_INT(system(command), 0);
}

typedef struct Buffer {
        char *data;
        size_t size;
} Buffer;

static void buffer_done(Buffer *buffer) {
        free(buffer->data);
}

static int buffer_write(void *userdata, const void *data, size_t size) {
        Buffer *buffer = userdata;
        char *larger = realloc(buffer->data, buffer->size + size);
        CHECK(larger);
        memcpy(larger + buffer->size, data, size);
        buffer->data = larger;
        buffer->size += size;
        return 0;
}

static int open_tree_of(int directory, const char *name) {
        return openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int diff_into(Buffer *buffer, bool has_old, int64_t epoch, Fault *fault) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_close_ int old = has_old ? open_tree_of(directory, "old") : -EBADF;
        _cleanup_close_ int new = open_tree_of(directory, "new");
        const TreeDiffSpec spec = { .old = old,
                                    .new = new,
                                    .upper = -EBADF,
                                    .clamp = epoch > 0,
                                    .epoch = epoch,
                                    .sink = { .write = buffer_write, .userdata = buffer } };
        return tree_diff(&spec, fault);
}

/* ---- what is in a layer ---- */

static char type_letter(struct archive_entry *entry) {
        if (archive_entry_hardlink(entry))
                return 'h';
        switch (archive_entry_filetype(entry)) {
        case AE_IFDIR:
                return 'd';
        case AE_IFLNK:
                return 'l';
        case AE_IFIFO:
                return 'p';
        default:
                return 'f';
        }
}

/* "f path", "d path", "l path target", "h path target". */
static void list(const Buffer *buffer, char ***ret) {
        struct archive *reader = archive_read_new();
        struct archive_entry *entry;
        CHECK(archive_read_support_format_tar(reader) == ARCHIVE_OK);
        CHECK(archive_read_open_memory(reader, buffer->data, buffer->size) == ARCHIVE_OK);
        while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
                const char *link = archive_entry_hardlink(entry) ?: archive_entry_symlink(entry);
                CHECK_OK(strv_appendf(ret, "%c %s%s%s", type_letter(entry), archive_entry_pathname(entry),
                                      link ? " " : "", link ?: ""));
        }
        archive_read_free(reader);
}

static void check_layer(bool has_old, const char *const *expected) {
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        _cleanup_strv_ char **found = NULL;
        CHECK_NO_FAULT(diff_into(&buffer, has_old, 0, &fault));
        list(&buffer, &found);
        for (size_t i = 0; expected[i] || (found && found[i]); i++) {
                CHECK_FORMAT(expected[i] && found && found[i], "entry %zu: %s instead of %s", i,
                             found && found[i] ? found[i] : "none", expected[i] ?: "none");
                CHECK_STRING(found[i], expected[i]);
        }
}

#define EXPECT(...) check_layer(true, (const char *const[]){ __VA_ARGS__, NULL })
#define EXPECT_NOTHING() check_layer(true, (const char *const[]){ NULL })

static void trees_alike_give_an_empty_layer(void) {
        make_trees("mkdir old/d; echo x > old/d/f; ln old/d/f old/g; ln -s f old/d/l; mkfifo old/p;"
                   " rmdir new; cp -a old new");
        EXPECT_NOTHING();
}

static void what_is_new_changed_or_gone_is_told(void) {
        make_trees(
                "mkdir old/d old/e; for i in a b c d; do echo $i > old/d/$i; done; rmdir new; cp -a old new;"
                " echo x > new/d/a; chmod 600 new/d/b; rm new/d/c; echo y > new/d/n; t 1000000001 new/d;"
                " t 1000000000 old/d");
        EXPECT("d d/", "f d/.wh.c", "f d/a", "f d/b", "f d/n");
}

static void directories_on_the_way_come_along(void) {
        make_trees("mkdir -p old/a/b; echo x > old/a/b/f; rmdir new; cp -a old new; echo z > new/a/b/f;"
                   " t 5 old/a/b; t 5 new/a/b; t 5 old/a; t 5 new/a");
        EXPECT("d a/", "d a/b/", "f a/b/f");
}

static void contents_are_compared_where_the_rest_is_the_same(void) {
        make_trees("echo one > old/f; echo two > new/f; echo same > old/g; echo same > new/g; t 5 old/f; t "
                   "5 new/f;"
                   " t 5 old/g; t 5 new/g");
        EXPECT("f f");
}

static void types_are_replaced(void) {
        make_trees(
                "mkdir -p old/was-dir/x new/was-file; echo x > old/was-file; echo y > new/was-dir;"
                " echo z > new/was-file/in; ln -s a old/link; ln -s b new/link; t 5 old/link; t 5 new/link");
        EXPECT("l link b", "f was-dir", "d was-file/", "f was-file/in");
}

static void whole_directories_that_are_gone_are_one_whiteout(void) {
        make_trees("mkdir -p old/a/b/c; echo x > old/a/b/c/f; mkdir new/keep old/keep; t 5 old/keep; t 5 "
                   "new/keep");
        EXPECT("f .wh.a");
}

static void links_stay_together(void) {
        make_trees("echo x > new/a; ln new/a new/b; mkdir new/d; ln new/a new/d/c");
        EXPECT("f a", "h b a", "d d/", "h d/c a");
        /* A name more of something that was there: the others are told again. */
        make_trees(
                "echo x > old/a; ln old/a old/b; echo y > old/z; rmdir new; cp -a old new; ln new/a new/m");
        EXPECT("f a", "h b a", "h m a");
        make_trees("echo x > old/m; ln old/m old/z; rmdir new; cp -a old new; ln new/m new/a");
        EXPECT("f a", "h m a", "h z a");
        /* What was one file is two, and what was two is one. */
        make_trees("echo x > old/a; t 5 old/a; ln old/a old/b; cp -p old/a new/a; cp -p old/a new/b");
        EXPECT("f b");
        make_trees("echo x > new/a; t 5 new/a; ln new/a new/b; cp -p new/a old/a; cp -p new/a old/b");
        EXPECT("f a", "h b a");
}

static void a_tree_without_a_parent_is_there_as_a_whole(void) {
        make_trees("mkdir new/d; echo x > new/d/f");
        check_layer(false, (const char *const[]){ "d ./", "d d/", "f d/f", NULL });
}

static void what_no_layer_can_say_is_refused_or_left_out(void) {
        make_trees("touch new/.wh.x");
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        CHECK_FAULT(diff_into(&buffer, true, 0, &fault), -EBADMSG, "'.wh.x' can't be in a layer");
        make_trees(
                "echo x > old/s; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('new/s')\"");
        EXPECT("f .wh.s");
}

static void times_are_clamped_and_the_same_tree_gives_the_same_bytes(void) {
        _cleanup_(buffer_done) Buffer a = { 0 }, b = { 0 };
        make_trees("for i in c a b; do mkdir new/$i; echo $i > new/$i/f; done; t 99 new/a/f");
        CHECK_NO_FAULT(diff_into(&a, true, 1000, &fault));
        make_trees("for i in b c a; do mkdir new/$i; echo $i > new/$i/f; done; t 99 new/a/f; sleep 0.01; "
                   "touch new/b");
        CHECK_NO_FAULT(diff_into(&b, true, 1000, &fault));
        CHECK(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
        CHECK(memmem(a.data, a.size, "00000001750", 11)); /* 1000 */
        CHECK(memmem(a.data, a.size, "00000000143", 11)); /* 99 is earlier */
}

/* ---- contents ---- */

static void check_contents(const char *path, const char *expected, size_t size) {
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        CHECK_NO_FAULT(diff_into(&buffer, true, 0, &fault));
        struct archive *reader = archive_read_new();
        struct archive_entry *entry;
        CHECK(archive_read_support_format_tar(reader) == ARCHIVE_OK);
        CHECK(archive_read_open_memory(reader, buffer.data, buffer.size) == ARCHIVE_OK);
        while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
                if (!string_equal(archive_entry_pathname(entry), path))
                        continue;
                _cleanup_free_ char *data = calloc(1, size + 1);
                CHECK_INT(archive_entry_size(entry), size);
                CHECK(archive_read_data(reader, data, size + 1) <=
                      (ssize_t) size); /* not a hole at the end */
                CHECK(memcmp(data, expected, size) == 0);
                archive_read_free(reader);
                return;
        }
        CHECK_FORMAT(false, "no entry %s", path);
}

static void long_names_and_numbers_are_kept(void) {
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        make_trees("d=new/$(printf %0120d 1); mkdir $d; echo content > $d/$(printf %0150d 2);"
                   " ln -s $(printf %0300d 3) new/l; touch -d '1960-06-29 18:40:00.25 UTC' new/old;"
                   " touch -d '2040-01-01 00:00:00.123456789 UTC' new/young");
        CHECK_NO_FAULT(diff_into(&buffer, true, 0, &fault));
        struct archive *reader = archive_read_new();
        struct archive_entry *entry;
        CHECK(archive_read_support_format_tar(reader) == ARCHIVE_OK);
        CHECK(archive_read_open_memory(reader, buffer.data, buffer.size) == ARCHIVE_OK);
        unsigned seen = 0;
        while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
                const char *path = archive_entry_pathname(entry);
                if (string_equal(path, "young"))
                        seen += archive_entry_mtime(entry) == 2208988800 &&
                                archive_entry_mtime_nsec(entry) == 123456789;
                else if (string_equal(path, "l"))
                        seen += strlen(archive_entry_symlink(entry)) == 300;
                else if (strlen(path) == 120 + 1 + 150)
                        seen += archive_entry_size(entry) == 8;
        }
        archive_read_free(reader);
        CHECK_INT(seen, 3);
        CHECK(memmem(buffer.data, buffer.size, " mtime=-299999999.75\n", 21));
}

static void holes_are_kept(void) {
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        _cleanup_free_ char *expected = calloc(1, 1 << 20);
        make_trees(
                "truncate -s 1M new/f; printf abc | dd of=new/f bs=1 seek=524288 conv=notrunc status=none");
        memcpy(expected + 524288, "abc", 3);
        check_contents("f", expected, 1 << 20);
        CHECK_NO_FAULT(diff_into(&buffer, true, 0, &fault));
        CHECK_FORMAT(buffer.size < (128 << 10), "%zu bytes", buffer.size);
        make_trees("truncate -s 1M new/f");
        memset(expected, 0, 1 << 20);
        check_contents("f", expected, 1 << 20);
}

/* The same file in four ways: zeros that are holes, or some of them, or none. */
static void check_holes_by_contents(const char *script, size_t largest) {
        static const char *const ways[] = {
                "cp --sparse=always w new/f", "cp --sparse=never w new/f",
                "cp --sparse=never w new/f; fallocate -p -o 1155072 -l 40K new/f",
                "cp --sparse=never w new/f; fallocate -p -o 1160000 -l 99K new/f; fallocate -l 3M -n new/f"
        };
        _cleanup_(buffer_done) Buffer first = { 0 };
        for (size_t i = 0; i < ELEMENTS_OF(ways); i++) {
                _cleanup_(buffer_done) Buffer buffer = { 0 };
                _cleanup_free_ char *command = NULL;
                CHECK(asprintf(&command, "%s; %s; t 5 new/f; rm w", script, ways[i]) > 0);
                make_trees(command);
                CHECK_NO_FAULT(diff_into(&buffer, true, 1000, &fault));
                if (i == 0)
                        first = TAKE(buffer, (Buffer){ 0 });
                else
                        CHECK_FORMAT(buffer.size == first.size &&
                                             memcmp(buffer.data, first.data, first.size) == 0,
                                     "%s: %zu bytes and not %zu", ways[i], buffer.size, first.size);
        }
        CHECK_FORMAT(first.size < largest, "%zu bytes", first.size);
}

static void with_a_source_date_contents_say_what_is_a_hole(void) {
        check_holes_by_contents("truncate -s 5M w; echo end >> w", 16 << 10);
        check_holes_by_contents(
                "truncate -s 2M w; echo x | dd of=w bs=1 seek=1050000 conv=notrunc status=none", 16 << 10);
        /* Not on a border of blocks, and too small for a map. */
        check_holes_by_contents("echo begin > w; truncate -s 100K w; seq 100000 >> w; truncate -s 2M w",
                                800 << 10);
        check_holes_by_contents("seq 10000 > w; truncate -s 100K w", 128 << 10);
        /* Without one, what the file system has as data is not looked into. */
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        make_trees("head -c 1M /dev/zero > new/f");
        CHECK_NO_FAULT(diff_into(&buffer, true, 0, &fault));
        CHECK_FORMAT(buffer.size > (1 << 20), "%zu bytes", buffer.size);
}

/* Of most pairs of blocks the second is a hole, but some holes are larger. */
static void too_many_holes_are_joined(void) {
        make_trees("truncate -s 548M new/f");
        _cleanup_close_ int directory = check_directory();
        _cleanup_close_ int fd = openat(directory, "new/f", O_RDWR | O_CLOEXEC);
        uint64_t count = 70000, sum = 0, end = 0;
        for (uint64_t i = 0; i < count; i++)
                CHECK(i % 100 < 4 || pwrite(fd, "x", 1, (off_t) i * 8192) == 1);
        FileExtents extents = { 0 };
        CHECK_INT(file_extents_find(&extents, fd, UINT64_C(548) << 20, true), 1);
        CHECK_FORMAT(extents.count == count / 100 + 1, "%zu extents", extents.count);
        for (size_t i = 0; i < extents.count; i++) {
                CHECK(i == 0 || extents.items[i].offset >= end + 8192);
                end = extents.items[i].offset + extents.items[i].size;
                sum += extents.items[i].size;
        }
        CHECK_INT(end, UINT64_C(548) << 20);
        CHECK_INT(sum, count / 100 * (96 * 8192 - 4096));
        file_extents_done(&extents);
}

/* The end would not be reached. */
static void what_is_a_hole_in_both_is_not_compared(void) {
        make_trees(
                "for i in old new; do echo x > $i/f; truncate -s 8T $i/f; echo y >> $i/f; t 5 $i/f; done");
        EXPECT_NOTHING();
        make_trees(
                "for i in old new; do truncate -s 8T $i/f; echo $i >> $i/f; truncate -s 9T $i/f; t 5 $i/f;"
                " done");
        EXPECT("f f");
}

static void attributes_are_kept(void) {
        _cleanup_(buffer_done) Buffer buffer = { 0 };
        make_trees("echo x > new/f; echo x > old/f; t 5 old/f; t 5 new/f");
        char path[256];
        (void) snprintf(path, sizeof(path), "%s/new/f", check_directory_name);
        if (setxattr(path, "user.note", "a\0b\n", 4, 0) < 0)
                check_skip("no user attributes here");
        CHECK_NO_FAULT(diff_into(&buffer, true, 0, &fault));
        CHECK(memmem(buffer.data, buffer.size, "SCHILY.xattr.user.note=a\0b\n", 27));
        EXPECT("f f");
}

/* ---- streams ---- */

static void check_stream(Compression compression, bool reproducible) {
        _cleanup_(diff_output_freep) DiffOutput *output = NULL;
        int ends[2];
        char data[1000];
        Digest expected;
        DigestState state;
        DiffResult result;
        CHECK_OK(pipe2(ends, O_CLOEXEC));
        _cleanup_close_ int read_end = ends[0], write_end = ends[1];
        CHECK_OK(fd_set_nonblocking(write_end, true));
        const DiffOutputSpec spec = {
                .fd = write_end, .compression = compression, .reproducible = reproducible, .stall_seconds = 1
        };
        CHECK_NO_FAULT(diff_output_new(&spec, &output, &fault));
        CHECK_OK(digest_state_init(&state, DIGEST_SHA256));
        TarSink sink = diff_output_sink(output);
        for (size_t i = 0; i < 40; i++) {
                memset(data, 'a' + (int) i % 7, sizeof(data));
                digest_state_update(&state, data, sizeof(data));
                CHECK_OK(sink.write(sink.userdata, data, sizeof(data)));
        }
        digest_state_finish(&state, &expected);
        CHECK_NO_FAULT(diff_output_finish(output, &result, &fault));
        CHECK(digest_equal(&expected, &result.diff_id));
        output = diff_output_free(output);
        write_end = fd_close(write_end);
        _cleanup_free_ char *stream = NULL;
        size_t size;
        CHECK_OK(fd_read_all(read_end, 1 << 20, &stream, &size));
        CHECK_INT(size, result.size);
        CHECK_OK(digest_of_data(DIGEST_SHA256, stream, size, &expected));
        CHECK(digest_equal(&expected, &result.digest));
        CHECK(compression == COMPRESSION_NONE || size < 2000);
}

static void streams_have_the_digests_that_are_told(void) {
        check_stream(COMPRESSION_NONE, false);
        check_stream(COMPRESSION_GZIP, false);
        check_stream(COMPRESSION_GZIP, true);
        check_stream(COMPRESSION_ZSTD, false);
}

static void who_is_not_read_ends(void) {
        _cleanup_(diff_output_freep) DiffOutput *output = NULL;
        char data[4096] = { 0 };
        int ends[2], r = 0;
        CHECK_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        _unused_ _cleanup_close_ int read_end = ends[0];
        _cleanup_close_ int write_end = ends[1];
        const DiffOutputSpec spec = { .fd = write_end, .stall_seconds = 1 };
        CHECK_NO_FAULT(diff_output_new(&spec, &output, &fault));
        TarSink sink = diff_output_sink(output);
        while (r >= 0)
                r = sink.write(sink.userdata, data, sizeof(data));
        CHECK_FAULT(diff_output_check(output, &fault), -ETIMEDOUT, "Nobody has read");
}

static void levels_are_checked(void) {
        CHECK_NO_FAULT(compress_check_level(COMPRESSION_NONE, 0, &fault));
        CHECK_NO_FAULT(compress_check_level(COMPRESSION_GZIP, 9, &fault));
        CHECK_NO_FAULT(compress_check_level(COMPRESSION_ZSTD, 19, &fault));
        CHECK_FAULT(compress_check_level(COMPRESSION_NONE, 1, &fault), -EINVAL, "no level");
        CHECK_FAULT(compress_check_level(COMPRESSION_GZIP, 10, &fault), -EINVAL, "1 to 9");
        CHECK_FAULT(compress_check_level(COMPRESSION_ZSTD, 20, &fault), -EINVAL, "1 to 19");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(trees_alike_give_an_empty_layer),
                CHECK_CASE(what_is_new_changed_or_gone_is_told),
                CHECK_CASE(directories_on_the_way_come_along),
                CHECK_CASE(contents_are_compared_where_the_rest_is_the_same),
                CHECK_CASE(types_are_replaced),
                CHECK_CASE(whole_directories_that_are_gone_are_one_whiteout),
                CHECK_CASE(links_stay_together),
                CHECK_CASE(a_tree_without_a_parent_is_there_as_a_whole),
                CHECK_CASE(what_no_layer_can_say_is_refused_or_left_out),
                CHECK_CASE(times_are_clamped_and_the_same_tree_gives_the_same_bytes),
                CHECK_CASE(long_names_and_numbers_are_kept),
                CHECK_CASE(holes_are_kept),
                CHECK_CASE(with_a_source_date_contents_say_what_is_a_hole),
                CHECK_CASE(too_many_holes_are_joined),
                CHECK_CASE(what_is_a_hole_in_both_is_not_compared),
                CHECK_CASE(attributes_are_kept),
                CHECK_CASE(streams_have_the_digests_that_are_told),
                CHECK_CASE(who_is_not_read_ends),
                CHECK_CASE(levels_are_checked),
                {},
        });
}
