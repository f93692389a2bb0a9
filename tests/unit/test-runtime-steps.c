/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can be seen of the runtime without making a container: the order of init's steps, what preparing
 * refuses, the conversions, what is believed of init's reports. */

#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"
#include "runtime/container.h"
#include "runtime/home-directory.h"
#include "runtime/init-report.h"
#include "runtime/init-steps.h"
#include "tests/unit/check.h"

static size_t position(const char *name, size_t from) {
        const char *const *names = init_steps_names();
        for (size_t i = 0; names[i]; i++)
                if (i >= from && strcmp(names[i], name) == 0)
                        return i;
        CHECK_FORMAT(false, "there is no step '%s'", name);
        return 0;
}

static void steps_are_in_an_order_that_is_safe(void) {
        static const char *const order[][2] = {
                { "user namespace", "mounts" },
                { "root file system", "mounts" },
                { "time namespace", "own process" },
                { "masked paths", "hooks" },
                { "hooks", "read-only root" },
                { "memory policy", "limits" },
                { "mounts", "devices" },
                { "mounts", "masked paths" },
                { "devices", "read-only root" },
                { "sysctl", "masked paths" },
                { "masked paths", "read-only root" },
                { "read-only root", "descriptors" },
                { "descriptors", "limits" },
                { "no new privileges", "user" },
                { "limits", "user" },
                { "user", "program" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(order); i++)
                CHECK_FORMAT(position(order[i][0], 0) < position(order[i][1], 0), "%s is not before %s",
                             order[i][0], order[i][1]);
        /* The host's tree is gone, and every descriptor closed, before the container's own cwd is entered.
         */
        CHECK(position("working directory", position("descriptors", 0)) > position("descriptors", 0));
        CHECK(position("capabilities", position("user", 0)) > position("user", 0));
}

#define PROCESS "\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]%s}"

static void preparing_refuses_before_anything_is_made(void) {
        static const struct {
                const char *process, *rest, *sentence;
        } cases[] = {
                { "", "\"linux\":{}",
                  "config.root.path: needs a mount namespace of the container's own in linux.namespaces" },
                { "", "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"intelRdt\":{\"closID\":\"x\"}}",
                  "config.root: is missing" },
                { "", "\"vm\":{\"x\":1}", "config.vm: crt-oci runs no virtual machines" },
                { "", "\"windows\":{\"x\":1}", "config.windows: is for another platform" },
                { "",
                  "\"hooks\":{\"prestart\":[{\"path\":\"/x\"}]},\"root\":{\"path\":\"/\"},"
                  "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}",
                  "config.hooks: this caller runs no hooks" },
                { "", "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}", "config.root: is missing" },
                { "",
                  "\"root\":{\"path\":\"/no/such/root\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}",
                  "config.root.path: /no/such/root: No such file or directory" },
                { "",
                  "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"ipc\",\"path\":\"/dev/"
                  "null\"}]}",
                  "config.linux.namespaces: /dev/null is not a ipc namespace" },
                { "",
                  "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"sysctl\":{\"kernel.panic\":\"1\"}}",
                  "config.linux.sysctl.kernel.panic: belongs to no namespace and would change the host" },
                { "",
                  "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"sysctl\":{\"net.core.somaxconn\":"
                  "\"1\"}}",
                  "config.linux.sysctl.net.core.somaxconn: would change the host: it needs a network "
                  "namespace in "
                  "linux.namespaces" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[1024];
                ContainerRequest request = CONTAINER_REQUEST_INIT;
                RuntimeConfig *config = NULL;
                Container *container = NULL;
                Fault fault = FAULT_NULL;
                snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\"," PROCESS ",%s}", cases[i].process,
                         cases[i].rest);
                int r = runtime_config_parse(text, strlen(text), &config, &fault);
                CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
                request.config = config;
                r = container_create(&request, &container, &fault);
                CHECK(r < 0 && !container);
                CHECK_STRING(fault_text(&fault, r), cases[i].sentence);
                fault_done(&fault);
                runtime_config_free(config);
        }
}

static void shares_become_weights(void) {
        static const struct {
                uint64_t shares;
                unsigned weight;
        } cases[] = { { 0, 1 }, { 2, 1 }, { 1024, 100 }, { 262144, 10000 }, { UINT64_MAX, 10000 } };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                CHECK_INT(cgroup_resources_weight_of_shares(cases[i].shares), cases[i].weight);
        for (uint64_t shares = 2; shares < 262144; shares += 97)
                CHECK(cgroup_resources_weight_of_shares(shares) <=
                      cgroup_resources_weight_of_shares(shares + 97));
}

static void only_controllers_that_are_needed_are_asked_for(void) {
        static const struct {
                const char *resources, *controller;
        } cases[] = {
                { "{}", NULL },
                { "{\"devices\":[{\"allow\":false}]}", NULL },
                { "{\"pids\":{\"limit\":5}}", "pids" },
                { "{\"pids\":{\"limit\":-1},\"memory\":{\"limit\":-1},\"cpu\":{\"quota\":-1}}", NULL },
                { "{\"memory\":{\"limit\":5}}", "memory" },
                { "{\"cpu\":{\"quota\":5}}", "cpu" },
                { "{\"cpu\":{\"cpus\":\"0\"}}", "cpuset" },
                { "{\"blockIO\":{\"weight\":50}}", "io" },
                { "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":1}]}", "hugetlb" },
                { "{\"unified\":{\"memory.high\":\"1\"}}", "memory" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[512];
                RuntimeConfig *config = NULL;
                snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"linux\":{\"resources\":%s}}",
                         cases[i].resources);
                CHECK_OK(runtime_config_parse(text, strlen(text), &config, NULL));
                unsigned wanted = cgroup_resources_controllers(&config->resources), expected = 0;
                for (unsigned bit = 0; bit < CGROUP_RESOURCES_CONTROLLERS; bit++)
                        if (cases[i].controller &&
                            strcmp(cgroup_resources_controller_name(bit), cases[i].controller) == 0)
                                expected = 1U << bit;
                CHECK_FORMAT(wanted == expected, "%s: %#x, expected %#x", cases[i].resources, wanted,
                             expected);
                runtime_config_free(config);
        }
}

