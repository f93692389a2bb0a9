/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Room on the disk that is kept for removing: a database needs some to forget a record, and on a full disk
 * nothing could be removed any more. */

#include <stdbool.h>

typedef struct StoreReserve {
        int directory; /* of the service's state; owned */
        bool there;
} StoreReserve;

/* directory is borrowed. Where there is no room for it, it is made later. */
int store_reserve_init(StoreReserve *reserve, int directory);
void store_reserve_done(StoreReserve *reserve);
/* Makes it if it is missing, and there is room. */
void store_reserve_restore(StoreReserve *reserve);
/* There is less room on the disk than it takes. */
bool store_reserve_is_needed(const StoreReserve *reserve);
/* For who opens the database of that directory, before there is a StoreReserve: as the next one. */
bool store_reserve_give_up(int directory);
/* True: it was there, and what it took is free. */
bool store_reserve_release(StoreReserve *reserve);
/* After what removes something, with its result: do r = ...; while (store_reserve_try_again(reserve, r)); */
bool store_reserve_try_again(StoreReserve *reserve, int r);
