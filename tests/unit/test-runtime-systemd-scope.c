/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of scopes and slices, and resources as properties of a unit. */

#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/systemd-scope.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static void names(void) {
        static const struct {
                const char *path, *slice, *unit;
        } cases[] = {
                { "machine.slice:libpod:abc", "machine.slice", "libpod-abc.scope" },
                { "a-b.slice::abc", "a-b.slice", "abc.scope" },
                { "-.slice:x:y", "-.slice", "x-y.scope" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *slice = NULL, *unit = NULL;
                CHECK_OK(systemd_scope_parse(cases[i].path, &slice, &unit, NULL));
                CHECK_STRING(slice, cases[i].slice);
                CHECK_STRING(unit, cases[i].unit);
        }
        static const char *const wrong[] = {
                "/a/b",           "a",
                "a.slice:b",      "a.slice:b:",
                "a.slice:b:c:d",  "a:b:c",
                "a/b.slice:b:c",  "-a.slice:b:c",
                "a--b.slice:b:c", "a.slice:b:c.slice",
                "a.slice:b/x:c",  "a.slice:b:../c",
        };
        for (size_t i = 0; i < ELEMENTS_OF(wrong); i++) {
                char *slice = NULL, *unit = NULL;
                CHECK_FORMAT(systemd_scope_parse(wrong[i], &slice, &unit, NULL) == -EINVAL, "'%s'",
                             wrong[i]);
                CHECK(!slice && !unit);
        }
}

static void paths_of_slices(void) {
        static const char *const cases[][2] = {
                { "system.slice", "system.slice" },
                { "a-b.slice", "a.slice/a-b.slice" },
                { "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice" },
                { "-.slice", "" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *path = NULL;
                CHECK_OK(systemd_scope_slice_path(cases[i][0], &path));
                CHECK_STRING(path, cases[i][1]);
        }
}

static int properties_of(const char *rest, RuntimeConfig **ret_config, char ***ret, Fault *fault) {
        char text[1024];
        snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.0\",%s}", rest);
        int r = runtime_config_parse(text, strlen(text), ret_config, fault);
        return r < 0 ? r : systemd_scope_properties(*ret_config, ret, fault);
}

#define RESOURCES(text) "\"linux\":{\"resources\":{" text "}}"

static void resources_as_properties(void) {
        static const struct {
                const char *text, *properties[4];
        } cases[] = {
                { RESOURCES("\"memory\":{\"limit\":100,\"reservation\":50,\"swap\":150}"),
                  { "MemoryMax=t 100", "MemoryLow=t 50", "MemorySwapMax=t 50" } },
                { RESOURCES("\"memory\":{\"limit\":100,\"swap\":100}"),
                  { "MemoryMax=t 100", "MemorySwapMax=t 0" } },
                { RESOURCES("\"memory\":{\"limit\":-1,\"swap\":-1}"),
                  { "MemoryMax=t 18446744073709551615", "MemorySwapMax=t 18446744073709551615" } },
                { RESOURCES("\"cpu\":{\"shares\":1024}"), { "CPUWeight=t 100" } },
                { RESOURCES("\"cpu\":{\"shares\":1024,\"idle\":1}"), { "CPUWeight=t 0" } },
                { RESOURCES("\"cpu\":{\"quota\":20000}"), { "CPUQuotaPerSecUSec=t 200000" } },
                { RESOURCES("\"cpu\":{\"quota\":1}"), { "CPUQuotaPerSecUSec=t 10000" } },
                { RESOURCES("\"cpu\":{\"quota\":-1}"), { "CPUQuotaPerSecUSec=t 18446744073709551615" } },
                { RESOURCES("\"cpu\":{\"quota\":5000,\"period\":10000}"),
                  { "CPUQuotaPeriodUSec=t 10000", "CPUQuotaPerSecUSec=t 500000" } },
                { RESOURCES("\"cpu\":{\"cpus\":\"0-2,9\",\"mems\":\"0\"}"),
                  { "AllowedCPUs=ay 2 7 2", "AllowedMemoryNodes=ay 1 1" } },
                { RESOURCES("\"pids\":{\"limit\":5}"), { "TasksMax=t 5" } },
                { RESOURCES("\"unified\":{\"memory.high\":\"7\",\"cpu.max\":\"max "
                            "50000\",\"misc.max\":\"x\"}"),
                  { "MemoryHigh=t 7", "CPUQuotaPerSecUSec=t 18446744073709551615" } },
                { "\"annotations\":{\"org.systemd.property.X\":\"'a b'\",\"other\":\"x\"}",
                  { "X=? 'a b'" } },
                { "\"linux\":{}", { NULL } },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
                _cleanup_strv_ char **list = NULL;
                Fault fault = FAULT_NULL;
                int r = properties_of(cases[i].text, &config, &list, &fault);
                CHECK_FORMAT(r >= 0, "%s: %s", cases[i].text, fault_text(&fault, r));
                size_t count = 0;
                for (; cases[i].properties[count]; count++)
                        CHECK_FORMAT(list && list[count] &&
                                             strcmp(list[count], cases[i].properties[count]) == 0,
                                     "%s: %s", cases[i].text, list && list[count] ? list[count] : "nothing");
                CHECK_FORMAT(!list || !list[count], "%s: more", cases[i].text);
        }
}

