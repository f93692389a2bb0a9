/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/diff-task.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/compress.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-hold.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/worker-run.h"

struct DiffTask {
        DiffTask *next;
        DiffTable *table; /* weak */
        DiffSpec spec;    /* callbacks and uid; the rest is not kept */
        SnapshotHold *holds[2];
        WorkerRun *run;
};

struct DiffTable {
        SnapshotManager *manager; /* weak */
        DiffTask *tasks;
};

/* What a task is about. */
typedef struct DiffSnapshots {
        Snapshot new, old; /* old.id 0: nothing */
} DiffSnapshots;

static void diff_snapshots_done(DiffSnapshots *snapshots) {
        snapshot_done(&snapshots->new);
        snapshot_done(&snapshots->old);
}

/* ---- life ---- */

int diff_table_new(SnapshotManager *manager, DiffTable **ret) {
        *ret = new0(DiffTable, 1);
        if (!*ret)
                return -ENOMEM;
        (*ret)->manager = manager;
        return 0;
}

static DiffTask *task_free(DiffTask *task) {
        if (!task)
                return NULL;
        DiffTask **place = &task->table->tasks;
        while (*place && *place != task)
                place = &(*place)->next;
        if (*place)
                *place = task->next;
        worker_run_free(task->run);
        for (size_t i = 0; i < ELEMENTS_OF(task->holds); i++)
                snapshot_hold_free(task->holds[i]);
        return mfree(task);
}
DEFINE_CLEANUP(DiffTask *, task_free);

DiffTable *diff_table_free(DiffTable *table) {
        if (!table)
                return NULL;
        while (table->tasks)
                task_free(table->tasks);
        return mfree(table);
}

/* ---- the end ---- */

static void task_end(DiffTask *task, int r, const DiffOutcome *outcome, const Fault *fault) {
        DiffSpec spec = task->spec;
        task_free(task);
        spec.on_end(r, outcome, fault, spec.userdata);
}

void diff_task_cancel(DiffTask *task) {
        task_end(task, -ECANCELED, NULL, NULL);
}

/* "DIFF-ID DIGEST". */
static int parse_outcome(char *text, DiffOutcome *ret) {
        Digest digest;
        char *space = strchr(text, ' ');
        if (!space)
                return -EIO;
        *space = '\0';
        ret->diff_id = text;
        ret->digest = space + 1;
        return digest_parse(ret->diff_id, &digest) < 0 || digest_parse(ret->digest, &digest) < 0 ? -EIO : 0;
}

static void on_worker_progress(uint64_t bytes, void *userdata) {
        const DiffTask *task = userdata;
        task->spec.on_progress(bytes, task->spec.userdata);
}

static void on_worker_end(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        WorkerMessage message = *done;
        DiffOutcome outcome = { .size = message.bytes };
        if (r < 0)
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
        else if ((r = parse_outcome(message.text, &outcome)) < 0)
                (void) fault_set(&own, r, "crt-diff answered without digests");
        task_end(userdata, r, &outcome, &own);
}

/* ---- the trees ---- */

/* Whatever it is, nothing can be written through it, and no device opened. */
static int make_read_only(int fd) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV };
        _cleanup_close_ int mount = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (mount < 0)
                return -errno;
        if (mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return -errno;
        return TAKE_FD(mount);
}

/* A detached mount can't be cloned by older kernels, but is read-only already. */
static int only_for_reading(int fd) {
        struct statvfs st;
        if (fd < 0)
                return fd;
        if (fstatvfs(fd, &st) >= 0 && (st.f_flag & ST_RDONLY))
                return fd;
        int r = make_read_only(fd);
        fd_close(fd);
        return r;
}

/* An image is made of a tree when it is committed. */
static SnapshotDriverKind own_driver(const Snapshot *snapshot) {
        return snapshot->kind == SNAPSHOT_ACTIVE && snapshot->driver == DRIVER_EROFS ? DRIVER_OVERLAYFS
                                                                                     : snapshot->driver;
}

