/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of config.mounts[] (config.md, "Linux mount options"), sorted into what each is for. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/runtime-config.h"

typedef struct MountOptions {
        bool bind, recursive_bind;
        bool idmap, recursive_idmap;
        const char *idmap_text; /* "uids=0-1000-1;gids=…", crun's form; NULL: none */
        bool copy_up;           /* of what the tmpfs covers */
        bool remount;           /* changes what is mounted there already */
        bool copy_link;         /* a source that is a symbolic link is made again, not followed */
        bool source_nofollow, destination_nofollow;
        uint64_t set, clear;                     /* MOUNT_ATTR_* of the mount itself */
        uint64_t recursive_set, recursive_clear; /* … of it and all below it (rro, rnosuid, …) */
        uint64_t propagation;                    /* MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, or 0 */
        bool propagation_recursive;
        const char **data; /* for the file system: "size=64k", "sync"; the array alone is owned */
        size_t data_count;
} MountOptions;

/* The sentence names config.mounts[index].options. */
int mount_options_parse(const char *type, const char *const *words, size_t index, MountOptions *ret,
                        Fault *fault);

/* idmap_text as mappings, whose arrays the caller frees. */
int mount_options_parse_mappings(const char *text, RuntimeIdMappings *ret);
void mount_options_done(MountOptions *options);
