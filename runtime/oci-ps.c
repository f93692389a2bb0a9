/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ps: the processes of a container, by their numbers on the machine. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/cgroup-members.h"
#include "runtime/oci-command.h"
#include "runtime/oci-output.h"

#define OUTPUT_MAX (64U * 1024U * 1024U)

static int print_json(const CgroupMembers *members, Fault *fault) {
        _cleanup_json_ json_object *list = json_object_new_array();
        if (!list)
                return -ENOMEM;
        for (size_t i = 0; i < members->count; i++)
                if (json_object_array_add(list, json_object_new_int(members->pids[i])) < 0)
                        return -ENOMEM;
        return oci_output_json(list, false, fault);
}

static _noreturn_ void execute_ps(const OciOptions *options, int output) {
        static const char *const usual[] = { "ps", "-ef", NULL };
        const char *const *arguments = usual;
        _cleanup_free_ const char **given = new0(const char *, options->argument_count + 2);
        if (given && options->argument_count > 0) {
                given[0] = "ps";
                memcpy(given + 1, options->arguments, options->argument_count * sizeof(char *));
                arguments = given;
        }
        if (dup2(output, STDOUT_FILENO) >= 0)
                (void) execvp("ps", (char *const *) arguments);
        (void) fprintf(stderr, "crt-oci: ps: %s\n", strerror(errno));
        _exit(127);
}

static int read_ps(const OciOptions *options, char **ret, Fault *fault) {
        int pipe_fds[2], status = 0;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                execute_ps(options, pipe_fds[1]);
        int r = pid < 0 ? -errno : 0;
        fd_close(pipe_fds[1]);
        if (r >= 0)
                r = fd_read_all(pipe_fds[0], OUTPUT_MAX, ret, NULL);
        fd_close(pipe_fds[0]);
        if (pid > 0)
                while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                        ;
        if (r < 0)
                return fault_set_errno(fault, r, "ps");
        return WIFEXITED(status) && WEXITSTATUS(status) == 0
                       ? 0
                       : fault_set(fault, -EIO, "ps: the program ps failed");
}

/* The number-th word of a line; its length. */
static size_t find_word(const char *line, size_t number, const char **ret) {
        static const char blank[] = " \t";
        line += strspn(line, blank);
        while (number-- > 0) {
                line += strcspn(line, blank);
                line += strspn(line, blank);
        }
        *ret = line;
        return strcspn(line, blank);
}

static int find_column(const char *header, size_t *ret) {
        const char *word;
        for (size_t i = 0, n; (n = find_word(header, i, &word)) > 0; i++)
                if (n == 3 && strncmp(word, "PID", n) == 0) {
                        *ret = i;
                        return 0;
                }
        return -ENOENT;
}

static int print_table(const OciOptions *options, const CgroupMembers *members, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        size_t column;
        int r = read_ps(options, &text, fault);
        if (r < 0)
                return r;
        char *rest = text, *line = strsep(&rest, "\n");
        if (!line || find_column(line, &column) < 0)
                return fault_set(fault, -EINVAL, "ps: its output has no column PID");
        (void) puts(line);
        while ((line = strsep(&rest, "\n"))) {
                const char *word;
                char number[16] = "";
                uint64_t pid;
                size_t n = find_word(line, column, &word);
                if (n < sizeof(number))
                        memcpy(number, word, n);
                if (string_to_uint64(number, INT32_MAX, &pid) >= 0 &&
                    cgroup_members_contain(members, (pid_t) pid))
                        (void) puts(line);
        }
        return fflush(stdout) == 0 ? 0 : -EIO;
}

/* Without a cgroup of its own: who is in init's pid namespace, if that is not everybody. */
static int find_by_namespace(const StateFile *state, CgroupMembers *ret, Fault *fault) {
        pid_t init = state_file_pid(state, state_file_status(state));
        struct stat own, wanted, other;
        char path[64];
        (void) snprintf(path, sizeof(path), "/proc/%i/ns/pid", init);
        if (init == 0)
                return 0;
        if (stat("/proc/self/ns/pid", &own) < 0 || stat(path, &wanted) < 0)
                return fault_set_errno(fault, -errno, "container '%s': its pid namespace", state->id);
        DIR *stream = opendir("/proc");
        struct dirent *entry;
        int r = stream ? 0 : -errno;
        while (r >= 0 && (entry = readdir(stream))) {
                uint64_t pid;
                if (string_to_uint64(entry->d_name, INT32_MAX, &pid) < 0)
                        continue;
                (void) snprintf(path, sizeof(path), "/proc/%i/ns/pid", (pid_t) pid);
                bool is_init = (pid_t) pid == init;
                if (is_init || (wanted.st_ino != own.st_ino && stat(path, &other) >= 0 &&
                                other.st_ino == wanted.st_ino))
                        r = cgroup_members_add(ret, (pid_t) pid);
        }
        if (stream)
                (void) closedir(stream);
        return r < 0 ? r : 0;
}

static int find_members(const StateFile *state, CgroupMembers *ret, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        if (state_file_read_cgroup(state, &path) == -ENOENT)
                return find_by_namespace(state, ret, fault);
        _cleanup_close_ int cgroup = oci_open_cgroup(state, fault);
        return cgroup < 0 ? cgroup : cgroup_members_read(cgroup, ret);
}

int oci_ps(const OciOptions *options, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_(cgroup_members_done) CgroupMembers members = { 0 };
        _cleanup_close_ int root = -EBADF;
        int r = oci_peek_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        r = find_members(&state, &members, fault);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s': its processes", options->id);
        return options->json ? print_json(&members, fault) : print_table(options, &members, fault);
}
