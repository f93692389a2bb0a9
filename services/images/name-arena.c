/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/name-arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FORM_TEXT UINT8_C(255) /* the others are algorithms */
#define FIRST_SIZE UINT32_C(4096)

static bool pack_digest(NodeName name, PackedName *ret) {
        char text[DIGEST_STRING_MAX];
        Digest digest;
        if (name.length >= sizeof(text))
                return false;
        memcpy(text, name.data, name.length);
        text[name.length] = '\0';
        if (strlen(text) != name.length || digest_parse(text, &digest) < 0)
                return false;
        ret->form = (uint8_t) digest.algorithm;
        ret->length = digest_algorithm_size(digest.algorithm);
        memcpy(ret->digest, digest.raw, ret->length);
        ret->data = ret->digest;
        return true;
}

void name_pack_text(NodeName name, PackedName *ret) {
        ret->form = FORM_TEXT;
        ret->data = (const uint8_t *) name.data;
        ret->length = name.length;
}

void name_pack(NodeName name, PackedName *ret) {
        if (!pack_digest(name, ret))
                name_pack_text(name, ret);
}

uint64_t packed_name_hash(const PackedName *name, uint64_t seed) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed ^ ((uint64_t) name->form << 48);
        for (size_t i = 0; i < name->length; i++) /* FNV-1a */
                hash = (hash ^ name->data[i]) * UINT64_C(0x100000001b3);
        return hash ^ (hash >> 32);
}

void name_arena_done(NameArena *arena) {
        free(arena->data);
        *arena = (NameArena){ 0 };
}

static int make_room(NameArena *arena, size_t size) {
        uint32_t allocated = arena->allocated ? arena->allocated : FIRST_SIZE;
        if (size > UINT32_MAX / 4)
                return -E2BIG;
        while (allocated - arena->used < size) {
                if (allocated > UINT32_MAX / 2)
                        return -E2BIG;
                allocated *= 2;
        }
        if (allocated == arena->allocated)
                return 0;
        uint8_t *larger = realloc(arena->data, allocated);
        if (!larger)
                return -ENOMEM;
        arena->data = larger;
        arena->allocated = allocated;
        return 0;
}

int name_arena_add(NameArena *arena, const PackedName *name, uint32_t *ret) {
        bool is_text = name->form == FORM_TEXT;
        int r = make_room(arena, 1 + name->length + is_text);
        if (r < 0)
                return r;
        uint8_t *place = arena->data + arena->used;
        *ret = arena->used;
        place[0] = name->form;
        if (name->length > 0)
                memcpy(place + 1, name->data, name->length);
        if (is_text)
                place[1 + name->length] = '\0';
        arena->used += (uint32_t) (1 + name->length + is_text);
        return 0;
}

void name_arena_get(const NameArena *arena, uint32_t number, PackedName *ret) {
        const uint8_t *place = arena->data + number;
        ret->form = place[0];
        ret->data = place + 1;
        ret->length = place[0] == FORM_TEXT ? strlen((const char *) place + 1)
                                            : digest_algorithm_size((DigestAlgorithm) place[0]);
}

bool name_arena_is(const NameArena *arena, uint32_t number, const PackedName *name) {
        const uint8_t *place = arena->data + number;
        if (place[0] != name->form)
                return false;
        if (name->form != FORM_TEXT)
                return memcmp(place + 1, name->data, name->length) == 0;
        return strncmp((const char *) place + 1, (const char *) name->data, name->length) == 0 &&
               place[1 + name->length] == '\0';
}

const char *name_arena_text(const NameArena *arena, uint32_t number, char buffer[DIGEST_STRING_MAX]) {
        const uint8_t *place = arena->data + number;
        Digest digest = { .algorithm = (DigestAlgorithm) place[0] };
        if (place[0] == FORM_TEXT)
                return (const char *) place + 1;
        memcpy(digest.raw, place + 1, digest_algorithm_size(digest.algorithm));
        return digest_to_string(&digest, buffer);
}
