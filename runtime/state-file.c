/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/state-file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/state-file-facts.h"

#define STATE_NAME "state.json"
#define WRITTEN_NAME STATE_NAME "~"
#define CONFIG_NAME "config.json"
#define CGROUP_NAME "cgroup"
#define BUNDLE_NAME "bundle"
#define CACHE_NAME ".seccomp"
#define KILLED_TIMEOUT_MS 500
#define STATE_SIZE_MAX (16U * 1024U * 1024U)

const char *container_status_to_string(ContainerStatus status) {
        static const char *const names[] = {
                [CONTAINER_CREATING] = "creating", [CONTAINER_CREATED] = "created",
                [CONTAINER_RUNNING] = "running",   [CONTAINER_PAUSED] = "paused",
                [CONTAINER_STOPPED] = "stopped",
        };
        return names[status];
}

/* runc's rule: letters, digits, '_', '+', '-' and '.'. A leading '.' is ours. */
static int check_id(const char *id, Fault *fault) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
        size_t length = strlen(id);
        if (length == 0 || length > STATE_FILE_ID_MAX || id[0] == '.' || strspn(id, allowed) != length ||
            !path_is_component(id))
                return fault_set(
                        fault, -EINVAL,
                        "'%.64s' is not a container's name: letters, digits, '_', '+', '-' and '.', "
                        "not first",
                        id);
        return 0;
}

int state_file_open_root(const char *path, Fault *fault) {
        if (path[0] != '/')
                return fault_set(fault, -EINVAL, "--root: '%s' is not an absolute path", path);
        _cleanup_close_ int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (slash < 0)
                return -errno;
        _cleanup_close_ int directory = path_make_directories(slash, path, 0700, PATH_IN_ROOT);
        if (directory < 0)
                return fault_set_errno(fault, directory, "--root: %s", path);
        int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? fault_set_errno(fault, -errno, "--root: %s", path) : fd;
}

