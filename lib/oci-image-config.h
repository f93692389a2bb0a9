/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Image configs (image-spec, config.md): how a container of the image is run, and the DiffIDs of its layers.
 */

#include <stdbool.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/oci-platform.h"

/* Strings and arrays that the config does not give are NULL. */
typedef struct OciImageConfig {
        OciPlatform platform;
        char *created; /* RFC 3339, not looked at */
        char *author;

        char *user; /* "name", "uid", either with ":group" or ":gid" */
        char *working_directory;
        char *stop_signal;
        char **environment; /* NAME=value */
        char **entrypoint;
        char **command;
        char **exposed_ports; /* "80/tcp", "53" */
        char **volumes;       /* paths */
        char **labels;        /* lib/oci-annotations.h */
        bool args_escaped;

        Digest *diff_ids; /* lowest layer first */
        size_t diff_id_count;
        bool history_is_consistent; /* there is none, or it accounts for just these layers */
} OciImageConfig;

/* -EBADMSG with a sentence like "image.config.Env[2]: must be NAME=value". */
int oci_image_config_parse(const char *data, size_t size, OciImageConfig *ret, Fault *fault);
void oci_image_config_done(OciImageConfig *config);

/* ChainIDs, by which the snapshots of the lowest layer, of the two lowest, … are known. */
int oci_image_config_chain_ids(const OciImageConfig *config, Digest **ret, size_t *ret_count);
