/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mount-options.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/strv.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

typedef struct AttributeWord {
        const char *word;
        uint64_t set, clear;
} AttributeWord;

/* mount_setattr(2): an access time mode is set by clearing the whole field. Each word with an "r" before it
 * is the recursive one. */
static const AttributeWord attribute_words[] = {
        { "ro", MOUNT_ATTR_RDONLY, 0 },
        { "rw", 0, MOUNT_ATTR_RDONLY },
        { "nosuid", MOUNT_ATTR_NOSUID, 0 },
        { "suid", 0, MOUNT_ATTR_NOSUID },
        { "nodev", MOUNT_ATTR_NODEV, 0 },
        { "dev", 0, MOUNT_ATTR_NODEV },
        { "noexec", MOUNT_ATTR_NOEXEC, 0 },
        { "exec", 0, MOUNT_ATTR_NOEXEC },
        { "nodiratime", MOUNT_ATTR_NODIRATIME, 0 },
        { "diratime", 0, MOUNT_ATTR_NODIRATIME },
        { "relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
        { "norelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
        { "noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
        { "atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
        { "strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
        { "nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
        { "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0 },
        { "symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW },
};

static const struct {
        const char *word;
        uint64_t propagation;
        bool recursive;
} propagation_words[] = {
        { "private", MS_PRIVATE, false },       { "rprivate", MS_PRIVATE, true },
        { "shared", MS_SHARED, false },         { "rshared", MS_SHARED, true },
        { "slave", MS_SLAVE, false },           { "rslave", MS_SLAVE, true },
        { "unbindable", MS_UNBINDABLE, false }, { "runbindable", MS_UNBINDABLE, true },
};

/* Words that say what is the case anyway. */
static const char *const default_words[] = {
        "defaults", "async", "nomand", "noiversion", "nolazytime", "loud", "silent", "nosync", NULL,
};

/* Extensions of other runtimes, and what would change a mount that is there already. */
static const char *const refused_words[] = {
        "remount", "idmap", "ridmap", "tmpcopyup", "copy-symlink", "src-nofollow", "dest-nofollow", NULL,
};

static bool parse_attribute(const char *word, MountOptions *options) {
        for (size_t i = 0; i < ELEMENTS_OF(attribute_words); i++) {
                const AttributeWord *a = &attribute_words[i];
                if (string_equal(word, a->word)) {
                        options->set = (options->set & ~a->clear) | a->set;
                        options->clear = (options->clear & ~a->set) | a->clear;
                        return true;
                }
                if (word[0] == 'r' && string_equal(word + 1, a->word)) {
                        options->recursive_set = (options->recursive_set & ~a->clear) | a->set;
                        options->recursive_clear = (options->recursive_clear & ~a->set) | a->clear;
                        return true;
                }
        }
        return false;
}

static bool parse_propagation(const char *word, MountOptions *options) {
        for (size_t i = 0; i < ELEMENTS_OF(propagation_words); i++)
                if (string_equal(word, propagation_words[i].word)) {
                        options->propagation = propagation_words[i].propagation;
                        options->propagation_recursive = propagation_words[i].recursive;
                        return true;
                }
        return false;
}

static int parse_word(const char *word, size_t index, MountOptions *options, Fault *fault) {
        if (string_equal(word, "bind")) {
                options->bind = true;
                return 0;
        }
        if (string_equal(word, "rbind")) {
                options->bind = options->recursive_bind = true;
                return 0;
        }
        if (strv_contains(default_words, word) || parse_attribute(word, options) ||
            parse_propagation(word, options))
                return 0;
        size_t length = strcspn(word, "=");
        for (size_t i = 0; refused_words[i]; i++)
                if (strlen(refused_words[i]) == length && strncmp(refused_words[i], word, length) == 0)
                        return fault_set(fault, -EOPNOTSUPP,
                                         "config.mounts[%zu].options: '%s' is not supported yet", index,
                                         word);
        if (word[0] == '\0' || word[0] == '=')
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].options: '%s' is not an option", index,
                                 word);
        options->data[options->data_count++] = word;
        return 0;
}

int mount_options_parse(const char *type, const char *const *words, size_t index, MountOptions *ret,
                        Fault *fault) {
        size_t count = 0;
        while (words && words[count])
                count++;

        MountOptions options = { .data = new0(const char *, count + 1) };
        if (!options.data)
                return -ENOMEM;
        int r = 0;
        for (size_t i = 0; i < count && r >= 0; i++)
                r = parse_word(words[i], index, &options, fault);
        if (r >= 0 && string_equal(type, "bind"))
                options.bind = true;
        if (r >= 0 && options.bind && options.data_count > 0)
                r = fault_set(fault, -EBADMSG,
                              "config.mounts[%zu].options: '%s' is not an option of a bind mount", index,
                              options.data[0]);
        if (r < 0) {
                mount_options_done(&options);
                return r;
        }
        *ret = options;
        return 0;
}

void mount_options_done(MountOptions *options) {
        options->data = mfree(options->data);
        options->data_count = 0;
}
