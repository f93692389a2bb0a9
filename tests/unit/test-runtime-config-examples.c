/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/runtime-config.h"
#include "tests/unit/check.h"

/* The specification's own test data; what crt does with each. */
static const struct {
        const char *name;
        const char *sentence; /* NULL: parses */
} specification[] = {
        { "good/minimal.json", NULL },
        { "good/minimal-for-start.json", NULL },
        { "good/linux-netdevice.json", NULL },
        { "good/linux-rdma.json", NULL },
        { "good/spec-example.json", NULL },
        { "good/freebsd-minimal.json", NULL },
        { "good/freebsd-example.json", NULL },
        { "good/zos-minimal.json", NULL },
        { "good/zos-example.json", NULL },
        { "bad/invalid-json.json", "config: object property name separator ':' expected at byte 1" },
        { "bad/linux-hugepage.json",
          "config.linux.resources.hugepageLimits[0].pageSize: '64kB' is not like 2MB" },
        { "bad/linux-netdevice.json", "config.linux.netDevices.eth0.name: must be a string" },
        { "bad/linux-rdma.json", "config.linux.resources.rdma.mlx5_1.hcaHandles: must be an integer" },
        { "bad/freebsd-vnet-disable.json", "config.freebsd.jail.vnet: 'disable' is not known" },
};

static int open_specification_data(void) {
        char path[4096];
        const char *slash = strrchr(__FILE__, '/');
        snprintf(path, sizeof(path), "%.*s/../data/runtime-spec", (int) (slash - __FILE__), __FILE__);
        return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void meets_the_specifications_own_examples(void) {
        _cleanup_close_ int directory = open_specification_data();
        CHECK_OK(directory);
        for (size_t i = 0; i < ELEMENTS_OF(specification); i++) {
                const char *name = specification[i].name, *sentence = specification[i].sentence;
                _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
                CHECK_FORMAT(fd >= 0, "%s: %s", name, strerror(errno));
                RuntimeConfig *config = NULL;
                Fault fault = FAULT_NULL;
                int r = runtime_config_parse_fd(fd, &config, &fault);
                CHECK_FORMAT((r >= 0) == !sentence, "%s: %s", name, fault_text(&fault, r));
                if (sentence && !strstr(name, "invalid-json"))
                        CHECK_STRING(fault_text(&fault, r), sentence);
                runtime_config_free(config);
                fault_done(&fault);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(meets_the_specifications_own_examples),
                {},
        });
}
