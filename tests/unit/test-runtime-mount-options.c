/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mount.h>

#include "runtime/mount-options.h"
#include "tests/unit/check.h"

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static MountOptions parse(const char *type, const char *const *words) {
        MountOptions options = { 0 };
        Fault fault = FAULT_NULL;
        int r = mount_options_parse(type, words, 0, &options, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
        return options;
}

static void sorts_attributes_propagation_and_data(void) {
        MountOptions o = parse("tmpfs", WORDS("nosuid", "noexec", "mode=755", "rslave", "ro", "size=1k"));
        CHECK(o.set == (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY));
        CHECK_INT(o.clear, 0);
        CHECK(o.propagation == MS_SLAVE && o.propagation_recursive);
        CHECK_INT(o.data_count, 2);
        CHECK_STRING(o.data[0], "mode=755");
        CHECK_STRING(o.data[1], "size=1k");
        CHECK(!o.bind);
        mount_options_done(&o);
}

static void the_last_of_two_opposites_wins(void) {
        MountOptions o = parse("bind", WORDS("ro", "rw", "nosuid", "suid", "nodev"));
        CHECK(o.set == MOUNT_ATTR_NODEV);
        CHECK(o.clear == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
        mount_options_done(&o);
        o = parse("bind", WORDS("noatime", "strictatime"));
        CHECK((o.set & MOUNT_ATTR__ATIME) == MOUNT_ATTR_STRICTATIME);
        mount_options_done(&o);
}

static void recursive_words_are_apart(void) {
        MountOptions o = parse(NULL, WORDS("rbind", "rro", "rnosuid", "nodev"));
        CHECK(o.bind && o.recursive_bind);
        CHECK(o.recursive_set == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
        CHECK(o.set == MOUNT_ATTR_NODEV);
        mount_options_done(&o);
        o = parse("bind", WORDS("relatime", "rw"));
        CHECK((o.set & MOUNT_ATTR__ATIME) == MOUNT_ATTR_RELATIME);
        CHECK_INT(o.recursive_set, 0);
        mount_options_done(&o);
}

static void refuses_what_it_does_not_do(void) {
        static const struct {
                const char *type, *word, *sentence;
        } cases[] = {
                { "bind", "size=1k",
                  "config.mounts[3].options: 'size=1k' is not an option of a bind mount" },
                { "bind", "tmpcopyup", "config.mounts[3].options: 'tmpcopyup' goes with a tmpfs only" },
                { "proc", "tmpcopyup", "config.mounts[3].options: 'tmpcopyup' goes with a tmpfs only" },
                { "tmpfs", "idmap", "config.mounts[3].options: 'idmap' goes with bind mounts only" },
                { "tmpfs", "=x", "config.mounts[3].options: '=x' is not an option" },
                { "tmpfs", "", "config.mounts[3].options: '' is not an option" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                MountOptions o;
                Fault fault = FAULT_NULL;
                int r = mount_options_parse(cases[i].type, WORDS(cases[i].word), 3, &o, &fault);
                CHECK(r < 0);
                CHECK_STRING(fault_text(&fault, r), cases[i].sentence);
                fault_done(&fault);
        }
}

static void verbs_of_the_runtime_are_apart(void) {
        MountOptions o = parse("tmpfs", WORDS("tmpcopyup", "mode=700"));
        CHECK(o.copy_up && !o.bind);
        CHECK_INT(o.data_count, 1);
        mount_options_done(&o);
        o = parse(NULL, WORDS("rbind", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow"));
        CHECK(o.bind && o.recursive_idmap && !o.idmap && o.copy_link && o.source_nofollow &&
              o.destination_nofollow);
        mount_options_done(&o);
        o = parse("none", WORDS("remount", "ro", "nosuid"));
        CHECK(o.remount && !o.bind && o.set == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
        mount_options_done(&o);
        /* An attribute that begins with an r is not a recursive one of another name. */
        o = parse("bind", WORDS("relatime", "rrelatime", "rw", "rrw"));
        CHECK((o.set & MOUNT_ATTR__ATIME) == MOUNT_ATTR_RELATIME && o.recursive_clear & MOUNT_ATTR_RDONLY);
        mount_options_done(&o);
}

static void mappings_of_an_option(void) {
        static const char *const wrong[] = {
                "",
                "uids=0-1-1",
                "uids=0-1-1;gids=",
                "uids=0-1-1;gids=0-1",
                "uids=0-1-0;gids=0-1-1",
                "uids=a-b-c;gids=0-1-1",
                "uids=0-1-1x;gids=0-1-1",
                "x=0-1-1",
                "uids=@0-1-1;gids=0-1-1",
        };
        RuntimeIdMappings mappings = { 0 };
        CHECK_OK(mount_options_parse_mappings("uids=0-1000-1#1-2000-10;gids=0-5-3", &mappings));
        CHECK_INT(mappings.uid_count, 2);
        CHECK_INT(mappings.uids[1].host_id, 2000);
        CHECK_INT(mappings.uids[1].size, 10);
        CHECK_INT(mappings.gids[0].host_id, 5);
        free(mappings.uids);
        free(mappings.gids);
        for (size_t i = 0; i < ELEMENTS_OF(wrong); i++)
                CHECK_FORMAT(mount_options_parse_mappings(wrong[i], &mappings) == -EINVAL, "'%s'", wrong[i]);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(sorts_attributes_propagation_and_data),
                CHECK_CASE(the_last_of_two_opposites_wins),
                CHECK_CASE(recursive_words_are_apart),
                CHECK_CASE(refuses_what_it_does_not_do),
                CHECK_CASE(verbs_of_the_runtime_are_apart),
                CHECK_CASE(mappings_of_an_option),
                {},
        });
}
