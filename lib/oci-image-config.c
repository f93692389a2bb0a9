/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-image-config.h"

#include "lib/strv.h"

void oci_image_config_done(OciImageConfig *config) {
        if (!config)
                return;
        oci_platform_done(&config->platform);
        free(config->created);
        free(config->author);
        free(config->user);
        free(config->working_directory);
        free(config->stop_signal);
        strv_free(config->environment);
        strv_free(config->entrypoint);
        strv_free(config->command);
        strv_free(config->exposed_ports);
        strv_free(config->volumes);
        strv_free(config->labels);
        free(config->diff_ids);
        *config = (OciImageConfig){ 0 };
}
