/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One question to systemd: does this unit run, and as which invocation? */

#include <systemd/sd-bus.h>

#include "lib/fault.h"
#include "lib/macros.h"

/* r: 0 and the invocation's id in hexadecimal; -ENOENT or -EBUSY: it does not run; -EAGAIN: systemd does not
 * answer. */
typedef void (*UnitAnswered)(int r, const char *invocation, const Fault *fault, void *userdata);

/* The question ends when it is freed; answered() frees it. */
typedef struct UnitQuestion UnitQuestion;
int unit_question_new(sd_bus *bus, const char *unit, UnitAnswered answered, void *userdata,
                      UnitQuestion **ret);
UnitQuestion *unit_question_free(UnitQuestion *question);
DEFINE_CLEANUP(UnitQuestion *, unit_question_free);
