/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pulling an image with its progress shown: for "pull" and for "run" and "create", which pull what is
 * missing. */

#include "ctl/context.h"
#include "ctl/transfer-watch.h"

typedef struct PullOptions {
        const char *platform, *ca, *username;
        bool plain_http, password_stdin, no_unpack, quiet, missing;
} PullOptions;

int pull_image(Context *context, const char *reference, const PullOptions *options, TransferResult *ret,
               Fault *fault);
