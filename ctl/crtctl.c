/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ctl/format.h"
#include "ctl/style.h"
#include "ctl/verb.h"
#include "lib/identifier.h"
#include "lib/strv.h"

static int parse_output(const char *value, void *field, Fault *fault) {
        static const char *const names[] = { "off", "short", "pretty" };
        int index = string_table_find(names, ELEMENTS_OF(names), value);
        if (index < 0)
                return fault_set(fault, -EINVAL, "one of short, pretty and off is expected");
        *(OutputFormat *) field = (OutputFormat) index;
        return 0;
}

static int parse_namespace(const char *value, void *field, Fault *fault) {
        if (!identifier_is_valid(value))
                return fault_set(fault, -EINVAL, "not the name of a namespace");
        *(const char **) field = value;
        return 0;
}

static const Argument common_arguments[] = {
        { "namespace", 'n', "NAME", "Act in this namespace instead of the caller's own",
          offsetof(Context, namespace), parse_namespace },
        { "json", 0, "MODE", "Show JSON: short, pretty, off", offsetof(Context, output), parse_output },
        { "no-pager", 0, NULL, "Do not show long lists through a pager", offsetof(Context, no_pager) },
        { "no-legend", 0, NULL, "No headers", offsetof(Context, no_legend) },
        { "no-ask-password", 0, NULL, "Do not ask for passwords", offsetof(Context, no_ask_password) },
        { "help", 'h', NULL, "Show this help", offsetof(Context, help) },
        { "version", 0, NULL, "Show the version", offsetof(Context, version) },
        {},
};

typedef struct VerbGroup {
        const char *title;
        const Verb *const *verbs;
} VerbGroup;

static const VerbGroup verb_groups[] = {
        { "Images", (const Verb *const[]){ &verb_pull, &verb_images, &verb_tag, &verb_rmi, &verb_transfers,
                                           &verb_transfers_watch, &verb_transfers_cancel, NULL } },
        { "Containers",
          (const Verb *const[]){ &verb_run, &verb_create, &verb_start, &verb_ps, &verb_logs, &verb_kill,
                                 &verb_stop, &verb_wait, &verb_rm, &verb_inspect, NULL } },
        { "Blobs",
          (const Verb *const[]){ &verb_content_ls, &verb_content_stat, &verb_content_cat,
                                 &verb_content_ingest, &verb_content_ingests, &verb_content_commit,
                                 &verb_content_abort, &verb_content_label, &verb_content_verify,
                                 &verb_content_usage, &verb_content_share, &verb_content_rm, NULL } },
        { "Snapshots",
          (const Verb *const[]){ &verb_snapshot_ls, &verb_snapshot_tree, &verb_snapshot_stat,
                                 &verb_snapshot_prepare, &verb_snapshot_view, &verb_snapshot_commit,
                                 &verb_snapshot_label, &verb_snapshot_mount, &verb_snapshot_diff,
                                 &verb_snapshot_unpack, &verb_snapshot_usage, &verb_snapshot_verify,
                                 &verb_snapshot_cleanup, &verb_snapshot_rm, NULL } },
        { "Leases and collection",
          (const Verb *const[]){ &verb_gc, &verb_lease_ls, &verb_lease_create, &verb_lease_update,
                                 &verb_lease_add, &verb_lease_drop, &verb_lease_show, &verb_lease_rm,
                                 NULL } },
};

void verb_complain(const Fault *fault, int r) {
        _cleanup_free_ char *text = format_printable(fault_text(fault, r));
        bool colour = style_has_colour(STDERR);
        fflush(stdout);
        fprintf(stderr, "%scrtctl: %s%s\n", colour ? STYLE_RED : "", text ? text : "out of memory",
                colour ? STYLE_NORMAL : "");
}

int verb_for_each(Context *context, void *options, char **operands, VerbOnOperand on_operand) {
        int status = EXIT_SUCCESS;
        for (; *operands; operands++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = on_operand(context, options, *operands, &fault);
                if (r < 0) {
                        verb_complain(&fault, r);
                        status = EXIT_FAILURE;
                }
        }
        return status;
}

