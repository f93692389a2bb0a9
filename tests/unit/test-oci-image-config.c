/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-image-config.h"

#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/strv.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" SAMPLE_DIGEST "\"]}"
#define IMAGE(more) "{\"architecture\":\"amd64\",\"os\":\"linux\"," ROOTFS more "}"
#define RUN(members) IMAGE(",\"config\":{" members "}")

static int parse(const char *text, OciImageConfig *ret, Fault *fault) {
        return oci_image_config_parse(text, strlen(text), ret, fault);
}

static void reads_every_member(void) {
        _cleanup_(oci_image_config_done) OciImageConfig c = { 0 };
        CHECK_NO_FAULT(
                parse(IMAGE(",\"variant\":\"v3\",\"created\":\"2024-01-01T00:00:00Z\",\"author\":\"A\","
                            "\"config\":{\"User\":\"1000:1000\",\"WorkingDir\":\"/srv\","
                            "\"Env\":[\"PATH=/bin\",\"EMPTY=\"],\"Entrypoint\":[\"/entry\"],"
                            "\"Cmd\":[\"a\",\"b\"],\"ExposedPorts\":{\"80/tcp\":{},\"53\":{}},"
                            "\"Volumes\":{\"/data\":{}},\"Labels\":{\"k\":\"v\"},"
                            "\"StopSignal\":\"SIGINT\",\"ArgsEscaped\":true,"
                            "\"Healthcheck\":{\"Test\":[\"CMD\"]},\"Shell\":[\"x\"]},"
                            "\"history\":[{\"created_by\":\"x\"},{\"empty_layer\":true}]"),
                      &c, &fault));
        CHECK_STRING(c.platform.variant, "v3");
        CHECK_STRING(c.created, "2024-01-01T00:00:00Z");
        CHECK_STRING(c.author, "A");
        CHECK_STRING(c.user, "1000:1000");
        CHECK_STRING(c.working_directory, "/srv");
        CHECK_STRING(c.stop_signal, "SIGINT");
        CHECK_INT(strv_length(c.environment), 2);
        CHECK_STRING(c.environment[1], "EMPTY=");
        CHECK_STRING(c.entrypoint[0], "/entry");
        CHECK_STRING(c.command[1], "b");
        CHECK_INT(strv_length(c.exposed_ports), 2);
        CHECK_STRING(c.exposed_ports[0], "80/tcp");
        CHECK_STRING(c.volumes[0], "/data");
        CHECK_STRING(oci_annotations_get(c.labels, "k"), "v");
        CHECK(c.args_escaped && c.history_is_consistent);
        CHECK_INT(c.diff_id_count, 1);
}

/* Docker and older builders write null and "" for what is not set. */
static void nulls_are_absent(void) {
        _cleanup_(oci_image_config_done) OciImageConfig c = { 0 }, bare = { 0 };
        CHECK_NO_FAULT(parse(RUN("\"User\":\"\",\"WorkingDir\":\"\",\"Env\":null,\"Entrypoint\":null,"
                                 "\"Cmd\":null,\"ExposedPorts\":null,\"Volumes\":null,\"Labels\":null,"
                                 "\"StopSignal\":null"),
                             &c, &fault));
        CHECK(!c.user && !c.working_directory && !c.environment && !c.entrypoint && !c.command &&
              !c.exposed_ports && !c.volumes && !c.labels && !c.stop_signal);
        CHECK_NO_FAULT(parse("{\"architecture\":\"amd64\",\"os\":\"linux\","
                             "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}",
                             &bare, &fault));
        CHECK_INT(bare.diff_id_count, 0);
}

static void labels_of_ours_are_dropped(void) {
        _cleanup_(oci_image_config_done) OciImageConfig c = { 0 };
        CHECK_NO_FAULT(
                parse(RUN("\"Labels\":{\"org.crt.gc.root\":\"x\",\"org.example\":\"y\"}"), &c, &fault));
        CHECK_INT(strv_length(c.labels), 2);
        CHECK_STRING(c.labels[0], "org.example");
}

static void history_is_only_compared(void) {
        _cleanup_(oci_image_config_done) OciImageConfig fewer = { 0 }, none = { 0 };
        CHECK_NO_FAULT(parse(IMAGE(",\"history\":[{\"empty_layer\":true}]"), &fewer, &fault));
        CHECK(!fewer.history_is_consistent);
        CHECK_NO_FAULT(parse(IMAGE(",\"history\":[]"), &none, &fault));
        CHECK(none.history_is_consistent);
}

