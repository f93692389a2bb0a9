/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/erofs-image.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/snapshots/erofs-inode.h"

/* Block 0 has the superblock at its second kilobyte. Then come the files, the directories, and the inodes
 * with their attributes and the targets of symbolic links: numbers of inodes are their places there, in
 * units of 32 bytes. */
#define SUPERBLOCK_OFFSET 1024
#define SUPERBLOCK_MAGIC 0xe0f5e1e2
#define BLOCK_BITS 12
#define INODE_SIZE ((uint64_t) 64) /* the extended form: 32-bit owners, 64-bit times and sizes */
#define INODE_SLOT 32
#define FIRST_INODE ((uint64_t) 64) /* not 0, which looks like no inode */
#define FORMAT_PLAIN 1              /* extended, contents in blocks */
#define FORMAT_INLINE 5             /* extended, contents behind the inode */
#define FORMAT_CHUNKS 9             /* extended, a map of chunks behind the inode */
#define HAS_CHUNKS 4                /* EROFS_FEATURE_INCOMPAT_CHUNKED_FILE */
#define DIRENT_SIZE ((size_t) 12)
#define BUFFER_SIZE ((size_t) 1024 * 1024)

typedef struct Superblock {
        uint32_t magic, checksum, feature_compat;
        uint8_t block_bits, extension_slots;
        uint16_t root;
        uint64_t inode_count, build_time;
        uint32_t build_time_nsec, blocks, inode_block, xattr_block;
        uint8_t uuid[16], name[16];
        uint32_t feature_incompat;
        uint8_t reserved[44];
} Superblock;
static_assert(sizeof(Superblock) == 128, "as on the disk");

typedef struct DiskInode {
        uint16_t format, xattr_count, mode, reserved;
        uint64_t size;
        uint32_t place, number, uid, gid;
        uint64_t mtime;
        uint32_t mtime_nsec, link_count;
        uint8_t reserved2[16];
} DiskInode;
static_assert(sizeof(DiskInode) == INODE_SIZE, "as on the disk");

typedef struct DiskEntry {
        uint64_t inode;
        uint16_t name_offset;
        uint8_t type, reserved;
} __attribute__((packed)) DiskEntry;
static_assert(sizeof(DiskEntry) == DIRENT_SIZE, "as on the disk");

/* ---- bytes one after the other ---- */

typedef struct Output {
        int fd;
        uint64_t start;
        uint64_t offset; /* of what comes next */
        size_t used;
        uint64_t hash[2]; /* FNV-1a of it all, with two starts: the image's name for the kernel */
        uint8_t *buffer;
} Output;

static int output_flush(Output *output) {
        for (size_t done = 0; done < output->used;) {
                ssize_t n = pwrite(output->fd, output->buffer + done, output->used - done,
                                   (off_t) (output->start + done));
                if (n < 0)
                        return -errno;
                done += (size_t) n;
        }
        output->start += output->used;
        output->used = 0;
        return 0;
}

static int output_add(Output *output, const void *data, size_t size) {
        const uint8_t *bytes = data;
        for (size_t i = 0; i < size; i++) {
                if (output->used == BUFFER_SIZE) {
                        int r = output_flush(output);
                        if (r < 0)
                                return r;
                }
                uint8_t byte = bytes ? bytes[i] : 0;
                output->buffer[output->used++] = byte;
                for (size_t k = 0; k < ELEMENTS_OF(output->hash); k++)
                        output->hash[k] = (output->hash[k] ^ byte) * UINT64_C(0x100000001b3);
        }
        output->offset += size;
        return 0;
}

static int output_pad(Output *output, uint64_t offset) {
        assert(offset >= output->offset);
        return output_add(output, NULL, (size_t) (offset - output->offset));
}

/* ---- where everything goes ---- */

static bool is_inline(const ErofsInode *inode) {
        return inode->link && INODE_SIZE + inode->xattr_size + inode->size <= EROFS_BLOCK;
}

/* Of what follows its attributes. */
static uint64_t size_behind(const ErofsInode *inode) {
        return inode->chunks ? erofs_chunks_map_size(inode->chunks) : is_inline(inode) ? inode->size : 0;
}

/* Contents behind an inode must be in the block in which it ends. */
static uint64_t place_inode(const ErofsInode *inode, uint64_t offset) {
        uint64_t end = offset + INODE_SIZE + inode->xattr_size;
        if (is_inline(inode) && end % EROFS_BLOCK + inode->size > EROFS_BLOCK)
                return (offset + EROFS_BLOCK - 1) / EROFS_BLOCK * EROFS_BLOCK;
        return offset;
}

typedef struct DirectoryEntry {
        const char *name;
        size_t inode;
} DirectoryEntry;

