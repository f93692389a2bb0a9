/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/process.h"
#include "runtime/cgroup-driver.h"
#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"
#include "runtime/intel-rdt.h"
#include "runtime/oci-command.h"
#include "runtime/oci-delivery.h"
#include "runtime/oci-hooks.h"
#include "runtime/oci-log.h"
#include "runtime/seccomp-cache.h"
#include "runtime/systemd-scope.h"

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
        return runtime_config_parse_sparing(session->config_text, session->config_size, &session->config,
                                            fault);
}

/* Most often its seccomp program is known, and the rules of the profile need not be read. */
static int complete_config(OciSession *session, Fault *fault) {
        if (!session->config->seccomp)
                return 0;
        session->seccomp_cache = state_file_open_cache(session->root);
        if (!session->config->seccomp->rules_left ||
            seccomp_cache_find(session->seccomp_cache, session->config->seccomp, &session->seccomp))
                return 0;
        session->config = runtime_config_free(session->config);
        return runtime_config_parse(session->config_text, session->config_size, &session->config, fault);
}

int oci_session_connect_console(OciSession *session, Fault *fault) {
        const OciOptions *options = session->options;
        bool terminal = session->config->process.terminal;
        if (!options->console_socket && terminal && session->forwards_terminal)
                return 0;
        if (!options->console_socket && terminal)
                return fault_set(fault, -EINVAL,
                                 "config.process.terminal: the terminal needs a --console-socket to go to");
        if (options->console_socket && !terminal)
                return fault_set(fault, -EINVAL, "--console-socket: the configuration has no terminal");
        if (!terminal)
                return 0;
        session->console = oci_delivery_connect("--console-socket", options->console_socket, fault);
        return session->console < 0 ? session->console : 0;
}

static bool does_without(const OciSession *session, int error) {
        OciRootless rootless = session->options->rootless;
        bool ordinary = rootless == OCI_ROOTLESS_TRUE || (rootless == OCI_ROOTLESS_AUTO && geteuid() != 0);
        return ordinary && !session->options->systemd_cgroup &&
               cgroup_driver_is_dispensable(session->config) &&
               (error == -EACCES || error == -EPERM || error == -EROFS || error == -EOPNOTSUPP);
}

static int try_cgroup(OciSession *session, Fault *fault) {
        const CgroupDriver *driver =
                session->options->systemd_cgroup ? &systemd_scope_driver : &cgroup_driver_direct;
        session->hierarchy = cgroup_open_root(fault);
        if (session->hierarchy < 0)
                return session->hierarchy;
        int r = driver->choose(session->config, session->options->id, &session->cgroup_path, fault);
        if (r < 0)
                return r;
        r = state_file_announce_cgroup(&session->state, session->cgroup_path, fault);
        if (r < 0)
                return r;
        session->cgroup = driver->create(session->hierarchy, session->cgroup_path, session->config,
                                         &session->cgroup_holder, fault);
        if (session->cgroup < 0)
                return session->cgroup;
        return state_file_note_cgroup(&session->state, fault);
}

static int make_cgroup(OciSession *session, Fault *fault) {
        Fault refused = FAULT_NULL;
        int r = try_cgroup(session, &refused);
        if (r < 0 && session->cgroup < 0 && does_without(session, r)) {
                fault_done(&refused);
                return 0;
        }
        fault_move(fault, &refused);
        return r;
}

int oci_session_apply_resources(OciSession *session, Fault *fault) {
        const RuntimeResources *resources = &session->config->resources;
        session->cgroup_holder = process_kill_and_reap(session->cgroup_holder);
        if (session->cgroup < 0)
                return 0;
        return geteuid() == 0 ? cgroup_resources_apply(session->cgroup, resources, fault)
                              : cgroup_resources_update(session->cgroup, resources, fault);
}

int oci_session_make_container(OciSession *session, Fault *fault) {
        session->root = oci_open_root(session->options, fault);
        if (session->root < 0)
                return session->root;
        int r = complete_config(session, fault);
        if (r < 0 ||
            (r = state_file_create(session->root, session->options->id, &session->state, fault)) < 0 ||
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
                .in_scope = session->options->systemd_cgroup && session->cgroup >= 0,
                .in_resctrl = session->in_resctrl,
        };
        return state_file_write(&session->state, &record, fault);
}

/* The process is about to end: to give back each of the thousands of pieces would only touch all of their
 * pages once more. A compiler drops what is only written, and a sanitizer then finds a leak. */
static void forget_config(RuntimeConfig *config) {
        static RuntimeConfig *volatile forgotten;
        forgotten = config;
        (void) forgotten;
}

void oci_session_done(OciSession *session) {
        session->cgroup_holder = process_kill_and_reap(session->cgroup_holder);
        if (session->complete) {
                container_release(session->container);
        } else {
                container_free(session->container);
                if (session->cgroup >= 0)
                        (void) cgroup_remove(session->hierarchy, session->cgroup_path, NULL);
                if (session->container)
                        intel_rdt_remove(session->config, session->options->id);
                if (session->state.directory >= 0)
                        (void) state_file_remove(&session->state);
                /* The first hooks have run: the last ones end what they began. */
                if (session->cloned)
                        oci_hooks_poststop(session->config, session->options->id, session->bundle);
        }
        state_file_done(&session->state);
        forget_config(session->config);
        free(session->config_text);
        free(session->seccomp.filter);
        free(session->bundle);
        free(session->cgroup_path);
        int fds[] = { session->bundle_fd, session->root,          session->hierarchy, session->cgroup,
                      session->start_fd,  session->seccomp_cache, session->result_fd, session->console };
        fd_close_many(fds, ELEMENTS_OF(fds));
}
