/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's start: from the message GO to a running container. All that is read for it is freed
 * again. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "runtime/container.h"
#include "runtime/device-filter.h"
#include "services/tasks/payload-cgroup.h"
#include "services/tasks/spec.h"
#include "services/tasks/supervisor-user.h"
#include "services/tasks/supervisor.h"

#define STATUS_NOT_SET_UP 125
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127
#define CAP_MASK_NONE UINT64_C(0)

/* What a start holds beside the configuration, whose strings are borrowed. */
typedef struct Start {
        Supervisor *supervisor;
        RuntimeConfig *config;
        int mount;
        int standard[3];
        char *home;     /* HOME=… */
        char **sources; /* of mounts by descriptor */
} Start;

static void start_done(Start *start) {
        start->config = runtime_config_free(start->config);
        fd_close(start->mount);
        fd_close_many(start->standard, 3);
        free(start->home);
        strv_free(start->sources);
}

/* While the service waits for others: a configuration that cannot be read is a matter of GO. */
void supervisor_prepare(Supervisor *supervisor) {
        _cleanup_close_ int fd =
                openat(supervisor->directory, RUN_CONFIG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                (void) fault_set_errno(&supervisor->config_fault, -errno, "%s", RUN_CONFIG);
        else
                (void) runtime_config_parse_fd(fd, &supervisor->config, &supervisor->config_fault);
}

static int take_config(Start *start, Fault *fault) {
        Supervisor *supervisor = start->supervisor;
        int error = supervisor->config_fault.error;
        start->config = TAKE_PTR(supervisor->config);
        fault_move(fault, &supervisor->config_fault);
        return start->config ? 0 : MIN_OF(error, -EIO);
}

static const char *find_annotation(const RuntimeConfig *config, const char *key) {
        for (size_t i = 0; i < config->annotation_count; i++)
                if (strcmp(config->annotations[i].key, key) == 0)
                        return config->annotations[i].value;
        return NULL;
}

static int add_home(Start *start, const char *home) {
        RuntimeProcess *process = &start->config->process;
        if (strv_get_environment(process->env, "HOME"))
                return 0;
        if (asprintf(&start->home, "HOME=%s", home) < 0) {
                start->home = NULL;
                return -ENOMEM;
        }
        size_t count = 0;
        while (process->env && process->env[count])
                count++;
        const char **larger = realloc(process->env, (count + 2) * sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        larger[count] = start->home;
        larger[count + 1] = NULL;
        process->env = larger;
        return 0;
}

/* Names are looked up where they mean something: in the image. Whoever turns out not to be root has no
 * capabilities. */
static int resolve_user(Start *start, Fault *fault) {
        _cleanup_(user_identity_done) UserIdentity identity = { 0 };
        RuntimeProcess *process = &start->config->process;
        const char *user = find_annotation(start->config, SPEC_USER_ANNOTATION);

        int r = user_resolve(start->mount, user ? user : "0", &identity, fault);
        if (r < 0)
                return r;
        process->uid = identity.uid;
        process->gid = identity.gid;
        free(process->additional_gids);
        process->additional_gids = TAKE_PTR(identity.groups);
        process->additional_gid_count = identity.group_count;
        if (identity.uid != 0) {
                RuntimeCapabilities *capabilities = &process->capabilities;
                capabilities->effective = capabilities->permitted = CAP_MASK_NONE;
                capabilities->inheritable = capabilities->ambient = CAP_MASK_NONE;
        }
        return add_home(start, identity.home ? identity.home : "/");
}

/* Where this machine's own limits are lower than the defaults, and cannot be raised, they count. */
static void clamp_limits(const Start *start) {
        RuntimeProcess *process = &start->config->process;
        for (size_t i = 0; i < process->rlimit_count; i++) {
                RuntimeRlimit *limit = &process->rlimits[i];
                struct rlimit own;
                if (getrlimit(limit->resource, &own) < 0)
                        continue;
                limit->hard = MIN_OF(limit->hard, own.rlim_max);
                limit->soft = MIN_OF(limit->soft, limit->hard);
        }
}

/* Mounts whose source came as a descriptor. */
static int insert_descriptors(Start *start, Fault *fault) {
        for (size_t i = 0; i < start->config->mount_count; i++) {
                RuntimeMount *mount = &start->config->mounts[i];
                const char *number =
                        mount->source ? string_after(mount->source, SPEC_DESCRIPTOR_SOURCE) : NULL;
                uint64_t index;
                if (!number)
                        continue;
                if (string_to_uint64(number, SUPERVISOR_DESCRIPTORS_MAX, &index) < 0 ||
                    index >= start->supervisor->descriptor_count)
                        return fault_set(fault, -EINVAL, "the source of %s was not handed over",
                                         mount->destination);
                if (strv_appendf(&start->sources, "/proc/self/fd/%i",
                                 start->supervisor->descriptors[index]) < 0)
                        return -ENOMEM;
                mount->source = start->sources[strv_length(start->sources) - 1];
        }
        return 0;
}

/* What was not handed in: an empty stdin, and pipes that lead into the journal. */
static int open_streams(Start *start, Fault *fault) {
        Supervisor *supervisor = start->supervisor;
        int r = 0;
        if (start->config->process.terminal)
                return 0;
        if (start->standard[0] < 0) {
                start->standard[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (start->standard[0] < 0)
                        return fault_set_errno(fault, -errno, "/dev/null");
        }
        if (start->standard[1] < 0 || start->standard[2] < 0)
                r = journal_open(&supervisor->journal);
        for (size_t i = 0; r >= 0 && i < JOURNAL_STREAMS; i++)
                if (start->standard[i + 1] < 0)
                        r = journal_add_stream(&supervisor->journal, i, supervisor->namespace,
                                               supervisor->id, &start->standard[i + 1]);
        return r < 0 ? fault_set_errno(fault, r, "a pipe into the journal") : 0;
}

static int take_descriptors(Start *start, const SupervisorMessage *go, int *fds, size_t count,
                            Fault *fault) {
        size_t next = 0;
        if (count > 0)
                start->mount = TAKE_FD(fds[next++]);
        for (unsigned i = 0; i < 3; i++)
                if (go->flags & (SUPERVISOR_STDIN << i)) {
                        if (next >= count)
                                break;
                        start->standard[i] = TAKE_FD(fds[next++]);
                }
        return start->mount < 0 ? fault_set(fault, -EINVAL, "no root file system was handed over") : 0;
}

/* A process record first: once the program runs, the service must be able to find it, whatever happens here.
 */
static int start_container(Start *start, const SupervisorMessage *go, Container **ret, Fault *fault) {
        Supervisor *supervisor = start->supervisor;
        ContainerRequest request = CONTAINER_REQUEST_INIT;
        _cleanup_(container_freep) Container *container = NULL;
        RunProcess process;

        if (go->rows > 0 && go->columns > 0) {
                start->config->process.console_height = (uint16_t) MIN_OF(go->rows, UINT16_MAX);
                start->config->process.console_width = (uint16_t) MIN_OF(go->columns, UINT16_MAX);
        }
        request.config = start->config;
        request.bundle_fd = supervisor->directory;
        request.rootfs_fd = start->mount;
        request.cgroup_fd = supervisor->payload_cgroup;
        request.seccomp_cache_fd = supervisor->cache;
        memcpy(request.standard, start->standard, sizeof(request.standard));
        int r = container_create(&request, &container, fault);
        if (r >= 0)
                r = run_process_of(container_pid(container), &process);
        if (r >= 0)
                r = run_process_write(supervisor->directory, RUN_PAYLOAD, &process);
        if (r < 0)
                return r;
        supervisor->terminal = container_take_terminal(container);
        r = container_start(container, fault);
        if (r < 0) {
                (void) unlinkat(supervisor->directory, RUN_PAYLOAD, 0);
                return r;
        }
        *ret = TAKE_PTR(container);
        return 0;
}

static int make_payload_cgroup(Supervisor *supervisor, const RuntimeConfig *config, int *ret_scope,
                               Fault *fault) {
        _cleanup_close_ int scope = cgroup_open_own();
        if (scope < 0)
                return fault_set_errno(fault, scope, "the cgroup of the scope");
        supervisor->payload_cgroup = payload_cgroup_make(scope);
        if (supervisor->payload_cgroup < 0)
                return fault_set_errno(fault, supervisor->payload_cgroup, "the cgroup of the container");
        *ret_scope = TAKE_FD(scope);
        return device_filter_attach(supervisor->payload_cgroup, config->resources.device_rules,
                                    config->resources.device_rule_count, fault);
}

/* As a shell says it: the command is not there, is there but cannot be executed; or anything else. */
static int status_of_failure(const Fault *fault, int r) {
        if (!fault->text || !strstr(fault->text, "process.args"))
                return STATUS_NOT_SET_UP;
        return r == -ENOENT || r == -ENOTDIR ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

int supervisor_start(Supervisor *supervisor, const SupervisorMessage *go, int *fds, size_t fd_count,
                     int *ret_status, Fault *fault) {
        _cleanup_(start_done) Start start = {
                .supervisor = supervisor,
                .mount = -EBADF,
                .standard = { -EBADF, -EBADF, -EBADF },
        };
        _cleanup_(container_freep) Container *container = NULL;
        _cleanup_close_ int scope = -EBADF;

        int r = take_descriptors(&start, go, fds, fd_count, fault);
        if (r >= 0)
                r = take_config(&start, fault);
        if (r >= 0)
                r = resolve_user(&start, fault);
        if (r >= 0) {
                clamp_limits(&start);
                r = insert_descriptors(&start, fault);
        }
        if (r >= 0)
                r = open_streams(&start, fault);
        if (r >= 0)
                r = make_payload_cgroup(supervisor, start.config, &scope, fault);
        if (r >= 0)
                r = start_container(&start, go, &container, fault);
        if (r >= 0) {
                supervisor->payload = fd_duplicate(container_pidfd(container));
                r = supervisor->payload;
        }
        if (r < 0) {
                *ret_status = status_of_failure(fault, r);
                return r;
        }
        supervisor->scope = TAKE_FD(scope);
        supervisor->started = true;
        supervisor_announce(supervisor);
        return 0;
}