/* The entries of a directory with "." and "..", in the order of bytes; what is before '.' comes first. */
static DirectoryEntry *sort_entries(const ErofsTree *tree, size_t index, size_t *ret_count) {
        const ErofsInode *directory = &tree->inodes[index];
        DirectoryEntry *entries = new0(DirectoryEntry, directory->child_count + 2);
        if (!entries)
                return NULL;
        size_t count = 0, child = 0;
        const DirectoryEntry dots[] = { { ".", index }, { "..", directory->parent } };
        for (size_t dot = 0; dot < ELEMENTS_OF(dots); dot++) {
                for (; child < directory->child_count; child++) {
                        size_t inode = directory->first_child + child;
                        if (strcmp(tree->inodes[inode].name, dots[dot].name) > 0)
                                break;
                        entries[count++] = (DirectoryEntry){ tree->inodes[inode].name, inode };
                }
                entries[count++] = dots[dot];
        }
        for (; child < directory->child_count; child++)
                entries[count++] = (DirectoryEntry){ tree->inodes[directory->first_child + child].name,
                                                     directory->first_child + child };
        *ret_count = count;
        return entries;
}

/* How many of the entries go into one block, and the bytes that they take. */
static size_t fill_block(const DirectoryEntry *entries, size_t count, size_t *ret_size) {
        size_t size = 0, i = 0;
        for (; i < count; i++) {
                size_t more = DIRENT_SIZE + strlen(entries[i].name);
                if (size + more > EROFS_BLOCK)
                        break;
                size += more;
        }
        *ret_size = size;
        return i;
}

static int measure_directory(ErofsTree *tree, size_t index) {
        size_t count, size = 0;
        _cleanup_free_ DirectoryEntry *entries = sort_entries(tree, index, &count);
        if (!entries)
                return -ENOMEM;
        uint64_t blocks = 0;
        for (size_t done = 0; done < count; blocks++)
                done += fill_block(entries + done, count - done, &size);
        tree->inodes[index].size = (blocks - 1) * EROFS_BLOCK + size;
        tree->inodes[index].block = tree->blocks;
        tree->blocks += blocks;
        return 0;
}

/* Returns the size of the area of inodes. */
static int lay_out(ErofsTree *tree, uint64_t *ret_size) {
        uint64_t offset = FIRST_INODE;
        for (size_t i = 0; i < tree->count; i++) {
                ErofsInode *inode = &tree->inodes[i];
                if (inode->same_as != i)
                        continue;
                if (S_ISDIR(inode->mode)) {
                        int r = measure_directory(tree, i);
                        if (r < 0)
                                return r;
                }
                if (inode->link && !is_inline(inode)) {
                        inode->block = tree->blocks;
                        tree->blocks += EROFS_BLOCKS(inode->size);
                }
                inode->offset = place_inode(inode, offset);
                offset = inode->offset + INODE_SIZE + inode->xattr_size + size_behind(inode);
                offset = (offset + INODE_SIZE - 1) / INODE_SIZE * INODE_SIZE;
        }
        *ret_size = offset;
        return tree->blocks + EROFS_BLOCKS(offset) > UINT32_MAX ? -EFBIG : 0;
}

/* ---- writing ---- */

static uint8_t entry_type(mode_t mode) {
        switch (mode & S_IFMT) {
        case S_IFREG:
                return 1;
        case S_IFDIR:
                return 2;
        case S_IFCHR:
                return 3;
        case S_IFBLK:
                return 4;
        case S_IFIFO:
                return 5;
        case S_IFSOCK:
                return 6;
        default:
                return 7;
        }
}

static int write_directory_block(Output *output, const ErofsTree *tree, const DirectoryEntry *entries,
                                 size_t count) {
        size_t name_offset = count * DIRENT_SIZE;
        int r = 0;
        for (size_t i = 0; r >= 0 && i < count; i++) {
                const ErofsInode *inode = &tree->inodes[tree->inodes[entries[i].inode].same_as];
                const DiskEntry entry = {
                        .inode = htole64(inode->offset / INODE_SLOT),
                        .name_offset = htole16((uint16_t) name_offset),
                        .type = entry_type(inode->mode),
                };
                r = output_add(output, &entry, sizeof(entry));
                name_offset += strlen(entries[i].name);
        }
        for (size_t i = 0; r >= 0 && i < count; i++)
                r = output_add(output, entries[i].name, strlen(entries[i].name));
        return r;
}

static int write_directory(Output *output, const ErofsTree *tree, size_t index) {
        size_t count, size;
        _cleanup_free_ DirectoryEntry *entries = sort_entries(tree, index, &count);
        int r = entries ? 0 : -ENOMEM;
        uint64_t block = tree->inodes[index].block;
        for (size_t done = 0; r >= 0 && done < count; block++) {
                size_t n = fill_block(entries + done, count - done, &size);
                r = output_pad(output, block * EROFS_BLOCK);
                if (r >= 0)
                        r = write_directory_block(output, tree, entries + done, n);
                done += n;
        }
        return r;
}

static int write_contents(Output *output, const ErofsTree *tree) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < tree->count; i++) {
                const ErofsInode *inode = &tree->inodes[i];
                if (inode->same_as != i)
                        continue;
                if (S_ISDIR(inode->mode))
                        r = write_directory(output, tree, i);
                else if (inode->link && !is_inline(inode)) {
                        r = output_pad(output, inode->block * EROFS_BLOCK);
                        if (r >= 0)
                                r = output_add(output, inode->link, inode->size);
                }
        }
        return r;
}

