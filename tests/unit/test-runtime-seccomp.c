/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Profiles are compiled, and the programs run. */

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/seccomp-cache.h"
#include "runtime/seccomp-filter.h"
#include "tests/unit/check.h"
#include "tests/unit/classic-bpf.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "which audit architecture is this?"
#endif

typedef struct Program {
        RuntimeConfig *config;
        struct sock_filter *filter;
        size_t count;
} Program;

static RuntimeConfig *parse(const char *seccomp) {
        char text[4096];
        RuntimeConfig *config = NULL;
        Fault fault = FAULT_NULL;
        snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"linux\":{\"seccomp\":%s}}", seccomp);
        int r = runtime_config_parse(text, strlen(text), &config, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
        return config;
}

/* As for somebody who has a cache. */
static RuntimeConfig *parse_sparing(const char *seccomp) {
        char text[4096];
        RuntimeConfig *config = NULL;
        Fault fault = FAULT_NULL;
        snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"linux\":{\"seccomp\":%s}}", seccomp);
        int r = runtime_config_parse_sparing(text, strlen(text), &config, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
        return config;
}

static Program compile(const char *seccomp) {
        Program program = { .config = parse(seccomp) };
        Fault fault = FAULT_NULL;
        int r = seccomp_filter_compile(program.config->seccomp, &program.filter, &program.count, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
        return program;
}

static void program_done(Program *program) {
        runtime_config_free(program->config);
        free(program->filter);
}

static uint32_t run(const Program *program, uint32_t arch, int number, uint64_t argument0,
                    uint64_t argument1) {
        struct seccomp_data data = { .nr = number, .arch = arch, .args = { argument0, argument1 } };
        return classic_bpf_run(program->filter, program->count, &data);
}

#define ALLOW SECCOMP_RET_ALLOW
#define ERRNO(number) (SECCOMP_RET_ERRNO | (number))

static void each_action_is_what_it_says(void) {
        static const struct {
                const char *action;
                uint32_t value;
        } cases[] = {
                { "SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD },
                { "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD },
                { "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS },
                { "SCMP_ACT_TRAP", SECCOMP_RET_TRAP },
                { "SCMP_ACT_ERRNO", ERRNO(EPERM) },
                { "SCMP_ACT_TRACE", SECCOMP_RET_TRACE | EPERM },
                { "SCMP_ACT_LOG", SECCOMP_RET_LOG },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[256];
                snprintf(text, sizeof(text),
                         "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"chdir\"],"
                         "\"action\":\"%s\"}]}",
                         cases[i].action);
                Program program = compile(text);
                CHECK_INT(run(&program, NATIVE, SYS_chdir, 0, 0), cases[i].value);
                CHECK_INT(run(&program, NATIVE, SYS_fchdir, 0, 0), ALLOW);
                program_done(&program);
        }
}

static void numbers_of_errors_are_kept(void) {
        Program program =
                compile("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"syscalls\":["
                        "{\"names\":[\"read\",\"no_such_call_at_all\"],\"action\":\"SCMP_ACT_ALLOW\"},"
                        "{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13}]}");
        CHECK_INT(run(&program, NATIVE, SYS_read, 0, 0), ALLOW);
        CHECK_INT(run(&program, NATIVE, SYS_chdir, 0, 0), ERRNO(EACCES));
        CHECK_INT(run(&program, NATIVE, SYS_fchdir, 0, 0), ERRNO(ENOSYS));
        program_done(&program);
}

static void arguments_are_compared(void) {
        static const struct {
                const char *op;
                uint64_t value, two, given;
                bool matches;
        } cases[] = {
                { "SCMP_CMP_EQ", 5, 0, 5, true },
                { "SCMP_CMP_EQ", 5, 0, 0x100000005, false },
                { "SCMP_CMP_NE", 5, 0, 6, true },
                { "SCMP_CMP_NE", 5, 0, 5, false },
                { "SCMP_CMP_LT", 5, 0, 4, true },
                { "SCMP_CMP_LT", 5, 0, 5, false },
                { "SCMP_CMP_LE", 5, 0, 5, true },
                { "SCMP_CMP_LE", 5, 0, 6, false },
                { "SCMP_CMP_GE", 5, 0, 5, true },
                { "SCMP_CMP_GE", 5, 0, 4, false },
                { "SCMP_CMP_GT", 5, 0, 0x100000000, true },
                { "SCMP_CMP_GT", 5, 0, 5, false },
                { "SCMP_CMP_MASKED_EQ", 0xf0, 0x20, 0x2f, true },
                { "SCMP_CMP_MASKED_EQ", 0xf0, 0x20, 0x3f, false },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[512];
                snprintf(text, sizeof(text),
                         "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"kill\"],"
                         "\"action\":"
                         "\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":1,\"value\":%llu,\"valueTwo\":%llu,\"op\":"
                         "\"%s\"}]}]}",
                         (unsigned long long) cases[i].value, (unsigned long long) cases[i].two,
                         cases[i].op);
                Program program = compile(text);
                uint32_t action = run(&program, NATIVE, SYS_kill, 77, cases[i].given);
                CHECK_FORMAT((action == ALLOW) == cases[i].matches, "%s %llu: %#x", cases[i].op,
                             (unsigned long long) cases[i].given, action);
                program_done(&program);
        }
}

static void all_arguments_have_to_match_but_one_given_twice_may_match_either(void) {
        Program both = compile(
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"kill\"],\"action\":"
                "\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"},"
                "{\"index\":1,\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]}]}");
        CHECK_INT(run(&both, NATIVE, SYS_kill, 1, 2), ALLOW);
        CHECK_INT(run(&both, NATIVE, SYS_kill, 1, 3), ERRNO(EPERM));
        program_done(&both);
        Program either = compile(
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"kill\"],\"action\":"
                "\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"},"
                "{\"index\":0,\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]}]}");
        CHECK_INT(run(&either, NATIVE, SYS_kill, 1, 0), ALLOW);
        CHECK_INT(run(&either, NATIVE, SYS_kill, 2, 0), ALLOW);
        CHECK_INT(run(&either, NATIVE, SYS_kill, 3, 0), ERRNO(EPERM));
        program_done(&either);
}

static void foreign_architectures_are_killed_unless_named(void) {
#ifdef __x86_64__
        static const char chdir_allowed[] =
                "\"syscalls\":[{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_ALLOW\"}]";
        char text[512];
        snprintf(text, sizeof(text), "{\"defaultAction\":\"SCMP_ACT_ERRNO\",%s}", chdir_allowed);
        Program native = compile(text);
        CHECK_INT(run(&native, AUDIT_ARCH_I386, 12, 0, 0), SECCOMP_RET_KILL_THREAD);
        program_done(&native);
        snprintf(text, sizeof(text),
                 "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_"
                 "X86\"],%s}",
                 chdir_allowed);
        Program both = compile(text);
        CHECK_INT(run(&both, AUDIT_ARCH_I386, 12, 0, 0), ALLOW);
        CHECK_INT(run(&both, AUDIT_ARCH_I386, SYS_chdir, 0, 0), ERRNO(EPERM));
        program_done(&both);
#else
        check_skip("numbers of x86");
#endif
}

static void what_can_not_be_denied_is_refused(void) {
        RuntimeConfig *config = parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":"
                                      "[\"no_such_call_at_all\"],\"action\":\"SCMP_ACT_ERRNO\"}]}");
        struct sock_filter *filter = NULL;
        size_t count;
        Fault fault = FAULT_NULL;
        CHECK_ERROR(seccomp_filter_compile(config->seccomp, &filter, &count, &fault), -EOPNOTSUPP);
        CHECK_CONTAINS(fault_text(&fault, -1),
                       "config.linux.seccomp.syscalls[0].names: 'no_such_call_at_all'");
        fault_done(&fault);
        runtime_config_free(config);
}

static const char profile[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"chdir\"],"
                              "\"action\":\"SCMP_ACT_ALLOW\"}]}";

static int open_cache(char path[64]) {
        strcpy(path, "/tmp/test-runtime-seccomp.XXXXXX");
        CHECK(mkdtemp(path));
        return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void remove_cache(int directory, const char *path) {
        char command[128];
        close(directory);
        snprintf(command, sizeof(command), "rm -r %s", path);
        CHECK_INT(system(command), 0);
}

static void what_nobody_knows_may_be_let_pass(void) {
        static const struct {
                const char *fallback, *action;
                bool taken;
        } cases[] = {
                { "ERRNO", "ALLOW", true }, { "ERRNO", "KILL_PROCESS", true }, { "LOG", "ALLOW", true },
                { "ALLOW", "LOG", true },   { "LOG", "ERRNO", false },         { "ALLOW", "TRAP", false },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                char text[256];
                _cleanup_free_ struct sock_filter *filter = NULL;
                size_t count = 0;
                snprintf(text, sizeof(text),
                         "{\"defaultAction\":\"SCMP_ACT_%s\",\"syscalls\":[{\"names\":[\"no_such_call\"],"
                         "\"action\":\"SCMP_ACT_%s\"}]}",
                         cases[i].fallback, cases[i].action);
                RuntimeConfig *config = parse(text);
                CHECK_INT(seccomp_filter_compile(config->seccomp, &filter, &count, NULL),
                          cases[i].taken ? 0 : -EOPNOTSUPP);
                runtime_config_free(config);
        }
}

static void the_cache_gives_back_what_was_put_in(void) {
        char path[64];
        int directory = open_cache(path);
        Program program = compile(profile);
        struct sock_filter *filter = NULL;
        size_t count = 0;
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 0);
        seccomp_cache_put(directory, program.config->seccomp, program.filter, program.count);
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 1);
        CHECK_INT(count, program.count);
        CHECK(memcmp(filter, program.filter, count * sizeof(*filter)) == 0);
        free(filter);

        /* Another profile is another entry. */
        program.config->seccomp->default_errno_return++;
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 0);
        program_done(&program);
        remove_cache(directory, path);
}

