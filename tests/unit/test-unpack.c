/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/layer-unpack.h"
#include "tests/unit/unpack-checks.h"

static void check_whiteout(const char *path) {
        struct stat st = status(path);
        CHECK(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
}

/* ---- what a layer is made of ---- */

static void unpacks_every_kind_of_entry(void) {
        Tar tar = { 0 };
        tar_add(&tar,
                &(TarEntry){ .name = "./", .type = '5', .mode = 0750, .uid = 7, .gid = 8, .mtime = 1000 });
        tar_add(&tar, &(TarEntry){ .name = "d/", .type = '5', .mode = 02775, .gid = 50, .mtime = 1234 });
        tar_add(&tar, &(TarEntry){ .name = "d/f",
                                   .type = '0',
                                   .contents = "hello",
                                   .mode = 04711,
                                   .uid = 1,
                                   .gid = 2,
                                   .mtime = 1111 });
        tar_add(&tar, &(TarEntry){ .name = "d/plain", .type = '0', .contents = "", .mtime = 1 });
        tar_add(&tar, &(TarEntry){ .name = "d/hard", .type = '1', .link = "d/f" });
        tar_add(&tar,
                &(TarEntry){ .name = "s", .type = '2', .link = "/etc/passwd", .uid = 3, .mtime = 2222 });
        tar_add(&tar, &(TarEntry){ .name = "hs", .type = '1', .link = "./s" });
        tar_add(&tar, &(TarEntry){ .name = "null", .type = '3', .major = 1, .minor = 3, .mode = 0666 });
        tar_add(&tar,
                &(TarEntry){
                        .name = "block", .type = 'b', .major = 7, .minor = 200, .mode = 0660, .gid = 6 });
        tar_add(&tar, &(TarEntry){ .name = "pipe", .type = '6', .mode = 0600, .mtime = 3333 });
        unpack_good(&tar);

        struct stat st = status(".");
        CHECK(st.st_mode == (S_IFDIR | 0750) && st.st_uid == 7 && st.st_gid == 8 && st.st_mtime == 1000);
        st = status("d");
        CHECK(st.st_mode == (S_IFDIR | 02775) && st.st_gid == 50 && st.st_mtime == 1234);
        st = status("d/f");
        CHECK(st.st_mode == (S_IFREG | 04711) && st.st_uid == 1 && st.st_gid == 2 && st.st_mtime == 1111);
        CHECK_INT(st.st_nlink, 2);
        CHECK_INT(status("d/hard").st_ino, st.st_ino);
        check_contents("d/hard", "hello");
        st = status("d/plain");
        CHECK(st.st_gid == 0 && st.st_mode == (S_IFREG | 0644) && st.st_size == 0);
        st = status("s");
        CHECK(S_ISLNK(st.st_mode) && st.st_uid == 3 && st.st_mtime == 2222 &&
              st.st_ino == status("hs").st_ino);
        st = status("null");
        CHECK(st.st_mode == (S_IFCHR | 0666) && st.st_rdev == makedev(1, 3));
        st = status("block");
        CHECK(st.st_mode == (S_IFBLK | 0660) && st.st_rdev == makedev(7, 200) && st.st_gid == 6);
        st = status("pipe");
        CHECK(st.st_mode == (S_IFIFO | 0600) && st.st_mtime == 3333);
        CHECK_STRING(notes_text, "r ");
}

static void keeps_names_byte_by_byte(void) {
        static const char long_name[] = "dir/"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "latin-\xe4", .type = '0', .contents = "1" });
        tar_add_pax(&tar, "path", "gr\xc3\xbc\xc3\x9f-\xf0\x9f\x8e\x88", 11);
        tar_add(&tar, &(TarEntry){ .name = "short", .type = '0', .contents = "2" });
        tar_add_pax(&tar, "path", long_name, strlen(long_name));
        tar_add(&tar, &(TarEntry){ .name = "short", .type = '0', .contents = "3" });
        tar_add_pax(&tar, "linkpath", "\xc3\xbc/../\xc3\xb6", 8);
        tar_add(&tar, &(TarEntry){ .name = "link", .type = '2', .link = "x" });
        tar_add(&tar, &(TarEntry){ .name = "././@LongLink", .type = 'L', .contents = long_name });
        tar_add(&tar, &(TarEntry){ .name = "cut", .type = '0', .contents = "4" });
        unpack_good(&tar);
        check_contents("latin-\xe4", "1");
        check_contents("gr\xc3\xbc\xc3\x9f-\xf0\x9f\x8e\x88", "2");
        check_contents(long_name, "4");
        char target[64] = { 0 };
        CHECK(readlinkat(root, "link", target, sizeof(target) - 1) == 8);
        CHECK_STRING(target, "\xc3\xbc/../\xc3\xb6");
        CHECK(!exists("short"));
}

