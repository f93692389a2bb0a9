/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-imagesd and crt-document say to each other: one document after the other, of one transfer or of
 * one call, so that a worker that a document has taken over can lie only about what that document's author
 * had the say of.
 *
 *   daemon → worker   DocumentOrder, with two descriptors: the document, to read, and an empty file in
 *                     memory that the answer is written to (document.h)
 *   worker → daemon   DocumentAnswer
 *
 * The daemon copies what is in the file before it looks at it. */

#include <stdint.h>

#include "lib/macros.h"
#include "lib/media-type.h"

#define DOCUMENT_FD_CONTROL 3

/* Records escape control characters with three characters for one, and names are added. */
#define DOCUMENT_ANSWER_MAX (20U * 1024U * 1024U)
#define DOCUMENT_SENTENCE_MAX 512

typedef struct DocumentOrder {
        uint32_t is_config;
        char media_type[MEDIA_TYPE_LENGTH_MAX + 1]; /* what was said of an index or a manifest, or "" */
} DocumentOrder;

typedef struct DocumentAnswer {
        int32_t error; /* 0, -EBADMSG, -EOPNOTSUPP; anything else is no fault of the document */
        char sentence[DOCUMENT_SENTENCE_MAX];
} DocumentAnswer;
