/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/entry-attributes.h"

#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/strv.h"

#define CAPABILITY_XATTR "security.capability"
#define LABEL_XATTR "security.selinux"
#define DEFAULT_ACL_XATTR "system.posix_acl_default"

static bool xattr_is_wanted(const char *name, bool keep_labels) {
        if (strlen(name) > XATTR_NAME_MAX)
                return false;
        if (string_after(name, "user."))
                return !string_after(name, "user.overlay.");
        if (string_equal(name, LABEL_XATTR))
                return keep_labels;
        return string_equal(name, CAPABILITY_XATTR) || string_equal(name, "system.posix_acl_access") ||
               string_equal(name, DEFAULT_ACL_XATTR);
}

size_t xattrs_select(LayerXattr *xattrs, size_t count, bool keep_labels) {
        size_t n = 0;
        for (size_t i = 0; i < count; i++)
                if (xattr_is_wanted(xattrs[i].name, keep_labels))
                        xattrs[n++] = xattrs[i];
        return n;
}

int xattr_list_copy(const LayerXattr *xattrs, size_t count, XattrList *ret) {
        *ret = (XattrList){ 0 };
        if (count == 0)
                return 0;
        size_t bytes = count * sizeof(LayerXattr);
        for (size_t i = 0; i < count; i++)
                bytes += strlen(xattrs[i].name) + 1 + xattrs[i].size;
        LayerXattr *items = malloc(bytes);
        if (!items)
                return -ENOMEM;
        char *p = (char *) (items + count);
        *ret = (XattrList){ .items = items, .count = count, .bytes = bytes };
        for (size_t i = 0; i < count; i++) {
                size_t name_size = strlen(xattrs[i].name) + 1;
                items[i] = (LayerXattr){ .name = p, .value = p + name_size, .size = xattrs[i].size };
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

/* 0 if it may be left out. */
static int xattr_outcome(int error, const LayerXattr *xattr, const char *path, Fault *fault) {
        bool is_label = string_equal(xattr->name, LABEL_XATTR);
        if (error == EOPNOTSUPP && !string_equal(xattr->name, CAPABILITY_XATTR))
                return 0;
        if (is_label && (error == EPERM || error == EINVAL))
                return 0;
        if (error == EACCES && string_equal(xattr->name, DEFAULT_ACL_XATTR))
                return fault_set(fault, -EBADMSG, "%s: is no directory, but says what is inherited from it",
                                 path);
        switch (error) {
        case EINVAL:
                return fault_set(fault, -EBADMSG, "%s: extended attribute %s has an invalid value", path,
                                 xattr->name);
        case ENOSPC: /* of the disk, or of the room that a file has for them: ext4 doesn't tell which */
                return fault_set(fault, -ENOSPC, "%s: no space left for the extended attribute %s", path,
                                 xattr->name);
        case E2BIG:
        case ERANGE:
                return fault_set(fault, -EBADMSG, "%s: extended attribute %s is too large", path,
                                 xattr->name);
        default:
                return fault_set_errno(fault, -error, "%s: can't set the extended attribute %s", path,
                                       xattr->name);
        }
}

int entry_set_xattrs(int fd, const LayerXattr *xattrs, size_t count, const char *path, Fault *fault) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < count; i++)
                if (fsetxattr(fd, xattrs[i].name, xattrs[i].value, xattrs[i].size, 0) < 0)
                        r = xattr_outcome(errno, &xattrs[i], path, fault);
        return r;
}

/* The kernel has no user.* on anything but files and directories. */
int entry_set_xattrs_at(int parent, const char *name, const LayerXattr *xattrs, size_t count, Fault *fault) {
        if (count == 0)
                return 0;
        if (fchdir(parent) < 0)
                return fault_set_errno(fault, -errno, "%s: can't enter its directory", name);
        int r = 0;
        for (size_t i = 0; r >= 0 && i < count; i++)
                if (!string_after(xattrs[i].name, "user.") &&
                    lsetxattr(name, xattrs[i].name, xattrs[i].value, xattrs[i].size, 0) < 0)
                        r = xattr_outcome(errno, &xattrs[i], name, fault);
        return r;
}
