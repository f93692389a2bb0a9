/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is written where in resctrl: an ordinary directory stands for it, in which a new class has no files.
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/intel-rdt.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static int make_class(int resctrl, const char *name, const char *schemata) {
        (void) mkdirat(resctrl, name, 0755);
        int class = openat(resctrl, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        check_directory_write(class, "schemata", schemata);
        check_directory_write(class, "tasks", "");
        return class;
}

static void a_class_that_is_there_is_joined(void) {
        _cleanup_close_ int resctrl = check_directory();
        _cleanup_close_ int class = make_class(resctrl, "gold", "    L3:0=f;1=f\n    MB:0=20\n");
        _cleanup_free_ char *tasks = NULL, *schemata = NULL;
        RuntimeIntelRdt rdt = { .given = true, .clos_id = "gold" };
        Fault fault = FAULT_NULL;
        bool made = true;
        CHECK_OK(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault));
        CHECK(!made);
        CHECK_OK(fd_read_line_at(class, "tasks", &tasks));
        CHECK_STRING(tasks, "77");

        /* With a schema it has to be that one. */
        rdt.l3_schema = "L3:0=f;1=f\nMB:0=99";
        rdt.bandwidth = "MB:0=20";
        CHECK_OK(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault));
        CHECK_OK(fd_read_line_at(class, "schemata", &schemata));
        CHECK_STRING(schemata, "    L3:0=f;1=f\n    MB:0=20");
}

static void a_class_of_another_schema_is_refused(void) {
        _cleanup_close_ int resctrl = check_directory();
        _unused_ _cleanup_close_ int class = make_class(resctrl, "silver", "L3:0=ff\n");
        RuntimeIntelRdt rdt = { .given = true, .clos_id = "silver", .l3_schema = "L3:0=f" };
        bool made;
        CHECK_FAULT(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault), -EBUSY,
                    "config.linux.intelRdt.closID: the class silver is there already, without 'L3:0=f'");
}

static void a_class_without_schema_is_not_made(void) {
        _cleanup_close_ int resctrl = check_directory();
        RuntimeIntelRdt rdt = { .given = true, .clos_id = "absent" };
        bool made;
        CHECK_FAULT(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault), -ENOENT,
                    "config.linux.intelRdt.closID: absent: No such file or directory");
}

static void a_class_of_its_own_is_made_and_removed(void) {
        _cleanup_close_ int resctrl = check_directory();
        RuntimeIntelRdt rdt = { .given = true };
        struct stat st;
        bool made = false;
        /* An ordinary directory has no "tasks" then. */
        CHECK_FAULT(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault), -ENOENT,
                    "config.linux.intelRdt: joining the class");
        CHECK(made && fstatat(resctrl, "box", &st, 0) == 0);
        intel_rdt_remove_at(resctrl, &rdt, "box");
        CHECK(fstatat(resctrl, "box", &st, 0) < 0);

        /* One that others have made stays. */
        rdt.clos_id = "gold";
        (void) mkdirat(resctrl, "bronze", 0755);
        rdt.clos_id = "bronze";
        intel_rdt_remove_at(resctrl, &rdt, "box");
        CHECK(fstatat(resctrl, "bronze", &st, 0) == 0);
}

static void monitoring_groups(void) {
        _cleanup_close_ int resctrl = check_directory();
        _cleanup_close_ int class = make_class(resctrl, "watched", "L3:0=f\n");
        RuntimeIntelRdt rdt = { .given = true, .clos_id = "watched", .enable_monitoring = true };
        _cleanup_free_ char *tasks = NULL;
        bool made;
        CHECK_FAULT(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &fault), -EOPNOTSUPP,
                    "config.linux.intelRdt.enableMonitoring: this machine monitors nothing");
        (void) mkdirat(class, "mon_groups", 0755);
        (void) mkdirat(class, "mon_groups/box", 0755);
        check_directory_write(class, "mon_groups/box/tasks", "");
        Fault none = FAULT_NULL;
        CHECK_OK(intel_rdt_join_at(resctrl, &rdt, "box", 77, &made, &none));
        CHECK_OK(fd_read_line_at(class, "mon_groups/box/tasks", &tasks));
        CHECK_STRING(tasks, "77");
}

static void a_class_gets_other_lines(void) {
        _cleanup_close_ int resctrl = check_directory();
        _cleanup_close_ int class = make_class(resctrl, "box", "L3:0=ff\n");
        _cleanup_free_ char *first = NULL, *second = NULL;
        CHECK_OK(intel_rdt_update_at(resctrl, "box", "L3:0=f", NULL, NULL));
        CHECK_OK(fd_read_line_at(class, "schemata", &first));
        CHECK_STRING(first, "L3:0=f\n");
        /* The last line that was written: in resctrl each changes what it names. */
        CHECK_OK(intel_rdt_update_at(resctrl, "box", "L3:0=3\nMB:0=9", "MB:0=50", NULL));
        CHECK_OK(fd_read_line_at(class, "schemata", &second));
        CHECK_STRING(second, "MB:0=50");
        CHECK_FAULT(intel_rdt_update_at(resctrl, "../box", "L3:0=f", NULL, &fault), -EXDEV, "resctrl");
        CHECK_FAULT(intel_rdt_update_at(resctrl, "other", "L3:0=f", NULL, &fault), -ENOENT,
                    "the container's class other in resctrl");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_class_that_is_there_is_joined),
                CHECK_CASE(a_class_of_another_schema_is_refused),
                CHECK_CASE(a_class_without_schema_is_not_made),
                CHECK_CASE(a_class_of_its_own_is_made_and_removed),
                CHECK_CASE(monitoring_groups),
                CHECK_CASE(a_class_gets_other_lines),
                {},
        });
}
