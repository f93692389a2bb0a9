/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-pax.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/strv.h"

void layer_pax_done(LayerPax *pax) {
        free(pax->text);
        free(pax->xattrs);
        free(pax->acls);
        layer_sparse_done(&pax->extents);
        *pax = (LayerPax){ 0 };
}

/* What was allocated stays for the next one. */
void layer_pax_reset(LayerPax *pax) {
        *pax = (LayerPax){
                .text = pax->text,
                .allocated = pax->allocated,
                .xattrs = pax->xattrs,
                .xattrs_allocated = pax->xattrs_allocated,
                .acls = pax->acls,
                .extents = { .extents = pax->extents.extents, .allocated = pax->extents.allocated },
        };
}

char *layer_pax_reserve(LayerPax *pax, size_t size) {
        if (size + 1 > pax->allocated) {
                char *larger = realloc(pax->text, size + 1);
                if (!larger)
                        return NULL;
                pax->text = larger;
                pax->allocated = size + 1;
        }
        return pax->text;
}

/* ---- what values can be ---- */

typedef struct Record {
        char *key;
        char *value; /* with a NUL behind it, and perhaps within */
        size_t size;
} Record;

/* "-12.5": seconds with any number of decimals. */
static int parse_time(const char *text, struct timespec *ret) {
        char number[24];
        const char *point = strchr(text, '.');
        size_t length = point ? (size_t) (point - text) : strlen(text);
        int64_t seconds;
        if (length >= sizeof(number))
                return -EBADMSG;
        memcpy(number, text, length);
        number[length] = '\0';
        if (string_to_int64(number, &seconds) < 0)
                return -EBADMSG;
        long nanoseconds = 0, unit = 100000000;
        for (const char *p = point ? point + 1 : ""; *p; p++, unit /= 10) {
                if (*p < '0' || *p > '9')
                        return -EBADMSG;
                nanoseconds += (*p - '0') * unit;
        }
        if (text[0] == '-' && nanoseconds > 0) {
                if (seconds == INT64_MIN)
                        return -EBADMSG;
                seconds--;
                nanoseconds = 1000000000 - nanoseconds;
        }
        *ret = (struct timespec){ .tv_sec = seconds, .tv_nsec = nanoseconds };
        return 0;
}

typedef enum RecordKind {
        RECORD_STRING,
        RECORD_LABEL, /* the same; a NUL may be its end */
        RECORD_NUMBER,
        RECORD_TIME,
} RecordKind;

#define NO_FLAG SIZE_MAX

static const struct {
        const char *key;
        RecordKind kind;
        size_t offset;
        size_t flag;
} known_records[] = {
        { "path", RECORD_STRING, offsetof(LayerPax, path), NO_FLAG },
        { "linkpath", RECORD_STRING, offsetof(LayerPax, link), NO_FLAG },
        { "size", RECORD_NUMBER, offsetof(LayerPax, size), offsetof(LayerPax, has_size) },
        { "uid", RECORD_NUMBER, offsetof(LayerPax, uid), offsetof(LayerPax, has_uid) },
        { "gid", RECORD_NUMBER, offsetof(LayerPax, gid), offsetof(LayerPax, has_gid) },
        { "mtime", RECORD_TIME, offsetof(LayerPax, mtime), offsetof(LayerPax, has_mtime) },
        { "atime", RECORD_TIME, offsetof(LayerPax, atime), offsetof(LayerPax, has_atime) },
        { "SCHILY.devmajor", RECORD_NUMBER, offsetof(LayerPax, major), offsetof(LayerPax, has_major) },
        { "SCHILY.devminor", RECORD_NUMBER, offsetof(LayerPax, minor), offsetof(LayerPax, has_minor) },
        { "GNU.sparse.major", RECORD_STRING, offsetof(LayerPax, sparse_major), NO_FLAG },
        { "GNU.sparse.minor", RECORD_STRING, offsetof(LayerPax, sparse_minor), NO_FLAG },
        { "GNU.sparse.map", RECORD_STRING, offsetof(LayerPax, sparse_map), NO_FLAG },
        { "GNU.sparse.name", RECORD_STRING, offsetof(LayerPax, sparse_name), NO_FLAG },
        { "GNU.sparse.size", RECORD_NUMBER, offsetof(LayerPax, sparse_size),
          offsetof(LayerPax, has_sparse_size) },
        { "GNU.sparse.realsize", RECORD_NUMBER, offsetof(LayerPax, sparse_size),
          offsetof(LayerPax, has_sparse_size) },
        { "GNU.sparse.offset", RECORD_NUMBER, offsetof(LayerPax, sparse_offset),
          offsetof(LayerPax, has_sparse_offset) },
        { "SCHILY.acl.access", RECORD_STRING, offsetof(LayerPax, acl_access), NO_FLAG },
        { "SCHILY.acl.default", RECORD_STRING, offsetof(LayerPax, acl_default), NO_FLAG },
        { "RHT.security.selinux", RECORD_LABEL, offsetof(LayerPax, label), NO_FLAG },
};

