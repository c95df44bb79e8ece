/* log.c: reading records from their segments, by name of what is wrong with them, and what a rotation leaves behind. */
#include "scopes.h"

#define PAYLOAD 900u

enum { COUNT = 260, BUFFER = 300000 };

static aegis_store *store;
static log *l;
static uint8_t buffer[BUFFER];

/* Records 0 to COUNT - 1 over several segments; all but the last segment sealed if asked. */
static bool begin_log(uint32_t align, bool sealed) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, align);
    EXPECT_OK(vfs_sim_settle(sim, false));
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = align;
    store = open_with(v, &o, NULL);
    if (store == NULL) return false;
    for (uint64_t i = 0; i < COUNT; i++)
        if (!EXPECT_OK(append_record(store, SESSION, i, PAYLOAD)) || (i % 4 == 3 && !EXPECT_OK(aegis_commit(store, SESSION, i)))) return false;
    if (sealed) upkeep_until_idle(store);
    l = store_log(store, SESSION);
    return EXPECT(l->segment_count >= 3) && EXPECT(l->segments[0]->sealed == sealed);
}

static void end_log(void) {
    EXPECT_OK(aegis_abandon(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static segment *segment_with(uint64_t index) {
    uint64_t i = 0;
    while (i + 1 < l->segment_count && l->segments[i + 1]->first <= index) i++;
    return l->segments[i];
}

/* Where record `index` stands: "session/00000001.seg" and the offset in it. */
static uint64_t place_of(uint64_t index, char path[32]) {
    const segment *seg = segment_with(index);
    uint64_t offsets[2] = {0, 0};
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg->number, name);
    snprintf(path, 32, "session/%s", name);
    EXPECT_OK(segment_locate(&s, seg, index - seg->first, 1, offsets));
    return offsets[0];
}

static int read_one(uint64_t index) {
    aegis_record record;
    return aegis_read(store, SESSION, index, buffer, BUFFER, &record);
}

static void read_range_everywhere(bool sealed) {
    aegis_record records[300];
    uint64_t seed = 3;
    if (!begin_log(8, sealed)) return;
    for (int round = 0; round < 3000; round++) {
        uint64_t first = next_random(&seed) % COUNT, capacity = 1400 + next_random(&seed) % (round % 2 == 0 ? 20000 : BUFFER - 1400);
        uint32_t limit = 1 + (uint32_t)(next_random(&seed) % 290), count = 0;
        buffer[capacity] = 0x5a;
        if (!EXPECT_OK(aegis_read_range(store, SESSION, first, limit, buffer, capacity, records, &count))) return;
        const segment *seg = segment_with(first);
        if (!EXPECT(count >= 1 && count <= limit && first + count <= seg->first + seg->count)) return;
        EXPECT_EQ_U64(buffer[capacity], 0x5a);
        for (uint32_t i = 0; i < count; i++) {
            test_record r;
            uint8_t leaf[HASH_SIZE];
            make_record(SESSION, first + i, PAYLOAD, &r);
            leaf_hash(r.entry, r.entry_length, leaf);
            EXPECT_EQ_U64(records[i].index, first + i);
            EXPECT_EQ_U64(records[i].kind, 1 + (first + i) % 9);
            EXPECT_EQ_U64(records[i].flags, (first + i) % 4 == 3 ? FRAME_LAST : 0);
            EXPECT_EQ_U64(records[i].entry_length, r.entry_length);
            EXPECT_EQ_U64(records[i].payload_length, r.payload_length);
            EXPECT_BYTES(buffer + records[i].entry_at, r.entry, r.entry_length);
            EXPECT_BYTES(buffer + records[i].payload_at, r.payload, r.payload_length);
            EXPECT_BYTES(records[i].leaf, leaf, HASH_SIZE);
        }
        /* Fewer than asked only for a reason. */
        if (count < limit && count < SEGMENT_LOCATE_MAX && first + count < seg->first + seg->count) {
            char path[32];
            EXPECT(place_of(first + count, path) + 1400 - place_of(first, path) > capacity);
        }
    }
    end_log();
}

TEST(a_range_is_read_in_order_from_full_segments) { read_range_everywhere(false); }
TEST(a_range_is_read_in_order_from_sealed_segments) { read_range_everywhere(true); }

TEST(past_the_end_is_out_of_range) {
    aegis_record record;
    uint32_t count = 0;
    aegis_error error;
    if (!begin_log(8, false)) return;
    const uint64_t places[] = {COUNT, COUNT + 1, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        EXPECT_CODE(read_one(places[i]), AEGIS_E_RANGE);
        aegis_last_error(&error);
        EXPECT_EQ_U64(error.tier, SESSION);
        EXPECT_EQ_U64(error.first, places[i]);
    }
    EXPECT_CODE(log_read(l, 0, 0, buffer, BUFFER, &record, &count), AEGIS_E_ARGUMENT);
    EXPECT_EQ_U64(log_size(l), COUNT);
    end_log();
}

/* What a caller gets by with: a record's frame, whatever alignment puts behind it. */
static void read_with_little(uint32_t align) {
    if (!begin_log(align, true)) return;
    for (uint64_t i = 0; i < COUNT; i++) {
        aegis_record record = {0};
        test_record r;
        make_record(SESSION, i, PAYLOAD, &r);
        uint64_t size = frame_size(r.entry_length, r.payload_length);
        EXPECT_CODE(aegis_read(store, SESSION, i, buffer, size - 1, &record), AEGIS_E_SPACE);
        EXPECT_EQ_U64(record.index, i);
        EXPECT_EQ_U64(record.entry_length, r.entry_length);
        EXPECT_EQ_U64(record.payload_length, r.payload_length);
        EXPECT_CODE(aegis_read(store, SESSION, i, NULL, 0, &record), AEGIS_E_SPACE);
        buffer[size] = 0x5a;
        if (!EXPECT_OK(aegis_read(store, SESSION, i, buffer, size, &record))) break;
        EXPECT_EQ_U64(buffer[size], 0x5a);
        EXPECT_BYTES(buffer + record.payload_at, r.payload, r.payload_length);
    }
    end_log();
}

TEST(a_buffer_of_the_size_of_the_frame_is_enough) { read_with_little(8); }
TEST(a_buffer_of_the_size_of_the_frame_is_enough_on_block_boundaries) { read_with_little(4096); }

/* ---- entries alone ---------------------------------------------------------------------------------------------------- */

/* Every entry, in steps of any size; of kinds 3 and 5 the payload too. Whole stretches or frame by frame, as payloads are. */
static void read_entries_everywhere(bool sealed, uint32_t align, uint64_t capacity) {
    static aegis_record records[TILE_WIDTH];
    uint64_t seed = 5;
    if (!begin_log(align, sealed)) return;
    for (uint64_t first = 0; first < COUNT;) {
        uint32_t limit = 1 + (uint32_t)(next_random(&seed) % 290), count = 0;
        buffer[capacity] = 0x5a;
        if (!EXPECT_OK(log_read_entries(l, first, limit, 1u << 3 | 1u << 5, buffer, capacity, records, &count))) break;
        if (!EXPECT(count >= 1 && count <= limit && first % TILE_WIDTH + count <= TILE_WIDTH)) break;
        EXPECT_EQ_U64(buffer[capacity], 0x5a);
        for (uint32_t i = 0; i < count; i++) {
            test_record r;
            uint8_t leaf[HASH_SIZE];
            make_record(SESSION, first + i, PAYLOAD, &r);
            leaf_hash(r.entry, r.entry_length, leaf);
            EXPECT_EQ_U64(records[i].index, first + i);
            EXPECT_EQ_U64(records[i].kind, 1 + (first + i) % 9);
            EXPECT_EQ_U64(records[i].entry_length, r.entry_length);
            EXPECT_EQ_U64(records[i].payload_length, r.payload_length);
            EXPECT_BYTES(records[i].leaf, leaf, HASH_SIZE);
            EXPECT_BYTES(buffer + records[i].entry_at, r.entry, r.entry_length);
            if (records[i].kind == 3 || records[i].kind == 5) EXPECT_BYTES(buffer + records[i].payload_at, r.payload, r.payload_length);
            else EXPECT_EQ_U64(records[i].payload_at, AEGIS_NO_PAYLOAD);
        }
        first += count;
    }
    end_log();
}

TEST(entries_are_read_in_whole_stretches) { read_entries_everywhere(false, 8, BUFFER - 1); }
TEST(entries_are_read_in_whole_stretches_of_sealed_segments) { read_entries_everywhere(true, 8, BUFFER - 1); }
TEST(entries_are_read_one_by_one_where_a_stretch_does_not_fit) { read_entries_everywhere(true, 4096, 1300); }

TEST(an_entry_that_does_not_fit_says_what_it_needs) {
    aegis_record records[TILE_WIDTH];
    uint32_t count = 0;
    if (!begin_log(8, true)) return;
    for (uint64_t i = 0; i < 20; i++) {
        test_record r;
        make_record(SESSION, i, PAYLOAD, &r);
        uint64_t needed = FRAME_HEADER + r.entry_length + (i % 9 == 2 ? r.payload_length : 0);
        EXPECT_CODE(log_read_entries(l, i, 1, 1u << 3, buffer, needed - 1, records, &count), AEGIS_E_SPACE);
        EXPECT_EQ_U64(records[0].index, i);
        EXPECT_EQ_U64(records[0].entry_length, r.entry_length);
        EXPECT_EQ_U64(records[0].payload_length, r.payload_length);
        EXPECT_OK(log_read_entries(l, i, 1, 1u << 3, buffer, needed, records, &count));
    }
    EXPECT_CODE(log_read_entries(l, 0, 0, 0, buffer, BUFFER, records, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(log_read_entries(l, COUNT, 1, 0, buffer, BUFFER, records, &count), AEGIS_E_RANGE);
    end_log();
}

/* 300 small records: the first 256 are a tile, all in one segment, and are proven by one path. */
static bool begin_tile(void) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, 8);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    if (store == NULL) return false;
    for (uint64_t i = 0; i < 300; i++)
        if (!EXPECT_OK(append_record(store, SESSION, i, 4))) return false;
    EXPECT_OK(aegis_commit(store, SESSION, 299));
    upkeep_until_idle(store);
    l = store_log(store, SESSION);
    return EXPECT(l->segments[0]->count >= TILE_WIDTH);
}

TEST(damage_to_an_entry_is_named_and_damage_to_a_payload_is_not_looked_for) {
    aegis_record records[TILE_WIDTH];
    aegis_error error;
    uint32_t count = 0;
    char path[32];
    if (!begin_tile()) return;
    EXPECT_OK(aegis_read_entries(store, SESSION, 0, 300, 0, buffer, BUFFER, records, &count));
    EXPECT_EQ_U64(count, TILE_WIDTH);
    for (uint64_t i = 1; i < TILE_WIDTH; i += 50) {
        test_record r;
        make_record(SESSION, i, 4, &r);
        uint64_t at = place_of(i, path);
        /* Magic, length, index; the entry's first and last byte; then the payload. */
        const uint64_t bytes[] = {0, 6, 16, FRAME_HEADER, FRAME_HEADER + r.entry_length - 1};
        for (size_t n = 0; n < sizeof bytes / sizeof bytes[0]; n++) {
            flip(path, 8 * (at + bytes[n]));
            EXPECT_CODE(aegis_read_entries(store, SESSION, 0, 300, 0, buffer, BUFFER, records, &count), AEGIS_E_CORRUPT);
            aegis_last_error(&error);
            EXPECT_EQ_U64(error.first, i);
            EXPECT_EQ_U64(error.end, i + 1);
            EXPECT_OK(aegis_read_entries(store, SESSION, i + 1, 300, 0, buffer, BUFFER, records, &count));
            flip(path, 8 * (at + bytes[n]));
        }
        if (r.payload_length == 0) continue;
        flip(path, 8 * (at + FRAME_HEADER + r.entry_length));
        EXPECT_OK(aegis_read_entries(store, SESSION, 0, 300, 0, buffer, BUFFER, records, &count));
        EXPECT_CODE(read_one(i), AEGIS_E_CORRUPT);
        flip(path, 8 * (at + FRAME_HEADER + r.entry_length));
    }
    end_log();
}

/* ---- damage ----------------------------------------------------------------------------------------------------------- */

/* Each byte of some records flipped: that record is named and nothing else is hit. */
static void damage_records(bool sealed) {
    aegis_error error;
    char path[32];
    if (!begin_log(8, sealed)) return;
    for (uint64_t i = 1; i < COUNT - 1; i += 43) {
        test_record r;
        make_record(SESSION, i, PAYLOAD, &r);
        uint64_t size = frame_size(r.entry_length, r.payload_length), at = place_of(i, path);
        for (uint64_t byte = 0; byte < size; byte += byte < 60 ? 1 : 37) {
            if (byte >= 24 && byte < FRAME_HEADER) continue;    /* watermark and link are recovery's to ask */
            flip(path, 8 * (at + byte) + byte % 8);
            if (!EXPECT_CODE(read_one(i), AEGIS_E_CORRUPT)) printf("    byte %llu of record %llu\n", (unsigned long long)byte, (unsigned long long)i);
            aegis_last_error(&error);
            EXPECT_EQ_U64(error.tier, SESSION);
            EXPECT_EQ_U64(error.segment, segment_with(i)->number);
            EXPECT_EQ_U64(error.offset, at);
            EXPECT_EQ_U64(error.first, i);
            EXPECT_EQ_U64(error.end, i + 1);
            EXPECT_STRING(error.path, path + strlen("session/"));
            EXPECT_OK(read_one(i - 1));
            EXPECT_OK(read_one(i + 1));
            flip(path, 8 * (at + byte) + byte % 8);
        }
        EXPECT_OK(read_one(i));
    }
    end_log();
}

TEST(a_damaged_record_is_named_and_the_others_stay_readable) { damage_records(false); }
TEST(a_damaged_record_of_a_sealed_segment_is_named_and_the_others_stay_readable) { damage_records(true); }

TEST(a_damaged_record_in_a_range_is_named) {
    aegis_record records[16];
    aegis_error error;
    uint32_t count = 0;
    char path[32];
    if (!begin_log(8, true)) return;
    flip(path, 8 * (place_of(5, path) + FRAME_HEADER));
    EXPECT_CODE(aegis_read_range(store, SESSION, 0, 10, buffer, BUFFER, records, &count), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    EXPECT_EQ_U64(error.first, 5);
    EXPECT_EQ_U64(error.end, 6);
    EXPECT_OK(aegis_read_range(store, SESSION, 0, 5, buffer, BUFFER, records, &count));
    EXPECT_OK(aegis_read_range(store, SESSION, 6, 5, buffer, BUFFER, records, &count));
    end_log();
}

/* A record that is valid by itself, and not the one that the tree was made with. */
TEST(a_forged_record_with_a_checksum_that_fits_is_refused) {
    uint8_t bytes[4096];
    char path[32];
    size_t got = 0;
    if (!begin_log(8, true)) return;
    for (uint64_t i = 0; i < COUNT; i += 37) {
        test_record r;
        make_record(SESSION, i, PAYLOAD, &r);
        uint64_t at = place_of(i, path), size = frame_size(r.entry_length, r.payload_length);
        EXPECT_OK(vfs_sim_get(sim, path, at, bytes, (size_t)size, &got));
        const segment *seg = segment_with(i);
        r.entry[0] ^= 1;
        uint8_t forged[4096];
        put_frame(&s, forged, i, 0, 0, seg->nonce, at, r.entry, r.entry_length, r.payload, r.payload_length);
        EXPECT_OK(vfs_sim_patch(sim, path, at, forged, (size_t)size));
        EXPECT_CODE(read_one(i), AEGIS_E_CORRUPT);
        EXPECT(message_has("is not the one that the tree was made with"));
        EXPECT_OK(vfs_sim_patch(sim, path, at, bytes, (size_t)size));
        EXPECT_OK(read_one(i));
    }
    end_log();
}

TEST(a_record_in_the_place_of_another_is_refused) {
    static uint8_t one[2000], other[2000];
    char path[32];
    size_t got = 0;
    uint64_t index = 0;
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, 8);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    for (uint8_t i = 0; i < 4; i++) EXPECT_OK(aegis_append(store, SESSION, 1, &i, 1, one, 1000, &index));
    EXPECT_OK(aegis_commit(store, SESSION, index));
    l = store_log(store, SESSION);
    uint64_t a = place_of(1, path), b = place_of(2, path), size = frame_size(1, 1000);
    EXPECT_EQ_U64(b - a, size);
    EXPECT_OK(vfs_sim_get(sim, path, a, one, (size_t)size, &got));
    EXPECT_OK(vfs_sim_get(sim, path, b, other, (size_t)size, &got));
    EXPECT_OK(vfs_sim_patch(sim, path, a, other, (size_t)size));
    EXPECT_OK(vfs_sim_patch(sim, path, b, one, (size_t)size));
    EXPECT_CODE(read_one(1), AEGIS_E_CORRUPT);
    EXPECT_CODE(read_one(2), AEGIS_E_CORRUPT);
    EXPECT_OK(read_one(3));
    end_log();
}

TEST(a_damaged_offset_table_hides_no_other_record) {
    char path[32];
    if (!begin_log(8, true)) return;
    const segment *seg = l->segments[1];
    place_of(seg->first, path);
    for (uint64_t n = 1; n + 1 < seg->count; n += 11) {
        for (unsigned bit = 0; bit < 32; bit += 5) {
            flip(path, 8 * (seg->tail + 4 * n) + bit);
            int code = read_one(seg->first + n);
            EXPECT_CODE(code, AEGIS_E_CORRUPT);
            EXPECT_OK(read_one(seg->first + n + 1));
            if (n > 1) EXPECT_OK(read_one(seg->first + n - 2));
            flip(path, 8 * (seg->tail + 4 * n) + bit);
        }
    }
    EXPECT_OK(read_one(seg->first + 1));
    end_log();
}

TEST(what_cannot_be_read_is_no_damage) {
    if (!begin_log(8, true)) return;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_READ, .code = AEGIS_E_IO});
        EXPECT_CODE(read_one(3), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
        EXPECT_OK(read_one(3));
    }
    end_log();
}

