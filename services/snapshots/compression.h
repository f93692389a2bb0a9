/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The compressions that a layer may come in (OCI image-spec layer.md). */

typedef enum Compression {
        COMPRESSION_AUTO, /* by the first bytes */
        COMPRESSION_NONE,
        COMPRESSION_GZIP,
        COMPRESSION_ZSTD,
        _COMPRESSION_MAX,
        _COMPRESSION_INVALID = -22,
} Compression;

const char *compression_to_string(Compression compression);
/* "none", "gzip", "zstd"; not "auto". */
Compression compression_from_string(const char *name);
