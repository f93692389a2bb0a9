/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/run-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"

#define RECORD_MAX 4096

/* Reads a file as a string with its lines ended by NUL. Not on the heap: the supervisor keeps that small. */
static int read_record(int directory, const char *name, char buffer[RECORD_MAX]) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        ssize_t n = fd_read_full(fd, buffer, RECORD_MAX - 1);
        if (n < 0)
                return (int) n;
        if (n == RECORD_MAX - 1)
                return -EBADMSG;
        buffer[n] = '\0';
        return 0;
}

/* The value of KEY in lines of KEY=value; -EBADMSG if it is not there or too long. */
static int find_value(const char *record, const char *key, char *ret, size_t size) {
        size_t length = strlen(key);
        for (const char *line = record; *line;) {
                size_t n = strcspn(line, "\n");
                if (n > length && strncmp(line, key, length) == 0 && line[length] == '=') {
                        if (n - length > size)
                                return -EBADMSG;
                        memcpy(ret, line + length + 1, n - length - 1);
                        ret[n - length - 1] = '\0';
                        return 0;
                }
                line += n + (line[n] == '\n');
        }
        return -EBADMSG;
}

static int find_number(const char *record, const char *key, uint64_t maximum, uint64_t *ret) {
        char text[24];
        int r = find_value(record, key, text, sizeof(text));
        if (r < 0)
                return r;
        return string_to_uint64(text, maximum, ret) < 0 ? -EBADMSG : 0;
}

int run_process_read(int directory, const char *name, RunProcess *ret) {
        char record[RECORD_MAX];
        uint64_t pid, start_time, started, bucket;
        int r = read_record(directory, name, record);
        if (r < 0)
                return r;
        if (find_number(record, "pid", INT_MAX, &pid) < 0 || pid == 0 ||
            find_number(record, "start-time", UINT64_MAX, &start_time) < 0 ||
            find_number(record, "started", UINT64_MAX, &started) < 0 ||
            find_number(record, "bucket", UINT_MAX, &bucket) < 0)
                return -EBADMSG;
        *ret = (RunProcess){
                .pid = (pid_t) pid, .start_time = start_time, .started = started, .bucket = (unsigned) bucket
        };
        return 0;
}

int run_process_write(int directory, const char *name, const RunProcess *process) {
        char record[RECORD_MAX];
        int n = snprintf(record, sizeof(record), "pid=%i\nstart-time=%llu\nstarted=%llu\nbucket=%u\n",
                         process->pid, (unsigned long long) process->start_time,
                         (unsigned long long) process->started, process->bucket);
        return fd_replace_file_at(directory, name, record, (size_t) n, 0600);
}

int run_exit_read(int directory, RunExit *ret) {
        char record[RECORD_MAX];
        uint64_t status, finished, oom, never_started;
        RunExit found = { 0 };
        int r = read_record(directory, RUN_EXIT, record);
        if (r < 0)
                return r;
        if (find_number(record, "status", 255, &status) < 0 ||
            find_number(record, "finished", UINT64_MAX, &finished) < 0 ||
            find_number(record, "out-of-memory", 1, &oom) < 0 ||
            find_number(record, "never-started", 1, &never_started) < 0 ||
            find_value(record, "error", found.error, sizeof(found.error)) < 0)
                return -EBADMSG;
        found.status = (int) status;
        found.finished = finished;
        found.out_of_memory = oom > 0;
        found.never_started = never_started > 0;
        *ret = found;
        return 0;
}

/* The sentence may hold bytes of the image's choosing: it stays on its line. */
int run_exit_write(int directory, const RunExit *record) {
        char text[RECORD_MAX], error[RUN_ERROR_MAX];
        (void) snprintf(error, sizeof(error), "%s", record->error);
        for (char *p = error; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        *p = '?';
        int n = snprintf(text, sizeof(text),
                         "status=%i\nfinished=%llu\nout-of-memory=%i\nnever-started=%i\nerror=%s\n",
                         record->status, (unsigned long long) record->finished, record->out_of_memory,
                         record->never_started, error);
        return fd_replace_file_at(directory, RUN_EXIT, text, (size_t) n, 0600);
}

int run_process_of(pid_t pid, RunProcess *ret) {
        uint64_t start_time;
        int r = process_start_time(pid, &start_time);
        if (r < 0)
                return r;
        *ret = (RunProcess){ .pid = pid, .start_time = start_time, .started = run_now() };
        return 0;
}

/* First the pidfd, then the look: in between the number cannot be given away. */
int run_process_open(const RunProcess *process) {
        uint64_t start_time;
        _cleanup_close_ int pidfd = process_open_pidfd(process->pid);
        if (pidfd < 0)
                return pidfd;
        int r = process_start_time(process->pid, &start_time);
        if (r < 0)
                return r;
        return start_time == process->start_time ? TAKE_FD(pidfd) : -ESRCH;
}

uint64_t run_now(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}
