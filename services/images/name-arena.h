/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Many names in little memory: what is written as a digest takes the bytes of the digest. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

/* Not terminated; copied where it is kept. */
typedef struct NodeName {
        const char *data;
        size_t length;
} NodeName;

#define NODE_NAME(text) ((NodeName){ (text), strlen(text) })

/* As it is kept. data is the name's own, or that of digest: not to be copied about. */
typedef struct PackedName {
        uint8_t form;
        const uint8_t *data;
        size_t length;
        uint8_t digest[DIGEST_RAW_MAX];
} PackedName;

typedef struct NameArena {
        uint8_t *data;
        uint32_t used, allocated;
} NameArena;

void name_pack(NodeName name, PackedName *ret);
/* Whatever it looks like: it needs no buffer to be read. */
void name_pack_text(NodeName name, PackedName *ret);
uint64_t packed_name_hash(const PackedName *name, uint64_t seed);

void name_arena_done(NameArena *arena);
/* Its number; those that are there stay. */
int name_arena_add(NameArena *arena, const PackedName *name, uint32_t *ret);
bool name_arena_is(const NameArena *arena, uint32_t number, const PackedName *name);
/* The name of that number, packed; valid until another one is added. */
void name_arena_get(const NameArena *arena, uint32_t number, PackedName *ret);
/* As text: in the buffer, or in the arena, where it is valid until another one is added. */
const char *name_arena_text(const NameArena *arena, uint32_t number, char buffer[DIGEST_STRING_MAX]);
