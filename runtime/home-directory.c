/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/home-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define PASSWD_SIZE_MAX (1024U * 1024U)

/* name:password:uid:gid:comment:home:shell */
static const char *home_of_line(char *line, unsigned uid) {
        char *fields[7], *rest = line;
        uint64_t number;
        for (size_t i = 0; i < ELEMENTS_OF(fields); i++) {
                fields[i] = strsep(&rest, ":");
                if (!fields[i])
                        return NULL;
        }
        if (string_to_uint64(fields[2], UINT32_MAX, &number) < 0 || number != uid)
                return NULL;
        return fields[5][0] == '/' ? fields[5] : NULL;
}

int home_directory_find(char *passwd, unsigned uid, char **ret) {
        const char *home = NULL;
        char *line;
        while (!home && (line = strsep(&passwd, "\n")))
                home = home_of_line(line, uid);
        *ret = strdup(home ? home : "/");
        return *ret ? 0 : -ENOMEM;
}

/* The file is the image's: it may be anything, even a device, a pipe that nobody writes into, or a
 * link to one of init's own descriptors. */
static int read_passwd(const ContainerPlan *plan, char **ret) {
        _cleanup_close_ int place = path_open(plan->rootfs_fd, "/etc/passwd", O_PATH, 0, PATH_IN_ROOT);
        if (place < 0)
                return place;
        _cleanup_close_ int fd = fd_reopen_regular(place, O_RDONLY, plan->proc_fd);
        return fd < 0 ? fd : fd_read_all(fd, PASSWD_SIZE_MAX, ret, NULL);
}

int home_directory_step_set(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        _cleanup_free_ char *passwd = NULL, *home = NULL;
        size_t count = 0;
        if (strv_get_environment(process->env, "HOME"))
                return 0;
        int r = read_passwd(plan, &passwd);
        if (r == -ENOMEM)
                return r;
        r = passwd ? home_directory_find(passwd, process->uid, &home) : 0;
        if (r < 0)
                return r;

        while (process->env && process->env[count])
                count++;
        plan->environment = new0(const char *, count + 2);
        if (!plan->environment || asprintf(&plan->home_assignment, "HOME=%s", home ? home : "/") < 0)
                return -ENOMEM;
        if (count > 0)
                memcpy(plan->environment, process->env, count * sizeof(char *));
        plan->environment[count] = plan->home_assignment;
        return 0;
}
