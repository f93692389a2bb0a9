/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/fd.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

static void closing_keeps_errno(void) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        errno = EDOM;
        CHECK_INT(fd_close(fd), -EBADF);
        CHECK_INT(errno, EDOM);
        CHECK_INT(fcntl(fd, F_GETFD), -1);
        CHECK_INT(fd_close(-EBADF), -EBADF);
}

static void duplicates_are_above_two_and_closed_on_exec(void) {
        _cleanup_close_ int fd = fd_duplicate(STDERR_FILENO);
        CHECK(fd >= 3);
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        CHECK_INT(fd_duplicate(-1), -EBADF);
}

static void flags_are_set_and_cleared(void) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        CHECK_OK(fd_set_nonblocking(pipes[0], true));
        CHECK(fcntl(pipes[0], F_GETFL) & O_NONBLOCK);
        CHECK_OK(fd_set_nonblocking(pipes[0], false));
        CHECK(!(fcntl(pipes[0], F_GETFL) & O_NONBLOCK));
        CHECK_OK(fd_set_cloexec(pipes[0], false));
        CHECK_INT(fcntl(pipes[0], F_GETFD), 0);
        fd_close_many(pipes, 2);
        CHECK_INT(pipes[0], -EBADF);
        CHECK_INT(pipes[1], -EBADF);
}

static void reads_up_to_the_limit_and_not_beyond(void) {
        static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 10000 };
        for (size_t i = 0; i < ELEMENTS_OF(sizes); i++) {
                _cleanup_free_ char *data = calloc(1, sizes[i] + 1), *read_back = NULL;
                memset(data, 'x', sizes[i]);
                _cleanup_close_ int fd = fd_new_sealed_memfd("test", data, sizes[i]);
                size_t size = 99;
                CHECK_OK(fd);
                CHECK_OK(fd_read_all(fd, sizes[i], &read_back, &size));
                CHECK_INT(size, sizes[i]);
                CHECK_STRING(read_back, data);
                CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
                _cleanup_free_ char *none = NULL;
                if (sizes[i] > 0)
                        CHECK_ERROR(fd_read_all(fd, sizes[i] - 1, &none, &size), -EFBIG);
                CHECK(!none);
        }
}

static void sealed_memfds_cannot_be_changed(void) {
        _cleanup_close_ int fd = fd_new_sealed_memfd("test", "abc", 3);
        CHECK_INT(write(fd, "x", 1), -1);
        CHECK_INT(ftruncate(fd, 10), -1);
        CHECK_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
}

static void writes_all_through_a_pipe_that_is_too_small(void) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        size_t size = 300000;
        _cleanup_free_ char *data = malloc(size), *back = malloc(size + 1);
        for (size_t i = 0; i < size; i++)
                data[i] = (char) (i % 251);
        pid_t pid = fork();
        if (pid == 0)
                _exit(fd_write_all(pipes[1], data, size) < 0);
        pipes[1] = fd_close(pipes[1]);
        CHECK_INT(fd_read_full(pipes[0], back, size + 1), size);
        CHECK(memcmp(data, back, size) == 0);
        pipes[0] = fd_close(pipes[0]);
}

static void copies_to_the_end_and_says_why_not(void) {
        _cleanup_close_ int from = memfd_create("from", MFD_CLOEXEC), to = memfd_create("to", MFD_CLOEXEC);
        _cleanup_free_ char *text = NULL;
        size_t size;
        for (int i = 0; i < 20000; i++)
                CHECK_OK(fd_write_all(from, "123456789", 9));
        CHECK_INT(lseek(from, 9, SEEK_SET), 9);
        CHECK_OK(fd_copy(from, to));
        CHECK_INT(lseek(to, 0, SEEK_SET), 0);
        CHECK_OK(fd_read_all(to, 1000000, &text, &size));
        CHECK_INT(size, 19999 * 9);
        CHECK(strncmp(text + size - 9, "123456789", 9) == 0);

        _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        CHECK_INT(lseek(from, 0, SEEK_SET), 0);
        CHECK_INT(fd_copy(from, full), -ENOSPC);
        CHECK_INT(fd_copy(full, to), -EBADF);
}