int state_file_open_cache(int root) {
        if (mkdirat(root, CACHE_NAME, 0700) < 0 && errno != EEXIST)
                return -EBADF;
        int fd = openat(root, CACHE_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -EBADF : fd;
}

void state_file_unlock(StateFile *state) {
        (void) flock(state->directory, LOCK_UN);
}

int state_file_lock(StateFile *state) {
        struct stat st;
        int r;
        do
                r = flock(state->directory, LOCK_EX);
        while (r < 0 && errno == EINTR);
        if (r < 0 || fstat(state->directory, &st) < 0)
                return -errno;
        /* Whoever had the lock may have deleted the container. */
        return st.st_nlink > 0 ? 0 : -ENOENT;
}

/* While a process creates the container it has a record lock, too, which ends with that process: other than
 * the lock of the directory, which init has inherited, it tells whether there still is somebody. */
static void mark_creation(const StateFile *state, bool creates) {
        struct flock record = { .l_type = creates ? F_RDLCK : F_UNLCK, .l_whence = SEEK_SET };
        (void) fcntl(state->directory, F_SETLK, &record);
}

static bool ends_soon(pid_t pid) {
        _cleanup_close_ int pidfd = pid > 0 ? process_open_pidfd(pid) : -EBADF;
        struct pollfd ended = { .fd = pidfd, .events = POLLIN };
        return pidfd == -ESRCH || (pidfd >= 0 && poll(&ended, 1, KILLED_TIMEOUT_MS) > 0);
}

/* Whoever creates it may wait for this process, and does if that is a hook of its own: nobody waits for
 * that. But it may also have been killed a moment ago. */
static int lock_unless_being_created(StateFile *state) {
        struct flock record = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (flock(state->directory, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
            fcntl(state->directory, F_GETLK, &record) >= 0 && record.l_type != F_UNLCK &&
            (process_is_ancestor(record.l_pid) || !ends_soon(record.l_pid)))
                return -EINPROGRESS;
        return state_file_lock(state);
}

static int open_directory(int root, const char *id, int (*lock)(StateFile *state), StateFile *ret) {
        StateFile state = STATE_FILE_INIT;
        state.directory = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = state.directory < 0 ? -errno : lock ? lock(&state) : 0;
        if (r >= 0) {
                state.root = root;
                state.id = strdup(id);
                r = state.id ? 0 : -ENOMEM;
        }
        if (r < 0) {
                state_file_done(&state);
                return r;
        }
        *ret = state;
        return 0;
}

int state_file_create(int root, const char *id, StateFile *ret, Fault *fault) {
        int r = check_id(id, fault);
        if (r < 0)
                return r;
        if (mkdirat(root, id, 0700) < 0) {
                if (errno == EEXIST)
                        return fault_set(fault, -EEXIST, "a container '%s' exists already", id);
                return fault_set_errno(fault, -errno, "container '%s'", id);
        }
        r = open_directory(root, id, state_file_lock, ret);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s'", id);
        mark_creation(ret, true);
        return 0;
}

int state_file_make_pipes(StateFile *state, Fault *fault) {
        if (mkfifoat(state->directory, STATE_FILE_START, 0600) < 0 ||
            mkfifoat(state->directory, STATE_FILE_RESULT, 0600) < 0)
                return fault_set_errno(fault, -errno, "container '%s'", state->id);
        return 0;
}

static int open_state(int root, const char *id, bool lock, StateFile *ret, Fault *fault) {
        int r = check_id(id, fault);
        if (r < 0)
                return r;
        StateFile state = STATE_FILE_INIT;
        r = open_directory(root, id, lock ? lock_unless_being_created : NULL, &state);
        if (r == -ENOENT)
                return fault_set(fault, r, "container '%s' does not exist", id);
        if (r == -EINPROGRESS)
                return fault_set(fault, -EBUSY, "container '%s' is being created", id);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s'", id);

        _cleanup_close_ int fd = openat(state.directory, STATE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
                r = json_parse_fd(fd, STATE_SIZE_MAX, "state", &state.document, fault);
        else if (errno != ENOENT)
                r = fault_set_errno(fault, -errno, "container '%s'", id);
        if (r < 0) {
                state_file_done(&state);
                return r;
        }
        *ret = state;
        return 0;
}

int state_file_open(int root, const char *id, StateFile *ret, Fault *fault) {
        return open_state(root, id, true, ret, fault);
}

int state_file_peek(int root, const char *id, StateFile *ret, Fault *fault) {
        return open_state(root, id, false, ret, fault);
}

void state_file_done(StateFile *state) {
        fd_close(state->directory);
        free(state->id);
        json_document_free(state->document);
        *state = STATE_FILE_INIT;
}

static int add(json_object *object, const char *key, json_object *value) {
        if (!value || json_object_object_add(object, key, value) < 0) {
                json_document_free(value);
                return -ENOMEM;
        }
        return 0;
}

static json_object *annotations_to_json(const RuntimeConfig *config) {
        json_object *object = json_object_new_object();
        for (size_t i = 0; object && i < config->annotation_count; i++)
                if (add(object, config->annotations[i].key,
                        json_object_new_string(config->annotations[i].value)) < 0) {
                        json_object_put(object);
                        return NULL;
                }
        return object;
}

/* As the specification of config.root.path has it, but absolute. */
static int add_rootfs(json_object *document, const StateFileRecord *record) {
        const char *path = record->config->root_path;
        _cleanup_free_ char *joined = NULL;
        if (!path)
                return 0;
        if (path[0] != '/' && asprintf(&joined, "%s/%s", record->bundle, path) < 0)
                return -ENOMEM;
        return add(document, "rootfs", json_object_new_string(joined ? joined : path));
}

static bool has_late_hooks(const RuntimeConfig *config) {
        return config->hooks[RUNTIME_HOOK_POSTSTART].count > 0 ||
               config->hooks[RUNTIME_HOOK_POSTSTOP].count > 0;
}

/* What gmtime_r(3) gives, without the time zone that it reads from the disk first. */
static void format_time(char *text, size_t size) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        /* Days are counted from 1 March 0000, in eras of 400 years that are all alike. */
        long seconds = (long) (now.tv_sec % 86400), days = (long) (now.tv_sec / 86400) + 719468;
        long era = days / 146097, day = days % 146097;
        long year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
        long rest = day - (365 * year + year / 4 - year / 100), month = (5 * rest + 2) / 153;
        (void) snprintf(text, size, "%04li-%02li-%02liT%02li:%02li:%02li.%09liZ",
                        era * 400 + year + (month >= 10), month < 10 ? month + 3 : month - 9,
                        rest - (153 * month + 2) / 5 + 1, seconds / 3600, seconds / 60 % 60, seconds % 60,
                        now.tv_nsec);
}

static int build_document(const StateFile *state, const StateFileRecord *record, json_object **ret) {
        char created[64];
        uint64_t start_time = 0;
        int r = process_start_time(record->pid, &start_time);
        if (r < 0)
                return r;
        format_time(created, sizeof(created));

        _cleanup_json_ json_object *document = json_object_new_object();
        if (!document)
                return -ENOMEM;
        if ((r = add(document, "ociVersion", json_object_new_string(record->config->oci_version))) < 0 ||
            (r = add(document, "id", json_object_new_string(state->id))) < 0 ||
            (r = add(document, "pid", json_object_new_int(record->pid))) < 0 ||
            (r = add(document, "bundle", json_object_new_string(record->bundle))) < 0 ||
            (r = add_rootfs(document, record)) < 0 ||
            (r = add(document, "created", json_object_new_string(created))) < 0 ||
            (r = add(document, "annotations", annotations_to_json(record->config))) < 0 ||
            (r = add(document, "hooks", json_object_new_boolean(has_late_hooks(record->config)))) < 0 ||
            (r = add(document, "resctrl", json_object_new_boolean(record->in_resctrl))) < 0 ||
            (r = add(document, "scope", json_object_new_boolean(record->in_scope))) < 0 ||
            (r = add(document, "startTime", json_object_new_uint64(start_time))) < 0)
                return r;
        *ret = TAKE_PTR(document);
        return 0;
}

static int write_whole(int directory, const char *name, const void *data, size_t size) {
        _cleanup_close_ int fd =
                openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : fd_write_all(fd, data, size);
}

int state_file_write(StateFile *state, const StateFileRecord *record, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        int r = build_document(state, record, &document);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its state", state->id);
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN);
        r = text ? write_whole(state->directory, CONFIG_NAME, record->config_text, record->config_size)
                 : -ENOMEM;
        if (r >= 0)
                r = write_whole(state->directory, WRITTEN_NAME, text, strlen(text));
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': writing its state", state->id);
        json_document_free(state->document);
        state->document = TAKE_PTR(document);
        return 0;
}

int state_file_publish(StateFile *state, Fault *fault) {
        if (renameat(state->directory, WRITTEN_NAME, state->directory, STATE_NAME) < 0)
                return fault_set_errno(fault, -errno, "container '%s': publishing its state", state->id);
        mark_creation(state, false);
        return 0;
}

int state_file_read_config(const StateFile *state, bool sparing, RuntimeConfig **ret, Fault *fault) {
        _cleanup_close_ int fd = openat(state->directory, CONFIG_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "container '%s': its configuration", state->id);
        return sparing ? runtime_config_parse_sparing_fd(fd, ret, fault)
                       : runtime_config_parse_fd(fd, ret, fault);
}

/* What one that has run has first, the rest if there is any. */
int state_file_remove(StateFile *state) {
        static const char *const names[] = { STATE_NAME, CONFIG_NAME, CGROUP_NAME, BUNDLE_NAME };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                if (unlinkat(state->directory, names[i], 0) < 0 && errno != ENOENT)
                        return -errno;
        if (unlinkat(state->root, state->id, AT_REMOVEDIR) >= 0 || errno == ENOENT)
                return 0;
        return errno == ENOTEMPTY ? path_remove_tree(state->root, state->id) : -errno;
}

static pid_t recorded_pid(const StateFile *state) {
        json_object *value = NULL;
        if (!state->document || !json_object_object_get_ex(state->document, "pid", &value))
                return 0;
        return (pid_t) json_object_get_int(value);
}

/* First the descriptor, then the comparison: a number that was given to another process after the comparison
 * can't be behind the descriptor. */
int state_file_open_init(const StateFile *state) {
        json_object *value = NULL;
        uint64_t start_time = 0;
        pid_t pid = recorded_pid(state);
        if (pid <= 0 || !json_object_object_get_ex(state->document, "startTime", &value))
                return -ESRCH;
        _cleanup_close_ int pidfd = process_open_pidfd(pid);
        if (pidfd < 0)
                return pidfd;
        int r = process_start_time(pid, &start_time);
        if (r < 0)
                return r;
        if (start_time != json_object_get_uint64(value))
                return -ESRCH;
        /* Readable: it has ended, and nobody has reaped it yet. */
        struct pollfd ended = { .fd = pidfd, .events = POLLIN };
        return poll(&ended, 1, 0) != 0 ? -ESRCH : TAKE_FD(pidfd);
}

const char *state_file_get_string(const StateFile *state, const char *name) {
        json_object *value = NULL;
        return state->document && json_object_object_get_ex(state->document, name, &value)
                       ? json_object_get_string(value)
                       : NULL;
}

static bool is_true(const StateFile *state, const char *name) {
        json_object *value = NULL;
        return state->document && json_object_object_get_ex(state->document, name, &value) &&
               json_object_get_boolean(value);
}

bool state_file_has_hooks(const StateFile *state) {
        return is_true(state, "hooks");
}

bool state_file_is_in_resctrl(const StateFile *state) {
        return is_true(state, "resctrl");
}

bool state_file_is_in_scope(const StateFile *state) {
        return is_true(state, "scope");
}

/* Whoever creates it holds the lock; one that was killed does not. Other than the lock of this process
 * itself (then it is this one that creates it, or has just found what was left). */
static bool is_being_created(const StateFile *state) {
        _cleanup_close_ int other = openat(state->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return other >= 0 && flock(other, LOCK_SH | LOCK_NB) < 0;
}

ContainerStatus state_file_status(const StateFile *state) {
        if (!state->document)
                return is_being_created(state) ? CONTAINER_CREATING : CONTAINER_STOPPED;
        _cleanup_close_ int pidfd = state_file_open_init(state);
        if (pidfd < 0)
                return CONTAINER_STOPPED;
        if (state_file_is_frozen(state))
                return CONTAINER_PAUSED;
        return faccessat(state->directory, STATE_FILE_START, F_OK, 0) >= 0 ? CONTAINER_CREATED
                                                                           : CONTAINER_RUNNING;
}

pid_t state_file_pid(const StateFile *state, ContainerStatus status) {
        return status == CONTAINER_STOPPED || status == CONTAINER_CREATING ? 0 : recorded_pid(state);
}

int state_file_format(const StateFile *state, json_object **ret) {
        static const char *const shown[] = {
                "ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner",
        };
        ContainerStatus status = state_file_status(state);
        _cleanup_json_ json_object *out = json_object_new_object();
        _cleanup_free_ char *owner = NULL;
        int r = out ? state_file_find_owner(state, &owner) : -ENOMEM;
        for (size_t i = 0; i < ELEMENTS_OF(shown) && r >= 0; i++) {
                json_object *value = NULL;
                if (string_equal(shown[i], "status"))
                        value = json_object_new_string(container_status_to_string(status));
                else if (string_equal(shown[i], "pid"))
                        value = json_object_new_int(state_file_pid(state, status));
                else if (string_equal(shown[i], "owner"))
                        value = json_object_new_string(owner);
                else if (string_equal(shown[i], "id"))
                        value = json_object_new_string(state->id);
                else if (!state->document)
                        value = state_file_early_value(state, shown[i]);
                else if (json_object_object_get_ex(state->document, shown[i], &value))
                        value = json_object_get(value);
                r = value ? add(out, shown[i], value) : 0;
        }
        if (r >= 0)
                *ret = TAKE_PTR(out);
        return r;
}
