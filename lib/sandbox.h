/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a worker locks itself down before it looks at a foreign byte: no new privileges, not dumpable, dropped
 * capabilities, resource limits, and a seccomp filter that allows only the listed calls (anything else: the
 * process is killed). Nothing can be taken back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"

typedef enum SandboxProfile {
        SANDBOX_STREAM, /* read, write, sync, poll, memory, threads: on descriptors that are open, or come */
        SANDBOX_TREE,   /* that without receiving any, and making files, links and attributes below open
                           directories */
        _SANDBOX_PROFILE_MAX,
        _SANDBOX_PROFILE_INVALID = -22,
} SandboxProfile;

typedef struct Sandbox {
        SandboxProfile profile;
        uint64_t keep_capabilities;  /* bit mask of CAP_*; dropped from every set otherwise */
        uint64_t memory_limit;       /* RLIMIT_AS in bytes; 0: none */
        uint64_t descriptor_limit;   /* RLIMIT_NOFILE; 0: as it is */
        uint64_t file_limit;         /* RLIMIT_FSIZE in bytes; 0: none */
        uint64_t processor_limit;    /* RLIMIT_CPU in seconds; 0: none */
        const unsigned long *ioctls; /* the only requests of ioctl(2) that are let through */
        size_t ioctl_count;
} Sandbox;

/* To be called before the first thread is started. Afterwards no file can be opened by name in
 * SANDBOX_STREAM, and nothing that loads code on demand (locales, iconv, name service, OpenSSL providers)
 * works in either. */
int sandbox_enter(const Sandbox *sandbox, Fault *fault);
