/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/mount-target.h"

/* Kernel file systems whose place others rely on: a symbolic link in the image must not lead them away. */
static const char *const strict_types[] = {
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", NULL,
};

static bool destination_is(const RuntimeMount *mount, const char *path) {
        _cleanup_free_ char *normal = NULL;
        return path_normalize(mount->destination, &normal) >= 0 && string_equal(normal, path);
}

bool mounts_have(const ContainerPlan *plan, const char *destination, bool bind_only) {
        for (size_t i = 0; i < plan->mount_count; i++)
                if (destination_is(plan->mounts[i].config, destination) &&
                    (!bind_only || plan->mounts[i].options.bind))
                        return true;
        return false;
}

static int set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
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
        return mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                             sizeof(attributes)) < 0
                       ? -errno
                       : 0;
}

static int open_bind_source(const ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        const char *source = mount->config->source;
        if (string_is_empty(source))
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].source: is missing", index);
        if (source[0] != '/' && plan->request->bundle_fd < 0)
                return fault_set(fault, -EINVAL,
                                 "config.mounts[%zu].source: '%s' is relative, and no bundle is given",
                                 index, source);
        int directory = plan->request->bundle_fd >= 0 ? plan->request->bundle_fd : AT_FDCWD;
        mount->source_fd = open_tree(directory, source,
                                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
                                             (mount->options.recursive_bind ? AT_RECURSIVE : 0));
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
static int prepare_bind(const ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        const MountOptions *options = &mount->options;
        int r = open_bind_source(plan, mount, index, fault);
        if (r < 0)
                return r;
        uint64_t propagation = options->propagation ? options->propagation : MS_PRIVATE;
        bool deep = !options->propagation || options->propagation_recursive;
        if ((r = set_attributes(mount->source_fd, options->set, options->clear, 0, false)) < 0 ||
            (r = set_attributes(mount->source_fd, options->recursive_set, options->recursive_clear, 0,
                                true)) < 0 ||
            (r = set_attributes(mount->source_fd, 0, 0, propagation, deep)) < 0)
                return fault_set_errno(fault, r, "config.mounts[%zu].options", index);
        return 0;
}

/* Without a cgroup namespace of its own the container would see the host's whole hierarchy: it gets its own
 * directory. */
static int prepare_cgroup_bind(const ContainerPlan *plan, MountPlan *mount, size_t index, Fault *fault) {
        if (plan->request->cgroup_fd < 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.mounts[%zu].type: cgroup needs a cgroup namespace or a cgroup of "
                                 "the container's own",
                                 index);
        mount->source_fd =
                open_tree(plan->request->cgroup_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        int r = mount->source_fd < 0 ? -errno
                                     : set_attributes(mount->source_fd, mount->options.set,
                                                      mount->options.clear, MS_PRIVATE, true);
        return r < 0 ? fault_set_errno(fault, r, "config.mounts[%zu]: the container's cgroup", index) : 0;
}

static int prepare_mount(ContainerPlan *plan, size_t index, Fault *fault) {
        MountPlan *mount = &plan->mounts[index];
        const RuntimeMount *config = mount->config;
        int r = mount_options_parse(config->type, config->options, index, &mount->options, fault);
        if (r < 0)
                return r;
        if (mount->options.bind)
                return prepare_bind(plan, mount, index, fault);

        mount->directory = true;
        if (string_is_empty(config->type))
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].type: is missing", index);
        if (string_after(config->type, "cgroup") &&
            !plan_has_new_namespace(plan, RUNTIME_NAMESPACE_CGROUP)) {
                r = prepare_cgroup_bind(plan, mount, index, fault);
                if (r < 0)
                        return r;
        }
        mount->no_links = strv_contains(strict_types, config->type) || destination_is(config, "/dev");
        return 0;
}

