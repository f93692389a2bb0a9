/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/label.h"

#include "lib/limits.h"
#include "lib/strv.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

#define LABELS(...) ((char *[]){ __VA_ARGS__, NULL })
#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void reserved_keys_are_known_ones_only(void) {
        static const struct {
                const char *label;
                int r;
        } cases[] = {
                { "a=b", 0 },
                { "a b=", 0 },
                { "org.crtx=1", 0 },
                { "org.crt.gc.root=yes", 0 },
                { "org.crt.gc.rooted=yes", -EINVAL },
                { "org.crt.gc.root.x=yes", -EINVAL },
                { "org.crt.shareable=yes", 0 },
                { "org.crt.unknown=1", -EINVAL },
                { "org.crt.unknown=", 0 },
                { "org.crt.gc.ref.content=" DIGEST, 0 },
                { "org.crt.gc.ref.content.l.0=" DIGEST, 0 },
                { "org.crt.gc.ref.content.=" DIGEST, -EINVAL },
                { "org.crt.gc.ref.content.l=nothing", -EINVAL },
                { "org.crt.gc.ref.snapshot.s=a key", -EINVAL },
                { "org.crt.gc.ref.snapshot.s=key", 0 },
                { "org.crt.gc.expire=2026-11-22T11:09:00Z", 0 },
                { "org.crt.gc.expire=tomorrow", -EINVAL },
                { "org.crt.gc.ref.image=docker.io/library/debian:latest", 0 },
                { "org.crt.gc.ref.image.one=docker.io/library/debian:latest", 0 },
                { "org.crt.gc.ref.image.one=a\nb", -EINVAL },
                { "org.crt.gc.bref.content=" DIGEST, -EINVAL },
                { "org.crt.gc.cond.snapshot=x", -EINVAL },
                { "=x", -EINVAL },
                { "plain=a\tb", 0 },
                { "org.crt.gc.root=a\tb", -EINVAL },
                { "org.crt.gc.root=\x7f", -EINVAL },
                { "org.crt.gc.ref.content.a\nb=" DIGEST, -EINVAL },
        };
        static const char *const own[] = { "org.crt.shareable", NULL };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = label_check(LABELS((char *) cases[i].label), own, &fault);
                CHECK_FORMAT(r == cases[i].r, "%s: %i", cases[i].label, r);
                CHECK(r >= 0 || fault.text);
        }
        CHECK_ERROR(label_check(LABELS((char *) "org.crt.shareable=yes"), NULL, NULL), -EINVAL);
}

static void labels_have_a_length(void) {
        char label[LIMIT_LABEL_LENGTH + 3];
        memset(label, 'x', sizeof(label));
        label[4] = '=';
        label[LIMIT_LABEL_LENGTH + 1] = '\0';
        CHECK_OK(label_check(LABELS(label), NULL, NULL));
        label[LIMIT_LABEL_LENGTH + 1] = 'x';
        label[LIMIT_LABEL_LENGTH + 2] = '\0';
        CHECK_ERROR(label_check(LABELS(label), NULL, NULL), -EDQUOT);
}

static void check_labels(char **labels, const char *expected) {
        char joined[256] = "";
        STRV_FOREACH (label, labels) {
                strcat(joined, label);
                strcat(joined, " ");
        }
        strv_free(labels);
        CHECK_STRING(joined, expected);
}

static void a_change_names_what_changes(void) {
        char **labels = NULL;
        CHECK_OK(label_change(&labels, LABELS((char *) "b=2", (char *) "a=1", (char *) "none="), false,
                              NULL));
        CHECK_OK(label_change(&labels, LABELS((char *) "a=", (char *) "ab=3", (char *) "b=4=5"), false,
                              NULL));
        CHECK_OK(label_change(&labels, NULL, false, NULL));
        check_labels(labels, "ab=3 b=4=5 ");
}

static void a_replacement_names_all(void) {
        char **labels = NULL;
        CHECK_OK(label_change(&labels, LABELS((char *) "b=2", (char *) "a=1"), false, NULL));
        CHECK_OK(label_change(&labels, LABELS((char *) "c=3"), true, NULL));
        check_labels(labels, "c=3 ");
        labels = NULL;
        CHECK_OK(label_change(&labels, LABELS((char *) "b=2"), false, NULL));
        CHECK_OK(label_change(&labels, NULL, true, NULL));
        CHECK(!labels);
}

static void one_thing_has_so_many(void) {
        char **labels = NULL;
        for (int i = 0; i < LIMIT_LABELS_PER_OBJECT; i++) {
                char label[32];
                (void) snprintf(label, sizeof(label), "k%i=v", i);
                CHECK_OK(label_change(&labels, LABELS(label), false, NULL));
        }
        CHECK_ERROR(label_change(&labels, LABELS((char *) "more=v"), false, NULL), -EDQUOT);
        CHECK_OK(label_change(&labels, LABELS((char *) "more=v", (char *) "k0="), false, NULL));
        strv_free(labels);
}

static void times_are_read(void) {
        static const struct {
                const char *text;
                int64_t usec; /* -1: none */
        } cases[] = {
                { "1970-01-01T00:00:00Z", 0 },
                { "1970-01-01t00:00:01.5z", 1500000 },
                { "2026-11-22T11:09:00Z", INT64_C(1795345740) * 1000000 },
                { "2026-11-22 12:09:00+01:00", INT64_C(1795345740) * 1000000 },
                { "2026-11-22T05:39:00.000001-05:30", INT64_C(1795345740) * 1000000 + 1 },
                { "2024-02-29T00:00:00Z", INT64_C(1709164800) * 1000000 },
                { "2023-02-29T00:00:00Z", -1 },
                { "2026-13-01T00:00:00Z", -1 },
                { "2026-00-01T00:00:00Z", -1 },
                { "2026-01-32T00:00:00Z", -1 },
                { "2026-01-01T24:00:00Z", -1 },
                { "2026-01-01T00:60:00Z", -1 },
                { "2026-01-01T00:00:00", -1 },
                { "2026-01-01T00:00:00.Z", -1 },
                { "2026-01-01T00:00:00Zx", -1 },
                { "2026-01-01T00:00:00+1:00", -1 },
                { "2026-01-01T00:00:00+24:00", -1 },
                { "2026-1-01T00:00:00Z", -1 },
                { "1969-12-31T23:59:59Z", -1 },
                { "1970-01-01T00:00:00+00:01", -1 },
                { "", -1 },
                { "2026", -1 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                uint64_t usec = 0;
                int r = label_parse_time(cases[i].text, &usec);
                CHECK_FORMAT(cases[i].usec < 0 ? r == -EINVAL : r == 0 && (int64_t) usec == cases[i].usec,
                             "%s: %i, %llu", cases[i].text, r, (unsigned long long) usec);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reserved_keys_are_known_ones_only),
                CHECK_CASE(labels_have_a_length),
                CHECK_CASE(a_change_names_what_changes),
                CHECK_CASE(a_replacement_names_all),
                CHECK_CASE(one_thing_has_so_many),
                CHECK_CASE(times_are_read),
                {},
        });
}
