/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/foreign-fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/message-head.h"
#include "bus/sender-user.h"
#include "bus/slow-close.h"
#include "lib/fd.h"
#include "lib/process.h"

/* More than any daemon may have (LimitNOFILE= of the units). */
#define NUMBERS 65536
#define WORD_BITS 64
/* Of one message (SCM_MAX_FD of the kernel). */
#define FDS_MAX 253
#define UID_UNKNOWN SLOW_CLOSE_UID_UNKNOWN
/* What the kernel keeps in one piece at most, with the descriptors at its beginning. */
#define PEEK_SIZE ((size_t) 64 * 1024)

typedef struct Origin {
        uint64_t sender; /* 0: not known */
        uid_t uid;
} Origin;

static uint64_t foreign[NUMBERS / WORD_BITS];
static Origin origins[NUMBERS]; /* of those that are foreign */

/* What came with the message that was read last. */
static struct {
        uint32_t serial;
        bool withheld;
        size_t count;
        int fds[FDS_MAX];
} newest;

/* What came on this connection is looked at before it is read, while somebody has sent too many. */
static struct {
        sd_bus *bus;         /* weak */
        PeerRegistry *peers; /* weak */
        SenderUser *users;
        int nothing; /* what is handed on instead */
} guard = { .nothing = -EBADF };

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

int foreign_fd_guard(sd_bus *bus, sd_event *event, PeerRegistry *peers) {
        guard.nothing = open("/", O_PATH | O_CLOEXEC);
        if (guard.nothing < 0)
                return -errno;
        int r = sender_user_new(event, &guard.users);
        if (r < 0)
                return r;
        guard.bus = bus;
        guard.peers = peers;
        return 0;
}

void foreign_fd_unguard(void) {
        guard.bus = NULL;
        guard.peers = NULL;
        guard.users = sender_user_free(guard.users);
        guard.nothing = fd_close(guard.nothing);
}

bool foreign_fd_claim(uint32_t serial, uint64_t sender, bool *ret_withheld) {
        bool is_newest = newest.serial == serial;
        size_t count = is_newest ? newest.count : 0;
        for (size_t i = 0; i < count; i++)
                if (is_foreign(newest.fds[i]))
                        origins[newest.fds[i]].sender = sender;
        *ret_withheld = is_newest && newest.withheld;
        newest.count = 0;
        newest.withheld = false;
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

/* ---- before it is read ---- */

typedef enum Verdict {
        VERDICT_TAKE,
        VERDICT_WITHHOLD,
        VERDICT_LATER, /* the bus is being asked whose it is */
} Verdict;

/* Bytes of what will be read next, up to so many; whether descriptors come with them. Those stay where they
 * are: there is no room for them. */
static ssize_t peek(int socket, void *data, size_t size, bool *ret_fds) {
        struct iovec vector = { .iov_base = data, .iov_len = size };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        ssize_t n = syscall(SYS_recvmsg, socket, &message, MSG_PEEK | MSG_DONTWAIT);
        *ret_fds = n > 0 && (message.msg_flags & MSG_CTRUNC);
        return n;
}

static Verdict judge_sender(const char *sender, uid_t *ret_uid) {
        const Peer *peer = peer_registry_find(guard.peers, sender);
        int r = 0;
        if (peer)
                *ret_uid = peer_uid(peer);
        else
                r = sender_user_find(guard.users, sender, ret_uid);
        if (r == -EAGAIN)
                return VERDICT_LATER;
        return r < 0 || slow_close_is_full(*ret_uid) ? VERDICT_WITHHOLD : VERDICT_TAKE;
}

/* Nothing of a signal is looked at. Answers are of those whom this daemon has asked. */
static Verdict judge(int socket, size_t size, MessageHead *ret_head, uid_t *ret_uid) {
        enum { ANSWER = 2, ERROR = 3, SIGNAL = 4 };
        static uint8_t data[PEEK_SIZE];
        bool fds;
        if (peek(socket, data, MIN_OF(size, sizeof(data)), &fds) <= 0 || !fds)
                return VERDICT_TAKE;
        ssize_t n = peek(socket, data, sizeof(data), &fds);
        if (n < 0 || message_head_read(data, (size_t) n, ret_head) < 0)
                return VERDICT_WITHHOLD; /* who hides from whom it is gets no answer */
        if (ret_head->fds == 0)
                return VERDICT_TAKE; /* it was something else for which there was no room */
        if (ret_head->type == ANSWER || ret_head->type == ERROR) {
                *ret_uid = 0;
                return VERDICT_TAKE;
        }
        return ret_head->type == SIGNAL ? VERDICT_WITHHOLD : judge_sender(ret_head->sender, ret_uid);
}

/* ---- what arrives ---- */

/* sd-bus asks for no more than the fixed part at first, and descriptors come with the first byte of their
 * message. */
static uid_t read_header(const struct msghdr *message, size_t size, uint32_t *ret_serial) {
        enum { CALL = 1, SIGNAL = 4 };
        MessageHead head;
        *ret_serial = 0;
        if (message->msg_iovlen == 0 ||
            message_head_read_fixed(message->msg_iov[0].iov_base, MIN_OF(size, message->msg_iov[0].iov_len),
                                    &head) < 0)
                return UID_UNKNOWN;
        *ret_serial = head.serial;
        return head.type == CALL || head.type == SIGNAL ? UID_UNKNOWN : 0;
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
        slow_close(fd, origins[fd].uid);
        return 0;
}

static void take_in_all(const struct cmsghdr *header, uid_t uid) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
                take_in(fd, uid);
        }
}

