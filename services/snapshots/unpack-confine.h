/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the processes of crt-unpack give up before they see a foreign byte. All of them live in namespaces of
 * their own (mounts, network, IPC, host name, process numbers) whose only mount is the tree. */

#include "services/snapshots/layer-unpack.h"

/* The tree (a detached mount) becomes the root of this mount namespace, set to follow no symbolic link at
 * all, and the only mount in it. The descriptor is closed; returns one for the root. */
int unpack_enter_tree(int tree, Fault *fault);

/* For LayerUnpack.confine: capabilities, limits of memory, descriptors, processor time and the size of
 * files, and a filter of system calls. size_max: LayerRules. How much a writer that does not keep to its
 * rules takes of the disk in all, the service looks at (space-reserve.h). */
int unpack_confine(LayerPart part, uint64_t size_max, Fault *fault);
