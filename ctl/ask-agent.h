/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* polkit's agent for terminals, run beside us while we wait for an answer that may need a password. */

/* Starts it once, where standard input is a terminal, and waits until it is registered. That it cannot be
 * started is no error: the session may have an agent of its own. */
void ask_agent_start(int *pidfd);
void ask_agent_stop(int *pidfd);
