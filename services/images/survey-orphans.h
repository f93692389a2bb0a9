/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Since when it is known of things that nothing reaches them: remembered from one survey to the next. */

#include "services/images/image-store.h"
#include "services/images/reference-graph.h"

/* Of a graph in which all things are listed and marked: fills in Node.since. */
int survey_note_orphans(ImageStore *store, ReferenceGraph *graph);
