/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Content's part in a garbage collection: the list of all that there is and of what keeps it, and one blob
 * after the other that goes. It knows no bus. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/record-file.h"
#include "services/content/content-state.h"

typedef struct ContentInventory ContentInventory;

int content_inventory_new(ContentState *state, bool roots, ContentInventory **ret);
ContentInventory *content_inventory_free(ContentInventory *inventory);
DEFINE_CLEANUP(ContentInventory *, content_inventory_free);
/* Some more records; 1 if there are still others. */
int content_inventory_step(ContentInventory *inventory, RecordWriter *writer);

/* A blob of a namespace that nothing was found to need, as it was when it was listed. 1 and its bytes (0 if
 * others have them, too): it is gone; 0: it is needed after all, or is another one by now. */
int content_sweep(ContentState *state, const RecordField *namespace, const RecordField *digest,
                  const RecordField *stamp, uint64_t *ret_bytes);
