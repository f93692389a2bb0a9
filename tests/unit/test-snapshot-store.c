/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-store.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static char boot[] = "boot one";

static SnapshotStore *open_store(void) {
        SnapshotStore *store = NULL;
        _cleanup_close_ int directory = check_directory();
        CHECK_NO_FAULT(snapshot_store_open(directory, boot, &store, &fault));
        return store;
}

static SnapshotStore *fresh_store(void) {
        _cleanup_close_ int directory = check_directory();
        (void) unlinkat(directory, "snapshots.db", 0);
        (void) unlinkat(directory, "snapshots.db-wal", 0);
        (void) unlinkat(directory, "snapshots.db-shm", 0);
        return open_store();
}

static int64_t add(SnapshotStore *store, const char *key, SnapshotKind kind, int64_t parent) {
        Snapshot snapshot = { .namespace = (char *) "system",
                              .key = (char *) key,
                              .kind = kind,
                              .parent_id = parent,
                              .uid = 7 };
        CHECK_NO_FAULT(snapshot_store_add(store, &snapshot, NULL, NULL, &fault));
        return snapshot.id;
}

static int commit(SnapshotStore *store, int64_t id, const char *name, int64_t parent, Fault *fault) {
        return snapshot_store_commit(
                store, &(const SnapshotStoreCommit){ .id = id, .name = name, .parent_id = parent }, fault);
}

static int64_t add_committed(SnapshotStore *store, const char *name, int64_t parent) {
        int64_t id = add(store, "being-made", SNAPSHOT_ACTIVE, 0);
        CHECK_NO_FAULT(commit(store, id, name, parent, &fault));
        return id;
}

static Snapshot get(SnapshotStore *store, const char *key) {
        Snapshot snapshot = { 0 };
        CHECK_NO_FAULT(snapshot_store_get(store, "system", key, &snapshot, &fault));
        return snapshot;
}

static SnapshotState state_of(SnapshotStore *store, const char *key) {
        _cleanup_(snapshot_done) Snapshot snapshot = get(store, key);
        return snapshot.state;
}

static void keeps_what_it_is_told(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t base = add_committed(store, "base", 0);
        int64_t id = add(store, "a", SNAPSHOT_ACTIVE, base);
        CHECK_OK(snapshot_store_set_state(store, id, SNAPSHOT_UNPACKED, "sha256:x"));
        store = snapshot_store_free(store);
        store = open_store();
        _cleanup_(snapshot_done) Snapshot a = get(store, "a"), b = get(store, "base");
        CHECK(a.id == id && a.parent_id == base && a.kind == SNAPSHOT_ACTIVE && a.uid == 7 && a.created > 0);
        CHECK_STRING(a.parent, "base");
        CHECK_STRING(a.diff_id, "sha256:x");
        CHECK_INT(a.state, SNAPSHOT_UNPACKED);
        CHECK(!b.parent && b.parent_id == 0 && b.kind == SNAPSHOT_COMMITTED && !b.diff_id);
}

static void keys_are_one_space_in_each_namespace(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        Snapshot snapshot = { .namespace = (char *) "system", .key = (char *) "base" };
        add_committed(store, "base", 0);
        CHECK_FAULT(snapshot_store_add(store, &snapshot, NULL, NULL, &fault), -EEXIST, "'base'");
        int64_t id = add(store, "a", SNAPSHOT_ACTIVE, 0);
        CHECK_FAULT(commit(store, id, "base", 0, &fault), -EEXIST, "'base'");
        snapshot.namespace = (char *) "u1000";
        CHECK_NO_FAULT(snapshot_store_add(store, &snapshot, NULL, NULL, &fault));
        CHECK_FAULT(snapshot_store_get(store, "u1000", "a", &snapshot, &fault), -ENOENT, "u1000");
}

static int fail_to_make(int64_t id, void *userdata, Fault *fault) {
        *(int64_t *) userdata = id;
        return fault_set(fault, -ENOSPC, "no room");
}

