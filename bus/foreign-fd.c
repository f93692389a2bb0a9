/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/foreign-fd.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/quota.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/process.h"

/* More than any daemon may have (LimitNOFILE= of the units). */
#define NUMBERS 65536
#define WORD_BITS 64
#define STACK_SIZE ((size_t) 64 * 1024)
/* So many threads are left to root and the services. */
#define RESERVED (LIMIT_SLOW_CLOSES / 8)
/* Of one message (SCM_MAX_FD of the kernel). */
#define FDS_MAX 253
#define UID_UNKNOWN ((uid_t) -1)

/* All but what is in struct closing belongs to the one thread that a daemon has besides those that close. */

typedef struct Origin {
        uint64_t sender; /* 0: not known */
        uid_t uid;
} Origin;

static uint64_t foreign[NUMBERS / WORD_BITS];
static Origin origins[NUMBERS]; /* of those that are foreign */

/* What came with the message that was read last. */
static struct {
        uint32_t serial;
        size_t count;
        int fds[FDS_MAX];
} newest;

/* What one user has sent, and is to be closed: a list of numbers. */
typedef struct Closer {
        struct Closer *next;
        uid_t uid;
        bool limited;
        int first, last;
        unsigned waiting, busy;
} Closer;

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t added;
        int after[NUMBERS]; /* the next one of the same user */
        Closer *closers;    /* who was served last is last */
        unsigned threads, idle;
        unsigned limited_busy;
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

static Closer *closer_find(uid_t uid) {
        for (Closer *closer = closing.closers; closer; closer = closer->next)
                if (closer->uid == uid)
                        return closer;
        return NULL;
}

static void closer_take_out(const Closer *closer) {
        Closer **place = &closing.closers;
        while (*place != closer)
                place = &(*place)->next;
        *place = closer->next;
}

static void closer_put_last(Closer *closer) {
        Closer **place = &closing.closers;
        while (*place)
                place = &(*place)->next;
        closer->next = NULL;
        *place = closer;
}

/* How many more of its descriptors may be closed at this moment. */
static unsigned closer_room(const Closer *closer) {
        if (!closer->limited)
                return closer->waiting;
        unsigned own = LIMIT_SLOW_CLOSES_PER_UID - closer->busy,
                 all = LIMIT_SLOW_CLOSES - RESERVED - closing.limited_busy;
        return MIN_OF(closer->waiting, MIN_OF(own, all));
}

static Closer *closer_next(void) {
        for (Closer *closer = closing.closers; closer; closer = closer->next)
                if (closer_room(closer) > 0)
                        return closer;
        return NULL;
}

static int closer_begin(Closer *closer) {
        int fd = closer->first;
        closer->first = closing.after[fd];
        closer->waiting--;
        closer->busy++;
        closing.limited_busy += closer->limited;
        closer_take_out(closer);
        closer_put_last(closer);
        return fd;
}

static void closer_end(Closer *closer) {
        closer->busy--;
        closing.limited_busy -= closer->limited;
        if (closer->busy > 0 || closer->waiting > 0)
                return;
        closer_take_out(closer);
        free(closer);
}