/* The tree asks the log for leaves where a tile is missing: entries of any length, from any segment. */
TEST(leaves_come_from_the_log_whatever_the_length_of_their_entries) {
    static uint8_t entry[AEGIS_ENTRY_MAX];
    aegis_head before, after;
    uint64_t seed = 1, index = 0;
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    fill_random(&seed, entry, sizeof entry);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 600; i++) {
        const uint32_t lengths[] = {1, 463, 464, 465, 512, 513, 2000, AEGIS_ENTRY_MAX};
        uint32_t length = i % 100 == 7 ? lengths[7] : lengths[i % 7];
        entry[0] = (uint8_t)i;
        EXPECT_OK(aegis_append(store, SESSION, 1, entry, length, entry, (uint32_t)i % 300, &index));
        EXPECT_OK(aegis_commit(store, SESSION, index));
    }
    upkeep_until_idle(store);
    EXPECT_OK(aegis_head_at(store, SESSION, 301, &before));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_remove(sim, "session/tiles"));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT_OK(aegis_head_at(store, SESSION, 301, &after));
    EXPECT_BYTES(after.root, before.root, 32);
    for (uint64_t i = 0; i < 600; i += 11) EXPECT_OK(read_one(i));
    end_log();
}

/* ---- opening and what a rotation leaves ------------------------------------------------------------------------------- */

