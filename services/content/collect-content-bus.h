/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Content1.Collector. */

#include "bus/collector.h"
#include "services/content/content-state.h"

int content_collector_new(sd_bus *bus, ContentState *state, Collector **ret);
Collector *content_collector_free(ContentState *state, Collector *collector);