static void keeps_attributes_and_nanoseconds(void) {
        static const struct vfs_cap_data capability = { .magic_etc =
                                                                VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                                        .data = { { .permitted = 1 << CAP_NET_RAW } } };
        Tar tar = { 0 };
        tar_add_pax(&tar, "SCHILY.xattr.security.capability", &capability, XATTR_CAPS_SZ_2);
        tar_add(&tar, &(TarEntry){ .name = "ping", .type = '0', .contents = "x", .uid = 5 });
        tar_add_pax(&tar, "mtime", "1700000000.123456789", 20);
        tar_add(&tar, &(TarEntry){ .name = "exact", .type = '0', .contents = "x" });
        tar_add_pax(&tar, "SCHILY.xattr.trusted.overlay.redirect", "/etc", 4);
        tar_add(&tar, &(TarEntry){ .name = "redirect", .type = '5' });
        tar_add_pax(&tar, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
        tar_add(&tar, &(TarEntry){ .name = "opaque", .type = '5' });
        tar_add_pax(&tar, "SCHILY.xattr.user.overlay.opaque", "y", 1);
        tar_add(&tar, &(TarEntry){ .name = "opaque2", .type = '5' });
        tar_add_pax(&tar, "SCHILY.xattr.user.note", "a\0b", 3);
        tar_add(&tar, &(TarEntry){ .name = "noted", .type = '5' });
        unpack_good(&tar);
        struct vfs_cap_data got;
        _cleanup_close_ int ping = openat(root, "ping", O_RDONLY | O_CLOEXEC);
        CHECK_INT(fgetxattr(ping, "security.capability", &got, sizeof(got)), XATTR_CAPS_SZ_2);
        CHECK(memcmp(&got, &capability, XATTR_CAPS_SZ_2) == 0);
        struct stat st = status("exact");
        CHECK(st.st_mtim.tv_sec == 1700000000 && st.st_mtim.tv_nsec == 123456789);
        static const char *const refused[] = { "redirect", "opaque", "opaque2" };
        for (size_t i = 0; i < ELEMENTS_OF(refused); i++) {
                char names[256];
                _cleanup_close_ int fd = openat(root, refused[i], O_RDONLY | O_CLOEXEC);
                ssize_t n = flistxattr(fd, names, sizeof(names));
                for (const char *p = names; p < names + n; p += strlen(p) + 1)
                        CHECK_FORMAT(!strstr(p, "overlay"), "%s has %s", refused[i], p);
        }
        _cleanup_close_ int noted = openat(root, "noted", O_RDONLY | O_CLOEXEC);
        char value[8];
        ssize_t n = fgetxattr(noted, "user.note", value, sizeof(value));
        CHECK(n == 3 || (n < 0 && errno == ENOTSUP)); /* tmpfs has none before Linux 6.6 */
}

/* GNU.sparse 1.0: a map at the beginning of the contents. */
static void makes_holes(void) {
        char contents[512 + 5] = { 0 };
        memcpy(contents, "1\n1048576\n5\n", 12);
        memcpy(contents + 512, "tail!", 5);
        Tar tar = { 0 };
        static const char records[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
                                      "28 GNU.sparse.name=sparse!!\n31 GNU.sparse.realsize=2097152\n";
        tar_add(&tar, &(TarEntry){ .name = "pax", .type = 'x', .contents = records });
        tar_add(&tar,
                &(TarEntry){ .name = "x", .type = '0', .contents = contents, .size = sizeof(contents) });
        unpack_good(&tar);
        struct stat st = status("sparse!!");
        CHECK_INT(st.st_size, 2097152);
        CHECK(st.st_blocks * 512 < 1048576);
        char text[6] = { 0 };
        _cleanup_close_ int fd = openat(root, "sparse!!", O_RDONLY | O_CLOEXEC);
        CHECK(pread(fd, text, 5, 1048576) == 5);
        CHECK_STRING(text, "tail!");
}

static void does_not_inherit_from_the_directory(void) {
        /* POSIX ACL: version 2, u::rwx g::r-x u:1:rwx m::rwx o::r-x */
        static const uint8_t acl[] = { 2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  7,
                                       0, 1, 0,   0,   0,   4,   0,  5, 0,   255, 255, 255, 255, 16, 0,
                                       7, 0, 255, 255, 255, 255, 32, 0, 5,   0,   255, 255, 255, 255 };
        Tar tar = { 0 };
        tar_add_pax(&tar, "SCHILY.xattr.system.posix_acl_default", acl, sizeof(acl));
        tar_add(&tar, &(TarEntry){ .name = "d", .type = '5', .mode = 02770, .gid = 99 });
        tar_add(&tar, &(TarEntry){ .name = "d/f", .type = '0', .contents = "x", .mode = 0600 });
        tar_add(&tar, &(TarEntry){ .name = "d/sub", .type = '5', .mode = 0700 });
        unpack_good(&tar);
        struct stat st = status("d/f");
        CHECK(st.st_gid == 0 && st.st_mode == (S_IFREG | 0600));
        st = status("d/sub");
        CHECK(st.st_gid == 0 && st.st_mode == (S_IFDIR | 0700));
        CHECK(status("d").st_mode == (S_IFDIR | 02770));
}

/* Nor from a root that came with something to inherit. */
static void directories_are_as_described_or_implied(void) {
        static const uint8_t acl[] = { 2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 4,   0,
                                       0, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255 };
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_(tar_done) Tar tar = { 0 };
                tar_add(&tar, &(TarEntry){ .name = "plain/implied/f", .type = '0', .contents = "x" });
                tar_add(&tar, &(TarEntry){ .name = "plain/implied/deep", .type = '5', .mtime = 77 });
                tar_add(&tar, &(TarEntry){ .name = "implied/private", .type = '5', .mode = 0700 });
                tar_add(&tar, &(TarEntry){ .name = "plain", .type = '5', .mtime = 99 });
                tar_add(&tar, &(TarEntry){ .name = "owned", .type = '5', .gid = 5, .mtime = 55 });
                tar_end(&tar);
                fresh();
                if (i == 1)
                        CHECK(fchown(root, 0, 9) >= 0 && fchmod(root, 02755) >= 0);
                else if (i == 2 && fsetxattr(root, "system.posix_acl_default", acl, sizeof(acl), 0) < 0)
                        continue; /* the file system has none */
                CHECK_NO_FAULT(unpack(&tar, &fault));
                CHECK(status("plain").st_mode == (S_IFDIR | 0755) && status("plain").st_mtime == 99);
                CHECK(status("plain/implied").st_mode == (S_IFDIR | 0755));
                CHECK(status("plain/implied/deep").st_mode == (S_IFDIR | 0755));
                CHECK(status("plain/implied/deep").st_mtime == 77);
                CHECK(status("implied").st_mode == (S_IFDIR | 0755));
                CHECK(status("implied/private").st_mode == (S_IFDIR | 0700));
                CHECK(status("owned").st_gid == 5 && status("owned").st_mtime == 55);
        }
}

static void a_later_entry_replaces_an_earlier_one(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "a", .type = '0', .contents = "first" });
        tar_add(&tar, &(TarEntry){ .name = "a", .type = '0', .contents = "2nd" });
        tar_add(&tar, &(TarEntry){ .name = "b/deep/er", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "b", .type = '0', .contents = "file" });
        tar_add(&tar, &(TarEntry){ .name = "c", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "c", .type = '5', .mode = 0711 });
        tar_add(&tar, &(TarEntry){ .name = "c/x", .type = '0', .contents = "in c" });
        tar_add(&tar, &(TarEntry){ .name = "e/x", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "e", .type = '2', .link = "c" });
        tar_add(&tar, &(TarEntry){ .name = "e", .type = '5' });
        tar_add(&tar, &(TarEntry){ .name = "e/y", .type = '0', .contents = "y" });
        tar_add(&tar, &(TarEntry){ .name = "h", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "h", .type = '1', .link = "a" });
        tar_add(&tar, &(TarEntry){ .name = "d", .type = '5', .mode = 0700, .mtime = 5 });
        tar_add(&tar, &(TarEntry){ .name = "d", .type = '5', .mode = 0751, .mtime = 6 });
        unpack_good(&tar);
        check_contents("a", "2nd");
        check_contents("b", "file");
        check_contents("c/x", "in c");
        CHECK(status("c").st_mode == (S_IFDIR | 0711));
        CHECK(!exists("e/x") && !exists("c/y"));
        check_contents("e/y", "y");
        check_contents("h", "2nd");
        CHECK(status("d").st_mode == (S_IFDIR | 0751) && status("d").st_mtime == 6);
}

