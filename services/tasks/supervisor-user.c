/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/supervisor-user.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define DATABASE_MAX (4U * 1024U * 1024U)
#define FIELDS_MAX 7

void user_identity_done(UserIdentity *identity) {
        free(identity->groups);
        free(identity->home);
        *identity = (UserIdentity){ 0 };
}

/* Neither a link out of the root, nor a device, nor a fifo that never answers, nor a file without end. */
static int read_database(int root, const char *path, char **ret, Fault *fault) {
        _cleanup_close_ int place = path_open(root, path, O_PATH, 0, PATH_IN_ROOT);
        if (place == -ENOENT || place == -ENOTDIR) {
                *ret = strdup("");
                return *ret ? 0 : -ENOMEM;
        }
        _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int fd = place < 0 ? place : fd_reopen_regular(place, O_RDONLY, proc);
        int r = fd;
        if (r >= 0)
                r = fd_read_all(fd, DATABASE_MAX, ret, NULL);
        return r < 0 ? fault_set_errno(fault, r, "/%s of the image", path) : 0;
}

/* Cuts the next line out of the text; its fields, separated by colons. False at the end. */
static bool next_entry(char **rest, char *fields[FIELDS_MAX]) {
        char *line;
        do {
                line = strsep(rest, "\n");
                if (!line)
                        return false;
        } while (!line[0] || line[0] == '#');
        for (size_t i = 0; i < FIELDS_MAX; i++) {
                char *field = line ? strsep(&line, ":") : NULL;
                fields[i] = field ? field : (char *) "";
        }
        return true;
}

/* Strict decimal, and never the number that setresuid(2) takes for "no change". */
static bool parse_id(const char *text, uint32_t *ret) {
        uint64_t value;
        if (string_to_uint64(text, INT_MAX, &value) < 0)
                return false;
        *ret = (uint32_t) value;
        return true;
}

/* A name comes first: a user may be called "1000". */
static bool matches(const char *name, const char *id_text, const char *wanted, bool numeric, uint32_t id) {
        uint32_t found;
        return string_equal(name, wanted) || (numeric && parse_id(id_text, &found) && found == id);
}

static int find_user(int root, const char *user, UserIdentity *identity, char **ret_name, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        char *fields[FIELDS_MAX];
        bool numeric = parse_id(user, &identity->uid);

        int r = read_database(root, "etc/passwd", &text, fault);
        if (r < 0)
                return r;
        for (char *rest = text; next_entry(&rest, fields);) {
                uint32_t uid, gid;
                if (!matches(fields[0], fields[2], user, numeric, identity->uid) ||
                    !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
                        continue;
                identity->uid = uid;
                identity->gid = gid;
                identity->home = fields[5][0] == '/' ? strdup(fields[5]) : NULL;
                *ret_name = strdup(fields[0]);
                return *ret_name && (identity->home || fields[5][0] != '/') ? 0 : -ENOMEM;
        }
        if (!numeric)
                return fault_set(fault, -ENOENT, "user '%s' is not in /etc/passwd of the image", user);
        return 0;
}

static int find_group(int root, const char *group, UserIdentity *identity, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        char *fields[FIELDS_MAX];
        bool numeric = parse_id(group, &identity->gid);

        int r = read_database(root, "etc/group", &text, fault);
        if (r < 0)
                return r;
        for (char *rest = text; next_entry(&rest, fields);) {
                uint32_t gid;
                if (matches(fields[0], fields[2], group, numeric, identity->gid) &&
                    parse_id(fields[2], &gid)) {
                        identity->gid = gid;
                        return 0;
                }
        }
        if (!numeric)
                return fault_set(fault, -ENOENT, "group '%s' is not in /etc/group of the image", group);
        return 0;
}

static bool is_member(char *members, const char *name) {
        for (char *member; (member = strsep(&members, ","));)
                if (string_equal(member, name))
                        return true;
        return false;
}

/* Without twins. */
static int add_membership(UserIdentity *identity, uint32_t gid) {
        for (size_t i = 0; i < identity->group_count; i++)
                if (identity->groups[i] == gid)
                        return 0;
        if (identity->group_count == USER_GROUPS_MAX)
                return -E2BIG;
        uint32_t *larger =
                realloc(identity->groups, (identity->group_count + 1) * sizeof(*identity->groups));
        if (!larger)
                return -ENOMEM;
        larger[identity->group_count++] = gid;
        identity->groups = larger;
        return 0;
}

static int find_memberships(int root, const char *name, UserIdentity *identity, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        char *fields[FIELDS_MAX];
        int r = read_database(root, "etc/group", &text, fault);
        if (r < 0)
                return r;
        for (char *rest = text; next_entry(&rest, fields);) {
                uint32_t gid;
                if (!is_member(fields[3], name) || !parse_id(fields[2], &gid))
                        continue;
                r = add_membership(identity, gid);
                if (r == -E2BIG)
                        return fault_set(fault, r, "user '%s' is in more than %i groups of the image", name,
                                         USER_GROUPS_MAX);
                if (r < 0)
                        return r;
        }
        return 0;
}

int user_resolve(int root, const char *user, UserIdentity *ret, Fault *fault) {
        _cleanup_(user_identity_done) UserIdentity identity = { 0 };
        _cleanup_free_ char *copy = strdup(user), *name = NULL;
        if (!copy)
                return -ENOMEM;
        char *group = strchr(copy, ':');
        if (group)
                *group++ = '\0';

        int r = find_user(root, copy, &identity, &name, fault);
        if (r >= 0 && group)
                r = find_group(root, group, &identity, fault);
        /* The primary group is one of the supplementary ones, too: else a process could leave it by
         * setgid(2), and with it what is denied to it (CVE-2022-36109). */
        if (r >= 0)
                r = add_membership(&identity, identity.gid);
        if (r >= 0 && !group && name)
                r = find_memberships(root, name, &identity, fault);
        if (r < 0)
                return r;
        *ret = TAKE(identity, (UserIdentity){ 0 });
        return 0;
}