static int read_chain(SnapshotManager *manager, const Snapshot *snapshot, SnapshotLayer **ret,
                      size_t *ret_count, Fault *fault) {
        int r = snapshot_store_chain(manager->store, snapshot->id, ret, ret_count);
        if (r < 0 || *ret_count == 0)
                return fault_set_errno(fault, r < 0 ? r : -EIO, "Can't find what '%s' is built on",
                                       snapshot->key);
        (*ret)[0].driver = own_driver(snapshot);
        return 0;
}

/* Everything that a snapshot consists of. An active one may be mounted somewhere and written to: what is
 * read of it then is what was there at that moment. */
static int open_merged(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        _cleanup_free_ SnapshotLayer *chain = NULL;
        size_t count = 0, own = snapshot->kind == SNAPSHOT_VIEW;
        int r = read_chain(manager, snapshot, &chain, &count, fault);
        if (r >= 0)
                r = only_for_reading(
                        tree_mounts_open_merged(manager->tree_mounts, chain + own, count - own, fault));
        return r < 0 ? fault_set_errno(fault, r, "Can't open '%s'", snapshot->key) : r;
}

/* In a layered tree lies everything that differs from its parent. */
static int open_upper(SnapshotManager *manager, const DiffSnapshots *snapshots, Fault *fault) {
        const Snapshot *new = &snapshots->new;
        if (snapshots->old.id == 0 || snapshots->old.id != new->parent_id || new->kind == SNAPSHOT_VIEW ||
            snapshot_driver_get(new->driver)->whole)
                return -EBADF;
        const SnapshotLayer layer = { .id = new->id, .driver = own_driver(new) };
        int r = only_for_reading(tree_mounts_open_root(manager->tree_mounts, layer, fault));
        return r < 0 ? fault_set_errno(fault, r, "Can't open '%s'", new->key) : r;
}

/* Inode numbers of overlays are those of the trees below, and a btrfs snapshot keeps them. */
static int check_same_inodes(SnapshotManager *manager, const DiffSnapshots *snapshots, bool *ret,
                             Fault *fault) {
        const Snapshot *both[] = { &snapshots->new, &snapshots->old };
        SnapshotDriverKind driver = snapshots->new.driver;
        *ret = driver == DRIVER_OVERLAYFS || driver == DRIVER_BTRFS;
        for (size_t i = 0; *ret && i < ELEMENTS_OF(both) && both[i]->id > 0; i++) {
                _cleanup_free_ SnapshotLayer *chain = NULL;
                size_t count = 0;
                int r = read_chain(manager, both[i], &chain, &count, fault);
                if (r < 0)
                        return r;
                for (size_t k = 0; k < count; k++)
                        *ret = *ret && chain[k].driver == driver;
        }
        return 0;
}

/* ---- the beginning ---- */

static int find_snapshots(SnapshotManager *manager, const DiffSpec *spec, DiffSnapshots *ret, Fault *fault) {
        int r = snapshot_store_get(manager->store, spec->namespace, spec->key, &ret->new, fault);
        if (r >= 0)
                r = snapshot_check_use(&ret->new, SNAPSHOT_USE_DIFF, fault);
        if (r >= 0)
                r = snapshot_commit_check_settled(manager, &ret->new, fault);
        if (r < 0)
                return r;
        if (spec->lower && spec->lower[0] != '\0') {
                r = snapshot_store_get(manager->store, spec->namespace, spec->lower, &ret->old, fault);
                if (r >= 0)
                        r = snapshot_check_use(&ret->old, SNAPSHOT_USE_DIFF, fault);
                return r < 0 ? r : snapshot_commit_check_settled(manager, &ret->old, fault);
        }
        if (spec->lower || ret->new.parent_id == 0)
                return 0;
        r = snapshot_store_get_by_id(manager->store, ret->new.parent_id, &ret->old);
        return r < 0 ? fault_set_errno(fault, r, "Can't find the parent of '%s'", spec->key) : 0;
}

static int check_limits(const DiffTable *table, const DiffSpec *spec, Fault *fault) {
        unsigned count = 0;
        for (const DiffTask *task = table->tasks; task; task = task->next)
                count += task->spec.uid == spec->uid;
        if (count >= (spec->limited ? LIMIT_DIFFS_PER_UID : LIMIT_DIFFS))
                return fault_set(fault, -EDQUOT, "%u layers are being made for you already", count);
        return 0;
}

