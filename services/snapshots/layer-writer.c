/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"
#include "services/snapshots/entry-attributes.h"
#include "services/snapshots/entry-name.h"

#define WHITEOUT_DEVICE makedev(0, 0)

int layer_writer_init(LayerWriter *writer, int root, LayerArchive *archive, uint64_t entries_max) {
        *writer = (LayerWriter){
                .root = root,
                .archive = archive,
                .entries_max = entries_max > 0 ? entries_max : LIMIT_LAYER_ENTRIES,
        };
        directory_cache_init(&writer->directories, root);
        return directory_table_new(&writer->table);
}

void layer_writer_done(LayerWriter *writer) {
        directory_cache_done(&writer->directories);
        writer->table = directory_table_free(writer->table);
}

/* What making something at a path answered, as a sentence; what only a strange archive can cause is its
 * fault. */
static int entry_fault(Fault *fault, int r, const char *path, const char *what) {
        switch (r) {
        case -ENAMETOOLONG:
        case -EFBIG:
        case -ELOOP:
        case -ENOTDIR:
        case -EMLINK:
                return fault_set(fault, -EBADMSG, "%s: can't %s: %s", path, what, strerror(-r));
        case -ENOSPC:
                return fault_set(fault, -ENOSPC, "No space left to %s %s", what, path);
        default:
                return fault_set_errno(fault, r, "%s: can't %s", path, what);
        }
}

static int writer_count(LayerWriter *writer, Fault *fault) {
        if (writer->entries++ < writer->entries_max)
                return 0;
        return fault_set(fault, -EDQUOT, "The layer has more than %llu entries",
                         (unsigned long long) writer->entries_max);
}

/* ---- directories ---- */

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == WHITEOUT_DEVICE;
}

