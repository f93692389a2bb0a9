/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a registry's answer says about itself, held against what was asked for. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"
#include "services/images/http-client.h"

/* A good answer (200 or 206) to a question for the bytes from offset on of something of that size (0: not
 * known) that may have at most limit bytes. Gives the position of its first byte: offset, or 0 where the
 * range was ignored. -EBADMSG with a sentence. */
int fetch_answer_check(const HttpResponse *response, uint64_t offset, uint64_t size, uint64_t limit,
                       uint64_t *ret_position, Fault *fault);

/* The first error of the distribution specification's error document, "CODE: message", as far as it can be
 * printed; or NULL. */
char *fetch_answer_explain(const char *data, size_t size);

/* Whether this address is the registry's own, and may be told what only it should know. */
bool fetch_answer_is_of_registry(const char *url, const char *host);