static void refusals_name_the_place(void) {
        static const char *const cases[][2] = {
                { "[]", "image: must be an object" },
                { "{\"os\":\"linux\"," ROOTFS "}", "image.architecture: is missing" },
                { "{\"architecture\":\"amd64\"," ROOTFS "}", "image.os: is missing" },
                { "{\"architecture\":\"amd64\",\"os\":\"linux\"}", "image.rootfs: is missing" },
                { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{}}", "image.rootfs.type" },
                { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"x\"}}",
                  "image.rootfs.type: must be \"layers\"" },
                { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                  "\"diff_ids\":[\"" SAMPLE_DIGEST "\",\"md5:0\"]}}",
                  "image.rootfs.diff_ids[1]: unknown algorithm 'md5'" },
                { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                  "\"diff_ids\":[5]}}",
                  "image.rootfs.diff_ids[0]: must be a string" },
                { IMAGE(",\"config\":[]"), "image.config: must be an object" },
                { RUN("\"Env\":[\"A=1\",\"B=2\",\"C\"]"), "image.config.Env[2]: must be NAME=value" },
                { RUN("\"Env\":[\"=x\"]"), "image.config.Env[0]: must be NAME=value" },
                { RUN("\"Env\":[\"A=\\u0000\"]"), "NUL in a string" },
                { RUN("\"Env\":\"A=1\""), "image.config.Env: must be an array" },
                { RUN("\"Cmd\":\"sh\""), "image.config.Cmd: must be an array" },
                { RUN("\"Entrypoint\":[null]"), "image.config.Entrypoint[0]: must be a string" },
                { RUN("\"ExposedPorts\":[\"80\"]"), "image.config.ExposedPorts: must be an object" },
                { RUN("\"Volumes\":{\"\":{}}"), "image.config.Volumes: has a key that is empty" },
                { RUN("\"Labels\":{\"k\":1}"), "image.config.Labels.k: must be a string" },
                { RUN("\"User\":\"a\\nb\""), "image.config.User: has control characters" },
                { RUN("\"User\":0"), "image.config.User: must be a string" },
                { RUN("\"ArgsEscaped\":1"), "image.config.ArgsEscaped: must be true or false" },
                { IMAGE(",\"history\":{}"), "image.history: must be an array" },
                { IMAGE(",\"history\":[{\"empty_layer\":1}]"), "image.history[0].empty_layer" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                OciImageConfig c = { 0 };
                CHECK_FAULT(parse(cases[i][0], &c, &fault), -EBADMSG, cases[i][1]);
                CHECK(!c.diff_ids && !c.platform.os);
        }
}

static void layers_have_a_limit(void) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        fputs("{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
              out);
        for (unsigned i = 0; i <= LIMIT_MANIFEST_LAYERS; i++)
                fprintf(out, "%s\"%s\"", i > 0 ? "," : "", SAMPLE_DIGEST);
        fputs("]}}", out);
        fclose(out);
        OciImageConfig c = { 0 };
        CHECK_FAULT(parse(text, &c, &fault), -EBADMSG, "image.rootfs.diff_ids: has 501 entries");
}

static void chain_ids_follow_the_layers(void) {
        _cleanup_(oci_image_config_done) OciImageConfig c = { 0 };
        CHECK_NO_FAULT(parse("{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
                             "\"diff_ids\":[\"" SAMPLE_DIGEST "\",\"" SAMPLE_DIGEST "\",\"" SAMPLE_DIGEST
                             "\"]}}",
                             &c, &fault));
        _cleanup_free_ Digest *chain = NULL;
        Digest second, third;
        size_t count = 0;
        CHECK_OK(oci_image_config_chain_ids(&c, &chain, &count));
        CHECK_INT(count, 3);
        CHECK(digest_equal(&chain[0], &c.diff_ids[0]));
        digest_chain_id(&c.diff_ids[0], &c.diff_ids[1], &second);
        digest_chain_id(&second, &c.diff_ids[2], &third);
        CHECK(digest_equal(&chain[1], &second) && digest_equal(&chain[2], &third));
        CHECK(!digest_equal(&chain[1], &chain[2]));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reads_every_member),
                CHECK_CASE(nulls_are_absent),
                CHECK_CASE(labels_of_ours_are_dropped),
                CHECK_CASE(history_is_only_compared),
                CHECK_CASE(refusals_name_the_place),
                CHECK_CASE(layers_have_a_limit),
                CHECK_CASE(chain_ids_follow_the_layers),
                {},
        });
}