int mounts_prepare(ContainerPlan *plan, Fault *fault) {
        size_t count = plan->config->mount_count;
        plan->mounts = new0(MountPlan, count + 1);
        if (!plan->mounts)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                plan->mounts[i] = (MountPlan){ .config = &plan->config->mounts[i], .source_fd = -EBADF };
                plan->mount_count++;
                int r = prepare_mount(plan, i, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

void mounts_done(ContainerPlan *plan) {
        for (size_t i = 0; i < plan->mount_count; i++) {
                mount_options_done(&plan->mounts[i].options);
                fd_close(plan->mounts[i].source_fd);
        }
        plan->mounts = mfree(plan->mounts);
        plan->mount_count = 0;
}

/* The file system's own words, which fsopen(2) keeps for whoever reads its descriptor: "e tmpfs: Bad value
 * for 'size'". */
static int file_system_fault(int fs, int error, const char *what, Fault *fault) {
        char message[256];
        ssize_t n = read(fs, message, sizeof(message) - 1);
        if (n <= 2)
                return fault_set_errno(fault, error, "%s", what);
        message[n] = '\0';
        message[strcspn(message, "\n")] = '\0';
        return fault_set_errno(fault, error, "%s: %s", what, message + 2);
}

static int configure_file_system(int fs, const MountPlan *mount, Fault *fault) {
        const char *source = mount->config->source;
        if (!string_is_empty(source) && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
                return file_system_fault(fs, -errno, "source", fault);
        for (size_t i = 0; i < mount->options.data_count; i++) {
                const char *word = mount->options.data[i], *equals = strchr(word, '=');
                _cleanup_free_ char *key = equals ? strndup(word, (size_t) (equals - word)) : strdup(word);
                if (!key)
                        return -ENOMEM;
                int r = equals ? fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0)
                               : fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
                if (r < 0)
                        return file_system_fault(fs, -errno, word, fault);
        }
        if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return file_system_fault(fs, -errno, mount->config->type, fault);
        return 0;
}

static int make_file_system(const MountPlan *mount, Fault *fault) {
        const char *type = mount->config->type;
        if (string_equal(type, "cgroup"))
                type = "cgroup2";
        _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
        if (fs < 0)
                return fault_set_errno(fault, -errno, "type %s", type);
        int r = configure_file_system(fs, mount, fault);
        if (r < 0)
                return r;
        int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned) mount->options.set);
        return fd < 0 ? file_system_fault(fs, -errno, type, fault) : fd;
}

static int make_mount(const MountPlan *mount, Fault *fault) {
        const MountOptions *options = &mount->options;
        _cleanup_close_ int fd = make_file_system(mount, fault);
        if (fd < 0)
                return fd;
        int r = set_attributes(fd, options->recursive_set, options->recursive_clear, 0, true);
        return r < 0 ? fault_set_errno(fault, r, "options") : TAKE_FD(fd);
}

static int attach_mount(ContainerPlan *plan, MountPlan *mount, Fault *fault) {
        _cleanup_close_ int target = -EBADF, made = -EBADF;
        int r = mount_target_open(plan->rootfs_fd, mount->config->destination, mount->directory,
                                  mount->no_links ? MOUNT_TARGET_REFUSE : MOUNT_TARGET_FOLLOW, &target,
                                  fault);
        if (r < 0)
                return r;
        made = mount->source_fd >= 0 ? TAKE_FD(mount->source_fd) : make_mount(mount, fault);
        if (made < 0)
                return made;
        r = mount_target_attach(target, made);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", mount->config->destination);
        if (!mount->options.bind) {
                r = set_attributes(made, 0, 0, mount->options.propagation,
                                   mount->options.propagation_recursive);
                if (r < 0)
                        return fault_set_errno(fault, r, "propagation");
        }
        if (string_equal(mount->config->type, "devpts") && destination_is(mount->config, "/dev/pts"))
                plan->devpts_fd = TAKE_FD(made);
        return 0;
}

int mounts_step_attach(ContainerPlan *plan, Fault *fault) {
        for (size_t i = 0; i < plan->mount_count; i++) {
                int r = attach_mount(plan, &plan->mounts[i], fault);
                if (r < 0)
                        return fault_prefix(fault, r, "config.mounts[%zu]", i);
        }
        return 0;
}