static void *close_in_thread(void *userdata) {
        (void) pthread_mutex_lock(&closing.mutex);
        for (;;) {
                Closer *closer;
                while (!(closer = closer_next())) {
                        closing.idle++;
                        (void) pthread_cond_wait(&closing.added, &closing.mutex);
                        closing.idle--;
                }
                int fd = closer_begin(closer);
                (void) pthread_mutex_unlock(&closing.mutex);
                (void) syscall(SYS_close, fd);
                (void) pthread_mutex_lock(&closing.mutex);
                closer_end(closer);
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

/* Whose user is not known shares with others of whom nothing is known. */
static Closer *closer_get(uid_t uid) {
        Closer *closer = closer_find(uid);
        if (closer)
                return closer;
        closer = new0(Closer, 1);
        if (!closer)
                return closing.closers;
        *closer = (Closer){ .uid = uid, .limited = uid == UID_UNKNOWN || quota_uid_is_limited(uid) };
        closer_put_last(closer);
        return closer;
}

static bool closer_add(Closer *closer, int fd) {
        if (!closer)
                return false;
        if (closer->waiting++ > 0)
                closing.after[closer->last] = fd;
        else
                closer->first = fd;
        closer->last = fd;
        return true;
}

/* All are busy, which most probably means stuck. */
static bool is_thread_wanted(void) {
        unsigned room = 0;
        for (const Closer *closer = closing.closers; closer; closer = closer->next)
                room += closer_room(closer);
        return room > closing.idle && closing.threads < LIMIT_SLOW_CLOSES;
}

static void close_later(int fd, uid_t uid) {
        static bool said;
        (void) pthread_mutex_lock(&closing.mutex);
        Closer *closer = closer_get(uid);
        bool added = closer_add(closer, fd), stuck = added && closer_room(closer) == 0,
             wanted = is_thread_wanted();
        closing.threads += wanted;
        (void) pthread_cond_signal(&closing.added);
        (void) pthread_mutex_unlock(&closing.mutex);
        if (!added) {
                (void) syscall(SYS_close, fd); /* no memory at all */
                return;
        }
        if (stuck && !said) {
                said = true;
                log_warning("%u descriptors of user %u are stuck while they are closed: others wait",
                            LIMIT_SLOW_CLOSES_PER_UID, uid);
        }
        int r = wanted ? start_thread() : 0;
        if (r >= 0)
                return;
        log_warning("can't start a thread that closes descriptors: %s", strerror(-r));
        (void) pthread_mutex_lock(&closing.mutex);
        closing.threads--;
        (void) pthread_mutex_unlock(&closing.mutex);
}

bool foreign_fd_is_closing(void) {
        (void) pthread_mutex_lock(&closing.mutex);
        bool is_closing = closing.closers != NULL;
        (void) pthread_mutex_unlock(&closing.mutex);
        return is_closing;
}

/* ---- what came from somewhere else ---- */

/* Pipes and sockets are the kernel's own, and the other side of one waits for its end. */
static bool may_be_slow(int fd) {
        struct stat st;
        return fd_look(fd, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode));
}

static void on_duplicate(int fd, int copy) {
        bool on = is_foreign(fd);
        set_foreign(copy, on);
        if (on && is_foreign(copy))
                origins[copy] = origins[fd];
}

int foreign_fd_setup(void) {
        fd_on_duplicate = on_duplicate;
        return process_reserve_descriptors();
}

bool foreign_fd_claim(uint32_t serial, uint64_t sender) {
        size_t count = newest.serial == serial ? newest.count : 0;
        for (size_t i = 0; i < count; i++)
                if (is_foreign(newest.fds[i]))
                        origins[newest.fds[i]].sender = sender;
        newest.count = 0;
        return count > 0;
}

void foreign_fd_know(uint64_t sender, uid_t uid) {
        for (size_t word = 0; word < ELEMENTS_OF(foreign); word++)
                for (uint64_t bits = foreign[word]; bits; bits &= bits - 1) {
                        Origin *origin = &origins[word * WORD_BITS + (size_t) __builtin_ctzll(bits)];
                        if (origin->sender == sender)
                                origin->uid = uid;
                }
}

/* The fixed part of a header (D-Bus specification, "Message Format"). sd-bus asks for no more than it at
 * first, and descriptors come with the first byte of their message. Answers are of those whom this daemon
 * has asked. */
static uid_t read_header(const struct msghdr *message, size_t size, uint32_t *ret_serial) {
        enum { TYPE = 1, SERIAL = 8, FIXED = 12, CALL = 1, SIGNAL = 4 };
        uint8_t header[FIXED];
        uint32_t serial;
        *ret_serial = 0;
        if (message->msg_iovlen == 0 || message->msg_iov[0].iov_len < FIXED || size < FIXED)
                return UID_UNKNOWN;
        memcpy(header, message->msg_iov[0].iov_base, sizeof(header));
        if (header[0] != 'l' && header[0] != 'B')
                return UID_UNKNOWN;
        memcpy(&serial, header + SERIAL, sizeof(serial));
        *ret_serial = header[0] == 'l' ? le32toh(serial) : be32toh(serial);
        return header[TYPE] == CALL || header[TYPE] == SIGNAL ? UID_UNKNOWN : 0;
}

static void take_in(int fd, uid_t uid) {
        bool slow = may_be_slow(fd);
        set_foreign(fd, slow);
        if (!slow || fd >= NUMBERS)
                return;
        origins[fd] = (Origin){ .uid = uid };
        if (newest.count < ELEMENTS_OF(newest.fds))
                newest.fds[newest.count++] = fd;
}

/* ---- in the place of the C library's ---- */

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int close(int fd) {
        if (!is_foreign(fd))
                return (int) syscall(SYS_close, fd);
        set_foreign(fd, false);
        close_later(fd, origins[fd].uid);
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
                uid_t uid = read_header(message, (size_t) n, &newest.serial);
                newest.count = 0;
                for (size_t i = 0; i < count; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
                        take_in(fd, uid);
                }
        }
        return n;
}
