/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"
#include "services/snapshots/directory-finish.h"
#include "services/snapshots/entry-attributes.h"
#include "services/snapshots/entry-name.h"
#include "services/snapshots/layer-way.h"
#include "services/snapshots/space-reserve.h"

#define WHITEOUT_DEVICE makedev(0, 0)

/* When it is looked at how much is left on the file system. */
#define UNCHECKED_MAX (UINT64_C(16) * 1024 * 1024)
#define UNCHECKED_ENTRY (UINT64_C(16) * 1024) /* that an entry stands for */

int layer_writer_init(LayerWriter *writer, int root, LayerArchive *archive, const LayerRules *rules) {
        *writer = (LayerWriter){
                .root = root, .archive = archive, .rules = *rules, .unchecked = UNCHECKED_MAX
        };
        if (writer->rules.entries_max == 0)
                writer->rules.entries_max = LIMIT_LAYER_ENTRIES;
        if (writer->rules.size_max == 0)
                writer->rules.size_max = LIMIT_LAYER_SIZE;
        return directory_tree_new(root, rules->work_max, &writer->tree);
}

void layer_writer_done(LayerWriter *writer) {
        writer->tree = directory_tree_free(writer->tree);
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

/* ---- limits ---- */

static int writer_spend(LayerWriter *writer, uint64_t bytes, Fault *fault) {
        writer->unchecked += bytes;
        if (writer->unchecked <= UNCHECKED_MAX)
                return 0;
        writer->unchecked = 0;
        return space_reserve_check(writer->root, "unpack the layer", fault);
}

static int writer_count(LayerWriter *writer, Fault *fault) {
        if (writer->entries++ >= writer->rules.entries_max)
                return fault_set(fault, -EDQUOT, "The layer has more than %llu entries",
                                 (unsigned long long) writer->rules.entries_max);
        return writer_spend(writer, UNCHECKED_ENTRY, fault);
}

static int too_much_work(Fault *fault) {
        return fault_set(fault, -EDQUOT,
                         "The layer has more entries in deeper directories than can be handled");
}

/* ---- directories ---- */

/* Where an entry is made. */
typedef struct Place {
        DirectoryNode *parent;
        int fd; /* of that; the tree's */
        const EntryName *name;
} Place;

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == WHITEOUT_DEVICE;
}

