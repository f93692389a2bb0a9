/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From what an image says and what a caller asks to the OCI runtime configuration (config.json) that the
 * container is started with, with the defaults that Docker gives: namespaces, capabilities, devices, mounts,
 * masked paths, system call filter. */

#include <stdbool.h>
#include <stddef.h>

#include "lib/fault.h"
#include "lib/macros.h"

/* The config part of an image (OCI image-spec config.md). Borrowed. */
typedef struct SpecImage {
        const char *user, *working_directory, *stop_signal; /* NULL or "": not given */
        char *const *environment, *const *entrypoint, *const *command;
} SpecImage;

typedef struct SpecMount {
        char *source; /* absolute path; NULL: the descriptor of this number among those of the start */
        unsigned descriptor;
        char *destination;
        char **options;
} SpecMount;

#define SPEC_MOUNTS_MAX 64

/* What the caller asks. Borrowed; NULL: not given. */
typedef struct SpecRequest {
        const char *id;
        const SpecImage *image;
        char *const *arguments, *const *entrypoint, *const *environment;
        const char *working_directory, *user, *hostname, *stop_signal;
        bool terminal, read_only;
        const SpecMount *mounts;
        size_t mount_count;
} SpecRequest;

typedef struct Spec {
        char *json;     /* config.json */
        char **command; /* its process.args */
        int stop_signal;
} Spec;

void spec_done(Spec *spec);

/* The mount source by which the supervisor knows a descriptor: followed by its number. */
#define SPEC_DESCRIPTOR_SOURCE "/proc/self/fd/crt-"

/* The annotation with the user whose names are to be looked up in the root file system. */
#define SPEC_USER_ANNOTATION "org.crt.user"

/* -EINVAL with a sentence that names the option or the part of the image's config. */
int spec_build(const SpecRequest *request, Spec *ret, Fault *fault);

/* "user[:group]", names or numbers. */
typedef struct SpecUser {
        bool numeric; /* the two numbers are all that is needed */
        unsigned uid, gid;
} SpecUser;
int spec_parse_user(const char *user, SpecUser *ret);
