/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "runtime/cgroup.h"
#include "runtime/oci-command.h"
#include "runtime/oci-hooks.h"
#include "runtime/oci-log.h"

int oci_session_open_bundle(OciSession *session, Fault *fault) {
        const char *path = session->options->bundle ? session->options->bundle : ".";
        session->bundle_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (session->bundle_fd < 0)
                return fault_set_errno(fault, -errno, "the bundle %s", path);
        session->bundle = realpath(path, NULL);
        if (!session->bundle)
                return fault_set_errno(fault, -errno, "the bundle %s", path);
        _cleanup_close_ int fd = openat(session->bundle_fd, "config.json", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "the bundle's config.json");
        int r = fd_read_all(fd, LIMIT_RUNTIME_CONFIG_SIZE, &session->config_text, &session->config_size);
        if (r < 0)
                return fault_set_errno(fault, r, "the bundle's config.json");
        return runtime_config_parse(session->config_text, session->config_size, &session->config, fault);
}

static int make_cgroup(OciSession *session, Fault *fault) {
        if (session->options->systemd_cgroup)
                return fault_set(fault, -EOPNOTSUPP,
                                 "--systemd-cgroup: the systemd cgroup driver is not supported yet; without "
                                 "this option cgroups are made directly");
        session->hierarchy = cgroup_open_root(fault);
        if (session->hierarchy < 0)
                return session->hierarchy;
        int r = cgroup_choose_path(session->config, session->options->id, &session->cgroup_path, fault);
        if (r < 0)
                return r;
        r = state_file_announce_cgroup(&session->state, session->cgroup_path, fault);
        if (r < 0)
                return r;
        session->cgroup =
                cgroup_create(session->hierarchy, session->cgroup_path, &session->config->resources, fault);
        if (session->cgroup < 0)
                return session->cgroup;
        return state_file_note_cgroup(&session->state, session->cgroup_path, fault);
}

int oci_session_make_container(OciSession *session, Fault *fault) {
        session->root = oci_open_root(session->options, fault);
        if (session->root < 0)
                return session->root;
        if (session->config->seccomp)
                session->seccomp_cache = state_file_open_cache(session->root);
        int r;
        if ((r = state_file_create(session->root, session->options->id, &session->state, fault)) < 0 ||
            (r = state_file_note_bundle(&session->state, session->bundle, fault)) < 0)
                return r;
        return make_cgroup(session, fault);
}

int oci_session_write_state(OciSession *session, pid_t pid, Fault *fault) {
        StateFileRecord record = {
                .config = session->config,
                .bundle = session->bundle,
                .config_text = session->config_text,
                .config_size = session->config_size,
                .pid = pid,
        };
        return state_file_write(&session->state, &record, fault);
}

void oci_session_done(OciSession *session) {
        if (session->complete) {
                container_release(session->container);
        } else {
                container_free(session->container);
                if (session->cgroup >= 0)
                        (void) cgroup_remove(session->hierarchy, session->cgroup_path, NULL);
                if (session->state.directory >= 0)
                        (void) state_file_remove(&session->state);
                /* The first hooks have run: the last ones end what they began. */
                if (session->cloned)
                        oci_hooks_poststop(session->config, session->options->id, session->bundle);
        }
        state_file_done(&session->state);
        runtime_config_free(session->config);
        free(session->config_text);
        free(session->bundle);
        free(session->cgroup_path);
        int fds[] = { session->bundle_fd, session->root,          session->hierarchy, session->cgroup,
                      session->start_fd,  session->seccomp_cache, session->result_fd, session->console };
        fd_close_many(fds, ELEMENTS_OF(fds));
}