static void what_could_not_be_made_is_not_recorded(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        Snapshot snapshot = { .namespace = (char *) "system", .key = (char *) "a" };
        int64_t id = 0;
        CHECK_FAULT(snapshot_store_add(store, &snapshot, fail_to_make, &id, &fault), -ENOSPC, "no room");
        CHECK(id > 0);
        CHECK_FAULT(snapshot_store_get(store, "system", "a", &snapshot, &fault), -ENOENT, "'a'");
        CHECK_ERROR(snapshot_store_get_by_id(store, id, &snapshot), -ENOENT);
}

static void children_protect_their_parents(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t base = add_committed(store, "base", 0);
        add(store, "a", SNAPSHOT_ACTIVE, base);
        _cleanup_(snapshot_done) Snapshot parent = get(store, "base"), child = get(store, "a");
        CHECK_FAULT(snapshot_store_remove(store, &parent, &fault), -EBUSY, "built on 'base'");
        CHECK_NO_FAULT(snapshot_store_remove(store, &child, &fault));
        CHECK_NO_FAULT(snapshot_store_remove(store, &parent, &fault));
        int64_t id = add(store, "b", SNAPSHOT_ACTIVE, 0);
        CHECK_FAULT(commit(store, id, "c", base, &fault), -ENOENT, "removed meanwhile");
}

static void numbers_are_never_given_twice(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t first = add(store, "a", SNAPSHOT_ACTIVE, 0);
        _cleanup_(snapshot_done) Snapshot a = get(store, "a");
        CHECK_NO_FAULT(snapshot_store_remove(store, &a, &fault));
        store = snapshot_store_free(store);
        store = open_store();
        CHECK(add(store, "a", SNAPSHOT_ACTIVE, 0) > first);
}

static void chains_go_down_to_the_base(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t expected[200] = { 0 }, parent = 0;
        for (size_t i = 0; i < ELEMENTS_OF(expected); i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "l%zu", i);
                parent = expected[ELEMENTS_OF(expected) - 1 - i] = add_committed(store, name, parent);
        }
        _cleanup_free_ SnapshotLayer *chain = NULL;
        size_t count;
        CHECK_OK(snapshot_store_chain(store, parent, &chain, &count));
        CHECK_INT(count, ELEMENTS_OF(expected));
        for (size_t i = 0; i < count; i++)
                CHECK_INT(chain[i].id, expected[i]);
}

static void labels_are_kept_and_changed(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        Snapshot made = { .namespace = (char *) "system",
                          .key = (char *) "a",
                          .labels = (char *[]){ (char *) "k=v", (char *) "name=\303\244", NULL } };
        CHECK_NO_FAULT(snapshot_store_add(store, &made, NULL, NULL, &fault));
        store = snapshot_store_free(store);
        store = open_store();
        _cleanup_(snapshot_done) Snapshot a = get(store, "a");
        CHECK_INT(strv_length(a.labels), 2);
        CHECK_STRING(a.labels[1], "name=\303\244");
        CHECK(a.updated == a.created);

        char *changes[] = { (char *) "k=", (char *) "new=1", NULL };
        CHECK_NO_FAULT(snapshot_store_change_labels(store, &a, changes, false, &fault));
        _cleanup_(snapshot_done) Snapshot b = get(store, "a");
        CHECK_INT(strv_length(b.labels), 2);
        CHECK_STRING(b.labels[0], "name=\303\244");
        CHECK_STRING(b.labels[1], "new=1");
        CHECK(b.updated > b.created);

        const SnapshotMeasure measure = { .size = 4096, .inodes = 2, .manifest = "sha256:0" };
        char seal[FILE_VERITY_SIZE];
        CHECK_INT(snapshot_store_get_seal(store, a.id, seal), 0);
        const SnapshotStoreCommit all = { .id = a.id,
                                          .name = "c",
                                          .seal = "1:abc",
                                          .label_changes = (char *[]){ (char *) "name=", NULL },
                                          .measure = &measure };
        CHECK_NO_FAULT(snapshot_store_commit(store, &all, &fault));
        _cleanup_(snapshot_done) Snapshot c = get(store, "c");
        CHECK_INT(strv_length(c.labels), 1);
        CHECK_STRING(c.labels[0], "new=1");
        CHECK(c.measured && c.measure.size == 4096 && c.measure.inodes == 2);
        CHECK_STRING(c.measure.manifest, "sha256:0");
        CHECK_INT(snapshot_store_get_seal(store, c.id, seal), 1);
        CHECK_STRING(seal, "1:abc");
        CHECK_ERROR(snapshot_store_get_seal(store, 1000, seal), -ENOENT);
        CHECK_NO_FAULT(snapshot_store_change_labels(store, &c, (char *[]){ NULL }, true, &fault));
        _cleanup_(snapshot_done) Snapshot d = get(store, "c");
        CHECK(!d.labels);
}