/* ---- whiteouts ---- */

static void converts_whiteouts(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "a/.wh.gone", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "o", .type = '5' });
        tar_add(&tar, &(TarEntry){ .name = "o/.wh..wh..opq", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "o/new", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = ".wh..wh.plnk", .type = '5' });
        tar_add(&tar, &(TarEntry){ .name = ".wh..wh.plnk/1.2", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = ".wh..wh.aufs", .type = '0' });
        unpack_good(&tar);
        check_whiteout("a/gone");
        CHECK(!exists("o/.wh..wh..opq") && !exists(".wh..wh.plnk") && !exists(".wh..wh.aufs"));
        check_contents("o/new", "x");
        CHECK_STRING(notes_text, "ia oo ");
}

/* image-spec layer.md: a whiteout hides what is below, whatever the layer itself has, in either order. */
static void whiteouts_spare_the_layer_itself(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "kept" });
        tar_add(&tar, &(TarEntry){ .name = ".wh.f", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = ".wh.g", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "g", .type = '0', .contents = "kept" });
        tar_add(&tar, &(TarEntry){ .name = "d1", .type = '5' });
        tar_add(&tar, &(TarEntry){ .name = ".wh.d1", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = ".wh.d2", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "d2", .type = '5' });
        tar_add(&tar, &(TarEntry){ .name = ".wh.d3", .type = '0' });
        tar_add(&tar, &(TarEntry){ .name = "d3/x", .type = '0', .contents = "kept" });
        tar_add(&tar, &(TarEntry){ .name = ".wh..wh..opq", .type = '0' });
        unpack_good(&tar);
        check_contents("f", "kept");
        check_contents("g", "kept");
        check_contents("d3/x", "kept");
        CHECK_STRING(notes_text, "o od1 od2 od3 id3 ");
}

