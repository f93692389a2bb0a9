/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-statistics.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/oci-output.h"

/* A file that is not there belongs to a controller that is not: nothing is counted. */
static uint64_t read_number(int cgroup, const char *file) {
        _cleanup_free_ char *text = NULL;
        uint64_t number = 0;
        if (fd_read_line_at(cgroup, file, &text) < 0)
                return 0;
        if (string_equal(text, "max"))
                return UINT64_MAX;
        return string_to_uint64(text, UINT64_MAX, &number) < 0 ? 0 : number;
}

/* "key value" in one line of many. */
static uint64_t find_number(const char *text, const char *key) {
        uint64_t number = 0;
        while (text && *text) {
                const char *value = string_after(text, key);
                if (value && *value == ' ') {
                        char digits[24] = "";
                        (void) snprintf(digits, sizeof(digits), "%.*s", (int) strcspn(value + 1, "\n"),
                                        value + 1);
                        return string_to_uint64(digits, UINT64_MAX, &number) < 0 ? 0 : number;
                }
                text = strchr(text, '\n');
                text = text ? text + 1 : NULL;
        }
        return 0;
}

static int add_number(json_object *object, const char *key, uint64_t number) {
        return oci_output_add(object, key, json_object_new_uint64(number));
}

/* An empty object that is a member of another one. */
static json_object *add_object(json_object *object, const char *key) {
        json_object *child = json_object_new_object();
        return oci_output_add(object, key, child) < 0 ? NULL : child;
}

static int add_cpu(json_object *out, int cgroup) {
        _cleanup_free_ char *text = NULL;
        json_object *cpu = add_object(out, "cpu");
        json_object *usage = cpu ? add_object(cpu, "usage") : NULL;
        json_object *throttling = usage ? add_object(cpu, "throttling") : NULL;
        if (!throttling)
                return -ENOMEM;
        (void) fd_read_line_at(cgroup, "cpu.stat", &text);
        int r;
        if ((r = add_number(usage, "total", find_number(text, "usage_usec") * 1000)) < 0 ||
            (r = add_number(usage, "kernel", find_number(text, "system_usec") * 1000)) < 0 ||
            (r = add_number(usage, "user", find_number(text, "user_usec") * 1000)) < 0 ||
            (r = add_number(throttling, "periods", find_number(text, "nr_periods"))) < 0 ||
            (r = add_number(throttling, "throttledPeriods", find_number(text, "nr_throttled"))) < 0)
                return r;
        return add_number(throttling, "throttledTime", find_number(text, "throttled_usec") * 1000);
}

static int add_entry(json_object *out, const char *key, uint64_t limit, uint64_t usage, uint64_t failures) {
        json_object *entry = add_object(out, key);
        int r;
        if (!entry)
                return -ENOMEM;
        if ((r = add_number(entry, "limit", limit)) < 0 || (r = add_number(entry, "usage", usage)) < 0)
                return r;
        return add_number(entry, "failcnt", failures);
}

static int add_raw(json_object *out, char *text) {
        json_object *raw = add_object(out, "raw");
        char *line;
        int r = raw ? 0 : -ENOMEM;
        while (r >= 0 && (line = strsep(&text, "\n"))) {
                uint64_t number;
                char *value = strchr(line, ' ');
                if (!value || string_to_uint64(value + 1, UINT64_MAX, &number) < 0)
                        continue;
                *value = '\0';
                r = add_number(raw, line, number);
        }
        return r;
}

