/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ACLs that an archive has in words, and labels that it has in a record of their own. */

#include <stdio.h>
#include <sys/xattr.h>

#include "services/snapshots/layer-acl.h"
#include "tests/unit/unpack-checks.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

/* "TAG:ID:PERMISSIONS …", of a value as the kernel takes and gives it. */
static const char *show(const void *value, size_t size, char text[512]) {
        const struct posix_acl_xattr_header *header = value;
        const struct posix_acl_xattr_entry *entry = (const void *) (header + 1);
        size_t n = 0;
        text[0] = '\0';
        CHECK(size >= sizeof(*header) && (size - sizeof(*header)) % sizeof(*entry) == 0);
        CHECK_INT(header->a_version, 2);
        for (; (const char *) entry < (const char *) value + size && n < 480; entry++)
                n += (size_t) snprintf(text + n, 512 - n, "%s%u:%i:%u", n > 0 ? " " : "", entry->e_tag,
                                       (int) entry->e_id, entry->e_perm);
        return text;
}

static void words_become_what_the_kernel_takes(void) {
        static const struct {
                const char *text, *value;
        } cases[] = {
                { "user::rwx\ngroup::r-x\nother::r--\n", "1:-1:7 4:-1:5 32:-1:4" },
                /* libarchive, star: any order, numbers behind */
                { "user::rwx,group::r-x,other::---,user:lp:r-x:7,user:100000:rw-,group:mail:rwx:8,mask::r-x",
                  "1:-1:7 2:7:5 2:100000:6 4:-1:5 8:8:7 16:-1:5 32:-1:0" },
                /* GNU tar: numbers where the host had no name, and comments */
                { "user::rw-\nuser:1000:rwx\t\t#effective:r--\ngroup::r--\nmask::r--\nother::---",
                  "1:-1:6 2:1000:7 4:-1:4 16:-1:4 32:-1:0" },
                { "# file: f\nu::x,g::w, o:r ,m:-\n", "1:-1:1 4:-1:2 16:-1:0 32:-1:4" },
                { "default:user::rwx,default:group::---,d:other::---", "1:-1:7 4:-1:0 32:-1:0" },
                { "user::---,user:two words:r:7,user:5:w:6,group::---,mask::---,other::---",
                  "1:-1:0 2:6:2 2:7:4 4:-1:0 16:-1:0 32:-1:0" },
                { "user::---,user:4294967294:r--,group::---,mask::---,other::---",
                  "1:-1:0 2:-2:4 4:-1:0 16:-1:0 32:-1:0" },
        };
        static LayerAcl acl;
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[512];
                CHECK_NO_FAULT(layer_acl_parse(&acl, cases[i].text, &fault));
                CHECK_STRING(show(&acl, layer_acl_size(&acl), text), cases[i].value);
        }
        static const char *const empty[] = { "", "\n\n", " , \t", "# nothing\n" };
        for (size_t i = 0; i < ELEMENTS_OF(empty); i++) {
                CHECK_NO_FAULT(layer_acl_parse(&acl, empty[i], &fault));
                CHECK_INT(layer_acl_size(&acl), 0);
        }
}

#define BASE "user::rwx,group::r-x,other::---"

