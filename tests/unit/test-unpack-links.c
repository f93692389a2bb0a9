/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Entries of a layer that lie below its own symbolic links. */

#include "tests/unit/unpack-checks.h"

static void links_on_the_way_are_followed_within_the_tree(void) {
        static const struct {
                const char *link, *target, *entry, *file;
        } cases[] = {
                { "l", "d", "l/f", "d/f" },
                { "l", "/d/./e//", "l/f", "d/e/f" },
                { "l", "../../outside", "l/f", "outside/f" },
                { "d/l", "../e", "d/l/deep/f", "e/deep/f" },
                { "l", "m/..", "l/f", "f" }, /* where m leads, and then up */
                { "l", "/etc", "l/passwd", "etc/passwd" },
                { "l", "/proc/self/root", "l/f", "proc/self/root/f" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Tar tar = { 0 };
                tar_add(&tar, &(TarEntry){ .name = "d", .type = '5', .mode = 0755 });
                tar_add(&tar, &(TarEntry){ .name = "m", .type = '2', .link = "up/d/.." });
                tar_add(&tar, &(TarEntry){ .name = "up", .type = '2', .link = ".." });
                tar_add(&tar, &(TarEntry){ .name = cases[i].link, .type = '2', .link = cases[i].target });
                tar_add(&tar, &(TarEntry){ .name = cases[i].entry, .type = '0', .contents = "inside" });
                unpack_good(&tar);
                check_contents(cases[i].file, "inside");
                CHECK(S_ISLNK(status(cases[i].link).st_mode));
        }
}

/* A parent may have a link in the place of "d", and what is above that then is not what is above it here.
 * Nor does a link lead to names that no entry can have. */
static void some_ways_are_refused(void) {
        static const struct {
                const char *link, *target, *sentence;
        } cases[] = {
                { "d/l", "../e", "leads up from" },
                { "l", "missing/../e", "leads up from" },
                { "l", ".wh.e", "the name of a whiteout" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                char below[32];
                Tar tar = { 0 };
                snprintf(below, sizeof(below), "%s/f", cases[i].link);
                tar_add(&tar, &(TarEntry){ .name = cases[i].link, .type = '2', .link = cases[i].target });
                tar_add(&tar, &(TarEntry){ .name = below, .type = '0', .contents = "x" });
                tar_end(&tar);
                fresh();
                CHECK_ERROR(unpack(&tar, &fault), -EBADMSG);
                CHECK_CONTAINS(fault.text, cases[i].sentence);
                tar_done(&tar);
        }
}

static void all_kinds_of_entries_go_through_links(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "d/file", .type = '0', .contents = "hard" });
        tar_add(&tar, &(TarEntry){ .name = "l", .type = '2', .link = "d" });
        tar_add(&tar, &(TarEntry){ .name = "l/e", .type = '5', .mode = 0700 });
        tar_add(&tar, &(TarEntry){ .name = "l/s", .type = '2', .link = "nowhere" });
        tar_add(&tar, &(TarEntry){ .name = "hard", .type = '1', .link = "l/file" });
        tar_add(&tar, &(TarEntry){ .name = "l/hard", .type = '1', .link = "hard" });
        tar_add(&tar, &(TarEntry){ .name = "l/.wh.gone", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "l/.wh.file", .type = '0' }); /* the layer's own stays */
        unpack_good(&tar);
        CHECK(S_ISDIR(status("d/e").st_mode) && (status("d/e").st_mode & 07777) == 0700);
        CHECK(S_ISLNK(status("d/s").st_mode) && S_ISLNK(status("l").st_mode));
        check_contents("hard", "hard");
        CHECK_INT(status("d/hard").st_nlink, 3);
        CHECK(S_ISCHR(status("d/gone").st_mode) && S_ISREG(status("d/file").st_mode));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(links_on_the_way_are_followed_within_the_tree),
                CHECK_CASE(some_ways_are_refused),
                CHECK_CASE(all_kinds_of_entries_go_through_links),
                {},
        });
}
