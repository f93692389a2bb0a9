/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The few requests of rtnetlink(7) that moving an interface takes. */

#include <stddef.h>
#include <stdint.h>

/* A socket in this thread's network namespace. */
int net_link_open(void);

/* Into another network namespace, and renamed there, in one step. name may be a pattern: "eth%d". */
int net_link_move(int socket, unsigned index, int namespace, const char *name);
int net_link_set_up(int socket, unsigned index);

/* One address, as the kernel tells it: the attributes of a message. */
typedef struct NetLinkAddress {
        uint8_t family, prefix_length, scope;
        uint32_t flags;
        uint8_t local[16], address[16], broadcast[16];
        uint8_t local_size, address_size, broadcast_size; /* 0: not there */
} NetLinkAddress;

/* The permanent addresses of global scope that an interface has; the caller frees the array. */
int net_link_get_addresses(int socket, unsigned index, NetLinkAddress **ret, size_t *ret_count);
int net_link_add_address(int socket, unsigned index, const NetLinkAddress *address);
