/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What images that were removed leave behind, and pulls that came to nothing, goes at once, as far as nobody
 * else needs it: no container, no lease, no label, no transfer. It goes as in any collection (collection.h),
 * which looks at nothing else. One look at all that keeps things serves everybody who waits. */

#include "services/images/image-service.h"

typedef void (*TidyDone)(void *userdata);

int tidy_new(ImageService *service, Tidy **ret);
Tidy *tidy_free(Tidy *tidy);
DEFINE_CLEANUP(Tidy *, tidy_free);

/* done() is called when all that was noted as garbage until now has been looked after, perhaps at once. What
 * could not be found out stays for later. */
int tidy_request(Tidy *tidy, TidyDone done, void *userdata);
