/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/intel-rdt.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define RESCTRL_MAGIC 0x7655821
#define MONITORING "mon_groups"

static int open_if_resctrl(const char *path) {
        struct statfs file_system;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstatfs(fd, &file_system) < 0)
                return -errno;
        return file_system.f_type == RESCTRL_MAGIC ? TAKE_FD(fd) : -ENOENT;
}

/* At its usual place, or where else somebody has mounted it. */
static int open_resctrl(void) {
        int fd = open_if_resctrl("/sys/fs/resctrl");
        if (fd >= 0)
                return fd;
        FILE *mounts = setmntent("/proc/self/mounts", "re");
        struct mntent *entry;
        while (mounts && fd < 0 && (entry = getmntent(mounts)))
                if (string_equal(entry->mnt_type, "resctrl"))
                        fd = open_if_resctrl(entry->mnt_dir);
        if (mounts)
                (void) endmntent(mounts);
        return fd;
}

int intel_rdt_prepare(ContainerPlan *plan, Fault *fault) {
        if (!plan->config->intel_rdt.given)
                return 0;
        if (!plan->config->intel_rdt.clos_id && !plan->request->id)
                return fault_set(fault, -EOPNOTSUPP, "config.linux.intelRdt.closID: is missing");
        plan->resctrl_fd = open_resctrl();
        return plan->resctrl_fd < 0 ? fault_set(fault, -EOPNOTSUPP,
                                                "config.linux.intelRdt: no resctrl file system is mounted")
                                    : 0;
}

static bool has_schemata(const RuntimeIntelRdt *rdt) {
        return !string_is_empty(rdt->l3_schema) || rdt->bandwidth || (rdt->schemata && rdt->schemata[0]);
}

/* The lines in their order; those for memory bandwidth come from memBwSchema if there is one. */
static int build_schemata(const RuntimeIntelRdt *rdt, char ***ret) {
        _cleanup_strv_ char **lines = NULL;
        _cleanup_free_ char *copy = strdup(rdt->l3_schema ? rdt->l3_schema : "");
        char *state = NULL;
        int r = copy ? 0 : -ENOMEM;
        for (char *line = copy ? strtok_r(copy, "\n", &state) : NULL; line && r >= 0;
             line = strtok_r(NULL, "\n", &state))
                if (!rdt->bandwidth || !string_after(line, "MB:"))
                        r = strv_append(&lines, line);
        if (r >= 0 && rdt->bandwidth)
                r = strv_append(&lines, rdt->bandwidth);
        STRV_FOREACH (line, rdt->schemata)
                if (r >= 0)
                        r = strv_append(&lines, line);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(lines);
        return 0;
}

static bool has_line(const char *text, const char *line) {
        size_t length = strlen(line);
        for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
                p += strspn(p, " ");
                if (strncmp(p, line, length) == 0 && (p[length] == '\n' || p[length] == '\0'))
                        return true;
        }
        return false;
}

/* A class that was there before is not changed: others may be in it. */
static int apply_schemata(int class, const RuntimeIntelRdt *rdt, bool made, Fault *fault) {
        _cleanup_strv_ char **lines = NULL;
        _cleanup_free_ char *current = NULL;
        int r = build_schemata(rdt, &lines);
        if (r >= 0 && !made)
                r = fd_read_line_at(class, "schemata", &current);
        if (r < 0)
                return fault_set_errno(fault, r, "config.linux.intelRdt");
        STRV_FOREACH (line, lines) {
                if (current && !has_line(current, line))
                        return fault_set(
                                fault, -EBUSY,
                                "config.linux.intelRdt.closID: the class %s is there already, without "
                                "'%s'",
                                rdt->clos_id, line);
                _cleanup_free_ char *whole = NULL;
                if (current)
                        continue;
                if (asprintf(&whole, "%s\n", line) < 0)
                        return -ENOMEM;
                r = fd_write_file_at(class, "schemata", whole);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.linux.intelRdt: the schema '%s'", line);
        }
        return 0;
}

