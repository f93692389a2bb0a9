/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Notes about the directories of a layer, which a process has written that may have been taken over: what is
 * wrong with them is the layer's fault, and never the disk's. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/directory-finish.h"
#include "services/snapshots/tree-finish.h"
#include "services/snapshots/tree-notes.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

static int directory_at(int top, const char *name) {
        int fd = path_make_directories(top, name, 0755, PATH_BENEATH);
        CHECK(fd >= 0);
        fd_close(fd);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

/* On a tree with "d/e", "file" and a link to "d", and a parent that has those, too. */
static int finish(const char *notes, size_t size, bool with_parent, Fault *fault) {
        _cleanup_close_ int top = check_directory();
        CHECK(path_remove_tree(top, "case") >= 0 || errno == ENOENT);
        _cleanup_close_ int trees = directory_at(top, "case/trees"), tree = directory_at(trees, "7"),
                            files = directory_at(trees, "7/fs"), parent = directory_at(top, "case/parent");
        const int roots[] = { files, parent };
        for (size_t i = 0; i < ELEMENTS_OF(roots); i++) {
                fd_close(directory_at(roots[i], "d/e"));
                check_directory_write(roots[i], "file", "x");
                CHECK(symlinkat("d", roots[i], "link") == 0);
        }
        _cleanup_close_ int fd = openat(tree, "notes", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK_OK(fd_write_all(fd, notes, size));
        return tree_finish(trees, 7, with_parent ? parent : -EBADF, with_parent ? 5 : 0, fault);
}

#define NOTES(text)                                                                                         \
        { text, sizeof(text) - 1 }

static void what_fits_is_taken(void) {
        static const struct {
                const char *text;
                size_t size;
        } notes[] = {
                NOTES(""),
                NOTES("r\0"),
                NOTES("id\0id/e\0"),
                NOTES("r\0id\0id/e\0ifile\0ilink\0imissing\0"),
                NOTES("id/e\0id\0id\0"),
        };
        for (size_t i = 0; i < ELEMENTS_OF(notes); i++) {
                CHECK_OK(finish(notes[i].text, notes[i].size, false, NULL));
                CHECK_OK(finish(notes[i].text, notes[i].size, true, NULL));
        }
        if (geteuid() == 0)
                CHECK_OK(finish("o\0od/e\0", 7, true, NULL));
}

static void what_does_not_fit_is_bad_content(void) {
        static char long_part[NAME_MAX + 3] = "i", long_path[PATH_MAX + 2] = "i";
        static const struct {
                const char *text;
                size_t size;
        } notes[] = {
                NOTES("\xff\xfe garbage\0"),
                NOTES("id"),
                NOTES("id\0o"),
                NOTES("\0"),
                NOTES("i\0"),
                NOTES("x\0"),
                NOTES("rd\0"),
                NOTES("i/d\0"),
                NOTES("id/\0"),
                NOTES("id//e\0"),
                NOTES("i.\0"),
                NOTES("i..\0"),
                NOTES("id/../..\0"),
                NOTES("od/./e\0"),
                NOTES("o../d\0"),
                NOTES("ofile\0"),
                NOTES("olink\0"),
                NOTES("omissing\0"),
                NOTES("omissing/d\0"),
                { long_part, sizeof(long_part) },
                { long_path, sizeof(long_path) },
        };
        memset(long_part + 1, 'a', NAME_MAX + 1);
        for (size_t i = 1; i <= PATH_MAX; i++)
                long_path[i] = i % 2 ? 'a' : '/';
        for (size_t i = 0; i < 2 * ELEMENTS_OF(notes); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = finish(notes[i / 2].text, notes[i / 2].size, i % 2, &fault);
                CHECK_FORMAT(r == -EBADMSG, "'%s': %s", notes[i / 2].text, fault_text(&fault, r));
                CHECK_CONTAINS(fault.text, "does not fit its tree");
        }
}

static void the_longest_names_are_taken(void) {
        static char notes[PATH_MAX + 1] = "i";
        memset(notes + 1, 'a', PATH_MAX - 1);
        for (size_t i = NAME_MAX; i < PATH_MAX - 1; i += NAME_MAX + 1)
                notes[1 + i] = '/';
        notes[PATH_MAX - 1] = 'a';
        const char *at = notes;
        TreeNote note;
        CHECK_OK(tree_notes_next(&at, notes + sizeof(notes), &note));
        CHECK_INT(note.kind, TREE_NOTE_IMPLIED);
        CHECK_INT(strlen(note.path), PATH_MAX - 1);
        CHECK(at == notes + sizeof(notes));
        CHECK_OK(tree_notes_next(&at, at, &note));
        CHECK_INT(note.kind, TREE_NOTE_END);
}

/* A hole is read as one letter that is none. */
static void notes_without_end_are_not_read(void) {
        _cleanup_close_ int top = check_directory();
        (void) finish("", 0, false, NULL);
        _cleanup_close_ int trees = directory_at(top, "case/trees");
        int fd = openat(trees, "7/notes", O_WRONLY | O_CLOEXEC);
        CHECK(fd >= 0 && ftruncate(fd, (off_t) DIRECTORY_NOTES_MAX * 64) == 0);
        fd_close(fd);
        CHECK_ERROR(tree_finish(trees, 7, -EBADF, 0, NULL), -EBADMSG);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(what_fits_is_taken),
                CHECK_CASE(what_does_not_fit_is_bad_content),
                CHECK_CASE(the_longest_names_are_taken),
                CHECK_CASE(notes_without_end_are_not_read),
                {},
        });
}
