/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The end of unpacking a layer: what its archive says about directories is done to them, and what a merge
 * with other layers must know is written down. */

#include "services/snapshots/directory-tree.h"

/* In bytes: what tree-finish.c is ready to read, and less. */
#define DIRECTORY_NOTES_MAX ((size_t) 512 * 1024 * 1024)

/* Notes go to a descriptor (-EBADF: nowhere), parents before what lies in them: for each directory concerned
 * one letter, its path and a NUL: 'o' opaque, 'i' implied by its contents only, and 'r' if the layer
 * describes the root. Each directory is opened once, from its parent. */
int directory_finish(DirectoryTree *tree, int notes, Fault *fault);
