/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Platforms of images, "linux/arm64/v8", in Go's names and containerd's normal form: amd64 and not x86_64,
 * no variant where it is the one that the architecture means by itself (amd64 v1, arm64 v8), arm always with
 * one. */

#include <stdbool.h>

#include "lib/fault.h"
#include "lib/json.h"
#include "lib/macros.h"

typedef struct OciPlatform {
        char *os;
        char *architecture;
        char *variant; /* NULL if there is none */
        char *os_version;
} OciPlatform;

/* "linux/arm64/v8", "linux/amd64", "amd64" (of Linux), "linux" (on this architecture). -EINVAL with a
 * sentence. */
int oci_platform_parse(const char *string, OciPlatform *ret, Fault *fault);

/* Whether it can be the name of a system, of an architecture, of a variant. */
bool oci_platform_part_is_valid(const char *part);
/* The normal form of what a document gives; parts that are NULL or empty are not given. -EINVAL. */
int oci_platform_from_parts(const OciPlatform *parts, OciPlatform *ret);

/* From an object with os, architecture and variant (a descriptor's platform, an image config). */
int oci_platform_parse_json(const JsonNode *node, OciPlatform *ret, Fault *fault);

int oci_platform_of_machine(OciPlatform *ret);
int oci_platform_copy(const OciPlatform *platform, OciPlatform *ret);
void oci_platform_done(OciPlatform *platform);

/* "linux/arm64/v8" in a fresh string; NULL without memory. */
char *oci_platform_to_string(const OciPlatform *platform);

/* "unknown/unknown": what build tools put on attestations, which are no images. */
bool oci_platform_is_unknown(const OciPlatform *platform);

/* How well an offered platform serves the wanted one: 0 exactly, higher is worse, -EINVAL not at all. A
 * newer variant runs what was built for an older one, amd64 runs 386, arm64 runs arm. */
int oci_platform_rank(const OciPlatform *wanted, const OciPlatform *offered);
