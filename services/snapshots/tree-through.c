/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-through.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/directory-stream.h"
#include "services/snapshots/directory-walk.h"
#include "services/snapshots/file-copy.h"
#include "services/snapshots/tree-attributes.h"
#include "services/snapshots/tree-quota.h"
#include "services/snapshots/tree-sync.h"

#define BEGUN_SIZE 24
#define LINKS_MAX 40
#define PARTS_MAX PATH_MAX /* of a way, with all that its links say */
#define DEPTH_MAX 32
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

/* ---- what it costs ---- */

#define WORK_OF_PART 16
#define WORK_OF_LINK 64
#define WORK_OF_CHANGE 64
#define WORK_OF_DIRECTORY 256

/* To open a path, whose parts may be as short as a letter. */
static int spend(const TreeThrough *through, uint64_t amount, size_t path_length) {
        return directory_work_spend(through->work, amount + path_length / 2);
}

/* ---- where a path leads ---- */

typedef struct Way {
        const TreeThrough *through;
        char said[PATH_MAX];     /* what was gone of the path itself */
        char done[PATH_MAX];     /* where that is; holds no links */
        char rest[2 * PATH_MAX]; /* of what the link says that was come to there */
        size_t replaced;         /* length of that part of done where the layer has a directory for a link */
        unsigned links;
        unsigned parts;
} Way;

static void way_up(Way *way) {
        char *last = strrchr(way->done, '/');
        *(last ? last : way->done) = '\0';
        if (strlen(way->done) < way->replaced)
                way->replaced = 0;
}

/* The link that was come to: what it says comes before the rest. */
static int way_follow(Way *way, int link) {
        char target[PATH_MAX], rest[2 * PATH_MAX];
        ssize_t length = readlinkat(link, "", target, sizeof(target) - 1);
        if (length < 0)
                return -errno;
        target[length] = '\0';
        if (++way->links > LINKS_MAX)
                return -ELOOP;
        int n = snprintf(rest, sizeof(rest), "%s/%s", target, way->rest);
        if (n < 0 || (size_t) n >= sizeof(rest))
                return -ENAMETOOLONG;
        strcpy(way->rest, rest);
        if (target[0] == '/')
                way->done[0] = '\0';
        else
                way_up(way);
        return 0;
}

/* The layer has the parent's link once more. */
static bool is_same_link(const TreeThrough *through, const char *path, int link) {
        char ours[PATH_MAX], theirs[PATH_MAX];
        _cleanup_close_ int fd = path_open(through->files, path, O_PATH | O_NOFOLLOW, 0, PATH_BENEATH);
        ssize_t length = fd < 0 ? -1 : readlinkat(fd, "", ours, sizeof(ours));
        return length > 0 && readlinkat(link, "", theirs, sizeof(theirs)) == length &&
               memcmp(ours, theirs, (size_t) length) == 0;
}

