/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every limit that crt sets on what others can make it hold, in one place. Beyond one: -EDQUOT
 * (LimitsExceeded), or -EBADMSG where it is the size of foreign data. */

/* Foreign documents, in bytes. The distribution specification asks registries to take manifests of 4 MiB. */
#define LIMIT_MANIFEST_SIZE (4U * 1024U * 1024U)
#define LIMIT_IMAGE_CONFIG_SIZE (4U * 1024U * 1024U)
#define LIMIT_RUNTIME_CONFIG_SIZE (8U * 1024U * 1024U)
#define LIMIT_TOKEN_RESPONSE_SIZE (1U * 1024U * 1024U)

/* Parts of one document. */
#define LIMIT_JSON_DEPTH 64
#define LIMIT_MANIFEST_LAYERS 500
#define LIMIT_INDEX_MANIFESTS 1024
#define LIMIT_ANNOTATIONS 1024
#define LIMIT_CONFIG_KEPT (256U * 1024U) /* bytes of what it says, beside the name of its image */
#define LIMIT_CONFIG_STRINGS 16384       /* variables, arguments */

/* Names, in bytes. */
#define LIMIT_REFERENCE_LENGTH 512
#define LIMIT_IDENTIFIER_LENGTH 76
#define LIMIT_INGEST_REFERENCE_LENGTH 512
#define LIMIT_LABEL_LENGTH 4096
#define LIMIT_LABELS_PER_OBJECT 256

/* One option of a method call that is a list or a dictionary. */
#define LIMIT_OPTION_ENTRIES 1024
#define LIMIT_OPTION_BYTES (1024U * 1024U)
/* What one container is made with, in bytes in all: the service holds that of every container. */
#define LIMIT_CONTAINER_SIZE (1024U * 1024U)
#define LIMIT_MOUNT_OPTIONS 64

/* What one user other than root may hold at once. */
#define LIMIT_INGESTS_PER_UID 64
#define LIMIT_LEASES_PER_UID 1024
#define LIMIT_BLOB_BYTES_PER_UID 1099511627776ULL /* 1 TiB */
#define LIMIT_BLOBS_PER_UID 65536
#define LIMIT_LABEL_BYTES_PER_UID (4U * 1024U * 1024U)  /* in each service */
#define LIMIT_LEASE_BYTES_PER_UID (12U * 1024U * 1024U) /* of the names that leases name */
#define LIMIT_TRANSFERS_PER_UID 32
#define LIMIT_JOBS_PER_UID 64
#define LIMIT_PENDING_CALLS_PER_UID 256
#define LIMIT_SNAPSHOTS_PER_UID 1024
#define LIMIT_SNAPSHOT_BYTES_PER_UID 1099511627776ULL /* 1 TiB */
#define LIMIT_DIFFS_PER_UID 4
#define LIMIT_VERIFIES_PER_UID 2
#define LIMIT_MEASURES_PER_UID 64
#define LIMIT_CONTAINERS_PER_UID 256
#define LIMIT_SURVEYS_PER_UID 1
#define LIMIT_RESOLVES_PER_UID 64 /* for whose config a worker is needed, as for the next */
#define LIMIT_LEASE_RESOURCES 16384
#define LIMIT_LEASE_RESOURCES_PER_UID 65536 /* of all leases */
#define LIMIT_WAITERS_PER_JOB 256
#define LIMIT_OUTCOMES_PER_UID 64

/* And all of them together, so that the lists that a collection asks for (lib/record-file.h) can be written
 * whatever their number (collect-content.c). */
#define LIMIT_BLOBS 524288
#define LIMIT_LABEL_BYTES (24U * 1024U * 1024U) /* one message lists the leases of all for root */
#define LIMIT_LEASE_BYTES (64U * 1024U * 1024U)

/* What the names of images may take in one namespace. */
#define LIMIT_NAMES_PER_NAMESPACE 16384                   /* beyond which none is given another one */
#define LIMIT_NEEDS_PER_NAMESPACE 524288                  /* blobs and snapshots, counted for each name */
#define LIMIT_CONFIGS_PER_NAMESPACE (64U * 1024U * 1024U) /* bytes; others are not kept */

/* What a service holds at most in all. */
#define LIMIT_PEERS 4096
/* Of each for root and its services, and for all others (services/snapshots/worker-slots.h). */
#define LIMIT_CONCURRENT_UNPACKS 4
#define LIMIT_CONCURRENT_FILLS 4    /* trees that begin as copies of others */
#define LIMIT_CONCURRENT_MEASURES 4 /* trees of snapshots whose usage is asked for */
#define LIMIT_DIFFS 32
#define LIMIT_VERIFIES 16
#define LIMIT_CLEANUPS 256  /* calls that wait for it */
#define LIMIT_RESOLVES 1024 /* root's are not held against it */
#define LIMIT_CONCURRENT_RESOLVES 4
#define LIMIT_CONCURRENT_RESOLVES_PER_NAMESPACE 2
#define LIMIT_CONCURRENT_DOWNLOADS 6
#define LIMIT_CONCURRENT_SURVEYS 3 /* of everything, for Plan and Why */
#define LIMIT_CONCURRENT_TEES 16   /* layers that are unpacked while they arrive */
#define LIMIT_EPOCHS 4             /* collections at once, as an owner sees them */
#define LIMIT_SETTLE_SECONDS 5     /* that calls wait for those before them, until it does */
#define LIMIT_HOLD_SECONDS 300     /* that one of them may keep calls waiting */
#define LIMIT_GATED_CALLS 4096     /* that wait for it */

/* Descriptors from callers that their file systems take long to close: threads, in each service. */
#define LIMIT_SLOW_CLOSES 1024
#define LIMIT_SLOW_CLOSES_PER_UID 64
/* And how many wait for a thread until no more are taken; of all who are limited: half of LimitNOFILE=. */
#define LIMIT_WAITING_CLOSES 8192
#define LIMIT_WAITING_CLOSES_PER_UID 256

/* Pages of lists. */
#define LIMIT_PAGE_DEFAULT 1000
#define LIMIT_PAGE_MAX 10000
#define LIMIT_PAGE_BYTES (16U * 1024U * 1024U)
#define LIMIT_PAGE_USEC 30000U /* for a filter */

/* Filters of lists: of one its length, its regular expressions' length; conditions in all. */
#define LIMIT_FILTER_LENGTH 8192
#define LIMIT_FILTER_EXPRESSION 512
#define LIMIT_FILTER_SELECTORS 64

/* What one layer may unpack to. */
#define LIMIT_LAYER_SIZE (256ULL * 1024ULL * 1024ULL * 1024ULL)
#define LIMIT_LAYER_ENTRIES (8U * 1024U * 1024U)
#define LIMIT_PATH_LENGTH 4095
#define LIMIT_XATTR_SIZE (64U * 1024U)