/* Makes way for a new entry. *ret_whiteout: a lower layer's name was hidden here. */
static int writer_clear(LayerWriter *writer, int parent, const EntryName *name, bool *ret_whiteout,
                        Fault *fault) {
        struct stat st;
        if (fstatat(parent, name->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : entry_fault(fault, -errno, name->path, "look at");
        int r = 0;
        if (S_ISDIR(st.st_mode)) {
                r = path_remove_tree(parent, name->name);
                directory_cache_forget(&writer->directories, name->path);
        } else if (unlinkat(parent, name->name, 0) < 0)
                r = -errno;
        if (ret_whiteout)
                *ret_whiteout = is_whiteout(&st);
        return r < 0 ? entry_fault(fault, r, name->path, "replace") : 0;
}

/* Makes one directory, or finds it. One that takes the place of a whiteout must not show what lies below. */
static int writer_make_directory(LayerWriter *writer, int parent, const EntryName *name, bool replace,
                                 Fault *fault) {
        struct stat st;
        bool opaque = false;
        if (mkdirat(parent, name->name, 0700) < 0) {
                if (errno != EEXIST)
                        return entry_fault(fault, -errno, name->path, "make the directory");
                if (fstatat(parent, name->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return entry_fault(fault, -errno, name->path, "look at");
                if (S_ISDIR(st.st_mode))
                        return 0;
                if (!replace && !is_whiteout(&st))
                        return fault_set(
                                fault, -EBADMSG, "%s: is %s in this layer, but other entries lie below it",
                                name->path, S_ISLNK(st.st_mode) ? "a symbolic link" : "no directory");
                int r = writer_clear(writer, parent, name, &opaque, fault);
                if (r < 0)
                        return r;
                if (mkdirat(parent, name->name, 0700) < 0)
                        return entry_fault(fault, -errno, name->path, "make the directory");
        }
        return directory_table_add(writer->table, name->path, opaque, fault);
}

/* The directory that the first length bytes of path name, made with its parents if it is not there.
 * Borrowed. */
static int writer_open_directory(LayerWriter *writer, const char *path, size_t length, Fault *fault) {
        int fd = directory_cache_open(&writer->directories, path, length);
        if (fd >= 0)
                return fd;
        if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
                return entry_fault(fault, fd, path, "open the parent of");

        /* From the top, one by one: something on the way is missing, or is no directory. */
        EntryName part;
        memcpy(part.path, path, length + 1);
        for (size_t end = 0; end < length;) {
                part.parent_length = end > 0 ? end - 1 : 0;
                size_t next = end + strcspn(path + end, "/");
                next = MIN_OF(next, length);
                memcpy(part.path, path, next);
                part.path[next] = '\0';
                part.name = part.path + end;
                fd = directory_cache_open(&writer->directories, path, part.parent_length);
                if (fd < 0)
                        return entry_fault(fault, fd, part.path, "open the parent of");
                int r = writer_count(writer, fault);
                if (r >= 0)
                        r = writer_make_directory(writer, fd, &part, false, fault);
                if (r < 0)
                        return r;
                end = next + 1;
        }
        fd = directory_cache_open(&writer->directories, path, length);
        return fd < 0 ? entry_fault(fault, fd, path, "open the parent of") : fd;
}

static int writer_open_parent(LayerWriter *writer, const EntryName *name, Fault *fault) {
        return writer_open_directory(writer, name->path, name->parent_length, fault);
}

static int write_directory(LayerWriter *writer, const EntryName *name, const LayerEntry *entry,
                           Fault *fault) {
        int parent = writer_open_parent(writer, name, fault);
        if (parent < 0)
                return parent;
        int r = writer_make_directory(writer, parent, name, true, fault);
        return r < 0 ? r : directory_table_describe(writer->table, name->path, entry, fault);
}

/* ---- files ---- */

static int file_write_contents(LayerWriter *writer, int fd, const EntryName *name, const LayerEntry *entry,
                               Fault *fault) {
        uint64_t end = 0;
        for (;;) {
                const void *data;
                size_t size;
                uint64_t offset;
                int r = layer_archive_read(writer->archive, &data, &size, &offset, fault);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                for (const char *p = data; size > 0;) {
                        ssize_t n = pwrite(fd, p, size, (off_t) offset);
                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n < 0)
                                return entry_fault(fault, -errno, name->path, "write");
                        p += n;
                        size -= (size_t) n;
                        offset += (uint64_t) n;
                        writer->bytes += (uint64_t) n;
                }
                end = MAX_OF(end, offset);
        }
        if (end < entry->size && ftruncate(fd, (off_t) entry->size) < 0)
                return entry_fault(fault, -errno, name->path, "set the size of");
        return 0;
}

/* The order matters: writing and changing the owner take setuid bits and file capabilities away, and
 * everything changes the times. */
static int file_set_attributes(int fd, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        if ((entry->uid != 0 || entry->gid != 0) && fchown(fd, entry->uid, entry->gid) < 0)
                return entry_fault(fault, -errno, name->path, "set the owner of");
        if ((entry->mode & 07000) != 0 && fchmod(fd, entry->mode & 07777) < 0)
                return entry_fault(fault, -errno, name->path, "set the mode of");
        int r = entry_set_xattrs(fd, entry->xattrs, entry->xattr_count, name->path, fault);
        if (r < 0)
                return r;
        return futimens(fd, entry->times) < 0 ? entry_fault(fault, -errno, name->path, "set the times of")
                                              : 0;
}

static int write_file(LayerWriter *writer, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        int parent = writer_open_parent(writer, name, fault);
        if (parent < 0)
                return parent;
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int fd = openat(parent, name->name, flags, entry->mode & 0777);
        if (fd < 0 && errno == EEXIST) {
                int r = writer_clear(writer, parent, name, NULL, fault);
                if (r < 0)
                        return r;
                fd = openat(parent, name->name, flags, entry->mode & 0777);
        }
        if (fd < 0)
                return entry_fault(fault, -errno, name->path, "make the file");
        int r = file_write_contents(writer, fd, name, entry, fault);
        return r < 0 ? r : file_set_attributes(fd, name, entry, fault);
}

/* ---- what has no contents ---- */

static int make_node(int parent, const EntryName *name, const LayerEntry *entry) {
        int r = S_ISLNK(entry->mode) ? symlinkat(entry->symlink, parent, name->name)
                                     : mknodat(parent, name->name, entry->mode & (S_IFMT | 0777),
                                               S_ISFIFO(entry->mode) ? 0 : entry->device);
        return r < 0 ? -errno : 0;
}

static int write_node(LayerWriter *writer, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        if (S_ISLNK(entry->mode) && (!entry->symlink || !entry->symlink[0]))
                return fault_set(fault, -EBADMSG, "%s: is a symbolic link to nothing", name->path);
        int parent = writer_open_parent(writer, name, fault);
        if (parent < 0)
                return parent;
        int r = make_node(parent, name, entry);
        if (r == -EEXIST) {
                r = writer_clear(writer, parent, name, NULL, fault);
                if (r < 0)
                        return r;
                r = make_node(parent, name, entry);
        }
        if (r < 0)
                return entry_fault(fault, r, name->path, "make");
        if ((entry->uid != 0 || entry->gid != 0) &&
            fchownat(parent, name->name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return entry_fault(fault, -errno, name->path, "set the owner of");
        if (!S_ISLNK(entry->mode) && (entry->mode & 07000) != 0 &&
            fchmodat(parent, name->name, entry->mode & 07777, 0) < 0)
                return entry_fault(fault, -errno, name->path, "set the mode of");
        if (utimensat(parent, name->name, entry->times, AT_SYMLINK_NOFOLLOW) < 0)
                return entry_fault(fault, -errno, name->path, "set the times of");
        return 0;
}

static int write_hard_link(LayerWriter *writer, const EntryName *name, const LayerEntry *entry,
                           Fault *fault) {
        _cleanup_free_ EntryName *target = malloc(sizeof(*target));
        if (!target)
                return -ENOMEM;
        int r = entry_name_parse_path(entry->hard_link, target, fault);
        if (r < 0)
                return r;
        if (target->kind != ENTRY_PLAIN || strcmp(target->path, name->path) == 0)
                return fault_set(fault, -EBADMSG, "%s: is a hard link to itself or to the root", name->path);

        int parent = writer_open_parent(writer, name, fault);
        if (parent < 0)
                return parent;
        /* Kept apart: the cache may close a directory when it opens the next. */
        _cleanup_close_ int own_parent = fd_duplicate(parent);
        if (own_parent < 0)
                return own_parent;
        int from = directory_cache_open(&writer->directories, target->path, target->parent_length);
        if (from >= 0) {
                r = linkat(from, target->name, own_parent, name->name, 0) < 0 ? -errno : 0;
                if (r == -EEXIST) {
                        r = writer_clear(writer, own_parent, name, NULL, fault);
                        if (r < 0)
                                return r;
                        from = directory_cache_open(&writer->directories, target->path,
                                                    target->parent_length);
                        r = from < 0                                                    ? from
                            : linkat(from, target->name, own_parent, name->name, 0) < 0 ? -errno
                                                                                        : 0;
                }
        } else
                r = from;
        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EPERM)
                return fault_set(fault, -EBADMSG,
                                 "%s: is a hard link to '%s', which is no file of this layer", name->path,
                                 target->path);
        return r < 0 ? entry_fault(fault, r, name->path, "make the hard link") : 0;
}

/* ---- whiteouts ---- */

/* Whiteouts concern lower layers only (image-spec layer.md): what this layer itself brings under the name
 * stays, and if that is a directory, nothing of a lower one shines through. */
static int write_whiteout(LayerWriter *writer, const EntryName *name, Fault *fault) {
        int parent = writer_open_parent(writer, name, fault);
        if (parent < 0)
                return parent;
        if (mknodat(parent, name->name, S_IFCHR, WHITEOUT_DEVICE) >= 0)
                return 0;
        if (errno != EEXIST)
                return entry_fault(fault, -errno, name->path, "hide");
        struct stat st;
        if (fstatat(parent, name->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return entry_fault(fault, -errno, name->path, "look at");
        return S_ISDIR(st.st_mode) ? directory_table_set_opaque(writer->table, name->path, fault) : 0;
}

static int write_opaque(LayerWriter *writer, const EntryName *name, Fault *fault) {
        int fd = writer_open_directory(writer, name->path, strlen(name->path), fault);
        return fd < 0 ? fd : directory_table_set_opaque(writer->table, name->path, fault);
}

/* ---- all of it ---- */

static int write_plain(LayerWriter *writer, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        if (entry->hard_link)
                return write_hard_link(writer, name, entry, fault);
        switch (entry->mode & S_IFMT) {
        case S_IFREG:
                return write_file(writer, name, entry, fault);
        case S_IFDIR:
                return write_directory(writer, name, entry, fault);
        case S_IFLNK:
        case S_IFCHR:
        case S_IFBLK:
        case S_IFIFO:
                return write_node(writer, name, entry, fault);
        case S_IFSOCK:
                return 0; /* means nothing without the process that listened */
        default:
                return fault_set(fault, -EBADMSG, "%s: is of a type that no layer has", name->path);
        }
}

static int write_entry(LayerWriter *writer, const LayerEntry *entry, EntryName *name, Fault *fault) {
        int r = entry_name_parse(entry->path, name, fault);
        if (r < 0)
                return r;
        switch (name->kind) {
        case ENTRY_IGNORED:
                return 0;
        case ENTRY_ROOT:
                if (!S_ISDIR(entry->mode))
                        return fault_set(fault, -EBADMSG, "'%s': the root of a layer must be a directory",
                                         entry->path);
                return directory_table_describe(writer->table, "", entry, fault);
        case ENTRY_WHITEOUT:
                return write_whiteout(writer, name, fault);
        case ENTRY_OPAQUE:
                return write_opaque(writer, name, fault);
        default:
                return write_plain(writer, name, entry, fault);
        }
}

int layer_writer_run(LayerWriter *writer, int notes, Fault *fault) {
        _cleanup_free_ EntryName *name = new0(EntryName, 1);
        if (!name)
                return -ENOMEM;
        for (;;) {
                LayerEntry entry;
                int r = layer_archive_next(writer->archive, &entry, fault);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                r = writer_count(writer, fault);
                if (r >= 0)
                        r = write_entry(writer, &entry, name, fault);
                if (r < 0)
                        return r;
        }
        return directory_table_apply(writer->table, writer->root, notes, fault);
}
