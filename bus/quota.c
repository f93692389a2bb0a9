/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/quota.h"

#include <errno.h>
#include <pwd.h>
#include <stdbool.h>

#include "bus/bus-names.h"
#include "lib/limits.h"
#include "lib/strv.h"

typedef struct QuotaUser {
        struct QuotaUser *next;
        uid_t uid;
        unsigned total;
        unsigned held[_QUOTA_KIND_MAX];
} QuotaUser;

struct QuotaHold {
        uid_t uid;
        QuotaKind kind;
};

static const unsigned limits[_QUOTA_KIND_MAX] = {
        [QUOTA_INGESTS] = LIMIT_INGESTS_PER_UID,     [QUOTA_TRANSFERS] = LIMIT_TRANSFERS_PER_UID,
        [QUOTA_JOBS] = LIMIT_JOBS_PER_UID,           [QUOTA_CALLS] = LIMIT_PENDING_CALLS_PER_UID,
        [QUOTA_SNAPSHOTS] = LIMIT_SNAPSHOTS_PER_UID, [QUOTA_CONTAINERS] = LIMIT_CONTAINERS_PER_UID,
        [QUOTA_SURVEYS] = LIMIT_SURVEYS_PER_UID,     [QUOTA_RESOLVES] = LIMIT_RESOLVES_PER_UID,
};

/* Only users who hold something have an entry. A daemon has one thread and one set of users. */
static QuotaUser *users;

uid_t quota_system_uid(const char *user) {
        static struct {
                const char *name;
                uid_t uid;
                bool known;
        } cache[] = { { CRT_CONTENT_USER, (uid_t) -1, false }, { CRT_IMAGES_USER, (uid_t) -1, false } };

        for (size_t i = 0; i < ELEMENTS_OF(cache); i++) {
                if (!string_equal(cache[i].name, user))
                        continue;
                if (!cache[i].known) {
                        const struct passwd *entry = getpwnam(user);
                        cache[i].uid = entry ? entry->pw_uid : (uid_t) -1;
                        cache[i].known = true;
                }
                return cache[i].uid;
        }
        return (uid_t) -1;
}

bool quota_uid_is_limited(uid_t uid) {
        return uid != 0 && uid != quota_system_uid(CRT_CONTENT_USER) &&
               uid != quota_system_uid(CRT_IMAGES_USER);
}

static QuotaUser *user_find(uid_t uid) {
        for (QuotaUser *user = users; user; user = user->next)
                if (user->uid == uid)
                        return user;
        return NULL;
}

int quota_hold_new(uid_t uid, QuotaKind kind, QuotaHold **ret) {
        assert(kind >= 0 && kind < _QUOTA_KIND_MAX);
        QuotaUser *user = user_find(uid);
        if (user && user->held[kind] >= limits[kind] && quota_uid_is_limited(uid))
                return -EDQUOT;

        QuotaHold *hold = new0(QuotaHold, 1);
        if (!hold)
                return -ENOMEM;
        if (!user) {
                user = new0(QuotaUser, 1);
                if (!user) {
                        free(hold);
                        return -ENOMEM;
                }
                *user = (QuotaUser){ .next = users, .uid = uid };
                users = user;
        }
        user->held[kind]++;
        user->total++;
        *hold = (QuotaHold){ .uid = uid, .kind = kind };
        *ret = hold;
        return 0;
}

QuotaHold *quota_hold_free(QuotaHold *hold) {
        if (!hold)
                return NULL;
        QuotaUser **place = &users;
        while ((*place)->uid != hold->uid)
                place = &(*place)->next;
        QuotaUser *user = *place;
        user->held[hold->kind]--;
        if (--user->total == 0) {
                *place = user->next;
                free(user);
        }
        free(hold);
        return NULL;
}
