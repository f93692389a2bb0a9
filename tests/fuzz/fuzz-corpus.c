/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a target over the files of a directory, and over every beginning and a few damaged copies of each, as
 * an ordinary test. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "tests/fuzz/fuzz.h"

#define FILE_SIZE_MAX (8U * 1024U * 1024U)
#define VARIATIONS_SIZE_MAX 8192U
#define VARIATIONS_ALL 1024U /* of larger files not every byte, but about so many: */
#define VARIATIONS_SOME 256U

/* In a block of its own size, so that a sanitizer sees who reads past its end. */
static int parse_exactly(const char *data, size_t size) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        FUZZ_REQUIRE(copy);
        memcpy(copy, data, size);
        int r = fuzz_parse(copy, size);
        free(copy);
        return r;
}

static void run_variations(char *data, size_t size) {
        static const char damage[] = {
                '\0', '"', '\\', '[', '}', ':', '/', '@', '-', '9', '\n', (char) 0xff
        };
        size_t step = size <= VARIATIONS_ALL ? 1 : size / VARIATIONS_SOME;
        for (size_t n = 0; n < size; n += step)
                (void) parse_exactly(data, n);
        for (size_t i = 0; i < size; i += step) {
                char saved = data[i];
                data[i] = damage[i % sizeof(damage)];
                (void) parse_exactly(data, size);
                data[i] = saved;
        }
}

/* 0 when the file was taken or refused as its name says. */
static int run_file(int directory, const char *name) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? -errno : fd_read_all(fd, FILE_SIZE_MAX, &data, &size);
        if (r < 0) {
                printf("# %s: %s\n", name, strerror(-r));
                return r;
        }
        r = parse_exactly(data, size);
        if ((string_after(name, "should-fail-") && r >= 0) || (string_after(name, "good-") && r < 0)) {
                printf("# %s: %s\n", name, r < 0 ? strerror(-r) : "was taken");
                return -EINVAL;
        }
        if (size <= VARIATIONS_SIZE_MAX)
                run_variations(data, size);
        return 0;
}

static int is_visible(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

int main(int argc, char **argv) {
        struct dirent **entries;
        int failed = 0;
        if (argc != 2) {
                fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
                return EXIT_FAILURE;
        }
        int count = scandir(argv[1], &entries, is_visible, alphasort);
        _cleanup_close_ int directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (count <= 0 || directory < 0) {
                fprintf(stderr, "%s: nothing to run\n", argv[1]);
                return EXIT_FAILURE;
        }
        printf("1..%i\n", count);
        for (int i = 0; i < count; i++) {
                int r = run_file(directory, entries[i]->d_name);
                printf("%s %i - %s\n", r < 0 ? "not ok" : "ok", i + 1, entries[i]->d_name);
                failed += r < 0;
                free(entries[i]);
        }
        free(entries);
        return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
