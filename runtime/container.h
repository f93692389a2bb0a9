/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One container, seen from the process that clones its init: created, started, held by pidfd. The caller is
 * the parent; no helper is executed and no thread is made on the way. */

#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/runtime-config.h"

typedef struct Container Container;

#define CONTAINER_EXTRA_FDS_MAX 1024

/* What a container is made of. All descriptors are borrowed: the caller closes its own after
 * container_create(). -EBADF where there is none. */
typedef struct ContainerRequest {
        const RuntimeConfig *config; /* not needed any more once container_create() has returned */
        int bundle_fd;               /* where relative paths of the config (root, bind sources) begin */
        int rootfs_fd;               /* a detached mount that becomes "/"; without: config.root.path */
        int cgroup_fd;               /* cgroup v2 directory to be cloned into; without: the caller's own */
        int standard[3];             /* stdin, stdout, stderr (without: /dev/null); unused with a terminal */
        const char *id, *bundle;     /* what hooks and a seccomp agent are told; the path is absolute */
        const int *extra_fds;        /* become descriptors 3, 4, … of the payload */
        size_t extra_fd_count;
        const struct sock_fprog *seccomp_program; /* NULL: compiled from config.linux.seccomp */
        int seccomp_cache_fd;                     /* a directory of compiled programs, only root's */
        int start_fd;  /* init waits for one byte here instead of for container_start(), and reports a */
        int result_fd; /* failed execve here as an InitReport: for a start by a later process */
        bool keep_session_keyring; /* the payload shares the caller's session keyring */
        bool no_pivot;             /* the root is moved over "/", which is an initramfs's */

        /* Init executes the program as soon as it is set up and the caller's own work is done. The caller
         * has seen container_can_start_at_once(), and calls container_start() all the same. */
        bool starts_at_once;

        /* The caller's own work that can go on while init, which is pid, sets itself up (limits of the
         * cgroup, say), or NULL. It is done before container_create() returns; when it fails, that fails. */
        int (*meanwhile)(void *userdata, pid_t pid, Fault *fault);
        void *userdata;
} ContainerRequest;

#define CONTAINER_REQUEST_INIT                                                                              \
        ((ContainerRequest){                                                                                \
                .bundle_fd = -EBADF,                                                                        \
                .rootfs_fd = -EBADF,                                                                        \
                .cgroup_fd = -EBADF,                                                                        \
                .standard = { -EBADF, -EBADF, -EBADF },                                                     \
                .seccomp_cache_fd = -EBADF,                                                                 \
                .start_fd = -EBADF,                                                                         \
                .result_fd = -EBADF,                                                                        \
        })

/* Clones init and has it do everything up to its execve: the OCI operation "create". When it fails nothing
 * is left: no process, no mount. The sentence names the step and the field of config.json. */
int container_create(const ContainerRequest *request, Container **ret, Fault *fault);

/* True when nothing of this configuration has to be done between the setup of init and its program by any
 * other process. Neither then waits for the other: to wake each of them takes about as long as to set up a
 * namespace. */
bool container_can_start_at_once(const RuntimeConfig *config);

/* Lets init execute the program. A failed execve is reported here, and init is then dead and reaped. */
int container_start(Container *container, Fault *fault);

pid_t container_pid(const Container *container);
/* Borrowed. */
int container_pidfd(const Container *container);
/* The terminal's master side, for the caller to keep; -EBADF without a terminal, or when taken already. */
int container_take_terminal(Container *container);
int container_kill(Container *container, int signal);

/* An init that still waits for container_start() is killed and reaped; a started one is left alone. */
Container *container_free(Container *container);
DEFINE_CLEANUP(Container *, container_free);

/* Frees what this process holds and leaves init alone, waiting on start_fd. */
Container *container_release(Container *container);