/* The kernel's new_encode_dev(). */
static uint32_t encode_device(dev_t device) {
        return (minor(device) & 0xffU) | (major(device) << 8) | ((minor(device) & ~0xffU) << 12);
}

static uint16_t inode_format(const ErofsInode *inode) {
        return inode->chunks ? FORMAT_CHUNKS : is_inline(inode) ? FORMAT_INLINE : FORMAT_PLAIN;
}

/* Where its contents are, or what a device it is, or how large its chunks are: as a power of two, in blocks.
 */
static uint32_t inode_place(const ErofsInode *inode) {
        if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
                return encode_device(inode->device);
        return inode->chunks ? inode->chunks->bits - BLOCK_BITS : (uint32_t) inode->block;
}

static int add_map(void *userdata, const uint32_t *entries, size_t count) {
        return output_add(userdata, entries, count * sizeof(*entries));
}

static int write_inode(Output *output, const ErofsInode *inode, size_t number) {
        const DiskInode disk = {
                .format = htole16(inode_format(inode)),
                .xattr_count =
                        htole16((uint16_t) (inode->xattr_size > 0 ? (inode->xattr_size - 12) / 4 + 1 : 0)),
                .mode = htole16((uint16_t) inode->mode),
                .size = htole64(inode->size),
                .place = htole32(inode_place(inode)),
                .number = htole32((uint32_t) number + 1),
                .uid = htole32(inode->uid),
                .gid = htole32(inode->gid),
                .mtime = htole64((uint64_t) inode->changed.tv_sec),
                .mtime_nsec = htole32((uint32_t) inode->changed.tv_nsec),
                .link_count = htole32(inode->link_count),
        };
        int r = output_add(output, &disk, sizeof(disk));
        if (r >= 0)
                r = output_add(output, inode->xattrs, inode->xattr_size);
        if (r >= 0 && inode->chunks)
                return erofs_chunks_write_map(inode->chunks, add_map, output);
        if (r >= 0 && is_inline(inode))
                r = output_add(output, inode->link, inode->size);
        return r;
}

static int write_inodes(Output *output, const ErofsTree *tree) {
        uint64_t base = tree->blocks * EROFS_BLOCK;
        int r = 0;
        for (size_t i = 0; r >= 0 && i < tree->count; i++) {
                if (tree->inodes[i].same_as != i)
                        continue;
                r = output_pad(output, base + tree->inodes[i].offset);
                if (r >= 0)
                        r = write_inode(output, &tree->inodes[i], i);
        }
        return r;
}

static int write_superblock(const Output *output, const ErofsTree *tree) {
        uint64_t inodes = 0;
        bool has_chunks = false;
        for (size_t i = 0; i < tree->count; i++) {
                inodes += tree->inodes[i].same_as == i;
                has_chunks = has_chunks || tree->inodes[i].chunks;
        }
        Superblock super = {
                .magic = htole32(SUPERBLOCK_MAGIC),
                .block_bits = BLOCK_BITS,
                .root = htole16((uint16_t) (tree->inodes[0].offset / INODE_SLOT)),
                .inode_count = htole64(inodes),
                .blocks = htole32((uint32_t) EROFS_BLOCKS(output->offset)),
                .inode_block = htole32((uint32_t) tree->blocks),
                .feature_incompat = htole32(has_chunks ? HAS_CHUNKS : 0),
        };
        memcpy(super.uuid, output->hash, sizeof(super.uuid));
        ssize_t n = pwrite(output->fd, &super, sizeof(super), SUPERBLOCK_OFFSET);
        return n < 0 ? -errno : n != sizeof(super) ? -EIO : 0;
}

static int write_image(ErofsTree *tree) {
        uint64_t first = tree->blocks * EROFS_BLOCK, inodes;
        Output output = {
                .fd = tree->image,
                .start = first,
                .offset = first,
                .hash = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x84222325cbf29ce4) },
                .buffer = malloc(BUFFER_SIZE),
        };
        int r = output.buffer ? lay_out(tree, &inodes) : -ENOMEM;
        if (r >= 0)
                r = write_contents(&output, tree);
        if (r >= 0)
                r = write_inodes(&output, tree);
        if (r >= 0)
                r = output_pad(&output, EROFS_BLOCKS(output.offset) * EROFS_BLOCK);
        if (r >= 0)
                r = output_flush(&output);
        if (r >= 0)
                r = write_superblock(&output, tree);
        free(output.buffer);
        return r;
}

static void tree_done(ErofsTree *tree) {
        erofs_tree_done(tree);
}

int erofs_image_write(int root, int image, Fault *fault) {
        _cleanup_(tree_done) ErofsTree tree = { 0 };
        int r = erofs_tree_read(&tree, root, image, fault);
        if (r < 0)
                return r;
        r = write_image(&tree);
        if (r == -ENOSPC || r == -EDQUOT)
                return fault_set(fault, -ENOSPC, "No space left for the image of the layer");
        return r < 0 ? fault_set_errno(fault, r, "Can't write the image of the layer") : 0;
}
