/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bus/options.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

typedef struct MountOptions {
        bool read_only, is_volatile, bound;
        const char *users;
        char **uids, **gids;
} MountOptions;

/* CONTAINER:HOST:COUNT, as podman and the OCI runtime specification have it. */
static int parse_range(const char *text, uint32_t ret[3], Fault *fault) {
        _cleanup_free_ char *copy = strdup(text);
        char *rest = copy;
        uint64_t number;
        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < 3; i++) {
                const char *part = strsep(&rest, ":");
                if (!part || string_to_uint64(part, UINT32_MAX, &number) < 0)
                        return fault_set(fault, -EINVAL, "CONTAINER:HOST:COUNT is expected");
                ret[i] = (uint32_t) number;
        }
        return rest ? fault_set(fault, -EINVAL, "CONTAINER:HOST:COUNT is expected") : 0;
}

static int append_map(sd_bus_message *message, const char *option, char *const *ranges, Fault *fault) {
        uint32_t range[3];
        if (!ranges)
                return 0;
        int r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", option);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', "a(uuu)");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(uuu)");
        for (; r >= 0 && *ranges; ranges++) {
                r = parse_range(*ranges, range, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "--%s=%s", option, *ranges);
                r = sd_bus_message_append(message, "(uuu)", range[0], range[1], range[2]);
        }
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(message);
        return r;
}

/* That of a process, or a file such as those that ip-netns(8) and the like bind them to. */
static int append_users(sd_bus_message *message, const char *users, Fault *fault) {
        char path[64];
        uint64_t process;
        if (!users)
                return 0;
        bool by_number = string_to_uint64(users, INT32_MAX, &process) >= 0;
        if (by_number)
                (void) snprintf(path, sizeof(path), "/proc/%i/ns/user", (int) process);
        _cleanup_close_ int fd =
                open(by_number ? path : users, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "--userns=%s", users);
        return bus_append_entry(message, "userns", "h", fd);
}

static int append_mount_options(sd_bus_message *message, const MountOptions *options, Fault *fault) {
        int r = 0;
        if (options->read_only)
                r = bus_append_entry(message, "read-only", "b", 1);
        if (r >= 0 && options->is_volatile)
                r = bus_append_entry(message, "volatile", "b", 1);
        if (r >= 0 && options->bound)
                r = bus_append_entry(message, "bound", "b", 1);
        if (r >= 0)
                r = append_users(message, options->users, fault);
        if (r >= 0)
                r = append_map(message, "uid-map", options->uids, fault);
        return r < 0 ? r : append_map(message, "gid-map", options->gids, fault);
}

static int attach(int mount, const char *directory, Fault *fault) {
        if (move_mount(mount, "", AT_FDCWD, directory, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return fault_set_errno(fault, -errno, "cannot mount on %s", directory);
        return 0;
}

static int run_snapshot_mount(Context *context, void *options, char **operands, Fault *fault) {
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        int mount;

        int r = client_new_call(client, &target_snapshots, "Mount", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", operands[0]);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_mount_options(message, options, fault);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &mount);
        if (r >= 0)
                r = attach(mount, operands[1], fault);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

static const Argument mount_arguments[] = {
        { "read-only", 'r', NULL, "Even if it is writable", offsetof(MountOptions, read_only) },
        { "volatile", 0, NULL, "What is written need not survive a crash",
          offsetof(MountOptions, is_volatile) },
        { "bound", 0, NULL, "Remove the snapshot when the mount is gone (a view: at once)",
          offsetof(MountOptions, bound) },
        { "uid-map", 0, "CONTAINER:HOST:COUNT", "Show owners mapped so; may be given several times",
          offsetof(MountOptions, uids), argument_list },
        { "gid-map", 0, "CONTAINER:HOST:COUNT", "The same for groups", offsetof(MountOptions, gids),
          argument_list },
        { "userns", 0, "PID|FILE", "Show owners as this user namespace has them",
          offsetof(MountOptions, users) },
        {},
};

const Verb verb_snapshot_mount = {
        .name = "snapshot mount",
        .operands = "KEY DIRECTORY",
        .help = "Mount a writable tree or a view, until umount(8)",
        .arguments = mount_arguments,
        .options_size = sizeof(MountOptions),
        .operands_min = 2,
        .operands_max = 2,
        .run = run_snapshot_mount,
};