/* Only a class that is named with nothing else has to be there already. */
static int open_class(int resctrl, const RuntimeIntelRdt *rdt, const char *id, bool *ret_made,
                      Fault *fault) {
        const char *name = rdt->clos_id ? rdt->clos_id : id;
        bool may_be_made = !rdt->clos_id || has_schemata(rdt);
        *ret_made = false;
        if (may_be_made && mkdirat(resctrl, name, 0755) >= 0)
                *ret_made = true;
        else if (may_be_made && (errno != EEXIST || !rdt->clos_id))
                return fault_set_errno(fault, -errno, "config.linux.intelRdt: making the class %s", name);
        int fd = path_open(resctrl, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "config.linux.intelRdt.closID: %s", name) : fd;
}

static int monitor(int class, const char *id, const char *pid, Fault *fault) {
        char path[512];
        _cleanup_close_ int groups = openat(class, MONITORING, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (groups < 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.intelRdt.enableMonitoring: this machine monitors nothing");
        if (mkdirat(groups, id, 0755) < 0 && errno != EEXIST)
                return fault_set_errno(fault, -errno, "config.linux.intelRdt.enableMonitoring");
        (void) snprintf(path, sizeof(path), "%.400s/tasks", id);
        int r = fd_write_file_at(groups, path, pid);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.intelRdt.enableMonitoring") : 0;
}

int intel_rdt_join_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id, pid_t pid, bool *ret_made,
                      Fault *fault) {
        char text[32];
        _cleanup_close_ int class = open_class(resctrl, rdt, id, ret_made, fault);
        if (class < 0)
                return class;
        int r = has_schemata(rdt) ? apply_schemata(class, rdt, *ret_made, fault) : 0;
        if (r < 0)
                return r;
        (void) snprintf(text, sizeof(text), "%i", pid);
        r = fd_write_file_at(class, "tasks", text);
        if (r < 0)
                return fault_set_errno(fault, r, "config.linux.intelRdt: joining the class");
        return rdt->enable_monitoring && id ? monitor(class, id, text, fault) : 0;
}

int intel_rdt_join(ContainerPlan *plan, pid_t pid, Fault *fault) {
        const RuntimeIntelRdt *rdt = &plan->config->intel_rdt;
        bool made = false;
        if (!rdt->given)
                return 0;
        int r = intel_rdt_join_at(plan->resctrl_fd, rdt, plan->request->id, pid, &made, fault);
        if (r < 0 && made)
                (void) unlinkat(plan->resctrl_fd, rdt->clos_id ? rdt->clos_id : plan->request->id,
                                AT_REMOVEDIR);
        plan->in_resctrl = r >= 0;
        return r;
}

int intel_rdt_update_at(int resctrl, const char *class, const char *l3_schema, const char *bandwidth,
                        Fault *fault) {
        const RuntimeIntelRdt changed = { .l3_schema = l3_schema, .bandwidth = bandwidth, .clos_id = class };
        _cleanup_close_ int fd = path_open(resctrl, class, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "the container's class %s in resctrl", class)
                      : apply_schemata(fd, &changed, true, fault);
}

int intel_rdt_update(const RuntimeConfig *config, const char *id, const char *l3_schema,
                     const char *bandwidth, Fault *fault) {
        const RuntimeIntelRdt *rdt = &config->intel_rdt;
        if (!rdt->given)
                return fault_set(fault, -EOPNOTSUPP,
                                 "--l3-cache-schema, --mem-bw-schema: the container was made without "
                                 "config.linux.intelRdt");
        _cleanup_close_ int resctrl = open_resctrl();
        if (resctrl < 0)
                return fault_set(fault, -EOPNOTSUPP,
                                 "--l3-cache-schema, --mem-bw-schema: no resctrl file system is mounted");
        return intel_rdt_update_at(resctrl, rdt->clos_id ? rdt->clos_id : id, l3_schema, bandwidth, fault);
}

void intel_rdt_remove_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id) {
        const char *name = rdt->clos_id ? rdt->clos_id : id;
        _cleanup_free_ char *group = NULL;
        if (asprintf(&group, "%s/" MONITORING "/%s", name, id) >= 0)
                (void) unlinkat(resctrl, group, AT_REMOVEDIR);
        if (!rdt->clos_id)
                (void) unlinkat(resctrl, name, AT_REMOVEDIR);
}

void intel_rdt_remove(const RuntimeConfig *config, const char *id) {
        if (!config->intel_rdt.given)
                return;
        _cleanup_close_ int resctrl = open_resctrl();
        if (resctrl >= 0)
                intel_rdt_remove_at(resctrl, &config->intel_rdt, id);
}