/* 1: the layer has its own directory at this path, so that the parent's link there is gone. */
static int is_replaced(const TreeThrough *through, const char *path, int link) {
        int r = spend(through, WORK_OF_LINK, 2 * strlen(path));
        if (r < 0)
                return r;
        _cleanup_close_ int fd = path_open(through->files, path, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        if (fd == -ENOENT || ((fd == -ENOTDIR || fd == -ELOOP) && is_same_link(through, path, link)))
                return 0;
        r = fd < 0 ? fd : through->is_implied(through->userdata, path);
        return r < 0 ? r : r == 0;
}

/* said: the path's own part was come to, not one of a link. */
static int way_look(Way *way, bool said, bool follow) {
        const TreeThrough *through = way->through;
        struct stat st;
        if (way->replaced > 0)
                return 0;
        _cleanup_close_ int fd = path_open(through->parent, way->done, O_PATH | O_NOFOLLOW, 0, PATH_BENEATH);
        if (fd == -ENOENT)
                return 0;
        if (fd < 0 || fstat(fd, &st) < 0)
                return fd < 0 ? fd : -errno;
        if (!S_ISLNK(st.st_mode))
                return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
        int r = said ? is_replaced(through, way->said, fd) : 0;
        if (r == 0)
                r = is_replaced(through, way->done, fd);
        if (r > 0)
                way->replaced = strlen(way->done);
        if (r != 0)
                return r < 0 ? r : 0;
        return follow ? way_follow(way, fd) : 1;
}

static int way_step(Way *way, const char *part, size_t length, bool said, bool follow) {
        size_t used = strlen(way->done);
        if (used + 1 + length >= sizeof(way->done))
                return -ENAMETOOLONG;
        if (++way->parts > PARTS_MAX)
                return -ELOOP;
        int r = spend(way->through, WORK_OF_PART, used + strlen(way->rest) / 16);
        if (r < 0)
                return r;
        if (length == 0 || (length == 1 && part[0] == '.'))
                return 0;
        if (length == 2 && part[0] == '.' && part[1] == '.') {
                way_up(way);
                return 0;
        }
        if (used > 0)
                way->done[used++] = '/';
        memcpy(way->done + used, part, length);
        way->done[used + length] = '\0';
        return way_look(way, said, follow);
}

/* All that the links say that were come to. */
static int way_go_rest(Way *way) {
        int r = 0;
        while (r == 0 && way->rest[0]) {
                char part[PATH_MAX];
                size_t length = strcspn(way->rest, "/");
                if (length >= sizeof(part))
                        return -ENAMETOOLONG;
                memcpy(part, way->rest, length);
                const char *after = way->rest + length + strspn(way->rest + length, "/");
                memmove(way->rest, after, strlen(after) + 1);
                r = way_step(way, part, length, false, true);
        }
        return r;
}

/* 1: the last part is a link, and was not followed. What does not exist leads to itself. */
static int way_go(Way *way, const TreeThrough *through, const char *path, bool follow_last) {
        int r = 0;
        *way = (Way){ .through = through };
        if (strlen(path) >= sizeof(way->said))
                return -ENAMETOOLONG;
        for (const char *part = path; r == 0 && *part;) {
                size_t length = strcspn(part, "/");
                const char *next = part + length + strspn(part + length, "/");
                memcpy(way->said, path, (size_t) (part - path) + length);
                way->said[(size_t) (part - path) + length] = '\0';
                r = way_step(way, part, length, true, follow_last || *next);
                if (r == 0)
                        r = way_go_rest(way);
                part = next;
        }
        return r;
}

static int through_fault(const TreeThrough *through, int r, const char *path, Fault *fault) {
        if (r == -EBADMSG && *through->work == 0)
                return directory_work_fault(fault);
        if (r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG || r == -EEXIST)
                return fault_set(
                        fault, -EBADMSG,
                        "%s: the layer has entries below it, but in its parent it is, or is reached "
                        "by, a symbolic link%s",
                        path,
                        r == -EEXIST ? ", and where that leads the layer has the same name"
                                     : " that leads to no directory");
        return fault_set_errno(fault, r, "Can't follow '%s'", path);
}

int tree_through_prepare(const TreeThrough *through, const char *path, Fault *fault) {
        Way way;
        int r = way_go(&way, through, path, false);
        bool is_link = r > 0;
        if (is_link)
                r = way_go(&way, through, path, true);
        if (r >= 0)
                r = spend(through, WORK_OF_CHANGE, strlen(path) + strlen(way.done));
        if (r < 0)
                return through_fault(through, r, path, fault);
        if (way.replaced > 0)
                return is_link;
        _cleanup_close_ int from =
                way.done[0] ? path_open(through->parent, way.done, DIRECTORY_FLAGS, 0, PATH_BENEATH)
                            : -ENOENT;
        _cleanup_close_ int to = path_open(through->files, path, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        if (from == -ENOENT || to == -ENOENT)
                return is_link;
        r = from < 0 ? from : to < 0 ? to : file_copy_attributes(from, to);
        return r < 0 ? through_fault(through, r, path, fault) : is_link;
}

/* ---- the parent that it is done for ---- */

/* A line; one without its end was cut off before anything was moved. 0: none. */
static int read_begun(int tree, int64_t *ret) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        _cleanup_close_ int fd = path_open(tree, TREE_THROUGH_BEGUN, O_RDONLY, 0, PATH_BENEATH);
        int r = fd == -ENOENT ? 0 : fd < 0 ? fd : fd_read_all(fd, BEGUN_SIZE, &text, &size);
        if (r >= 0 && text && size > 0 && text[size - 1] == '\n')
                *ret = strtoll(text, NULL, 10);
        return r < 0 ? r : 0;
}

static int remove_made(int tree) {
        return unlinkat(tree, TREE_THROUGH_MADE, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_through_resume(int tree, int64_t parent_id, Fault *fault) {
        int64_t begun = 0;
        int r = remove_made(tree);
        if (r >= 0)
                r = read_begun(tree, &begun);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read what the layer was put on");
        if (begun == 0 || begun == parent_id)
                return 0;
        return fault_set(fault, -EBUSY,
                         "To put the layer on another parent was begun, and not ended: unpack it again");
}

static int write_begun(int tree, int64_t parent_id) {
        char text[BEGUN_SIZE];
        _cleanup_close_ int fd =
                path_open(tree, TREE_THROUGH_BEGUN, O_WRONLY | O_CREAT | O_TRUNC, 0600, PATH_BENEATH);
        if (fd < 0)
                return fd;
        (void) snprintf(text, sizeof(text), "%" PRIi64 "\n", parent_id);
        int r = fd_write_all(fd, text, strlen(text));
        if (r >= 0)
                r = tree_sync_file(fd);
        return r < 0 ? r : tree_sync_file(tree);
}

int tree_through_begin(int tree, int64_t parent_id, Fault *fault) {
        int r = write_begun(tree, parent_id);
        return r < 0 ? fault_set_errno(fault, r, "Can't note what the layer is put on") : 0;
}

/* ---- the move ---- */

/* What is moved in or out shall not be seen in a directory's times. */
static void put_times_back(int directory, const struct stat *before) {
        (void) futimens(directory, (const struct timespec[]){ before->st_atim, before->st_mtim });
}

/* A directory that only the parent has, as it is there. */
static int make_like_parent(const TreeThrough *through, int in, const char *name, const char *path) {
        int r = spend(through, WORK_OF_DIRECTORY, strlen(path));
        if (r >= 0)
                r = remove_made(through->tree);
        if (r < 0)
                return r;
        if (mkdirat(through->tree, TREE_THROUGH_MADE, 0755) < 0 ||
            fchmodat(through->tree, TREE_THROUGH_MADE, 0755, 0) < 0)
                return -errno;
        _cleanup_close_ int made =
                path_open(through->tree, TREE_THROUGH_MADE, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        _cleanup_close_ int from = path_open(through->parent, path, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        bool none = from == -ENOENT || from == -ENOTDIR || from == -ELOOP; /* the layer replaced it */
        r = made < 0 ? made : tree_quota_join(made, in);
        if (r >= 0 && !none)
                r = from < 0 ? from : file_copy_attributes(from, made);
        return r < 0 ? r : renameat(through->tree, TREE_THROUGH_MADE, in, name) < 0 ? -errno : 0;
}

/* Each part of the path, in the layer. */
static int open_target(const TreeThrough *through, char *path) {
        int at = path_open(through->files, ".", DIRECTORY_FLAGS, 0, PATH_BENEATH);
        for (char *part = path, *end; at >= 0 && part && *part; part = end ? end + 1 : NULL) {
                _cleanup_close_ int in = at;
                struct stat before;
                end = strchr(part, '/');
                if (end)
                        *end = '\0';
                int r = spend(through, WORK_OF_PART, 0);
                at = r < 0 ? r : path_open(in, part, DIRECTORY_FLAGS, 0, PATH_BENEATH);
                if (at == -ENOENT) {
                        r = fstat(in, &before) < 0 ? -errno : make_like_parent(through, in, part, path);
                        if (r >= 0)
                                put_times_back(in, &before);
                        at = r < 0 ? r : path_open(in, part, DIRECTORY_FLAGS, 0, PATH_BENEATH);
                }
                if (end)
                        *end = '/';
        }
        return at;
}

static int merge(const TreeThrough *through, int from, int to, unsigned depth);

static int merge_directory(const TreeThrough *through, int from, int to, const char *name, unsigned depth) {
        _cleanup_close_ int below_from = path_open(from, name, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        _cleanup_close_ int below_to = path_open(to, name, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        if (below_from < 0 || below_to < 0 || tree_is_opaque(below_from) || depth == 0)
                return -EEXIST;
        int r = merge(through, below_from, below_to, depth - 1);
        return r < 0 ? r : unlinkat(from, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int merge_entry(const TreeThrough *through, int from, int to, const char *name, unsigned depth) {
        int r = spend(through, WORK_OF_CHANGE, 0);
        if (r < 0)
                return r;
        if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                return merge_directory(through, from, to, name, depth);
        return renameat(from, name, to, name) < 0 ? -errno : 0;
}

/* 1: something was moved, so that there may be more than was seen. */
static int merge_round(const TreeThrough *through, DIR *directory, int from, int to, unsigned depth) {
        const char *name;
        int moved = 0;
        for (;;) {
                int r = directory_stream_next(directory, &name);
                if (r > 0)
                        r = merge_entry(through, from, to, name, depth);
                else if (r == 0)
                        return moved;
                if (r < 0)
                        return r;
                moved = 1;
        }
}

static int merge(const TreeThrough *through, int from, int to, unsigned depth) {
        struct stat before;
        if (fstat(to, &before) < 0)
                return -errno;
        int fd = path_open(from, ".", DIRECTORY_FLAGS, 0, PATH_BENEATH);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory) {
                int r = fd < 0 ? fd : -errno;
                fd_close(fd);
                return r;
        }
        int r;
        while ((r = merge_round(through, directory, from, to, depth)) > 0)
                rewinddir(directory);
        (void) closedir(directory);
        put_times_back(to, &before);
        return r;
}

int tree_through_move(const TreeThrough *through, const char *path, Fault *fault) {
        Way way;
        char above[PATH_MAX];
        int r = way_go(&way, through, path, true);
        if (r < 0)
                return through_fault(through, r, path, fault);
        (void) snprintf(above, sizeof(above), "%s", path);
        r = spend(through, WORK_OF_CHANGE, strlen(path));
        if (r < 0)
                return through_fault(through, r, path, fault);
        char *name = strrchr(above, '/');
        if (name)
                *name++ = '\0';
        _cleanup_close_ int in =
                path_open(through->files, name ? above : ".", DIRECTORY_FLAGS, 0, PATH_BENEATH);
        _cleanup_close_ int from =
                in < 0 ? in : path_open(in, name ?: above, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        _cleanup_close_ int to = from < 0 ? from : open_target(through, way.done);
        struct stat before;
        r = to < 0 ? to : fstat(in, &before) < 0 ? -errno : merge(through, from, to, DEPTH_MAX);
        if (r >= 0 && unlinkat(in, name ?: above, AT_REMOVEDIR) < 0)
                r = -errno;
        if (r < 0)
                return through_fault(through, r, path, fault);
        put_times_back(in, &before);
        return 0;
}
