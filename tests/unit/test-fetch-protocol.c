/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/strv.h"
#include "services/images/fetch-protocol.h"
#include "tests/unit/check.h"

static const FetchMessage samples[] = {
        { .type = FETCH_OPEN,
          .flags = 3,
          .host = "r.example:5000",
          .repository = "a/b",
          .username = "u",
          .password = "" },
        { .type = FETCH_RESOLVE, .request = 1, .name = "latest" },
        { .type = FETCH_GET,
          .request = 2,
          .flags = 16,
          .digest = "sha256:0",
          .size = UINT64_MAX,
          .offset = 7 },
        { .type = FETCH_RESOLVED, .request = 3, .digest = "sha256:1", .media_type = "a/b", .size = 9 },
        { .type = FETCH_PROGRESS, .request = 4, .offset = 1ULL << 40 },
        { .type = FETCH_WRITTEN, .request = 5, .media_type = "" },
        { .type = FETCH_FAILED, .request = 6, .error = 2, .sentence = "it is not there" },
};

static bool same(const char *a, const char *b) {
        return string_equal(a ? a : "", b ? b : "");
}

static void every_message_comes_back(void) {
        for (size_t i = 0; i < ELEMENTS_OF(samples); i++) {
                char buffer[512];
                FetchMessage got;
                const FetchMessage *sent = &samples[i];
                ssize_t size = fetch_message_encode(sent, buffer, sizeof(buffer));
                CHECK(size > 0);
                CHECK_OK(fetch_message_decode(buffer, (size_t) size, &got));
                CHECK(got.type == sent->type && got.request == sent->request && got.flags == sent->flags &&
                      got.error == sent->error && got.size == sent->size && got.offset == sent->offset);
                CHECK(same(got.host, sent->host) && same(got.repository, sent->repository) &&
                      same(got.username, sent->username) && same(got.password, sent->password) &&
                      same(got.name, sent->name) && same(got.digest, sent->digest) &&
                      same(got.media_type, sent->media_type) && same(got.sentence, sent->sentence));
        }
}

static void every_prefix_and_every_surplus_is_refused(void) {
        for (size_t i = 0; i < ELEMENTS_OF(samples); i++) {
                char buffer[512] = { 0 };
                FetchMessage got;
                ssize_t size = fetch_message_encode(&samples[i], buffer, sizeof(buffer));
                for (size_t length = 0; length < (size_t) size; length++) {
                        /* Exactly so large, for the address sanitizer. */
                        char *copy = malloc(length + 1);
                        memcpy(copy, buffer, length);
                        int r = fetch_message_decode(copy, length, &got);
                        free(copy);
                        CHECK_ERROR(r, -EBADMSG);
                }
                CHECK_ERROR(fetch_message_decode(buffer, (size_t) size + 1, &got), -EBADMSG);
        }
}

static void strings_end_where_they_say(void) {
        char buffer[64];
        FetchMessage got;
        ssize_t size = fetch_message_encode(&(FetchMessage){ .type = FETCH_RESOLVE, .name = "abc" }, buffer,
                                            sizeof(buffer));
        buffer[size - 2] = '\0';
        CHECK_ERROR(fetch_message_decode(buffer, (size_t) size, &got), -EBADMSG);
        buffer[size - 2] = 'c';
        buffer[size - 1] = 'd';
        CHECK_ERROR(fetch_message_decode(buffer, (size_t) size, &got), -EBADMSG);
        buffer[0] = _FETCH_TYPE_MAX;
        CHECK_ERROR(fetch_message_decode(buffer, (size_t) size, &got), -EBADMSG);
}

static void what_does_not_fit_is_not_sent(void) {
        char buffer[16];
        CHECK_ERROR(fetch_message_encode(&(FetchMessage){ .type = FETCH_RESOLVE, .name = "long enough" },
                                         buffer, sizeof(buffer)),
                    -EMSGSIZE);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(every_message_comes_back),
                CHECK_CASE(every_prefix_and_every_surplus_is_refused),
                CHECK_CASE(strings_end_where_they_say),
                CHECK_CASE(what_does_not_fit_is_not_sent),
                {},
        });
}
