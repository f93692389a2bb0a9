/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/net-devices.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/init-report.h"
#include "runtime/net-link.h"

int net_devices_prepare(const ContainerPlan *plan, Fault *fault) {
        if (plan->config->net_device_count == 0)
                return 0;
        if (!plan->config->namespaces[RUNTIME_NAMESPACE_NETWORK].wanted)
                return fault_set(fault, -EINVAL,
                                 "config.linux.netDevices: needs a network namespace in linux.namespaces");
        for (size_t i = 0; i < plan->config->net_device_count; i++)
                if (if_nametoindex(plan->config->net_devices[i].name) == 0)
                        return fault_set_errno(fault, -errno, "config.linux.netDevices.%s",
                                               plan->config->net_devices[i].name);
        return 0;
}

static bool is_in(const struct if_nameindex *links, unsigned index) {
        for (const struct if_nameindex *l = links; l && l->if_index != 0; l++)
                if (l->if_index == index)
                        return true;
        return false;
}

/* What was not there before: for a name that is a pattern, and for what has moved but not got its name. */
static unsigned find_new(const struct if_nameindex *before) {
        struct if_nameindex *after = if_nameindex();
        unsigned found = 0;
        for (const struct if_nameindex *l = after; l && l->if_index != 0 && found == 0; l++)
                if (!is_in(before, l->if_index))
                        found = l->if_index;
        if_freenameindex(after);
        return found;
}

/* The caller is in the namespace that the interface comes to; from is a socket in the one that it leaves.
 * *moved is set as soon as it has arrived, even if that was not all. */
static int move_one(unsigned index, const char *name, int from, int to, unsigned *moved, Fault *fault) {
        _cleanup_free_ NetLinkAddress *addresses = NULL;
        size_t count = 0;
        int r = net_link_get_addresses(from, index, &addresses, &count);
        if (r < 0)
                return fault_set_errno(fault, r, "its addresses");
        _cleanup_close_ int here = net_link_open();
        struct if_nameindex *before = here < 0 ? NULL : if_nameindex();
        if (!before)
                return fault_set_errno(fault, -errno, "the interfaces that are there");
        r = net_link_move(from, index, to, name);
        /* Its number may be another one there. Others may make interfaces there, too: names are surer. */
        *moved = r >= 0 && !strchr(name, '%') ? if_nametoindex(name) : find_new(before);
        if_freenameindex(before);
        if (r < 0)
                (void) fault_set_errno(fault, r, "moving it to %s", name);
        if (r >= 0 && *moved == 0)
                return fault_set(fault, -ENODEV, "is not there after its move");
        /* Also when it could not be renamed: then it goes back, with them. */
        for (size_t i = 0; i < count && *moved != 0; i++) {
                int error = net_link_add_address(here, *moved, &addresses[i]);
                if (error < 0 && r >= 0)
                        r = fault_set_errno(fault, error, "giving it its address again");
        }
        if (r < 0)
                return r;
        r = net_link_set_up(here, *moved);
        return r < 0 ? fault_set_errno(fault, r, "setting it up") : 0;
}

/* Virtual interfaces end with their namespace: what has moved for nothing comes back under its name. */
static void move_back(const ContainerPlan *plan, int original, int namespace, const unsigned *moved) {
        if (setns(namespace, CLONE_NEWNET) < 0)
                return;
        _cleanup_close_ int from = net_link_open();
        if (from < 0 || setns(original, CLONE_NEWNET) < 0)
                return;
        for (size_t i = 0; i < plan->config->net_device_count; i++) {
                unsigned arrived;
                if (moved[i] != 0)
                        (void) move_one(moved[i], plan->config->net_devices[i].name, from, original,
                                        &arrived, NULL);
        }
}