static void notes_what_is_implied(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "a/b/c/f", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "a/b", .type = '5', .mode = 0700 });
        unpack_good(&tar);
        CHECK_STRING(notes_text, "ia ia/b/c ");
        CHECK(status("a").st_mode == (S_IFDIR | 0755) && status("a/b").st_mode == (S_IFDIR | 0700));
}

/* ---- refused ---- */

typedef struct BadLayer {
        const char *name;
        TarEntry entries[4];
        const char *sentence;
} BadLayer;

#define FILE_ENTRY(path)                                                                                    \
        { .name = path, .type = '0', .contents = "x" }
#define LINK_ENTRY(path, target)                                                                            \
        { .name = path, .type = '2', .link = target }
#define HARD_ENTRY(path, target)                                                                            \
        { .name = path, .type = '1', .link = target }

/* A few; tests/host/hostile_layers.py has all of them. */
static const BadLayer bad_layers[] = {
        { "a parent", { FILE_ENTRY("../outside") }, "must not have '..'" },
        { "below a link to itself", { LINK_ENTRY("l", "l"), FILE_ENTRY("l/x") }, "Too many levels" },
        { "below a link to a file",
          { FILE_ENTRY("f"), LINK_ENTRY("l", "f"), FILE_ENTRY("l/x") },
          "no directory in this layer" },
        { "a hard link to the host", { HARD_ENTRY("h", "/etc/passwd") }, "which is no file of this layer" },
        { "a hard link through a link",
          { LINK_ENTRY("l", ".."), HARD_ENTRY("h", "l/outside") },
          "which is no file" },
        { "a hard link to a directory",
          { { .name = "d", .type = '5' }, HARD_ENTRY("h", "d") },
          "which is no file" },
        { "a whiteout of nothing", { FILE_ENTRY("d/.wh.") }, "whiteout of nothing" },
        { "a whiteout as a directory", { FILE_ENTRY(".wh.d/x") }, "whiteout can't be a directory" },
        { "the root as a file", { FILE_ENTRY(".") }, "root of a layer must be a directory" },
        { "a link to nothing", { LINK_ENTRY("l", "") }, "symbolic link to nothing" },
};

