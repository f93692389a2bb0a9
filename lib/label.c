/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/label.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "lib/digest.h"
#include "lib/identifier.h"
#include "lib/limits.h"
#include "lib/strv.h"

#define RESERVED_PREFIX "org.crt."
#define GC_PREFIX RESERVED_PREFIX "gc."
/* As containerd has them: lives as long as another one does, or by when it was used. */
#define LABEL_GC_BACK GC_PREFIX "bref."
#define LABEL_GC_CONDITION GC_PREFIX "cond."
#define USEC_PER_SEC UINT64_C(1000000)

bool label_key_is(const char *key, const char *name) {
        const char *rest = string_after(key, name);
        return rest && (!rest[0] || (rest[0] == '.' && rest[1]));
}

const char *label_collected_key(const char *key) {
        static const char *const plain[] = { LABEL_GC_ROOT, LABEL_GC_EXPIRE };
        static const char *const dotted[] = { LABEL_GC_REF_CONTENT, LABEL_GC_REF_SNAPSHOT,
                                              LABEL_GC_REF_IMAGE };
        for (size_t i = 0; i < ELEMENTS_OF(plain); i++)
                if (string_equal(key, plain[i]))
                        return plain[i];
        for (size_t i = 0; i < ELEMENTS_OF(dotted); i++)
                if (label_key_is(key, dotted[i]))
                        return dotted[i];
        return NULL;
}

bool label_refers(const char *label) {
        return string_after(label, LABEL_GC_REF_CONTENT) || string_after(label, LABEL_GC_REF_SNAPSHOT) ||
               string_after(label, LABEL_GC_REF_IMAGE);
}

static bool has_all(char *const *labels, const char *prefix, char *const *others) {
        for (; labels && *labels; labels++)
                if (string_after(*labels, prefix) && !strv_contains((const char *const *) others, *labels))
                        return false;
        return true;
}

/* One that expired counts again when the time is taken away. */
bool label_keeps_more(char *const *before, char *const *after) {
        return !has_all(after, GC_PREFIX, before) || !has_all(before, LABEL_GC_EXPIRE, after);
}

/* The digits at *text, which goes on behind them; -1 if they are not that many. */
static int read_digits(const char **text, unsigned count) {
        int value = 0;
        for (unsigned i = 0; i < count; i++, (*text)++) {
                if (**text < '0' || **text > '9')
                        return -1;
                value = value * 10 + (**text - '0');
        }
        return value;
}

static bool read_character(const char **text, const char *allowed) {
        if (!**text || !strchr(allowed, **text))
                return false;
        (*text)++;
        return true;
}

static bool read_fraction(const char **text, uint64_t *ret_usec) {
        uint64_t unit = USEC_PER_SEC;
        *ret_usec = 0;
        if (!read_character(text, "."))
                return true;
        const char *begin = *text;
        for (; **text >= '0' && **text <= '9'; (*text)++) {
                unit /= 10;
                *ret_usec += unit * (uint64_t) (**text - '0');
        }
        return *text > begin;
}

/* "Z" or "+01:00", to the end of the text: seconds ahead of UTC. */
static bool read_offset(const char **text, int *ret_seconds) {
        *ret_seconds = 0;
        if (read_character(text, "Zz"))
                return !**text;
        int sign = **text == '-' ? -1 : 1;
        if (!read_character(text, "+-"))
                return false;
        int hours = read_digits(text, 2);
        bool colon = read_character(text, ":");
        int minutes = read_digits(text, 2);
        *ret_seconds = sign * (hours * 3600 + minutes * 60);
        return colon && hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60 && !**text;
}

int label_parse_time(const char *text, uint64_t *ret) {
        struct tm tm = { 0 };
        uint64_t fraction;
        int offset;

        tm.tm_year = read_digits(&text, 4) - 1900;
        bool right = read_character(&text, "-");
        tm.tm_mon = right ? read_digits(&text, 2) - 1 : -1;
        right = right && read_character(&text, "-");
        tm.tm_mday = right ? read_digits(&text, 2) : -1;
        right = right && read_character(&text, "Tt ");
        tm.tm_hour = right ? read_digits(&text, 2) : -1;
        right = right && read_character(&text, ":");
        tm.tm_min = right ? read_digits(&text, 2) : -1;
        right = right && read_character(&text, ":");
        tm.tm_sec = right ? read_digits(&text, 2) : -1;
        if (!right || tm.tm_year < 70 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
            tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60 || !read_fraction(&text, &fraction) ||
            !read_offset(&text, &offset))
                return -EINVAL;
        struct tm normal = tm;
        time_t seconds = timegm(&normal);
        /* The 30th of February comes back as a day of March. */
        if (normal.tm_mday != tm.tm_mday && tm.tm_sec < 60)
                return -EINVAL;
        if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 || seconds < offset)
                return -EINVAL;
        *ret = (uint64_t) (seconds - offset) * USEC_PER_SEC + fraction;
        return 0;
}

