/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/claim-table.h"
#include "services/images/image-store-private.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"

static ImageStore *open_store(const char *name) {
        ImageStore *store = NULL;
        CHECK_OK(mkdirat(check_directory(), name, 0700) < 0 && errno != EEXIST ? -errno : 0);
        int directory = openat(check_directory(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK_OK(directory);
        CHECK_NO_FAULT(image_store_open(directory, &store, &fault));
        close(directory);
        return store;
}

static int put(ImageStore *store, const char *namespace, const char *name, const char *blobs[],
               const char *chains[]) {
        const ImageRecord record = {
                .namespace = (char *) namespace,
                .name = (char *) name,
                .digest = (char *) "sha256:d",
                .media_type = (char *) "m/t",
                .manifest = (char *) "sha256:m",
                .config = (char *) "sha256:c",
                .chain_id = chains && chains[0] ? (char *) chains[strv_length((char *const *) chains) - 1]
                                                : (char *) "",
                .platform = (char *) "linux/amd64",
                .size = 1ULL << 40,
                .created = 1,
                .pulled = 2,
                .blobs = (char **) blobs,
                .chains = (char **) chains,
        };
        return image_store_put(store, &record, "unpack-2-");
}

static int collect(const char *namespace, GarbageKind kind, const char *name, void *userdata) {
        char *text = userdata;
        snprintf(text + strlen(text), 500 - strlen(text), "%s%s:%s", text[0] ? " " : (char *) "",
                 kind == GARBAGE_BLOB ? "blob" : "snapshot", name);
        return 0;
}

static void check_garbage(ImageStore *store, const char *expected) {
        char text[500] = "";
        CHECK_OK(image_store_list_garbage(store, collect, text));
        CHECK_STRING(text, expected);
}

static void records_come_back(void) {
        ImageStore *store = open_store("records");
        ImageRecord record = { 0 };
        CHECK_INT(put(store, "system", "a", (const char *[]){ "b1", NULL },
                      (const char *[]){ "c1", "c2", NULL }),
                  0);
        CHECK_INT(put(store, "system", "a", (const char *[]){ "b1", NULL },
                      (const char *[]){ "c1", "c2", NULL }),
                  1);
        CHECK_OK(image_store_get(store, "system", "a", &record));
        CHECK_STRING(record.chain_id, "c2");
        CHECK(record.size == 1ULL << 40 && record.created == 1 && record.pulled == 2);
        image_record_done(&record);
        CHECK_ERROR(image_store_get(store, "u1000", "a", &record), -ENOENT);
        CHECK(image_store_has(store, "system", "a") && !image_store_has(store, "system", "b"));
        CHECK(image_store_needs_blob(store, "system", "b1") &&
              !image_store_needs_blob(store, "u1000", "b1"));
        CHECK(image_store_needs_chain(store, "system", "c1") &&
              !image_store_needs_chain(store, "system", "b1"));
        image_store_free(store);
        store = open_store("records");
        CHECK(image_store_has(store, "system", "a"));
        image_store_free(store);
}

/* Who said it may not have been who made the image that has the name now. */
static void what_was_said_of_a_config_goes_with_the_image(void) {
        ImageStore *store = open_store("configs");
        ImageRecord record = { 0 };
        char *records = NULL;
        size_t size = 0;
        for (int i = 0; i < 2; i++) {
                CHECK_OK(put(store, "system", "a", (const char *[]){ "b1", NULL }, NULL));
                CHECK_OK(image_store_get(store, "system", "a", &record));
                CHECK_ERROR(image_store_get_config(store, &record, &records, &size), -ENOENT);
                CHECK_OK(image_store_put_config(store, &record, "what it says", 12));
                image_record_done(&record);
        }
        image_store_free(store);
}

static void a_name_can_be_given_again(void) {
        ImageStore *store = open_store("tags");
        ImageRecord record = { 0 }, other = { 0 };
        char *records = NULL, *labels[] = { (char *) "k=v", NULL };
        size_t size = 0;
        CHECK_OK(put(store, "system", "a", (const char *[]){ "b1", "b2", NULL },
                     (const char *[]){ "c1", NULL }));
        CHECK_OK(put(store, "system", "old", (const char *[]){ "b3", NULL }, NULL));
        CHECK_OK(image_store_get(store, "system", "a", &record));
        CHECK_OK(image_store_put_config(store, &record, "what it says", 12));
        CHECK_OK(image_store_change_labels(store, &record, labels, true, NULL));

        CHECK_INT(image_store_tag(store, &record, "b", false, NULL), 0);
        CHECK_OK(image_store_get(store, "system", "b", &other));
        CHECK_STRING(other.chain_id, "c1");
        CHECK(other.size == record.size && other.pulled == 2 && !other.labels);
        CHECK_OK(image_store_get_config(store, &other, &records, &size));
        CHECK_INT(size, 12);
        free(records);

        CHECK_ERROR(image_store_tag(store, &record, "b", false, NULL), -EEXIST);
        CHECK_ERROR(image_store_tag(store, &record, "a", false, NULL), -EEXIST);
        CHECK_INT(image_store_tag(store, &record, "a", true, NULL), 1);
        CHECK_INT(image_store_tag(store, &record, "old", true, NULL), 1);
        CHECK(!image_store_needs_blob(store, "system", "b3"));

        /* Each of them keeps what all need, also when the others are gone. */
        CHECK_OK(image_store_remove(store, "system", "a"));
        CHECK_OK(image_store_remove(store, "system", "old"));
        check_garbage(store, "");
        CHECK(image_store_needs_blob(store, "system", "b2") &&
              image_store_needs_chain(store, "system", "c1"));
        CHECK_ERROR(image_store_tag(store, &record, "c", false, NULL), -ENOENT);
        CHECK(!image_store_has(store, "system", "c"));
        CHECK_OK(image_store_remove(store, "system", "b"));
        check_garbage(store, "snapshot:c1 blob:b2 blob:b1");
        image_record_done(&record);
        image_record_done(&other);
        image_store_free(store);
}

static int join_names(const ImageRecord *record, void *userdata) {
        char *text = userdata;
        snprintf(text + strlen(text), 100 - strlen(text), "%s/%s ", record->namespace, record->name);
        return 0;
}

static void lists_are_in_order(void) {
        ImageStore *store = open_store("lists");
        char own[100] = "", rest[100] = "", all[100] = "";
        CHECK_OK(put(store, "system", "b", NULL, NULL));
        CHECK_OK(put(store, "system", "a", NULL, NULL));
        CHECK_OK(put(store, "u1", "c", NULL, NULL));
        CHECK_OK(image_store_list(store, "system", NULL, join_names, own));
        CHECK_STRING(own, "system/a system/b ");
        CHECK_OK(image_store_list(store, "system", "a", join_names, rest));
        CHECK_STRING(rest, "system/b ");
        CHECK_OK(image_store_list(store, NULL, NULL, join_names, all));
        CHECK_STRING(all, "system/a system/b u1/c ");
        image_store_free(store);
}

static void only_what_no_image_needs_becomes_garbage(void) {
        ImageStore *store = open_store("garbage");
        CHECK_OK(put(store, "system", "a", (const char *[]){ "own", "shared", NULL },
                     (const char *[]){ "s1", "s2", "s3", NULL }));
        CHECK_OK(put(store, "system", "b", (const char *[]){ "shared", NULL },
                     (const char *[]){ "s1", NULL }));
        CHECK_OK(put(store, "u1", "a", (const char *[]){ "own", NULL }, NULL));
        CHECK_OK(image_store_remove(store, "system", "a"));
        /* The highest snapshot first, or it would be in the way. */
        check_garbage(store, "snapshot:s3 snapshot:s2 blob:own");
        CHECK_ERROR(image_store_remove(store, "system", "a"), -ENOENT);

        /* Brought back before it was swept. */
        CHECK_OK(put(store, "system", "c", (const char *[]){ "own", NULL },
                     (const char *[]){ "s1", "s2", NULL }));
        check_garbage(store, "snapshot:s3");
        CHECK_OK(image_store_forget_garbage(store, "system", GARBAGE_SNAPSHOT, "s3"));
        check_garbage(store, "");
        image_store_free(store);
}

static int count_unpackings(const char *namespace, const char *prefix, void *userdata) {
        *(int *) userdata += string_equal(namespace, "system") && string_equal(prefix, "unpack-1-");
        return 0;
}

static int count_copies(ImageStore *store) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        CHECK_OK(database_query(store->database, &rows, "SELECT count(*) FROM kept_configs", ""));
        CHECK(database_rows_next(&rows) > 0);
        return (int) database_rows_int64(&rows, 0);
}

static void put_with_config(ImageStore *store, const char *namespace, const char *name, char *records,
                            size_t size) {
        ImageRecord record = { 0 };
        CHECK_OK(put(store, namespace, name, (const char *[]){ "b1", NULL }, NULL));
        CHECK_OK(image_store_get(store, namespace, name, &record));
        CHECK_OK(image_store_put_config(store, &record, records, size));
        image_record_done(&record);
}

static bool has_config(ImageStore *store, const char *namespace, const char *name, char first) {
        _cleanup_free_ char *records = NULL;
        ImageRecord record = { 0 };
        size_t size = 0;
        CHECK_OK(image_store_get(store, namespace, name, &record));
        int r = image_store_get_config(store, &record, &records, &size);
        image_record_done(&record);
        CHECK(r >= 0 || r == -ENOENT);
        return r >= 0 && records[0] == first;
}

/* However many names an image has, what its config says is there once, and goes with the last of them. */
static void a_config_is_kept_once_and_so_much_of_all(void) {
        ImageStore *store = open_store("limits");
        static char records[LIMIT_CONFIG_KEPT];
        ImageRecord record = { 0 };
        char name[16];

        CHECK_OK(database_set_durable(store->database, false));
        memset(records, 'a', sizeof(records));
        put_with_config(store, "system", "a", records, sizeof(records));
        put_with_config(store, "system", "the-same", records, sizeof(records));
        put_with_config(store, "u1000", "a", records, sizeof(records));
        CHECK_OK(image_store_get(store, "system", "a", &record));
        for (int i = 0; i < 500; i++) {
                snprintf(name, sizeof(name), "tag%i", i);
                CHECK_INT(image_store_tag(store, &record, name, false, NULL), 0);
        }
        CHECK_INT(count_copies(store), 2);
        for (int i = 0; i < 500; i += 2) {
                snprintf(name, sizeof(name), "tag%i", i);
                CHECK_OK(image_store_remove(store, "system", name));
        }
        CHECK_OK(image_store_remove(store, "system", "a"));
        CHECK(has_config(store, "system", "tag1", 'a') && has_config(store, "system", "the-same", 'a'));
        image_record_done(&record);

        /* Another one is another one's own. */
        memset(records, 'b', sizeof(records));
        put_with_config(store, "system", "tag1", records, sizeof(records));
        CHECK(has_config(store, "system", "tag1", 'b') && has_config(store, "system", "tag3", 'a'));
        CHECK_INT(count_copies(store), 3);
        CHECK_OK(image_store_remove(store, "system", "tag1"));
        CHECK_INT(count_copies(store), 2);

        unsigned kept = 1;
        for (unsigned i = 0; i < LIMIT_CONFIGS_PER_NAMESPACE / sizeof(records) + 10; i++) {
                snprintf(name, sizeof(name), "big%u", i);
                memcpy(records + 1, &i, sizeof(i));
                put_with_config(store, "system", name, records, sizeof(records));
                kept += has_config(store, "system", name, 'b');
        }
        CHECK_INT(kept, LIMIT_CONFIGS_PER_NAMESPACE / sizeof(records));
        put_with_config(store, "u1000", "b", records, sizeof(records));
        CHECK(has_config(store, "u1000", "b", 'b'));
        CHECK_OK(image_store_remove(store, "system", "big0"));
        put_with_config(store, "system", "late", records, sizeof(records));
        CHECK(has_config(store, "system", "late", 'b'));
        image_store_free(store);
}

/* Each name counts what it needs: no tag and no pull makes them more than so many. */
static void a_namespace_needs_so_many_things(void) {
        ImageStore *store = open_store("needs");
        const char *blobs[] = { "b1", "b2", "b3", NULL };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        ImageRecord record = { 0 };

        /* One that has all but seven. */
        CHECK_OK(put(store, "system", "large", blobs, NULL));
        CHECK_INT(database_execute(store->database, "UPDATE images SET needs = ?", "i",
                                   (int64_t) LIMIT_NEEDS_PER_NAMESPACE - 7),
                  1);
        CHECK_INT(put(store, "system", "a", blobs, NULL), 0);
        CHECK_OK(image_store_get(store, "system", "a", &record));
        CHECK_INT(image_store_tag(store, &record, "b", false, &fault), 0);
        CHECK_ERROR(image_store_tag(store, &record, "more", false, &fault), -EDQUOT);
        CHECK_CONTAINS(fault.text, "system");
        CHECK_ERROR(put(store, "system", "more", blobs, NULL), -EDQUOT);
        CHECK(!image_store_has(store, "system", "more"));
        /* In the place of another one there is room, and elsewhere. */
        CHECK_INT(image_store_tag(store, &record, "b", true, &fault), 1);
        CHECK_INT(put(store, "system", "a", blobs, NULL), 1);
        CHECK_INT(put(store, "u1000", "a", blobs, NULL), 0);
        CHECK_OK(image_store_remove(store, "system", "b"));
        CHECK_INT(image_store_tag(store, &record, "more", false, NULL), 0);
        image_record_done(&record);
        image_store_free(store);
}

static void unfinished_transfers_are_remembered(void) {
        ImageStore *store = open_store("unpackings");
        int count = 0;
        CHECK_OK(image_store_add_unpacking(store, "system", "unpack-1-"));
        CHECK_OK(image_store_add_unpacking(store, "system", "unpack-1-"));
        CHECK_OK(image_store_list_unpacking(store, count_unpackings, &count));
        CHECK_INT(count, 1);
        /* A record ends its transfer in the same breath. */
        CHECK_OK(image_store_add_unpacking(store, "system", "unpack-2-"));
        CHECK_OK(put(store, "system", "a", NULL, NULL));
        CHECK_OK(image_store_remove_unpacking(store, "system", "unpack-1-"));
        CHECK_OK(image_store_list_unpacking(store, count_unpackings, &count));
        CHECK_INT(count, 1);
        CHECK_INT(image_store_remove_unpacking(store, "system", "unpack-2-"), 0);
        image_store_free(store);
}

static void times_of_configs_are_read(void) {
        static const struct {
                const char *text;
                uint64_t expected;
        } times[] = {
                { "1970-01-01T00:00:01Z", 1000000 },
                { "2025-01-01T00:00:00Z", 1735689600000000 },
                { "2025-01-01T01:30:00.25+01:30", 1735689600250000 },
                { "2024-12-31T23:59:59.123456789-00:00", 1735689599123456 },
                { "1900-01-01T00:00:00Z", 0 },
                { "yesterday", 0 },
                { "2025-01-01T00:00:00", 0 },
                { "", 0 },
                { NULL, 0 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(times); i++)
                CHECK_INT(image_record_parse_time(times[i].text), times[i].expected);
}

static void one_at_a_time_makes_a_thing_and_many_count_on_it(void) {
        ClaimTable *table = NULL;
        ClaimHold *busy = NULL, *other = NULL, *need = NULL, *second = NULL;
        CHECK_OK(claim_table_new(&table));
        CHECK(!claim_table_has(table, "system", "blob", "x"));
        CHECK_OK(claim_table_hold(table, CLAIM_BUSY, "system", "blob", "x", &busy));
        CHECK_ERROR(claim_table_hold(table, CLAIM_BUSY, "system", "blob", "x", &other), -EBUSY);
        CHECK_OK(claim_table_hold(table, CLAIM_BUSY, "system", "snapshot", "x", &other));
        claim_hold_free(other);
        CHECK_OK(claim_table_hold(table, CLAIM_BUSY, "u1", "blob", "x", &other));
        claim_hold_free(other);
        CHECK_OK(claim_table_hold(table, CLAIM_NEED, "system", "blob", "x", &need));
        CHECK_OK(claim_table_hold(table, CLAIM_NEED, "system", "blob", "x", &second));
        claim_hold_free(busy);
        claim_hold_free(need);
        CHECK(claim_table_has(table, "system", "blob", "x"));
        CHECK_OK(claim_table_hold(table, CLAIM_BUSY, "system", "blob", "x", &busy));
        claim_hold_free(busy);
        claim_hold_free(second);
        CHECK(!claim_table_has(table, "system", "blob", "x"));
        claim_table_free(table);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(what_was_said_of_a_config_goes_with_the_image),
                CHECK_CASE(a_name_can_be_given_again),
                CHECK_CASE(records_come_back),
                CHECK_CASE(lists_are_in_order),
                CHECK_CASE(only_what_no_image_needs_becomes_garbage),
                CHECK_CASE(a_config_is_kept_once_and_so_much_of_all),
                CHECK_CASE(a_namespace_needs_so_many_things),
                CHECK_CASE(unfinished_transfers_are_remembered),
                CHECK_CASE(times_of_configs_are_read),
                CHECK_CASE(one_at_a_time_makes_a_thing_and_many_count_on_it),
                {},
        });
}
