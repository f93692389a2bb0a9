/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Deletes trees that nobody wants any more, however deep a hostile container made them: nothing here
 * recurses. */

#include "lib/fault.h"

/* Empties the directory. What can't be deleted is left, and the first error told. */
int trash_empty(int trash, Fault *fault);
