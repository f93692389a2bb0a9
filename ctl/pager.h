/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shows a finished text on standard output: through a pager where that is a terminal with fewer lines than
 * the text. */

#include <stddef.h>

#include "ctl/context.h"

int pager_show(const Context *context, const char *text, size_t size, Fault *fault);
