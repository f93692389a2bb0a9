/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A layer as lines: the type of an entry (f file, d directory, l symbolic link to the parent, h hard link to
 * the entry before) and its name. Whatever whiteouts they are, no name in the tree is one of them.
 */

#include "tests/fuzz/unpack-tree.h"
#include "tests/unit/test-unpack-tar.h"

#define LINES_MAX 64

static void add_line(Tar *tar, const char *line, size_t length, const char *before) {
        static const char types[][2] = { { 'f', '0' }, { 'd', '5' }, { 'l', '2' }, { 'h', '1' } };
        char name[101] = { 0 }, type = '0';
        for (size_t i = 0; i < ELEMENTS_OF(types); i++)
                if (line[0] == types[i][0])
                        type = types[i][1];
        memcpy(name, line + 1, MIN_OF(length - 1, sizeof(name) - 1));
        tar_add(tar, &(TarEntry){ .name = name, .type = type, .link = type == '1' ? before : ".." });
}

/* Names of whiteouts are for the archive, not for the tree. */
static void check_names(int directory) {
        DIR *stream = fdopendir(directory);
        FUZZ_REQUIRE(stream);
        for (struct dirent *entry; (entry = readdir(stream));) {
                FUZZ_REQUIRE(strncmp(entry->d_name, ".wh.", 4) != 0);
                if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
                        check_names(openat(dirfd(stream), entry->d_name,
                                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        }
        (void) closedir(stream);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Tar tar = { 0 };
        char before[101] = "";
        const char *p = (const char *) data, *end = p + size;
        for (unsigned i = 0; i < LINES_MAX && p < end; i++) {
                const char *next = memchr(p, '\n', (size_t) (end - p));
                size_t length = (size_t) ((next ? next : end) - p);
                if (length > 1) {
                        add_line(&tar, p, length, before);
                        memset(before, 0, sizeof(before));
                        memcpy(before, p + 1, MIN_OF(length - 1, sizeof(before) - 1));
                }
                p += length + 1;
        }
        tar_end(&tar);
        int r = unpack_archive((const uint8_t *) tar.data, tar.size);
        tar_done(&tar);
        check_names(openat(unpack_top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        return r;
}