static void what_means_nothing_is_refused(void) {
        static const struct {
                const char *text, *sentence;
        } cases[] = {
                { BASE ",user:joe:rwx,mask::rwx", "names the user 'joe', without a number" },
                { BASE ",group:4294967295:rwx,mask::rwx", "names the group '4294967295', without" },
                { BASE ",user:00000000001:rwx,mask::rwx", "without a number" },
                { BASE ",user:joe:rwx:x,mask::rwx", "impossible entry 'user:joe:rwx:x'" },
                { BASE ",user:joe:rwx:4294967295,mask::rwx", "impossible entry" },
                { BASE ",user:joe:rwx:1:2,mask::rwx", "impossible entry" },
                { BASE ",user:joe:rwx:-1,mask::rwx", "impossible entry" },
                { BASE ",user:1:rwX,mask::rwx", "impossible entry" },
                { BASE ",user:1:,mask::rwx", "impossible entry" },
                { BASE ",user:1,mask::rwx", "impossible entry" },
                { BASE ",user", "impossible entry" },
                { BASE ",:::", "impossible entry" },
                { BASE ",default", "impossible entry" },
                { BASE ",mask:5:rwx", "impossible entry" },
                { BASE ",mask::rwx:5", "impossible entry" },
                { BASE ",mask::rwxrwxrwx", "impossible entry" },
                { BASE ",owner@:rw::allow", "impossible entry 'owner@:rw::allow'" },
                { BASE ",user::r--", "says twice" },
                { BASE ",user:1:r--,user:joe:rwx:1,mask::rwx", "says twice" },
                { BASE ",user:1:r--", "all who are named" },
                { "group::r-x,other::---", "does not say what the owner" },
                { "user::rwx,other::---", "does not say" },
                { "user::rwx,group::r-x", "does not say" },
                { "mask::rwx", "does not say" },
        };
        static LayerAcl acl;
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                CHECK_FAULT(layer_acl_parse(&acl, cases[i].text, &fault), -EBADMSG, cases[i].sentence);
}

static void an_acl_has_so_many_entries(void) {
        static LayerAcl acl;
        static char text[64 * LAYER_ACL_ENTRIES_MAX];
        size_t n = (size_t) snprintf(text, sizeof(text), BASE ",mask::rwx");
        for (unsigned i = LAYER_ACL_ENTRIES_MAX; i > 4; i--)
                n += (size_t) snprintf(text + n, sizeof(text) - n, ",user:%u:rwx", i);
        CHECK_NO_FAULT(layer_acl_parse(&acl, text, &fault));
        CHECK_INT(layer_acl_size(&acl), 4 + 8 * LAYER_ACL_ENTRIES_MAX);
        snprintf(text + n, sizeof(text) - n, ",user:1:rwx");
        CHECK_FAULT(layer_acl_parse(&acl, text, &fault), -EBADMSG, "more than 1024 entries");
}

/* ---- in a layer ---- */

static ssize_t get_xattr(const char *path, const char *name, char value[256]) {
        _cleanup_close_ int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        return fgetxattr(fd, name, value, 256);
}

/* "KEY=VALUE" each, before one entry. */
static void add_records(Tar *tar, const char *const *records) {
        char text[2048];
        size_t n = 0;
        for (; *records; records++)
                for (size_t length = strlen(*records) + 3, digits = 1; digits < 5; digits++)
                        if (snprintf(NULL, 0, "%zu", length + digits - 1) == (int) digits) {
                                n += (size_t) snprintf(text + n, sizeof(text) - n, "%zu %s\n",
                                                       length + digits - 1, *records);
                                break;
                        }
        tar_add(tar, &(TarEntry){ .name = "pax", .type = 'x', .contents = text, .size = n });
}

static void check_acl(const char *path, const char *name, const char *expected) {
        char value[256], text[512];
        ssize_t n = get_xattr(path, name, value);
        if (n < 0 && errno == EOPNOTSUPP)
                check_skip("the file system has no ACLs");
        if (expected)
                CHECK_STRING(show(value, (size_t) MAX_OF(n, (ssize_t) 0), text), expected);
        else
                CHECK(n < 0);
}

#define NAMED "user:9:rwx,group::r-x,mask::r-x,other::---"

static void a_layer_has_acls_in_words(void) {
        Tar tar = { 0 };
        add_records(&tar, (const char *[]){ "SCHILY.acl.access=user::rwx," NAMED, NULL });
        tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x", .mode = 0750 });
        add_records(&tar, (const char *[]){ "SCHILY.acl.default=user::rw-," NAMED,
                                            "SCHILY.acl.access=user::rwx,group::r-x,other::r-x", NULL });
        tar_add(&tar, &(TarEntry){ .name = "d", .type = '5', .mode = 0755 });
        tar_add(&tar, &(TarEntry){ .name = "d/f", .type = '0', .contents = "x", .mode = 0640 });
        /* A later record takes back what an earlier one says, and NFSv4 is another language. */
        add_records(&tar, (const char *[]){ "SCHILY.acl.access=user::rwx," NAMED, "SCHILY.acl.access=",
                                            "SCHILY.acl.ace=owner@:rwx::allow", NULL });
        tar_add(&tar, &(TarEntry){ .name = "g", .type = '0', .contents = "x", .mode = 0640 });
        unpack_good(&tar);
        check_acl("f", ACCESS, "1:-1:7 2:9:7 4:-1:5 16:-1:5 32:-1:0");
        check_acl("d", DEFAULT, "1:-1:6 2:9:7 4:-1:5 16:-1:5 32:-1:0");
        check_acl("d", ACCESS, NULL);
        check_acl("d/f", ACCESS, NULL);
        check_acl("g", ACCESS, NULL);
        CHECK(status("f").st_mode == (S_IFREG | 0750) && status("d/f").st_mode == (S_IFREG | 0640));
}

