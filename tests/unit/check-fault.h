/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For functions that fail with a sentence: the call names its fault "&fault". */

#include "lib/fault.h"
#include "tests/unit/check.h"

#define CHECK_FAULT(call, expected_error, expected_part)                                                    \
        do {                                                                                                \
                Fault fault = FAULT_NULL;                                                                   \
                int _r = (call);                                                                            \
                char _sentence[384];                                                                        \
                snprintf(_sentence, sizeof(_sentence), "%s", fault.text ? fault.text : "(no sentence)");    \
                int _error = fault.error;                                                                   \
                fault_done(&fault);                                                                         \
                CHECK_FORMAT(_r == (expected_error), "%s is %i (%s), expected %i", #call, _r, _sentence,    \
                             (int) (expected_error));                                                       \
                CHECK_INT(_error, expected_error);                                                          \
                CHECK_CONTAINS(_sentence, expected_part);                                                   \
        } while (0)

/* Succeeds, or shows the sentence. */
#define CHECK_NO_FAULT(call)                                                                                \
        do {                                                                                                \
                Fault fault = FAULT_NULL;                                                                   \
                int _r = (call);                                                                            \
                char _sentence[384];                                                                        \
                snprintf(_sentence, sizeof(_sentence), "%s", fault_text(&fault, _r < 0 ? _r : 0));          \
                fault_done(&fault);                                                                         \
                CHECK_FORMAT(_r >= 0, "%s is %i: %s", #call, _r, _sentence);                                \
        } while (0)