/* As many as one thing may have, whose keys have so many digits; the first error. */
static int add_labelled(SnapshotStore *store, uid_t uid, int digits, int *ret_count) {
        _cleanup_strv_ char **labels = NULL;
        int r = 0, count = 0;
        for (int i = 0; i < LIMIT_LABELS_PER_OBJECT; i++)
                CHECK_OK(strv_appendf(&labels, "org.crt.gc.ref.snapshot.%0*i=key", digits, i));
        for (; r >= 0 && count < 60; count += r >= 0) {
                char key[32];
                (void) snprintf(key, sizeof(key), "%u-%i-%i", uid, digits, count);
                Snapshot made = { .namespace = (char *) "system", .key = key, .uid = uid, .labels = labels };
                r = snapshot_store_add(store, &made, NULL, NULL, NULL);
        }
        *ret_count = count;
        return r;
}

static bool is_user(uid_t uid) {
        return uid >= 1000;
}

static void labels_of_a_user_are_bounded(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int count;
        snapshot_store_limit_labels(store, is_user);
        CHECK_ERROR(add_labelled(store, 1000, 3900, &count), -EDQUOT);
        CHECK_INT(count, 3);
        CHECK_OK(add_labelled(store, 0, 3900, &count));

        /* What keeps something counts with the names in the list of which it is. */
        CHECK_ERROR(add_labelled(store, 1001, 3, &count), -EDQUOT);
        CHECK(count > 30 && count < 50);
        for (uid_t uid = 1002; uid < 1010; uid++)
                (void) add_labelled(store, uid, 3900, &count);
        CHECK_ERROR(add_labelled(store, 1010, 3900, &count), -EDQUOT);
        CHECK_INT(count, 0); /* all of them have as many as all may have */

        _cleanup_(snapshot_done) Snapshot one = get(store, "1000-3900-0");
        CHECK_NO_FAULT(
                snapshot_store_change_labels(store, &one, (char *[]){ (char *) "a=1", NULL }, true, &fault));
        CHECK_ERROR(add_labelled(store, 1010, 3901, &count), -EDQUOT);
        CHECK_INT(count, 1);
}

static int append_key(const Snapshot *snapshot, void *userdata) {
        strcat(strcat(userdata, snapshot->key), " ");
        return 0;
}

static void lists_in_order_and_by_pages(void) {
        static const char *const keys[] = { "c", "a", "e", "b", "d" };
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        for (size_t i = 0; i < ELEMENTS_OF(keys); i++)
                add(store, keys[i], SNAPSHOT_ACTIVE, 0);
        char text[64] = "";
        CHECK_INT(snapshot_store_list(store, "system", "", 2, append_key, text), 1);
        CHECK_STRING(text, "a b ");
        text[0] = '\0';
        CHECK_INT(snapshot_store_list(store, "system", "b", 3, append_key, text), 0);
        CHECK_STRING(text, "c d e ");
        text[0] = '\0';
        CHECK_INT(snapshot_store_list(store, "elsewhere", "", 3, append_key, text), 0);
        CHECK_STRING(text, "");
        uint64_t count, bytes;
        CHECK_OK(snapshot_store_count_of_uid(store, 7, &count, &bytes));
        CHECK(count == 5 && bytes == 0);
        CHECK_OK(snapshot_store_count_of_uid(store, 8, &count, &bytes));
        CHECK(count == 0 && bytes == 0);
}

