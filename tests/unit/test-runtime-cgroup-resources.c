/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is written into which file of a cgroup: files of a directory stand for it. */

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "runtime/cgroup-resources.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static const char *const files[] = {
        "memory.max",
        "memory.low",
        "memory.swap.max",
        "memory.current",
        "cpu.weight",
        "cpu.max",
        "cpu.max.burst",
        "cpu.idle",
        "cpuset.cpus",
        "cpuset.mems",
        "pids.max",
        "io.weight",
        "io.max",
        "hugetlb.2MB.max",
        "rdma.max",
        "hugetlb.1GB.max",
        "hugetlb.2MB.rsvd.max",
        "memory.high",
};

typedef struct Expected {
        const char *file, *text;
} Expected;

static int apply(int directory, const char *text, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        RuntimeResources resources;
        int r = json_parse(text, strlen(text), "resources", &document, fault);
        if (r >= 0)
                r = runtime_resources_parse(document, &resources, fault);
        if (r < 0)
                return r;
        r = cgroup_resources_update(directory, &resources, fault);
        runtime_resources_done(&resources);
        return r;
}

/* Empty, for each case anew. */
static int make_cgroup(void) {
        int directory = check_directory();
        for (size_t i = 0; i < ELEMENTS_OF(files); i++)
                check_directory_write(directory, files[i], "");
        return directory;
}

static const struct {
        const char *resources;
        Expected expected[4];
} cases[] = {
        { "{\"memory\":{\"limit\":1000,\"reservation\":500,\"swap\":1500}}",
          { { "memory.max", "1000" }, { "memory.low", "500" }, { "memory.swap.max", "500" } } },
        { "{\"memory\":{\"limit\":1000,\"swap\":1000}}", { { "memory.swap.max", "0" } } },
        { "{\"memory\":{\"limit\":-1,\"swap\":-1}}",
          { { "memory.max", "max" }, { "memory.swap.max", "max" }, { "memory.low", "" } } },
        { "{\"memory\":{\"limit\":1000,\"swap\":-1}}",
          { { "memory.max", "1000" }, { "memory.swap.max", "max" } } },
        { "{\"cpu\":{\"shares\":1024,\"quota\":5000,\"period\":20000,\"burst\":100}}",
          { { "cpu.weight", "100" }, { "cpu.max", "5000 20000" }, { "cpu.max.burst", "100" } } },
        { "{\"cpu\":{\"quota\":5000}}", { { "cpu.max", "5000 100000" }, { "cpu.weight", "" } } },
        { "{\"cpu\":{\"quota\":-1}}", { { "cpu.max", "max 100000" } } },
        { "{\"cpu\":{\"period\":50000}}", { { "cpu.max", "max 50000" } } },
        { "{\"cpu\":{\"idle\":1,\"cpus\":\"0-1\",\"mems\":\"0\"}}",
          { { "cpu.idle", "1" }, { "cpuset.cpus", "0-1" }, { "cpuset.mems", "0" } } },
        { "{\"cpu\":{\"idle\":0}}", { { "cpu.idle", "0" } } },
        { "{\"pids\":{\"limit\":7}}", { { "pids.max", "7" } } },
        { "{\"pids\":{\"limit\":-1}}", { { "pids.max", "max" } } },
        { "{\"blockIO\":{\"weight\":10}}", { { "io.weight", "1" } } },
        { "{\"blockIO\":{\"weight\":1000}}", { { "io.weight", "10000" } } },
        { "{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":16,\"weight\":10}]}}",
          { { "io.weight", "8:16 1" } } },
        { "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":1,\"rate\":7}]}}",
          { { "io.max", "8:1 rbps=7" } } },
        { "{\"blockIO\":{\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":1,\"rate\":0}]}}",
          { { "io.max", "8:1 wiops=max" } } },
        { "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4194304},{\"pageSize\":\"1GB\",\"limit\":0}]"
          "}",
          { { "hugetlb.2MB.max", "4194304" },
            { "hugetlb.2MB.rsvd.max", "4194304" },
            { "hugetlb.1GB.max", "0" } } },
        { "{\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":10000}}}",
          { { "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000" } } },
        { "{\"rdma\":{\"mlx5_1\":{\"hcaObjects\":1}}}", { { "rdma.max", "mlx5_1 hca_object=1" } } },
        { "{\"unified\":{\"memory.high\":\"5\",\"io.max\":\"8:0 rbps=1\"}}",
          { { "memory.high", "5" }, { "io.max", "8:0 rbps=1" } } },
};

