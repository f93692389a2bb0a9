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

static void names_that_are_too_long_for_a_unit_are_refused(void) {
        char namespace[77], id[77], name[SCOPE_NAME_MAX];
        memset(namespace, 'n', 76);
        memset(id, 'i', 76);
        namespace[76] = id[76] = '\0';
        CHECK_OK(scope_name(namespace, id, name));
        for (size_t i = 1; i < 76; i += 2)
        namespace[i] = '-';
        CHECK_ERROR(scope_name(namespace, id, name), -EINVAL);
        /* 4 + (38 + 37 * 4) + 1 + id + 6 characters, and systemd takes 255. */
        id[255 - 4 - 190 - 1 - 6] = '\0';
        CHECK_OK(scope_name(namespace, id, name));
        CHECK_INT(strlen(name), 255);
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
                CHECK_CASE(names_that_are_too_long_for_a_unit_are_refused),
                CHECK_CASE(a_slice_takes_sixty_four),
                CHECK_CASE(known_buckets_count),
                CHECK_CASE(limits_need_their_controller),
                {},
        });
}