static void what_is_no_property(void) {
        RuntimeConfig *config = NULL;
        char **list = NULL;
        CHECK_FAULT(properties_of("\"annotations\":{\"org.systemd.property.A=t 5 B\":\"x\"}", &config, &list,
                                  &fault),
                    -EINVAL, "config.annotations: org.systemd.property.A=t 5 B names no property");
        config = runtime_config_free(config);
        CHECK_FAULT(
                properties_of(RESOURCES("\"unified\":{\"memory.max\":\"much\"}"), &config, &list, &fault),
                -EINVAL, "config.linux.resources.unified: memory.max: 'much'");
        runtime_config_free(config);
}

static void changes_say_what_is_lifted(void) {
        static const struct {
                const char *text, *properties[4];
        } cases[] = {
                { "{\"memory\":{\"limit\":-1,\"reservation\":-1}}",
                  { "MemoryLow=t 0", "MemoryMax=t 18446744073709551615" } },
                { "{\"memory\":{\"reservation\":7}}", { "MemoryLow=t 7" } },
                { "{\"cpu\":{\"idle\":0}}", { "CPUWeight=t 18446744073709551615" } },
                { "{\"cpu\":{\"idle\":0,\"shares\":1024}}", { "CPUWeight=t 100" } },
                { "{\"pids\":{\"limit\":-1},\"unified\":{\"memory.high\":\"max\"}}",
                  { "TasksMax=t 18446744073709551615", "MemoryHigh=t 18446744073709551615" } },
                { "{\"cpu\":{\"burst\":5}}", { NULL } },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                json_object *document = NULL;
                _cleanup_strv_ char **properties = NULL;
                RuntimeResources resources;
                runtime_resources_init(&resources);
                CHECK_OK(json_parse(cases[i].text, strlen(cases[i].text), "resources", &document, NULL));
                CHECK_OK(runtime_resources_parse(document, &resources, NULL));
                CHECK_OK(systemd_scope_changes(&resources, &properties, NULL));
                for (size_t k = 0; k == 0 || cases[i].properties[k - 1]; k++)
                        CHECK(string_equal(properties ? properties[k] : NULL, cases[i].properties[k]));
                runtime_resources_done(&resources);
                json_document_free(document);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(names),
                CHECK_CASE(paths_of_slices),
                CHECK_CASE(resources_as_properties),
                CHECK_CASE(what_is_no_property),
                CHECK_CASE(changes_say_what_is_lifted),
                {},
        });
}
