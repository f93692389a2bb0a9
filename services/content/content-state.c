/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"

/* When a blob came is known for each namespace: none learns from it that another one had it before. Numbers
 * of ingests are never used again, so a file that was left behind is never taken for that of a later one. */
static const char *const migrations[] = {
        "CREATE TABLE blobs ("
        "  digest TEXT PRIMARY KEY,"
        "  size INTEGER NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE namespace_blobs ("
        "  namespace TEXT NOT NULL,"
        "  digest TEXT NOT NULL REFERENCES blobs (digest),"
        "  created INTEGER NOT NULL,"
        "  PRIMARY KEY (namespace, digest)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX namespace_blobs_digest ON namespace_blobs (digest);"
        "CREATE TABLE ingests ("
        "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
        "  namespace TEXT NOT NULL,"
        "  reference TEXT NOT NULL,"
        "  digest TEXT NOT NULL,"
        "  size INTEGER NOT NULL,"
        "  started INTEGER NOT NULL,"
        "  touched INTEGER NOT NULL,"
        "  uid INTEGER NOT NULL,"
        "  UNIQUE (namespace, reference)"
        ") STRICT;",

        /* What a namespace holds in all is counted by triggers, whoever adds and takes away. Labels and what
         * a lease names go with the thing that has them. */
        "ALTER TABLE blobs ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;" /* when that was found out */
        "ALTER TABLE blobs ADD COLUMN verity INTEGER NOT NULL DEFAULT 0;"
        "CREATE INDEX blobs_damaged ON blobs (digest) WHERE damaged > 0;"
        "ALTER TABLE namespace_blobs ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE ingests ADD COLUMN at_most INTEGER NOT NULL DEFAULT -1;"
        "CREATE TABLE namespaces ("
        "  namespace TEXT PRIMARY KEY,"
        "  blobs INTEGER NOT NULL DEFAULT 0,"
        "  bytes INTEGER NOT NULL DEFAULT 0,"
        "  shareable INTEGER NOT NULL DEFAULT 0"
        ") STRICT, WITHOUT ROWID;"
        "INSERT INTO namespaces (namespace, blobs, bytes) SELECT namespace, COUNT(*), SUM(size)"
        "  FROM namespace_blobs JOIN blobs USING (digest) GROUP BY namespace;"
        "CREATE TABLE labels ("
        "  kind INTEGER NOT NULL,"
        "  namespace TEXT NOT NULL,"
        "  object TEXT NOT NULL,"
        "  key TEXT NOT NULL,"
        "  value TEXT NOT NULL,"
        "  PRIMARY KEY (kind, namespace, object, key)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX labels_reserved ON labels (kind, object, key)"
        "  WHERE key >= 'org.crt.' AND key < 'org.crt/';"
        "CREATE TABLE leases ("
        "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
        "  namespace TEXT NOT NULL,"
        "  id TEXT NOT NULL,"
        "  created INTEGER NOT NULL,"
        "  until INTEGER NOT NULL," /* 0: no deadline */
        "  flat INTEGER NOT NULL,"
        "  binding TEXT NOT NULL,"
        "  owner TEXT NOT NULL,"
        "  proof TEXT NOT NULL,"
        "  uid INTEGER NOT NULL,"
        "  UNIQUE (namespace, id)"
        ") STRICT;"
        "CREATE INDEX leases_until ON leases (until) WHERE until > 0;"
        "CREATE INDEX leases_bound ON leases (number) WHERE binding <> '';"
        "CREATE INDEX leases_uid ON leases (uid);"
        "CREATE TABLE lease_resources ("
        "  lease INTEGER NOT NULL REFERENCES leases (number) ON DELETE CASCADE,"
        "  type TEXT NOT NULL,"
        "  name TEXT NOT NULL,"
        "  PRIMARY KEY (lease, type, name)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX lease_resources_name ON lease_resources (name, type);"
        "CREATE TRIGGER namespace_gains AFTER INSERT ON namespace_blobs BEGIN"
        "  INSERT OR IGNORE INTO namespaces (namespace) VALUES (NEW.namespace);"
        "  UPDATE namespaces SET blobs = blobs + 1,"
        "    bytes = bytes + (SELECT size FROM blobs WHERE digest = NEW.digest)"
        "    WHERE namespace = NEW.namespace;"
        " END;"
        "CREATE TRIGGER namespace_loses AFTER DELETE ON namespace_blobs BEGIN"
        "  UPDATE namespaces SET blobs = blobs - 1,"
        "    bytes = bytes - (SELECT size FROM blobs WHERE digest = OLD.digest)"
        "    WHERE namespace = OLD.namespace;"
        "  DELETE FROM labels WHERE kind = 0 AND namespace = OLD.namespace AND object = OLD.digest;"
        " END;"
        "CREATE TRIGGER lease_ends AFTER DELETE ON leases BEGIN"
        "  DELETE FROM labels WHERE kind = 1 AND namespace = OLD.namespace AND object = OLD.id;"
        " END;"
        "CREATE TRIGGER ingest_ends AFTER DELETE ON ingests BEGIN"
        "  DELETE FROM labels WHERE kind = 2 AND namespace = OLD.namespace AND object = OLD.reference;"
        " END;",

        /* What labels and leases take in the lists of a collection (collect-content.c), and a lease in the
         * one of the objects: length() counts the characters of a text, and the bytes of a blob. granted:
         * when a blob was last sent, or asked for by who would send it. asked: the option "until" of a
         * lease, of which until is the first, and of what the label LABEL_GC_EXPIRE says. */
        "ALTER TABLE namespace_blobs ADD COLUMN granted INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE namespaces ADD COLUMN label_bytes INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE namespaces ADD COLUMN lease_bytes INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE leases ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE leases ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE leases ADD COLUMN object_bytes INTEGER AS (512);"
        "ALTER TABLE labels ADD COLUMN bytes INTEGER AS (length(namespace) + length(CAST(object AS BLOB))"
        "  + length(CAST(key AS BLOB)) + length(CAST(value AS BLOB)) + 17);"
        "ALTER TABLE lease_resources ADD COLUMN bytes INTEGER AS (length(type)"
        "  + length(CAST(name AS BLOB)) + 13);"
        "INSERT OR IGNORE INTO namespaces (namespace)"
        "  SELECT namespace FROM labels UNION SELECT namespace FROM leases;"
        "UPDATE leases SET asked = until, bytes = coalesce("
        "  (SELECT SUM(r.bytes + length(leases.namespace) + length(leases.id))"
        "    FROM lease_resources r WHERE r.lease = leases.number), 0);"
        "UPDATE namespaces SET label_bytes ="
        "    coalesce((SELECT SUM(bytes) FROM labels l WHERE l.namespace = namespaces.namespace), 0) +"
        "    coalesce((SELECT SUM(object_bytes) FROM leases l WHERE l.namespace = namespaces.namespace), 0),"
        "  lease_bytes ="
        "    coalesce((SELECT SUM(bytes) FROM leases l WHERE l.namespace = namespaces.namespace), 0);"
        "CREATE TRIGGER label_comes AFTER INSERT ON labels BEGIN"
        "  INSERT OR IGNORE INTO namespaces (namespace) VALUES (NEW.namespace);"
        "  UPDATE namespaces SET label_bytes = label_bytes + NEW.bytes WHERE namespace = NEW.namespace;"
        " END;"
        "CREATE TRIGGER label_goes AFTER DELETE ON labels BEGIN"
        "  UPDATE namespaces SET label_bytes = label_bytes - OLD.bytes WHERE namespace = OLD.namespace;"
        " END;"
        "CREATE TRIGGER lease_comes AFTER INSERT ON leases BEGIN"
        "  INSERT OR IGNORE INTO namespaces (namespace) VALUES (NEW.namespace);"
        "  UPDATE namespaces SET label_bytes = label_bytes + NEW.object_bytes"
        "    WHERE namespace = NEW.namespace;"
        " END;"
        "CREATE TRIGGER lease_goes AFTER DELETE ON leases BEGIN"
        "  UPDATE namespaces SET label_bytes = label_bytes - OLD.object_bytes,"
        "    lease_bytes = lease_bytes - OLD.bytes WHERE namespace = OLD.namespace;"
        " END;"
        "CREATE TRIGGER lease_changes AFTER UPDATE OF bytes ON leases BEGIN"
        "  UPDATE namespaces SET lease_bytes = lease_bytes + NEW.bytes - OLD.bytes"
        "    WHERE namespace = NEW.namespace;"
        " END;"
        "CREATE TRIGGER resource_comes AFTER INSERT ON lease_resources BEGIN"
        "  UPDATE leases SET bytes = bytes + NEW.bytes + length(namespace) + length(id)"
        "    WHERE number = NEW.lease;"
        " END;"
        /* When the lease itself goes, there is none to be found. */
        "CREATE TRIGGER resource_goes AFTER DELETE ON lease_resources BEGIN"
        "  UPDATE leases SET bytes = bytes - OLD.bytes - length(namespace) - length(id)"
        "    WHERE number = OLD.lease;"
        " END;",

        /* How many things a lease names: counting them for each that is added took longer and longer. */
        "ALTER TABLE leases ADD COLUMN things INTEGER NOT NULL DEFAULT 0;"
        "UPDATE leases SET things = (SELECT COUNT(*) FROM lease_resources r WHERE r.lease = leases.number);"
        "DROP TRIGGER resource_comes;"
        "CREATE TRIGGER resource_comes AFTER INSERT ON lease_resources BEGIN"
        "  UPDATE leases SET things = things + 1, bytes = bytes + NEW.bytes + length(namespace) + length(id)"
        "    WHERE number = NEW.lease;"
        " END;"
        "DROP TRIGGER resource_goes;"
        "CREATE TRIGGER resource_goes AFTER DELETE ON lease_resources BEGIN"
        "  UPDATE leases SET things = things - 1, bytes = bytes - OLD.bytes - length(namespace) - length(id)"
        "    WHERE number = OLD.lease;"
        " END;",
};

