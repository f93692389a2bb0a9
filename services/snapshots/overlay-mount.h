/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Mounts of overlayfs, in all the ways in which kernels want to be told of their layers. The layers are
 * named relative to the working directory: the options of mount(2) must fit into a page. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"
#include "services/snapshots/snapshot-driver.h"

/* Of whatever must be attached for an instant, in the service's own mount namespace. */
#define OVERLAY_MOUNT_POINT "mountpoint"

typedef struct OverlayFeatures {
        bool available;
        bool layers_one_by_one; /* "lowerdir+", Linux 6.8 */
        bool detached_layers;   /* layers on mounts that are attached nowhere, Linux 6.15 */
} OverlayFeatures;

/* Makes what is needed beside the trees as well. */
int overlay_mount_probe(int trees, OverlayFeatures *ret, Fault *fault);

typedef struct OverlayMount {
        const SnapshotLayer *layers; /* from the top */
        size_t layer_count;
        int64_t upper; /* 0: none */
        bool is_volatile;
        bool several_devices; /* the layers are on more than one file system */
        bool by_options;      /* for kernels without layers_one_by_one */
        int begun; /* by overlay_mount_begin() for the same layers, to be used once; -EBADF: nothing */
        uint64_t attributes; /* MOUNT_ATTR_* */
} OverlayMount;

/* What does not depend on who mounts: a context that has looked up the layers, and marks nothing as in use.
 * Of a mount that is not by_options. */
int overlay_mount_begin(const OverlayMount *spec);

/* The descriptor of a detached mount. -E2BIG: more layers than the kernel takes. */
int overlay_mount(const OverlayMount *spec);

int overlay_mount_is_in_use(int64_t upper);
/* 0, or why trees below the working directory can't be written to through an overlay. */
int overlay_mount_try_upper(void);
