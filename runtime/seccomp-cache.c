/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/seccomp-cache.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

#define CACHE_MAGIC UINT32_C(0x43525453)
/* Raised whenever the same text is read or compiled to something else. */
#define CACHE_VERSION 3U
#define CACHE_SIZE_MAX (4U * 1024U * 1024U)

typedef struct CacheHeader {
        uint32_t magic, version;
        uint32_t key_size, instruction_count;
} CacheHeader;

/* The profile as bytes, its rules as they were written. Lengths are written before what they belong to, so
 * that no two profiles look alike. */
typedef struct CacheKey {
        char *data;
        size_t size, allocated;
} CacheKey;

static void key_done(CacheKey *key) {
        free(key->data);
}

static int key_add(CacheKey *key, const void *data, size_t size) {
        if (key->allocated - key->size < size) {
                size_t allocated = MAX_OF(key->allocated * 2, key->size + size + 16384);
                char *larger = realloc(key->data, allocated);
                if (!larger)
                        return -ENOMEM;
                key->data = larger;
                key->allocated = allocated;
        }
        memcpy(key->data + key->size, data, size);
        key->size += size;
        return 0;
}

static int key_add_number(CacheKey *key, uint64_t number) {
        return key_add(key, &number, sizeof(number));
}

static int key_add_strings(CacheKey *key, const char *const *strings) {
        uint64_t count = 0;
        while (strings && strings[count])
                count++;
        int r = key_add_number(key, count);
        for (size_t i = 0; i < count && r >= 0; i++)
                r = key_add(key, strings[i], strlen(strings[i]) + 1);
        return r;
}

static int key_make(CacheKey *key, const RuntimeSeccomp *seccomp) {
        const struct scmp_version *version = seccomp_version();
        int r;
        if ((r = key_add(key, version, sizeof(*version))) < 0 ||
            (r = key_add_number(key, seccomp_arch_native())) < 0 ||
            (r = key_add_number(key, (uint64_t) seccomp->default_action << 32 |
                                             seccomp->default_errno_return)) < 0 ||
            (r = key_add_strings(key, seccomp->architectures)) < 0 ||
            (r = key_add_number(key, seccomp->rules_size)) < 0)
                return r;
        return key_add(key, seccomp->rules_text, seccomp->rules_size);
}

/* FNV-1a's numbers, with eight bytes at a time; a file name, not a proof. */
static void key_name(const CacheKey *key, char name[32]) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325), word;
        for (size_t i = 0; i < key->size; i += sizeof(word)) {
                word = 0;
                memcpy(&word, key->data + i, MIN_OF(sizeof(word), key->size - i));
                hash = (hash ^ word) * UINT64_C(0x100000001b3);
                hash ^= hash >> 29;
        }
        (void) snprintf(name, 32, "%016llx.bpf", (unsigned long long) hash);
}

static int read_entry(int fd, const CacheKey *key, struct sock_filter **ret_filter, size_t *ret_count) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
                return 0;
        if (fd_read_all(fd, CACHE_SIZE_MAX, &data, &size) < 0)
                return 0;

        CacheHeader header;
        if (size < sizeof(header))
                return 0;
        memcpy(&header, data, sizeof(header));
        size_t filter_size = (size_t) header.instruction_count * sizeof(struct sock_filter);
        if (header.magic != CACHE_MAGIC || header.version != CACHE_VERSION || header.key_size != key->size ||
            header.instruction_count == 0 || header.instruction_count > BPF_MAXINSNS ||
            size != sizeof(header) + key->size + filter_size ||
            memcmp(data + sizeof(header), key->data, key->size) != 0)
                return 0;

        memmove(data, data + sizeof(header) + key->size, filter_size);
        *ret_filter = (struct sock_filter *) (void *) TAKE_PTR(data);
        *ret_count = header.instruction_count;
        return 1;
}

int seccomp_cache_get(int directory, const RuntimeSeccomp *seccomp, struct sock_filter **ret_filter,
                      size_t *ret_count) {
        _cleanup_(key_done) CacheKey key = { 0 };
        char name[32];
        if (directory < 0 || !seccomp->rules_text)
                return 0;
        int r = key_make(&key, seccomp);
        if (r < 0)
                return r;
        key_name(&key, name);
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        return fd < 0 ? 0 : read_entry(fd, &key, ret_filter, ret_count);
}

bool seccomp_cache_find(int directory, const RuntimeSeccomp *seccomp, struct sock_fprog *ret) {
        struct sock_filter *filter = NULL;
        size_t count = 0;
        if (seccomp_cache_get(directory, seccomp, &filter, &count) <= 0)
                return false;
        *ret = (struct sock_fprog){ .len = (unsigned short) count, .filter = filter };
        return true;
}

static int write_entry(int fd, const CacheKey *key, const struct sock_filter *filter, size_t count) {
        CacheHeader header = {
                .magic = CACHE_MAGIC,
                .version = CACHE_VERSION,
                .key_size = (uint32_t) key->size,
                .instruction_count = (uint32_t) count,
        };
        int r = fd_write_all(fd, &header, sizeof(header));
        if (r >= 0)
                r = fd_write_all(fd, key->data, key->size);
        return r < 0 ? r : fd_write_all(fd, filter, count * sizeof(struct sock_filter));
}

/* Written aside and renamed: another runtime never reads half a program. No sync: it can be made again. */
void seccomp_cache_put(int directory, const RuntimeSeccomp *seccomp, const struct sock_filter *filter,
                       size_t count) {
        _cleanup_(key_done) CacheKey key = { 0 };
        char name[32], temporary[64];
        uint64_t random;
        if (directory < 0 || !seccomp->rules_text || key_make(&key, seccomp) < 0 ||
            getrandom(&random, sizeof(random), 0) != sizeof(random))
                return;
        key_name(&key, name);
        (void) snprintf(temporary, sizeof(temporary), "%s.%016llx~", name, (unsigned long long) random);
        _cleanup_close_ int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        if (write_entry(fd, &key, filter, count) < 0 || renameat(directory, temporary, directory, name) < 0)
                (void) unlinkat(directory, temporary, 0);
}
