/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Labels on a command line: KEY=VALUE, and KEY= for one that goes. */

#include "ctl/command-line.h"
#include "ctl/context.h"

typedef struct LabelsOptions {
        bool replace;
} LabelsOptions;

extern const Argument labels_arguments[];

/* That each is KEY=VALUE. */
int labels_check(char *const *labels, Fault *fault);

/* Update(operands[0], …) of a service with the labels that follow it. */
int labels_update(Context *context, const BusTarget *target, char **operands, const LabelsOptions *options,
                  Fault *fault);
