/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crtctl can do: one description for each verb, by which its command line is read, its help written and
 * it is run. */

#include "ctl/command-line.h"
#include "ctl/context.h"

typedef struct Verb {
        const char *name;          /* "pull", "content ls" */
        const char *operands;      /* "IMAGE [COMMAND…]"; NULL: none */
        const char *help;          /* one line */
        const Argument *arguments; /* its own options; may be NULL */
        size_t options_size;       /* of the zeroed struct that they set */
        unsigned operands_min, operands_max;
        bool leading; /* options end at the first operand */
        int failure;  /* exit status of our own errors, if not 1 */

        /* operands is NULL-terminated. Returns the exit status, or a negative errno with a sentence. */
        int (*run)(Context *context, void *options, char **operands, Fault *fault);
} Verb;

#define OPERANDS_ANY (~0U)

extern const Verb verb_pull, verb_images, verb_tag, verb_rmi, verb_inspect;
extern const Verb verb_run, verb_create, verb_start, verb_ps, verb_logs, verb_kill, verb_stop, verb_wait,
        verb_rm;
extern const Verb verb_transfers, verb_transfers_cancel, verb_transfers_watch;
extern const Verb verb_content_ls, verb_content_stat, verb_content_cat, verb_content_ingest,
        verb_content_ingests, verb_content_commit, verb_content_abort, verb_content_label,
        verb_content_verify, verb_content_usage, verb_content_share, verb_content_rm;
extern const Verb verb_snapshot_ls, verb_snapshot_tree, verb_snapshot_stat, verb_snapshot_prepare,
        verb_snapshot_view, verb_snapshot_commit, verb_snapshot_label, verb_snapshot_mount, verb_snapshot_rm,
        verb_snapshot_diff, verb_snapshot_unpack, verb_snapshot_usage, verb_snapshot_cleanup,
        verb_snapshot_verify;
extern const Verb verb_lease_ls, verb_lease_create, verb_lease_update, verb_lease_add, verb_lease_drop,
        verb_lease_show, verb_lease_rm;
extern const Verb verb_gc;

/* "crtctl: sentence" on standard error, safe for terminals. */
void verb_complain(const Fault *fault, int r);

/* Does something to each operand; what fails is complained about, and the others are done. 0 or
 * EXIT_FAILURE. */
typedef int (*VerbOnOperand)(Context *context, void *options, const char *operand, Fault *fault);
int verb_for_each(Context *context, void *options, char **operands, VerbOnOperand on_operand);
