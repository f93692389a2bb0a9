/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/state-file-facts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/cgroup.h"

#define CGROUP_NAME "cgroup"
#define ANNOUNCED_NAME "cgroup~"
#define BUNDLE_NAME "bundle"
#define EARLY_VERSION "1.2.0"
#define PASSWD_SIZE_MAX (1024U * 1024U)

/* A link that leads nowhere holds a short text in one system call, whole or not at all. */
static int note(StateFile *state, const char *name, const char *path, Fault *fault) {
        if (symlinkat(path, state->directory, name) < 0)
                return fault_set_errno(fault, -errno, "container '%s': noting its %s", state->id, name);
        return 0;
}

static int read_note(const StateFile *state, const char *name, char **ret) {
        char path[PATH_MAX];
        ssize_t n = readlinkat(state->directory, name, path, sizeof(path));
        if (n < 0)
                return -errno;
        if ((size_t) n == sizeof(path))
                return -ENAMETOOLONG;
        *ret = strndup(path, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

int state_file_announce_cgroup(StateFile *state, const char *path, Fault *fault) {
        return note(state, ANNOUNCED_NAME, path, fault);
}

int state_file_read_announced_cgroup(const StateFile *state, char **ret) {
        return read_note(state, ANNOUNCED_NAME, ret);
}

int state_file_note_cgroup(StateFile *state, Fault *fault) {
        if (renameat(state->directory, ANNOUNCED_NAME, state->directory, CGROUP_NAME) < 0)
                return fault_set_errno(fault, -errno, "container '%s': noting its cgroup", state->id);
        return 0;
}

int state_file_read_cgroup(const StateFile *state, char **ret) {
        return read_note(state, CGROUP_NAME, ret);
}

int state_file_note_bundle(StateFile *state, const char *bundle, Fault *fault) {
        return note(state, BUNDLE_NAME, bundle, fault);
}

json_object *state_file_early_value(const StateFile *state, const char *member) {
        _cleanup_free_ char *bundle = NULL;
        if (string_equal(member, "ociVersion"))
                return json_object_new_string(EARLY_VERSION);
        if (string_equal(member, "bundle"))
                return json_object_new_string(read_note(state, BUNDLE_NAME, &bundle) < 0 ? "" : bundle);
        return NULL;
}

bool state_file_is_frozen(const StateFile *state) {
        _cleanup_free_ char *path = NULL, *events = NULL;
        if (state_file_read_cgroup(state, &path) < 0)
                return false;
        _cleanup_close_ int root = cgroup_open_root(NULL);
        _cleanup_close_ int cgroup =
                root < 0 ? root : path_open(root, path, O_PATH | O_DIRECTORY, 0, PATH_BENEATH);
        return cgroup >= 0 && fd_read_line_at(cgroup, "cgroup.events", &events) >= 0 &&
               strstr(events, "frozen 1");
}

/* The program is static: the machine's name services are not within reach, its file is. */
int state_file_find_owner(const StateFile *state, char **ret) {
        struct stat st;
        char number[16];
        _cleanup_free_ char *text = NULL;
        if (fstat(state->directory, &st) < 0)
                return -errno;
        (void) snprintf(number, sizeof(number), "%u", st.st_uid);
        _cleanup_close_ int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd >= 0)
                (void) fd_read_all(fd, PASSWD_SIZE_MAX, &text, NULL);
        char *rest = text, *line, *name, *uid;
        while ((line = strsep(&rest, "\n"))) {
                name = strsep(&line, ":");
                (void) strsep(&line, ":");
                uid = strsep(&line, ":");
                if (uid && string_equal(uid, number) && name[0]) {
                        *ret = strdup(name);
                        return *ret ? 0 : -ENOMEM;
                }
        }
        *ret = strdup(number);
        return *ret ? 0 : -ENOMEM;
}
