/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/compression.h"

#include "lib/strv.h"

static const char *const compression_names[_COMPRESSION_MAX] = {
        [COMPRESSION_AUTO] = "auto",
        [COMPRESSION_NONE] = "none",
        [COMPRESSION_GZIP] = "gzip",
        [COMPRESSION_ZSTD] = "zstd",
};

const char *compression_to_string(Compression compression) {
        assert(compression >= 0 && compression < _COMPRESSION_MAX);
        return compression_names[compression];
}

Compression compression_from_string(const char *name) {
        int i = string_table_find(compression_names, _COMPRESSION_MAX, name);
        return i > COMPRESSION_AUTO ? (Compression) i : _COMPRESSION_INVALID;
}
