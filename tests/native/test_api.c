/* api.c: aegis.h as a caller sees it: arguments, codes, sizes, ranges, proofs, and fork(), over a real directory. */
#include "stores.h"
#include "vfs_place.h"

#define PAYLOAD 300u

static aegis_store *store;
static char path[300];

static aegis_options options(uint32_t mode) {
    aegis_options o = test_options(mode);
    return o;
}

static int open_code(const aegis_options *o) {
    store = NULL;
    return aegis_open(path, o, &store, NULL);
}

static bool begin_path(void) {
    if (!begin()) return false;
    snprintf(path, sizeof path, "%s/store", place_path);
    return true;
}

static bool begin_store(uint32_t flags) {
    aegis_options o = options(AEGIS_MODE_APPEND);
    o.flags = flags;
    return begin_path() && EXPECT_OK(open_code(&o));
}

static void fill(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_commit(store, SESSION, count - 1));
}

static void end_store(void) {
    EXPECT_OK(aegis_close(store));
    end();
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

TEST(each_mode_does_what_it_says) {
    aegis_report report;
    if (!begin_path()) return;
    aegis_options o = options(AEGIS_MODE_READ);
    EXPECT_CODE(open_code(&o), AEGIS_E_NOTFOUND);
    o.mode = AEGIS_MODE_WRITE;
    EXPECT_CODE(open_code(&o), AEGIS_E_NOTFOUND);
    EXPECT(message_has("there is no store at"));
    o.mode = AEGIS_MODE_CREATE;
    EXPECT_OK(aegis_open(path, &o, &store, &report));
    EXPECT_EQ_U64(report.created, 1);
    EXPECT_OK(aegis_close(store));
    EXPECT_CODE(open_code(&o), AEGIS_E_EXISTS);
    const uint32_t modes[] = {AEGIS_MODE_READ, AEGIS_MODE_APPEND, AEGIS_MODE_WRITE};
    for (int i = 0; i < 3; i++) {
        o.mode = modes[i];
        EXPECT_OK(aegis_open(path, &o, &store, &report));
        EXPECT_EQ_U64(report.created, 0);
        EXPECT_OK(aegis_close(store));
    }
    end();
}

TEST(options_that_cannot_be_meant_are_refused) {
    static const aegis_head anchor = {.tier = 5, .size = 1}, none = {.tier = 0, .size = 1};
    char name[300];
    if (!begin_path()) return;
    memset(name, 'n', sizeof name);
    name[256] = 0;
    const aegis_options good = options(AEGIS_MODE_APPEND);
    aegis_options o = good;
    EXPECT_CODE(aegis_open(NULL, &o, &store, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_open(path, NULL, &store, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_open(path, &o, NULL, NULL), AEGIS_E_ARGUMENT);
#define REFUSED(change, code) o = good, change, EXPECT_CODE(open_code(&o), code)
    REFUSED(o.struct_size--, AEGIS_E_ARGUMENT);
    REFUSED(o.struct_size = 0, AEGIS_E_ARGUMENT);
    REFUSED(o.mode = 4, AEGIS_E_ARGUMENT);
    REFUSED(o.align = 16, AEGIS_E_ARGUMENT);
    REFUSED(o.segment_bytes = 65535, AEGIS_E_ARGUMENT);
    REFUSED(o.segment_bytes = (1u << 30) + 1, AEGIS_E_ARGUMENT);
    REFUSED(o.meta_length = 10, AEGIS_E_ARGUMENT);
    REFUSED(o.anchor_count = 1, AEGIS_E_ARGUMENT);
    REFUSED((o.anchors = &anchor, o.anchor_count = 1), AEGIS_E_ARGUMENT);
    REFUSED((o.anchors = &none, o.anchor_count = 1), AEGIS_E_ARGUMENT);
    REFUSED(o.durability[SESSION] = 3, AEGIS_E_ARGUMENT);
    REFUSED(o.durability[AEGIS_TIER_AUDIT] = UINT32_MAX, AEGIS_E_ARGUMENT);
    REFUSED(o.store_id = NULL, AEGIS_E_ARGUMENT);
    REFUSED(o.name = name, AEGIS_E_LIMIT);
    REFUSED((o.meta = (const uint8_t *)name, o.meta_length = AEGIS_META_MAX + 1), AEGIS_E_LIMIT);
    REFUSED(o.secret = NULL, AEGIS_E_SECRET);
#undef REFUSED
    name[255] = 0;
    uint8_t meta[AEGIS_META_MAX];
    memset(meta, 7, sizeof meta);
    o = good;
    o.name = name;
    o.meta = meta;
    o.meta_length = sizeof meta;
    o.segment_bytes = 1u << 30;
    o.align = 4096;
    EXPECT_OK(open_code(&o));
    aegis_info info;
    EXPECT_OK(aegis_describe(store, &info));
    EXPECT_STRING(info.name, name);
    EXPECT_EQ_U64(info.name_length, 255);
    EXPECT_EQ_U64(info.meta_length, sizeof meta);
    EXPECT_BYTES(info.meta, meta, sizeof meta);
    EXPECT_BYTES(info.store_id, TEST_ID, 16);
    EXPECT_EQ_U64(info.segment_bytes, 1u << 30);
    EXPECT_EQ_U64(info.align, 4096);
    EXPECT_EQ_U64(info.format, 0);
    EXPECT(info.crc_path[0] != 0 && info.sha_path[0] != 0);
    end_store();
}

TEST(a_directory_that_holds_something_else_is_no_store) {
    if (!begin_path()) return;
    aegis_options o = options(AEGIS_MODE_APPEND);
    EXPECT(mkdir(path, 0700) == 0);
    char name[320];
    snprintf(name, sizeof name, "%s/letters.txt", path);
    FILE *file = fopen(name, "w");
    EXPECT(file != NULL && fclose(file) == 0);
    EXPECT_CODE(open_code(&o), AEGIS_E_NOTSTORE);
    EXPECT(message_has("letters.txt"));
    EXPECT(remove(name) == 0);
    EXPECT_OK(open_code(&o));    /* an empty one may become one */
    EXPECT_OK(aegis_close(store));
    o.store_id = (const uint8_t *)"another identity";
    EXPECT_CODE(open_code(&o), AEGIS_E_FOREIGN);
    o.store_id = NULL;
    EXPECT_OK(open_code(&o));
    end_store();
}

TEST(a_network_file_system_or_a_read_only_one_is_refused_for_writing) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_options o = options(AEGIS_MODE_APPEND);
    vfs_sim_set_place(sim, true, false);
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_NETWORK);
    o.flags |= AEGIS_OPEN_NETWORK;
    EXPECT_OK(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL));
    fill(3);
    EXPECT_OK(aegis_close(store));
    vfs_sim_set_place(sim, false, true);
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_READONLY);
    o.mode = AEGIS_MODE_READ;
    EXPECT_OK(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL));
    EXPECT_EQ_U64(size_of(store, SESSION), 3);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

