/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/filter.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lib/limits.h"
#include "lib/strv.h"

typedef enum FilterOperation {
        FILTER_PRESENT,
        FILTER_EQUAL,
        FILTER_NOT_EQUAL,
        FILTER_MATCHES,
} FilterOperation;

typedef struct Selector {
        char *field;
        char *key; /* NULL: none */
        FilterOperation operation;
        char *value; /* NULL for FILTER_PRESENT */
        pcre2_code *expression;
        bool last; /* of the ones that must hold together */
} Selector;

struct Filter {
        Selector *selectors;
        size_t count;
        unsigned steps; /* that regular expressions have taken on the thing at hand */
        pcre2_match_context *context;
        pcre2_match_data *match;
};

/* How much all regular expressions together may try on one thing: what takes more is not meant well. PCRE2's
 * own limit counts anew for each place in the value where a match could begin. */
#define MATCH_STEPS 20000
#define MATCH_DEPTH 500
#define MATCH_HEAP_KIB 64

Filter *filter_free(Filter *filter) {
        if (!filter)
                return NULL;
        for (size_t i = 0; i < filter->count; i++) {
                free(filter->selectors[i].field);
                free(filter->selectors[i].key);
                free(filter->selectors[i].value);
                pcre2_code_free(filter->selectors[i].expression);
        }
        free(filter->selectors);
        pcre2_match_data_free(filter->match);
        pcre2_match_context_free(filter->context);
        return mfree(filter);
}

/* ---- parsing ---- */

typedef struct Parser {
        const char *text;     /* the whole filter, for sentences */
        const char *position; /* what comes next */
        Fault *fault;
} Parser;

static int complain(const Parser *parser, const char *what) {
        return fault_set(parser->fault, -EINVAL, "filter '%s', character %zu: %s", parser->text,
                         (size_t) (parser->position - parser->text) + 1, what);
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char) tolower((unsigned char) c);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character that a backslash in "…" stands for; the position is at what follows it. */
static int read_escape(Parser *parser, char *ret) {
        static const char names[] = "\"\\nrt", meanings[] = "\"\\\n\r\t";
        const char *found = *parser->position ? strchr(names, *parser->position) : NULL;
        if (found) {
                parser->position++;
                *ret = meanings[found - names];
                return 0;
        }
        if (parser->position[0] != 'x')
                return complain(parser, "unknown escape");
        int high = hex_digit(parser->position[1]);
        int low = high < 0 ? -1 : hex_digit(parser->position[2]);
        if (low < 0 || (high == 0 && low == 0))
                return complain(parser, "\\x needs two hexadecimal digits, not 00");
        parser->position += 3;
        *ret = (char) (high * 16 + low);
        return 0;
}

/* At an opening quote. Only "…" knows escapes; in a regular expression a backslash matters to that, except
 * before the delimiter. */
static int read_quoted(Parser *parser, char **ret) {
        char delimiter = *parser->position++;
        _cleanup_free_ char *result = malloc(strlen(parser->position) + 1);
        size_t length = 0;
        if (!result)
                return -ENOMEM;

        for (;;) {
                char c = *parser->position;
                if (c == '\0')
                        return complain(parser, "the quote has no end");
                parser->position++;
                if (c == delimiter)
                        break;
                if (c == '\\' && delimiter == '"') {
                        int r = read_escape(parser, &c);
                        if (r < 0)
                                return r;
                } else if (c == '\\' && *parser->position == delimiter)
                        c = *parser->position++;
                else if (c == '\\' && *parser->position) {
                        result[length++] = c;
                        c = *parser->position++;
                }
                result[length++] = c;
        }
        result[length] = '\0';
        *ret = TAKE_PTR(result);
        return 0;
}

static bool is_name_character(char c) {
        return isalnum((unsigned char) c) || c == '_' || c == '-' || c == '/';
}

/* One part of a field's path. */
static int read_part(Parser *parser, char **ret) {
        if (*parser->position == '"')
                return read_quoted(parser, ret);
        const char *start = parser->position;
        while (is_name_character(*parser->position))
                parser->position++;
        if (parser->position == start)
                return complain(parser, "a field's name is expected");
        *ret = strndup(start, (size_t) (parser->position - start));
        return *ret ? 0 : -ENOMEM;
}

