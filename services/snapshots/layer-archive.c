/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-archive.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/strv.h"
#include "services/snapshots/layer-header.h"
#include "services/snapshots/layer-pax.h"
#include "services/snapshots/layer-sparse.h"

/* What comes in a row before one entry: two are usual. */
#define EXTENSIONS_MAX 64
/* A path may have 4095 bytes; what is longer is read to be refused with its beginning. */
#define LONG_NAME_MAX ((size_t) 128 * 1024)
/* What makedev() and the kernel's device numbers have room for. */
#define MAJOR_MAX 4095
#define MINOR_MAX 1048575
#define SPARSE_NUMBER_MAX 20

/* GNU tar's manual, "Storing Sparse Files". */
typedef enum SparseFormat {
        SPARSE_NONE,
        SPARSE_OLD,     /* in the header and in blocks behind it */
        SPARSE_RECORDS, /* 0.0: pairs of pax records */
        SPARSE_LIST,    /* 0.1: one pax record */
        SPARSE_MAP,     /* 1.0: at the beginning of the contents */
        SPARSE_UNKNOWN,
} SparseFormat;

typedef struct LongName {
        char *text;
        bool is_set;
} LongName;

struct LayerArchive {
        LayerSource source;
        const uint8_t *next; /* of the current stretch */
        size_t available;
        bool at_end;

        uint64_t entries; /* seen so far, to name the place of damage */
        unsigned extensions;
        bool is_extended; /* something was said about the entry to come */
        uint64_t left;    /* bytes of contents that are still in the stream */
        size_t padding;
        uint8_t block[LAYER_BLOCK_SIZE];
        LayerHeader header;
        LayerPax pax;
        LongName name, link;

        SparseFormat sparse_format;
        LayerSparse sparse;
        size_t extent;        /* the current one */
        uint64_t extent_done; /* of its bytes */
};

int layer_archive_new(LayerSource source, LayerArchive **ret) {
        LayerArchive *archive = new0(LayerArchive, 1);
        if (!archive)
                return -ENOMEM;
        archive->source = source;
        *ret = archive;
        return 0;
}

LayerArchive *layer_archive_free(LayerArchive *archive) {
        if (!archive)
                return NULL;
        layer_pax_done(&archive->pax);
        layer_sparse_done(&archive->sparse);
        free(archive->name.text);
        free(archive->link.text);
        return mfree(archive);
}

/* ---- the stream ---- */

static int archive_fill(LayerArchive *archive, Fault *fault) {
        while (archive->available == 0 && !archive->at_end) {
                int r = archive->source.next(archive->source.userdata, &archive->next, &archive->available,
                                             fault);
                if (r < 0)
                        return r;
                archive->at_end = r == 0;
        }
        return archive->available > 0;
}

static int archive_is_truncated(Fault *fault) {
        return fault_set(fault, -EBADMSG, "it is truncated");
}

/* Up to maximum bytes where they lie. */
static int archive_take(LayerArchive *archive, uint64_t maximum, const uint8_t **ret, size_t *ret_size,
                        Fault *fault) {
        int r = archive_fill(archive, fault);
        if (r <= 0)
                return r < 0 ? r : archive_is_truncated(fault);
        *ret_size = (size_t) MIN_OF((uint64_t) archive->available, maximum);
        *ret = archive->next;
        archive->next += *ret_size;
        archive->available -= *ret_size;
        return 0;
}

static int archive_copy(LayerArchive *archive, void *to, size_t size, Fault *fault) {
        for (size_t done = 0; done < size;) {
                const uint8_t *from = NULL;
                size_t n = 0;
                int r = archive_take(archive, size - done, &from, &n, fault);
                if (r < 0)
                        return r;
                memcpy((char *) to + done, from, n);
                done += n;
        }
        return 0;
}

