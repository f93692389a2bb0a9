/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-xattrs.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/limits.h"
#include "lib/strv.h"

#define NAMES_SIZE ((size_t) 64 * 1024) /* XATTR_LIST_MAX */

/* What Unpack takes. A name with '=' could not be told from its value in an archive. */
static bool is_portable(const char *name) {
        if (strchr(name, '='))
                return false;
        if (string_after(name, "user."))
                return !string_after(name, "user.overlay.");
        return string_equal(name, "security.capability") || string_equal(name, "system.posix_acl_access") ||
               string_equal(name, "system.posix_acl_default");
}

static int reserve(FileXattrs *xattrs, size_t more) {
        if (xattrs->text_allocated - xattrs->text_size >= more)
                return 0;
        size_t wanted = MAX_OF(xattrs->text_size + more, xattrs->text_allocated * 2);
        char *larger = realloc(xattrs->text, wanted);
        if (!larger)
                return -ENOMEM;
        xattrs->text = larger;
        xattrs->text_allocated = wanted;
        return 0;
}

/* As offsets: the text may still move. */
static int add_one(FileXattrs *xattrs, const char *file, const char *name) {
        size_t length = strlen(name) + 1;
        int r = reserve(xattrs, length + LIMIT_XATTR_SIZE);
        if (r < 0)
                return r;
        ssize_t size = lgetxattr(file, name, xattrs->text + xattrs->text_size + length, LIMIT_XATTR_SIZE);
        if (size < 0)
                return errno == ENODATA ? 0 : -errno;
        if (xattrs->count == xattrs->allocated) {
                size_t wanted = xattrs->allocated > 0 ? xattrs->allocated * 2 : 8;
                TarXattr *larger = reallocarray(xattrs->items, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                xattrs->items = larger;
                xattrs->allocated = wanted;
        }
        memcpy(xattrs->text + xattrs->text_size, name, length);
        xattrs->items[xattrs->count++] =
                (TarXattr){ .name = (const char *) xattrs->text_size, .size = (size_t) size };
        xattrs->text_size += length + (size_t) size;
        return 0;
}

static int compare_items(const void *a, const void *b) {
        return strcmp(((const TarXattr *) a)->name, ((const TarXattr *) b)->name);
}

static void resolve(FileXattrs *xattrs) {
        for (size_t i = 0; i < xattrs->count; i++) {
                TarXattr *item = &xattrs->items[i];
                item->name = xattrs->text + (size_t) item->name;
                item->value = item->name + strlen(item->name) + 1;
        }
        if (xattrs->count > 1)
                qsort(xattrs->items, xattrs->count, sizeof(*xattrs->items), compare_items);
}

int file_xattrs_read(FileXattrs *xattrs, int directory, const char *name) {
        static char names[NAMES_SIZE]; /* one thread reads trees */
        xattrs->count = xattrs->text_size = 0;
        if (fchdir(directory) < 0)
                return -errno;
        ssize_t size = llistxattr(name, names, sizeof(names));
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *p = names; p < names + size; p += strlen(p) + 1) {
                int r = is_portable(p) ? add_one(xattrs, name, p) : 0;
                if (r < 0)
                        return r;
        }
        resolve(xattrs);
        return 0;
}

bool file_xattrs_equal(const FileXattrs *a, const FileXattrs *b) {
        if (a->count != b->count)
                return false;
        for (size_t i = 0; i < a->count; i++)
                if (!string_equal(a->items[i].name, b->items[i].name) ||
                    a->items[i].size != b->items[i].size ||
                    memcmp(a->items[i].value, b->items[i].value, a->items[i].size) != 0)
                        return false;
        return true;
}

void file_xattrs_done(FileXattrs *xattrs) {
        free(xattrs->items);
        free(xattrs->text);
        *xattrs = (FileXattrs){ 0 };
}
