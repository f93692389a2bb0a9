/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/message.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/unit/check.h"

static size_t open_fds(void) {
        DIR *stream = opendir("/proc/self/fd");
        size_t count = 0;
        while (stream && readdir(stream))
                count++;
        if (stream)
                closedir(stream);
        return count;
}

static void only_the_daemon_does_not_block(void) {
        int daemon, worker;
        CHECK_OK(message_pair(&daemon, &worker));
        CHECK(fcntl(daemon, F_GETFL) & O_NONBLOCK);
        CHECK(!(fcntl(worker, F_GETFL) & O_NONBLOCK));
        CHECK(fcntl(worker, F_GETFD) & FD_CLOEXEC);
        char byte;
        CHECK_ERROR(message_receive(daemon, &byte, 1, NULL, NULL), -EAGAIN);
        fd_close(daemon);
        fd_close(worker);
}

static void carries_whole_messages_with_descriptors(void) {
        int daemon, worker, pipes[2], fds[MESSAGE_FDS_MAX];
        size_t count = 99;
        char text[32];
        CHECK_OK(message_pair(&daemon, &worker));
        CHECK_INT(pipe2(pipes, 0), 0);
        CHECK_OK(message_send(daemon, "one", 4, pipes, 2));
        CHECK_OK(message_send(daemon, "two", 4, NULL, 0));
        CHECK_INT(message_receive(worker, text, sizeof(text), fds, &count), 4);
        CHECK_STRING(text, "one");
        CHECK_INT(count, 2);
        CHECK(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
        CHECK_INT(write(fds[1], "x", 1), 1);
        CHECK_INT(read(pipes[0], text, 1), 1);
        fd_close_many(fds, 2);
        CHECK_INT(message_receive(worker, text, sizeof(text), fds, &count), 4);
        CHECK_STRING(text, "two");
        CHECK_INT(count, 0);
        fd_close_many(pipes, 2);
        fd_close(daemon);
        fd_close(worker);
}

static void an_end_that_is_gone(void) {
        int daemon, worker;
        char byte;
        CHECK_OK(message_pair(&daemon, &worker));
        fd_close(daemon);
        CHECK_INT(message_receive(worker, &byte, 1, NULL, NULL), 0);
        CHECK_ERROR(message_send(worker, "x", 1, NULL, 0), -EPIPE);
        fd_close(worker);
}

static void what_does_not_fit_is_refused_and_leaks_nothing(void) {
        int daemon, worker, fds[MESSAGE_FDS_MAX];
        size_t count = 0;
        char text[4];
        CHECK_OK(message_pair(&daemon, &worker));
        size_t before = open_fds();

        CHECK_OK(message_send(daemon, "too long", 8, (const int[]){ daemon }, 1));
        CHECK_ERROR(message_receive(worker, text, sizeof(text), fds, &count), -EMSGSIZE);
        CHECK_INT(open_fds(), before);

        CHECK_OK(message_send(daemon, "x", 1, (const int[]){ daemon }, 1));
        CHECK_ERROR(message_receive(worker, text, sizeof(text), NULL, NULL), -EMSGSIZE);
        CHECK_INT(open_fds(), before);
        fd_close(daemon);
        fd_close(worker);
}

static void the_last_word_is_heard_of_one_that_did_not_listen(void) {
        int daemon, worker;
        char text[8] = "";
        CHECK_OK(message_pair(&daemon, &worker));
        CHECK_OK(message_send(daemon, "unread", 6, NULL, 0));
        CHECK_OK(message_send(worker, "word", 4, NULL, 0));
        fd_close(worker);
        CHECK_INT(message_receive(daemon, text, sizeof(text), NULL, NULL), 4);
        CHECK_STRING(text, "word");
        CHECK_INT(message_receive(daemon, text, sizeof(text), NULL, NULL), 0);
        fd_close(daemon);
}

/* A worker that was taken over sends what message_send() never would. */
static void more_descriptors_than_allowed_are_all_closed(void) {
        int daemon, worker, fds[MESSAGE_FDS_MAX], many[MESSAGE_FDS_MAX + 5];
        size_t count = 0;
        char text[4];
        CHECK_OK(message_pair(&daemon, &worker));
        size_t before = open_fds();
        for (size_t i = 0; i < ELEMENTS_OF(many); i++)
                many[i] = worker;
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(many))];
        } control = { 0 };
        struct iovec part = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(many));
        memcpy(CMSG_DATA(&control.header), many, sizeof(many));
        CHECK_INT(sendmsg(worker, &message, 0), 1);
        CHECK_ERROR(message_receive(daemon, text, sizeof(text), fds, &count), -EMSGSIZE);
        CHECK_INT(open_fds(), before);
        fd_close(daemon);
        fd_close(worker);
}

static void a_full_socket_says_again(void) {
        int daemon, worker, r = 0;
        static char big[MESSAGE_SIZE_MAX / 2];
        CHECK_OK(message_pair(&daemon, &worker));
        for (int i = 0; i < 10000 && r == 0; i++)
                r = message_send(daemon, big, sizeof(big), NULL, 0);
        CHECK_ERROR(r, -EAGAIN);
        fd_close(daemon);
        fd_close(worker);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(only_the_daemon_does_not_block),
                CHECK_CASE(carries_whole_messages_with_descriptors),
                CHECK_CASE(an_end_that_is_gone),
                CHECK_CASE(what_does_not_fit_is_refused_and_leaks_nothing),
                CHECK_CASE(the_last_word_is_heard_of_one_that_did_not_listen),
                CHECK_CASE(more_descriptors_than_allowed_are_all_closed),
                CHECK_CASE(a_full_socket_says_again),
                {},
        });
}
