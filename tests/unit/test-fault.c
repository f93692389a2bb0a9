/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/fault.h"
#include "tests/unit/check.h"

static void keeps_the_first_sentence(void) {
        Fault fault = FAULT_NULL;
        CHECK_INT(fault_set(&fault, -EBADMSG, "layer %i is short", 3), -EBADMSG);
        CHECK_INT(fault_set(&fault, -EIO, "pull failed"), -EIO);
        CHECK_INT(fault.error, -EBADMSG);
        CHECK_STRING(fault.text, "layer 3 is short");
        fault_done(&fault);
        CHECK(!fault.text && fault.error == 0);
}

static void appends_what_errno_says(void) {
        Fault fault = FAULT_NULL;
        CHECK_INT(fault_set_errno(&fault, -ENOENT, "/etc/%s", "x"), -ENOENT);
        CHECK_STRING(fault.text, "/etc/x: No such file or directory");
        fault_done(&fault);
}

static void puts_a_prefix_before_a_sentence(void) {
        Fault fault = FAULT_NULL;
        (void) fault_set(&fault, -EBADMSG, "not a digest");
        CHECK_INT(fault_prefix(&fault, -EBADMSG, "layer %i", 2), -EBADMSG);
        CHECK_STRING(fault.text, "layer 2: not a digest");
        CHECK_INT(fault.error, -EBADMSG);
        fault_done(&fault);
}

static void makes_a_sentence_of_a_prefix_alone(void) {
        Fault fault = FAULT_NULL;
        CHECK_INT(fault_prefix(&fault, -EIO, "blob"), -EIO);
        CHECK_STRING(fault.text, "blob: Input/output error");
        fault_done(&fault);
}

static void takes_no_fault_at_all(void) {
        CHECK_INT(fault_set(NULL, -EINVAL, "x"), -EINVAL);
        CHECK_INT(fault_set_errno(NULL, -EINVAL, "x"), -EINVAL);
        CHECK_INT(fault_prefix(NULL, -EINVAL, "x"), -EINVAL);
        CHECK_STRING(fault_text(NULL, -EINVAL), "Invalid argument");
        fault_done(NULL);
}

static void moves_only_into_an_empty_one(void) {
        Fault from = FAULT_NULL, to = FAULT_NULL;
        (void) fault_set(&from, -EIO, "first");
        fault_move(&to, &from);
        CHECK_STRING(to.text, "first");
        CHECK(!from.text && from.error == 0);
        (void) fault_set(&from, -EBADMSG, "second");
        fault_move(&to, &from);
        CHECK_STRING(to.text, "first");
        CHECK(!from.text);
        fault_done(&to);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(keeps_the_first_sentence),
                CHECK_CASE(appends_what_errno_says),
                CHECK_CASE(puts_a_prefix_before_a_sentence),
                CHECK_CASE(makes_a_sentence_of_a_prefix_alone),
                CHECK_CASE(takes_no_fault_at_all),
                CHECK_CASE(moves_only_into_an_empty_one),
                {},
        });
}