static void refuses_hostile_entries(void) {
        for (size_t i = 0; i < ELEMENTS_OF(bad_layers); i++) {
                const BadLayer *bad = &bad_layers[i];
                Tar tar = { 0 };
                for (size_t k = 0; k < ELEMENTS_OF(bad->entries) && bad->entries[k].name; k++)
                        tar_add(&tar, &bad->entries[k]);
                tar_end(&tar);
                fresh();
                Fault fault = FAULT_NULL;
                int r = unpack(&tar, &fault);
                CHECK_FORMAT(r == -EBADMSG, "%s: %i (%s)", bad->name, r, fault_text(&fault, r));
                CHECK_FORMAT(strstr(fault.text, bad->sentence), "%s: the sentence is '%s'", bad->name,
                             fault.text);
                fault_done(&fault);
                tar_done(&tar);
        }
}

static void absolute_names_stay_inside(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "/etc/passwd", .type = '0', .contents = "inside" });
        tar_add(&tar, &(TarEntry){ .name = "//x//./y/", .type = '5' });
        unpack_good(&tar);
        check_contents("etc/passwd", "inside");
        CHECK(S_ISDIR(status("x/y").st_mode));
}

/* A link is never followed when it is itself what is replaced. */
static void replacing_a_link_leaves_its_target(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "l", .type = '2', .link = "../outside" });
        tar_add(&tar, &(TarEntry){ .name = "l", .type = '0', .contents = "replaced" });
        tar_add(&tar,
                &(TarEntry){ .name = "m", .type = '2', .link = "../outside", .mode = 0777, .uid = 12 });
        tar_add(&tar, &(TarEntry){ .name = "n", .type = '1', .link = "m" });
        tar_add(&tar, &(TarEntry){ .name = ".wh.l2", .type = '0' });
        unpack_good(&tar);
        check_contents("l", "replaced");
        CHECK(S_ISLNK(status("n").st_mode));
        struct stat st;
        CHECK(fstatat(top, "outside", &st, 0) >= 0 && st.st_uid == 0 && st.st_nlink == 1);
}