static int archive_skip(LayerArchive *archive, uint64_t size, Fault *fault) {
        while (size > 0) {
                const uint8_t *data = NULL;
                size_t n = 0;
                int r = archive_take(archive, size, &data, &n, fault);
                if (r < 0)
                        return r;
                size -= n;
        }
        return 0;
}

/* The next block; 0 at the end of the stream. Borrowed, or a copy of one that lies in two stretches. */
static int archive_next_block(LayerArchive *archive, const uint8_t **ret, Fault *fault) {
        int r = archive_fill(archive, fault);
        if (r <= 0)
                return r;
        if (archive->available >= LAYER_BLOCK_SIZE) {
                *ret = archive->next;
                archive->next += LAYER_BLOCK_SIZE;
                archive->available -= LAYER_BLOCK_SIZE;
                return 1;
        }
        r = archive_copy(archive, archive->block, LAYER_BLOCK_SIZE, fault);
        *ret = archive->block;
        return r < 0 ? r : 1;
}

static size_t padding_of(uint64_t size) {
        return (size_t) (-size % LAYER_BLOCK_SIZE);
}

/* ---- what comes before an entry ---- */

static int read_payload(LayerArchive *archive, char *to, size_t size, Fault *fault) {
        int r = archive_copy(archive, to, size, fault);
        return r < 0 ? r : archive_skip(archive, padding_of(size), fault);
}

static int read_long_name(LayerArchive *archive, LongName *name, size_t size, Fault *fault) {
        if (size > LONG_NAME_MAX)
                return fault_set(fault, -EBADMSG, "a name is longer than %zu bytes", LONG_NAME_MAX);
        char *text = realloc(name->text, size + 1);
        if (!text)
                return fault_set_errno(fault, -ENOMEM, "can't read a name");
        name->text = text;
        text[size] = '\0';
        int r = read_payload(archive, text, size, fault);
        for (size_t i = r < 0 ? size : strlen(text); i < size; i++)
                if (text[i] != '\0')
                        return fault_set(fault, -EBADMSG, "a name has a NUL");
        name->is_set = r >= 0 && text[0] != '\0';
        return r;
}

/* Global headers are read and mean nothing, as with all others who unpack layers: a layer is not a session
 * of pax(1) with defaults. */
static int read_pax(LayerArchive *archive, bool is_global, size_t size, Fault *fault) {
        static const LayerPax empty = { 0 };
        LayerPax global = empty;
        LayerPax *pax = is_global ? &global : &archive->pax;
        if (size > LAYER_PAX_SIZE_MAX)
                return fault_set(fault, -EBADMSG, "a pax header is larger than %zu bytes",
                                 LAYER_PAX_SIZE_MAX);
        layer_pax_reset(pax);
        char *text = layer_pax_reserve(pax, size);
        if (!text)
                return fault_set_errno(fault, -ENOMEM, "can't read a pax header");
        int r = read_payload(archive, text, size, fault);
        if (r >= 0)
                r = layer_pax_parse(pax, size, fault);
        layer_pax_done(&global);
        return r;
}

/* 1: it was one of those. */
static int read_extension(LayerArchive *archive, Fault *fault) {
        const LayerHeader *header = &archive->header;
        switch (header->type) {
        case LAYER_TYPE_PAX:
        case LAYER_TYPE_PAX_GLOBAL:
        case LAYER_TYPE_LONG_NAME:
        case LAYER_TYPE_LONG_LINK:
                break;
        default:
                return 0;
        }
        if (header->size < 0)
                return fault_set(fault, -EBADMSG, "a header has a negative size");
        if (++archive->extensions > EXTENSIONS_MAX)
                return fault_set(fault, -EBADMSG, "more than %i extended headers follow each other",
                                 EXTENSIONS_MAX);
        size_t size = (size_t) header->size;
        archive->is_extended = archive->is_extended || header->type != LAYER_TYPE_PAX_GLOBAL;
        int r = header->type == LAYER_TYPE_LONG_NAME ? read_long_name(archive, &archive->name, size, fault)
                : header->type == LAYER_TYPE_LONG_LINK
                        ? read_long_name(archive, &archive->link, size, fault)
                        : read_pax(archive, header->type == LAYER_TYPE_PAX_GLOBAL, size, fault);
        return r < 0 ? r : 1;
}

