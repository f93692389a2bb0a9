/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every option of crt-oci with the commands that take it: what is parsed and what --help prints. */

#include "runtime/oci-options.h"

typedef enum OciOptionKind {
        OCI_OPTION_FLAG, /* bool */
        OCI_OPTION_TEXT, /* const char * */
        OCI_OPTION_LIST, /* OciList */
        OCI_OPTION_WORD, /* something that oci-options.c has to look at */
} OciOptionKind;

typedef struct OciOption {
        const char *name;
        char letter; /* 0: none */
        OciOptionKind kind;
        size_t offset;     /* in OciOptions */
        unsigned commands; /* a bit for each; 0: before the command */
        const char *value; /* how it is called in help; NULL for flags */
        const char *help;
} OciOption;

extern const OciOption oci_option_table[];
extern const size_t oci_option_count;

/* NULL if this command has no such option; _OCI_COMMAND_INVALID: before the command. */
const OciOption *oci_option_find(OciCommand command, const char *name, size_t length);
const OciOption *oci_option_find_letter(OciCommand command, char letter);

/* A summary, or the options of one command. */
int oci_option_print_help(OciCommand command);