static void cgroups_have_a_place(void) {
        static const struct {
                const char *linux_section, *path;
        } cases[] = {
                { "{}", "crt/id" },
                { "{\"cgroupsPath\":\"\"}", "crt/id" },
                { "{\"cgroupsPath\":\"//a/b\"}", "a/b" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[256];
                RuntimeConfig *config = NULL;
                _cleanup_free_ char *path = NULL;
                snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"linux\":%s}",
                         cases[i].linux_section);
                CHECK_OK(runtime_config_parse(text, strlen(text), &config, NULL));
                CHECK_OK(cgroup_choose_path(config, "id", &path, NULL));
                CHECK_STRING(path, cases[i].path);
                runtime_config_free(config);
        }
}

static void a_report_from_the_container_is_not_believed_blindly(void) {
        InitReport report;
        memset(&report, 'x', sizeof(report));
        report.error = 5;
        Fault fault = FAULT_NULL;
        CHECK_ERROR(init_report_to_fault(&report, &fault), -EIO);
        CHECK(strlen(fault.text) < sizeof(report));
        fault_done(&fault);

        report = init_report_make(INIT_REPORT_FAILED, "mounts", -ENOENT, "config.mounts[3]: gone");
        CHECK_ERROR(init_report_to_fault(&report, &fault), -ENOENT);
        CHECK_STRING(fault.text, "mounts: config.mounts[3]: gone");
        fault_done(&fault);
        CHECK(sizeof(InitReport) <= 4096);
}

static void the_home_directory_is_found_in_any_passwd_file(void) {
        static const struct {
                const char *passwd;
                const char *home;
        } cases[] = {
                { "root:x:0:0::/root:/bin/sh\nbob:x:7:7:Bob:/home/bob:/bin/sh", "/home/bob" },
                { "bob:x:7:7:Bob:/home/bob:/bin/sh\nother:x:7:7::/second:/bin/sh\n", "/home/bob" },
                { "bob:x:7:7:Bob:relative:/bin/sh\n", "/" },
                { "bob:x:7:7:Bob:/home/bob\n", "/" },
                { "bob:x:77:7:Bob:/home/bob:\nbob:x: 7:7::/x:/y\nbob:x:-7:7::/x:/y", "/" },
                { ":::::::\n\n\n:", "/" },
                { "", "/" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *text = strdup(cases[i].passwd), *home = NULL;
                CHECK_OK(home_directory_find(text, 7, &home));
                CHECK_STRING(home, cases[i].home);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(steps_are_in_an_order_that_is_safe),
                CHECK_CASE(preparing_refuses_before_anything_is_made),
                CHECK_CASE(shares_become_weights),
                CHECK_CASE(the_home_directory_is_found_in_any_passwd_file),
                CHECK_CASE(only_controllers_that_are_needed_are_asked_for),
                CHECK_CASE(cgroups_have_a_place),
                CHECK_CASE(a_report_from_the_container_is_not_believed_blindly),
                {},
        });
}
