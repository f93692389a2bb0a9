/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/foreign-fd.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/process.h"

/* More than any daemon may have (LimitNOFILE= of the units). */
#define NUMBERS 65536
#define WORD_BITS 64
#define THREADS_MAX 1024u /* so many files may be stuck before one holds up others */
#define STACK_SIZE ((size_t) 64 * 1024)

/* Of the one thread that a daemon has but for those that close. */
static uint64_t foreign[NUMBERS / WORD_BITS];

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t added;
        int waiting[NUMBERS]; /* a ring */
        unsigned first, count;
        unsigned threads, idle;
} closing = { .mutex = PTHREAD_MUTEX_INITIALIZER, .added = PTHREAD_COND_INITIALIZER };

static bool is_foreign(int fd) {
        return fd >= 0 && fd < NUMBERS && (foreign[fd / WORD_BITS] & (UINT64_C(1) << (fd % WORD_BITS)));
}

static void set_foreign(int fd, bool on) {
        uint64_t bit = UINT64_C(1) << (fd % WORD_BITS);
        if (fd < 0 || fd >= NUMBERS)
                return;
        if (on)
                foreign[fd / WORD_BITS] |= bit;
        else
                foreign[fd / WORD_BITS] &= ~bit;
}

/* ---- the threads ---- */

static void *close_in_thread(void *userdata) {
        (void) pthread_mutex_lock(&closing.mutex);
        for (;;) {
                while (closing.count == 0) {
                        closing.idle++;
                        (void) pthread_cond_wait(&closing.added, &closing.mutex);
                        closing.idle--;
                }
                int fd = closing.waiting[closing.first];
                closing.first = (closing.first + 1) % NUMBERS;
                closing.count--;
                (void) pthread_mutex_unlock(&closing.mutex);
                (void) syscall(SYS_close, fd);
                (void) pthread_mutex_lock(&closing.mutex);
        }
        return NULL;
}

/* Signals are for the loop. */
static int start_thread(void) {
        pthread_t thread;
        pthread_attr_t attributes;
        sigset_t all, before;
        int r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread, &attributes, close_in_thread, NULL);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void) pthread_attr_destroy(&attributes);
        return -r;
}

/* A thread is started when all are busy, which most probably means stuck. */
static void close_later(int fd) {
        static bool said;
        (void) pthread_mutex_lock(&closing.mutex);
        closing.waiting[(closing.first + closing.count++) % NUMBERS] = fd;
        bool busy = closing.idle < closing.count, wanted = busy && closing.threads < THREADS_MAX;
        closing.threads += wanted;
        (void) pthread_cond_signal(&closing.added);
        (void) pthread_mutex_unlock(&closing.mutex);
        if (busy && !wanted && !said) {
                said = true;
                log_warning("%u descriptors are stuck while they are closed: others have to wait",
                            THREADS_MAX);
        }
        int r = wanted ? start_thread() : 0;
        if (r >= 0)
                return;
        log_warning("can't start a thread that closes descriptors: %s", strerror(-r));
        (void) pthread_mutex_lock(&closing.mutex);
        closing.threads--;
        (void) pthread_mutex_unlock(&closing.mutex);
}

/* ---- what came from somewhere else ---- */

/* Pipes and sockets are the kernel's own, and the other side of one waits for its end. */
static bool may_be_slow(int fd) {
        struct stat st;
        return fd_look(fd, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode));
}

static void on_duplicate(int fd, int copy) {
        set_foreign(copy, is_foreign(fd));
}

int foreign_fd_setup(void) {
        fd_on_duplicate = on_duplicate;
        return process_reserve_descriptors();
}

/* ---- in the place of the C library's ---- */

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int close(int fd) {
        if (!is_foreign(fd))
                return (int) syscall(SYS_close, fd);
        set_foreign(fd, false);
        close_later(fd);
        return 0;
}

EXPORTED ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
        ssize_t n = syscall(SYS_recvmsg, socket, message, flags);
        if (n < 0)
                return n;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
             header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
                        set_foreign(fd, may_be_slow(fd));
                }
        }
        return n;
}