static int read_value(Parser *parser, bool is_expression, char **ret) {
        char c = *parser->position;
        if (c == '"' || (is_expression && (c == '/' || c == '|')))
                return read_quoted(parser, ret);
        size_t length = strcspn(parser->position, ", \t\n\"");
        if (length == 0 && !is_expression && (c == ',' || c == '\0')) {
                *ret = strdup(""); /* labels.x== asks for an empty value */
                return *ret ? 0 : -ENOMEM;
        }
        if (length == 0)
                return complain(parser, "a value is expected");
        *ret = strndup(parser->position, length);
        parser->position += length;
        return *ret ? 0 : -ENOMEM;
}

static int check_field(const Parser *parser, const FilterField *fields, const Selector *selector) {
        char known[256] = "";
        for (const FilterField *field = fields; field->name; field++) {
                if (!string_equal(field->name, selector->field)) {
                        if (strlen(known) + strlen(field->name) + 3 < sizeof(known)) {
                                strcat(known, *known ? ", " : "");
                                strcat(known, field->name);
                        }
                        continue;
                }
                if (field->has_key && !selector->key)
                        return fault_set(parser->fault, -EINVAL, "filter '%s': '%s' needs a key: %s.\"KEY\"",
                                         parser->text, field->name, field->name);
                if (!field->has_key && selector->key)
                        return fault_set(parser->fault, -EINVAL, "filter '%s': '%s' has no '%s'",
                                         parser->text, field->name, selector->key);
                return 0;
        }
        return fault_set(parser->fault, -EINVAL, "filter '%s': there is no field '%s' here, only %s",
                         parser->text, selector->field, known);
}

/* labels.a.b is the key "a.b". */
static int read_path(Parser *parser, Selector *selector) {
        int r = read_part(parser, &selector->field);
        while (r >= 0 && *parser->position == '.') {
                _cleanup_free_ char *part = NULL;
                parser->position++;
                r = read_part(parser, &part);
                if (r < 0)
                        return r;
                if (!selector->key) {
                        selector->key = TAKE_PTR(part);
                        continue;
                }
                size_t size = strlen(selector->key) + strlen(part) + 2;
                char *longer = realloc(selector->key, size);
                if (!longer)
                        return -ENOMEM;
                selector->key = longer;
                strcat(longer, ".");
                strcat(longer, part);
        }
        return r;
}

static FilterOperation read_operation(Parser *parser) {
        static const struct {
                const char *text;
                FilterOperation operation;
        } operators[] = {
                { "==", FILTER_EQUAL },
                { "!=", FILTER_NOT_EQUAL },
                { "~=", FILTER_MATCHES },
        };
        for (size_t i = 0; i < ELEMENTS_OF(operators); i++)
                if (string_after(parser->position, operators[i].text)) {
                        parser->position += 2;
                        return operators[i].operation;
                }
        return FILTER_PRESENT;
}

static int compile_expression(const Parser *parser, Selector *selector) {
        int code;
        size_t offset;
        PCRE2_UCHAR message[128];

        if (strlen(selector->value) > LIMIT_FILTER_EXPRESSION)
                return fault_set(parser->fault, -EDQUOT,
                                 "filter '%s': a regular expression has at most %i characters", parser->text,
                                 LIMIT_FILTER_EXPRESSION);
        selector->expression =
                pcre2_compile((PCRE2_SPTR) selector->value, PCRE2_ZERO_TERMINATED,
                              PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT, &code, &offset, NULL);
        if (selector->expression)
                return 0;
        pcre2_get_error_message(code, message, sizeof(message));
        return fault_set(parser->fault, -EINVAL, "filter '%s': regular expression, character %zu: %s",
                         parser->text, offset + 1, (const char *) message);
}

static int read_selector(Parser *parser, const FilterField *fields, Selector *selector) {
        int r = read_path(parser, selector);
        if (r >= 0)
                r = check_field(parser, fields, selector);
        if (r < 0)
                return r;
        selector->operation = read_operation(parser);
        if (selector->operation != FILTER_PRESENT)
                r = read_value(parser, selector->operation == FILTER_MATCHES, &selector->value);
        if (r >= 0 && selector->operation == FILTER_MATCHES)
                r = compile_expression(parser, selector);
        if (r < 0)
                return r;
        if (*parser->position != '\0' && *parser->position != ',')
                return complain(parser, "==, !=, ~=, ',' or the end is expected");
        return 0;
}

