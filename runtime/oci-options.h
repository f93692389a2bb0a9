/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line of crt-oci, which is runc's for the commands that there are. */

#include <stdbool.h>

#include "lib/fault.h"

typedef enum OciCommand {
        OCI_COMMAND_HELP,
        OCI_COMMAND_VERSION,
        OCI_COMMAND_CREATE,
        OCI_COMMAND_START,
        OCI_COMMAND_RUN,
        OCI_COMMAND_STATE,
        OCI_COMMAND_KILL,
        OCI_COMMAND_DELETE,
        _OCI_COMMAND_MAX,
        _OCI_COMMAND_INVALID = -22,
} OciCommand;

typedef struct OciOptions {
        OciCommand command;
        const char *root;
        const char *log; /* NULL: none beside stderr */
        bool log_json, debug;
        const char *id;
        const char *bundle;
        const char *pid_file, *console_socket;
        unsigned preserve_fds;
        bool no_new_keyring;
        bool detach, keep; /* run */
        bool force;        /* delete */
        bool all;          /* kill */
        int signal;        /* kill */
} OciOptions;

/* ret->log and log_json are set as far as they were read even on failure: the complaint belongs into that
 * log. */
int oci_options_parse(int argc, char *argv[], OciOptions *ret, Fault *fault);

extern const char oci_options_help[];
