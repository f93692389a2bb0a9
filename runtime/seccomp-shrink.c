/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* 1. Which instructions compare the architecture, which the number of the call, is known for each of them:
 *    jumps lead only forward.
 * 2. The constants of all such comparisons cut both into ranges. Within one range each of the comparisons
 * has the same result, so one number stands for all of its range.
 * 3. For each pair of ranges the program is followed until it returns, or loads an argument. Both are places
 *    of the old program, which are taken over with all that is reached from there.
 * 4. Neighbours that lead to the same place become one range, and the ranges a tree of comparisons. */

#include "runtime/seccomp-shrink.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/macros.h"

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define RETURN (BPF_RET | BPF_K)
#define JUMP (BPF_JMP | BPF_JA)
#define EQUAL (BPF_JMP | BPF_JEQ | BPF_K)
#define GREATER (BPF_JMP | BPF_JGT | BPF_K)
#define AT_LEAST (BPF_JMP | BPF_JGE | BPF_K)
#define ANY_BIT (BPF_JMP | BPF_JSET | BPF_K)
#define AND (BPF_ALU | BPF_AND | BPF_K)
#define FAR 255U

typedef enum Holds {
        HOLDS_UNREACHED, /* no way leads to this instruction */
        HOLDS_NUMBER,
        HOLDS_ARCHITECTURE,
        HOLDS_OTHER,
} Holds;

/* Where each range begins; the first one at 0. */
typedef struct Ranges {
        uint32_t *starts;
        size_t count;
} Ranges;

/* The new program, built from its end to its beginning: a place is counted from the end. */
typedef struct Shrink {
        const struct sock_filter *old;
        size_t old_count;
        uint8_t *holds; /* of the accumulator, before each instruction of the old program */
        bool *taken;
        size_t *places; /* in the new program, of what was taken over */
        Ranges architectures, numbers;
        struct sock_filter *out;
        size_t size;
        bool full; /* it would be no smaller */
} Shrink;

static void shrink_done(Shrink *s) {
        free(s->holds);
        free(s->taken);
        free(s->places);
        free(s->architectures.starts);
        free(s->numbers.starts);
        free(s->out);
}

static bool is_comparison(uint16_t code) {
        return code == EQUAL || code == GREATER || code == AT_LEAST || code == ANY_BIT;
}

/* Ways that meet with different contents leave something that is not known. */
static bool reach(Shrink *s, size_t place, Holds holds) {
        if (place >= s->old_count)
                return false;
        s->holds[place] =
                s->holds[place] == HOLDS_UNREACHED || s->holds[place] == holds ? holds : HOLDS_OTHER;
        return true;
}

static bool pass(Shrink *s, size_t place) {
        const struct sock_filter *i = &s->old[place];
        Holds holds = s->holds[place];
        if (i->code == RETURN)
                return true;
        if (i->code == JUMP)
                return i->k < s->old_count && reach(s, place + 1 + i->k, holds);
        if (is_comparison(i->code))
                return (holds == HOLDS_OTHER || i->code != ANY_BIT) && reach(s, place + 1 + i->jt, holds) &&
                       reach(s, place + 1 + i->jf, holds);
        if (i->code == AND)
                return reach(s, place + 1, HOLDS_OTHER);
        return i->code == LOAD && reach(s, place + 1,
                                        i->k == offsetof(struct seccomp_data, nr)     ? HOLDS_NUMBER
                                        : i->k == offsetof(struct seccomp_data, arch) ? HOLDS_ARCHITECTURE
                                                                                      : HOLDS_OTHER);
}

static bool understand(Shrink *s) {
        s->holds[0] = HOLDS_OTHER;
        for (size_t i = 0; i < s->old_count; i++)
                if (s->holds[i] != HOLDS_UNREACHED && !pass(s, i))
                        return false;
        return true;
}

static int compare_starts(const void *a, const void *b) {
        const uint32_t *left = a, *right = b;
        return (*left > *right) - (*left < *right);
}

static int find_ranges(const Shrink *s, Holds holds, Ranges *ret) {
        uint32_t *starts = malloc((2 * s->old_count + 1) * sizeof(uint32_t));
        size_t count = 1, unique = 1;
        if (!starts)
                return -ENOMEM;
        starts[0] = 0;
        for (size_t i = 0; i < s->old_count; i++) {
                const struct sock_filter *at = &s->old[i];
                if (s->holds[i] != holds || !is_comparison(at->code))
                        continue;
                if (at->code != GREATER)
                        starts[count++] = at->k;
                if (at->code != AT_LEAST && at->k < UINT32_MAX)
                        starts[count++] = at->k + 1;
        }
        qsort(starts, count, sizeof(starts[0]), compare_starts);
        for (size_t i = 1; i < count; i++)
                if (starts[i] != starts[unique - 1])
                        starts[unique++] = starts[i];
        *ret = (Ranges){ .starts = starts, .count = unique };
        return 0;
}

