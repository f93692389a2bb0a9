/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Layers that are kept as EROFS images: mounted on trees/images/NUMBER when they are first needed, in the
 * daemon's own mount namespace, which ends with it. What is mounted stays so for the next container, up to a
 * number; mounts that were made from them do not need them any more. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/file-verity.h"
#include "services/snapshots/tree-store.h"

/* In a tree's directory. */
#define IMAGE_FILE "layer.erofs"
#define IMAGE_UNFINISHED "layer.unfinished"
#define IMAGE_VERITY "verity" /* what is in the record now, as earlier versions noted it */

/* -EOPNOTSUPP: the kernel could mount no image that lies there. */
int image_mount_probe(int trees, Fault *fault);

/* Where it is mounted, relative to trees. */
const char *image_mount_path(int64_t id, char buffer[TREE_PATH_SIZE]);

typedef struct ImageMounts ImageMounts;

/* trees is borrowed. by_loop: through loop devices even if the kernel mounts files (since 6.12). */
int image_mounts_new(int trees, bool by_loop, ImageMounts **ret);
ImageMounts *image_mounts_free(ImageMounts *images);
DEFINE_CLEANUP(ImageMounts *, image_mounts_free);

/* Who knows the digest that fs-verity must measure of an image: 1, or 0 where none is known. */
typedef int (*ImageSealOf)(int64_t id, char ret[FILE_VERITY_SIZE], void *userdata);
void image_mounts_require(ImageMounts *images, ImageSealOf seal_of, void *userdata);
/* That digest, of an image that was just written: 1; 0: there is no image, or it has none. */
int image_measure_seal(int trees, int64_t id, char ret[FILE_VERITY_SIZE]);

/* Sees to it that the image of a tree is mounted. -EUCLEAN: it is not what was written once. */
int image_mounts_need(ImageMounts *images, int64_t id, Fault *fault);
void image_mounts_drop(ImageMounts *images, int64_t id);
