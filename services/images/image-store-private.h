/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* images.db from within. */

#include "lib/database.h"
#include "lib/store-reserve.h"
#include "services/images/image-store.h"

struct ImageStore {
        Database *database;
        StoreReserve reserve;
        uint64_t changes; /* see image_store_changes() */
};

/* image-labels.c: those of a record; they are added to those that are there. In a transaction. */
int image_labels_read(ImageStore *store, const char *namespace, const char *name, char ***ret);
int image_labels_put(ImageStore *store, const ImageRecord *record);

/* image-documents.c: what the documents of an image refer to. In a transaction. */
int image_documents_put(ImageStore *store, const ImageRecord *record);

/* image-configs.c: what was said of the config of the image that has a name. In a transaction. */
int image_configs_put(ImageStore *store, const ImageRecord *record, const char *records, size_t size);
int image_configs_forget(ImageStore *store, const char *namespace, const char *name);
/* Of a name of which nothing is kept. */
int image_configs_copy(ImageStore *store, const ImageRecord *source, const char *name);

/* image-tag.c: what the names of a namespace need, but for one: how many they are, and how many things. */
int image_store_count_needs(ImageStore *store, const char *namespace, const char *except,
                            uint64_t *ret_names, uint64_t *ret_things);