/* ---- sparse files ---- */

static int read_old_sparse(LayerArchive *archive, const uint8_t *block, int64_t *real_size, Fault *fault) {
        int r = layer_sparse_add_header(&archive->sparse, block, real_size, fault);
        while (r > 0) {
                r = archive_next_block(archive, &block, fault);
                if (r == 0)
                        r = archive_is_truncated(fault);
                if (r > 0)
                        r = layer_sparse_add_block(&archive->sparse, block, fault);
        }
        return r;
}

/* A decimal number and a newline in the contents, of which *left are left. */
static int read_sparse_number(LayerArchive *archive, uint64_t *left, int64_t *ret, Fault *fault) {
        char number[SPARSE_NUMBER_MAX];
        for (size_t n = 0; n < sizeof(number) && *left > 0; n++) {
                int r = archive_copy(archive, number + n, 1, fault);
                if (r < 0)
                        return r;
                (*left)--;
                if (number[n] != '\n')
                        continue;
                number[n] = '\0';
                if (string_to_int64(number, ret) >= 0 && *ret >= 0)
                        return 0;
                break;
        }
        return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
}

/* GNU's format 1.0: the map is at the beginning of the contents, in whole blocks. */
static int read_sparse_map(LayerArchive *archive, int64_t *size, Fault *fault) {
        uint64_t left = (uint64_t) *size;
        int64_t count;
        int r = read_sparse_number(archive, &left, &count, fault);
        for (int64_t i = 0; r >= 0 && i < count; i++) {
                int64_t offset, length;
                r = read_sparse_number(archive, &left, &offset, fault);
                if (r >= 0)
                        r = read_sparse_number(archive, &left, &length, fault);
                if (r >= 0)
                        r = layer_sparse_add(&archive->sparse, offset, length, fault);
        }
        if (r < 0)
                return r;
        size_t padding = padding_of((uint64_t) *size - left);
        if (padding > left)
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
        *size = (int64_t) (left - padding);
        return archive_skip(archive, padding, fault);
}

static SparseFormat sparse_format_of(const LayerArchive *archive) {
        const LayerPax *pax = &archive->pax;
        if (archive->header.type == LAYER_TYPE_SPARSE)
                return archive->header.is_gnu ? SPARSE_OLD : SPARSE_UNKNOWN;
        if (string_equal(pax->sparse_major, "1") && string_equal(pax->sparse_minor, "0"))
                return SPARSE_MAP;
        if ((pax->sparse_major || pax->sparse_minor) && !string_equal(pax->sparse_major, "0"))
                return SPARSE_UNKNOWN;
        return pax->sparse_map ? SPARSE_LIST : pax->has_sparse_extents ? SPARSE_RECORDS : SPARSE_NONE;
}

static int copy_extents(LayerSparse *to, const LayerSparse *from, Fault *fault) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < from->count; i++)
                r = layer_sparse_add(to, (int64_t) from->extents[i].offset, (int64_t) from->extents[i].size,
                                     fault);
        return r;
}

/* *size: of what is in the stream; becomes that without the map. */
static int read_sparse(LayerArchive *archive, const uint8_t *block, int64_t *size, int64_t *real_size,
                       Fault *fault) {
        const LayerPax *pax = &archive->pax;
        int r;
        archive->sparse.count = 0;
        switch (archive->sparse_format) {
        case SPARSE_NONE:
                return 0;
        case SPARSE_OLD:
                r = read_old_sparse(archive, block, real_size, fault);
                break;
        case SPARSE_RECORDS:
                r = copy_extents(&archive->sparse, &pax->extents, fault);
                break;
        case SPARSE_LIST:
                r = layer_sparse_add_list(&archive->sparse, pax->sparse_map, fault);
                break;
        case SPARSE_MAP:
                r = read_sparse_map(archive, size, fault);
                break;
        default:
                return fault_set(fault, -EBADMSG, "a sparse file has a format that nobody knows");
        }
        if (r < 0)
                return r;
        if (archive->sparse_format != SPARSE_OLD && pax->has_sparse_size)
                *real_size = pax->sparse_size;
        if (*real_size < 0)
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible size");
        return layer_sparse_check(&archive->sparse, (uint64_t) *size, (uint64_t) *real_size, fault);
}

