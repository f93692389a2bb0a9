/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/path.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
/* systemd's UNIT_NAME_MAX, NUL included. */
#define UNIT_NAME_MAX 256
/* More buckets than this are not of our making. */
#define BUCKETS_MAX 65536U

static size_t escape(const char *text, char *ret, size_t size) {
        size_t n = 0;
        for (; *text && n + 5 < size; text++)
                n += (size_t) snprintf(ret + n, size - n, *text == '-' ? "\\x2d" : "%c", *text);
        return n;
}

int scope_name(const char *namespace, const char *id, char ret[SCOPE_NAME_MAX]) {
        char escaped[4 * UNIT_NAME_MAX];
        (void) escape(namespace, escaped, sizeof(escaped));
        int n = snprintf(ret, SCOPE_NAME_MAX, "crt-%s-%s.scope", escaped, id);
        return n < UNIT_NAME_MAX ? 0 : -EINVAL;
}

const char *scope_slice(unsigned bucket, char ret[SCOPE_SLICE_MAX]) {
        (void) snprintf(ret, SCOPE_SLICE_MAX, "crt-%u.slice", bucket);
        return ret;
}

int scope_cgroup_open(const char *namespace, const char *id, unsigned bucket, const char *child) {
        char name[SCOPE_NAME_MAX], slice[SCOPE_SLICE_MAX];
        _cleanup_free_ char *path = NULL;
        int r = scope_name(namespace, id, name);
        if (r < 0)
                return r;
        if (asprintf(&path, "crt.slice/%s/%s/%s", scope_slice(bucket, slice), name, child) < 0)
                return -ENOMEM;
        _cleanup_close_ int root = open(CGROUP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        return path_open(root, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

static bool has_word(const char *text, const char *word) {
        size_t length = strlen(word);
        for (const char *p = text; (p = strstr(p, word)); p += length)
                if ((p == text || p[-1] == ' ') && (p[length] == ' ' || p[length] == '\0'))
                        return true;
        return false;
}

int scope_check_limits(const ScopeLimits *limits, const char *controllers, Fault *fault) {
        const struct {
                const char *option, *controller;
                uint64_t value;
        } table[] = {
                { "memory-max", "memory", limits->memory_max },
                { "tasks-max", "pids", limits->tasks_max },
                { "cpu-quota", "cpu", limits->cpu_quota },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++)
                if (table[i].value > 0 && !has_word(controllers, table[i].controller))
                        return fault_set(fault, -EOPNOTSUPP,
                                         "%s: this machine has no cgroup controller '%s' to enforce it with",
                                         table[i].option, table[i].controller);
        return 0;
}

int scope_read_controllers(char **ret) {
        return fd_read_line_at(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", ret);
}

static int grow(ScopeBuckets *buckets, size_t count) {
        if (count > BUCKETS_MAX)
                return -EDQUOT;
        unsigned *larger = realloc(buckets->counts, count * sizeof(unsigned));
        if (!larger)
                return -ENOMEM;
        memset(larger + buckets->count, 0, (count - buckets->count) * sizeof(unsigned));
        buckets->counts = larger;
        buckets->count = count;
        return 0;
}

int scope_buckets_take(ScopeBuckets *buckets, unsigned *ret) {
        size_t i = 0;
        while (i < buckets->count && buckets->counts[i] >= SCOPE_SIBLINGS_MAX)
                i++;
        if (i == buckets->count) {
                int r = grow(buckets, i + 1);
                if (r < 0)
                        return r;
        }
        buckets->counts[i]++;
        *ret = (unsigned) i;
        return 0;
}

int scope_buckets_take_known(ScopeBuckets *buckets, unsigned bucket) {
        if (bucket >= BUCKETS_MAX)
                return -EDQUOT;
        if (bucket >= buckets->count) {
                int r = grow(buckets, (size_t) bucket + 1);
                if (r < 0)
                        return r;
        }
        buckets->counts[bucket]++;
        return 0;
}

void scope_buckets_give_back(ScopeBuckets *buckets, unsigned bucket) {
        assert(bucket < buckets->count && buckets->counts[bucket] > 0);
        buckets->counts[bucket]--;
}

void scope_buckets_done(ScopeBuckets *buckets) {
        free(buckets->counts);
        *buckets = (ScopeBuckets){ 0 };
}
