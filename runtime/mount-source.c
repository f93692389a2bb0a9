/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mount-source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "runtime/id-mappings.h"

int mount_source_set_attributes(int mount_fd, uint64_t set, uint64_t clear, uint64_t propagation,
                                bool recursive) {
        if (!set && !clear && !propagation)
                return 0;
        /* An access time mode is given by its value in a field that has to be cleared first. */
        if (set & MOUNT_ATTR__ATIME)
                clear |= MOUNT_ATTR__ATIME;
        struct mount_attr attributes = {
                .attr_set = set,
                .attr_clr = clear,
                .propagation = propagation,
        };
        return mount_setattr(mount_fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                             sizeof(attributes)) < 0
                       ? -errno
                       : 0;
}

static int open_own_mappings(const ContainerPlan *plan, const MountPlan *mount, size_t index, Fault *fault) {
        const RuntimeIdMappings *given = &mount->config->mappings;
        RuntimeIdMappings parsed = { 0 };
        if (given->uid_count > 0)
                return id_mappings_open_namespace(given, plan->proc_fd, fault);
        if (mount_options_parse_mappings(mount->options.idmap_text, &parsed) < 0)
                return fault_set(
                        fault, -EBADMSG,
                        "config.mounts[%zu].options: idmap is not like uids=0-1000-10;gids=0-1000-10",
                        index);
        int fd = id_mappings_open_namespace(&parsed, plan->proc_fd, fault);
        free(parsed.uids);
        free(parsed.gids);
        return fd;
}

/* The container's own mapping: of the namespace that it joins, or as that of the new one will be. */
static int open_container_mappings(ContainerPlan *plan, size_t index, Fault *fault) {
        if (plan->namespace_fds[RUNTIME_NAMESPACE_USER] >= 0)
                return fd_duplicate(plan->namespace_fds[RUNTIME_NAMESPACE_USER]);
        if (!plan_has_user_namespace(plan))
                return fault_set(
                        fault, -EBADMSG,
                        "config.mounts[%zu].uidMappings: are missing, and the container has no user "
                        "namespace whose mappings could be meant",
                        index);
        if (plan->mapping_fd < 0)
                plan->mapping_fd = id_mappings_open_namespace(&plan->config->mappings, plan->proc_fd, fault);
        return plan->mapping_fd < 0 ? plan->mapping_fd : fd_duplicate(plan->mapping_fd);
}

static int map_ids(ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        const MountOptions *options = &mount->options;
        bool own = mount->config->mappings.uid_count > 0 || options->idmap_text;
        if (!own && !options->idmap && !options->recursive_idmap)
                return 0;
        _cleanup_close_ int namespace = own ? open_own_mappings(plan, mount, index, fault)
                                            : open_container_mappings(plan, index, fault);
        if (namespace < 0)
                return fault_prefix(fault, namespace, "config.mounts[%zu]", index);
        struct mount_attr attributes = {
                .attr_set = MOUNT_ATTR_IDMAP,
                .userns_fd = (uint64_t) namespace,
        };
        if (mount_setattr(mount->source_fd, "",
                          AT_EMPTY_PATH | (options->recursive_idmap ? AT_RECURSIVE : 0), &attributes,
                          sizeof(attributes)) < 0) {
                if (errno == EINVAL)
                        return fault_set(fault, -EOPNOTSUPP,
                                         "config.mounts[%zu]: the file system of %s can't be id-mapped",
                                         index, mount->config->source);
                return fault_set_errno(fault, -errno, "config.mounts[%zu]: mapping ids", index);
        }
        return 0;
}

/* 1 when the source is a symbolic link that is to be made again. */
static int take_link(int directory, MountPlan *mount) {
        char text[PATH_MAX];
        if (!mount->options.copy_link)
                return 0;
        ssize_t n = readlinkat(directory, mount->config->source, text, sizeof(text) - 1);
        if (n < 0)
                return errno == EINVAL ? 0 : -errno;
        mount->link = strndup(text, (size_t) n);
        return mount->link ? 1 : -ENOMEM;
}

static int open_bind(const ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        const char *source = mount->config->source;
        if (string_is_empty(source))
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].source: is missing", index);
        if (source[0] != '/' && plan->request->bundle_fd < 0)
                return fault_set(fault, -EINVAL,
                                 "config.mounts[%zu].source: '%s' is relative, and no bundle is given",
                                 index, source);
        int directory = plan->request->bundle_fd >= 0 ? plan->request->bundle_fd : AT_FDCWD;
        int r = take_link(directory, mount);
        if (r != 0)
                return r < 0 ? fault_set_errno(fault, r, "config.mounts[%zu].source: %s", index, source) : r;
        mount->source_fd = open_tree(directory, source,
                                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
                                             (mount->options.recursive_bind ? AT_RECURSIVE : 0) |
                                             (mount->options.source_nofollow ? AT_SYMLINK_NOFOLLOW : 0));
        if (mount->source_fd < 0)
                return fault_set_errno(fault, -errno, "config.mounts[%zu].source: %s", index, source);

        struct stat st;
        if (fstat(mount->source_fd, &st) < 0)
                return -errno;
        mount->directory = S_ISDIR(st.st_mode);
        return 0;
}

/* The clone of a shared mount is its peer, so it leaves the group unless the configuration says otherwise.
 */
static int prepare_bind(ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        const MountOptions *options = &mount->options;
        int r = open_bind(plan, mount, index, fault);
        if (r != 0)
                return MIN_OF(r, 0);
        uint64_t propagation = options->propagation ? options->propagation : MS_PRIVATE;
        bool deep = !options->propagation || options->propagation_recursive;
        int fd = mount->source_fd;
        if ((r = mount_source_set_attributes(fd, options->set, options->clear, 0, false)) < 0 ||
            (r = mount_source_set_attributes(fd, options->recursive_set, options->recursive_clear, 0,
                                             true)) < 0 ||
            (r = mount_source_set_attributes(fd, 0, 0, propagation, deep)) < 0)
                return fault_set_errno(fault, r, "config.mounts[%zu].options", index);
        return map_ids(plan, mount, index, fault);
}

/* Without a cgroup namespace of its own the container would see the host's whole hierarchy: it gets its own
 * directory. */
static int prepare_cgroup(const ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        if (plan->request->cgroup_fd < 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.mounts[%zu].type: cgroup needs a cgroup namespace or a cgroup of "
                                 "the container's own",
                                 index);
        mount->source_fd =
                open_tree(plan->request->cgroup_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        int r = mount->source_fd < 0 ? -errno
                                     : mount_source_set_attributes(mount->source_fd, mount->options.set,
                                                                   mount->options.clear, MS_PRIVATE, true);
        return r < 0 ? fault_set_errno(fault, r, "config.mounts[%zu]: the container's cgroup", index) : 0;
}

int mount_source_open_all(ContainerPlan *plan, Fault *fault) {
        bool own_cgroups = plan->config->namespaces[RUNTIME_NAMESPACE_CGROUP].wanted;
        for (size_t i = 0; i < plan->mount_count; i++) {
                MountPlan *mount = &plan->mounts[i];
                int r = 0;
                if (mount->options.remount)
                        continue;
                if (mount->options.bind)
                        r = prepare_bind(plan, mount, i, fault);
                else if (!own_cgroups && string_after(mount->config->type, "cgroup"))
                        r = prepare_cgroup(plan, mount, i, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}
