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
                { "tmpfs", "tmpcopyup", "config.mounts[3].options: 'tmpcopyup' is not supported yet" },
                { "bind", "idmap=uids=0-1-2",
                  "config.mounts[3].options: 'idmap=uids=0-1-2' is not supported yet" },
                { "tmpfs", "remount", "config.mounts[3].options: 'remount' is not supported yet" },
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

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(sorts_attributes_propagation_and_data),
                CHECK_CASE(the_last_of_two_opposites_wins),
                CHECK_CASE(recursive_words_are_apart),
                CHECK_CASE(refuses_what_it_does_not_do),
                {},
        });
}
