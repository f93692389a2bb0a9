/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/run-directory.c, supervisor-protocol.h and bind-source.c: what outlives the service. */

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "services/tasks/bind-source.h"
#include "services/tasks/run-directory.h"
#include "services/tasks/supervisor-protocol.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

static void a_process_record_comes_back(void) {
        _cleanup_close_ int directory = check_directory();
        const RunProcess written = {
                .pid = 4711, .start_time = UINT64_MAX, .started = 1234567890123456, .bucket = 63
        };
        RunProcess read;
        CHECK_ERROR(run_process_read(directory, RUN_SUPERVISOR, &read), -ENOENT);
        CHECK_OK(run_process_write(directory, RUN_SUPERVISOR, &written));
        CHECK_OK(run_process_read(directory, RUN_SUPERVISOR, &read));
        CHECK_INT(read.pid, written.pid);
        CHECK(read.start_time == written.start_time && read.started == written.started);
        CHECK_INT(read.bucket, written.bucket);
}

static void an_exit_record_comes_back(void) {
        _cleanup_close_ int directory = check_directory();
        RunExit written = { .status = 137, .finished = 5, .out_of_memory = true }, read;
        CHECK_OK(run_exit_write(directory, &written));
        CHECK_OK(run_exit_read(directory, &read));
        CHECK_INT(read.status, 137);
        CHECK(read.finished == 5 && read.out_of_memory && !read.never_started);
        CHECK_STRING(read.error, "");
}

static void a_sentence_cannot_forge_a_record(void) {
        _cleanup_close_ int directory = check_directory();
        RunExit written = { .status = 127, .never_started = true }, read;
        (void) snprintf(written.error, sizeof(written.error), "no\nstatus=0\nfinished=9\r\x7f");
        CHECK_OK(run_exit_write(directory, &written));
        CHECK_OK(run_exit_read(directory, &read));
        CHECK_INT(read.status, 127);
        CHECK_STRING(read.error, "no?status=0?finished=9??");
}

static void the_longest_sentence_fits(void) {
        _cleanup_close_ int directory = check_directory();
        RunExit written = { .status = 125 }, read;
        memset(written.error, 'x', sizeof(written.error) - 1);
        CHECK_OK(run_exit_write(directory, &written));
        CHECK_OK(run_exit_read(directory, &read));
        CHECK(strcmp(read.error, written.error) == 0);
}

static void damaged_records_are_refused(void) {
        _cleanup_close_ int directory = check_directory();
        static const char *const bad_exits[] = {
                "",
                "status=1\n",
                "status=256\nfinished=1\nout-of-memory=0\nnever-started=0\nerror=\n",
                "status=-1\nfinished=1\nout-of-memory=0\nnever-started=0\nerror=\n",
                "status=1\nfinished=x\nout-of-memory=0\nnever-started=0\nerror=\n",
                "status=1\nfinished=1\nout-of-memory=2\nnever-started=0\nerror=\n",
                "xstatus=1\nfinished=1\nout-of-memory=0\nnever-started=0\nerror=\n",
        };
        static const char *const bad_processes[] = {
                "pid=0\nstart-time=1\nstarted=1\nbucket=0\n",
                "pid=1\nstart-time=1\nstarted=1\n",
                "pid=99999999999\nstart-time=1\nstarted=1\nbucket=0\n",
        };
        RunExit end;
        RunProcess process;
        for (size_t i = 0; i < ELEMENTS_OF(bad_exits); i++) {
                check_directory_write(directory, RUN_EXIT, bad_exits[i]);
                CHECK_ERROR(run_exit_read(directory, &end), -EBADMSG);
        }
        for (size_t i = 0; i < ELEMENTS_OF(bad_processes); i++) {
                check_directory_write(directory, RUN_PAYLOAD, bad_processes[i]);
                CHECK_ERROR(run_process_read(directory, RUN_PAYLOAD, &process), -EBADMSG);
        }
}

static void a_process_is_known_by_number_and_start(void) {
        RunProcess own;
        CHECK_OK(run_process_of(getpid(), &own));
        _cleanup_close_ int pidfd = run_process_open(&own);
        CHECK_OK(pidfd);
        own.start_time++;
        CHECK_ERROR(run_process_open(&own), -ESRCH);
}

static void shorter_and_longer_messages_are_understood(void) {
        SupervisorMessage message;
        const uint32_t only_type = SUPERVISOR_SEEN;
        struct {
                SupervisorMessage message;
                char later[64];
        } longer = { .message = { .type = SUPERVISOR_RESIZE, .rows = 7 } };
        CHECK_INT(supervisor_message_parse(&only_type, sizeof(only_type), &message), 1);
        CHECK_INT(message.type, SUPERVISOR_SEEN);
        CHECK_INT(message.rows, 0);
        CHECK_INT(supervisor_message_parse(&longer, sizeof(longer), &message), 1);
        CHECK_INT(message.rows, 7);
        CHECK_INT(supervisor_message_parse(&only_type, 3, &message), 0);
        CHECK_INT(supervisor_message_parse(&only_type, 0, &message), 0);
        CHECK_INT(sizeof(SupervisorMessage), 24); /* only ever grows */
}

static void a_bind_source_is_found_again(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(bind_source_done) BindSource source = { .fd = -EBADF }, again = { .fd = -EBADF };
        CHECK_OK(mkdirat(directory, "bound", 0700));
        _cleanup_close_ int fd = openat(directory, "bound", O_PATH | O_CLOEXEC);
        CHECK_OK(bind_source_new(fd, &source, NULL));
        CHECK_OK(bind_source_load(source.identity, &again));
        CHECK_OK(bind_source_reopen(&again, NULL));
        CHECK(again.fd >= 0);
}

static void another_file_in_its_place_is_refused(void) {
        _cleanup_close_ int directory = check_directory();
        _cleanup_(bind_source_done) BindSource source = { .fd = -EBADF }, again = { .fd = -EBADF };
        _cleanup_(fault_done) Fault fault = FAULT_NULL, gone = FAULT_NULL;
        CHECK_OK(mkdirat(directory, "place", 0700));
        _cleanup_close_ int fd = openat(directory, "place", O_PATH | O_CLOEXEC);
        CHECK_OK(bind_source_new(fd, &source, NULL));
        CHECK_OK(bind_source_load(source.identity, &again));
        CHECK_OK(renameat(directory, "place", directory, "elsewhere"));
        CHECK_ERROR(bind_source_reopen(&again, &gone), -EBUSY);
        CHECK_CONTAINS(gone.text, "not there any more");
        CHECK_OK(symlinkat("elsewhere", directory, "place"));
        CHECK_ERROR(bind_source_reopen(&again, &fault), -EBUSY);
        CHECK_CONTAINS(fault.text, "is not the bind source");
}

static void only_files_and_directories_are_bind_sources(void) {
        _cleanup_(bind_source_done) BindSource source = { .fd = -EBADF };
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK_ERROR(bind_source_new(fd, &source, NULL), -EINVAL);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_process_record_comes_back),
                CHECK_CASE(an_exit_record_comes_back),
                CHECK_CASE(a_sentence_cannot_forge_a_record),
                CHECK_CASE(the_longest_sentence_fits),
                CHECK_CASE(damaged_records_are_refused),
                CHECK_CASE(a_process_is_known_by_number_and_start),
                CHECK_CASE(shorter_and_longer_messages_are_understood),
                CHECK_CASE(a_bind_source_is_found_again),
                CHECK_CASE(another_file_in_its_place_is_refused),
                CHECK_CASE(only_files_and_directories_are_bind_sources),
                {},
        });
}
