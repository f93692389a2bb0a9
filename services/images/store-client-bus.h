/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Makes a StoreClient that speaks over a bus connection. */

#include <systemd/sd-bus.h>

#include "services/images/store-client.h"

int store_client_new(sd_bus *bus, StoreClient **ret);
StoreClient *store_client_free(StoreClient *client);
DEFINE_CLEANUP(StoreClient *, store_client_free);