static manifest m;
static lockfile held;
static log opened;
static scope manifest_scope;

static bool begin_directory(void) {
    bool poisoned;
    if (!begin(1)) return false;
    manifest_scope = scope_of(v, 0, 8);
    manifest_init(&m, &manifest_scope, root);
    return EXPECT_OK(lockfile_open_writer(&held, v, root, &poisoned));
}

static void end_directory(void) {
    manifest_free(&m);
    lockfile_close(&held);
    end();
}

TEST(a_tier_whose_directory_is_missing_is_named) {
    if (!begin_directory()) return;
    EXPECT_CODE(log_init(&opened, &s, root, false, &m, &held, 0), AEGIS_E_CORRUPT);
    EXPECT(message_has("the directory of tier session is missing"));
    EXPECT_OK(log_init(&opened, &s, root, true, &m, &held, 0));
    EXPECT(opened.writable);
    log_free(&opened);
    end_directory();
}

TEST(a_log_that_cannot_be_opened_leaves_nothing_open) {
    if (!begin_directory()) return;
    size_t handles = vfs_sim_open_count(sim);
    for (uint64_t nth = 1; nth <= 3; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        int code = log_init(&opened, &s, root, true, &m, &held, 0);
        vfs_sim_fail(sim, NULL);
        EXPECT_CODE(code, nth == 3 ? AEGIS_OK : AEGIS_E_IO);    /* the third is the tiles' folder: only a cache */
        if (code == AEGIS_OK) EXPECT(opened.tree.dir == NULL);
        if (code == AEGIS_OK) log_free(&opened);
        EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    }
    end_directory();
}

TEST(tiers_have_their_names) {
    EXPECT_STRING(tier_name(1), "audit");
    EXPECT_STRING(tier_name(2), "memory");
    EXPECT_STRING(tier_name(3), "session");
    EXPECT_STRING(tier_name(4), "telemetry");
    EXPECT_STRING(tier_name(0), "");
    EXPECT_STRING(tier_name(5), "");
}