static int open_directory(int directory, const char *name) {
        if (mkdirat(directory, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int content_state_open(int directory, ContentState **ret, Fault *fault) {
        _cleanup_(content_state_freep) ContentState *state = new0(ContentState, 1);
        if (!state)
                return -ENOMEM;
        *state = (ContentState){ .blobs = -EBADF,
                                 .ingests = -EBADF,
                                 .reserve = { .directory = -EBADF },
                                 .bytes_per_user = LIMIT_BLOB_BYTES_PER_UID };

        for (size_t i = 0; i < ELEMENTS_OF(state->directories); i++)
                state->directories[i].made = 1;
        state->blobs = open_directory(directory, "blobs");
        if (state->blobs < 0)
                return fault_set_errno(fault, state->blobs, "blobs");
        state->ingests = open_directory(directory, "ingest");
        if (state->ingests < 0)
                return fault_set_errno(fault, state->ingests, "ingest");
        if (fsync(directory) < 0)
                return fault_set_errno(fault, -errno, "can't sync the state directory");
        int r = database_open(directory, "content.db", migrations, ELEMENTS_OF(migrations), &state->database,
                              fault);
        if (r >= 0)
                r = store_reserve_init(&state->reserve, directory);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(state);
        return 0;
}

ContentState *content_state_free(ContentState *state) {
        if (!state)
                return NULL;
        database_free(state->database);
        fd_close(state->blobs);
        fd_close(state->ingests);
        store_reserve_done(&state->reserve);
        free(state);
        return NULL;
}

void content_state_relax(ContentState *state) {
        (void) database_set_durable(state->database, false);
}

void content_state_unrelax(ContentState *state) {
        (void) database_set_durable(state->database, true);
}

void content_state_wait(ContentState *state, ContentWaiter *waiter, void (*run)(void *userdata),
                        void *userdata) {
        ContentWaiter **end = &state->waiters;
        while (*end)
                end = &(*end)->next;
        *waiter = (ContentWaiter){ .state = state, .run = run, .userdata = userdata };
        *end = waiter;
}

void content_waiter_done(ContentWaiter *waiter) {
        if (!waiter->state)
                return;
        ContentWaiter **place = &waiter->state->waiters;
        while (*place != waiter)
                place = &(*place)->next;
        *place = waiter->next;
        *waiter = (ContentWaiter){ 0 };
}

void content_state_hold(ContentState *state, bool held) {
        state->held = held;
        while (!state->held && state->waiters) {
                ContentWaiter waiter = *state->waiters;
                content_waiter_done(state->waiters);
                waiter.run(waiter.userdata);
        }
}

void content_state_note_change(const ContentState *state) {
        if (state->changed)
                state->changed(state->touched_userdata);
}

void content_state_touch(const ContentState *state, const char *namespace, const Digest *digest) {
        if (state->touched)
                state->touched(namespace, digest, state->touched_userdata);
}

bool content_state_is_placing(const ContentState *state, const Digest *digest) {
        return state->placing && state->placing(digest, state->placing_userdata);
}

uint64_t content_now(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

int content_visit_directory(int directory, DirectoryVisit visit, void *userdata) {
        _cleanup_close_ int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = copy < 0 ? NULL : fdopendir(copy);
        if (!stream)
                return -errno;
        TAKE_FD(copy);

        int r = 0;
        while (r >= 0) {
                errno = 0;
                const struct dirent *entry = readdir(stream);
                if (!entry) {
                        r = errno > 0 ? -errno : 0;
                        break;
                }
                if (entry->d_name[0] != '.')
                        r = visit(directory, entry->d_name, userdata);
        }
        (void) closedir(stream);
        return r < 0 ? r : 0;
}
