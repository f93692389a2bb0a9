/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/oci-image-config.h"
#include "lib/strv.h"
#include "tests/fuzz/fuzz.h"

static void require_sound(const OciImageConfig *config) {
        _cleanup_free_ Digest *chain = NULL;
        size_t count, labels = strv_length(config->labels);
        FUZZ_REQUIRE(config->platform.os && config->platform.architecture);
        FUZZ_REQUIRE(config->diff_id_count <= LIMIT_MANIFEST_LAYERS);
        FUZZ_REQUIRE(oci_image_config_chain_ids(config, &chain, &count) >= 0);
        FUZZ_REQUIRE(count == config->diff_id_count);
        for (size_t i = 0; config->environment && config->environment[i]; i++)
                FUZZ_REQUIRE(strchr(config->environment[i], '=') > config->environment[i]);
        FUZZ_REQUIRE(labels % 2 == 0);
        for (size_t i = 0; i < labels; i += 2)
                FUZZ_REQUIRE(!string_after(config->labels[i], OCI_ANNOTATION_RESERVED));
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(oci_image_config_done) OciImageConfig config = { 0 };
        int r = oci_image_config_parse((const char *) data, size, &config, &fault);
        if (r >= 0)
                require_sound(&config);
        return fuzz_result(r, &fault);
}
