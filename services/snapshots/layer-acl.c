/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-acl.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/macros.h"
#include "lib/strv.h"

#define BLANKS " \t\r"
#define PERMISSIONS_MAX 8 /* letters: "rwx", "r-x", in any order */

/* A stretch of the text. */
typedef struct Word {
        const char *text;
        size_t length;
} Word;

static const struct {
        const char *name;
        uint16_t own;   /* of the file: "user::rwx" */
        uint16_t named; /* "user:1000:rwx"; 0: can't be */
} kinds[] = {
        { "user", ACL_USER_OBJ, ACL_USER },
        { "group", ACL_GROUP_OBJ, ACL_GROUP },
        { "mask", ACL_MASK, 0 },
        { "other", ACL_OTHER, 0 },
};

static Word trim(Word word) {
        while (word.length > 0 && strchr(BLANKS, word.text[0]))
                word = (Word){ word.text + 1, word.length - 1 };
        while (word.length > 0 && strchr(BLANKS, word.text[word.length - 1]))
                word.length--;
        return word;
}

/* What is before the next colon; what is behind it remains. */
static Word next_field(Word *rest) {
        const char *colon = memchr(rest->text, ':', rest->length);
        size_t length = colon ? (size_t) (colon - rest->text) : rest->length;
        Word field = { rest->text, length };
        size_t gone = colon ? length + 1 : length;
        *rest = (Word){ rest->text + gone, rest->length - gone };
        return trim(field);
}

/* In full, or its first letter. */
static bool word_is(Word word, const char *name) {
        return (word.length == strlen(name) || word.length == 1) &&
               memcmp(word.text, name, word.length) == 0;
}

/* No archiver writes more digits than an id has. */
static bool word_to_id(Word word, uint32_t *ret) {
        uint64_t id = 0;
        if (word.length == 0 || word.length > 10)
                return false;
        for (size_t i = 0; i < word.length; i++) {
                if (word.text[i] < '0' || word.text[i] > '9')
                        return false;
                id = id * 10 + (uint64_t) (word.text[i] - '0');
        }
        *ret = (uint32_t) id;
        return id < UINT32_MAX; /* that one is nobody */
}

static bool word_to_permissions(Word word, uint16_t *ret) {
        *ret = 0;
        for (size_t i = 0; i < word.length; i++)
                switch (word.text[i]) {
                case 'r':
                        *ret |= ACL_READ;
                        break;
                case 'w':
                        *ret |= ACL_WRITE;
                        break;
                case 'x':
                        *ret |= ACL_EXECUTE;
                        break;
                case '-':
                        break;
                default:
                        return false;
                }
        return word.length > 0 && word.length <= PERMISSIONS_MAX;
}

static int entry_fault(Word entry, Fault *fault) {
        return fault_set(fault, -EBADMSG, "an ACL has the impossible entry '%.*s'",
                         (int) MIN_OF(entry.length, (size_t) 60), entry.text);
}

/* The kernel's order is that of the tags, and of the ids where these are the same. Archives have nearly
 * that.
 */
static int acl_insert(LayerAcl *acl, uint16_t tag, uint16_t permissions, uint32_t id, Fault *fault) {
        size_t place = acl->count;
        if (acl->count == LAYER_ACL_ENTRIES_MAX)
                return fault_set(fault, -EBADMSG, "an ACL has more than %i entries", LAYER_ACL_ENTRIES_MAX);
        for (; place > 0; place--) {
                uint16_t before = le16toh(acl->entries[place - 1].e_tag);
                uint32_t before_id = le32toh(acl->entries[place - 1].e_id);
                if (before == tag && before_id == id)
                        return fault_set(fault, -EBADMSG, "an ACL says twice what one may do");
                if (before < tag || (before == tag && before_id < id))
                        break;
        }
        memmove(&acl->entries[place + 1], &acl->entries[place],
                (acl->count - place) * sizeof(acl->entries[0]));
        acl->entries[place] = (struct posix_acl_xattr_entry){ .e_tag = htole16(tag),
                                                              .e_perm = htole16(permissions),
                                                              .e_id = htole32(id) };
        acl->count++;
        return 0;
}

/* After the kind: "::rwx", "NAME:rwx", "NAME:rwx:ID"; "rwx" alone where there can be no name. */
static int parse_entry(LayerAcl *acl, Word entry, Fault *fault) {
        Word rest = entry, kind = next_field(&rest);
        if (word_is(kind, "default")) /* whose it is was said already */
                kind = next_field(&rest);
        size_t k = 0;
        while (k < ELEMENTS_OF(kinds) && !word_is(kind, kinds[k].name))
                k++;
        if (k == ELEMENTS_OF(kinds))
                return entry_fault(entry, fault);
        Word name = next_field(&rest), permissions_of = next_field(&rest), number = trim(rest);
        if (kinds[k].named == 0 && permissions_of.length == 0) {
                permissions_of = name;
                name.length = 0;
        }
        uint32_t id = ACL_UNDEFINED_ID;
        uint16_t permissions;
        if (!word_to_permissions(permissions_of, &permissions) ||
            (name.length == 0 ? number.length > 0 : kinds[k].named == 0))
                return entry_fault(entry, fault);
        if (name.length == 0)
                return acl_insert(acl, kinds[k].own, permissions, id, fault);
        if (number.length == 0 && !word_to_id(name, &id))
                return fault_set(fault, -EBADMSG, "an ACL names the %s '%.*s', without a number",
                                 kinds[k].name, (int) MIN_OF(name.length, (size_t) 60), name.text);
        if (number.length > 0 && !word_to_id(number, &id))
                return entry_fault(entry, fault);
        return acl_insert(acl, kinds[k].named, permissions, id, fault);
}

static bool acl_has(const LayerAcl *acl, uint16_t tag) {
        for (size_t i = 0; i < acl->count; i++)
                if (le16toh(acl->entries[i].e_tag) == tag)
                        return true;
        return false;
}

static int check(const LayerAcl *acl, Fault *fault) {
        bool named = acl_has(acl, ACL_USER) || acl_has(acl, ACL_GROUP);
        if (acl_has(acl, ACL_USER_OBJ) && acl_has(acl, ACL_GROUP_OBJ) && acl_has(acl, ACL_OTHER) &&
            (!named || acl_has(acl, ACL_MASK)))
                return 0;
        return fault_set(fault, -EBADMSG, "an ACL does not say what the owner, the group%s others may do",
                         named ? ", all who are named and" : " and");
}

int layer_acl_parse(LayerAcl *acl, const char *text, Fault *fault) {
        acl->header.a_version = htole32(POSIX_ACL_XATTR_VERSION);
        acl->count = 0;
        for (const char *p = text; *p;) {
                size_t line = strcspn(p, "\n"), all = strcspn(p, ",\n"),
                       length = MIN_OF(strcspn(p, "#"), all);
                Word entry = trim((Word){ p, length });
                int r = entry.length > 0 ? parse_entry(acl, entry, fault) : 0;
                if (r < 0)
                        return r;
                p += length < all ? line : all; /* a comment is the rest of its line */
                p += *p != '\0';
        }
        return acl->count > 0 ? check(acl, fault) : 0;
}

size_t layer_acl_size(const LayerAcl *acl) {
        return acl->count > 0 ? sizeof(acl->header) + acl->count * sizeof(acl->entries[0]) : 0;
}
