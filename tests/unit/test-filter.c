/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/filter.h"

#include <errno.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

#define TEXTS(...) ((char **) (const char *[]){ __VA_ARGS__, NULL })

static const FilterField FIELDS[] = {
        { .name = "name" },
        { .name = "kind" },
        { .name = "size" },
        { .name = "labels", .has_key = true },
        {},
};

/* name=web, kind=active, labels a=1, "a b"=x, org.crt.gc.root=yes, empty="" */
static const char *lookup(const char *field, const char *key, void *userdata) {
        static const char *const labels[][2] = {
                { "a", "1" },    { "a b", "x" },      { "org.crt.gc.root", "yes" },
                { "empty", "" }, { "c/d-e", "/p|q" },
        };
        (void) userdata;
        if (string_equal(field, "name"))
                return "web";
        if (string_equal(field, "kind"))
                return "active";
        if (!key)
                return NULL;
        for (size_t i = 0; i < ELEMENTS_OF(labels); i++)
                if (string_equal(labels[i][0], key))
                        return labels[i][1];
        return NULL;
}

static int match(char *const *texts) {
        _cleanup_(filter_freep) Filter *filter = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = filter_parse(texts, FIELDS, &filter, &fault);
        CHECK_FORMAT(r >= 0, "'%s': %s", texts ? texts[0] : "", fault_text(&fault, r));
        return filter_match(filter, lookup, NULL);
}

