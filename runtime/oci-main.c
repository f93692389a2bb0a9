/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "runtime/oci-command.h"
#include "runtime/oci-log.h"
#include "runtime/oci-option-table.h"
#include "runtime/oci-process.h"
#include "runtime/own-binary.h"

/* What clones processes into containers is not to be reached by them: own-binary.h. */
static const struct {
        int (*run)(const OciOptions *options, Fault *fault);
        bool clones;
        int failure; /* the exit status; 0: EXIT_FAILURE */
} commands[_OCI_COMMAND_MAX] = {
        [OCI_COMMAND_CREATE] = { oci_create, .clones = true },
        [OCI_COMMAND_RUN] = { oci_run, .clones = true },
        [OCI_COMMAND_START] = { oci_start },
        [OCI_COMMAND_STATE] = { oci_state },
        [OCI_COMMAND_KILL] = { oci_kill },
        [OCI_COMMAND_DELETE] = { oci_delete },
        [OCI_COMMAND_PAUSE] = { oci_pause },
        [OCI_COMMAND_RESUME] = { oci_resume },
        [OCI_COMMAND_PS] = { oci_ps },
        [OCI_COMMAND_LIST] = { oci_list },
        [OCI_COMMAND_UPDATE] = { oci_update },
        [OCI_COMMAND_EVENTS] = { oci_events },
        [OCI_COMMAND_SPEC] = { oci_spec },
        [OCI_COMMAND_FEATURES] = { oci_features },
        [OCI_COMMAND_CHECKPOINT] = { oci_checkpoint },
        [OCI_COMMAND_RESTORE] = { oci_restore },
        [OCI_COMMAND_EXEC] = { oci_exec, .clones = true, .failure = 255 },
};

static int run_command(const OciOptions *options, char *argv[], Fault *fault) {
        if (options->command == OCI_COMMAND_HELP)
                return oci_option_print_help(options->topic);
        if (options->command == OCI_COMMAND_VERSION)
                return printf("crt-oci version %s\nspec: %s\n", CRT_VERSION, OCI_SPECIFICATION_VERSION) < 0
                               ? -EIO
                               : 0;
        int r = commands[options->command].clones ? own_binary_protect(argv, fault) : 0;
        return r < 0 ? r : commands[options->command].run(options, fault);
}

/* A short life: what malloc() gets from the kernel it gets in few pieces, and gives none back. */
static void set_up_memory(void) {
        (void) mallopt(M_TOP_PAD, 512 * 1024);
        (void) mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

int main(int argc, char *argv[]) {
        Fault fault = FAULT_NULL;
        OciOptions options = { 0 };
        set_up_memory();
        oci_process_guard_standard();
        oci_log_open(&options);
        int r = oci_options_parse(argc, argv, &options, &fault), failure = EXIT_FAILURE;
        if (r >= 0) {
                if (commands[options.command].failure)
                        failure = commands[options.command].failure;
                r = run_command(&options, argv, &fault);
        }
        if (r < 0)
                oci_log_error(fault_text(&fault, r));
        fault_done(&fault);
        oci_options_done(&options);
        return r < 0 ? failure : r;
}
