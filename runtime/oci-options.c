/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-options.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/container.h"
#include "runtime/oci-option-table.h"

#define INTERVAL_MS 5000U

/* Which words are still to be read. */
typedef struct OciWords {
        char **next;
        OciCommand command; /* _OCI_COMMAND_INVALID: its name is still to come */
        size_t found;       /* in OciOptions.words */
} OciWords;

static int word_fault(const OciWords *words, Fault *fault, const char *word, const char *what) {
        const char *name = oci_command_to_string(words->command);
        return fault_set(fault, -EINVAL, "%s%s%s %s (see crt-oci %s%s--help)", name ? name : "",
                         name ? ": " : "", word, what, name ? name : "", name ? " " : "");
}

static int append(OciList *list, const char *item) {
        const char **items = realloc(list->items, (list->count + 2) * sizeof(char *));
        if (!items)
                return -ENOMEM;
        items[list->count++] = item;
        items[list->count] = NULL;
        list->items = items;
        return 0;
}

static int read_preserve_fds(OciOptions *options, const char *value, Fault *fault) {
        uint64_t count;
        if (string_to_uint64(value, CONTAINER_EXTRA_FDS_MAX, &count) < 0)
                return fault_set(fault, -EINVAL, "--preserve-fds: '%s' is not a number up to %i", value,
                                 CONTAINER_EXTRA_FDS_MAX);
        options->preserve_fds = (unsigned) count;
        return 0;
}

static int read_json(const char *option, const char *other, const char *value, bool *ret, Fault *fault) {
        *ret = string_equal(value, "json");
        return *ret || string_equal(value, other)
                       ? 0
                       : fault_set(fault, -EINVAL, "--%s: '%s' is not %s or json", option, value, other);
}

static int read_rootless(OciOptions *options, const char *value, Fault *fault) {
        static const char *const names[] = {
                [OCI_ROOTLESS_AUTO] = "auto",
                [OCI_ROOTLESS_TRUE] = "true",
                [OCI_ROOTLESS_FALSE] = "false",
        };
        int number = string_table_find(names, ELEMENTS_OF(names), value);
        if (number < 0)
                return fault_set(fault, -EINVAL, "--rootless: '%s' is not true, false or auto", value);
        options->rootless = (OciRootless) number;
        return 0;
}

/* "5s", as Go writes durations; a number alone is seconds. */
static int read_interval(OciOptions *options, const char *value, Fault *fault) {
        static const struct {
                const char *unit;
                uint64_t milliseconds;
        } units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 } };
        char digits[16];
        size_t length = strspn(value, "0123456789");
        uint64_t number = 0;
        if (length > 0 && length < sizeof(digits)) {
                memcpy(digits, value, length);
                digits[length] = '\0';
                if (string_to_uint64(digits, UINT32_MAX, &number) >= 0)
                        for (size_t i = 0; i < ELEMENTS_OF(units); i++)
                                if (string_equal(value + length, units[i].unit) && number > 0) {
                                        number *= units[i].milliseconds;
                                        options->interval_ms = (unsigned) MIN_OF(number, (uint64_t) INT_MAX);
                                        return 0;
                                }
        }
        return fault_set(fault, -EINVAL, "--interval: '%s' is not a time above 0, like 5s", value);
}

static int read_word(const OciOption *option, OciOptions *options, const char *value, Fault *fault) {
        if (string_equal(option->name, "preserve-fds"))
                return read_preserve_fds(options, value, fault);
        if (string_equal(option->name, "rootless"))
                return read_rootless(options, value, fault);
        if (string_equal(option->name, "interval"))
                return read_interval(options, value, fault);
        if (string_equal(option->name, "log-format"))
                return read_json(option->name, "text", value, &options->log_json, fault);
        return read_json(option->name, "table", value, &options->json, fault);
}

static int apply(const OciOption *option, OciOptions *options, const char *value, Fault *fault) {
        void *place = (char *) options + option->offset;
        switch (option->kind) {
        case OCI_OPTION_FLAG:
                *(bool *) place = !value || !string_equal(value, "false");
                return value && *(bool *) place && !string_equal(value, "true")
                               ? fault_set(fault, -EINVAL, "--%s: '%s' is not true or false", option->name,
                                           value)
                               : 0;
        case OCI_OPTION_TEXT:
                *(const char **) place = value;
                return 0;
        case OCI_OPTION_LIST:
                return append((OciList *) place, value);
        case OCI_OPTION_WORD:
                return read_word(option, options, value, fault);
        }
        return -EINVAL;
}

static bool is_help(OciWords *words, OciOptions *options, const char *word) {
        bool help = string_equal(word, "--help") || string_equal(word, "-h");
        bool version = words->command < 0 && (string_equal(word, "--version") || string_equal(word, "-v"));
        if (help) {
                options->topic = words->command;
                options->command = OCI_COMMAND_HELP;
        } else if (version) {
                options->command = OCI_COMMAND_VERSION;
        }
        return help || version;
}

/* "--name=value", "--name value" or "--flag". */
static int read_long(OciWords *words, OciOptions *options, const char *word, Fault *fault) {
        size_t length = strcspn(word + 2, "=");
        const char *value = word[2 + length] == '=' ? word + 3 + length : NULL;
        const OciOption *option = oci_option_find(words->command, word + 2, length);
        if (!option)
                return word_fault(words, fault, word, "is not known");
        if (!value && option->kind != OCI_OPTION_FLAG) {
                value = *words->next;
                if (!value)
                        return word_fault(words, fault, word, "needs a value");
                words->next++;
        }
        return apply(option, options, value, fault);
}