/* To a return, or to where something else than these two is loaded; SIZE_MAX where neither is. */
static size_t follow(const Shrink *s, uint32_t architecture, uint32_t number) {
        for (size_t place = 0;;) {
                const struct sock_filter *i = &s->old[place];
                Holds holds = s->holds[place];
                uint32_t value = holds == HOLDS_NUMBER ? number : architecture;
                bool known = holds == HOLDS_NUMBER || holds == HOLDS_ARCHITECTURE;
                if (i->code == RETURN)
                        return place;
                if (i->code == LOAD && i->k != offsetof(struct seccomp_data, nr) &&
                    i->k != offsetof(struct seccomp_data, arch))
                        return place;
                if (i->code == LOAD)
                        place++;
                else if (i->code == JUMP)
                        place += 1 + i->k;
                else if (!is_comparison(i->code) || !known)
                        return SIZE_MAX;
                else if (i->code == EQUAL ? value == i->k
                                          : value > i->k || (i->code == AT_LEAST && value == i->k))
                        place += 1 + i->jt;
                else
                        place += 1 + i->jf;
        }
}

/* What does not fit into the size of the old program is no gain. */
static void emit(Shrink *s, struct sock_filter instruction) {
        if (s->size < s->old_count)
                s->out[s->size++] = instruction;
        else
                s->full = true;
}

static uint32_t distance(const Shrink *s, size_t place) {
        return (uint32_t) (s->size - place - 1);
}

static void take_all_reached(Shrink *s) {
        for (size_t i = 0; i < s->old_count; i++) {
                const struct sock_filter *at = &s->old[i];
                if (!s->taken[i] || at->code == RETURN)
                        continue;
                if (is_comparison(at->code))
                        s->taken[i + 1 + at->jt] = s->taken[i + 1 + at->jf] = true;
                else
                        s->taken[i + 1 + (at->code == JUMP ? at->k : 0)] = true;
        }
}

/* In their old order, so that no jump becomes longer. */
static void emit_taken(Shrink *s) {
        for (size_t i = s->old_count; i-- > 0;) {
                struct sock_filter copy = s->old[i];
                if (!s->taken[i])
                        continue;
                if (copy.code == JUMP)
                        copy.k = distance(s, s->places[i + 1 + copy.k]);
                if (is_comparison(copy.code)) {
                        copy.jt = (uint8_t) distance(s, s->places[i + 1 + copy.jt]);
                        copy.jf = (uint8_t) distance(s, s->places[i + 1 + copy.jf]);
                }
                s->places[i] = s->size;
                emit(s, copy);
        }
}

/* A place that a comparison can jump to which is emitted after `further` other instructions. */
static size_t bring_near(Shrink *s, size_t place, size_t further) {
        if (distance(s, place) + further <= FAR)
                return place;
        struct sock_filter target = s->out[place];
        if (target.code != RETURN)
                target = (struct sock_filter){ .code = JUMP, .k = distance(s, place) };
        emit(s, target);
        return s->size - 1;
}

static size_t emit_comparison(Shrink *s, uint16_t code, uint32_t value, size_t yes, size_t no) {
        yes = bring_near(s, yes, 1);
        no = bring_near(s, no, 0);
        emit(s, (struct sock_filter){ .code = code,
                                      .jt = (uint8_t) distance(s, yes),
                                      .jf = (uint8_t) distance(s, no),
                                      .k = value });
        return s->size - 1;
}

/* From each start on to its place; gives the place where the search begins. */
static size_t emit_search(Shrink *s, const uint32_t *starts, const size_t *places, size_t count) {
        if (s->full || count == 1)
                return places[0];
        if (count == 3 && places[0] == places[2] && starts[2] - starts[1] == 1)
                return emit_comparison(s, EQUAL, starts[1], places[1], places[0]);
        size_t middle = count / 2;
        size_t above = emit_search(s, starts + middle, places + middle, count - middle);
        size_t below = emit_search(s, starts, places, middle);
        return emit_comparison(s, AT_LEAST, starts[middle], above, below);
}

