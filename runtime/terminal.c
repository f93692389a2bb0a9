/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/devices.h"
#include "runtime/init-report.h"
#include "runtime/mount-target.h"
#include "runtime/mounts.h"

int terminal_prepare(const ContainerPlan *plan, Fault *fault) {
        if (!plan->config->process.terminal)
                return 0;
        for (size_t i = 0; i < plan->mount_count; i++)
                if (string_equal(plan->mounts[i].config->type, "devpts") &&
                    mounts_have(plan, "/dev/pts", false))
                        return 0;
        return fault_set(fault, -EINVAL,
                         "config.process.terminal: needs a devpts file system at /dev/pts in config.mounts");
}

/* What an image has at that name is not opened: of a device that alone can have effects. */
static int open_console(int dev) {
        struct stat st;
        _cleanup_close_ int fd = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
                fd = openat(dev, "console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        return S_ISLNK(st.st_mode) ? -ELOOP : TAKE_FD(fd);
}

static int put_on_console(ContainerPlan *plan, int slave, Fault *fault) {
        _cleanup_close_ int dev = devices_open_directory(plan, fault);
        if (dev < 0)
                return dev;
        _cleanup_close_ int file = open_console(dev);
        if (file < 0)
                return fault_set_errno(fault, file, "/dev/console");
        _cleanup_close_ int clone =
                open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        int r = clone < 0 ? -errno : mount_target_attach(file, clone);
        return r < 0 ? fault_set_errno(fault, r, "/dev/console") : 0;
}

/* Master and slave come from the mount itself, by descriptor: no path in the container is trusted. */
static int open_pair(ContainerPlan *plan, int *ret_master, int *ret_slave, Fault *fault) {
        int unlock = 0;
        _cleanup_close_ int master = openat(plan->devpts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (master < 0)
                return fault_set_errno(fault, -errno, "/dev/pts/ptmx");
        if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
                return -errno;
        int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                return fault_set_errno(fault, -errno, "the terminal's slave side");
        *ret_master = TAKE_FD(master);
        *ret_slave = slave;
        return 0;
}

static int set_up_pair(ContainerPlan *plan, int *ret_master, int *ret_slave, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        int r = open_pair(plan, ret_master, ret_slave, fault);
        if (r < 0)
                return r;
        if (process->console_height && process->console_width) {
                struct winsize size = { .ws_row = process->console_height,
                                        .ws_col = process->console_width };
                if (ioctl(*ret_slave, TIOCSWINSZ, &size) < 0)
                        return fault_set_errno(fault, -errno, "config.process.consoleSize");
        }
        if (fchown(*ret_slave, process->uid, (gid_t) -1) < 0)
                return fault_set_errno(fault, -errno, "giving the terminal to user %u", process->uid);
        return 0;
}

static int send_master(ContainerPlan *plan, int master) {
        InitReport report = init_report_make(INIT_REPORT_TERMINAL, "terminal", 0, "");
        return message_send(plan->init_socket, &report, sizeof(report), &master, 1);
}

int terminal_step_open(ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int master = -EBADF, slave = -EBADF;
        if (!plan->config->process.terminal)
                return 0;
        int r = set_up_pair(plan, &master, &slave, fault);
        if (r >= 0)
                r = put_on_console(plan, slave, fault);
        if (r >= 0)
                r = send_master(plan, master);
        if (r >= 0)
                plan->terminal_fd = TAKE_FD(slave);
        return r;
}

/* The container's processes may have put anything there since it was made. */
static int find_devpts(const ContainerPlan *plan, Fault *fault) {
        struct statfs file_system;
        _cleanup_close_ int fd =
                path_open(plan->rootfs_fd, "/dev/pts", O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
        if (fd < 0)
                return fault_set_errno(fault, fd, "a terminal: /dev/pts of the container");
        if (fstatfs(fd, &file_system) < 0)
                return -errno;
        if (file_system.f_type != DEVPTS_SUPER_MAGIC)
                return fault_set(fault, -ENODEV, "a terminal: the container's /dev/pts is not devpts");
        return TAKE_FD(fd);
}

int terminal_step_open_another(ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int master = -EBADF, slave = -EBADF;
        if (!plan->config->process.terminal)
                return 0;
        plan->devpts_fd = find_devpts(plan, fault);
        if (plan->devpts_fd < 0)
                return plan->devpts_fd;
        int r = set_up_pair(plan, &master, &slave, fault);
        if (r >= 0)
                r = send_master(plan, master);
        if (r >= 0)
                plan->terminal_fd = TAKE_FD(slave);
        return r;
}
