/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/copy-up.h"
#include "runtime/mount-source.h"
#include "runtime/mount-target.h"

/* Kernel file systems whose place others rely on: a symbolic link in the image must not lead them away. */
static const char *const strict_types[] = {
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", NULL,
};

static const char *const unlabelled_types[] = {
        "proc", "sysfs", "cgroup", "cgroup2", "mqueue", NULL,
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

static int prepare_mount(ContainerPlan *plan, size_t index, Fault *fault) {
        MountPlan *mount = &plan->mounts[index];
        const RuntimeMount *config = mount->config;
        int r = mount_options_parse(config->type, config->options, index, &mount->options, fault);
        if (r < 0)
                return r;
        mount->directory = true;
        if (mount->options.remount)
                return 0;
        if (!mount->options.bind && string_is_empty(config->type))
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].type: is missing", index);
        if (!mount->options.bind && config->mappings.uid_count > 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.mounts[%zu].uidMappings: go with bind mounts only", index);
        mount->no_links = !mount->options.bind &&
                          (strv_contains(strict_types, config->type) || destination_is(config, "/dev"));
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
                free(plan->mounts[i].link);
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

/* A file system that is shared with others (sysfs, cgroup2, …) stays writable in itself; one on a device of
 * its own may not be, and then has to be told. */
static int set_source(int fs, const MountPlan *mount, Fault *fault) {
        const char *source = mount->config->source;
        if (!string_is_empty(source) && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
                return file_system_fault(fs, -errno, "source", fault);
        if (!string_is_empty(source) && source[0] == '/' && (mount->options.set & MOUNT_ATTR_RDONLY) &&
            fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
                return file_system_fault(fs, -errno, "ro", fault);
        return 0;
}

/* SELinux labels these file systems by rules of its own. */
static int set_label(int fs, const char *label, const MountPlan *mount, Fault *fault) {
        if (!label || strv_contains(unlabelled_types, mount->config->type))
                return 0;
        if (fsconfig(fs, FSCONFIG_SET_STRING, "context", label, 0) < 0)
                return file_system_fault(fs, -errno, "config.linux.mountLabel", fault);
        return 0;
}

static int configure_file_system(int fs, const char *label, const MountPlan *mount, Fault *fault) {
        int r = set_source(fs, mount, fault);
        if (r >= 0)
                r = set_label(fs, label, mount, fault);
        if (r < 0)
                return r;
        for (size_t i = 0; i < mount->options.data_count; i++) {
                const char *word = mount->options.data[i], *equals = strchr(word, '=');
                _cleanup_free_ char *key = equals ? strndup(word, (size_t) (equals - word)) : strdup(word);
                if (!key)
                        return -ENOMEM;
                r = equals ? fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0)
                           : fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
                if (r < 0)
                        return file_system_fault(fs, -errno, word, fault);
        }
        if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return file_system_fault(fs, -errno, mount->config->type, fault);
        return 0;
}

/* The kernel mounts sysfs in a user namespace only together with a network namespace of its own. */
static int clone_host_sysfs(const MountPlan *mount, Fault *fault) {
        struct statfs file_system;
        _cleanup_close_ int fd =
                open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        if (fd < 0 || fstatfs(fd, &file_system) < 0)
                return fault_set_errno(fault, -errno, "/sys");
        if (file_system.f_type != SYSFS_MAGIC)
                return fault_set(fault, -ENODEV, "/sys: is no sysfs");
        int r = mount_source_set_attributes(fd, mount->options.set, 0, MS_PRIVATE, true);
        return r < 0 ? fault_set_errno(fault, r, "/sys") : TAKE_FD(fd);
}

static int make_file_system(const ContainerPlan *plan, const MountPlan *mount, Fault *fault) {
        const char *type = mount->config->type;
        if (string_equal(type, "cgroup"))
                type = "cgroup2";
        _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
        if (fs < 0 && errno == EPERM && string_equal(type, "sysfs") && plan_has_user_namespace(plan))
                return clone_host_sysfs(mount, fault);
        if (fs < 0)
                return fault_set_errno(fault, -errno, "type %s", type);
        Fault refused = FAULT_NULL;
        int r = configure_file_system(fs, plan->config->mount_label, mount, &refused);
        if (r == -EPERM && string_equal(type, "sysfs") && plan_has_user_namespace(plan)) {
                fault_done(&refused);
                return clone_host_sysfs(mount, fault);
        }
        fault_move(fault, &refused);
        if (r < 0)
                return r;
        int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned) mount->options.set);
        return fd < 0 ? file_system_fault(fs, -errno, type, fault) : fd;
}

static bool has_mode(const MountOptions *options) {
        for (size_t i = 0; i < options->data_count; i++)
                if (string_after(options->data[i], "mode="))
                        return true;
        return false;
}

static int copy_up_target(const ContainerPlan *plan, const MountPlan *mount, int target, int made,
                          Fault *fault) {
        int r = copy_up(target, made, plan->proc_fd);
        if (r >= 0 && !has_mode(&mount->options)) {
                _cleanup_close_ int from = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                _cleanup_close_ int to = openat(made, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = from < 0 || to < 0 ? -errno : copy_up_attributes(from, to);
        }
        return r < 0 ? fault_set_errno(fault, r, "options: tmpcopyup of %s", mount->config->destination) : 0;
}

/* What is copied into it needs a writable one; it is read-only afterwards. */
static int make_mount(const ContainerPlan *plan, MountPlan *mount, int target, Fault *fault) {
        MountOptions *options = &mount->options;
        uint64_t later = options->copy_up ? options->set & MOUNT_ATTR_RDONLY : 0;
        options->set &= ~later;
        _cleanup_close_ int fd = make_file_system(plan, mount, fault);
        if (fd < 0)
                return fd;
        int r = options->copy_up ? copy_up_target(plan, mount, target, fd, fault) : 0;
        if (r < 0)
                return r;
        r = mount_source_set_attributes(fd, later, 0, 0, false);
        if (r >= 0)
                r = mount_source_set_attributes(fd, options->recursive_set, options->recursive_clear, 0,
                                                true);
        return r < 0 ? fault_set_errno(fault, r, "options") : TAKE_FD(fd);
}

/* Of what is mounted at the destination already, only attributes are changed. */
static int remount(const ContainerPlan *plan, const MountPlan *mount, Fault *fault) {
        const MountOptions *options = &mount->options;
        const char *path = mount->config->destination;
        _cleanup_close_ int target = path_open(plan->rootfs_fd, path, O_PATH, 0, PATH_IN_ROOT);
        int r = target < 0
                        ? target
                        : mount_source_set_attributes(target, options->set, options->clear,
                                                      options->propagation, options->propagation_recursive);
        if (r >= 0)
                r = mount_source_set_attributes(target, options->recursive_set, options->recursive_clear, 0,
                                                true);
        if (r == -EINVAL)
                return fault_set(fault, r, "%s: nothing is mounted there that could be changed", path);
        return r < 0 ? fault_set_errno(fault, r, "%s", path) : 0;
}

static MountTargetLinks links_of(const MountPlan *mount) {
        return mount->no_links                       ? MOUNT_TARGET_REFUSE
               : mount->options.destination_nofollow ? MOUNT_TARGET_NOFOLLOW
                                                     : MOUNT_TARGET_FOLLOW;
}

static int attach_mount(ContainerPlan *plan, MountPlan *mount, Fault *fault) {
        _cleanup_close_ int target = -EBADF, made = -EBADF;
        if (mount->options.remount)
                return remount(plan, mount, fault);
        if (mount->link)
                return mount_target_make_link(plan->rootfs_fd, mount->config->destination, mount->link,
                                              fault);
        int r = mount_target_open(plan->rootfs_fd, mount->config->destination, mount->directory,
                                  links_of(mount), &target, fault);
        if (r < 0)
                return r;
        made = mount->source_fd >= 0 ? TAKE_FD(mount->source_fd) : make_mount(plan, mount, target, fault);
        if (made < 0)
                return made;
        r = mount_target_attach(target, made);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", mount->config->destination);
        if (!mount->options.bind) {
                r = mount_source_set_attributes(made, 0, 0, mount->options.propagation,
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