static void replaces_a_file_whole(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_free_ char *line = NULL;
        struct stat st;
        check_directory_write(directory, "f", "old and longer\n");
        CHECK_OK(fd_replace_file_at(directory, "f", "new\n", 4, 0600));
        CHECK_OK(fd_read_line_at(directory, "f", &line));
        CHECK_STRING(line, "new");
        CHECK_INT(fstatat(directory, "f", &st, 0), 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        CHECK_ERROR(fd_replace_file_at(directory, "missing/f", "x", 1, 0600), -ENOENT);
}

static void a_failed_replacement_leaves_nothing(void) {
        _cleanup_close_ int directory = check_directory();
        CHECK_INT(mkdirat(directory, "d", 0755), 0);
        CHECK_INT(mkdirat(directory, "d/target", 0755), 0);
        _cleanup_close_ int d = openat(directory, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK_ERROR(fd_replace_file_at(d, "target", "x", 1, 0600), -EISDIR);
        CHECK_INT(unlinkat(d, "target", AT_REMOVEDIR), 0);
        CHECK_INT(unlinkat(directory, "d", AT_REMOVEDIR), 0); /* empty: no temporary file was left */
}

static void writes_only_files_that_exist(void) {
        _cleanup_close_ int directory = check_directory();
        CHECK_ERROR(fd_write_file_at(directory, "absent", "1"), -ENOENT);
        check_directory_write(directory, "knob", "");
        CHECK_OK(fd_write_file_at(directory, "knob", "1"));
}

static void knows_kinds_and_access(void) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        _cleanup_close_ int directory = check_directory();
        _cleanup_close_ int path_only = open("/", O_PATH | O_CLOEXEC);
        CHECK_OK(fd_verify_type(pipes[0], S_IFIFO));
        CHECK_ERROR(fd_verify_type(pipes[0], S_IFREG), -EINVAL);
        CHECK_OK(fd_verify_type(directory, S_IFDIR));
        CHECK_OK(fd_verify_access(pipes[0], O_RDONLY));
        CHECK_ERROR(fd_verify_access(pipes[0], O_WRONLY), -EINVAL);
        CHECK_ERROR(fd_verify_access(pipes[1], O_RDONLY), -EINVAL);
        CHECK_ERROR(fd_verify_access(path_only, O_RDONLY), -EINVAL);
        CHECK_ERROR(fd_verify_access(-1, O_RDONLY), -EBADF);
        fd_close_many(pipes, 2);
}

static void reopens_files_and_opens_nothing_else(void) {
        char events[256];
        _cleanup_close_ int directory = check_directory(), proc = open("/proc", O_PATH | O_CLOEXEC);
        check_directory_write(directory, "file", "text");
        CHECK_OK(mkfifoat(directory, "fifo", 0600));
        _cleanup_close_ int file = openat(directory, "file", O_PATH | O_CLOEXEC);
        _cleanup_close_ int fifo = openat(directory, "fifo", O_PATH | O_CLOEXEC);
        _cleanup_close_ int again = fd_reopen_regular(file, O_RDONLY, proc);
        _cleanup_free_ char *text = NULL;
        CHECK_OK(fd_read_all(again, 10, &text, NULL));
        CHECK_STRING(text, "text");
        CHECK_ERROR(fd_reopen_regular(file, O_RDONLY, directory), -ENODEV);

        char path[FD_PROC_PATH_SIZE];
        _cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        CHECK_OK(inotify_add_watch(watch, fd_proc_path(fifo, path), IN_OPEN));
        CHECK_ERROR(fd_reopen_regular(fifo, O_RDONLY | O_NONBLOCK, proc), -EINVAL);
        CHECK(read(watch, events, sizeof(events)) < 0 && errno == EAGAIN);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(closing_keeps_errno),
                CHECK_CASE(duplicates_are_above_two_and_closed_on_exec),
                CHECK_CASE(flags_are_set_and_cleared),
                CHECK_CASE(reads_up_to_the_limit_and_not_beyond),
                CHECK_CASE(sealed_memfds_cannot_be_changed),
                CHECK_CASE(writes_all_through_a_pipe_that_is_too_small),
                CHECK_CASE(copies_to_the_end_and_says_why_not),
                CHECK_CASE(replaces_a_file_whole),
                CHECK_CASE(a_failed_replacement_leaves_nothing),
                CHECK_CASE(writes_only_files_that_exist),
                CHECK_CASE(knows_kinds_and_access),
                CHECK_CASE(reopens_files_and_opens_nothing_else),
                {},
        });
}
