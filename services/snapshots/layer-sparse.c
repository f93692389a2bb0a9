/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-sparse.h"

#include <errno.h>
#include <string.h>

#include "lib/macros.h"
#include "lib/strv.h"

/* GNU tar's manual, "Storing Sparse Files" and "Basic Tar Format": pairs of an offset and a size. */
#define FIELD_SIZE ((size_t) 12)
#define PAIR_SIZE (2 * FIELD_SIZE)
#define HEADER_PAIRS 4
#define HEADER_OFFSET 386
#define HEADER_MORE 482
#define HEADER_REAL_SIZE 483
#define BLOCK_PAIRS 21
#define BLOCK_MORE 504

#define NUMBER_LENGTH_MAX 20

void layer_sparse_done(LayerSparse *sparse) {
        free(sparse->extents);
        *sparse = (LayerSparse){ 0 };
}

int layer_sparse_add(LayerSparse *sparse, int64_t offset, int64_t size, Fault *fault) {
        const LayerExtent *last = sparse->count > 0 ? &sparse->extents[sparse->count - 1] : NULL;
        if (offset < 0 || size < 0 || size > INT64_MAX - offset ||
            (last && (uint64_t) offset < last->offset + last->size))
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
        if (sparse->count == LAYER_EXTENTS_MAX)
                return fault_set(fault, -EBADMSG, "a sparse file has more than %zu parts",
                                 LAYER_EXTENTS_MAX);
        if (sparse->count == sparse->allocated) {
                size_t larger = MAX_OF(sparse->allocated * 2, (size_t) 16);
                LayerExtent *extents = reallocarray(sparse->extents, larger, sizeof(*extents));
                if (!extents)
                        return fault_set_errno(fault, -ENOMEM, "can't read a sparse file");
                sparse->extents = extents;
                sparse->allocated = larger;
        }
        sparse->extents[sparse->count++] =
                (LayerExtent){ .offset = (uint64_t) offset, .size = (uint64_t) size };
        return 0;
}

/* Up to the comma or the end. */
static int parse_part(const char **text, int64_t *ret, Fault *fault) {
        char number[NUMBER_LENGTH_MAX + 1];
        uint64_t value;
        size_t length = strcspn(*text, ",");
        if (length >= sizeof(number))
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
        memcpy(number, *text, length);
        number[length] = '\0';
        if (string_to_uint64(number, INT64_MAX, &value) < 0)
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
        *ret = (int64_t) value;
        *text += length;
        return 0;
}

int layer_sparse_add_list(LayerSparse *sparse, const char *list, Fault *fault) {
        for (const char *p = list; *p;) {
                int64_t offset, size;
                int r = parse_part(&p, &offset, fault);
                if (r >= 0 && *p != ',')
                        r = fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
                if (r < 0)
                        return r;
                p++;
                r = parse_part(&p, &size, fault);
                if (r >= 0)
                        r = layer_sparse_add(sparse, offset, size, fault);
                if (r < 0)
                        return r;
                if (*p == ',')
                        p++;
        }
        return 0;
}

static int add_pairs(LayerSparse *sparse, const uint8_t *pairs, size_t count, Fault *fault) {
        for (size_t i = 0; i < count && pairs[i * PAIR_SIZE] != '\0'; i++) {
                int64_t offset, size;
                if (layer_number_parse(pairs + i * PAIR_SIZE, FIELD_SIZE, &offset) < 0 ||
                    layer_number_parse(pairs + i * PAIR_SIZE + FIELD_SIZE, FIELD_SIZE, &size) < 0)
                        return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
                int r = layer_sparse_add(sparse, offset, size, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

int layer_sparse_add_header(LayerSparse *sparse, const uint8_t block[LAYER_BLOCK_SIZE], int64_t *real_size,
                            Fault *fault) {
        if (layer_number_parse(block + HEADER_REAL_SIZE, FIELD_SIZE, real_size) < 0 || *real_size < 0)
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible size");
        int r = add_pairs(sparse, block + HEADER_OFFSET, HEADER_PAIRS, fault);
        return r < 0 ? r : block[HEADER_MORE] != '\0';
}

int layer_sparse_add_block(LayerSparse *sparse, const uint8_t block[LAYER_BLOCK_SIZE], Fault *fault) {
        int r = add_pairs(sparse, block, BLOCK_PAIRS, fault);
        return r < 0 ? r : block[BLOCK_MORE] != '\0';
}

int layer_sparse_check(const LayerSparse *sparse, uint64_t size, uint64_t real_size, Fault *fault) {
        uint64_t sum = 0, end = 0;
        for (size_t i = 0; i < sparse->count; i++) {
                sum += sparse->extents[i].size; /* each ends below 2^63, and none overlap */
                end = sparse->extents[i].offset + sparse->extents[i].size;
        }
        if (sum != size || end > real_size)
                return fault_set(fault, -EBADMSG, "a sparse file has a map that is not its own");
        return 0;
}