/* "-x value", "-xvalue", or flags after one another: "-dt". */
static int read_letters(OciWords *words, OciOptions *options, const char *word, Fault *fault) {
        for (const char *letter = word + 1; *letter; letter++) {
                const OciOption *option = oci_option_find_letter(words->command, *letter);
                if (!option)
                        return word_fault(words, fault, word, "is not known");
                const char *value = NULL;
                if (option->kind != OCI_OPTION_FLAG) {
                        value = letter[1] ? letter + 1 : *words->next;
                        if (!value)
                                return word_fault(words, fault, word, "needs a value");
                        if (!letter[1])
                                words->next++;
                }
                int r = apply(option, options, value, fault);
                if (r < 0 || value)
                        return r;
        }
        return 0;
}

/* True for commands whose words after the container's name are another program's. */
static bool passes_on(OciCommand command) {
        return command == OCI_COMMAND_EXEC || command == OCI_COMMAND_PS;
}

static int read_command(OciWords *words, OciOptions *options, const char *word, Fault *fault) {
        options->command = words->command = oci_command_from_string(word);
        if (words->command < 0)
                return fault_set(fault, -EINVAL, "the command '%s' is not known (see crt-oci --help)", word);
        return 0;
}

static int read_all(OciWords *words, OciOptions *options, Fault *fault) {
        bool only_words = false;
        while (*words->next) {
                const char *word = *words->next++;
                int r = 0;
                if (only_words || word[0] != '-' || word[1] == '\0') {
                        if (words->command < 0)
                                r = read_command(words, options, word, fault);
                        else
                                options->words[words->found++] = word;
                        only_words |= words->found > 0 && passes_on(words->command);
                } else if (string_equal(word, "--")) {
                        only_words = true;
                } else if (is_help(words, options, word)) {
                        return 1;
                } else if (word[1] == '-') {
                        r = read_long(words, options, word, fault);
                } else {
                        r = read_letters(words, options, word, fault);
                }
                if (r < 0)
                        return r;
        }
        return words->command < 0 ? fault_set(fault, -EINVAL, "a command is missing (see crt-oci --help)")
                                  : 0;
}

static bool names_container(OciCommand command) {
        return command != OCI_COMMAND_LIST && command != OCI_COMMAND_SPEC &&
               command != OCI_COMMAND_FEATURES && command != OCI_COMMAND_HELP &&
               command != OCI_COMMAND_VERSION;
}

static int read_arguments(OciOptions *options, size_t count, Fault *fault) {
        const char *command = oci_command_to_string(options->command);
        size_t next = 0;
        if (names_container(options->command)) {
                if (count == 0)
                        return fault_set(fault, -EINVAL, "%s: needs a container's name", command);
                options->id = options->words[next++];
        }
        options->arguments = options->words + next;
        options->argument_count = count - next;
        if (passes_on(options->command))
                return 0;
        if (options->command == OCI_COMMAND_HELP && next < count) {
                options->topic = oci_command_from_string(options->words[next++]);
                if (options->topic < 0)
                        return fault_set(fault, -EINVAL, "help: '%s' is not a command",
                                         options->arguments[0]);
        }
        if (options->command == OCI_COMMAND_KILL && next < count) {
                options->signal = signal_from_string(options->words[next]);
                if (options->signal < 0)
                        return fault_set(fault, -EINVAL, "kill: '%s' is not a signal", options->words[next]);
                next++;
        }
        if (next < count)
                return fault_set(fault, -EINVAL, "%s: '%s' is one argument too many", command,
                                 options->words[next]);
        return 0;
}

/* Those that contradict one another, or are of no use. */
static int check(OciOptions *options, Fault *fault) {
        if (string_is_empty(options->log))
                options->log = NULL;
        static const char *const levels[] = { "error", "warning", "info", "debug" };
        if (options->log_level && string_table_find(levels, ELEMENTS_OF(levels), options->log_level) < 0)
                return fault_set(fault, -EINVAL, "--log-level: '%s' is not error, warning, info or debug",
                                 options->log_level);
        options->debug |= string_equal(options->log_level, "debug");
        if (string_equal(options->cgroup_manager, "systemd"))
                options->systemd_cgroup = true;
        else if (options->cgroup_manager && !string_equal(options->cgroup_manager, "cgroupfs"))
                return fault_set(fault, -EINVAL, "--cgroup-manager: '%s' is not cgroupfs or systemd",
                                 options->cgroup_manager);
        if (options->command == OCI_COMMAND_EXEC && !options->exec.process && options->argument_count == 0)
                return fault_set(fault, -EINVAL, "exec: needs a program, or --process");
        if (options->command == OCI_COMMAND_EXEC && options->exec.process && options->argument_count > 0)
                return fault_set(fault, -EINVAL, "exec: '%s' and --process exclude one another",
                                 options->arguments[0]);
        return 0;
}

int oci_options_parse(int argc, char *argv[], OciOptions *ret, Fault *fault) {
        OciWords words = { .next = argv + MIN_OF(argc, 1), .command = _OCI_COMMAND_INVALID };
        *ret = (OciOptions){
                .command = _OCI_COMMAND_INVALID,
                .topic = _OCI_COMMAND_INVALID,
                .signal = SIGTERM,
                .interval_ms = INTERVAL_MS,
        };
        ret->words = new0(const char *, (size_t) argc + 1);
        if (!ret->words)
                return -ENOMEM;
        int r = read_all(&words, ret, fault);
        if (r == 0)
                r = read_arguments(ret, words.found, fault);
        if (r == 0)
                r = check(ret, fault);
        return r < 0 ? r : 0;
}

void oci_options_done(OciOptions *options) {
        free(options->words);
        free(options->exec.env.items);
        free(options->exec.capabilities.items);
        free(options->exec.additional_gids.items);
        free(options->checkpoint.empty_ns.items);
}