static int read_filter(Filter *filter, const char *text, const FilterField *fields, Fault *fault) {
        Parser parser = { .text = text, .position = text, .fault = fault };
        for (;;) {
                if (filter->count == LIMIT_FILTER_SELECTORS)
                        return fault_set(fault, -EDQUOT, "filters: at most %i conditions in all",
                                         LIMIT_FILTER_SELECTORS);
                Selector *longer =
                        realloc(filter->selectors, (filter->count + 1) * sizeof(*filter->selectors));
                if (!longer)
                        return -ENOMEM;
                filter->selectors = longer;
                Selector *selector = &filter->selectors[filter->count++];
                *selector = (Selector){ 0 };
                int r = read_selector(&parser, fields, selector);
                if (r < 0)
                        return r;
                selector->last = *parser.position == '\0';
                if (selector->last)
                        return 0;
                parser.position++;
        }
}

static int count_step(pcre2_callout_block *block, void *userdata) {
        Filter *filter = userdata;
        (void) block;
        return ++filter->steps > MATCH_STEPS ? PCRE2_ERROR_CALLOUT : 0;
}

static int make_matcher(Filter *filter) {
        filter->context = pcre2_match_context_create(NULL);
        filter->match = pcre2_match_data_create(1, NULL);
        if (!filter->context || !filter->match)
                return -ENOMEM;
        (void) pcre2_set_callout(filter->context, count_step, filter);
        pcre2_set_match_limit(filter->context, MATCH_STEPS);
        pcre2_set_depth_limit(filter->context, MATCH_DEPTH);
        pcre2_set_heap_limit(filter->context, MATCH_HEAP_KIB);
        return 0;
}

int filter_parse(char *const *texts, const FilterField *fields, Filter **ret, Fault *fault) {
        if (strv_length(texts) == 0) {
                *ret = NULL;
                return 0;
        }
        _cleanup_(filter_freep) Filter *filter = new0(Filter, 1);
        if (!filter)
                return -ENOMEM;
        int r = make_matcher(filter);
        if (r < 0)
                return r;
        for (; *texts; texts++) {
                if (strlen(*texts) > LIMIT_FILTER_LENGTH)
                        return fault_set(fault, -EDQUOT, "filters: one has at most %i characters",
                                         LIMIT_FILTER_LENGTH);
                r = read_filter(filter, *texts, fields, fault);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(filter);
        return 0;
}

/* ---- matching ---- */

static int match_expression(const Filter *filter, const Selector *selector, const char *value) {
        int r = pcre2_match(selector->expression, (PCRE2_SPTR) (value ?: ""), PCRE2_ZERO_TERMINATED, 0, 0,
                            filter->match, filter->context);
        if (r >= 0)
                return 1;
        return r == PCRE2_ERROR_NOMATCH ? 0 : -EDQUOT;
}

static int match_selector(const Filter *filter, const Selector *selector, const char *value) {
        switch (selector->operation) {
        case FILTER_PRESENT:
                return value != NULL;
        case FILTER_EQUAL:
                return string_equal(value, selector->value);
        case FILTER_NOT_EQUAL:
                return !string_equal(value, selector->value);
        case FILTER_MATCHES:
                return match_expression(filter, selector, value);
        }
        assert(false);
        return 0;
}

int filter_match(Filter *filter, FilterLookup lookup, void *userdata) {
        if (!filter)
                return 1;
        filter->steps = 0;
        int all = 1; /* so far, of the conditions that must hold together */
        for (size_t i = 0; i < filter->count; i++) {
                const Selector *selector = &filter->selectors[i];
                if (all > 0)
                        all = match_selector(filter, selector,
                                             lookup(selector->field, selector->key, userdata));
                if (all < 0)
                        return all;
                if (selector->last && all)
                        return 1;
                if (selector->last)
                        all = 1;
        }
        return 0;
}
