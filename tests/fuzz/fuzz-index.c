/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/limits.h"
#include "lib/oci-index.h"
#include "tests/fuzz/fuzz.h"

static void require_sound_choice(const OciIndex *index, const char *name) {
        Fault fault = FAULT_NULL;
        _cleanup_(oci_platform_done) OciPlatform platform = { 0 };
        size_t position = SIZE_MAX;
        FUZZ_REQUIRE(oci_platform_parse(name, &platform, NULL) >= 0);
        int r = oci_index_select(index, &platform, &position, &fault);
        FUZZ_REQUIRE(r < 0 || position < index->manifest_count);
        FUZZ_REQUIRE(r < 0 || !index->manifests[position].has_platform ||
                     oci_platform_rank(&platform, &index->manifests[position].platform) >= 0);
        (void) fuzz_result(r, &fault);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        static const char *const platforms[] = { "linux/amd64/v3", "linux/arm64", "linux/arm/v6", "linux" };
        Fault fault = FAULT_NULL;
        _cleanup_(oci_index_done) OciIndex index = { 0 };
        int r = oci_index_parse((const char *) data, size, NULL, &index, &fault);
        if (r >= 0) {
                FUZZ_REQUIRE(index.manifest_count <= LIMIT_INDEX_MANIFESTS);
                for (size_t i = 0; i < ELEMENTS_OF(platforms); i++)
                        require_sound_choice(&index, platforms[i]);
        }
        return fuzz_result(r, &fault);
}
