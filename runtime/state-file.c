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

#define STATE_NAME "state.json"
#define CGROUP_NAME "cgroup"
#define STATE_SIZE_MAX (16U * 1024U * 1024U)

const char *container_status_to_string(ContainerStatus status) {
        static const char *const names[] = {
                [CONTAINER_CREATING] = "creating",
                [CONTAINER_CREATED] = "created",
                [CONTAINER_RUNNING] = "running",
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

static int open_directory(int root, const char *id, StateFile *ret) {
        StateFile state = STATE_FILE_INIT;
        state.directory = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = state.directory < 0 ? -errno : state_file_lock(&state);
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
        r = open_directory(root, id, ret);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s'", id);
        if (mkfifoat(ret->directory, STATE_FILE_START, 0600) < 0 ||
            mkfifoat(ret->directory, STATE_FILE_RESULT, 0600) < 0) {
                r = fault_set_errno(fault, -errno, "container '%s'", id);
                (void) state_file_remove(ret);
                state_file_done(ret);
        }
        return r;
}

int state_file_open(int root, const char *id, StateFile *ret, Fault *fault) {
        int r = check_id(id, fault);
        if (r < 0)
                return r;
        StateFile state = STATE_FILE_INIT;
        r = open_directory(root, id, &state);
        if (r == -ENOENT)
                return fault_set(fault, r, "container '%s' does not exist", id);
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

static int build_document(const StateFile *state, const StateFileRecord *record, json_object **ret) {
        char created[64];
        uint64_t start_time = 0;
        struct timespec now;
        struct tm utc;
        int r = process_start_time(record->pid, &start_time);
        if (r < 0)
                return r;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        size_t n = strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
        (void) snprintf(created + n, sizeof(created) - n, ".%09liZ", now.tv_nsec);

        _cleanup_json_ json_object *document = json_object_new_object();
        if (!document)
                return -ENOMEM;
        if ((r = add(document, "ociVersion", json_object_new_string(record->config->oci_version))) < 0 ||
            (r = add(document, "id", json_object_new_string(state->id))) < 0 ||
            (r = add(document, "pid", json_object_new_int(record->pid))) < 0 ||
            (r = add(document, "bundle", json_object_new_string(record->bundle))) < 0 ||
            (r = add(document, "created", json_object_new_string(created))) < 0 ||
            (r = add(document, "annotations", annotations_to_json(record->config))) < 0 ||
            (r = add(document, "startTime", json_object_new_uint64(start_time))) < 0)
                return r;
        *ret = TAKE_PTR(document);
        return 0;
}

/* Written aside and renamed, so that a state.json is always whole. */
int state_file_write(StateFile *state, const StateFileRecord *record, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        int r = build_document(state, record, &document);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its state", state->id);
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN);
        _cleanup_close_ int fd =
                openat(state->directory, STATE_NAME "~", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;
        if (r >= 0 && renameat(state->directory, STATE_NAME "~", state->directory, STATE_NAME) < 0)
                r = -errno;
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': writing its state", state->id);
        json_document_free(state->document);
        state->document = TAKE_PTR(document);
        return 0;
}

int state_file_remove(StateFile *state) {
        static const char *const names[] = {
                STATE_NAME, STATE_NAME "~", STATE_FILE_START, STATE_FILE_RESULT, CGROUP_NAME,
        };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                if (unlinkat(state->directory, names[i], 0) < 0 && errno != ENOENT)
                        return -errno;
        return unlinkat(state->root, state->id, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
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

ContainerStatus state_file_status(const StateFile *state) {
        if (!state->document)
                return CONTAINER_CREATING;
        _cleanup_close_ int pidfd = state_file_open_init(state);
        if (pidfd < 0)
                return CONTAINER_STOPPED;
        return faccessat(state->directory, STATE_FILE_START, F_OK, 0) >= 0 ? CONTAINER_CREATED
                                                                           : CONTAINER_RUNNING;
}

/* A link that leads nowhere holds a short text in one system call, whole or not at all. */
int state_file_note_cgroup(StateFile *state, const char *path, Fault *fault) {
        if (symlinkat(path, state->directory, CGROUP_NAME) < 0)
                return fault_set_errno(fault, -errno, "container '%s': noting its cgroup", state->id);
        return 0;
}

int state_file_read_cgroup(const StateFile *state, char **ret) {
        char path[PATH_MAX];
        ssize_t n = readlinkat(state->directory, CGROUP_NAME, path, sizeof(path));
        if (n < 0)
                return -errno;
        if ((size_t) n == sizeof(path))
                return -ENAMETOOLONG;
        *ret = strndup(path, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

int state_file_print(const StateFile *state) {
        static const char *const shown[] = { "ociVersion", "id",      "status",     "pid",
                                             "bundle",     "created", "annotations" };
        ContainerStatus status = state_file_status(state);
        _cleanup_json_ json_object *out = json_object_new_object();
        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTS_OF(shown); i++) {
                json_object *value = NULL;
                if (string_equal(shown[i], "status"))
                        value = json_object_new_string(container_status_to_string(status));
                else if (string_equal(shown[i], "pid") && status == CONTAINER_STOPPED)
                        value = json_object_new_int(0);
                else if (json_object_object_get_ex(state->document, shown[i], &value))
                        value = json_object_get(value);
                int r = value ? add(out, shown[i], value) : 0;
                if (r < 0)
                        return r;
        }
        const char *text = json_object_to_json_string_ext(out, JSON_C_TO_STRING_PRETTY |
                                                                       JSON_C_TO_STRING_NOSLASHESCAPE);
        return text && puts(text) >= 0 && fflush(stdout) == 0 ? 0 : -EIO;
}
