/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/sha256.h"

#include <string.h>

#define BLOCK 64
#define LENGTH 8 /* in bits, at the end of the last block */

static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned bits) {
        return word >> bits | word << (32 - bits);
}

static uint32_t read_word(const uint8_t *bytes) {
        return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 | bytes[3];
}

static void write_word(uint8_t *bytes, uint32_t word) {
        for (unsigned i = 0; i < 4; i++)
                bytes[i] = (uint8_t) (word >> (24 - 8 * i));
}

/* Section 6.2.2; its variables a to h are v[0] to v[7]. */
static void add_block(uint32_t state[8], const uint8_t block[BLOCK]) {
        uint32_t schedule[64], v[8];

        for (unsigned i = 0; i < 16; i++)
                schedule[i] = read_word(block + 4 * (size_t) i);
        for (unsigned i = 16; i < 64; i++) {
                uint32_t before = schedule[i - 15], last = schedule[i - 2];
                schedule[i] = schedule[i - 16] + schedule[i - 7] +
                              (rotate(before, 7) ^ rotate(before, 18) ^ before >> 3) +
                              (rotate(last, 17) ^ rotate(last, 19) ^ last >> 10);
        }
        memcpy(v, state, sizeof(v));
        for (unsigned i = 0; i < 64; i++) {
                uint32_t one = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                               ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + schedule[i];
                uint32_t two = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                               ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
                memmove(v + 1, v, 7 * sizeof(v[0]));
                v[4] += one;
                v[0] = one + two;
        }
        for (unsigned i = 0; i < 8; i++)
                state[i] += v[i];
}

void sha256_of_data(const void *data, size_t size, uint8_t ret[SHA256_SIZE]) {
        uint8_t last[2 * BLOCK] = { 0 };
        uint32_t state[8];
        const uint8_t *bytes = data;
        size_t rest = size % BLOCK, whole = size - rest;

        memcpy(state, initial, sizeof(state));
        for (size_t i = 0; i < whole; i += BLOCK)
                add_block(state, bytes + i);
        if (rest > 0)
                memcpy(last, bytes + whole, rest);
        last[rest] = 0x80;
        size_t end = rest + 1 + LENGTH <= BLOCK ? BLOCK : 2 * BLOCK;
        write_word(last + end - 8, (uint32_t) ((uint64_t) size >> 29));
        write_word(last + end - 4, (uint32_t) ((uint64_t) size << 3));
        for (size_t i = 0; i < end; i += BLOCK)
                add_block(state, last + i);
        for (unsigned i = 0; i < 8; i++)
                write_word(ret + 4 * (size_t) i, state[i]);
}