/* ---- the entry ---- */

static mode_t type_of(const LayerArchive *archive, const char *path) {
        switch (archive->header.type) {
        case '\0': /* v7 had no other way to say that it is a directory */
                return string_ends_with(path, "/") ? S_IFDIR : S_IFREG;
        case '0':
        case '7':
        case LAYER_TYPE_SPARSE:
                return S_IFREG;
        case '2':
                return S_IFLNK;
        case '3':
                return S_IFCHR;
        case '4':
                return S_IFBLK;
        case '5':
                return S_IFDIR;
        case '6':
                return S_IFIFO;
        default:
                return 0;
        }
}

static int entry_check(const LayerArchive *archive, const LayerEntry *entry, Fault *fault) {
        const LayerHeader *header = &archive->header;
        if (entry->mode == 0 && !entry->hard_link)
                return fault_set(fault, -EBADMSG, "%.200s: is of a type that no layer has", entry->path);
        if (header->uid < 0 || header->uid >= UINT32_MAX || header->gid < 0 || header->gid >= UINT32_MAX)
                return fault_set(fault, -EBADMSG, "%.200s: owner %lli:%lli is out of range", entry->path,
                                 (long long) header->uid, (long long) header->gid);
        if ((S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) &&
            (header->major < 0 || header->major > MAJOR_MAX || header->minor < 0 ||
             header->minor > MINOR_MAX))
                return fault_set(fault, -EBADMSG, "%.200s: device number %lli:%lli is out of range",
                                 entry->path, (long long) header->major, (long long) header->minor);
        if (S_ISREG(entry->mode) && header->size < 0)
                return fault_set(fault, -EBADMSG, "%.200s: has a negative size", entry->path);
        return 0;
}

/* What the extended headers say goes before what the header says. */
static void merge_extensions(LayerArchive *archive) {
        LayerHeader *header = &archive->header;
        const LayerPax *pax = &archive->pax;
        if (pax->has_size)
                header->size = pax->size;
        if (pax->has_uid)
                header->uid = pax->uid;
        if (pax->has_gid)
                header->gid = pax->gid;
        if (pax->has_major)
                header->major = pax->major;
        if (pax->has_minor)
                header->minor = pax->minor;
}

static void entry_fill(LayerArchive *archive, LayerEntry *entry) {
        const LayerHeader *header = &archive->header;
        const LayerPax *pax = &archive->pax;
        const char *link = archive->link.is_set ? archive->link.text : pax->link ? pax->link : header->link;
        const char *path = archive->name.is_set ? archive->name.text : pax->path ? pax->path : header->name;
        mode_t type = type_of(archive, path);
        archive->sparse_format = S_ISREG(type) ? sparse_format_of(archive) : SPARSE_NONE;
        if (archive->sparse_format > SPARSE_OLD && pax->sparse_name)
                path = pax->sparse_name;
        *entry = (LayerEntry){
                .path = path,
                .mode = type,
                .uid = (uid_t) header->uid,
                .gid = (gid_t) header->gid,
                .device = makedev((unsigned) header->major, (unsigned) header->minor),
                .xattrs = pax->xattrs,
                .xattr_count = pax->xattr_count,
        };
        if (header->type == '1')
                entry->hard_link = link;
        else if (S_ISLNK(entry->mode))
                entry->symlink = link;
        if (entry->mode != 0)
                entry->mode |= header->mode;
        entry->times[1] = pax->has_mtime ? pax->mtime : (struct timespec){ .tv_sec = header->mtime };
        entry->times[0] = pax->has_atime ? pax->atime : entry->times[1];
}

