/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "tests/unit/check.h"

/* Runs a shell script with these descriptors at 3 and above; its output and exit status. */
static int run_script(const char *script, const int *fds, size_t fd_count, char **ret_output) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = "/bin/sh";
        spawn.arguments = (const char *const[]){ "sh", "-c", script, NULL };
        spawn.fds = fds;
        spawn.fd_count = fd_count;
        spawn.standard[1] = pipes[1];
        int pidfd = -EBADF;
        CHECK_OK(process_spawn(&spawn, NULL, &pidfd));
        fd_close(pipes[1]);
        CHECK_OK(fd_read_all(pipes[0], 65536, ret_output, NULL));
        fd_close(pipes[0]);
        siginfo_t info;
        CHECK_INT(process_wait(pidfd, 0, &info), 1);
        fd_close(pidfd);
        return process_exit_status(&info);
}

static void reports_the_exit_status(void) {
        _cleanup_free_ char *output = NULL, *nothing = NULL;
        CHECK_INT(run_script("echo hello; exit 7", NULL, 0, &output), 7);
        CHECK_STRING(output, "hello\n");
        CHECK_INT(run_script("kill -TERM $$", NULL, 0, &nothing), 128 + SIGTERM);
}

static void a_program_that_is_missing_is_an_errno(void) {
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        int pidfd = -EBADF;
        spawn.path = "/nonexistent/program";
        spawn.arguments = (const char *const[]){ "program", NULL };
        CHECK_ERROR(process_spawn(&spawn, NULL, &pidfd), -ENOENT);
        CHECK_INT(pidfd, -EBADF);
        spawn.path = "/etc/passwd";
        CHECK_ERROR(process_spawn(&spawn, NULL, &pidfd), -EACCES);
        CHECK_INT(waitpid(-1, NULL, WNOHANG), -1); /* no zombie was left */
}

static void children_have_just_the_descriptors_they_are_given(void) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, 0), 0); /* not even O_CLOEXEC */
        _cleanup_close_ int null = open("/dev/null", O_RDONLY);
        _cleanup_free_ char *output = NULL;
        /* The directory's own descriptor is there while ls looks. */
        CHECK_INT(run_script("exec 2>/dev/null; for f in /proc/self/fd/*; do readlink $f; done | grep -c "
                             "^pipe; echo >&4 x",
                             (const int[]){ null, pipes[1] }, 2, &output),
                  0);
        CHECK_STRING(output, "2\n"); /* standard output and descriptor 4 */
        char byte;
        CHECK_INT(read(pipes[0], &byte, 1), 1);
        fd_close_many(pipes, 2);
}

static void descriptors_that_overlap_their_places_are_kept_apart(void) {
        /* Whatever numbers the test has, asking for them crosswise makes one overwrite the other. */
        int a[2], b[2];
        CHECK_INT(pipe2(a, O_CLOEXEC), 0);
        CHECK_INT(pipe2(b, O_CLOEXEC), 0);
        _cleanup_free_ char *output = NULL;
        CHECK_INT(run_script("printf A >&3; printf B >&4; printf C >&5; printf D >&6",
                             (const int[]){ b[1], a[1], b[1], a[1] }, 4, &output),
                  0);
        char text[8] = "";
        CHECK_INT(read(b[0], text, sizeof(text) - 1), 2);
        CHECK_STRING(text, "AC");
        CHECK_INT(read(a[0], text, sizeof(text) - 1), 2);
        CHECK_STRING(text, "BD");
        fd_close_many(a, 2);
        fd_close_many(b, 2);
}

/* A program's output without a shell between, which would change what is looked at. */
static char *run_program(const char *const *arguments, const char *const *environment) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = arguments[0];
        spawn.arguments = arguments;
        spawn.environment = environment;
        spawn.standard[1] = pipes[1];
        int pidfd = -EBADF;
        char *output = NULL;
        CHECK_OK(process_spawn(&spawn, NULL, &pidfd));
        fd_close(pipes[1]);
        CHECK_OK(fd_read_all(pipes[0], 4096, &output, NULL));
        fd_close(pipes[0]);
        CHECK_INT(process_wait(pidfd, 0, NULL), 1);
        fd_close(pidfd);
        return output;
}

static void the_environment_is_what_was_given(void) {
        _cleanup_free_ char *output = run_program((const char *const[]){ "/usr/bin/env", NULL },
                                                  (const char *const[]){ "ONLY=this", NULL });
        CHECK_STRING(output, "ONLY=this\n");
}

