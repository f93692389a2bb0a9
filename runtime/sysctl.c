/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

/* namespaces(7), ipc_namespaces(7), network_namespaces(7). A name that ends in '.' is a whole branch. */
static const struct {
        const char *name;
        RuntimeNamespaceType type;
} namespaced[] = {
        { "net.", RUNTIME_NAMESPACE_NETWORK },        { "fs.mqueue.", RUNTIME_NAMESPACE_IPC },
        { "kernel.msgmax", RUNTIME_NAMESPACE_IPC },   { "kernel.msgmnb", RUNTIME_NAMESPACE_IPC },
        { "kernel.msgmni", RUNTIME_NAMESPACE_IPC },   { "kernel.sem", RUNTIME_NAMESPACE_IPC },
        { "kernel.shmall", RUNTIME_NAMESPACE_IPC },   { "kernel.shmmax", RUNTIME_NAMESPACE_IPC },
        { "kernel.shmmni", RUNTIME_NAMESPACE_IPC },   { "kernel.shm_rmid_forced", RUNTIME_NAMESPACE_IPC },
        { "kernel.hostname", RUNTIME_NAMESPACE_UTS }, { "kernel.domainname", RUNTIME_NAMESPACE_UTS },
};

static RuntimeNamespaceType namespace_of(const char *key) {
        for (size_t i = 0; i < ELEMENTS_OF(namespaced); i++) {
                const char *rest = string_after(key, namespaced[i].name);
                if (rest && (rest[0] == '\0' || string_ends_with(namespaced[i].name, ".")))
                        return namespaced[i].type;
        }
        return _RUNTIME_NAMESPACE_INVALID;
}

/* sysctl.d(5): both separators are in use; the first one in the name says which. A component that holds a
 * dot (a VLAN interface) is written with slashes. */
static int path_of(const char *key, char **ret) {
        char *path = NULL;
        if (asprintf(&path, "sys/%s", key) < 0)
                return -ENOMEM;
        bool slashes = path[4 + strcspn(path + 4, "./")] == '/';
        if (!slashes)
                for (char *p = path + 4; *p; p++)
                        *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
        *ret = path;
        return 0;
}

int sysctl_prepare(const ContainerPlan *plan, Fault *fault) {
        for (size_t i = 0; i < plan->config->sysctl_count; i++) {
                const char *key = plan->config->sysctls[i].key;
                _cleanup_free_ char *dotted = strdup(key);
                if (!dotted)
                        return -ENOMEM;
                if (key[strcspn(key, "./")] == '/')
                        for (char *p = dotted; *p; p++)
                                *p = *p == '/' ? '.' : *p;
                RuntimeNamespaceType type = namespace_of(dotted);
                if (type < 0)
                        return fault_set(
                                fault, -EOPNOTSUPP,
                                "config.linux.sysctl.%s: belongs to no namespace and would change the "
                                "host",
                                key);
                if (!plan->config->namespaces[type].wanted)
                        return fault_set(fault, -EINVAL,
                                         "config.linux.sysctl.%s: would change the host: it needs a %s "
                                         "namespace in linux.namespaces",
                                         key, runtime_namespace_to_string(type));
        }
        return 0;
}

/* The part of procfs below sys shows the namespaces of who looks, whichever mount it is. The caller's own
 * may well be read-only (a service with ProtectKernelTunables=), so init takes one that is mounted nowhere;
 * in a user namespace the kernel may refuse that. */
static int open_procfs(const ContainerPlan *plan) {
        _cleanup_close_ int fs = fsopen("proc", FSOPEN_CLOEXEC);
        if (fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0) {
                int fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
                if (fd >= 0)
                        return fd;
        }
        return fd_duplicate(plan->proc_fd);
}

int sysctl_step_write(ContainerPlan *plan, Fault *fault) {
        if (plan->config->sysctl_count == 0)
                return 0;
        _cleanup_close_ int proc = open_procfs(plan);
        if (proc < 0)
                return proc;
        for (size_t i = 0; i < plan->config->sysctl_count; i++) {
                const RuntimePair *pair = &plan->config->sysctls[i];
                _cleanup_free_ char *path = NULL;
                int r = path_of(pair->key, &path);
                if (r < 0)
                        return r;
                _cleanup_close_ int fd = path_open(proc, path, O_WRONLY | O_NOCTTY, 0, PATH_BENEATH);
                r = fd < 0 ? fd : fd_write_all(fd, pair->value, strlen(pair->value));
                if (r < 0)
                        return fault_set_errno(fault, r, "config.linux.sysctl.%s", pair->key);
        }
        return 0;
}