static uint64_t add_saturated(uint64_t a, uint64_t b) {
        return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What is called swap there is memory and swap together. */
static int add_memory(json_object *out, int cgroup) {
        _cleanup_free_ char *text = NULL, *events = NULL;
        json_object *memory = add_object(out, "memory");
        if (!memory)
                return -ENOMEM;
        (void) fd_read_line_at(cgroup, "memory.stat", &text);
        (void) fd_read_line_at(cgroup, "memory.events", &events);
        uint64_t usage = read_number(cgroup, "memory.current"), limit = read_number(cgroup, "memory.max");
        uint64_t failures = find_number(events, "max");
        int r;
        if ((r = add_number(memory, "cache", find_number(text, "file"))) < 0 ||
            (r = add_entry(memory, "usage", limit, usage, failures)) < 0 ||
            (r = add_entry(memory, "swap", add_saturated(limit, read_number(cgroup, "memory.swap.max")),
                           add_saturated(usage, read_number(cgroup, "memory.swap.current")), 0)) < 0 ||
            (r = add_entry(memory, "kernel", 0, find_number(text, "kernel"), 0)) < 0 ||
            (r = add_entry(memory, "kernelTCP", 0, find_number(text, "sock"), 0)) < 0)
                return r;
        return add_raw(memory, text);
}

static int add_pids(json_object *out, int cgroup) {
        json_object *pids = add_object(out, "pids");
        uint64_t limit = read_number(cgroup, "pids.max");
        int r = pids ? add_number(pids, "current", read_number(cgroup, "pids.current")) : -ENOMEM;
        return r < 0 || limit == UINT64_MAX ? r : add_number(pids, "limit", limit);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" */
static int add_device(json_object *bytes, json_object *operations, char *line) {
        static const struct {
                const char *key, *name;
                bool counts_bytes;
        } values[] = {
                { "rbytes=", "Read", true }, { "wbytes=", "Write", true }, { "dbytes=", "Discard", true },
                { "rios=", "Read", false },  { "wios=", "Write", false },  { "dios=", "Discard", false },
        };
        unsigned major, minor;
        char *word, *rest = line;
        if (sscanf(line, "%u:%u ", &major, &minor) != 2)
                return 0;
        while ((word = strsep(&rest, " ")))
                for (size_t i = 0; i < ELEMENTS_OF(values); i++) {
                        const char *digits = string_after(word, values[i].key);
                        uint64_t number;
                        if (!digits || string_to_uint64(digits, UINT64_MAX, &number) < 0)
                                continue;
                        json_object *entry = json_object_new_object();
                        if (!entry ||
                            json_object_array_add(values[i].counts_bytes ? bytes : operations, entry) < 0)
                                return -ENOMEM;
                        int r;
                        if ((r = add_number(entry, "major", major)) < 0 ||
                            (r = add_number(entry, "minor", minor)) < 0 ||
                            (r = oci_output_add(entry, "op", json_object_new_string(values[i].name))) < 0 ||
                            (r = add_number(entry, "value", number)) < 0)
                                return r;
                }
        return 0;
}

static int add_io(json_object *out, int cgroup) {
        _cleanup_free_ char *text = NULL;
        json_object *blkio = add_object(out, "blkio");
        if (!blkio)
                return -ENOMEM;
        if (fd_read_line_at(cgroup, "io.stat", &text) < 0 || text[0] == '\0')
                return 0;
        json_object *bytes = json_object_new_array(), *operations = json_object_new_array();
        int r = oci_output_add(blkio, "ioServiceBytesRecursive", bytes);
        int r2 = oci_output_add(blkio, "ioServicedRecursive", operations);
        char *rest = text, *line;
        r = r < 0 ? r : r2;
        while (r >= 0 && (line = strsep(&rest, "\n")))
                r = add_device(bytes, operations, line);
        return r;
}

static int add_page_size(json_object *hugetlb, int cgroup, const char *size) {
        char file[64];
        _cleanup_free_ char *events = NULL;
        json_object *entry = add_object(hugetlb, size);
        if (!entry)
                return -ENOMEM;
        (void) snprintf(file, sizeof(file), "hugetlb.%.16s.current", size);
        int r = add_number(entry, "usage", read_number(cgroup, file));
        (void) snprintf(file, sizeof(file), "hugetlb.%.16s.events", size);
        (void) fd_read_line_at(cgroup, file, &events);
        return r < 0 ? r : add_number(entry, "failcnt", find_number(events, "max"));
}

static int add_hugetlb(json_object *out, int cgroup) {
        static const char end[] = ".current";
        json_object *hugetlb = add_object(out, "hugetlb");
        int fd = fd_duplicate(cgroup), r = hugetlb ? 0 : -ENOMEM;
        DIR *stream = fd < 0 ? NULL : fdopendir(fd);
        if (!stream) {
                fd_close(fd);
                return r;
        }
        struct dirent *entry;
        rewinddir(stream);
        while (r >= 0 && (entry = readdir(stream))) {
                const char *size = string_after(entry->d_name, "hugetlb.");
                if (!size || !string_ends_with(size, end) || strstr(size, "rsvd"))
                        continue;
                char name[32];
                (void) snprintf(name, sizeof(name), "%.*s", (int) (strlen(size) - strlen(end)), size);
                r = add_page_size(hugetlb, cgroup, name);
        }
        (void) closedir(stream);
        return r;
}

int oci_statistics_read(int cgroup, json_object **ret, Fault *fault) {
        _cleanup_json_ json_object *out = json_object_new_object();
        int r;
        if (!out)
                return -ENOMEM;
        if ((r = add_cpu(out, cgroup)) < 0 || !add_object(out, "cpuset") ||
            (r = add_memory(out, cgroup)) < 0 || (r = add_pids(out, cgroup)) < 0 ||
            (r = add_io(out, cgroup)) < 0 || (r = add_hugetlb(out, cgroup)) < 0 ||
            !add_object(out, "intel_rdt") || json_object_object_add(out, "network_interfaces", NULL) < 0)
                return r < 0 ? fault_set_errno(fault, r, "the cgroup's numbers") : -ENOMEM;
        *ret = TAKE_PTR(out);
        return 0;
}
