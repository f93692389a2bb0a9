/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* POSIX ACLs as archives write them down, in words (star, GNU tar, libarchive), and as the kernel takes
 * them: the value of an extended attribute. */

#include <linux/posix_acl_xattr.h>
#include <stddef.h>

#include "lib/fault.h"

/* More than any file system of Linux keeps, but XFS. */
#define LAYER_ACL_ENTRIES_MAX 1024

typedef struct LayerAcl {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[LAYER_ACL_ENTRIES_MAX];
        size_t count;
} LayerAcl;

/* "user::rwx,user:joe:r-x:1000,group::r-x,mask::r-x,other::r--", or a line for each. Who is meant is said by
 * a number: in the last field, or in the place of the name. A name alone means somebody of the host on which
 * the archive was made, whom nobody here knows. -EBADMSG with a sentence for that, and for what the kernel
 * would not take. */
int layer_acl_parse(LayerAcl *acl, const char *text, Fault *fault);
/* Of the value, which begins with the header; 0: it says nothing. */
size_t layer_acl_size(const LayerAcl *acl);
