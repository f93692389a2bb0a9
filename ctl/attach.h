/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container in the foreground: started with our own standard streams or with our terminal's keys and
 * screen, our signals passed on, until it ends or is let go of. */

#include "ctl/context.h"

typedef struct AttachSpec {
        const char *path; /* object of org.crt.Tasks1.Container */
        bool interactive; /* standard input is the container's */
        bool terminal;    /* it was made with one */
} AttachSpec;

/* Starts it and stays. *ret_status is its exit status; 0 when it was detached from. */
int attach_run(Context *context, const AttachSpec *spec, int *ret_status, Fault *fault);

/* Starts it in the background. */
int attach_start(Context *context, const char *path, Fault *fault);

/* The exit status for a container that could not be started: 126 or 127 if the service says so, else 125. */
int attach_failure_status(Context *context, const char *path);

#define EXIT_CRT_FAILED 125
