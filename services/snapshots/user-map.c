/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "services/snapshots/user-namespace.h"

#define FILE_SIZE_MAX ((size_t) 1024 * 1024)

/* Whose ranges are looked for; own: the one id outside of any range. */
typedef struct MapOwner {
        const char *name; /* NULL: the user has none */
        char number[16];
        uint32_t own;
} MapOwner;

/* "NAME:START:COUNT", where the name may be a number, too (subuid(5)). */
static bool parse_line(char *line, const MapOwner *owner, uint64_t *ret_start, uint64_t *ret_count) {
        char *state = NULL;
        const char *name = strtok_r(line, ":", &state);
        const char *start = strtok_r(NULL, ":", &state);
        const char *count = strtok_r(NULL, ":", &state);
        return name && start && count &&
               ((owner->name && string_equal(name, owner->name)) || string_equal(name, owner->number)) &&
               string_to_uint64(start, UINT32_MAX, ret_start) >= 0 &&
               string_to_uint64(count, UINT32_MAX, ret_count) >= 0;
}

static bool is_theirs(const UserMapRange *range, const MapOwner *owner, const char *file) {
        uint64_t from = range->outside, to = from + range->count;
        if (from == owner->own && range->count == 1)
                return true;
        _cleanup_free_ char *text = file ? strdup(file) : NULL;
        char *state = NULL;
        for (char *line = text ? strtok_r(text, "\n", &state) : NULL; line;
             line = strtok_r(NULL, "\n", &state)) {
                uint64_t start, count;
                if (parse_line(line, owner, &start, &count) && from >= start && to <= start + count)
                        return true;
        }
        return false;
}

static int check_map(const UserMap *map, const MapOwner *owner, const char *path, const char *option,
                     Fault *fault) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
                (void) fd_read_all(fd, FILE_SIZE_MAX, &text, &size);
        for (size_t i = 0; i < map->count; i++)
                if (!is_theirs(&map->ranges[i], owner, text))
                        return fault_set(
                                fault, -EACCES,
                                "option '%s': host ids %u to %u are not yours: neither your own, nor "
                                "from a range that %s gives you",
                                option, map->ranges[i].outside,
                                map->ranges[i].outside + map->ranges[i].count - 1, path);
        return 0;
}

/* Users of a directory service are not asked for: that waits for a server, and everybody else would wait
 * with whoever asks. 0: there is no such user in the file. */
static int find_user(uid_t user, char **ret_name, gid_t *ret_group) {
        FILE *file = fopen("/etc/passwd", "re");
        if (!file)
                return errno == ENOENT ? 0 : -errno;
        const struct passwd *entry;
        while ((entry = fgetpwent(file)) && entry->pw_uid != user)
                ;
        int r = 0;
        if (entry) {
                *ret_name = strdup(entry->pw_name);
                *ret_group = entry->pw_gid;
                r = *ret_name ? 1 : -ENOMEM;
        }
        (void) fclose(file);
        return r;
}

int user_map_check(const UserMap *uids, const UserMap *gids, uid_t user, Fault *fault) {
        _cleanup_free_ char *name = NULL;
        gid_t group = (gid_t) -1;
        int r = find_user(user, &name, &group);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't find out whose ids those of the maps are");
        MapOwner owner = { .name = name, .own = user };
        (void) snprintf(owner.number, sizeof(owner.number), "%u", user);
        r = check_map(uids, &owner, "/etc/subuid", "uid-map", fault);
        if (r < 0)
                return r;
        owner.own = group;
        return check_map(gids, &owner, "/etc/subgid", "gid-map", fault);
}
