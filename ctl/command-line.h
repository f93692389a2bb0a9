/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Options described by tables: one row is the option, the field that it sets and its line in --help. A row
 * without value sets a bool; one with a value and without a parser a borrowed const char *; the others what
 * their parser writes. */

#include <stdbool.h>
#include <stdio.h>

#include "lib/fault.h"

typedef int (*ArgumentParse)(const char *value, void *field, Fault *fault);

typedef struct Argument {
        const char *name;  /* long option; the table ends with a row that has none */
        char letter;       /* 0: none */
        const char *value; /* what stands for the value in --help; NULL: a flag */
        const char *help;
        size_t offset;
        ArgumentParse parse;
} Argument;

/* A table and the struct that its offsets are about. */
typedef struct ArgumentSet {
        const Argument *arguments;
        void *target;
} ArgumentSet;

/* Reads argv[1…]; where a letter or name stands in both sets, the first has it. With leading, options end at
 * the first operand (as in "run IMAGE COMMAND -x"). *ret_operands is the index of the first operand; argv is
 * permuted. -EINVAL with a sentence. */
int command_line_parse(const ArgumentSet sets[2], bool leading, int argc, char *argv[], int *ret_operands,
                       Fault *fault);

/* Frees the lists that argument_list() made. */
void command_line_done(const ArgumentSet *set);

/* "  -t --tty   Give it a terminal", with the descriptions below each other. */
void command_line_print_help(FILE *file, const Argument *arguments);

/* Parsers: an option that may be given several times → char **, owned; an unsigned number → uint64_t with
 * its maximum at UINT32_MAX; a size such as 512M → uint64_t; one of each that is not 0, as there 0 stands
 * for what was not given. */
int argument_list(const char *value, void *field, Fault *fault);
int argument_number(const char *value, void *field, Fault *fault);
int argument_size(const char *value, void *field, Fault *fault);
int argument_number_limit(const char *value, void *field, Fault *fault);
int argument_size_limit(const char *value, void *field, Fault *fault);
