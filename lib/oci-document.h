/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What manifests and indexes have in common: the bounded JSON text, schemaVersion, and which of the two it
 * is by all that speaks to it. image-spec (manifest.md, mediaType) warns of documents that can be read as
 * both; they are refused. */

#include "lib/fault.h"
#include "lib/json.h"
#include "lib/macros.h"
#include "lib/media-type.h"

typedef struct OciDocument {
        json_object *json;
        const MediaType *type;
} OciDocument;

/* media_type is what the registry or the descriptor said, or NULL; one that is neither a manifest nor an
 * index
 * ("application/json") says nothing. -EBADMSG with a sentence; -EOPNOTSUPP for Docker's schema 1. */
int oci_document_parse(const char *data, size_t size, const char *media_type, OciDocument *ret,
                       Fault *fault);
void oci_document_done(OciDocument *document);

/* MEDIA_INDEX or MEDIA_MANIFEST. */
int oci_document_identify(const char *data, size_t size, const char *media_type, MediaKind *ret,
                          Fault *fault);
