/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/entry-attributes.h"

#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "lib/strv.h"

bool xattr_is_wanted(const char *name) {
        if (strlen(name) > XATTR_NAME_MAX)
                return false;
        if (string_after(name, "user."))
                return !string_after(name, "user.overlay.");
        return strcmp(name, "security.capability") == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
               strcmp(name, "system.posix_acl_default") == 0;
}

int xattr_list_copy(const LayerXattr *xattrs, size_t count, XattrList *ret) {
        size_t bytes = 0, wanted = 0;
        *ret = (XattrList){ 0 };
        for (size_t i = 0; i < count; i++)
                if (xattr_is_wanted(xattrs[i].name)) {
                        bytes += strlen(xattrs[i].name) + 1 + xattrs[i].size;
                        wanted++;
                }
        if (wanted == 0)
                return 0;

        bytes += wanted * sizeof(LayerXattr);
        LayerXattr *items = malloc(bytes);
        if (!items)
                return -ENOMEM;
        char *p = (char *) (items + wanted);
        *ret = (XattrList){ .items = items, .count = wanted, .bytes = bytes };
        for (size_t i = 0; i < count; i++) {
                if (!xattr_is_wanted(xattrs[i].name))
                        continue;
                size_t name_size = strlen(xattrs[i].name) + 1;
                *items++ = (LayerXattr){ .name = p, .value = p + name_size, .size = xattrs[i].size };
                memcpy(p, xattrs[i].name, name_size);
                if (xattrs[i].size > 0)
                        memcpy(p + name_size, xattrs[i].value, xattrs[i].size);
                p += name_size + xattrs[i].size;
        }
        return 0;
}

void xattr_list_done(XattrList *list) {
        free(list->items);
        *list = (XattrList){ 0 };
}

int entry_set_xattrs(int fd, const LayerXattr *xattrs, size_t count, const char *path, Fault *fault) {
        for (size_t i = 0; i < count; i++) {
                const LayerXattr *x = &xattrs[i];
                if (!xattr_is_wanted(x->name) || fsetxattr(fd, x->name, x->value, x->size, 0) >= 0)
                        continue;
                if (errno == EOPNOTSUPP && strcmp(x->name, "security.capability") != 0)
                        continue;
                if (errno == EINVAL)
                        return fault_set(fault, -EBADMSG, "%s: extended attribute %s has an invalid value",
                                         path, x->name);
                return fault_set_errno(fault, -errno, "%s: can't set the extended attribute %s", path,
                                       x->name);
        }
        return 0;
}