/* Makes way for a new entry. *ret_whiteout: a lower layer's name was hidden here. */
static int writer_clear(LayerWriter *writer, const Place *place, bool *ret_whiteout, Fault *fault) {
        const EntryName *name = place->name;
        DirectoryNode *node =
                directory_tree_child(writer->tree, place->parent, name->name, strlen(name->name));
        struct stat st;
        int r = 0;
        if (node) {
                directory_tree_remove(writer->tree, node);
                r = path_remove_tree(place->fd, name->name);
        } else {
                if (ret_whiteout && fstatat(place->fd, name->name, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                        *ret_whiteout = is_whiteout(&st);
                if (unlinkat(place->fd, name->name, 0) < 0)
                        r = -errno;
        }
        return r < 0 ? entry_fault(fault, r, name->path, "replace") : 0;
}

static int bad_parent(const EntryName *name, Fault *fault) {
        return fault_set(fault, -EBADMSG,
                         "%s: is no directory in this layer, but other entries lie below it", name->path);
}

/* Makes a directory that the tree does not have. One that takes the place of a whiteout must not show what
 * lies below. 1: it has a symbolic link there, which is not to be replaced. */
static int writer_make_directory(LayerWriter *writer, const Place *place, bool replace, DirectoryNode **ret,
                                 Fault *fault) {
        const EntryName *name = place->name;
        struct stat st;
        bool opaque = false;
        if (mkdirat(place->fd, name->name, DIRECTORY_MODE) < 0) {
                if (errno != EEXIST)
                        return entry_fault(fault, -errno, name->path, "make the directory");
                if (!replace && fstatat(place->fd, name->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return entry_fault(fault, -errno, name->path, "look at");
                if (!replace && S_ISLNK(st.st_mode))
                        return 1;
                if (!replace && !is_whiteout(&st))
                        return bad_parent(name, fault);
                int r = writer_clear(writer, place, &opaque, fault);
                if (r < 0)
                        return r;
                if (mkdirat(place->fd, name->name, DIRECTORY_MODE) < 0)
                        return entry_fault(fault, -errno, name->path, "make the directory");
        }
        int r = directory_tree_add(writer->tree, place->parent, name->name, strlen(name->name), ret, fault);
        if (r >= 0)
                (*ret)->opaque = opaque;
        return r;
}

/* A way on which parts are missing, or are symbolic links. */
typedef struct WriterWay {
        LayerWay way;
        EntryName part; /* the next one below */
} WriterWay;

static int way_follow(LayerWriter *writer, const Place *place, LayerWay *way, Fault *fault) {
        char target[LIMIT_PATH_LENGTH + 1];
        ssize_t length = readlinkat(place->fd, way->component, target, sizeof(target) - 1);
        if (length < 0)
                return entry_fault(fault, -errno, way->entry, "read the link on the way");
        target[length] = '\0';
        if (!directory_tree_spend(writer->tree, layer_way_work(way, (size_t) length)))
                return too_much_work(fault);
        return layer_way_insert(way, target, fault);
}

/* -ENOENT: it is missing, and not to be made. */
static int way_enter(LayerWriter *writer, WriterWay *on, bool make, Fault *fault) {
        LayerWay *way = &on->way;
        Place place = { .parent = way->node, .name = &on->part };
        if (!directory_tree_spend(writer->tree, 1))
                return too_much_work(fault);
        DirectoryNode *child =
                directory_tree_child(writer->tree, way->node, way->component, strlen(way->component));
        if (child) {
                way->node = child;
                return 0;
        }
        int r = place.fd = directory_tree_open(writer->tree, way->node, fault);
        if (r < 0)
                return r;
        if (!make) {
                struct stat st;
                return fstatat(place.fd, way->component, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                                       !S_ISLNK(st.st_mode)
                               ? -ENOENT
                               : way_follow(writer, &place, way, fault);
        }
        r = writer_make_directory(writer, &place, false, &way->node, fault);
        return r > 0 ? way_follow(writer, &place, way, fault) : r < 0 ? r : writer_count(writer, fault);
}

/* From the last directory that the tree knows, one by one. */
static int writer_walk(LayerWriter *writer, DirectoryNode **node, const char *path, size_t length, bool make,
                       Fault *fault) {
        WriterWay on = { .part = { .kind = ENTRY_PLAIN, .name = on.way.component } };
        memcpy(on.part.path, path, length);
        layer_way_begin(&on.way, *node, path, length, on.part.path);
        int r;
        while ((r = layer_way_next(&on.way, fault)) > 0)
                if ((r = way_enter(writer, &on, make, fault)) < 0)
                        break;
        *node = on.way.node;
        return r;
}

/* The directory that the first length bytes of path name, made with its parents if it is not there. Links of
 * this layer lead to where they do when it is unpacked on top of others; those of its parents are followed
 * when it is put on them (tree-through.h). */
static int writer_reach(LayerWriter *writer, const char *path, size_t length, DirectoryNode **ret,
                        Fault *fault) {
        DirectoryNode *node = directory_tree_find(writer->tree, path, length);
        if (!node)
                return too_much_work(fault);
        int r = node->path_length < length ? writer_walk(writer, &node, path, length, true, fault) : 0;
        if (r >= 0)
                *ret = node;
        return r;
}

static int writer_open_parent(LayerWriter *writer, const EntryName *name, Place *ret, Fault *fault) {
        ret->name = name;
        int r = writer_reach(writer, name->path, name->parent_length, &ret->parent, fault);
        if (r >= 0 && ret->parent->path_length + 1U + strlen(name->name) > LIMIT_PATH_LENGTH)
                return entry_fault(fault, -ENAMETOOLONG, name->path, "go through the links");
        if (r >= 0)
                r = ret->fd = directory_tree_open(writer->tree, ret->parent, fault);
        return r < 0 ? r : 0;
}

static int write_directory(LayerWriter *writer, const EntryName *name, const LayerEntry *entry,
                           Fault *fault) {
        Place place;
        int r = writer_open_parent(writer, name, &place, fault);
        if (r < 0)
                return r;
        DirectoryNode *node =
                directory_tree_child(writer->tree, place.parent, name->name, strlen(name->name));
        if (!node)
                r = writer_make_directory(writer, &place, true, &node, fault);
        return r < 0 ? r : directory_tree_describe(writer->tree, node, entry, fault);
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
                r = writer_spend(writer, size, fault);
                if (r < 0)
                        return r;
                for (const char *p = data; size > 0;) {
                        ssize_t n = pwrite(fd, p, size, (off_t) offset);
                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n < 0)
                                return entry_fault(fault, -errno, name->path, "write");
                        p += n;
                        size -= (size_t) n;
                        offset += (uint64_t) n;
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

static int make_file(const Place *place, mode_t mode) {
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        int fd = openat(place->fd, place->name->name, flags, mode & 0777);
        return fd < 0 ? -errno : fd;
}

/* A hole takes no room here, but may where the file is copied to. */
static int check_size(LayerWriter *writer, const LayerEntry *entry, Fault *fault) {
        uint64_t maximum = writer->rules.size_max;
        if (entry->size > maximum || writer->bytes > maximum - entry->size)
                return fault_set(fault, -EDQUOT, "The files of the layer have more than %llu bytes",
                                 (unsigned long long) maximum);
        writer->bytes += entry->size;
        return 0;
}

static int write_file(LayerWriter *writer, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        Place place;
        int r = check_size(writer, entry, fault);
        if (r >= 0)
                r = writer_open_parent(writer, name, &place, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = make_file(&place, entry->mode);
        if (fd == -EEXIST) {
                r = writer_clear(writer, &place, NULL, fault);
                if (r < 0)
                        return r;
                fd = make_file(&place, entry->mode);
        }
        if (fd < 0)
                return entry_fault(fault, fd, name->path, "make the file");
        r = file_write_contents(writer, fd, name, entry, fault);
        return r < 0 ? r : file_set_attributes(fd, name, entry, fault);
}

/* ---- what has no contents ---- */

static int make_node(const Place *place, const LayerEntry *entry) {
        const char *name = place->name->name;
        int r = S_ISLNK(entry->mode) ? symlinkat(entry->symlink, place->fd, name)
                                     : mknodat(place->fd, name, entry->mode & (S_IFMT | 0777),
                                               S_ISFIFO(entry->mode) ? 0 : entry->device);
        return r < 0 ? -errno : 0;
}

static int write_node(LayerWriter *writer, const EntryName *name, const LayerEntry *entry, Fault *fault) {
        if (S_ISLNK(entry->mode) && (!entry->symlink || !entry->symlink[0]))
                return fault_set(fault, -EBADMSG, "%s: is a symbolic link to nothing", name->path);
        Place place;
        int r = writer_open_parent(writer, name, &place, fault);
        if (r < 0)
                return r;
        r = make_node(&place, entry);
        if (r == -EEXIST) {
                r = writer_clear(writer, &place, NULL, fault);
                if (r < 0)
                        return r;
                r = make_node(&place, entry);
        }
        if (r < 0)
                return entry_fault(fault, r, name->path, "make");
        if ((entry->uid != 0 || entry->gid != 0) &&
            fchownat(place.fd, name->name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return entry_fault(fault, -errno, name->path, "set the owner of");
        if (!S_ISLNK(entry->mode) && (entry->mode & 07000) != 0 &&
            fchmodat(place.fd, name->name, entry->mode & 07777, 0) < 0)
                return entry_fault(fault, -errno, name->path, "set the mode of");
        r = entry_set_xattrs_at(place.fd, name->name, entry->xattrs, entry->xattr_count, fault);
        if (r < 0)
                return r;
        if (utimensat(place.fd, name->name, entry->times, AT_SYMLINK_NOFOLLOW) < 0)
                return entry_fault(fault, -errno, name->path, "set the times of");
        return 0;
}

/* -ENOENT where the target's directory is none of this layer. */
static int make_hard_link(LayerWriter *writer, const EntryName *target, Place *place, Fault *fault) {
        struct stat st;
        DirectoryNode *from = directory_tree_find(writer->tree, target->path, target->parent_length);
        if (!from)
                return too_much_work(fault);
        int r = from->path_length < target->parent_length
                        ? writer_walk(writer, &from, target->path, target->parent_length, false, fault)
                        : 0;
        if (r < 0)
                return r;
        int fd = directory_tree_open(writer->tree, from, fault);
        if (fd < 0)
                return fd;
        place->fd = directory_tree_open(writer->tree, place->parent, fault); /* may have been closed since */
        if (place->fd < 0)
                return place->fd;
        if (fstatat(fd, target->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (is_whiteout(&st)) /* hides a name of a lower layer, and is no file */
                return -ENOENT;
        return linkat(fd, target->name, place->fd, place->name->name, 0) < 0 ? -errno : 0;
}

static int write_hard_link(LayerWriter *writer, const EntryName *name, const LayerEntry *entry,
                           Fault *fault) {
        EntryName target;
        Place place;
        int r = entry_name_parse_path(entry->hard_link, &target, fault);
        if (r < 0)
                return r;
        if (target.kind != ENTRY_PLAIN || strcmp(target.path, name->path) == 0)
                return fault_set(fault, -EBADMSG, "%s: is a hard link to itself or to the root", name->path);
        r = writer_open_parent(writer, name, &place, fault);
        if (r < 0)
                return r;
        r = make_hard_link(writer, &target, &place, fault);
        if (r == -EEXIST) {
                r = writer_clear(writer, &place, NULL, fault);
                if (r < 0)
                        return r;
                r = make_hard_link(writer, &target, &place, fault);
        }
        if (r == -ENOENT || r == -EPERM)
                return fault_set(fault, -EBADMSG,
                                 "%s: is a hard link to '%s', which is no file of this layer", name->path,
                                 target.path);
        return r < 0 ? entry_fault(fault, r, name->path, "make the hard link") : 0;
}

/* ---- whiteouts ---- */

/* Whiteouts concern lower layers only (image-spec layer.md): what this layer itself brings under the name
 * stays, and if that is a directory, nothing of a lower one shines through. */
static int write_whiteout(LayerWriter *writer, const EntryName *name, Fault *fault) {
        Place place;
        int r = writer_open_parent(writer, name, &place, fault);
        if (r < 0)
                return r;
        DirectoryNode *node =
                directory_tree_child(writer->tree, place.parent, name->name, strlen(name->name));
        if (node)
                node->opaque = true;
        else if (mknodat(place.fd, name->name, S_IFCHR, WHITEOUT_DEVICE) < 0 && errno != EEXIST)
                return entry_fault(fault, -errno, name->path, "hide");
        return 0;
}

static int write_opaque(LayerWriter *writer, const EntryName *name, Fault *fault) {
        DirectoryNode *node = NULL;
        int r = writer_reach(writer, name->path, strlen(name->path), &node, fault);
        if (r >= 0)
                node->opaque = true;
        return r;
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
                return directory_tree_describe(writer->tree, directory_tree_root(writer->tree), entry,
                                               fault);
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
                entry.xattr_count =
                        xattrs_select(entry.xattrs, entry.xattr_count, writer->rules.keep_labels);
                r = writer_count(writer, fault);
                if (r >= 0)
                        r = write_entry(writer, &entry, name, fault);
                if (r < 0)
                        return r;
        }
        return directory_finish(writer->tree, notes, fault);
}

/* An archive ends before its stream does: with blocks of zeros, and whatever else, which belongs to the
 * digest. */
static int drain(LayerSource source, Fault *fault) {
        const uint8_t *data;
        size_t size;
        int r;
        do
                r = source.next(source.userdata, &data, &size, fault);
        while (r > 0);
        return r;
}

int layer_writer_unpack(int root, LayerSource source, const LayerRules *rules, int notes, uint64_t *ret_size,
                        Fault *fault) {
        _cleanup_(layer_archive_freep) LayerArchive *archive = NULL;
        LayerWriter writer;
        int r = layer_archive_new(source, &archive);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't unpack the layer");
        r = layer_writer_init(&writer, root, archive, rules);
        if (r < 0)
                r = fault_set_errno(fault, r, "Can't unpack the layer");
        if (r >= 0)
                r = layer_writer_run(&writer, notes, fault);
        if (r >= 0)
                r = drain(source, fault);
        *ret_size = writer.bytes;
        layer_writer_done(&writer);
        return r;
}