/* The answers are the same, or found at the same place. */
static bool is_same(const Shrink *s, size_t a, size_t b) {
        return a == b ||
               (s->old[a].code == RETURN && s->old[b].code == RETURN && s->old[a].k == s->old[b].k);
}

/* Neighbours with the same place are one. */
static size_t join_neighbours(uint32_t *starts, size_t *places, size_t count) {
        size_t joined = 1;
        for (size_t i = 1; i < count; i++) {
                if (places[i] == places[joined - 1])
                        continue;
                starts[joined] = starts[i];
                places[joined++] = places[i];
        }
        return joined;
}

static size_t emit_row(Shrink *s, const size_t *targets, uint32_t *starts, size_t *places) {
        for (size_t i = 0; i < s->numbers.count; i++) {
                starts[i] = s->numbers.starts[i];
                places[i] = s->places[targets[i]];
        }
        size_t count = join_neighbours(starts, places, s->numbers.count);
        size_t place = emit_search(s, starts, places, count);
        if (count == 1)
                return place;
        if (place != s->size - 1)
                emit(s, (struct sock_filter){ .code = JUMP, .k = distance(s, place) });
        emit(s, (struct sock_filter){ .code = LOAD, .k = offsetof(struct seccomp_data, nr) });
        return s->size - 1;
}

/* targets: one row of old places for each range of architectures. */
static int follow_all(Shrink *s, size_t *targets) {
        for (size_t a = 0; a < s->architectures.count; a++)
                for (size_t n = 0; n < s->numbers.count; n++) {
                        size_t *target = &targets[a * s->numbers.count + n];
                        *target = follow(s, s->architectures.starts[a], s->numbers.starts[n]);
                        if (*target == SIZE_MAX)
                                return 0;
                        if (n > 0 && is_same(s, target[0], target[-1]))
                                *target = target[-1];
                        s->taken[*target] = true;
                }
        return 1;
}

static int emit_all(Shrink *s, const size_t *targets) {
        size_t rows = s->architectures.count, columns = s->numbers.count, width = columns * sizeof(size_t);
        _cleanup_free_ uint32_t *starts = new0(uint32_t, columns);
        _cleanup_free_ size_t *places = new0(size_t, columns), *begins = new0(size_t, rows);
        if (!starts || !places || !begins)
                return -ENOMEM;
        take_all_reached(s);
        emit_taken(s);
        for (size_t a = rows; a-- > 0 && !s->full;) {
                begins[a] = SIZE_MAX;
                for (size_t b = a + 1; b < rows && begins[a] == SIZE_MAX; b++)
                        if (memcmp(targets + a * columns, targets + b * columns, width) == 0)
                                begins[a] = begins[b];
                if (begins[a] == SIZE_MAX)
                        begins[a] = emit_row(s, targets + a * columns, starts, places);
        }
        if (s->full)
                return 0;
        size_t count = join_neighbours(s->architectures.starts, begins, rows);
        size_t place = emit_search(s, s->architectures.starts, begins, count);
        if (place != s->size - 1)
                emit(s, (struct sock_filter){ .code = JUMP, .k = distance(s, place) });
        if (count > 1)
                emit(s, (struct sock_filter){ .code = LOAD, .k = offsetof(struct seccomp_data, arch) });
        return !s->full && s->size < s->old_count;
}

static int shrink(Shrink *s) {
        int r;
        s->holds = new0(uint8_t, s->old_count);
        s->taken = new0(bool, s->old_count);
        s->places = new0(size_t, s->old_count);
        s->out = new0(struct sock_filter, s->old_count);
        if (!s->holds || !s->taken || !s->places || !s->out)
                return -ENOMEM;
        if (!understand(s))
                return 0;
        if ((r = find_ranges(s, HOLDS_ARCHITECTURE, &s->architectures)) < 0 ||
            (r = find_ranges(s, HOLDS_NUMBER, &s->numbers)) < 0)
                return r;
        _cleanup_free_ size_t *targets = new0(size_t, s->architectures.count * s->numbers.count);
        if (!targets)
                return -ENOMEM;
        r = follow_all(s, targets);
        return r <= 0 ? r : emit_all(s, targets);
}

int seccomp_shrink(struct sock_filter *filter, size_t *count) {
        _cleanup_(shrink_done) Shrink s = { .old = filter, .old_count = *count };
        int r = *count > 0 ? shrink(&s) : 0;
        if (r <= 0)
                return r;
        for (size_t i = 0; i < s.size; i++)
                filter[i] = s.out[s.size - 1 - i];
        *count = s.size;
        return 1;
}