TEST(calls_without_a_store_or_with_no_such_tier_are_refused) {
    uint64_t number = 0;
    uint32_t count = 0;
    uint8_t bytes[64 * 32];
    aegis_record record;
    aegis_head head;
    aegis_footer footer;
    aegis_tier_stats stats;
    aegis_info info;
    aegis_verifier *verifier = NULL;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    for (int none = 0; none < 2; none++) {
        aegis_store *st = none ? NULL : store;
        const uint32_t tiers[] = {0, 5, UINT32_MAX};
        for (int i = 0; i < 3; i++) {
            uint32_t tier = none ? SESSION : tiers[i];
            EXPECT_CODE(aegis_append(st, tier, 1, bytes, 1, NULL, 0, &number), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_commit(st, tier, 0), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_size(st, tier, &number), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_read(st, tier, 0, bytes, 1, &record), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_read_range(st, tier, 0, 1, bytes, 1, &record, &count), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_read_entries(st, tier, 0, 1, 0, bytes, 1, &record, &count), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_head_at(st, tier, 0, &head), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_inclusion(st, tier, 0, 1, bytes, &count), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_consistency(st, tier, 0, 1, bytes, &count), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_segment(st, tier, 0, &footer), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_sign_segment(st, tier, 0, 0, bytes), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_verify_start(st, tier, &verifier), AEGIS_E_ARGUMENT);
            EXPECT_CODE(aegis_stats(st, tier, &stats), AEGIS_E_ARGUMENT);
        }
    }
    EXPECT_CODE(aegis_refresh(NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_describe(NULL, &info), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_background(NULL, &number), AEGIS_E_ARGUMENT);
    EXPECT_OK(aegis_close(NULL));
    EXPECT_OK(aegis_abandon(NULL));
    end_store();
}

TEST(records_have_bounds) {
    static uint8_t bytes[AEGIS_ENTRY_MAX + 1];
    uint64_t index = 77;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_CODE(aegis_append(store, SESSION, 0, bytes, 1, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, SESSION, 256, bytes, 1, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, NULL, 1, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, 0, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, 1, NULL, 1, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, AEGIS_ENTRY_MAX + 1, NULL, 0, &index), AEGIS_E_LIMIT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, 1, bytes, AEGIS_PAYLOAD_MAX + 1, &index), AEGIS_E_LIMIT);
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, UINT32_MAX, bytes, UINT32_MAX, &index), AEGIS_E_LIMIT);
    /* What was refused made no tier and took no index. */
    EXPECT_EQ_U64(size_of(store, SESSION), 0);
    EXPECT(access(under("store/session"), F_OK) != 0);
    EXPECT_OK(aegis_append(store, SESSION, 255, bytes, AEGIS_ENTRY_MAX, NULL, 0, &index));
    EXPECT_EQ_U64(index, 0);
    EXPECT_OK(aegis_append(store, SESSION, 1, bytes, 1, bytes, 0, &index));
    EXPECT_EQ_U64(index, 1);
    EXPECT_CODE(aegis_commit(store, AEGIS_TIER_AUDIT, 0), AEGIS_E_RANGE);
    EXPECT_OK(aegis_commit(store, SESSION, 1));
    end_store();
}

