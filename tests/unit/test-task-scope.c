/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/scope.c: names of scopes, slices of at most 64, limits that need a controller. */

#include "lib/strv.h"
#include "services/tasks/scope.h"
#include "tests/unit/check.h"

static void names_are_of_one_container_only(void) {
        static const struct {
                const char *namespace, *id, *expected;
        } table[] = {
                { "system", "web", "crt-system-web.scope" },
                { "system", "web-1_a.b", "crt-system-web-1_a.b.scope" },
                { "a-b", "c", "crt-a\\x2db-c.scope" },
                { "a", "b-c", "crt-a-b-c.scope" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                char name[SCOPE_NAME_MAX];
                CHECK_OK(scope_name(table[i].namespace, table[i].id, name));
                CHECK_STRING(name, table[i].expected);
        }
}

static void long_names_are_hashed(void) {
        char namespace[77], id[77], one[SCOPE_NAME_MAX], other[SCOPE_NAME_MAX];
        for (size_t i = 0; i < 76; i++) {
                namespace[i] = i % 2 ? '-' : 'n';
                id[i] = 'i';
        }
        namespace[75] = 'n';
        namespace[76] = id[76] = '\0';
        CHECK_OK(scope_name(namespace, id, one));
        id[75] = 'j';
        CHECK_OK(scope_name(namespace, id, other));
        CHECK(strcmp(one, other) != 0);
        CHECK_INT(strlen(one), strlen("crt-.scope") + 64);
}

static void a_slice_takes_sixty_four(void) {
        _cleanup_(scope_buckets_done) ScopeBuckets buckets = { 0 };
        char slice[SCOPE_SLICE_MAX];
        unsigned bucket = 99;
        for (unsigned i = 0; i < 200; i++) {
                CHECK_OK(scope_buckets_take(&buckets, &bucket));
                CHECK_INT(bucket, i / SCOPE_SIBLINGS_MAX);
        }
        CHECK_STRING(scope_slice(bucket, slice), "crt-3.slice");
        /* What is given back is taken again before a new slice is begun. */
        scope_buckets_give_back(&buckets, 1);
        CHECK_OK(scope_buckets_take(&buckets, &bucket));
        CHECK_INT(bucket, 1);
        CHECK_OK(scope_buckets_take(&buckets, &bucket));
        CHECK_INT(bucket, 3);
}

static void known_buckets_count(void) {
        _cleanup_(scope_buckets_done) ScopeBuckets buckets = { 0 };
        unsigned bucket;
        for (unsigned i = 0; i < SCOPE_SIBLINGS_MAX; i++)
                CHECK_OK(scope_buckets_take_known(&buckets, 0));
        CHECK_OK(scope_buckets_take_known(&buckets, 5));
        CHECK_OK(scope_buckets_take(&buckets, &bucket));
        CHECK_INT(bucket, 1);
        CHECK_ERROR(scope_buckets_take_known(&buckets, UINT32_MAX), -EDQUOT);
}

static void limits_need_their_controller(void) {
        static const struct {
                ScopeLimits limits;
                const char *controllers, *missing;
        } table[] = {
                { { 0 }, "", NULL },
                { { .memory_max = 1 }, "cpu memory pids", NULL },
                { { .memory_max = 1 }, "cpu pids", "memory-max" },
                { { .memory_max = 1 }, "xmemory memoryx", "memory-max" },
                { { .tasks_max = 1 }, "pids", NULL },
                { { .tasks_max = 1 }, "hugetlb", "tasks-max" },
                { { .cpu_quota = 1 }, "cpuset", "cpu-quota" },
                { { .cpu_quota = 1 }, "cpuset cpu", NULL },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = scope_check_limits(&table[i].limits, table[i].controllers, &fault);
                CHECK_FORMAT(r == (table[i].missing ? -EOPNOTSUPP : 0), "row %zu: %i", i, r);
                if (table[i].missing)
                        CHECK_CONTAINS(fault.text, table[i].missing);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(names_are_of_one_container_only),
                CHECK_CASE(long_names_are_hashed),
                CHECK_CASE(a_slice_takes_sixty_four),
                CHECK_CASE(known_buckets_count),
                CHECK_CASE(limits_need_their_controller),
                {},
        });
}