/* An empty value takes back what an earlier record said. */
static int store_known(LayerPax *pax, size_t i, const Record *record, Fault *fault) {
        void *place = (char *) pax + known_records[i].offset;
        bool *flag =
                known_records[i].flag == NO_FLAG ? NULL : (void *) ((char *) pax + known_records[i].flag);
        RecordKind kind = known_records[i].kind;
        size_t length = strlen(record->value);
        int r = 0;
        if (length != record->size && (kind != RECORD_LABEL || length + 1 != record->size))
                return fault_set(fault, -EBADMSG, "the pax record '%s' has a NUL", record->key);
        if (flag)
                *flag = record->size > 0;
        if (kind == RECORD_STRING || kind == RECORD_LABEL)
                *(const char **) place = length > 0 ? record->value : NULL;
        else if (record->size > 0)
                r = kind == RECORD_TIME ? parse_time(record->value, place)
                                        : string_to_int64(record->value, place);
        return r < 0 ? fault_set(fault, -EBADMSG, "the pax record '%s' has the impossible value '%.40s'",
                                 record->key, record->value)
                     : 0;
}

/* GNU's format 0.0: one record for each offset, followed by one for its size. */
static int store_extent(LayerPax *pax, const Record *record, Fault *fault) {
        int64_t size;
        if (!pax->has_sparse_offset || string_to_int64(record->value, &size) < 0)
                return fault_set(fault, -EBADMSG, "a sparse file has an impossible map");
        pax->has_sparse_offset = false;
        pax->has_sparse_extents = true;
        return layer_sparse_add(&pax->extents, pax->sparse_offset, size, fault);
}

static int store_xattr(LayerPax *pax, const char *name, const Record *record, Fault *fault) {
        if (!name[0])
                return fault_set(fault, -EBADMSG, "an extended attribute has no name");
        if (record->size > LIMIT_XATTR_SIZE)
                return fault_set(fault, -EBADMSG, "an extended attribute is larger than %u bytes",
                                 LIMIT_XATTR_SIZE);
        if (pax->xattr_count == LAYER_XATTRS_MAX)
                return fault_set(fault, -EBADMSG, "an entry has more than %i extended attributes",
                                 LAYER_XATTRS_MAX);
        if (pax->xattr_count == pax->xattrs_allocated) {
                size_t larger = MAX_OF(pax->xattrs_allocated * 2, (size_t) 8);
                LayerXattr *xattrs = reallocarray(pax->xattrs, larger, sizeof(*xattrs));
                if (!xattrs)
                        return fault_set_errno(fault, -ENOMEM, "can't read extended attributes");
                pax->xattrs = xattrs;
                pax->xattrs_allocated = larger;
        }
        pax->xattrs[pax->xattr_count++] =
                (LayerXattr){ .name = name, .value = record->value, .size = record->size };
        return 0;
}

/* ---- attributes that have records of their own ---- */

