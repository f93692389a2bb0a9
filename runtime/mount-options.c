/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mount-options.h"

#include <errno.h>
#include <stdio.h>
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

/* What the runtime does itself. */
static bool parse_verb(const char *word, MountOptions *options) {
        const struct {
                const char *word;
                bool *flag;
        } verbs[] = {
                { "bind", &options->bind },
                { "rbind", &options->recursive_bind },
                { "idmap", &options->idmap },
                { "ridmap", &options->recursive_idmap },
                { "tmpcopyup", &options->copy_up },
                { "remount", &options->remount },
                { "copy-symlink", &options->copy_link },
                { "src-nofollow", &options->source_nofollow },
                { "dest-nofollow", &options->destination_nofollow },
        };
        for (size_t i = 0; i < ELEMENTS_OF(verbs); i++)
                if (string_equal(word, verbs[i].word)) {
                        *verbs[i].flag = true;
                        return true;
                }
        const char *mappings = string_after(word, "idmap="), *deep = string_after(word, "ridmap=");
        if (!mappings && !deep)
                return false;
        *(deep ? &options->recursive_idmap : &options->idmap) = true;
        options->idmap_text = deep ? deep : mappings;
        return true;
}

static int parse_word(const char *word, size_t index, MountOptions *options, Fault *fault) {
        if (strv_contains(default_words, word) || parse_attribute(word, options) ||
            parse_propagation(word, options) || parse_verb(word, options))
                return 0;
        if (word[0] == '\0' || word[0] == '=')
                return fault_set(fault, -EBADMSG, "config.mounts[%zu].options: '%s' is not an option", index,
                                 word);
        options->data[options->data_count++] = word;
        return 0;
}

/* Options that do not go together, or not with this type. */
static int check(const char *type, size_t index, const MountOptions *options, Fault *fault) {
        if ((options->bind || options->remount) && options->data_count > 0)
                return fault_set(fault, -EBADMSG,
                                 "config.mounts[%zu].options: '%s' is not an option of a %s", index,
                                 options->data[0], options->remount ? "remount" : "bind mount");
        if (options->copy_up && (options->bind || !string_equal(type, "tmpfs")))
                return fault_set(fault, -EBADMSG,
                                 "config.mounts[%zu].options: 'tmpcopyup' goes with a tmpfs only", index);
        if ((options->idmap || options->recursive_idmap) && (!options->bind || options->remount))
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.mounts[%zu].options: 'idmap' goes with bind mounts only", index);
        return 0;
}

static int parse_mapping_list(const char *list, size_t length, RuntimeIdMapping **ret, size_t *ret_count) {
        char text[512];
        if (length == 0 || length >= sizeof(text))
                return -EINVAL;
        (void) snprintf(text, sizeof(text), "%.*s", (int) length, list);
        char *state = NULL;
        for (char *item = strtok_r(text, "#", &state); item; item = strtok_r(NULL, "#", &state)) {
                RuntimeIdMapping mapping;
                int end = 0;
                if (item[strspn(item, "0123456789-")] != '\0' ||
                    sscanf(item, "%u-%u-%u%n", &mapping.container_id, &mapping.host_id, &mapping.size,
                           &end) != 3 ||
                    item[end] != '\0' || mapping.size == 0)
                        return -EINVAL;
                RuntimeIdMapping *larger = realloc(*ret, (*ret_count + 1) * sizeof(mapping));
                if (!larger)
                        return -ENOMEM;
                *ret = larger;
                larger[(*ret_count)++] = mapping;
        }
        return 0;
}

int mount_options_parse_mappings(const char *text, RuntimeIdMappings *ret) {
        RuntimeIdMappings mappings = { 0 };
        int r = 0;
        while (*text && r >= 0) {
                size_t length = strcspn(text, ";");
                if (string_after(text, "uids="))
                        r = parse_mapping_list(text + 5, length - 5, &mappings.uids, &mappings.uid_count);
                else if (string_after(text, "gids="))
                        r = parse_mapping_list(text + 5, length - 5, &mappings.gids, &mappings.gid_count);
                else
                        r = -EINVAL;
                text += length + (text[length] == ';');
        }
        if (r >= 0 && (mappings.uid_count == 0 || mappings.gid_count == 0))
                r = -EINVAL;
        if (r < 0) {
                free(mappings.uids);
                free(mappings.gids);
                return r;
        }
        *ret = mappings;
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
        options.bind = options.bind || options.recursive_bind;
        if (r >= 0)
                r = check(type, index, &options, fault);
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
