/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/command-line.h"
#include "ctl/raw-terminal.h"
#include "lib/strv.h"
#include "tests/unit/check.h"

typedef struct Options {
        bool flag, other;
        const char *text;
        char **list;
        uint64_t size;
} Options;

typedef struct Common {
        const char *namespace;
        bool help;
} Common;

static const Argument own[] = {
        { "flag", 'f', NULL, "A flag", offsetof(Options, flag) },
        { "other", 'o', NULL, "Another", offsetof(Options, other) },
        { "text", 't', "TEXT", "A text", offsetof(Options, text) },
        { "list", 'l', "ITEM", "An item", offsetof(Options, list), argument_list },
        { "size", 0, "SIZE", "A size", offsetof(Options, size), argument_size },
        { "number", 'n', "N", "Takes the letter of a common one", offsetof(Options, size), argument_number },
        {},
};

static const Argument common[] = {
        { "namespace", 'n', "NAME", "A namespace", offsetof(Common, namespace) },
        { "help", 'h', NULL, "Help", offsetof(Common, help) },
        {},
};

#define WORDS_MAX 16

/* Splits a line at its blanks and parses it as arguments of "verb". */
static int parse(const char *line, bool leading, Options *options, Common *shared, char **operands,
                 Fault *fault) {
        static char copy[256];
        static char *argv[WORDS_MAX];
        const ArgumentSet sets[2] = { { own, options }, { common, shared } };
        int argc = 0, first;

        snprintf(copy, sizeof(copy), "verb %s", line);
        for (char *rest = copy, *word; (word = strsep(&rest, " "));)
                if (*word)
                        argv[argc++] = word;
        argv[argc] = NULL;
        int r = command_line_parse(sets, leading, argc, argv, &first, fault);
        for (int i = 0; r >= 0 && first + i <= argc; i++)
                operands[i] = argv[first + i];
        return r;
}

static void fields_are_set(void) {
        Options options = { 0 };
        Common shared = { 0 };
        char *operands[WORDS_MAX];
        CHECK_OK(parse("-fo -t x --list a image -l b --size=2K --namespace n --help", false, &options,
                       &shared, operands, NULL));
        CHECK(options.flag && options.other && shared.help);
        CHECK_STRING(options.text, "x");
        CHECK_STRING(options.list[0], "a");
        CHECK_STRING(options.list[1], "b");
        CHECK(!options.list[2]);
        CHECK_INT(options.size, 2048);
        CHECK_STRING(shared.namespace, "n");
        CHECK_STRING(operands[0], "image");
        CHECK(!operands[1]);
        command_line_done(&(ArgumentSet){ own, &options });
        CHECK(!options.list);
}

static void letters_of_the_verb_come_first(void) {
        Options options = { 0 };
        Common shared = { 0 };
        char *operands[WORDS_MAX];
        CHECK_OK(parse("-n 5", false, &options, &shared, operands, NULL));
        CHECK_INT(options.size, 5);
        CHECK(!shared.namespace);
}

static void options_of_the_command_are_its_own(void) {
        Options options = { 0 };
        Common shared = { 0 };
        char *operands[WORDS_MAX];
        CHECK_OK(parse("-f image ls -o --bogus", true, &options, &shared, operands, NULL));
        CHECK(options.flag && !options.other);
        CHECK_STRING(operands[0], "image");
        CHECK_STRING(operands[2], "-o");
        CHECK_STRING(operands[3], "--bogus");
        CHECK_OK(parse("-- -f", true, &options, &shared, operands, NULL));
        CHECK_STRING(operands[0], "-f");
}

static void mistakes_are_named(void) {
        static const struct {
                const char *line, *sentence;
        } mistakes[] = {
                { "--bogus", "option '--bogus' is not known" },
                { "-x", "option '-x' is not known" },
                { "-fx", "option '-x' is not known" },
                { "-t", "option '-t' needs a value" },
                { "--text", "option '--text' needs a value" },
                { "--flag=1", "option '--flag' takes no value" },
                { "--size=big", "--size=big: not a size" },
                { "-n -1", "--number=-1: not a number" },
                { "--n=1", "option '--n=1' is not known or ambiguous" },
        };
        for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                Options options = { 0 };
                Common shared = { 0 };
                char *operands[WORDS_MAX];
                CHECK_ERROR(parse(mistakes[i].line, false, &options, &shared, operands, &fault), -EINVAL);
                CHECK_CONTAINS(fault.text, mistakes[i].sentence);
        }
}

static void help_has_every_option(void) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        command_line_print_help(file, own);
        fclose(file);
        CHECK_CONTAINS(text, "  -t --text=TEXT  A text\n");
        CHECK_CONTAINS(text, "     --size=SIZE  A size\n");
        free(text);
}

/* ---- the keys that detach ---- */

static size_t type(DetachKeys *keys, const char *typed, char *out) {
        return detach_keys_filter(keys, typed, strlen(typed), out);
}

static void keys_pass(void) {
        DetachKeys keys = { 0 };
        char out[16];
        CHECK_INT(type(&keys, "ab\x11z", out), 4);
        CHECK(memcmp(out, "ab\x11z", 4) == 0 && !keys.detached);
}

static void ctrl_p_waits_for_the_next_key(void) {
        DetachKeys keys = { 0 };
        char out[16];
        CHECK_INT(type(&keys, "\x10", out), 0);
        CHECK_INT(type(&keys, "x", out), 2);
        CHECK(memcmp(out, "\x10x", 2) == 0);
        CHECK_INT(type(&keys, "\x10\x10", out), 1);
        CHECK_INT(type(&keys, "\x11", out), 0);
        CHECK(keys.detached);
}

static void both_keys_detach(void) {
        DetachKeys keys = { 0 };
        char out[16];
        CHECK_INT(type(&keys, "ab\x10\x11lost", out), 2);
        CHECK(keys.detached);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(fields_are_set),
                CHECK_CASE(letters_of_the_verb_come_first),
                CHECK_CASE(options_of_the_command_are_its_own),
                CHECK_CASE(mistakes_are_named),
                CHECK_CASE(help_has_every_option),
                CHECK_CASE(keys_pass),
                CHECK_CASE(ctrl_p_waits_for_the_next_key),
                CHECK_CASE(both_keys_detach),
                {},
        });
}
