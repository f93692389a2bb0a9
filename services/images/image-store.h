/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* images.db: the names, what each of them needs, and what was going on when the daemon was last seen. */

#include <stdbool.h>

#include "lib/fault.h"
#include "services/images/image-record.h"

typedef struct ImageStore ImageStore;

int image_store_open(int directory, ImageStore **ret, Fault *fault);
ImageStore *image_store_free(ImageStore *store);
DEFINE_CLEANUP(ImageStore *, image_store_free);

/* -ENOENT. Blobs and chains are not read, labels are. */
int image_store_get(ImageStore *store, const char *namespace, const char *name, ImageRecord *ret);
bool image_store_has(ImageStore *store, const char *namespace, const char *name);
/* Puts a record in the place of the one of that name, whose labels stay: 1 if there was one, else 0.
 * unpacking: that of the transfer that it comes from, which ends with it; or NULL. -EDQUOT. */
int image_store_put(ImageStore *store, const ImageRecord *record, const char *unpacking);
/* -EDQUOT if it would be told so of a record of this name that needs so many things. */
int image_store_check_needs(ImageStore *store, const char *namespace, const char *name, uint64_t needs);

/* What the config of that record's image says, as crt-document told it (document.h): kept with the image and
 * for that config only, and not if it is longer than LIMIT_CONFIG_KEPT, or if the namespace keeps
 * LIMIT_CONFIGS_PER_NAMESPACE already. -ENOENT if it is not. */
int image_store_get_config(ImageStore *store, const ImageRecord *record, char **ret, size_t *ret_size);
int image_store_put_config(ImageStore *store, const ImageRecord *record, const char *records, size_t size);

/* Another name for what source stands for, without its labels; if replace, also one that stands for
 * something already, which keeps its own: 1 if it did, else 0. -EEXIST, -ENOENT; -EDQUOT with a sentence. */
int image_store_tag(ImageStore *store, const ImageRecord *source, const char *name, bool replace,
                    Fault *fault);

/* Takes a name away, and notes in the same breath what nothing in the namespace needs any more:
 * image_store_list_garbage(). -ENOENT. */
int image_store_remove(ImageStore *store, const char *namespace, const char *name);

/* Calls visit for each, ordered by name, beginning behind after (NULL: at the first), until it returns a
 * value other than 0, which is returned. namespace NULL: all of them, by namespace and name. */
typedef int (*ImageVisit)(const ImageRecord *record, void *userdata);
int image_store_list(ImageStore *store, const char *namespace, const char *after, ImageVisit visit,
                     void *userdata);

/* Whether any image of the namespace needs that blob or snapshot. */
bool image_store_needs_blob(ImageStore *store, const char *namespace, const char *digest);
bool image_store_needs_chain(ImageStore *store, const char *namespace, const char *chain_id);

/* What is to be removed in Content and Snapshots, snapshots first and the highest of them first. */
typedef enum GarbageKind {
        GARBAGE_SNAPSHOT,
        GARBAGE_BLOB,
        _GARBAGE_KIND_MAX,
        _GARBAGE_KIND_INVALID = -22,
} GarbageKind;
typedef int (*GarbageVisit)(const char *namespace, GarbageKind kind, const char *name, void *userdata);
int image_store_list_garbage(ImageStore *store, GarbageVisit visit, void *userdata);
bool image_store_has_garbage(ImageStore *store);
/* Further things that may have become garbage; position: of a snapshot in its stack. */
int image_store_add_garbage(ImageStore *store, const char *namespace, GarbageKind kind, const char *name,
                            uint32_t position);
int image_store_forget_garbage(ImageStore *store, const char *namespace, GarbageKind kind, const char *name);

/* On a full disk, room for what a collection remembers; and once it is over. */
void image_store_make_room(ImageStore *store);
void image_store_keep_room(ImageStore *store);

/* Transfers that have unfinished snapshots, known by the prefix of their keys. */
int image_store_add_unpacking(ImageStore *store, const char *namespace, const char *prefix);
int image_store_remove_unpacking(ImageStore *store, const char *namespace, const char *prefix);
typedef int (*UnpackingVisit)(const char *namespace, const char *prefix, void *userdata);
int image_store_list_unpacking(ImageStore *store, UnpackingVisit visit, void *userdata);

/* Labels of an image (lib/label.h). -ENOENT; -EINVAL, -EDQUOT with a sentence. */
int image_store_change_labels(ImageStore *store, const ImageRecord *record, char *const *changes,
                              bool replace, Fault *fault);
/* Another number after each change that may keep something: of labels, or a name for what another has stood
 * for; or that takes a name from what somebody may have resolved it to. What a pull brings is kept by the
 * transfer until it has its name. */
uint64_t image_store_changes(const ImageStore *store);

/* What a document refers to ("manifest", "config", "layer", "unpacked"), until visit returns a negative
 * value. */
typedef int (*ReferenceVisit)(GarbageKind kind, const char *thing, const char *how, void *userdata);
int image_store_visit_document(ImageStore *store, const char *digest, ReferenceVisit visit, void *userdata);
/* These documents are gone everywhere, unless they have come again since that time: next() gives the digest
 * of one after the other, and NULL at the end. */
typedef const char *(*DocumentNext)(void *userdata);
int image_store_forget_documents(ImageStore *store, DocumentNext next, void *userdata,
                                 uint64_t noted_before);
