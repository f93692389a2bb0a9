/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names of images in registries, "localhost:5000/a/b:tag@sha256:…", read as Docker and containerd read them:
 * "debian" is docker.io/library/debian:latest. */

#include <stdbool.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "lib/macros.h"

typedef struct OciReference {
        char *registry;   /* host[:port] in lower case; IPv6 in brackets */
        char *repository; /* "library/debian" */
        char *tag;        /* NULL if there is only a digest; "latest" if there is neither */
        bool has_digest;
        Digest digest;
        char *name; /* all of it, normalised: what an image is called in crt */
} OciReference;

/* -EINVAL with a sentence. */
int oci_reference_parse(const char *string, OciReference *ret, Fault *fault);
void oci_reference_done(OciReference *reference);

/* localhost, 127.0.0.0/8 or ::1, where plain HTTP is allowed. */
bool oci_reference_is_loopback(const OciReference *reference);

/* host[:port] to speak to: docker.io answers as registry-1.docker.io. */
const char *oci_reference_api_host(const OciReference *reference);

/* What stands behind "manifests/" in the request: the digest if there is one, else the tag. */
const char *oci_reference_object(const OciReference *reference, char buffer[DIGEST_STRING_MAX]);
