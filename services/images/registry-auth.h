/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a registry is told about who asks: nothing at first; after a challenge Basic credentials, or a token
 * that the registry's token service gives, with credentials or without (distribution's "token"
 * specification). All requests to one registry share it. */

#include <stdint.h>

#include "services/images/http-client.h"

typedef struct RegistryAuth RegistryAuth;

typedef struct RegistryAuthSpec {
        HttpClient *client;
        const char *username; /* empty or NULL: nobody in particular */
        const char *password;
        const char *repository; /* for the scope, when the challenge names none */
        /* A token service has answered: r is 0 or a negative errno with a sentence. Those who wait may try
         * again. */
        void (*ready)(int r, const Fault *fault, void *userdata);
        void *userdata;
} RegistryAuthSpec;

int registry_auth_new(const RegistryAuthSpec *spec, RegistryAuth **ret);
RegistryAuth *registry_auth_free(RegistryAuth *auth);
DEFINE_CLEANUP(RegistryAuth *, registry_auth_free);

/* The value for the header Authorization; NULL when nothing is known yet. */
const char *registry_auth_header(const RegistryAuth *auth);
/* Counts what was learnt: a request keeps the number that it was made with. */
unsigned registry_auth_generation(const RegistryAuth *auth);

/* A request to url, made with that generation, was answered with 401. 1: try again at once. 0: ready() will
 * be called. -ENOKEY with a sentence: there is nothing else to try. */
int registry_auth_challenge(RegistryAuth *auth, const char *url, char *const *challenges,
                            unsigned generation, Fault *fault);

/* When the token service is asked again after a failure, and doing so. UINT64_MAX: never. In milliseconds of
 * CLOCK_MONOTONIC. */
uint64_t registry_auth_deadline(const RegistryAuth *auth);
void registry_auth_run(RegistryAuth *auth, uint64_t now);
