/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What init says while it is being set up, in one message of fixed size: which step failed, and why. Small
 * enough that a pipe takes it whole (PIPE_BUF). It comes from a process inside the container: its text is
 * bounded and its numbers are checked. */

#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"

typedef enum InitReportKind {
        INIT_REPORT_READY = 1, /* waits for its start */
        INIT_REPORT_TERMINAL,  /* the message brings the terminal's master */
        INIT_REPORT_FAILED,
        INIT_REPORT_HOOKS,    /* waits while its parent runs hooks */
        INIT_REPORT_LISTENER, /* the message brings a seccomp listener, for which an agent is to be told */
        INIT_REPORT_MAPPINGS, /* from the launcher, which is in a user namespace and waits for its mappings
                               */
} InitReportKind;

typedef struct InitReport {
        uint32_t kind;
        int32_t error; /* negative errno */
        int32_t pid;   /* of init, from the process that launches it */
        char step[60];
        char text[1024];
} InitReport;

InitReport init_report_make(InitReportKind kind, const char *step, int error, const char *text);

/* Never unterminated, whatever was received. */
const char *init_report_text(InitReport *report);

/* Says it, and waits for the parent's one byte. -ECANCELED when that does not come. */
int init_report_and_wait(int socket, InitReportKind kind);

/* The failure as a fault: "<step>: <text>". */
int init_report_to_fault(InitReport *report, Fault *fault);
