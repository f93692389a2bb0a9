/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pieces of OCI documents, from which tests put together good and bad ones. */

#define SAMPLE_HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SAMPLE_DIGEST "sha256:" SAMPLE_HEX

#define SAMPLE_DESCRIPTOR(type, more)                                                                       \
        "{\"mediaType\":\"" type "\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":7023" more "}"
#define SAMPLE_CONFIG SAMPLE_DESCRIPTOR("application/vnd.oci.image.config.v1+json", "")
#define SAMPLE_LAYER SAMPLE_DESCRIPTOR("application/vnd.oci.image.layer.v1.tar+gzip", "")
#define SAMPLE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define SAMPLE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define SAMPLE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define SAMPLE_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"

/* An entry of an index. */
#define SAMPLE_ENTRY(platform) SAMPLE_DESCRIPTOR(SAMPLE_OCI_MANIFEST, ",\"platform\":{" platform "}")
#define SAMPLE_PLATFORM(os, architecture) "\"os\":\"" os "\",\"architecture\":\"" architecture "\""