int diff_task_check(DiffTable *table, const DiffSpec *spec, Fault *fault) {
        _cleanup_(diff_snapshots_done) DiffSnapshots snapshots = { 0 };
        int r = check_limits(table, spec, fault);
        if (r >= 0)
                r = compress_check_level(spec->compression, spec->level, fault);
        return r < 0 ? r : find_snapshots(table->manager, spec, &snapshots, fault);
}

static int hold_snapshots(DiffTask *task, const DiffSnapshots *snapshots) {
        int r = snapshot_hold_new(task->table->manager, snapshots->new.id, &task->holds[0]);
        if (r >= 0 && snapshots->old.id > 0)
                r = snapshot_hold_new(task->table->manager, snapshots->old.id, &task->holds[1]);
        return r;
}

static int start_worker(DiffTask *task, const DiffSpec *spec, const int *fds, size_t fd_count,
                        const char *flags, Fault *fault) {
        char level[16], epoch[24] = "-";
        (void) snprintf(level, sizeof(level), "%i", spec->level);
        if (spec->clamp)
                (void) snprintf(epoch, sizeof(epoch), "%" PRIi64, spec->epoch);
        const WorkerRunSpec run = {
                .program = "crt-diff",
                .arguments = (const char *const[]){ compression_to_string(spec->compression), level, epoch,
                                                    flags, NULL },
                .fds = fds,
                .fd_count = fd_count,
                .on_progress = on_worker_progress,
                .on_end = on_worker_end,
                .userdata = task,
        };
        return worker_run_new(task->table->manager->event, &run, &task->run, fault);
}

static int start_task(DiffTask *task, const DiffSpec *spec, const DiffSnapshots *snapshots, int output,
                      Fault *fault) {
        SnapshotManager *manager = task->table->manager;
        int fds[4] = { output };
        size_t count = 2;
        char flags[4] = "";
        bool same_inodes;
        int r = check_same_inodes(manager, snapshots, &same_inodes, fault);
        if (r < 0)
                return r;
        if (same_inodes)
                strcat(flags, "i");
        _cleanup_close_ int new = open_merged(manager, &snapshots->new, fault);
        if (new < 0)
                return new;
        fds[1] = new;
        _cleanup_close_ int old =
                snapshots->old.id > 0 ? open_merged(manager, &snapshots->old, fault) : -EBADF;
        if (snapshots->old.id > 0) {
                if (old < 0)
                        return old;
                fds[count++] = old;
                strcat(flags, "o");
        }
        _cleanup_close_ int upper = open_upper(manager, snapshots, fault);
        if (upper >= 0) {
                fds[count++] = upper;
                strcat(flags, "u");
        } else if (upper != -EBADF)
                return upper;
        return start_worker(task, spec, fds, count, flags, fault);
}

int diff_task_new(DiffTable *table, const DiffSpec *spec, DiffTask **ret, int *ret_layer, Fault *fault) {
        _cleanup_(diff_snapshots_done) DiffSnapshots snapshots = { 0 };
        _cleanup_(task_freep) DiffTask *task = new0(DiffTask, 1);
        int ends[2];
        if (!task)
                return -ENOMEM;
        *task = (DiffTask){ .next = table->tasks, .table = table, .spec = *spec };
        int r = check_limits(table, spec, fault);
        table->tasks = task;
        if (r >= 0)
                r = find_snapshots(table->manager, spec, &snapshots, fault);
        if (r >= 0)
                r = hold_snapshots(task, &snapshots);
        if (r < 0)
                return r;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return fault_set_errno(fault, -errno, "Can't make a pipe");
        _cleanup_close_ int read_end = ends[0], write_end = ends[1];
        r = start_task(task, spec, &snapshots, write_end, fault);
        if (r < 0)
                return r;
        task->spec.namespace = task->spec.key = task->spec.lower = NULL;
        *ret = TAKE_PTR(task);
        *ret_layer = TAKE_FD(read_end);
        return 0;
}