static int check_reserved(const char *key, const char *value, const char *const *own, Fault *fault) {
        uint64_t time;
        Digest digest;

        /* They travel between the services in lines (lib/record-file.h). */
        if (!string_is_printable(key) || !string_is_printable(value))
                return fault_set(fault, -EINVAL, "label '%.64s': has characters that can't be printed", key);
        if ((own && strv_contains(own, key)) || string_equal(key, LABEL_GC_ROOT))
                return 0;
        if (label_key_is(key, LABEL_GC_REF_CONTENT))
                return digest_parse(value, &digest) >= 0
                               ? 0
                               : fault_set(fault, -EINVAL, "label '%s': '%.64s' is not a digest", key,
                                           value);
        if (label_key_is(key, LABEL_GC_REF_SNAPSHOT))
                return snapshot_key_is_valid(value)
                               ? 0
                               : fault_set(fault, -EINVAL,
                                           "label '%s': '%.64s' is not the key of a snapshot", key, value);
        if (label_key_is(key, LABEL_GC_REF_IMAGE))
                return strlen(value) <= LIMIT_REFERENCE_LENGTH
                               ? 0
                               : fault_set(fault, -EINVAL, "label '%s': '%.64s' is not the name of an image",
                                           key, value);
        if (string_after(key, LABEL_GC_BACK) || string_after(key, LABEL_GC_CONDITION))
                return fault_set(fault, -EINVAL,
                                 "label '%.64s': what keeps a thing says so, by '" GC_PREFIX
                                 "ref.', and never the thing itself",
                                 key);
        if (string_equal(key, LABEL_GC_EXPIRE))
                return label_parse_time(value, &time) >= 0
                               ? 0
                               : fault_set(fault, -EINVAL, "label '%s': '%.64s' is not a time (RFC 3339)",
                                           key, value);
        return fault_set(fault, -EINVAL,
                         "label '%s': keys that begin with '" RESERVED_PREFIX "' are reserved", key);
}

int label_check(char *const *labels, const char *const *own, Fault *fault) {
        for (size_t i = 0; labels && labels[i]; i++) {
                const char *label = labels[i];
                const char *equals = strchr(label, '=');
                if (!equals || equals == label)
                        return fault_set(fault, -EINVAL, "label '%.64s' has no key", label);
                _cleanup_free_ char *key = strndup(label, (size_t) (equals - label));
                if (!key)
                        return -ENOMEM;
                if (strlen(label) - 1 > LIMIT_LABEL_LENGTH)
                        return fault_set(fault, -EDQUOT, "label '%.64s': key and value may have %i bytes",
                                         key, LIMIT_LABEL_LENGTH);
                int r = equals[1] && string_after(key, RESERVED_PREFIX)
                                ? check_reserved(key, equals + 1, own, fault)
                                : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static size_t key_length(const char *label) {
        return strcspn(label, "=");
}

static bool takes(const char *change) {
        size_t length = key_length(change);
        return !change[length] || !change[length + 1];
}

bool label_is_collected(const char *label) {
        char key[LIMIT_LABEL_LENGTH + 1];
        size_t length = key_length(label);
        if (length >= sizeof(key))
                return false;
        memcpy(key, label, length);
        key[length] = '\0';
        return label_collected_key(key) != NULL;
}

bool label_change_only_takes(char *const *changes) {
        for (; changes && *changes; changes++)
                if (!takes(*changes))
                        return false;
        return true;
}

/* By the bytes of the keys. */
static int compare_labels(const void *left, const void *right) {
        const char *a = *(char *const *) left, *b = *(char *const *) right;
        size_t length_a = key_length(a), length_b = key_length(b);
        int order = memcmp(a, b, MIN_OF(length_a, length_b));
        return order ? order : (length_a > length_b) - (length_a < length_b);
}

static bool label_is_among(const char *label, char *const *labels) {
        for (size_t i = 0; labels && labels[i]; i++)
                if (compare_labels(&label, &labels[i]) == 0)
                        return true;
        return false;
}

static int take_labels(char ***into, char *const *from, char *const *but) {
        for (size_t i = 0; from && from[i]; i++) {
                const char *label = from[i];
                int r = label_is_among(label, but) || takes(label) ? 0 : strv_append(into, label);
                if (r < 0)
                        return r;
        }
        return 0;
}

int label_change(char ***labels, char *const *changes, bool replace, Fault *fault) {
        _cleanup_strv_ char **changed = NULL;

        int r = replace ? 0 : take_labels(&changed, *labels, changes);
        if (r >= 0)
                r = take_labels(&changed, changes, NULL);
        if (r < 0)
                return r;
        size_t count = strv_length(changed);
        if (count > LIMIT_LABELS_PER_OBJECT)
                return fault_set(fault, -EDQUOT, "one thing may have %i labels", LIMIT_LABELS_PER_OBJECT);
        if (count > 0)
                qsort(changed, count, sizeof(char *), compare_labels);
        strv_free(*labels);
        *labels = TAKE_PTR(changed);
        return 0;
}