/* As GNU tar writes them with --acls --xattrs-include='*': names, which nobody knows here, and the value. */
static void the_value_itself_goes_before_words(void) {
        static const char value[] =
                "\2\0\0\0\1\0\7\0\377\377\377\377\2\0\5\0\7\0\0\0\4\0\5\0\377\377\377\377"
                "\20\0\5\0\377\377\377\377\40\0\0\0\377\377\377\377";
        char record[1024];
        static const char words[] = "SCHILY.acl.access=user::rwx\nuser:lp:r-x\ngroup::r-x\nmask::r-x\n"
                                    "other::---\n";
        int n = snprintf(record, sizeof(record), "%zu %s\n", sizeof(words) + 3, words);
        n += snprintf(record + n, sizeof(record) - (size_t) n, "%zu SCHILY.xattr." ACCESS "=",
                      sizeof(value) - 1 + strlen("85 SCHILY.xattr." ACCESS "=\n"));
        memcpy(record + n, value, sizeof(value) - 1);
        n += (int) sizeof(value) - 1;
        record[n++] = '\n';
        Tar tar = { 0 };
        tar_add(&tar, &(TarEntry){ .name = "pax", .type = 'x', .contents = record, .size = (size_t) n });
        tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x", .mode = 0750 });
        unpack_good(&tar);
        check_acl("f", ACCESS, "1:-1:7 2:7:5 4:-1:5 16:-1:5 32:-1:0");
}

static void what_an_acl_cannot_be_on_is_refused(void) {
        Tar tar = { 0 };
        add_records(&tar, (const char *[]){ "SCHILY.acl.default=user::rwx," NAMED, NULL });
        tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x" });
        tar_end(&tar);
        fresh();
        CHECK_FAULT(unpack(&tar, &fault), -EBADMSG,
                    "f: is no directory, but says what is inherited from it");
        tar_done(&tar);
}

/* setfilecon(3) writes the NUL, too; in the archive it may be missing. */
static void labels_of_gnu_tar_are_labels(void) {
        static const char label[] = "system_u:object_r:etc_t:s0";
        for (unsigned i = 0; i < 4; i++) {
                bool keep = i % 2 > 0;
                char value[256];
                LayerResult result;
                Tar tar = { 0 };
                tar_add_pax(&tar, "RHT.security.selinux", label, strlen(label) + i / 2);
                tar_add(&tar, &(TarEntry){ .name = "f", .type = '0', .contents = "x" });
                tar_end(&tar);
                fresh();
                CHECK_NO_FAULT(
                        unpack_with(&tar, (LayerUnpack){ .rules.keep_labels = keep }, &result, &fault));
                ssize_t n = get_xattr("f", "security.selinux", value);
                CHECK(keep ? n == sizeof(label) && memcmp(value, label, sizeof(label)) == 0 : n < 0);
                tar_done(&tar);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(words_become_what_the_kernel_takes),
                CHECK_CASE(what_means_nothing_is_refused),
                CHECK_CASE(an_acl_has_so_many_entries),
                CHECK_CASE(a_layer_has_acls_in_words),
                CHECK_CASE(the_value_itself_goes_before_words),
                CHECK_CASE(what_an_acl_cannot_be_on_is_refused),
                CHECK_CASE(labels_of_gnu_tar_are_labels),
                {},
        });
}