static int move_all(const ContainerPlan *plan, int original, int namespace, unsigned *moved, Fault *fault) {
        _cleanup_close_ int from = net_link_open();
        _cleanup_free_ unsigned *indexes = new0(unsigned, plan->config->net_device_count);
        if (from < 0 || !indexes)
                return from < 0 ? from : -ENOMEM;
        for (size_t i = 0; i < plan->config->net_device_count; i++)
                indexes[i] = if_nametoindex(plan->config->net_devices[i].name);
        if (setns(namespace, CLONE_NEWNET) < 0)
                return fault_set_errno(fault, -errno, "the container's network namespace");
        for (size_t i = 0; i < plan->config->net_device_count; i++) {
                const RuntimeNetDevice *device = &plan->config->net_devices[i];
                int r = move_one(indexes[i], device->new_name, from, namespace, &moved[i], fault);
                if (r < 0) {
                        move_back(plan, original, namespace, moved);
                        return fault_prefix(fault, r, "config.linux.netDevices.%s", device->name);
                }
        }
        return 0;
}

/* A child does all that happens in another namespace: this process never leaves its own. */
static int in_child(ContainerPlan *plan, bool back, Fault *fault) {
        size_t size = plan->config->net_device_count * sizeof(unsigned);
        int answer[2];
        _cleanup_close_ int original = openat(plan->proc_fd, "self/ns/net", O_RDONLY | O_CLOEXEC);
        if (original < 0 || pipe2(answer, O_CLOEXEC) < 0)
                return -errno;
        pid_t child = fork();
        if (child == 0) {
                Fault own = FAULT_NULL;
                int r = 0;
                if (back)
                        move_back(plan, original, plan->net_namespace_fd, plan->moved_net_devices);
                else
                        r = move_all(plan, original, plan->net_namespace_fd, plan->moved_net_devices, &own);
                InitReport report = init_report_make(r < 0 ? INIT_REPORT_FAILED : INIT_REPORT_READY,
                                                     "network devices", r, r < 0 ? fault_text(&own, r) : "");
                (void) fd_write_all(answer[1], &report, sizeof(report));
                (void) fd_write_all(answer[1], plan->moved_net_devices, size);
                _exit(EXIT_SUCCESS);
        }
        int r = child < 0 ? -errno : 0;
        fd_close(answer[1]);
        InitReport report;
        bool whole = r >= 0 && fd_read_full(answer[0], &report, sizeof(report)) == sizeof(report) &&
                     fd_read_full(answer[0], plan->moved_net_devices, size) == (ssize_t) size;
        fd_close(answer[0]);
        if (child > 0)
                while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                        ;
        if (!whole)
                return fault_set_errno(fault, r < 0 ? r : -EIO, "moving network devices");
        return report.kind == INIT_REPORT_READY ? 0 : init_report_to_fault(&report, fault);
}

int net_devices_move(ContainerPlan *plan, pid_t pid, Fault *fault) {
        char path[64];
        if (plan->config->net_device_count == 0)
                return 0;
        (void) snprintf(path, sizeof(path), "%i/ns/net", pid);
        int joined = plan->namespace_fds[RUNTIME_NAMESPACE_NETWORK];
        int namespace =
                joined >= 0 ? fd_duplicate(joined) : openat(plan->proc_fd, path, O_RDONLY | O_CLOEXEC);
        plan->moved_net_devices = new0(unsigned, plan->config->net_device_count);
        if (namespace < 0 || !plan->moved_net_devices)
                return fault_set_errno(fault, namespace < 0 ? -errno : -ENOMEM,
                                       "the container's network namespace");
        plan->net_namespace_fd = namespace;
        int r = in_child(plan, false, fault);
        if (r < 0)
                plan->moved_net_devices = mfree(plan->moved_net_devices);
        return r;
}

void net_devices_take_back(ContainerPlan *plan) {
        if (plan->moved_net_devices)
                (void) in_child(plan, true, NULL);
}

void net_devices_done(ContainerPlan *plan) {
        fd_close(plan->net_namespace_fd);
        free(plan->moved_net_devices);
}
