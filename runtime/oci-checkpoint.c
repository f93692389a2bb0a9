/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* checkpoint: a container that runs becomes files, out of which restore makes it again. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/oci-command.h"
#include "runtime/oci-criu.h"
#include "runtime/oci-log.h"
#include "runtime/oci-output.h"
#include "runtime/oci-process.h"

/* What 0, 1 and 2 of init are, for restore to put its own there: runc's descriptors.json. */
static int write_descriptors(const OciCriu *criu, pid_t pid, Fault *fault) {
        _cleanup_json_ json_object *list = json_object_new_array();
        char path[64], target[PATH_MAX];
        if (!list)
                return -ENOMEM;
        for (int i = 0; i < 3; i++) {
                (void) snprintf(path, sizeof(path), "/proc/%i/fd/%i", pid, i);
                ssize_t n = readlink(path, target, sizeof(target) - 1);
                target[MAX_OF(n, 0)] = '\0';
                if (json_object_array_add(list, json_object_new_string(target)) < 0)
                        return -ENOMEM;
        }
        const char *text = json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN |
                                                                        JSON_C_TO_STRING_NOSLASHESCAPE);
        _cleanup_close_ int directory = open(criu->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = !text ? -ENOMEM
                : directory < 0
                        ? -errno
                        : fd_replace_file_at(directory, "descriptors.json", text, strlen(text), 0600);
        return r < 0 ? fault_set_errno(fault, r, "%s/descriptors.json", criu->images_path) : 0;
}

/* "ADDRESS:PORT" */
static int add_page_server(OciCriu *criu, const char *server, Fault *fault) {
        const char *port = server ? strrchr(server, ':') : NULL;
        uint64_t number;
        if (!server)
                return 0;
        if (!port || port == server || string_to_uint64(port + 1, 65535, &number) < 0 || number == 0)
                return fault_set(fault, -EINVAL, "--page-server: '%s' is not ADDRESS:PORT", server);
        _cleanup_free_ char *address = strndup(server, (size_t) (port - server));
        if (!address)
                return -ENOMEM;
        criu_message_add_pair(&criu->options, CRIU_PAGE_SERVER, address, number);
        return 0;
}

static int add_status_fd(OciCriu *criu, const char *text, Fault *fault) {
        uint64_t fd;
        if (string_to_uint64(text, INT_MAX, &fd) < 0 || !oci_process_is_inherited((int) fd))
                return fault_set(fault, -EINVAL, "--status-fd: '%s' is not an open descriptor", text);
        criu_message_add_number(&criu->options, CRIU_STATUS_FD, fd);
        return 0;
}

static int add_dump_options(OciCriu *criu, const OciOptions *options, const StateFile *state, pid_t pid,
                            Fault *fault) {
        const OciCheckpointOptions *given = &options->checkpoint;
        _cleanup_free_ char *path = NULL, *cgroup = NULL;
        const char *rootfs = state_file_get_string(state, "rootfs");
        int r = state_file_read_cgroup(state, &path);
        if (r < 0)
                return r;
        if (asprintf(&cgroup, "/sys/fs/cgroup/%s", path) < 0)
                return -ENOMEM;
        criu_message_add_number(&criu->options, CRIU_PID, (unsigned) pid);
        criu_message_add_text(&criu->options, CRIU_FREEZE_CGROUP, cgroup);
        if (rootfs)
                criu_message_add_text(&criu->options, CRIU_ROOT, rootfs);
        if (given->parent_path)
                criu_message_add_text(&criu->options, CRIU_PARENT_IMAGES, given->parent_path);
        if (given->pre_dump || given->parent_path)
                criu_message_add_number(&criu->options, CRIU_TRACK_MEMORY, 1);
        r = given->status_fd ? add_status_fd(criu, given->status_fd, fault) : 0;
        return r < 0 ? r : add_page_server(criu, given->page_server, fault);
}

static int dump(const OciOptions *options, StateFile *state, pid_t pid, Fault *fault) {
        _cleanup_(oci_criu_done) OciCriu criu = OCI_CRIU_INIT;
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        int r;
        if ((r = state_file_read_config(state, true, &config, fault)) < 0 ||
            (r = oci_criu_begin(&criu, options, options->checkpoint.pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP,
                                fault)) < 0 ||
            (r = add_dump_options(&criu, options, state, pid, fault)) < 0 ||
            (r = oci_criu_add_mounts(&criu, config, pid, fault)) < 0 ||
            (r = write_descriptors(&criu, pid, fault)) < 0 || (r = oci_criu_start(&criu, fault)) < 0)
                return r;
        return oci_criu_run(&criu, NULL, fault);
}

int oci_checkpoint(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_close_ int root = -EBADF;
        int r = oci_open_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        ContainerStatus status = state_file_status(&state);
        if (status != CONTAINER_RUNNING)
                return fault_set(fault, -EBUSY, "container '%s' is %s, not running", options->id,
                                 container_status_to_string(status));
        r = dump(options, &state, state_file_pid(&state, status), fault);
        if (r < 0)
                return fault_prefix(fault, r, "container '%s'", options->id);
        if (options->checkpoint.leave_running || options->checkpoint.pre_dump)
                return 0;
        return oci_remove_container(&state, fault);
}
