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

/* Blobs of namespaces that nothing was found to need, as they were when they were listed: what is needed
 * after all, or is another one by now, is passed over. Nothing else may happen between the first of them and
 * the commit, with which they go all at once, and synced. bytes: those that nobody has any longer. */
typedef struct ContentSweep ContentSweep;

int content_sweep_new(ContentState *state, ContentSweep **ret);
ContentSweep *content_sweep_free(ContentSweep *sweep);
DEFINE_CLEANUP(ContentSweep *, content_sweep_free);
int content_sweep_add(ContentSweep *sweep, const RecordField *namespace, const RecordField *digest,
                      const RecordField *stamp);
int content_sweep_commit(ContentSweep *sweep, uint32_t *ret_gone, uint64_t *ret_bytes);