/* The index may be written over the entry that it was drawn for. */
TEST(an_entry_may_hold_the_place_of_its_index) {
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    for (uint64_t i = 0; i < 5; i++) {
        uint64_t word = 0x1122334455667788, found = 0;
        uint8_t buffer[200];
        aegis_record record;
        EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)&word, 8, NULL, 0, &word));
        EXPECT_EQ_U64(word, i);
        EXPECT_OK(aegis_commit(store, SESSION, i));
        EXPECT_OK(aegis_read(store, SESSION, i, buffer, sizeof buffer, &record));
        memcpy(&found, buffer + record.entry_at, 8);
        EXPECT_EQ_U64(found, 0x1122334455667788);
    }
    end_store();
}

TEST(reading_without_a_place_for_it_is_refused) {
    uint8_t buffer[100];
    aegis_record record;
    uint32_t count = 0;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_CODE(aegis_read(store, SESSION, 0, buffer, sizeof buffer, &record), AEGIS_E_RANGE);
    fill(3);
    EXPECT_CODE(aegis_read(store, SESSION, 0, NULL, 100, &record), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_read(store, SESSION, 0, buffer, sizeof buffer, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_read(store, SESSION, 0, NULL, 0, &record), AEGIS_E_SPACE);
    EXPECT_CODE(aegis_read_range(store, SESSION, 0, 0, buffer, sizeof buffer, &record, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_read_entries(store, SESSION, 0, 1, 0, NULL, 100, &record, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_read_entries(store, SESSION, 0, 1, 0, buffer, sizeof buffer, NULL, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_read_entries(store, SESSION, 0, 1, 0, NULL, 0, &record, &count), AEGIS_E_SPACE);
    EXPECT_CODE(aegis_read_entries(store, AEGIS_TIER_AUDIT, 0, 1, 0, buffer, sizeof buffer, &record, &count), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_read(store, AEGIS_TIER_AUDIT, 0, buffer, sizeof buffer, &record), AEGIS_E_RANGE);
    EXPECT(message_has("tier audit has none"));
    end_store();
}

/* Holds where message and key begin with the same byte. */
static int same_byte(unsigned char *message, unsigned long long *message_length, const unsigned char *signed_message,
                     unsigned long long signed_length, const unsigned char *public_key) {
    (void)message;
    (void)message_length;
    return signed_length > 0 && signed_message[0] == public_key[0] ? 0 : -1;
}

TEST(each_signed_message_is_checked_under_its_own_key) {
    const uint8_t messages[] = {'a', 'b', 'b', 'x'}, keys[3 * 32] = {[0] = 'a', [32] = 'b', [64] = 'c'};
    const uint32_t lengths[] = {1, 2, 1};
    uint8_t held[3] = {9, 9, 9};
    EXPECT_CODE(aegis_open_all(NULL, messages, lengths, keys, 3, held), AEGIS_E_ARGUMENT);
    EXPECT_OK(aegis_open_all(same_byte, messages, lengths, keys, 0, held));
    EXPECT_EQ_U64(held[0], 9);
    EXPECT_OK(aegis_open_all(same_byte, messages, lengths, keys, 3, held));
    EXPECT_BYTES(held, ((const uint8_t[]){1, 1, 0}), 3);
}

/* Signs with the key's first byte, all over; not what begins with 'x'. */
static int one_byte(unsigned char *signed_message, unsigned long long *signed_length, const unsigned char *message,
                    unsigned long long message_length, const unsigned char *secret_key) {
    (void)signed_length;
    if (message[0] == 'x') return -1;
    memset(signed_message, secret_key[0], 64);
    memcpy(signed_message + 64, message, (size_t)message_length);
    return 0;
}

TEST(an_entry_is_signed_on_its_way_into_the_log) {
    const uint8_t message[] = "prefix" "entry", key[64] = {7};
    uint8_t buffer[4096], expected[5 + 64], leaf[HASH_SIZE], hashed[HASH_SIZE];
    uint64_t index = 9;
    aegis_record record;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_OK(aegis_append_signed(store, SESSION, 3, message, 11, 6, one_byte, key, (const uint8_t *)"load", 4, &index, leaf));
    EXPECT_EQ_U64(index, 0);
    EXPECT_OK(aegis_commit(store, SESSION, index));
    EXPECT_OK(aegis_read(store, SESSION, index, buffer, sizeof buffer, &record));
    EXPECT_EQ_U64(record.entry_length, sizeof expected);
    memcpy(expected, "entry", 5);
    memset(expected + 5, 7, 64);
    EXPECT_BYTES(buffer + record.entry_at, expected, sizeof expected);
    EXPECT_BYTES(buffer + record.payload_at, "load", 4);
    EXPECT_OK(aegis_leaf_hash(expected, sizeof expected, hashed));
    EXPECT_BYTES(leaf, hashed, HASH_SIZE);
    end_store();
}

TEST(what_is_not_signed_is_not_appended) {
    uint8_t message[AEGIS_MESSAGE_MAX + 1] = {'m'}, leaf[HASH_SIZE];
    const uint8_t key[64] = {7};
    uint64_t index = 9, size = 9;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_CODE(aegis_append_signed(store, SESSION, 3, message, 11, 6, NULL, key, NULL, 0, &index, leaf), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append_signed(store, SESSION, 3, message, 11, 11, one_byte, key, NULL, 0, &index, leaf), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append_signed(store, SESSION, 3, message, sizeof message, 6, one_byte, key, NULL, 0, &index, leaf), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append_signed(store, SESSION, 0, message, 11, 6, one_byte, key, NULL, 0, &index, leaf), AEGIS_E_ARGUMENT);
    message[0] = 'x';
    EXPECT_CODE(aegis_append_signed(store, SESSION, 3, message, 11, 6, one_byte, key, NULL, 0, &index, leaf), AEGIS_E_ARGUMENT);
    EXPECT(message_has("not signed"));
    EXPECT_OK(aegis_size(store, SESSION, &size));
    EXPECT_EQ_U64(size, 0);
    message[0] = 'm';
    EXPECT_OK(aegis_append_signed(store, SESSION, 3, message, AEGIS_MESSAGE_MAX, 0, one_byte, key, NULL, 0, &index, leaf));
    EXPECT_EQ_U64(index, 0);
    end_store();
}

TEST(a_reader_changes_nothing) {
    uint64_t index = 0, wait = 0;
    uint8_t signature[64] = {1};
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    fill(3);
    EXPECT_OK(aegis_close(store));
    const aegis_options o = options(AEGIS_MODE_READ);
    EXPECT_OK(open_code(&o));
    EXPECT_CODE(aegis_append(store, SESSION, 1, signature, 1, NULL, 0, &index), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_commit(store, SESSION, 0), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_sign_segment(store, SESSION, 0, 0, signature), AEGIS_E_READONLY);
    EXPECT_OK(aegis_background(store, &wait));
    EXPECT_EQ_U64(wait, UINT64_MAX);
    EXPECT_OK(aegis_refresh(store));
    end_store();
}

TEST(upkeep_is_the_threads_where_there_is_one) {
    uint64_t wait = 0;
    if (!begin_store(0)) return;
    EXPECT_CODE(aegis_background(store, &wait), AEGIS_E_ARGUMENT);
    fill(3);
    EXPECT_OK(aegis_refresh(store));    /* does nothing in a writer */
    EXPECT_EQ_U64(size_of(store, SESSION), 3);
    end_store();
}

/* ---- the tree --------------------------------------------------------------------------------------------------------- */

TEST(heads_and_proofs_of_every_size_hold_and_no_others) {
    enum { COUNT = 70 };
    aegis_head heads[COUNT + 1];
    uint8_t proof[64 * 32], leaf[32];
    uint32_t count = 0;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_OK(aegis_head_at(store, SESSION, 0, &heads[0]));
    EXPECT_CODE(aegis_head_at(store, SESSION, 1, &heads[0]), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_inclusion(store, SESSION, 0, 1, proof, &count), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_consistency(store, SESSION, 0, 1, proof, &count), AEGIS_E_RANGE);
    EXPECT_OK(aegis_consistency(store, SESSION, 0, 0, proof, &count));
    fill(COUNT);
    for (uint64_t n = 0; n <= COUNT; n++) {
        EXPECT_OK(aegis_head_at(store, SESSION, n, &heads[n]));
        EXPECT_EQ_U64(heads[n].size, n);
        EXPECT_EQ_U64(heads[n].tier, SESSION);
    }
    EXPECT_CODE(aegis_head_at(store, SESSION, COUNT + 1, &heads[0]), AEGIS_E_RANGE);
    EXPECT_OK(aegis_head_at(store, SESSION, 0, &heads[0]));
    for (uint64_t n = 1; n <= COUNT; n++) {
        for (uint64_t i = 0; i < n; i++) {
            test_record r;
            make_record(SESSION, i, PAYLOAD, &r);
            EXPECT_OK(aegis_leaf_hash(r.entry, r.entry_length, leaf));
            EXPECT_OK(aegis_inclusion(store, SESSION, i, n, proof, &count));
            if (!EXPECT_OK(aegis_check_inclusion(leaf, i, n, proof, count, heads[n].root))) return;
            EXPECT_CODE(aegis_check_inclusion(leaf, i, n, proof, count, heads[n - 1].root), AEGIS_E_PROOF);
            EXPECT_OK(aegis_consistency(store, SESSION, i, n, proof, &count));
            if (!EXPECT_OK(aegis_check_consistency(i, heads[i].root, n, heads[n].root, proof, count))) return;
            EXPECT_CODE(aegis_check_consistency(i, heads[i + 1].root, n, heads[n].root, proof, count), AEGIS_E_PROOF);
        }
    }
    EXPECT_CODE(aegis_inclusion(store, SESSION, COUNT, COUNT, proof, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_inclusion(store, SESSION, COUNT, COUNT + 1, proof, &count), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_consistency(store, SESSION, 5, 4, proof, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_consistency(store, SESSION, 5, COUNT + 1, proof, &count), AEGIS_E_RANGE);
    end_store();
}

/* ---- segments --------------------------------------------------------------------------------------------------------- */

TEST(sealed_segments_are_listed_and_signed_once) {
    aegis_footer footer;
    uint8_t one[64], two[64];
    uint64_t position = 0, next = 0;
    memset(one, 1, sizeof one);
    memset(two, 2, sizeof two);
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_CODE(aegis_segment(store, SESSION, 0, &footer), AEGIS_E_RANGE);
    fill(500);
    EXPECT_CODE(aegis_sign_segment(store, SESSION, 0, 0, one), AEGIS_E_ARGUMENT);
    EXPECT(message_has("has no footer yet"));
    upkeep_until_idle(store);
    for (; aegis_segment(store, SESSION, position, &footer) == AEGIS_OK; position++) {
        EXPECT_EQ_U64(footer.segment, position);
        EXPECT_EQ_U64(footer.first, next);
        EXPECT(!footer.is_signed);
        next += footer.count;
    }
    EXPECT_EQ_U64(next, 500);
    EXPECT(position >= 2);
    EXPECT_CODE(aegis_segment(store, SESSION, position, &footer), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_sign_segment(store, SESSION, position, position, one), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_sign_segment(store, SESSION, position - 1, position - 1, one), AEGIS_E_ARGUMENT);
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, 0, one));
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, 0, one));
    EXPECT_CODE(aegis_sign_segment(store, SESSION, 0, 0, two), AEGIS_E_EXISTS);
    EXPECT_OK(aegis_close(store));
    const aegis_options o = options(AEGIS_MODE_READ);
    EXPECT_OK(open_code(&o));
    EXPECT_OK(aegis_segment(store, SESSION, 0, &footer));
    EXPECT(footer.sealed && footer.is_signed);
    EXPECT_BYTES(footer.signature, one, 64);
    EXPECT_BYTES(footer.message, "AEGISFTR", 8);
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

TEST(statistics_count_what_was_done) {
    aegis_tier_stats stats;
    if (!begin_store(AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    EXPECT_EQ_U64(stats.segments, 0);
    EXPECT_EQ_U64(stats.durability, AEGIS_DURABILITY_COMMIT);
    EXPECT_OK(aegis_stats(store, AEGIS_TIER_TELEMETRY, &stats));
    EXPECT_EQ_U64(stats.durability, AEGIS_DURABILITY_WRITE);
    fill(50);
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    EXPECT_EQ_U64(stats.size, 50);
    EXPECT_EQ_U64(stats.appends, 50);
    EXPECT_EQ_U64(stats.groups, 1);
    EXPECT_EQ_U64(stats.segments, 1);
    EXPECT_EQ_U64(stats.poisoned, 0);
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < 50; i++) {
        test_record r;
        make_record(SESSION, i, PAYLOAD, &r);
        bytes += frame_size(r.entry_length, r.payload_length);
    }
    EXPECT_EQ_U64(stats.frame_bytes, bytes);
    struct stat info;
    EXPECT(stat(under("store/session/00000000.seg"), &info) == 0);
    EXPECT_EQ_U64(stats.bytes, (uint64_t)info.st_size);
    end_store();
}

/* ---- fork ------------------------------------------------------------------------------------------------------------- */

static aegis_verifier *begun;

static void use_in_child(void) {
    uint64_t number = 0;
    uint32_t count = 0;
    uint8_t bytes[64 * 32] = {0};
    aegis_record record;
    aegis_head head;
    aegis_footer footer;
    aegis_tier_stats stats;
    aegis_info info;
    aegis_verifier *verifier = NULL;
    aegis_progress progress;
    EXPECT_CODE(aegis_append(store, SESSION, 1, bytes, 1, NULL, 0, &number), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_commit(store, SESSION, 0), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_size(store, SESSION, &number), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_read(store, SESSION, 0, bytes, sizeof bytes, &record), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_read_range(store, SESSION, 0, 1, bytes, sizeof bytes, &record, &count), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_head_at(store, SESSION, 0, &head), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_inclusion(store, SESSION, 0, 1, bytes, &count), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_consistency(store, SESSION, 0, 1, bytes, &count), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_segment(store, SESSION, 0, &footer), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_sign_segment(store, SESSION, 0, 0, bytes), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_verify_start(store, SESSION, &verifier), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_verify_step(begun, 1, &progress), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_stats(store, SESSION, &stats), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_refresh(store), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_describe(store, &info), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_background(store, &number), AEGIS_E_FORKED);
    EXPECT(message_has("open it again in the child"));
    aegis_verify_end(begun);
    EXPECT_CODE(aegis_close(store), AEGIS_E_FORKED);
    EXPECT_OK(aegis_abandon(store));
    /* The child may read beside the parent, and not write. */
    aegis_options o = options(AEGIS_MODE_READ);
    aegis_store *own = NULL;
    if (EXPECT_OK(aegis_open(path, &o, &own, NULL))) {
        EXPECT_EQ_U64(size_of(own, SESSION), 20);
        EXPECT(has_record(own, SESSION, 19, PAYLOAD));
        EXPECT_OK(aegis_close(own));
    }
    o.mode = AEGIS_MODE_WRITE;
    EXPECT_CODE(aegis_open(path, &o, &own, NULL), AEGIS_E_LOCKED);
}

TEST(a_forked_child_is_refused_and_its_parent_goes_on) {
    for (uint32_t flags = 0; flags <= AEGIS_OPEN_NO_THREAD; flags += AEGIS_OPEN_NO_THREAD) {
        if (!begin_store(flags)) return;
        fill(20);
        EXPECT_OK(append_record(store, SESSION, 20, PAYLOAD));    /* queued: the child must not write it either */
        EXPECT_OK(aegis_verify_start(store, SESSION, &begun));
        in_child(use_in_child);
        aegis_verify_end(begun);
        EXPECT_OK(aegis_commit(store, SESSION, 20));
        for (uint64_t i = 21; i < 300; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        for (uint64_t i = 0; i < 300; i++) EXPECT(has_record(store, SESSION, i, PAYLOAD));
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_close(store));
        const aegis_options o = options(AEGIS_MODE_WRITE);
        EXPECT_OK(open_code(&o));
        EXPECT_EQ_U64(size_of(store, SESSION), 300);
        end_store();
    }
}