static void the_program_is_found_without_reading_the_rules(void) {
        char path[64];
        int directory = open_cache(path);
        Program program = compile(profile);
        struct sock_fprog found = { 0 };
        RuntimeConfig *config = parse_sparing(profile);
        CHECK(config->seccomp->rules_left && config->seccomp->rule_count == 0);
        CHECK(!seccomp_cache_find(directory, config->seccomp, &found));
        seccomp_cache_put(directory, program.config->seccomp, program.filter, program.count);
        CHECK(seccomp_cache_find(directory, config->seccomp, &found));
        CHECK_INT(found.len, program.count);
        CHECK(memcmp(found.filter, program.filter, found.len * sizeof(*found.filter)) == 0);
        free(found.filter);
        runtime_config_free(config);

        /* Anything else is another profile, as far as this knows; what is no list of rules is none of any.
         */
        static const char *const others[] = {
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"chdir\"],\"action\":"
                "\"SCMP_ACT_ALLOW\"}]}",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"chroot\"],\"action\":"
                "\"SCMP_ACT_ALLOW\"}]}",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86\"],\"syscalls\":"
                "[{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"chdir\"],\"action\":"
                "\"SCMP_ACT_ALLOW\"]]}",
        };
        for (size_t i = 0; i < ELEMENTS_OF(others); i++) {
                config = parse_sparing(others[i]);
                CHECK(config->seccomp->rules_left);
                CHECK(!seccomp_cache_find(directory, config->seccomp, &found));
                runtime_config_free(config);
        }
        program_done(&program);
        remove_cache(directory, path);
}

