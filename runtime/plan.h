/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything that one container's init needs, prepared before it is cloned: descriptors, programs, checked
 * options. Init's steps read it, and add what they make on the way. */

#include <linux/filter.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"
#include "runtime/container.h"
#include "runtime/mount-options.h"

/* One item of config.mounts. */
typedef struct MountPlan {
        const RuntimeMount *config; /* weak */
        MountOptions options;
        int source_fd;  /* a bind's source as a detached mount with its attributes, else -EBADF */
        char *link;     /* a symbolic link with this text is made in place of a mount; else NULL */
        bool directory; /* what the target has to be */
        bool no_links;  /* no symbolic link may be in the target's path */
} MountPlan;

typedef struct ContainerPlan {
        const ContainerRequest *request; /* weak */
        const RuntimeConfig *config;     /* weak */

        /* The caller has no rights over mounts: the launcher enters the user namespace first, and prepares
         * there what else the parent prepares. */
        bool unprivileged;
        bool groups_denied; /* setgroups(2) is given up for the mappings */

        /* Prepared by the parent. */
        int namespace_fds[_RUNTIME_NAMESPACE_MAX]; /* those that are joined */
        int rootfs_fd; /* detached mount; after rootfs_attach() the root itself */
        bool own_rootfs_fd;
        char *root_place; /* where hooks find the root in init's mount namespace; NULL: nowhere */
        MountPlan *mounts;
        size_t mount_count;
        int mapping_fd; /* a user namespace with the container's mappings, for mounts; made when needed */
        RuntimeCapabilities capabilities; /* those that can be granted */
        int proc_fd;                      /* the caller's /proc, known to be procfs */
        int null_fd;                      /* the caller's /dev/null, known to be the device */
        struct sock_fprog seccomp;
        struct sock_filter *own_seccomp_filter;

        int resctrl_fd;
        bool in_resctrl; /* what was made there is to be removed when init comes to nothing */

        /* Network devices that the parent has moved, to take them back when init comes to nothing. */
        int net_namespace_fd;
        unsigned *moved_net_devices; /* their numbers in there; NULL: none */

        /* The socket between the two; each side has its own end. */
        int parent_socket, init_socket;
        int start_fd, result_fd; /* init's; -EBADF: the socket serves */

        /* Made by init. */
        int courier_fds[2]; /* a pipe to the thread that sends the seccomp listener */
        int devpts_fd;      /* the mount at /dev/pts, for the terminal */
        int terminal_fd;
        mode_t caller_umask;
        bool enters_as_user; /* the working directory was closed to root */
        char *program;       /* the path that execve() is given */
        char *home_assignment;
        const char **environment; /* NULL: that of the configuration; only the array is owned */
} ContainerPlan;

/* Refuses what can be refused without making anything. */
int plan_prepare(const ContainerRequest *request, ContainerPlan *plan, Fault *fault);
void plan_done(ContainerPlan *plan);

/* The parts of it that a process in a container that is there already needs, too. */
void plan_init(ContainerPlan *plan, const ContainerRequest *request);
int plan_check_request(const ContainerRequest *request, Fault *fault);
/* Root file system and bind sources, by a process that sees the host's tree and may clone mounts of it. */
int plan_open_host_tree(ContainerPlan *plan, Fault *fault);
int plan_open_own_tree(ContainerPlan *plan, Fault *fault);

static inline bool plan_has_new_namespace(const ContainerPlan *plan, RuntimeNamespaceType type) {
        return plan->config->namespaces[type].wanted && !plan->config->namespaces[type].path;
}

/* True if init lives in a user namespace other than its caller's. */
static inline bool plan_has_user_namespace(const ContainerPlan *plan) {
        return plan->config->namespaces[RUNTIME_NAMESPACE_USER].wanted;
}

/* True if init's mount namespace is its own: without, its root is a directory of a tree that others see,
 * too, and nothing is mounted. */
static inline bool plan_owns_mounts(const ContainerPlan *plan) {
        return plan_has_new_namespace(plan, RUNTIME_NAMESPACE_MOUNT);
}
