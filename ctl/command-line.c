/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/command-line.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <string.h>

#include "ctl/parse-values.h"
#include "lib/strv.h"

#define ARGUMENTS_MAX 48
#define CODE_BASE 1000 /* beyond every letter */

/* What getopt_long() wants, made from the tables: its codes are CODE_BASE and the row's place in rows. */
typedef struct GetoptTables {
        struct option longs[ARGUMENTS_MAX + 1];
        char letters[2 * ARGUMENTS_MAX + 3];
        const Argument *rows[ARGUMENTS_MAX];
        void *targets[ARGUMENTS_MAX];
        size_t count;
} GetoptTables;

static const Argument *tables_find_letter(const GetoptTables *tables, char letter, void **ret_target) {
        for (size_t i = 0; i < tables->count; i++)
                if (tables->rows[i]->letter == letter) {
                        *ret_target = tables->targets[i];
                        return tables->rows[i];
                }
        return NULL;
}

static void tables_add(GetoptTables *tables, const Argument *argument, void *target) {
        assert(tables->count < ARGUMENTS_MAX);
        void *ignored;
        if (argument->letter && !tables_find_letter(tables, argument->letter, &ignored)) {
                size_t length = strlen(tables->letters);
                tables->letters[length] = argument->letter;
                if (argument->value)
                        tables->letters[length + 1] = ':';
        }
        tables->longs[tables->count] = (struct option){
                .name = argument->name,
                .has_arg = argument->value ? required_argument : no_argument,
                .val = CODE_BASE + (int) tables->count,
        };
        tables->rows[tables->count] = argument;
        tables->targets[tables->count++] = target;
}

static int argument_apply(const Argument *argument, void *target, const char *value, Fault *fault) {
        void *field = (char *) target + argument->offset;
        if (!argument->value) {
                *(bool *) field = true;
                return 0;
        }
        if (!argument->parse) {
                *(const char **) field = value;
                return 0;
        }
        int r = argument->parse(value, field, fault);
        if (r < 0)
                return fault_prefix(fault, r, "--%s=%s", argument->name, value);
        return 0;
}

/* optopt is the letter; for a long option it is 0 or its code, and the word stands before optind. */
static int refuse(const GetoptTables *tables, int code, char *argv[], Fault *fault) {
        bool is_long = optopt == 0 || optopt >= CODE_BASE;
        if (code == ':') {
                if (is_long)
                        return fault_set(fault, -EINVAL, "option '--%s' needs a value",
                                         tables->rows[optopt - CODE_BASE]->name);
                return fault_set(fault, -EINVAL, "option '-%c' needs a value", optopt);
        }
        if (!is_long)
                return fault_set(fault, -EINVAL, "option '-%c' is not known", optopt);
        if (optopt >= CODE_BASE)
                return fault_set(fault, -EINVAL, "option '--%s' takes no value",
                                 tables->rows[optopt - CODE_BASE]->name);
        return fault_set(fault, -EINVAL, "option '%s' is not known or ambiguous", argv[optind - 1]);
}

int command_line_parse(const ArgumentSet sets[2], bool leading, int argc, char *argv[], int *ret_operands,
                       Fault *fault) {
        GetoptTables tables = { .letters = { leading ? '+' : ':', leading ? ':' : 0 } };

        for (size_t i = 0; i < 2; i++)
                for (const Argument *a = sets[i].arguments; a && a->name; a++)
                        tables_add(&tables, a, sets[i].target);

        optind = 0; /* GNU: begin anew */
        opterr = 0;
        for (;;) {
                optopt = 0;
                int code = getopt_long(argc, argv, tables.letters, tables.longs, NULL);
                if (code < 0)
                        break;
                if (code == ':' || code == '?')
                        return refuse(&tables, code, argv, fault);
                void *target = NULL;
                const Argument *argument;
                if (code >= CODE_BASE) {
                        argument = tables.rows[code - CODE_BASE];
                        target = tables.targets[code - CODE_BASE];
                } else
                        argument = tables_find_letter(&tables, (char) code, &target);
                int r = argument_apply(argument, target, optarg, fault);
                if (r < 0)
                        return r;
        }
        *ret_operands = optind;
        return 0;
}

void command_line_done(const ArgumentSet *set) {
        for (const Argument *a = set->arguments; a && a->name; a++)
                if (a->parse == argument_list) {
                        char ***field = (void *) ((char *) set->target + a->offset);
                        *field = strv_free(*field);
                }
}

static int argument_title(const Argument *argument, char *buffer, size_t size) {
        char letter[4] = "   ";
        if (argument->letter)
                snprintf(letter, sizeof(letter), "-%c ", argument->letter);
        return snprintf(buffer, size, "%s--%s%s%s", letter, argument->name, argument->value ? "=" : "",
                        argument->value ? argument->value : "");
}

void command_line_print_help(FILE *file, const Argument *arguments) {
        char title[80];
        int width = 0;
        for (const Argument *a = arguments; a->name; a++)
                width = MAX_OF(width, argument_title(a, title, sizeof(title)));
        for (const Argument *a = arguments; a->name; a++) {
                (void) argument_title(a, title, sizeof(title));
                fprintf(file, "  %-*s  %s\n", width, title, a->help);
        }
}

int argument_list(const char *value, void *field, Fault *fault) {
        return strv_append((char ***) field, value);
}

int argument_number(const char *value, void *field, Fault *fault) {
        int r = string_to_uint64(value, UINT32_MAX, (uint64_t *) field);
        return r < 0 ? fault_set(fault, -EINVAL, "not a number from 0 to %u", UINT32_MAX) : 0;
}

int argument_size(const char *value, void *field, Fault *fault) {
        return parse_size(value, (uint64_t *) field, fault);
}

static int check_limit(int r, const uint64_t *limit, Fault *fault) {
        return r < 0 || *limit > 0 ? r : fault_set(fault, -EINVAL, "at least 1 is expected");
}

int argument_number_limit(const char *value, void *field, Fault *fault) {
        return check_limit(argument_number(value, field, fault), field, fault);
}

int argument_size_limit(const char *value, void *field, Fault *fault) {
        return check_limit(argument_size(value, field, fault), field, fault);
}
