/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* spec: a config.json to begin with. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/oci-command.h"

#define CAPABILITIES "[ \"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\" ]"

static const char beginning[] =
        "{\n"
        "  \"ociVersion\": \"" OCI_SPECIFICATION_VERSION "\",\n"
        "  \"process\": {\n"
        "    \"terminal\": true,\n"
        "    \"user\": { \"uid\": 0, \"gid\": 0 },\n"
        "    \"args\": [ \"sh\" ],\n"
        "    \"env\": [\n"
        "      \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
        "      \"TERM=xterm\"\n"
        "    ],\n"
        "    \"cwd\": \"/\",\n"
        "    \"capabilities\": {\n"
        "      \"bounding\": " CAPABILITIES ",\n"
        "      \"effective\": " CAPABILITIES ",\n"
        "      \"permitted\": " CAPABILITIES "\n"
        "    },\n"
        "    \"rlimits\": [ { \"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024 } ],\n"
        "    \"noNewPrivileges\": true\n"
        "  },\n"
        "  \"root\": { \"path\": \"rootfs\", \"readonly\": true },\n"
        "  \"hostname\": \"crt\",\n"
        "  \"mounts\": [\n"
        "    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\" },\n"
        "    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
        "      \"options\": [ \"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\" ] },\n";

/* Group 5 (tty) is not mapped in an ordinary user's namespace, and its root may not mount another sysfs than
 * that of its own network namespace. */
static const char pts[] =
        "    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
        "      \"options\": [ \"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\"%s ] "
        "},\n";

static const char middle[] =
        "    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
        "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\" ] },\n"
        "    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
        "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\" ] },\n";

static const char privileged_mounts[] =
        "    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
        "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"ro\" ] },\n"
        "    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
        "      \"options\": [ \"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\" ] }\n";

static const char rootless_mounts[] =
        "    { \"destination\": \"/sys\", \"type\": \"none\", \"source\": \"/sys\",\n"
        "      \"options\": [ \"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"ro\" ] }\n";

static const char privileged_linux[] =
        "    \"resources\": { \"devices\": [ { \"allow\": false, \"access\": \"rwm\" } ] },\n"
        "    \"namespaces\": [\n"
        "      { \"type\": \"pid\" }, { \"type\": \"network\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" "
        "},\n"
        "      { \"type\": \"mount\" }, { \"type\": \"cgroup\" }\n"
        "    ],\n";

static const char rootless_linux[] =
        "    \"uidMappings\": [ { \"containerID\": 0, \"hostID\": %u, \"size\": 1 } ],\n"
        "    \"gidMappings\": [ { \"containerID\": 0, \"hostID\": %u, \"size\": 1 } ],\n"
        "    \"namespaces\": [\n"
        "      { \"type\": \"pid\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" }, { \"type\": \"mount\" "
        "},\n"
        "      { \"type\": \"user\" }, { \"type\": \"cgroup\" }\n"
        "    ],\n";

static const char end[] =
        "    \"maskedPaths\": [\n"
        "      \"/proc/acpi\", \"/proc/asound\", \"/proc/interrupts\", \"/proc/kcore\", \"/proc/keys\",\n"
        "      \"/proc/latency_stats\", \"/proc/timer_list\", \"/proc/timer_stats\", "
        "\"/proc/sched_debug\",\n"
        "      \"/sys/firmware\", \"/sys/devices/virtual/powercap\", \"/proc/scsi\"\n"
        "    ],\n"
        "    \"readonlyPaths\": [\n"
        "      \"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"\n"
        "    ]\n"
        "  }\n"
        "}\n";

static int write_spec(FILE *file, bool rootless) {
        (void) fputs(beginning, file);
        (void) fprintf(file, pts, rootless ? "" : ", \"gid=5\"");
        (void) fputs(middle, file);
        (void) fputs(rootless ? rootless_mounts : privileged_mounts, file);
        (void) fputs("  ],\n  \"linux\": {\n", file);
        if (rootless)
                (void) fprintf(file, rootless_linux, geteuid(), getegid());
        else
                (void) fputs(privileged_linux, file);
        (void) fputs(end, file);
        return fflush(file) == 0 && !ferror(file) ? 0 : -EIO;
}

int oci_spec(const OciOptions *options, Fault *fault) {
        const char *bundle = options->bundle ? options->bundle : ".";
        _cleanup_close_ int directory = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
                return fault_set_errno(fault, -errno, "--bundle: %s", bundle);
        int fd = openat(directory, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST)
                return fault_set(fault, -EEXIST, "File config.json exists. Remove it first");
        if (fd < 0)
                return fault_set_errno(fault, -errno, "config.json");
        FILE *file = fdopen(fd, "we");
        int r = file ? write_spec(file, options->spec_rootless) : -errno;
        if (file)
                (void) fclose(file);
        else
                fd_close(fd);
        if (r < 0)
                (void) unlinkat(directory, "config.json", 0);
        return r < 0 ? fault_set_errno(fault, r, "config.json") : 0;
}