/* Every byte of an entry is either checked, or part of the program itself; that is why only its owner may be
 * able to write it. */
static void the_cache_does_not_believe_a_foreign_or_damaged_entry(void) {
        char path[64], command[256];
        int directory = open_cache(path);
        Program program = compile(profile);
        struct sock_filter *filter = NULL;
        size_t count = 0;
        seccomp_cache_put(directory, program.config->seccomp, program.filter, program.count);
        snprintf(command, sizeof(command), "chmod g+w %s/*.bpf", path);
        CHECK_INT(system(command), 0);
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 0);
        snprintf(command, sizeof(command), "for f in %s/*.bpf; do chmod g-w $f; printf X >>$f; done", path);
        CHECK_INT(system(command), 0);
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 0);
        snprintf(command, sizeof(command), "truncate -s 40 %s/*.bpf", path);
        CHECK_INT(system(command), 0);
        CHECK_INT(seccomp_cache_get(directory, program.config->seccomp, &filter, &count), 0);
        program_done(&program);
        remove_cache(directory, path);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(each_action_is_what_it_says),
                CHECK_CASE(numbers_of_errors_are_kept),
                CHECK_CASE(arguments_are_compared),
                CHECK_CASE(all_arguments_have_to_match_but_one_given_twice_may_match_either),
                CHECK_CASE(foreign_architectures_are_killed_unless_named),
                CHECK_CASE(what_can_not_be_denied_is_refused),
                CHECK_CASE(what_nobody_knows_may_be_let_pass),
                CHECK_CASE(the_cache_gives_back_what_was_put_in),
                CHECK_CASE(the_program_is_found_without_reading_the_rules),
                CHECK_CASE(the_cache_does_not_believe_a_foreign_or_damaged_entry),
                {},
        });
}
