/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process that stays and waits for another one, which is its child: signals and a terminal are passed on,
 * the exit status is taken over. */

#include <stdbool.h>

#include "lib/fault.h"
#include "runtime/oci-terminal.h"

typedef struct OciForeground {
        int signals;
        OciTerminal terminal;
} OciForeground;

#define OCI_FOREGROUND_INIT ((OciForeground){ .signals = -EBADF, .terminal = OCI_TERMINAL_INIT })

/* From now on signals wait. Before the other process is cloned, so that none gets lost. */
int oci_foreground_begin(OciForeground *foreground, Fault *fault);
/* The other process's terminal goes on this one's; takes the master. Before its program is started, which
 * then finds a terminal of the right size. */
int oci_foreground_take_terminal(OciForeground *foreground, int master, Fault *fault);
/* Until it has ended: its exit status as a shell shows it. */
int oci_foreground_wait(OciForeground *foreground, int pidfd, Fault *fault);
void oci_foreground_done(OciForeground *foreground);
