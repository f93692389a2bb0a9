/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/slow-close.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/quota.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/macros.h"

#define STACK_SIZE ((size_t) 64 * 1024)
/* So many threads are left to root and the services. */
#define RESERVED (LIMIT_SLOW_CLOSES / 8)
/* More than any daemon may have (LimitNOFILE= of the units). */
#define NUMBERS 65536

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
        unsigned limited_busy, limited_waiting;
} closing = { .mutex = PTHREAD_MUTEX_INITIALIZER, .added = PTHREAD_COND_INITIALIZER };

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
        closing.limited_waiting -= closer->limited;
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

static bool closer_is_limited(uid_t uid) {
        return uid == SLOW_CLOSE_UID_UNKNOWN || quota_uid_is_limited(uid);
}

/* Whose user is not known shares with others of whom nothing is known. */
static Closer *closer_get(uid_t uid) {
        Closer *closer = closer_find(uid);
        if (closer)
                return closer;
        closer = new0(Closer, 1);
        if (!closer)
                return closing.closers;
        *closer = (Closer){ .uid = uid, .limited = closer_is_limited(uid) };
        closer_put_last(closer);
        return closer;
}

static bool closer_add(Closer *closer, int fd) {
        if (!closer || fd >= NUMBERS)
                return false;
        closing.limited_waiting += closer->limited;
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

void slow_close(int fd, uid_t uid) {
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

bool slow_close_is_under_way(void) {
        (void) pthread_mutex_lock(&closing.mutex);
        bool is_under_way = closing.closers != NULL;
        (void) pthread_mutex_unlock(&closing.mutex);
        return is_under_way;
}

static bool is_crowded(void) {
        if (closing.limited_waiting >= LIMIT_WAITING_CLOSES)
                return true;
        for (const Closer *closer = closing.closers; closer; closer = closer->next)
                if (closer->limited && closer->waiting >= LIMIT_WAITING_CLOSES_PER_UID)
                        return true;
        return false;
}

bool slow_close_is_crowded(void) {
        (void) pthread_mutex_lock(&closing.mutex);
        bool crowded = is_crowded();
        (void) pthread_mutex_unlock(&closing.mutex);
        return crowded;
}

bool slow_close_is_full(uid_t uid) {
        if (!closer_is_limited(uid))
                return false;
        (void) pthread_mutex_lock(&closing.mutex);
        const Closer *closer = closer_find(uid);
        bool full = closing.limited_waiting >= LIMIT_WAITING_CLOSES ||
                    (closer && closer->waiting >= LIMIT_WAITING_CLOSES_PER_UID);
        (void) pthread_mutex_unlock(&closing.mutex);
        return full;
}
