/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/oci-image-config.h"

int oci_image_config_chain_ids(const OciImageConfig *config, Digest **ret, size_t *ret_count) {
        _cleanup_free_ Digest *chain = new0(Digest, MAX_OF(config->diff_id_count, 1U));
        if (!chain)
                return -ENOMEM;
        for (size_t i = 0; i < config->diff_id_count; i++)
                digest_chain_id(i > 0 ? &chain[i - 1] : NULL, &config->diff_ids[i], &chain[i]);
        *ret = TAKE_PTR(chain);
        *ret_count = config->diff_id_count;
        return 0;
}
