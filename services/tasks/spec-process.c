/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process of the runtime configuration: what is run, as whom, with which rights. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/tasks/spec-internal.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define COMMAND_MAX 4096
#define NOFILE_SOFT 1024
#define NOFILE_HARD 524288

/* What Docker leaves to root of a container. */
static const char *const default_capabilities[] = {
        "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",     "CAP_FSETID",
        "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
        "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT", NULL,
};

/* The arguments replace the image's; an entrypoint of the caller's makes those of the image meaningless. */
int spec_command(const SpecRequest *request, char ***ret, Fault *fault) {
        char *const *first = request->entrypoint ? request->entrypoint : request->image->entrypoint;
        char *const *rest = request->arguments ? request->arguments : request->image->command;
        if (request->entrypoint && !request->arguments)
                rest = NULL;
        size_t count = strv_length(first) + strv_length(rest);
        if (count == 0)
                return fault_set(fault, -EINVAL, "args: the image names no command, and none was given");
        if (count > COMMAND_MAX)
                return fault_set(fault, -EINVAL, "args: %zu are more than %i", count, COMMAND_MAX);

        _cleanup_strv_ char **command = NULL;
        for (; first && *first; first++)
                if (strv_append(&command, *first) < 0)
                        return -ENOMEM;
        for (; rest && *rest; rest++)
                if (strv_append(&command, *rest) < 0)
                        return -ENOMEM;
        if (!command[0][0])
                return fault_set(fault, -EINVAL, "args: the name of the command is empty");
        *ret = TAKE_PTR(command);
        return 0;
}

static int add_environment(char ***environment, char *const *more, const char *whose, Fault *fault) {
        for (; more && *more; more++) {
                if ((*more)[0] == '=' || !strchr(*more, '='))
                        return fault_set(fault, -EINVAL, "%s: '%s' is not of the form NAME=value", whose,
                                         *more);
                if (strv_set_environment(environment, *more) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int build_environment(const SpecRequest *request, char ***ret, Fault *fault) {
        _cleanup_strv_ char **environment = NULL;
        const char *hostname = request->hostname ? request->hostname : request->id;
        if (strv_append(&environment, "PATH=" DEFAULT_PATH) < 0 ||
            strv_appendf(&environment, "HOSTNAME=%.63s", hostname) < 0 ||
            (request->terminal && strv_append(&environment, "TERM=xterm") < 0))
                return -ENOMEM;
        int r = add_environment(&environment, request->image->environment, "the image's Env", fault);
        if (r < 0)
                return r;
        r = add_environment(&environment, request->environment, "env", fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(environment);
        return 0;
}

static int parse_id(const char *text, unsigned *ret) {
        uint64_t value;
        int r = string_to_uint64(text, INT_MAX, &value);
        if (r < 0)
                return r;
        *ret = (unsigned) value;
        return 0;
}

/* Only both as numbers need no look into the image: the groups of a user are found by name as well. */
int spec_parse_user(const char *user, SpecUser *ret) {
        SpecUser parsed = { .numeric = true };
        if (string_is_empty(user)) {
                *ret = parsed;
                return 0;
        }
        size_t length = strcspn(user, ":");
        if (length == 0 || length > NAME_MAX || strlen(user) > 2 * NAME_MAX || !string_is_printable(user) ||
            strchr(user, '/'))
                return -EINVAL;
        const char *group = user[length] ? user + length + 1 : NULL;
        if (group && (!group[0] || strchr(group, ':')))
                return -EINVAL;

        char name[NAME_MAX + 1];
        memcpy(name, user, length);
        name[length] = '\0';
        if (parse_id(name, &parsed.uid) < 0 || !group || parse_id(group, &parsed.gid) < 0)
                parsed.numeric = false;
        *ret = parsed;
        return 0;
}

static int new_user(const SpecRequest *request, SpecUser *ret, json_object **ret_json, Fault *fault) {
        const char *user = request->user ? request->user : request->image->user;
        int r = spec_parse_user(user, ret);
        if (r < 0)
                return fault_set(fault, -EINVAL, "%s: '%s' is not of the form user[:group]",
                                 request->user ? "user" : "the image's User", user);
        _cleanup_json_ json_object *object = json_object_new_object();
        if (spec_add(object, "uid", json_object_new_int64(ret->uid)) < 0 ||
            spec_add(object, "gid", json_object_new_int64(ret->gid)) < 0)
                return -ENOMEM;
        *ret_json = TAKE_PTR(object);
        return 0;
}

/* Whoever is not root keeps no capability over execve; the inheritable set stays empty (CVE-2022-24769). */
static json_object *new_capabilities(const SpecUser *user) {
        _cleanup_json_ json_object *object = json_object_new_object();
        if (spec_add(object, "bounding", spec_name_array(default_capabilities)) < 0)
                return NULL;
        if (user->uid == 0 && (spec_add(object, "effective", spec_name_array(default_capabilities)) < 0 ||
                               spec_add(object, "permitted", spec_name_array(default_capabilities)) < 0))
                return NULL;
        return TAKE_PTR(object);
}

/* Written down, so that the limits of the service are not those of the containers. */
static json_object *new_rlimits(void) {
        _cleanup_json_ json_object *array = json_object_new_array(), *limit = json_object_new_object();
        if (spec_add(limit, "type", json_object_new_string("RLIMIT_NOFILE")) < 0 ||
            spec_add(limit, "soft", json_object_new_int64(NOFILE_SOFT)) < 0 ||
            spec_add(limit, "hard", json_object_new_int64(NOFILE_HARD)) < 0 ||
            spec_append(array, TAKE_PTR(limit)) < 0)
                return NULL;
        return TAKE_PTR(array);
}

static int choose_directory(const SpecRequest *request, char **ret, Fault *fault) {
        const char *asked = request->working_directory;
        const char *path = asked ? asked : request->image->working_directory;
        if (string_is_empty(path))
                path = "/";
        if (path[0] != '/' || strlen(path) >= PATH_MAX)
                return fault_set(fault, -EINVAL, "%s: '%s' is not an absolute path",
                                 asked ? "cwd" : "the image's WorkingDir", path);
        return path_normalize(path, ret);
}

int spec_process_new(const SpecRequest *request, char *const *command, json_object **ret, Fault *fault) {
        _cleanup_json_ json_object *process = json_object_new_object(), *user_json = NULL;
        _cleanup_strv_ char **environment = NULL;
        _cleanup_free_ char *directory = NULL;
        SpecUser user;

        int r = build_environment(request, &environment, fault);
        if (r < 0)
                return r;
        r = choose_directory(request, &directory, fault);
        if (r < 0)
                return r;
        r = new_user(request, &user, &user_json, fault);
        if (r < 0)
                return r;
        if (spec_add(process, "terminal", json_object_new_boolean(request->terminal)) < 0 ||
            spec_add(process, "user", TAKE_PTR(user_json)) < 0 ||
            spec_add(process, "args", spec_string_array(command)) < 0 ||
            spec_add(process, "env", spec_string_array(environment)) < 0 ||
            spec_add(process, "cwd", json_object_new_string(directory)) < 0 ||
            spec_add(process, "capabilities", new_capabilities(&user)) < 0 ||
            spec_add(process, "rlimits", new_rlimits()) < 0 ||
            spec_add(process, "noNewPrivileges", json_object_new_boolean(false)) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(process);
        return 0;
}