static void each_field_becomes_its_file(void) {
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_close_ int cgroup = make_cgroup();
                Fault fault = FAULT_NULL;
                int r = apply(cgroup, cases[i].resources, &fault);
                CHECK_FORMAT(r >= 0, "%s: %s", cases[i].resources, fault_text(&fault, r));
                for (const Expected *e = cases[i].expected; e->file; e++) {
                        _cleanup_free_ char *text = NULL;
                        CHECK_OK(fd_read_line_at(cgroup, e->file, &text));
                        CHECK_FORMAT(strcmp(text, e->text) == 0, "%s: %s has '%s'", cases[i].resources,
                                     e->file, text);
                }
        }
}

static void what_is_not_there_is_said(void) {
        static const struct {
                const char *resources, *sentence;
                int error;
        } wrong[] = {
                { "{\"blockIO\":{\"weight\":10},\"unified\":{\"misc.max\":\"x 1\"}}",
                  "config.linux.resources.unified: this kernel or this cgroup has no misc.max",
                  -EOPNOTSUPP },
                { "{\"hugepageLimits\":[{\"pageSize\":\"4KB\",\"limit\":0}]}",
                  "config.linux.resources.hugepageLimits: this kernel or this cgroup has no hugetlb.4KB.max",
                  -EOPNOTSUPP },
                { "{\"memory\":{\"limit\":10,\"checkBeforeUpdate\":true}}",
                  "config.linux.resources.memory.limit: is below what is in use", -EINVAL },
                { "{\"memory\":{\"kernel\":1}}",
                  "config.linux.resources.memory.kernel: cgroup v2 has nothing like it", -EOPNOTSUPP },
                { "{\"cpu\":{\"realtimeRuntime\":1}}",
                  "config.linux.resources.cpu.realtimeRuntime: cgroup v2 has nothing like it", -EOPNOTSUPP },
                { "{\"network\":{\"classID\":1}}",
                  "config.linux.resources.network.classID: cgroup v2 has nothing like it", -EOPNOTSUPP },
        };
        _cleanup_close_ int cgroup = make_cgroup();
        CHECK_OK(fd_write_file_at(cgroup, "memory.current", "11"));
        for (size_t i = 0; i < ELEMENTS_OF(wrong); i++)
                CHECK_FAULT(apply(cgroup, wrong[i].resources, &fault), wrong[i].error, wrong[i].sentence);
}

/* A limit that is taken back needs no controller. */
static void no_limit_needs_no_file(void) {
        _cleanup_close_ int directory = check_directory();
        for (size_t i = 0; i < ELEMENTS_OF(files); i++)
                (void) unlinkat(directory, files[i], 0);
        Fault fault = FAULT_NULL;
        CHECK_OK(apply(
                directory,
                "{\"memory\":{\"limit\":-1,\"swap\":-1},\"pids\":{\"limit\":-1},\"cpu\":{\"quota\":-1}}",
                &fault));
        CHECK_OK(apply(directory, "{\"cpu\":{\"shares\":0,\"quota\":0},\"memory\":{\"limit\":0}}", &fault));
}

static void controllers_that_are_needed(void) {
        RuntimeResources resources;
        runtime_resources_init(&resources);
        CHECK_INT(cgroup_resources_controllers(&resources), 0);
        resources.pids_limit = -1;
        CHECK_INT(cgroup_resources_controllers(&resources), 0);
        RuntimeDeviceWeight weight = { 8, 0, 10 };
        RuntimePair unified = { "misc.max", "x" };
        resources.device_weights = &weight;
        resources.device_weight_count = 1;
        resources.unified = &unified;
        resources.unified_count = 1;
        unsigned wanted = cgroup_resources_controllers(&resources);
        for (unsigned i = 0; i < CGROUP_RESOURCES_CONTROLLERS; i++) {
                const char *name = cgroup_resources_controller_name(i);
                bool expected = strcmp(name, "io") == 0 || strcmp(name, "misc") == 0;
                CHECK_FORMAT(!!(wanted & (1U << i)) == expected, "%s", name);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(each_field_becomes_its_file),
                CHECK_CASE(what_is_not_there_is_said),
                CHECK_CASE(no_limit_needs_no_file),
                CHECK_CASE(controllers_that_are_needed),
                {},
        });
}
