/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "lib/limits.h"
#include "lib/oci-reference.h"
#include "lib/strv.h"
#include "tests/fuzz/fuzz.h"

static void require_sound(const OciReference *reference) {
        char digest[DIGEST_STRING_MAX];
        _cleanup_(oci_reference_done) OciReference again = { 0 };
        FUZZ_REQUIRE(strlen(reference->name) <= LIMIT_REFERENCE_LENGTH);
        FUZZ_REQUIRE(reference->registry[0] && !strpbrk(reference->registry, "/@ \\?#%"));
        FUZZ_REQUIRE(reference->repository[0] && !strstr(reference->repository, "..") &&
                     !strstr(reference->repository, "//") && !strpbrk(reference->repository, "@: \\?#%"));
        FUZZ_REQUIRE(reference->tag || reference->has_digest);
        FUZZ_REQUIRE(!reference->tag || !strpbrk(reference->tag, "/@: \\?#%"));
        FUZZ_REQUIRE(oci_reference_object(reference, digest)[0]);
        FUZZ_REQUIRE(oci_reference_api_host(reference)[0]);
        FUZZ_REQUIRE(!oci_reference_is_loopback(reference) || strchr("l1[", reference->registry[0]));

        /* The normalised name is its own. */
        FUZZ_REQUIRE(oci_reference_parse(reference->name, &again, NULL) >= 0);
        FUZZ_REQUIRE(string_equal(again.name, reference->name));
        FUZZ_REQUIRE(string_equal(again.registry, reference->registry));
        FUZZ_REQUIRE(string_equal(again.repository, reference->repository));
        FUZZ_REQUIRE(string_equal(again.tag, reference->tag));
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(oci_reference_done) OciReference reference = { 0 };
        _cleanup_free_ char *string = strndup((const char *) data, size);
        FUZZ_REQUIRE(string);
        /* Corpus files may end in a newline, as editors write it. */
        if (size > 0 && string[0] && string[strlen(string) - 1] == '\n')
                string[strlen(string) - 1] = '\0';
        int r = oci_reference_parse(string, &reference, &fault);
        if (r >= 0)
                require_sound(&reference);
        return fuzz_result(r, &fault);
}