#define LABEL "security.selinux"
static const char *const acl_names[] = { "system.posix_acl_access", "system.posix_acl_default" };

/* GNU tar writes both if it is told to: names for people, and the value as it was. */
static bool has_xattr(const LayerPax *pax, const char *name) {
        for (size_t i = 0; i < pax->xattr_count; i++)
                if (string_equal(pax->xattrs[i].name, name))
                        return true;
        return false;
}

static int store_acl(LayerPax *pax, size_t which, const char *text, Fault *fault) {
        if (!text || has_xattr(pax, acl_names[which]))
                return 0;
        if (!pax->acls && !(pax->acls = calloc(ELEMENTS_OF(acl_names), sizeof(LayerAcl))))
                return fault_set_errno(fault, -ENOMEM, "can't read an ACL");
        LayerAcl *acl = &pax->acls[which];
        int r = layer_acl_parse(acl, text, fault);
        const Record record = { .value = (char *) acl, .size = layer_acl_size(acl) };
        return r < 0 || record.size == 0 ? r : store_xattr(pax, acl_names[which], &record, fault);
}

static int store_own_records(LayerPax *pax, Fault *fault) {
        int r = store_acl(pax, 0, pax->acl_access, fault);
        if (r >= 0)
                r = store_acl(pax, 1, pax->acl_default, fault);
        if (r < 0 || !pax->label || has_xattr(pax, LABEL))
                return r;
        /* The NUL is a part of it, as setfilecon(3) has it. */
        const Record label = { .value = (char *) pax->label, .size = strlen(pax->label) + 1 };
        return store_xattr(pax, LABEL, &label, fault);
}

/* ---- records ---- */

static int store_record(LayerPax *pax, Record *record, Fault *fault) {
        for (size_t i = 0; i < ELEMENTS_OF(known_records); i++)
                if (string_equal(record->key, known_records[i].key))
                        return store_known(pax, i, record, fault);
        if (string_equal(record->key, "GNU.sparse.numbytes"))
                return store_extent(pax, record, fault);
        char *name = (char *) string_after(record->key, "SCHILY.xattr.");
        if (name)
                return store_xattr(pax, name, record, fault);
        name = (char *) string_after(record->key, "LIBARCHIVE.xattr.");
        if (!name)
                return 0;
        if (layer_xattr_decode(name, record->value, &record->size) < 0)
                return fault_set(fault, -EBADMSG, "an extended attribute is encoded wrongly");
        return store_xattr(pax, name, record, fault);
}

/* "LENGTH KEY=VALUE\n", LENGTH in bytes and of all of it. Returns that length. */
static ssize_t split_record(char *text, size_t available, Record *ret, Fault *fault) {
        size_t length = 0, digits = 0;
        while (digits < available && digits < 8 && text[digits] >= '0' && text[digits] <= '9')
                length = length * 10 + (size_t) (text[digits++] - '0');
        if (digits == 0 || digits >= available || text[digits] != ' ' || length > available ||
            length < digits + 3 || text[length - 1] != '\n')
                return fault_set(fault, -EBADMSG, "a pax record has a wrong length");
        char *key = text + digits + 1, *end = text + length - 1;
        char *equals = memchr(key, '=', (size_t) (end - key));
        if (!equals || equals == key || memchr(key, '\0', (size_t) (equals - key)))
                return fault_set(fault, -EBADMSG, "a pax record has no key");
        *equals = *end = '\0';
        *ret = (Record){ .key = key, .value = equals + 1, .size = (size_t) (end - equals - 1) };
        return (ssize_t) length;
}

int layer_pax_parse(LayerPax *pax, size_t size, Fault *fault) {
        for (size_t done = 0; done < size;) {
                Record record;
                ssize_t n = split_record(pax->text + done, size - done, &record, fault);
                if (n < 0)
                        return (int) n;
                int r = store_record(pax, &record, fault);
                if (r < 0)
                        return r;
                done += (size_t) n;
        }
        return store_own_records(pax, fault);
}
