/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* images.db from within. */

#include "lib/database.h"
#include "services/images/image-store.h"

struct ImageStore {
        Database *database;
        uint64_t changes; /* see image_store_changes() */
};

/* image-labels.c: those of a record; they are added to those that are there. In a transaction. */
int image_labels_read(ImageStore *store, const char *namespace, const char *name, char ***ret);
int image_labels_put(ImageStore *store, const ImageRecord *record);

/* image-documents.c: what the documents of an image refer to. In a transaction. */
int image_documents_put(ImageStore *store, const ImageRecord *record);

/* image-configs.c: with the image goes what was said of its config. In a transaction. */
int image_store_forget_config(ImageStore *store, const char *namespace, const char *name);
