/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/fs-ids.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Leaving user 0 takes the capabilities over files away from those in effect (capabilities(7)). */
static int raise_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
                data[i].effective = data[i].permitted;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int fs_ids_set(uid_t uid, gid_t gid) {
        int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
        (void) setfsgid(gid);
        (void) setfsuid(uid);
        int r = raise_capabilities();
        /* The kernel then takes a process for one that hides something, and its children, too: their maps of
         * ids could not be written any more. */
        if (dumpable == 1 && prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
                r = -errno;
        /* Neither call says whether it worked; asking for nobody changes nothing and tells who it is. */
        if ((uid_t) setfsuid((uid_t) -1) != uid || (gid_t) setfsgid((gid_t) -1) != gid)
                r = -EPERM;
        return r;
}