static int verb_title(const Verb *verb, char *buffer, size_t size) {
        return snprintf(buffer, size, "%s%s%s", verb->name, verb->operands ? " " : "",
                        verb->operands ? verb->operands : "");
}

static void print_verb_line(const Verb *verb) {
        char title[80];
        (void) verb_title(verb, title, sizeof(title));
        size_t width = format_width(title);
        printf("  %s%*s  %s\n", title, width < 38 ? (int) (38 - width) : 0, "", verb->help);
}

static void print_help(void) {
        printf("crtctl [OPTIONS…] VERB …\n\nImages and containers of crt.\n");
        for (size_t g = 0; g < ELEMENTS_OF(verb_groups); g++) {
                printf("\n%s:\n", verb_groups[g].title);
                for (const Verb *const *v = verb_groups[g].verbs; *v; v++)
                        print_verb_line(*v);
        }
        printf("\nOptions:\n");
        command_line_print_help(stdout, common_arguments);
        printf("\n'crtctl VERB --help' shows the options of a verb; see also crtctl(1).\n");
}

static void print_verb_help(const Verb *verb) {
        char title[80];
        (void) verb_title(verb, title, sizeof(title));
        printf("crtctl %s\n\n%s.\n", title, verb->help);
        if (verb->arguments) {
                printf("\nOptions:\n");
                command_line_print_help(stdout, verb->arguments);
        }
        printf("\nCommon options:\n");
        command_line_print_help(stdout, common_arguments);
}

/* The verb of one or two words that stands at argv[0]; *ret_words is how many it has. */
static const Verb *verb_find(char **argv, int argc, int *ret_words) {
        const Verb *found = NULL;
        for (size_t g = 0; g < ELEMENTS_OF(verb_groups); g++)
                for (const Verb *const *v = verb_groups[g].verbs; *v; v++) {
                        const char *second = strchr((*v)->name, ' ');
                        size_t first = second ? (size_t) (second - (*v)->name) : strlen((*v)->name);
                        if (strlen(argv[0]) != first || strncmp((*v)->name, argv[0], first) != 0)
                                continue;
                        if (second && (argc < 2 || !string_equal(second + 1, argv[1])))
                                continue;
                        if (found && !second)
                                continue;
                        found = *v;
                        *ret_words = second ? 2 : 1;
                }
        return found;
}

static bool verb_is_of_family(const Verb *verb, const char *word) {
        size_t length = strlen(word);
        return strncmp(verb->name, word, length) == 0 && verb->name[length] == ' ';
}

/* Calls for each of the verbs of two words that begin with this one; whether there are any. */
static bool family_for_each(const char *word, void (*on_verb)(const Verb *verb)) {
        bool found = false;
        for (size_t g = 0; g < ELEMENTS_OF(verb_groups); g++)
                for (const Verb *const *v = verb_groups[g].verbs; *v; v++)
                        if (verb_is_of_family(*v, word)) {
                                found = true;
                                if (on_verb)
                                        on_verb(*v);
                        }
        return found;
}

/* "run: option '-Z' is not known; see 'crtctl run --help'". */
static int explain_usage(Fault *fault, int r, const char *verb) {
        char *text = NULL;
        if (r != -EINVAL || !fault->text)
                return r;
        if (asprintf(&text, "%s%s%s; see 'crtctl %s%s--help'", verb, verb[0] ? ": " : "", fault->text, verb,
                     verb[0] ? " " : "") < 0)
                return r;
        free(fault->text);
        fault->text = text;
        return r;
}

static int check_operands(const Verb *verb, unsigned count, Fault *fault) {
        if (count < verb->operands_min)
                return fault_set(fault, -EINVAL, "%s is missing", verb->operands);
        if (count > verb->operands_max)
                return verb->operands_max == 0 ? fault_set(fault, -EINVAL, "takes no operands")
                                               : fault_set(fault, -EINVAL, "too many operands");
        return 0;
}

