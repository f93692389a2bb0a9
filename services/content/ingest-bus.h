/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Content1.Ingest: the ingests as objects. */

#include <systemd/sd-bus.h>

#include "bus/object-kind.h"
#include "services/content/ingest.h"

/* Installs itself as the table's observer: observe nothing before it is freed. */
int ingest_bus_new(sd_bus *bus, IngestTable *table, ObjectKind **ret);