/* In the place of so many descriptors, so that the message is one. */
static bool put_nothing(struct msghdr *message, size_t count) {
        int fds[FDS_MAX];
        size_t i = 0;
        if (count == 0 || count > ELEMENTS_OF(fds) ||
            message->msg_controllen < CMSG_SPACE(count * sizeof(int)))
                return false;
        while (i < count && (fds[i] = fcntl(guard.nothing, F_DUPFD_CLOEXEC, 3)) >= 0)
                i++;
        if (i < count) {
                fd_close_many(fds, i);
                return false;
        }
        struct cmsghdr *header = message->msg_control;
        *header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                    .cmsg_type = SCM_RIGHTS,
                                    .cmsg_len = CMSG_LEN(count * sizeof(int)) };
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
        message->msg_controllen = CMSG_SPACE(count * sizeof(int));
        return true;
}

/* The kernel lets go of what it has no room for, and asks no file system. */
static ssize_t receive_without(int socket, struct msghdr *message, int flags, const MessageHead *head) {
        void *control = message->msg_control;
        size_t size = message->msg_controllen;
        message->msg_control = NULL;
        message->msg_controllen = 0;
        ssize_t n = syscall(SYS_recvmsg, socket, message, flags);
        message->msg_control = control;
        message->msg_controllen = size;
        if (n < 0)
                return n;
        message->msg_flags &= ~MSG_CTRUNC;
        if (!put_nothing(message, head->fds))
                message->msg_controllen = 0;
        newest.count = 0;
        newest.serial = head->serial;
        newest.withheld = true;
        return n;
}

static ssize_t receive(int socket, struct msghdr *message, int flags, uid_t uid) {
        ssize_t n = syscall(SYS_recvmsg, socket, message, flags);
        if (n < 0)
                return n;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
             header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                uid_t other = read_header(message, (size_t) n, &newest.serial);
                newest.count = 0;
                newest.withheld = false;
                take_in_all(header, uid == UID_UNKNOWN ? other : uid);
        }
        return n;
}

EXPORTED ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
        Verdict verdict = VERDICT_TAKE;
        uid_t uid = UID_UNKNOWN;
        MessageHead head = { 0 };
        if (guard.bus && slow_close_is_crowded() && socket == sd_bus_get_fd(guard.bus) &&
            message->msg_iovlen == 1)
                verdict = judge(socket, message->msg_iov[0].iov_len, &head, &uid);
        if (verdict == VERDICT_LATER) {
                errno = EAGAIN;
                return -1;
        }
        return verdict == VERDICT_WITHHOLD ? receive_without(socket, message, flags, &head)
                                           : receive(socket, message, flags, uid);
}