static int verb_run_with(Context *context, const Verb *verb, int argc, char **argv, Fault *fault) {
        static const Argument none[] = { {} };
        _cleanup_free_ void *options = calloc(1, MAX_OF(verb->options_size, (size_t) 1));
        if (!options)
                return -ENOMEM;
        const ArgumentSet sets[2] = {
                { verb->arguments ? verb->arguments : none, options },
                { common_arguments, context },
        };
        int operands, r;

        context->verb = verb->name;
        r = command_line_parse(sets, verb->leading, argc, argv, &operands, fault);
        if (r >= 0 && context->help)
                print_verb_help(verb);
        else if (r >= 0 && context->version)
                puts("crtctl " CRT_VERSION);
        else if (r >= 0) {
                r = check_operands(verb, (unsigned) (argc - operands), fault);
                if (r < 0)
                        explain_usage(fault, r, verb->name);
                context->client.namespace = context->namespace;
                context->client.ask_password = !context->no_ask_password;
                if (r >= 0)
                        r = verb->run(context, options, argv + operands, fault);
        } else
                explain_usage(fault, r, verb->name);
        command_line_done(&sets[0]);
        return r;
}

/* At argv[0] stands the first word of some verbs, and not one of their second ones behind it. */
static int explain_family(Context *context, int argc, char **argv, Fault *fault) {
        const ArgumentSet sets[2] = { { common_arguments, context }, {} };
        int operands;
        int r = command_line_parse(sets, true, argc, argv, &operands, fault);
        if (r < 0)
                return explain_usage(fault, r, argv[0]);
        if (operands < argc)
                return fault_set(fault, -EINVAL, "'%s %s' is no verb of crtctl; see 'crtctl %s --help'",
                                 argv[0], argv[operands], argv[0]);
        if (!context->help)
                return fault_set(fault, -EINVAL, "%s: what of it? See 'crtctl %s --help'", argv[0], argv[0]);
        (void) family_for_each(argv[0], print_verb_line);
        printf("\n'crtctl %s … --help' shows the options of one; see also crtctl(1).\n", argv[0]);
        return 0;
}

static int dispatch(Context *context, int argc, char **argv, int *ret_failure, Fault *fault) {
        const ArgumentSet sets[2] = { { common_arguments, context }, {} };
        int index, words = 1;

        int r = command_line_parse(sets, true, argc, argv, &index, fault);
        if (r < 0)
                return explain_usage(fault, r, "");
        if (context->version) {
                puts("crtctl " CRT_VERSION);
                return 0;
        }
        if (index >= argc) {
                if (!context->help)
                        return fault_set(fault, -EINVAL, "what is to be done? See 'crtctl --help'");
                print_help();
                return 0;
        }
        const Verb *verb = verb_find(argv + index, argc - index, &words);
        if (!verb && family_for_each(argv[index], NULL))
                return explain_family(context, argc - index, argv + index, fault);
        if (!verb)
                return fault_set(fault, -EINVAL, "'%s' is no verb of crtctl; see 'crtctl --help'",
                                 argv[index]);
        if (verb->failure)
                *ret_failure = verb->failure;
        /* The verb's last word stands where getopt expects the program. */
        return verb_run_with(context, verb, argc - index - words + 1, argv + index + words - 1, fault);
}

/* What is opened next must not take the place of a standard stream that is closed, and be handed over as
 * such. */
static int open_standard_descriptors(void) {
        for (int fd = 0; fd < 3; fd++)
                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
                        return -EBADF;
        return 0;
}

int main(int argc, char *argv[]) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        Context context = { .client = CLIENT_INIT };
        int failure = EXIT_FAILURE;

        if (open_standard_descriptors() < 0)
                return failure;
        (void) signal(SIGPIPE, SIG_IGN);
        int r = dispatch(&context, argc, argv, &failure, &fault);
        client_done(&context.client);
        if (r < 0)
                verb_complain(&fault, r);
        if (fflush(stdout) != 0 && r == 0)
                return failure;
        return r < 0 ? failure : r;
}
