/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/supervisor-user.c: names in an image that may be hostile. */

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/tasks/supervisor-user.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"

#define PASSWD                                                                                              \
        "root:x:0:0:root:/root:/bin/sh\n"                                                                   \
        "# web:x:5:5::/:\n"                                                                                 \
        "\n"                                                                                                \
        "web:x:33:44:Web:/srv:/bin/false\n"                                                                 \
        "broken:x:notanumber:1::/:\n"                                                                       \
        "minus:x:4294967295:4294967295::/:\n"                                                               \
        "2000:x:7:8::relative:\n"                                                                           \
        "short:x:9:10"
#define GROUP                                                                                               \
        "root:x:0:\nwww:x:44:\nextra:x:55:other,web\nextra2:x:56:web\nextra3:x:55:web\nlike:x:57:"          \
        "webmaster\n"

static int make_root(const char *passwd, const char *group) {
        int root = check_directory();
        (void) mkdirat(root, "etc", 0755);
        (void) unlinkat(root, "etc/passwd", 0);
        (void) unlinkat(root, "etc/group", 0);
        if (passwd)
                check_directory_write(root, "etc/passwd", passwd);
        if (group)
                check_directory_write(root, "etc/group", group);
        return root;
}

static void names_and_numbers_are_found(void) {
        static const struct {
                const char *user;
                uint32_t uid, gid;
                size_t groups;
                const char *home;
        } table[] = {
                { "root", 0, 0, 1, "/root" },
                { "0", 0, 0, 1, "/root" },
                { "web", 33, 44, 3, "/srv" },     /* 44, 55, 56: each once */
                { "33", 33, 44, 3, "/srv" },      /* a number with an entry is that user */
                { "web:root", 33, 0, 1, "/srv" }, /* with a group, no others */
                { "web:66", 33, 66, 1, "/srv" },
                { "4711", 4711, 0, 1, NULL },
                { "4711:www", 4711, 44, 1, NULL },
                { "2000", 7, 8, 1, NULL }, /* a name comes before a number */
                { "short", 9, 10, 1, NULL },
        };
        _cleanup_close_ int root = make_root(PASSWD, GROUP);
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                _cleanup_(user_identity_done) UserIdentity identity = { 0 };
                CHECK_NO_FAULT(user_resolve(root, table[i].user, &identity, &fault));
                CHECK_FORMAT(identity.uid == table[i].uid && identity.gid == table[i].gid &&
                                     identity.group_count == table[i].groups,
                             "%s is %u:%u with %zu groups", table[i].user, identity.uid, identity.gid,
                             identity.group_count);
                CHECK_INT(identity.groups[0], table[i].gid);
                CHECK(!!identity.home == !!table[i].home);
                if (table[i].home)
                        CHECK_STRING(identity.home, table[i].home);
        }
}

static void unknown_names_are_refused(void) {
        _cleanup_close_ int root = make_root(PASSWD, GROUP);
        UserIdentity identity;
        CHECK_FAULT(user_resolve(root, "nobody", &identity, &fault), -ENOENT, "user 'nobody' is not in");
        CHECK_FAULT(user_resolve(root, "web:nogroup", &identity, &fault), -ENOENT, "group 'nogroup'");
        CHECK_FAULT(user_resolve(root, "# web", &identity, &fault), -ENOENT, "# web");
        /* Entries that are no ids are no users, least of all the one that means "no change". */
        CHECK_FAULT(user_resolve(root, "broken", &identity, &fault), -ENOENT, "broken");
        CHECK_FAULT(user_resolve(root, "minus", &identity, &fault), -ENOENT, "minus");
        CHECK_FAULT(user_resolve(root, "0x0", &identity, &fault), -ENOENT, "0x0");
        CHECK_FAULT(user_resolve(root, "-1", &identity, &fault), -ENOENT, "-1");
        CHECK_FAULT(user_resolve(root, "4294967296", &identity, &fault), -ENOENT, "4294967296");
        CHECK_FAULT(user_resolve(root, "+0", &identity, &fault), -ENOENT, "+0");
}