static void refuses_names_that_are_too_long(void) {
        char *name = malloc(65537);
        CHECK(name);
        for (unsigned i = 0; i < 2; i++) {
                memset(name, 'a', 65536);
                name[65536] = '\0';
                for (size_t k = 100; i == 1 && k < 65536; k += 100)
                        name[k] = '/';
                Tar tar = { 0 };
                tar_add_pax(&tar, "path", name, 65536);
                tar_add(&tar, &(TarEntry){ .name = "x", .type = '0', .contents = "x" });
                tar_end(&tar);
                fresh();
                CHECK_FAULT(unpack(&tar, &fault), -EBADMSG,
                            i == 0 ? "a part of the path is longer than 255" : "path is longer than 4095");
                tar_done(&tar);
        }
        free(name);
}

static void refuses_names_with_a_nul(void) {
        Tar tar = { 0 };
        tar_add_pax(&tar, "path", "a\0/../../outside", 16);
        tar_add(&tar, &(TarEntry){ .name = "x", .type = '0', .contents = "x" });
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "'path' has a NUL");
        tar_done(&tar);
        tar_add(&tar, &(TarEntry){ .name = "././@LongLink", .type = 'L', .contents = "a\0b", .size = 3 });
        tar_add(&tar, &(TarEntry){ .name = "x", .type = '0', .contents = "x" });
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "a name has a NUL");
        tar_done(&tar);
}

static void refuses_xattrs_that_are_too_large(void) {
        char *value = calloc(1, 70000);
        CHECK(value);
        Tar tar = { 0 };
        tar_add_pax(&tar, "SCHILY.xattr.user.large", value, 70000);
        tar_add(&tar, &(TarEntry){ .name = "x", .type = '0', .contents = "x" });
        tar_end(&tar);
        free(value);
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "larger than 65536 bytes");
        tar_done(&tar);
}

static void refuses_a_damaged_archive(void) {
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "a", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "b", .type = '0', .contents = "y" });
        tar_end(&tar);
        fresh();
        tar.data[1024 + 10] ^= 1; /* a checksum that is wrong */
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "damaged after entry 1");
        tar.data[1024 + 10] ^= 1;
        tar.size = 1024 + 512; /* the header of b, not its contents */
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "truncated");
        tar.size = 700;
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "truncated");
        memset(tar.data, 'z', 1024);
        tar.size = 1024;
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG, "damaged after entry 0");
        tar_done(&tar);
}

static void takes_an_empty_archive(void) {
        Tar tar = { 0 };
        unpack_good(&tar);
        CHECK_STRING(notes_text, "");
        fresh();
        CHECK_NO_FAULT(unpack(&(Tar){ .data = (char *) "" }, &fault));
}

static void stops_at_the_limits(void) {
        Tar tar = { 0 };
        LayerResult result;
        tar_add(&tar, &(TarEntry){ .name = "a/b/c/d/e/f", .type = '0', .contents = "x" });
        tar_add(&tar, &(TarEntry){ .name = "g", .type = '0', .contents = "x" });
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.entries_max = 6 }, &result, &fault), -EDQUOT,
                    "more than 6 entries");
        fresh();
        CHECK_NO_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.entries_max = 7 }, &result, &fault));
        fresh();
        CHECK_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.size_max = 2000 }, &result, &fault), -EDQUOT,
                    "more than 2000 bytes");
        tar_done(&tar);
}

/* Usual orders cost one part for each directory that is new, unusual ones all parts of each path. */
static void stops_when_it_is_too_much_work(void) {
        Tar tar = { 0 };
        LayerResult result;
        for (unsigned i = 0; i < 20; i++) {
                tar_add(&tar, &(TarEntry){ .name = "a/b/c/d/e/f", .type = '0', .contents = "x" });
                tar_add(&tar, &(TarEntry){ .name = "g/h/i/j/k/l", .type = '0', .contents = "x" });
        }
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.work_max = 100 }, &result, &fault), -EDQUOT,
                    "in deeper directories than can be handled");
        fresh();
        CHECK_NO_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.work_max = 1000 }, &result, &fault));
        tar_done(&tar);
}

