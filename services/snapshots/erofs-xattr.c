/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/erofs-xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/limits.h"
#include "lib/macros.h"
#include "lib/strv.h"

/* struct erofs_xattr_ibody_header; the names that are shared, of which there are none here, would follow. */
#define HEADER_SIZE ((size_t) 12)
#define ENTRY_SIZE ((size_t) 4) /* struct erofs_xattr_entry, without the name */
/* Their sum is counted in units of four bytes, in a field of 16 bits (i_xattr_icount). */
#define AREA_MAX (HEADER_SIZE + (UINT16_MAX - 1) * (size_t) 4)
#define PADDED(size) (((size) + 3) & ~(size_t) 3)

static const struct {
        const char *prefix;
        uint8_t index;
} prefixes[] = {
        { "user.", 1 },
        { "system.posix_acl_access", 2 },
        { "system.posix_acl_default", 3 },
        { "trusted.", 4 },
        { "security.", 6 },
};

/* Where to read: an open file, or a name in the working directory. */
typedef struct Source {
        int fd;
        const char *name; /* NULL: fd */
} Source;

static ssize_t list_names(const Source *source, char *buffer, size_t size) {
        return source->name ? llistxattr(source->name, buffer, size) : flistxattr(source->fd, buffer, size);
}

static ssize_t get_value(const Source *source, const char *name, void *buffer, size_t size) {
        return source->name ? lgetxattr(source->name, name, buffer, size)
                            : fgetxattr(source->fd, name, buffer, size);
}

/* What follows the prefix, and its index; NULL: not for images. */
static const char *split_name(const char *name, uint8_t *ret_index) {
        for (size_t i = 0; i < ELEMENTS_OF(prefixes); i++) {
                const char *rest = string_after(name, prefixes[i].prefix);
                if (rest) {
                        *ret_index = prefixes[i].index;
                        return rest;
                }
        }
        return NULL;
}

typedef struct XattrArea {
        uint8_t *bytes;
        size_t size;
} XattrArea;

static void area_done(XattrArea *area) {
        free(area->bytes);
}

static int area_add(XattrArea *area, const Source *source, const char *name, void *value) {
        uint8_t index = 0;
        const char *rest = split_name(name, &index);
        if (!rest)
                return 0;
        ssize_t length = get_value(source, name, value, LIMIT_XATTR_SIZE);
        if (length < 0)
                return -errno;
        if (length > UINT16_MAX)
                return -E2BIG;
        size_t name_length = strlen(rest);
        size_t begin = area->size > 0 ? area->size : HEADER_SIZE;
        size_t end = begin + PADDED(ENTRY_SIZE + name_length + (size_t) length);
        if (end > AREA_MAX)
                return -E2BIG;
        uint8_t *larger = realloc(area->bytes, end);
        if (!larger)
                return -ENOMEM;
        memset(larger + area->size, 0, end - area->size);
        area->bytes = larger;
        area->size = end;
        uint8_t *entry = larger + begin;
        entry[0] = (uint8_t) name_length;
        entry[1] = index;
        entry[2] = (uint8_t) length;
        entry[3] = (uint8_t) (length >> 8);
        memcpy(entry + ENTRY_SIZE, rest, name_length);
        memcpy(entry + ENTRY_SIZE + name_length, value, (size_t) length);
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* In the order of the names, as file systems list them in any. */
static int read_all(const Source *source, const char *names, size_t size, XattrArea *area) {
        size_t count = 0;
        _cleanup_free_ const char **sorted = new0(const char *, size);
        _cleanup_free_ void *value = malloc(LIMIT_XATTR_SIZE);
        if (!sorted || !value)
                return -ENOMEM;
        for (const char *name = names; name < names + size; name += strlen(name) + 1)
                sorted[count++] = name;
        qsort(sorted, count, sizeof(*sorted), compare_names);
        int r = 0;
        for (size_t i = 0; r >= 0 && i < count; i++)
                r = area_add(area, source, sorted[i], value);
        return r;
}

static int source_read(const Source *source, uint8_t **ret, size_t *ret_size) {
        _cleanup_(area_done) XattrArea area = { 0 };
        ssize_t size = list_names(source, NULL, 0);
        if (size <= 0)
                return size == 0 || errno == EOPNOTSUPP ? 0 : -errno;
        _cleanup_free_ char *names = malloc((size_t) size);
        if (!names)
                return -ENOMEM;
        size = list_names(source, names, (size_t) size);
        int r = size < 0 ? -errno : size == 0 ? 0 : read_all(source, names, (size_t) size, &area);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(area.bytes);
        *ret_size = area.size;
        return 0;
}

int erofs_xattrs_read(int fd, uint8_t **ret, size_t *ret_size) {
        return source_read(&(const Source){ .fd = fd }, ret, ret_size);
}

int erofs_xattrs_read_at(int directory, const char *name, uint8_t **ret, size_t *ret_size) {
        if (fchdir(directory) < 0)
                return -errno;
        return source_read(&(const Source){ .fd = -EBADF, .name = name }, ret, ret_size);
}