static void signals_are_unblocked_in_children(void) {
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        _cleanup_free_ char *output =
                run_program((const char *const[]){ "/bin/grep", "SigBlk", "/proc/self/status", NULL }, NULL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        CHECK_STRING(output, "SigBlk:\t0000000000000000\n");
}

static void waiting_without_hanging_and_killing(void) {
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = "/bin/sleep";
        spawn.arguments = (const char *const[]){ "sleep", "600", NULL };
        pid_t pid = 0;
        int pidfd = -EBADF;
        CHECK_OK(process_spawn(&spawn, &pid, &pidfd));
        CHECK(pid > 0);
        CHECK_INT(process_wait(pidfd, WNOHANG, NULL), 0);
        uint64_t start = 0, again = 0;
        CHECK_OK(process_start_time(pid, &start));
        CHECK_OK(process_start_time(pid, &again));
        CHECK(start > 0 && start == again);
        _cleanup_close_ int second = process_open_pidfd(pid);
        CHECK_OK(second);
        CHECK_OK(process_send_signal(second, 0));
        CHECK_INT(process_kill_and_reap(pidfd), -EBADF);
        CHECK_ERROR(process_send_signal(second, 0), -ESRCH);
        CHECK_ERROR(process_start_time(pid, &start), -ESRCH);
        CHECK_INT(process_kill_and_reap(-EBADF), -EBADF);
}

static void start_time_survives_an_odd_name(void) {
        char saved[16];
        uint64_t before, after;
        CHECK_OK(process_start_time(getpid(), &before));
        prctl(PR_GET_NAME, saved);
        prctl(PR_SET_NAME, ") R 1 (x 2) 3");
        int r = process_start_time(getpid(), &after);
        prctl(PR_SET_NAME, saved);
        CHECK_OK(r);
        CHECK(before == after);
}

static void ancestors(void) {
        int answer[2], said = 0;
        pid_t own = getpid();
        CHECK_OK(pipe2(answer, O_CLOEXEC));
        CHECK(process_is_ancestor(getppid()));
        CHECK(!process_is_ancestor(own));
        CHECK(!process_is_ancestor(0));
        pid_t child = fork();
        CHECK_OK(child);
        if (child == 0) {
                pid_t parent = getpid(), grandchild = fork();
                if (grandchild == 0) {
                        said = process_is_ancestor(own) + 2 * process_is_ancestor(parent) +
                               4 * process_is_ancestor(getpid());
                        (void) !write(answer[1], &said, sizeof(said));
                        _exit(0);
                }
                (void) waitpid(grandchild, NULL, 0);
                _exit(0);
        }
        CHECK(!process_is_ancestor(child));
        CHECK_INT(read(answer[0], &said, sizeof(said)), sizeof(said));
        CHECK_INT(said, 3);
        CHECK_INT(waitpid(child, NULL, 0), child);
        close(answer[0]);
        close(answer[1]);
}

static void signal_names(void) {
        static const struct {
                const char *name;
                int number;
        } cases[] = {
                { "SIGTERM", SIGTERM },  { "TERM", SIGTERM }, { "term", SIGTERM }, { "15", 15 },
                { "SIGKILL", SIGKILL },  { "0", -EINVAL },    { "", -EINVAL },     { "SIGNONE", -EINVAL },
                { "999", -EINVAL },      { "SIG", -EINVAL },  { "-9", -EINVAL },   { "RTMINX", -EINVAL },
                { "RTMIN+99", -EINVAL },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                CHECK_FORMAT(signal_from_string(cases[i].name) == cases[i].number, "%s is %i", cases[i].name,
                             signal_from_string(cases[i].name));
        CHECK_INT(signal_from_string("RTMIN+3"), SIGRTMIN + 3);
        CHECK_INT(signal_from_string("SIGRTMIN"), SIGRTMIN);
        CHECK_STRING(signal_to_string(SIGHUP), "SIGHUP");
        CHECK_INT(signal_from_string(signal_to_string(SIGRTMIN + 5)), SIGRTMIN + 5);
        CHECK(!signal_to_string(0) && !signal_to_string(1000));
}

/* The last one: it can't be taken back. */
static void the_same_with_reserved_numbers(void) {
        CHECK_OK(process_reserve_descriptors());
        CHECK_OK(process_reserve_descriptors());
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(fd >= PROCESS_RESERVED);
        reports_the_exit_status();
        a_program_that_is_missing_is_an_errno();
        children_have_just_the_descriptors_they_are_given();
        descriptors_that_overlap_their_places_are_kept_apart();
        the_environment_is_what_was_given();
        signals_are_unblocked_in_children();
        _cleanup_close_ int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK_INT(after, fd + 1); /* none was left open */
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reports_the_exit_status),
                CHECK_CASE(a_program_that_is_missing_is_an_errno),
                CHECK_CASE(children_have_just_the_descriptors_they_are_given),
                CHECK_CASE(descriptors_that_overlap_their_places_are_kept_apart),
                CHECK_CASE(the_environment_is_what_was_given),
                CHECK_CASE(signals_are_unblocked_in_children),
                CHECK_CASE(waiting_without_hanging_and_killing),
                CHECK_CASE(start_time_survives_an_odd_name),
                CHECK_CASE(ancestors),
                CHECK_CASE(signal_names),
                CHECK_CASE(the_same_with_reserved_numbers),
                {},
        });
}