static void conditions(void) {
        static const struct {
                const char *text;
                int matches;
        } cases[] = {
                { "name", 1 },
                { "size", 0 },
                { "labels.a", 1 },
                { "labels.b", 0 },
                { "labels.empty", 1 },
                { "name==web", 1 },
                { "name==we", 0 },
                { "name==\"web\"", 1 },
                { "name==\"w\\x65b\"", 1 },
                { "name!=web", 0 },
                { "name!=db", 1 },
                { "size==1", 0 },
                { "size!=1", 1 },
                { "labels.\"a b\"==x", 1 },
                { "labels.\"a b\"==y", 0 },
                { "labels.org.crt.gc.root==yes", 1 },
                { "labels.\"org.crt.gc.root\"", 1 },
                { "labels.org.\"crt.gc\".root", 1 },
                { "labels.c/d-e==/p|q", 1 },
                { "labels.empty==", 1 },
                { "labels.a==", 0 },
                { "labels.empty==\"\"", 1 },
                { "name~=^w.b$", 1 },
                { "name~=e", 1 },
                { "name~=^e", 0 },
                { "name~=/w(a|e)b/", 1 },
                { "name~=|w[e]b|", 1 },
                { "labels.c/d-e~=/\\/p/", 1 },
                { "labels.c/d-e~=|^/p\\|q|", 1 },
                { "name~=\"\\\\w+\"", 1 },
                { "name~=/\\w+/", 1 },
                { "size~=.", 0 },
                { "name==web,kind==active", 1 },
                { "name==web,kind==view", 0 },
                { "kind==view,name==web", 0 },
                { "labels.a==1,labels.\"a b\"~=/^x$/,name", 1 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char *texts[] = { (char *) cases[i].text, NULL };
                CHECK_FORMAT(match(texts) == cases[i].matches, "'%s' does not give %i", cases[i].text,
                             cases[i].matches);
        }
}

static void several_filters_are_alternatives(void) {
        CHECK_INT(match(TEXTS("name==db", "name==web")), 1);
        CHECK_INT(match(TEXTS("name==web", "name==db")), 1);
        CHECK_INT(match(TEXTS("name==db", "kind==view")), 0);
        CHECK_INT(match(TEXTS("name==db,kind==active", "name==web,kind==view")), 0);
        CHECK_INT(match(TEXTS("name==db,kind==view", "name==web,kind==active")), 1);
        CHECK_INT(match((char *[]){ NULL }), 1);
        CHECK_INT(match(NULL), 1);
}

static void check_refused(const char *text, int error, const char *sentence) {
        _cleanup_(filter_freep) Filter *filter = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = filter_parse(TEXTS(text), FIELDS, &filter, &fault);
        CHECK_FORMAT(r == error, "'%s' gives %i", text, r);
        CHECK_FORMAT(strstr(fault_text(&fault, r), sentence), "'%s' says '%s'", text, fault_text(&fault, r));
}

static void what_is_no_filter_is_refused(void) {
        static const char *const cases[][2] = {
                { "", "name is expected" },
                { ",", "name is expected" },
                { "name==web,", "name is expected" },
                { "nmae==web", "no field 'nmae' here, only name, kind, size, labels" },
                { "labels==x", "needs a key" },
                { "labels.", "name is expected" },
                { "name.x==web", "has no 'x'" },
                { "name=web", "is expected" },
                { "name==web kind==active", "is expected" },
                { "name==\"web", "no end" },
                { "name==\"w\\qeb\"", "unknown escape" },
                { "name==\"w\\x00\"", "hexadecimal" },
                { "name==\"w\\x4", "hexadecimal" },
                { "name~=/web", "no end" },
                { "name~=/web\\", "no end" },
                { "name~=", "value is expected" },
                { "name~=/(/", "regular expression, character" },
                { "name~=/a\\C/", "regular expression, character" },
                { "name==web\"x\"", "is expected" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                check_refused(cases[i][0], -EINVAL, cases[i][1]);
}

static void limits_hold(void) {
        char text[LIMIT_FILTER_LENGTH + 2];
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        memcpy(text, "name==", 6);
        check_refused(text, -EDQUOT, "at most");

        char expression[LIMIT_FILTER_EXPRESSION + 16];
        memset(expression, 'x', sizeof(expression));
        expression[sizeof(expression) - 1] = '\0';
        memcpy(expression, "name~=", 6);
        check_refused(expression, -EDQUOT, "at most");

        char many[LIMIT_FILTER_SELECTORS * 5 + 5] = "";
        for (int i = 0; i < LIMIT_FILTER_SELECTORS; i++)
                strcat(many, "size,");
        many[strlen(many) - 1] = '\0';
        CHECK_INT(match(TEXTS(many)), 0);
        strcat(many, ",size");
        check_refused(many, -EDQUOT, "at most");
}

static const char *lookup_hostile(const char *field, const char *key, void *userdata) {
        (void) field, (void) key, (void) userdata;
        return "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
}

static void a_regular_expression_takes_bounded_time(void) {
        _cleanup_(filter_freep) Filter *filter = NULL;
        CHECK_OK(filter_parse(TEXTS("name~=/^(a+)+$/"), FIELDS, &filter, NULL));
        CHECK_INT(filter_match(filter, lookup_hostile, NULL), -EDQUOT);
}

/* One that is dear at each place where a match could begin, and so at none of them beyond a limit. */
static void that_counts_for_all_places_and_conditions(void) {
        static const char *const texts[] = {
                "name~=\"[^\\x01]{0,30}?[^\\x01]{0,30}?[\\x01\\x02]\"",
                "name!=x,name~=\"[^\\x01]{0,99}?[\\x01\\x02]\",name~=\"[^\\x01]{0,99}?[\\x01\\x02]\"",
        };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
                _cleanup_(filter_freep) Filter *filter = NULL;
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = filter_parse(TEXTS(texts[i]), FIELDS, &filter, &fault);
                CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
                r = filter_match(filter, lookup_hostile, NULL);
                CHECK_FORMAT(i == 0 ? r == -EDQUOT : r == 0 || r == -EDQUOT, "%s gives %i", texts[i], r);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(conditions),
                CHECK_CASE(several_filters_are_alternatives),
                CHECK_CASE(what_is_no_filter_is_refused),
                CHECK_CASE(limits_hold),
                CHECK_CASE(a_regular_expression_takes_bounded_time),
                CHECK_CASE(that_counts_for_all_places_and_conditions),
                {},
        });
}
