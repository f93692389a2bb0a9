/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/diff-entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define DATA_SIZE ((size_t) 128 * 1024)

/* Of a file with several names. */
enum { LINK_WRITTEN = 1, LINK_PASSED };

/* ---- contents ---- */

/* What is gone meanwhile is zeros: somebody writes into the tree. */
static int write_range(DiffEntries *entries, int fd, uint64_t offset, uint64_t size) {
        while (size > 0) {
                ssize_t n = pread(fd, entries->data, MIN_OF(size, DATA_SIZE), (off_t) offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                size_t written = (size_t) n;
                if (n == 0) {
                        written = MIN_OF(size, DATA_SIZE);
                        memset(entries->data, 0, written);
                }
                int r = tar_writer_data(&entries->writer, entries->data, written);
                if (r < 0)
                        return r;
                offset += written;
                size -= written;
        }
        return 0;
}

static int write_file(DiffEntries *entries, const FilePlace *place, TarEntry *entry) {
        _cleanup_close_ int fd =
                openat(place->directory, place->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = fd_verify_type(fd, S_IFREG);
        if (r < 0)
                return r;
        if (!entries->data && !(entries->data = malloc(DATA_SIZE)))
                return -ENOMEM;
        bool sparse = false;
        /* What is to be the same everywhere can't be left to the file system. */
        r = file_extents_find(&entries->extents, fd, entry->size, entries->clamp);
        if (r > 0) {
                sparse = true;
                entry->extents = entries->extents.items;
                entry->extent_count = entries->extents.count;
        }
        if (r >= 0)
                r = tar_writer_entry(&entries->writer, entry);
        if (r >= 0 && !sparse)
                return write_range(entries, fd, 0, entry->size);
        for (size_t i = 0; r >= 0 && i < entry->extent_count; i++)
                r = write_range(entries, fd, entry->extents[i].offset, entry->extents[i].size);
        return r;
}

/* ---- entries ---- */

static void set_time(const DiffEntries *entries, TarEntry *entry, struct timespec time) {
        if (entries->clamp &&
            (time.tv_sec > entries->epoch || (time.tv_sec == entries->epoch && time.tv_nsec > 0)))
                time = (struct timespec){ .tv_sec = entries->epoch };
        entry->mtime = time;
}

static int write_place(DiffEntries *entries, const FilePlace *place, const char *path,
                       const char *hard_link) {
        char target[PATH_MAX + 1];
        TarEntry entry = {
                .path = path,
                .hard_link = hard_link,
                .mode = place->st.st_mode,
                .uid = place->st.st_uid,
                .gid = place->st.st_gid,
                .device = place->st.st_rdev,
                .size = S_ISREG(place->st.st_mode) ? (uint64_t) place->st.st_size : 0,
        };
        set_time(entries, &entry, place->st.st_mtim);
        if (hard_link) {
                entry.size = 0;
                return tar_writer_entry(&entries->writer, &entry);
        }
        if (S_ISLNK(entry.mode)) {
                ssize_t size = readlinkat(place->directory, place->name, target, sizeof(target) - 1);
                if (size < 0)
                        return -errno;
                target[size] = '\0';
                entry.symlink = target;
        }
        int r = file_xattrs_read(&entries->xattrs, place->directory, place->name);
        if (r < 0)
                return r;
        entry.xattrs = entries->xattrs.items;
        entry.xattr_count = entries->xattrs.count;
        return S_ISREG(entry.mode) ? write_file(entries, place, &entry)
                                   : tar_writer_entry(&entries->writer, &entry);
}

static bool has_other_names(const FilePlace *place) {
        return place->st.st_nlink > 1 && !S_ISDIR(place->st.st_mode);
}

/* The names that were passed over, now that another of the same file goes into the layer: the group would
 * fall apart without them. */
static int write_passed(DiffEntries *entries, const FilePlace *place, InodeEntry *link) {
        int r = write_place(entries, place, link->paths[0], NULL);
        for (char **path = link->paths + 1; r >= 0 && *path; path++)
                r = write_place(entries, place, *path, link->paths[0]);
        if (r >= 0)
                link->mark = LINK_WRITTEN;
        return r;
}

static int write_linked(DiffEntries *entries, const FilePlace *place, const char *path) {
        InodeEntry *link;
        int r = inode_table_get(&entries->links, place->st.st_dev, place->st.st_ino, &link);
        if (r >= 0 && link->mark == LINK_PASSED)
                r = write_passed(entries, place, link);
        if (r < 0 || link->mark == LINK_WRITTEN)
                return r < 0 ? r : write_place(entries, place, path, link->paths[0]);
        link->mark = LINK_WRITTEN;
        r = strv_append(&link->paths, path);
        return r < 0 ? r : write_place(entries, place, path, NULL);
}

int diff_entry_write(DiffEntries *entries, const FilePlace *place, const char *path, Fault *fault) {
        int r = has_other_names(place) ? write_linked(entries, place, path)
                                       : write_place(entries, place, path, NULL);
        return r < 0 ? fault_set_errno(fault, r, "Can't put '%s' into the layer", path) : 0;
}

static bool is_other(const InodeEntry *link, const FilePlace *place) {
        return link->other_inode != place->st.st_ino || link->other_device != place->st.st_dev;
}

/* Meets place, which in the other tree is other: 1 if it was another one before. */
static int meet(InodeTable *table, const FilePlace *place, const FilePlace *other, InodeEntry **ret) {
        int r = inode_table_get(table, place->st.st_dev, place->st.st_ino, ret);
        if (r > 0)
                return is_other(*ret, other);
        if (r == 0) {
                (*ret)->other_device = other->st.st_dev;
                (*ret)->other_inode = other->st.st_ino;
        }
        return r;
}

int diff_entry_is_regrouped(DiffEntries *entries, const FilePlace *old, const FilePlace *new,
                            const char *path) {
        InodeEntry *link = NULL, *old_link;
        int parted = has_other_names(old) ? meet(&entries->old_links, old, new, &old_link) : 0;
        int joined = has_other_names(new) ? meet(&entries->links, new, old, &link) : 0;
        if (parted < 0 || joined < 0)
                return parted < 0 ? parted : joined;
        if (parted || joined || (link && link->mark == LINK_WRITTEN))
                return 1;
        if (!link)
                return 0;
        link->mark = LINK_PASSED;
        return strv_append(&link->paths, path);
}

int diff_entry_whiteout(DiffEntries *entries, const char *path, const char *name, Fault *fault) {
        char whiteout[PATH_MAX];
        TarEntry entry = { .path = whiteout, .mode = S_IFREG };
        int length = snprintf(whiteout, sizeof(whiteout), "%s%s.wh.%s", path, *path ? "/" : "", name);
        if (length < 0 || (size_t) length >= sizeof(whiteout))
                return fault_set(fault, -EBADMSG, "The path of '%.200s' is too long for a layer", name);
        int r = tar_writer_entry(&entries->writer, &entry);
        return r < 0 ? fault_set_errno(fault, r, "Can't put '%s' into the layer", whiteout) : 0;
}

void diff_entries_done(DiffEntries *entries) {
        inode_table_done(&entries->links);
        inode_table_done(&entries->old_links);
        file_xattrs_done(&entries->xattrs);
        file_extents_done(&entries->extents);
        free(entries->data);
}