/* Only files have contents: with all other types the size means nothing. */
static int read_entry(LayerArchive *archive, const uint8_t *block, LayerEntry *entry, Fault *fault) {
        merge_extensions(archive);
        entry_fill(archive, entry);
        int r = entry_check(archive, entry, fault);
        archive->extent = 0;
        archive->extent_done = 0;
        if (r < 0 || !S_ISREG(entry->mode))
                return r;
        int64_t size = archive->header.size, real_size = size;
        archive->padding = padding_of((uint64_t) size);
        r = read_sparse(archive, block, &size, &real_size, fault);
        archive->left = (uint64_t) size;
        entry->size = (uint64_t) (archive->sparse_format != SPARSE_NONE ? real_size : size);
        return r;
}

/* Two blocks of zeros end an archive, and so does the end of the stream. */
static int check_end(LayerArchive *archive, Fault *fault) {
        const uint8_t *block;
        int r = archive_next_block(archive, &block, fault);
        if (r > 0 && !layer_header_is_end(block))
                return fault_set(fault, -EBADMSG, "a block of zeros is in the place of a header");
        return r < 0 ? r : 0;
}

static int next_entry(LayerArchive *archive, LayerEntry *ret, Fault *fault) {
        int r = archive_skip(archive, archive->left + archive->padding, fault);
        archive->left = 0;
        archive->padding = 0;
        archive->extensions = 0;
        archive->is_extended = false;
        archive->name.is_set = archive->link.is_set = false;
        layer_pax_reset(&archive->pax);
        while (r >= 0) {
                const uint8_t *block;
                r = archive_next_block(archive, &block, fault);
                bool ends = r == 0 || (r > 0 && layer_header_is_end(block));
                if (ends && archive->is_extended)
                        return archive_is_truncated(fault);
                if (r <= 0 || ends)
                        return r <= 0 ? r : check_end(archive, fault);
                r = layer_header_parse(block, &archive->header, fault);
                if (r >= 0)
                        r = read_extension(archive, fault);
                if (r == 0) {
                        r = read_entry(archive, block, ret, fault);
                        return r < 0 ? r : 1;
                }
        }
        return r;
}

int layer_archive_next(LayerArchive *archive, LayerEntry *ret, Fault *fault) {
        int r = next_entry(archive, ret, fault);
        if (r == -EBADMSG)
                return fault_prefix(fault, r, "The layer's archive is damaged after entry %llu",
                                    (unsigned long long) archive->entries);
        archive->entries += r > 0;
        return r;
}

/* ---- contents ---- */

int layer_archive_read(LayerArchive *archive, const void **ret_data, size_t *ret_size, uint64_t *ret_offset,
                       Fault *fault) {
        if (archive->left == 0)
                return 0;
        uint64_t maximum = archive->left, offset = archive->extent_done;
        if (archive->sparse_format != SPARSE_NONE) {
                const LayerExtent *extents = archive->sparse.extents;
                while (archive->extent_done == extents[archive->extent].size) {
                        archive->extent++;
                        archive->extent_done = 0;
                }
                maximum = extents[archive->extent].size - archive->extent_done;
                offset = extents[archive->extent].offset + archive->extent_done;
        }
        const uint8_t *data = NULL;
        size_t size = 0;
        int r = archive_take(archive, maximum, &data, &size, fault);
        if (r < 0)
                return r == -EBADMSG ? fault_prefix(fault, r, "The layer's archive is damaged in entry %llu",
                                                    (unsigned long long) archive->entries)
                                     : r;
        archive->extent_done += size;
        archive->left -= size;
        *ret_data = data;
        *ret_size = size;
        *ret_offset = offset;
        return 1;
}