static void counts_holes_as_contents(void) {
        Tar tar = { 0 };
        LayerResult result;
        static const char records[] = "22 GNU.sparse.map=0,1\n26 GNU.sparse.size=100000\n";
        tar_add(&tar, &(TarEntry){ .name = "pax", .type = 'x', .contents = records });
        tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x" });
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.size_max = 99999 }, &result, &fault), -EDQUOT,
                    "The files of the layer have more than 99999 bytes");
        fresh();
        CHECK_NO_FAULT(unpack_with(&tar, (LayerUnpack){ .rules.size_max = 100000 }, &result, &fault));
        CHECK_INT(result.size, 100000);
        tar_done(&tar);
}

static void keeps_labels_only_if_asked_to(void) {
        static const char label[] = "system_u:object_r:etc_t:s0";
        for (unsigned keep = 0; keep < 2; keep++) {
                Tar tar = { 0 };
                LayerResult result;
                char value[64];
                tar_add_pax(&tar, "SCHILY.xattr.security.selinux", label, sizeof(label));
                tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x" });
                tar_end(&tar);
                fresh();
                CHECK_NO_FAULT(
                        unpack_with(&tar, (LayerUnpack){ .rules.keep_labels = keep > 0 }, &result, &fault));
                _cleanup_close_ int fd = openat(root, "f", O_RDONLY | O_CLOEXEC);
                ssize_t n = fgetxattr(fd, "security.selinux", value, sizeof(value));
                CHECK(keep ? n == sizeof(label) : n < 0);
                tar_done(&tar);
        }
}

static void hashes_the_whole_stream(void) {
        Tar tar = { 0 };
        LayerResult result;
        Digest expected;
        tar_add(&tar, &(TarEntry){ .name = "a", .type = '0', .contents = "x" });
        tar_end(&tar);
        tar_append(&tar, "after the end", 13);
        CHECK_OK(digest_of_data(DIGEST_SHA256, tar.data, tar.size, &expected));
        fresh();
        CHECK_NO_FAULT(unpack_with(&tar, (LayerUnpack){ 0 }, &result, &fault));
        CHECK(digest_equal(&expected, &result.diff_id));
        CHECK_INT(result.size, 1);
        tar_done(&tar);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(unpacks_every_kind_of_entry),
                CHECK_CASE(keeps_names_byte_by_byte),
                CHECK_CASE(keeps_attributes_and_nanoseconds),
                CHECK_CASE(makes_holes),
                CHECK_CASE(does_not_inherit_from_the_directory),
                CHECK_CASE(directories_are_as_described_or_implied),
                CHECK_CASE(a_later_entry_replaces_an_earlier_one),
                CHECK_CASE(converts_whiteouts),
                CHECK_CASE(whiteouts_spare_the_layer_itself),
                CHECK_CASE(notes_what_is_implied),
                CHECK_CASE(refuses_hostile_entries),
                CHECK_CASE(absolute_names_stay_inside),
                CHECK_CASE(replacing_a_link_leaves_its_target),
                CHECK_CASE(refuses_names_that_are_too_long),
                CHECK_CASE(refuses_names_with_a_nul),
                CHECK_CASE(refuses_xattrs_that_are_too_large),
                CHECK_CASE(refuses_a_damaged_archive),
                CHECK_CASE(takes_an_empty_archive),
                CHECK_CASE(stops_at_the_limits),
                CHECK_CASE(stops_when_it_is_too_much_work),
                CHECK_CASE(counts_holes_as_contents),
                CHECK_CASE(keeps_labels_only_if_asked_to),
                CHECK_CASE(hashes_the_whole_stream),
                {},
        });
}
