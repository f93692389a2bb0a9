/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/digest.h"

#include <errno.h>

#include "tests/unit/check.h"

#define EMPTY_256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                                             \
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23"   \
        "a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void known_answers(void) {
        char text[DIGEST_STRING_MAX];
        Digest digest;
        CHECK_OK(digest_of_data(DIGEST_SHA256, "", 0, &digest));
        CHECK_STRING(digest_to_string(&digest, text), EMPTY_256);
        CHECK_OK(digest_of_data(DIGEST_SHA256, "abc", 3, &digest));
        CHECK_STRING(digest_to_string(&digest, text), ABC_256);
        CHECK_STRING(digest_to_hex(&digest, text), &ABC_256[strlen("sha256:")]);
        CHECK_OK(digest_of_data(DIGEST_SHA512, "abc", 3, &digest));
        CHECK_STRING(digest_to_string(&digest, text), ABC_512);
        CHECK_ERROR(digest_of_data(_DIGEST_ALGORITHM_INVALID, "", 0, &digest), -EOPNOTSUPP);
}

/* By another way, around every border of a block. */
static void little_is_hashed_alike(void) {
        uint8_t data[700];
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t) (i * 151 + i / 7);
        for (size_t size = 0; size <= sizeof(data); size++) {
                Digest digest, expected;
                digest_of_short(data, size, &digest);
                CHECK_OK(digest_of_data(DIGEST_SHA256, data, size, &expected));
                CHECK_FORMAT(digest_equal(&digest, &expected), "%zu bytes", size);
        }
}

static void syntax(void) {
        static const struct {
                const char *string;
                int result;
        } cases[] = {
                { ABC_256, 0 },
                { ABC_512, 0 },
                { "", -EINVAL },
                { "sha256", -EINVAL },
                { "sha256:", -EINVAL },
                { ":abc", -EINVAL },
                { "sha256:abc", -EINVAL },
                { ABC_256 "0", -EINVAL },
                { " " ABC_256, -EINVAL },
                { ABC_256 "\n", -EINVAL },
                { "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL },
                { "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL },
                { "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL },
                { "sha256:../../../../../../../../../../../../../../../../../../../../../e", -EINVAL },
                { "md5:d41d8cd98f00b204e9800998ecf8427e", -EOPNOTSUPP },
                { "a-very-long-algorithm+with.parts:xyz_=-", -EOPNOTSUPP },
                { "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL },
                { "sha256+:ab", -EINVAL },
                { "+sha256:ab", -EINVAL },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Digest digest;
                char text[DIGEST_STRING_MAX];
                int r = digest_parse(cases[i].string, &digest);
                CHECK_FORMAT(r == cases[i].result, "'%s' is %i", cases[i].string, r);
                if (r == 0)
                        CHECK_STRING(digest_to_string(&digest, text), cases[i].string);
        }
        CHECK_ERROR(digest_parse(NULL, &(Digest){ 0 }), -EINVAL);
}

static void equality(void) {
        Digest a, b, c;
        CHECK_OK(digest_of_data(DIGEST_SHA256, "abc", 3, &a));
        CHECK_OK(digest_parse(ABC_256, &b));
        CHECK_OK(digest_of_data(DIGEST_SHA512, "abc", 3, &c));
        CHECK(digest_equal(&a, &b) && !digest_equal(&a, &c));
        b.raw[31] ^= 1;
        CHECK(!digest_equal(&a, &b));
        b.raw[31] ^= 1;
        b.raw[32] = 1; /* beyond what SHA-256 has */
        CHECK(digest_equal(&a, &b));
}

static void algorithms_have_names_and_sizes(void) {
        CHECK_INT(digest_algorithm_from_string("sha256"), DIGEST_SHA256);
        CHECK_INT(digest_algorithm_from_string("sha512"), DIGEST_SHA512);
        CHECK(digest_algorithm_from_string("sha384") < 0);
        CHECK_STRING(digest_algorithm_to_string(DIGEST_SHA512), "sha512");
        CHECK_INT(digest_algorithm_size(DIGEST_SHA256), 32);
        CHECK_INT(digest_algorithm_size(DIGEST_SHA512), 64);
}

/* Saved to a buffer and taken up again after every possible length. */
static void a_saved_state_goes_on(void) {
        uint8_t data[300];
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t) (i * 7);
        for (DigestAlgorithm a = 0; a < _DIGEST_ALGORITHM_MAX; a++) {
                Digest whole;
                CHECK_OK(digest_of_data(a, data, sizeof(data), &whole));
                for (size_t cut = 0; cut <= sizeof(data); cut++) {
                        DigestState state, restored;
                        char file[sizeof(DigestState)];
                        Digest part, again, digest;
                        CHECK_OK(digest_state_init(&state, a));
                        digest_state_update(&state, data, cut);
                        digest_state_finish(&state, &part);
                        memcpy(file, &state, sizeof(file));
                        memset(&state, 0xaa, sizeof(state));
                        memcpy(&restored, file, sizeof(file));
                        CHECK(digest_state_is_usable(&restored));
                        CHECK_INT(restored.bytes, cut);
                        digest_state_finish(&restored, &again);
                        CHECK(digest_equal(&part, &again));
                        digest_state_update(&restored, data + cut, sizeof(data) - cut);
                        digest_state_finish(&restored, &digest);
                        CHECK(digest_equal(&whole, &digest));
                }
        }
}

static void damaged_states_are_refused(void) {
        DigestState state, damaged;
        CHECK_OK(digest_state_init(&state, DIGEST_SHA256));
        digest_state_update(&state, "abc", 3);
        CHECK(digest_state_is_usable(&state));

        damaged = state;
        damaged.version++;
        CHECK(!digest_state_is_usable(&damaged));
        damaged = state;
        damaged.algorithm = 7;
        CHECK(!digest_state_is_usable(&damaged));
        damaged = state;
        damaged.algorithm = DIGEST_SHA512;
        CHECK(!digest_state_is_usable(&damaged));
        damaged = state;
        damaged.bytes = 67;
        CHECK(digest_state_is_usable(&damaged)); /* any multiple of a block more */
        damaged.bytes = 4;
        CHECK(!digest_state_is_usable(&damaged));
        /* Wherever the count of buffered bytes is, a large one must not get through. */
        damaged = state;
        memset(damaged.context, 0xff, sizeof(damaged.context));
        CHECK(!digest_state_is_usable(&damaged));
        memset(&damaged, 0, sizeof(damaged));
        CHECK(!digest_state_is_usable(&damaged));
}

static void chains(void) {
        /* printf '<lower> <upper>' | sha256sum */
        Digest lower, upper, chain;
        char text[DIGEST_STRING_MAX];
        CHECK_OK(digest_parse(EMPTY_256, &lower));
        CHECK_OK(digest_parse(ABC_256, &upper));
        digest_chain_id(NULL, &lower, &chain);
        CHECK(digest_equal(&chain, &lower));
        digest_chain_id(&chain, &upper, &chain);
        CHECK_STRING(digest_to_string(&chain, text),
                     "sha256:a893da35bd22286079f2f3931516d3423eb9b4945f2379e0f8a501ec3d665dd6");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(known_answers),
                CHECK_CASE(little_is_hashed_alike),
                CHECK_CASE(syntax),
                CHECK_CASE(equality),
                CHECK_CASE(algorithms_have_names_and_sizes),
                CHECK_CASE(a_saved_state_goes_on),
                CHECK_CASE(damaged_states_are_refused),
                CHECK_CASE(chains),
                {},
        });
}
