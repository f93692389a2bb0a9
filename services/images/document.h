/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-imagesd knows of an index, a manifest or an image config. Parsed by crt-document alone, and told
 * by it as a list of records (lib/record-file.h), of which the daemon believes nothing that it has not
 * looked at:
 *
 *   "index", media type                           "manifest", media type
 *   "entry", media type, digest, size, and, if    "config", media type, digest, size: once
 *     it has one, its platform: system,           "layer", media type, digest, size: from the lowest one on
 *     architecture, variant, version
 *
 *   "image", system, architecture, variant, version, created, user, working directory, stop signal
 *   "diff", digest: from the lowest layer on
 *   "env", "entrypoint", "cmd", "port", "volume": text; "label": text, text
 *
 * and, at the end of each, "end" and how many records are before it. */

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/oci-image-config.h"
#include "lib/oci-index.h"
#include "lib/oci-manifest.h"
#include "lib/record-file.h"

typedef enum DocumentKind {
        DOCUMENT_INDEX,
        DOCUMENT_MANIFEST,
        DOCUMENT_CONFIG,
        _DOCUMENT_KIND_MAX,
        _DOCUMENT_KIND_INVALID = -22,
} DocumentKind;

/* Without what nobody here asks for: annotations, URLs, the author, the history. */
typedef struct Document {
        DocumentKind kind;
        union {
                OciIndex index;
                OciManifest manifest;
                OciImageConfig config;
        };
} Document;

void document_done(Document *document);

/* Foreign bytes: a config, or an index or manifest, which media_type (or NULL) says as well. -EBADMSG,
 * -EOPNOTSUPP with a sentence. */
int document_parse(const char *data, size_t size, bool is_config, const char *media_type, Document *ret,
                   Fault *fault);

/* -EFBIG if it becomes too long. */
int document_write(const Document *document, RecordWriter *writer);
/* -EPROTO with a sentence for what document_write() does not write. */
int document_read(RecordFile *file, Document *ret, Fault *fault);