static void a_restart_ends_unpackings(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t unpacking = add(store, "unpacking", SNAPSHOT_ACTIVE, 0);
        int64_t unpacked = add(store, "unpacked", SNAPSHOT_ACTIVE, 0);
        CHECK_OK(snapshot_store_set_state(store, unpacking, SNAPSHOT_UNPACKING, NULL));
        CHECK_OK(snapshot_store_set_state(store, unpacked, SNAPSHOT_UNPACKED, "sha256:x"));
        store = snapshot_store_free(store);
        store = open_store();
        CHECK_INT(state_of(store, "unpacking"), SNAPSHOT_FAILED);
        CHECK_INT(state_of(store, "unpacked"), SNAPSHOT_UNPACKED);
}

static void a_boot_takes_what_was_not_synced(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t base = add(store, "unpacked-first", SNAPSHOT_ACTIVE, 0);
        CHECK_OK(snapshot_store_set_state(store, base, SNAPSHOT_UNPACKED, "sha256:x"));
        CHECK_NO_FAULT(commit(store, base, "base", 0, &fault));
        int64_t unpacked = add(store, "unpacked", SNAPSHOT_ACTIVE, 0);
        int64_t volatiles = add(store, "volatile", SNAPSHOT_ACTIVE, base);
        int64_t mounted = add(store, "mounted", SNAPSHOT_ACTIVE, base);
        CHECK_OK(snapshot_store_set_state(store, unpacked, SNAPSHOT_UNPACKED, "sha256:x"));
        CHECK_OK(snapshot_store_set_mounted(store, volatiles, MOUNTED_VOLATILE));
        CHECK_OK(snapshot_store_set_mounted(store, mounted, MOUNTED_WRITABLE));
        store = snapshot_store_free(store);
        memcpy(boot, "boot two", sizeof(boot));
        store = open_store();
        CHECK_INT(state_of(store, "base"), SNAPSHOT_UNPACKED);
        CHECK_INT(state_of(store, "unpacked"), SNAPSHOT_FAILED);
        CHECK_INT(state_of(store, "volatile"), SNAPSHOT_LOST);
        CHECK_INT(state_of(store, "mounted"), SNAPSHOT_PREPARED);
        _cleanup_(snapshot_done) Snapshot snapshot = get(store, "mounted");
        CHECK_INT(snapshot.mounted, MOUNTED_NEVER);
}

static void a_failing_disk_takes_what_is_only_unpacked(void) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = fresh_store();
        int64_t id = add(store, "unpacked", SNAPSHOT_ACTIVE, 0);
        add(store, "plain", SNAPSHOT_ACTIVE, 0);
        CHECK_OK(snapshot_store_set_state(store, id, SNAPSHOT_UNPACKED, "sha256:x"));
        CHECK_OK(snapshot_store_distrust_unpacked(store));
        CHECK_INT(state_of(store, "unpacked"), SNAPSHOT_FAILED);
        CHECK_INT(state_of(store, "plain"), SNAPSHOT_PREPARED);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(keeps_what_it_is_told),
                CHECK_CASE(keys_are_one_space_in_each_namespace),
                CHECK_CASE(what_could_not_be_made_is_not_recorded),
                CHECK_CASE(children_protect_their_parents),
                CHECK_CASE(numbers_are_never_given_twice),
                CHECK_CASE(labels_are_kept_and_changed),
                CHECK_CASE(labels_of_a_user_are_bounded),
                CHECK_CASE(chains_go_down_to_the_base),
                CHECK_CASE(lists_in_order_and_by_pages),
                CHECK_CASE(a_restart_ends_unpackings),
                CHECK_CASE(a_boot_takes_what_was_not_synced),
                CHECK_CASE(a_failing_disk_takes_what_is_only_unpacked),
                {},
        });
}