static void an_image_without_files_has_numbers_only(void) {
        _cleanup_close_ int root = make_root(NULL, NULL);
        _cleanup_(user_identity_done) UserIdentity identity = { 0 };
        UserIdentity other;
        CHECK_OK(user_resolve(root, "5:6", &identity, NULL));
        CHECK(identity.uid == 5 && identity.gid == 6 && !identity.home);
        CHECK_FAULT(user_resolve(root, "root", &other, &fault), -ENOENT, "root");
}

static void what_is_no_file_is_not_read(void) {
        _cleanup_close_ int root = make_root(NULL, GROUP);
        UserIdentity identity;
        char path[FD_PROC_PATH_SIZE], events[256];
        CHECK_OK(mkfifoat(root, "etc/passwd", 0644));
        /* Nor is it opened: of a device, that may be enough. */
        _cleanup_close_ int fifo = openat(root, "etc/passwd", O_PATH | O_CLOEXEC);
        _cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        CHECK_OK(inotify_add_watch(watch, fd_proc_path(fifo, path), IN_OPEN));
        CHECK_FAULT(user_resolve(root, "root", &identity, &fault), -EINVAL, "/etc/passwd of the image");
        CHECK(read(watch, events, sizeof(events)) < 0 && errno == EAGAIN);
        CHECK_OK(unlinkat(root, "etc/passwd", 0));
        CHECK_OK(mkdirat(root, "etc/passwd", 0755));
        CHECK_FAULT(user_resolve(root, "root", &identity, &fault), -EINVAL, "/etc/passwd of the image");
        CHECK_OK(unlinkat(root, "etc/passwd", AT_REMOVEDIR));
}

static void links_do_not_leave_the_image(void) {
        _cleanup_close_ int root = make_root(NULL, GROUP);
        _cleanup_(user_identity_done) UserIdentity identity = { 0 };
        UserIdentity other;
        /* Resolved inside: there is no /usr in it, whatever the machine has. */
        CHECK_OK(symlinkat("../../../../../../usr/share/base-passwd/passwd.master", root, "etc/passwd"));
        CHECK_FAULT(user_resolve(root, "daemon", &other, &fault), -ENOENT, "daemon");
        CHECK_OK(unlinkat(root, "etc/passwd", 0));
        CHECK_OK(symlinkat("/etc/real", root, "etc/passwd"));
        check_directory_write(root, "etc/real", "inside:x:3:4::/home:\n");
        CHECK_OK(user_resolve(root, "inside", &identity, NULL));
        CHECK_INT(identity.uid, 3);
        CHECK_OK(unlinkat(root, "etc/passwd", 0));
}

static void endless_files_are_refused(void) {
        _cleanup_close_ int root = make_root(NULL, GROUP);
        UserIdentity identity;
        _cleanup_close_ int fd = openat(root, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK_OK(ftruncate(fd, 1LL << 40));
        CHECK_FAULT(user_resolve(root, "root", &identity, &fault), -EFBIG, "/etc/passwd of the image");
        CHECK_OK(unlinkat(root, "etc/passwd", 0));
}

static void too_many_groups_are_refused(void) {
        static char group[USER_GROUPS_MAX * 32];
        size_t n = 0;
        for (unsigned i = 0; i < USER_GROUPS_MAX + 1; i++)
                n += (size_t) snprintf(group + n, sizeof(group) - n, "g%u:x:%u:web\n", i, 10000 + i);
        _cleanup_close_ int root = make_root(PASSWD, group);
        UserIdentity identity;
        CHECK_FAULT(user_resolve(root, "web", &identity, &fault), -E2BIG, "more than");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(names_and_numbers_are_found),
                CHECK_CASE(unknown_names_are_refused),
                CHECK_CASE(an_image_without_files_has_numbers_only),
                CHECK_CASE(what_is_no_file_is_not_read),
                CHECK_CASE(links_do_not_leave_the_image),
                CHECK_CASE(endless_files_are_refused),
                CHECK_CASE(too_many_groups_are_refused),
                {},
        });
}
