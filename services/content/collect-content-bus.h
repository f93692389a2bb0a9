/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Content1.Collector. */

#include "bus/collector.h"
#include "services/content/content-state.h"

typedef struct ContentCollector ContentCollector;

int content_collector_new(sd_bus *bus, ContentState *state, ContentCollector **ret);
ContentCollector *content_collector_free(ContentCollector *content);
DEFINE_CLEANUP(ContentCollector *, content_collector_free);
bool content_collector_is_busy(const ContentCollector *content);
