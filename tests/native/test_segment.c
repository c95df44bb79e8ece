/* segment.c: the conditions of a valid header and of a valid slot, each by its number; names, slots in turn, zeroing. */
#include "scopes.h"

#define PATH "00000005.seg"

enum { NUMBER = 5, GENERATION = 7, ZEROED = 40960 };

static segment seg;

static bool begin_with_segment(void) {
    return begin(1) && EXPECT_OK(segment_create(&s, root, NUMBER, GENERATION, ZEROED, &seg));
}

static void end_with_segment(void) {
    segment_close(&s, &seg);
    end();
}

/* Opens it as another would, and closes it again. */
static int open_as(const scope *in, uint64_t number, uint64_t generation, segment *out) {
    int code = segment_open(in, root, number, generation, false, out);
    const segment seen = *out;
    if (code == AEGIS_OK) segment_close(in, out);
    *out = seen;
    return code;
}

static int reopen(segment *out) { return open_as(&s, NUMBER, GENERATION, out); }

/* Writes a field of the header under a checksum that fits. */
static void forge_header(unsigned at, uint64_t value, size_t size) {
    uint8_t header[512], word[8];
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, PATH, 0, header, sizeof header, &got));
    store_u64(word, value);
    memcpy(header + at, word, size);
    store_u32(header + 508, crc32c(0, header, 508));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 0, header, sizeof header));
}

TEST(segment_condition_1_magic_and_checksum_match) {
    segment again;
    if (!begin_with_segment()) return;
    for (uint64_t bit = 0; bit < 512 * 8; bit++) {
        flip(PATH, bit);
        if (!EXPECT_CODE(reopen(&again), AEGIS_E_CORRUPT)) printf("    bit %llu\n", (unsigned long long)bit);
        flip(PATH, bit);
    }
    EXPECT(message_has("header"));
    EXPECT(said_path(PATH));
    EXPECT_OK(reopen(&again));
    forge_header(0, 0x1122334455667788, 8);
    EXPECT_CODE(reopen(&again), AEGIS_E_CORRUPT);
    end_with_segment();
}

TEST(segment_condition_2_the_format_version_is_known) {
    segment again;
    if (!begin_with_segment()) return;
    forge_header(8, 1, 4);
    EXPECT_CODE(reopen(&again), AEGIS_E_VERSION);
    EXPECT(message_has("format 1"));
    EXPECT(said_path(PATH));
    end_with_segment();
}

TEST(segment_condition_3_store_id_and_tier_are_ours) {
    segment again;
    if (!begin_with_segment()) return;
    scope other = s;
    other.store_id[15] ^= 1;
    EXPECT_CODE(open_as(&other, NUMBER, GENERATION, &again), AEGIS_E_FOREIGN);
    EXPECT(message_has("another store"));
    other = s;
    other.tier = AEGIS_TIER_AUDIT;
    EXPECT_CODE(open_as(&other, NUMBER, GENERATION, &again), AEGIS_E_FOREIGN);
    EXPECT(message_has("tier 3"));
    EXPECT(said_path(PATH));
    end_with_segment();
}

TEST(segment_condition_4_number_and_generation_are_those_of_the_manifest) {
    segment again;
    if (!begin_with_segment()) return;
    EXPECT_CODE(open_as(&s, NUMBER, GENERATION + 1, &again), AEGIS_E_FOREIGN);
    EXPECT(message_has("generation 7"));
    EXPECT_OK(vfs_sim_copy_file(sim, PATH, sim, "00000006.seg"));
    EXPECT_CODE(open_as(&s, NUMBER + 1, GENERATION, &again), AEGIS_E_FOREIGN);
    EXPECT(message_has("segment 00000005 under another's name"));
    EXPECT(said_path("00000006.seg"));
    end_with_segment();
}

TEST(segment_condition_5_the_alignment_is_that_of_the_store) {
    segment again;
    if (!begin_with_segment()) return;
    scope other = s;
    other.align = 4096;
    EXPECT_CODE(open_as(&other, NUMBER, GENERATION, &again), AEGIS_E_FOREIGN);
    EXPECT(message_has("alignment"));
    end_with_segment();
}

/* Two slots: sizes 10 in slot 1, then 20 in slot 0. */
static bool write_two_slots(void) {
    uint8_t text[HASH_SIZE] = "root";
    seg.tail = 12288 + 800;
    return EXPECT_OK(segment_write_slot(&s, &seg, 10, text, 0)) && EXPECT_OK(segment_write_slot(&s, &seg, 20, text, SLOT_END));
}

TEST(segment_condition_6_magic_and_checksum_of_a_slot_match) {
    segment again;
    if (!begin_with_segment() || !write_two_slots()) return;
    EXPECT_OK(reopen(&again));
    EXPECT_EQ_U64(again.last_slot.size, 20);
    s.keyed = false;    /* so that the code says nothing */
    for (uint64_t bit = 0; bit < 72 * 8; bit++) {
        flip(PATH, 4096 * 8 + bit);
        EXPECT_OK(reopen(&again));
        if (!EXPECT_EQ_U64(again.last_slot.size, 10)) printf("    bit %llu\n", (unsigned long long)bit);
        flip(PATH, 4096 * 8 + bit);
    }
    end_with_segment();
}

TEST(segment_condition_7_the_code_of_a_slot_matches_for_who_has_the_secret) {
    segment again;
    uint8_t bytes[96];
    size_t got = 0;
    if (!begin_with_segment() || !write_two_slots()) return;
    for (uint64_t bit = 72 * 8; bit < 88 * 8; bit++) {
        flip(PATH, 4096 * 8 + bit);
        EXPECT_OK(reopen(&again));
        EXPECT_EQ_U64(again.last_slot.size, 10);
        flip(PATH, 4096 * 8 + bit);
    }
    scope other = s;
    hmac_prepare(&other.key, "another secret", 14);
    EXPECT_OK(open_as(&other, NUMBER, GENERATION, &again));
    EXPECT_EQ_U64(again.last_slot.sequence, 0);
    /* Slot 0's bytes at the place of slot 1 are no slot, nor are those of another segment. */
    EXPECT_OK(vfs_sim_get(sim, PATH, 4096, bytes, sizeof bytes, &got));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8192, bytes, sizeof bytes));
    memset(bytes, 0, sizeof bytes);
    EXPECT_OK(vfs_sim_patch(sim, PATH, 4096, bytes, sizeof bytes));
    EXPECT_OK(reopen(&again));
    EXPECT_EQ_U64(again.last_slot.sequence, 0);
    s.keyed = false;
    EXPECT_OK(reopen(&again));
    EXPECT_EQ_U64(again.last_slot.size, 20);
    end_with_segment();
}

TEST(a_slot_of_another_segment_is_none) {
    segment next, again;
    uint8_t bytes[96];
    size_t got = 0;
    if (!begin_with_segment() || !write_two_slots()) return;
    EXPECT_OK(segment_create(&s, root, 6, GENERATION, 0, &next));
    EXPECT(memcmp(next.nonce, seg.nonce, NONCE_SIZE) != 0);
    EXPECT_OK(vfs_sim_get(sim, PATH, 4096, bytes, sizeof bytes, &got));
    EXPECT_OK(vfs_sim_patch(sim, "00000006.seg", 4096, bytes, sizeof bytes));
    EXPECT_OK(open_as(&s, 6, GENERATION, &again));
    EXPECT_EQ_U64(again.last_slot.sequence, 0);
    segment_close(&s, &next);
    end_with_segment();
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

TEST(names_and_numbers_lead_to_each_other) {
    static const char *const strangers[] = {"", "0", "00000000", "00000000.se", "00000000.seg ", "00000000.segx", "0000000g.seg",
                                            "0000002A.seg", "000000000.seg", " 0000000.seg", "tiles", "tail-00000001.cut", "-0000001.seg",
                                            "00000001-00000000.seg", "00000001-0000001.seg", "00000001-000000001.seg", "00000001-0000000g.seg",
                                            "00000001-00000001", "00000001-.seg", "00000001-00000001-00000001.seg", "00000001_00000001.seg"};
    static const uint64_t numbers[] = {0, 1, 9, 10, 42, 255, 0xabcdef, 0xffffffff, 1ull << 32, 0x100000002a, 0xffffffffffffffff};
    char name[SEGMENT_NAME_SIZE];
    uint64_t number = 0;
    segment_name(42, name);
    EXPECT_STRING(name, "0000002a.seg");
    segment_name((uint64_t)0xb3 << 32 | 42, name);
    EXPECT_STRING(name, "0000002a-000000b3.seg");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        segment_name(numbers[i], name);
        EXPECT(segment_number(name, &number));
        EXPECT_EQ_U64(number, numbers[i]);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) EXPECT(!segment_number(strangers[i], &number));
}

TEST(a_missing_or_short_segment_is_named) {
    segment again;
    if (!begin_with_segment()) return;
    EXPECT_CODE(open_as(&s, 9, GENERATION, &again), AEGIS_E_CORRUPT);
    EXPECT(message_has("00000009.seg is missing"));
    EXPECT(said_path("00000009.seg"));
    EXPECT_OK(vfs_sim_resize(sim, PATH, 511));
    EXPECT_CODE(reopen(&again), AEGIS_E_CORRUPT);
    EXPECT(message_has("cut off within its header"));
    EXPECT_OK(vfs_sim_resize(sim, PATH, 0));
    EXPECT_CODE(reopen(&again), AEGIS_E_CORRUPT);
    end_with_segment();
}

/* ---- making ----------------------------------------------------------------------------------------------------------- */

TEST(a_new_segment_is_what_the_format_shows) {
    uint8_t bytes[ZEROED];
    segment again;
    uint64_t size = 0;
    size_t got = 0;
    if (!begin_with_segment()) return;
    EXPECT_OK(vfs_sim_file_size(sim, PATH, &size));
    EXPECT_EQ_U64(size, ZEROED);
    EXPECT_OK(vfs_sim_get(sim, PATH, 0, bytes, sizeof bytes, &got));
    EXPECT_BYTES(bytes, "AEGISSEG", 8);
    EXPECT_EQ_U64(load_u32(bytes + 8), 0);
    EXPECT_EQ_U64(load_u32(bytes + 12), SESSION);
    EXPECT_BYTES(bytes + 16, TEST_ID, 16);
    EXPECT_EQ_U64(load_u64(bytes + 32), NUMBER);
    EXPECT_EQ_U64(load_u64(bytes + 40), GENERATION);
    EXPECT_BYTES(bytes + 48, seg.nonce, 16);
    EXPECT(!all_zero(seg.nonce, 16));
    EXPECT_EQ_U64(load_u32(bytes + 64), 8);
    EXPECT(all_zero(bytes + 68, 440));
    EXPECT_EQ_U64(load_u32(bytes + 508), crc32c(0, bytes, 508));
    EXPECT(all_zero(bytes + 512, ZEROED - 512));
    EXPECT_EQ_U64(seg.tail, SEGMENT_FRAMES);
    EXPECT_OK(reopen(&again));
    EXPECT_BYTES(again.nonce, seg.nonce, 16);
    EXPECT_EQ_U64(again.tail, SEGMENT_FRAMES);
    EXPECT_EQ_U64(again.last_slot.sequence, 0);
    end_with_segment();
}

TEST(a_new_segment_is_durable_but_for_its_name) {
    vfs_sim *image = NULL;
    segment again;
    if (!begin_with_segment()) return;
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), VFS_SIM_KEEP_NOTHING, 1, &image));
    scope there = scope_of(vfs_sim_vfs(image), SESSION, 8);
    vfs_dir *dir = NULL;
    EXPECT_OK(there.vfs->open_root(there.vfs, "store", VFS_READ, &dir));
    if (EXPECT_OK(segment_open(&there, dir, NUMBER, GENERATION, false, &again))) segment_close(&there, &again);
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(image, PATH, &size));
    EXPECT_EQ_U64(size, ZEROED);
    there.vfs->close_dir(there.vfs, dir);
    vfs_sim_free(image);
    end_with_segment();
}

TEST(a_segment_replaces_nothing) {
    segment other;
    if (!begin_with_segment()) return;
    vfs_sim *before = vfs_sim_clone(sim);
    char text[200];
    EXPECT_CODE(segment_create(&s, root, NUMBER, GENERATION, ZEROED, &other), AEGIS_E_EXISTS);
    EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    vfs_sim_free(before);
    end_with_segment();
}

TEST(a_segment_that_cannot_be_made_leaves_nothing) {
    segment other;
    char text[200];
    if (!begin_with_segment()) return;
    vfs_sim *before = vfs_sim_clone(sim);
    for (uint64_t nth = 1;; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_NOSPACE, .written_bytes = 100});
        int code = segment_create(&s, root, 6, GENERATION, ZEROED, &other);
        vfs_sim_fail(sim, NULL);
        if (code == AEGIS_OK) break;
        if (!EXPECT_CODE(code, AEGIS_E_NOSPACE)) return;
        EXPECT(other.file == NULL);
        EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    }
    segment_close(&s, &other);
    vfs_sim_free(before);
    end_with_segment();
}

TEST(a_probe_says_what_the_header_says) {
    uint64_t generation = 0;
    uint32_t align = 0;
    segment other;
    if (!begin_with_segment()) return;
    EXPECT_OK(segment_probe(&s, root, NUMBER, &generation, &align));
    EXPECT_EQ_U64(generation, GENERATION);
    EXPECT_EQ_U64(align, 8);
    scope blocks = scope_of(v, SESSION, 4096);
    EXPECT_OK(segment_create(&blocks, root, 6, 12, 0, &other));
    segment_close(&blocks, &other);
    EXPECT_OK(segment_probe(&s, root, 6, &generation, &align));
    EXPECT_EQ_U64(generation, 12);
    EXPECT_EQ_U64(align, 4096);
    EXPECT_CODE(segment_probe(&s, root, 7, &generation, &align), AEGIS_E_NOTFOUND);
    EXPECT_OK(vfs_sim_copy_file(sim, PATH, sim, "00000007.seg"));
    EXPECT_CODE(segment_probe(&s, root, 7, &generation, &align), AEGIS_E_FOREIGN);
    scope other_tier = scope_of(v, AEGIS_TIER_AUDIT, 8);
    EXPECT_CODE(segment_probe(&other_tier, root, NUMBER, &generation, &align), AEGIS_E_FOREIGN);
    forge_header(64, 16, 4);
    EXPECT_CODE(segment_probe(&s, root, NUMBER, &generation, &align), AEGIS_E_FOREIGN);
    flip(PATH, 400 * 8);
    EXPECT_CODE(segment_probe(&s, root, NUMBER, &generation, &align), AEGIS_E_CORRUPT);
    EXPECT_OK(vfs_sim_resize(sim, PATH, 100));
    EXPECT_CODE(segment_probe(&s, root, NUMBER, &generation, &align), AEGIS_E_CORRUPT);
    end_with_segment();
}

/* ---- slots ------------------------------------------------------------------------------------------------------------ */

TEST(slots_are_written_in_turn_and_the_newest_valid_one_counts) {
    uint8_t text[HASH_SIZE] = "", zeros[96] = {0}, bytes[96];
    segment again;
    size_t got = 0;
    if (!begin_with_segment()) return;
    for (uint64_t i = 1; i <= 9; i++) {
        text[0] = (uint8_t)i;
        seg.tail = 12288 + 80 * i;
        EXPECT_OK(segment_write_slot(&s, &seg, 100 + i, text, i == 9 ? SLOT_END : 0));
        EXPECT_OK(reopen(&again));
        EXPECT_EQ_U64(again.last_slot.sequence, i);
        EXPECT_EQ_U64(again.last_slot.size, 100 + i);
        EXPECT_EQ_U64(again.last_slot.offset, 12288 + 80 * i);
        EXPECT_EQ_U64(again.last_slot.flags, i == 9 ? SLOT_END : 0);
        EXPECT_BYTES(again.last_slot.root, text, HASH_SIZE);
        EXPECT_OK(vfs_sim_get(sim, PATH, 4096 * (1 + i % 2), bytes, sizeof bytes, &got));
        EXPECT_EQ_U64(load_u64(bytes + 8), i);
    }
    /* The newest, 9, stands in slot 1; without it 8 counts, and the next one written takes the place of the damaged one. */
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8192, zeros, sizeof zeros));
    segment_close(&s, &seg);
    EXPECT_OK(segment_open(&s, root, NUMBER, GENERATION, true, &seg));
    EXPECT_EQ_U64(seg.last_slot.size, 108);
    EXPECT_OK(segment_write_slot(&s, &seg, 200, text, 0));
    EXPECT_OK(vfs_sim_get(sim, PATH, 8192, bytes, sizeof bytes, &got));
    EXPECT_EQ_U64(load_u64(bytes + 16), 200);
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8192, zeros, sizeof zeros));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 4096, zeros, sizeof zeros));
    EXPECT_OK(reopen(&again));
    EXPECT_EQ_U64(again.last_slot.sequence, 0);
    end_with_segment();
}

/* Its size was durable before anything named it: without the slots it would be taken for one in which nothing was vouched for. */
TEST(a_file_that_ends_before_its_frames_is_refused_and_named) {
    static const uint64_t sizes[] = {SEGMENT_FRAMES - 1, 8192 + 95, 4096 + 95, 512};
    segment again;
    if (!begin_with_segment() || !write_two_slots()) return;
    for (int i = 0; i < 4; i++) {
        EXPECT_OK(vfs_sim_resize(sim, PATH, sizes[i]));
        EXPECT_CODE(reopen(&again), AEGIS_E_CORRUPT);
        EXPECT(message_has("is cut off before its frames"));
    }
    end_with_segment();
}

TEST(a_slot_makes_durable_what_was_written_before_it) {
    uint8_t text[HASH_SIZE] = "";
    if (!begin_with_segment()) return;
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(v->write(v, seg.file, 12288, "frames", 6));
    EXPECT_OK(segment_write_slot(&s, &seg, 1, text, 0));
    if (!EXPECT_EQ_U64(vfs_sim_op_count(sim), 3)) return;
    EXPECT(vfs_sim_op_at(sim, 1)->kind == VFS_SIM_WRITE && vfs_sim_op_at(sim, 1)->offset == 8192 && vfs_sim_op_at(sim, 1)->length == 96);
    EXPECT(vfs_sim_op_at(sim, 2)->kind == VFS_SIM_SYNC);
    /* One that could not be written or synced is not taken for the last one. */
    for (uint64_t nth = 1; nth <= 2; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        EXPECT_CODE(segment_write_slot(&s, &seg, 2, text, 0), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(seg.last_slot.sequence, 1);
    }
    end_with_segment();
}

/* ---- zeroing and places ----------------------------------------------------------------------------------------------- */

static vfs_file *written[64];
static unsigned written_count;
static int (*real_write)(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length);

static int noting_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    if (written_count < 64) written[written_count++] = file;
    return real_write(self, file, offset, bytes, length);
}

TEST(zeroing_goes_through_a_descriptor_of_its_own) {
    static uint8_t ones[200000], bytes[200000];
    size_t got = 0;
    if (!begin_with_segment()) return;
    memset(ones, 1, sizeof ones);
    EXPECT_OK(vfs_sim_patch(sim, PATH, 20000, ones, sizeof ones));
    size_t handles = vfs_sim_open_count(sim);
    real_write = v->write;
    v->write = noting_write;
    written_count = 0;
    EXPECT_OK(segment_zero(&s, root, &seg, 30001, 170003));
    v->write = real_write;
    EXPECT(written_count > 0);
    for (unsigned i = 0; i < written_count; i++) EXPECT(written[i] != seg.file);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    EXPECT_OK(vfs_sim_get(sim, PATH, 20000, bytes, sizeof bytes, &got));
    EXPECT_BYTES(bytes, ones, 10001);
    EXPECT(all_zero(bytes + 10001, 140002));
    EXPECT_BYTES(bytes + 150003, ones, 49997);
    EXPECT(vfs_sim_op_at(sim, vfs_sim_op_count(sim) - 1)->kind == VFS_SIM_SYNC);
    for (uint64_t nth = 1; nth <= 5; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_NOSPACE});
        EXPECT_CODE(segment_zero(&s, root, &seg, 30001, 170003), AEGIS_E_NOSPACE);
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    }
    end_with_segment();
}

TEST(places_in_memory_are_exact) {
    uint64_t offsets[SEGMENT_LOCATE_MAX + 1];
    if (!begin_with_segment()) return;
    EXPECT_OK(segment_reserve_offsets(&seg, 10));
    EXPECT(seg.offsets_capacity >= 10);
    for (uint32_t i = 0; i < 600; i++) {
        EXPECT_OK(segment_reserve_offsets(&seg, i + 1));
        seg.offsets[seg.count++] = 1536 + 10 * i;
    }
    EXPECT_OK(segment_reserve_offsets(&seg, 5000));
    EXPECT(seg.offsets_capacity >= 5000);
    seg.tail = 8 * (1536 + 10 * 600);
    EXPECT_OK(segment_locate(&s, &seg, 0, 256, offsets));
    for (unsigned i = 0; i <= 256; i++) EXPECT_EQ_U64(offsets[i], 8 * (1536 + 10 * i));
    EXPECT_OK(segment_locate(&s, &seg, 599, 1, offsets));
    EXPECT_EQ_U64(offsets[0], 8 * (1536 + 5990));
    EXPECT_EQ_U64(offsets[1], seg.tail);
    EXPECT_CODE(segment_locate(&s, &seg, 599, 2, offsets), AEGIS_E_BUG);
    EXPECT_CODE(segment_locate(&s, &seg, 0, 0, offsets), AEGIS_E_BUG);
    EXPECT_CODE(segment_locate(&s, &seg, 0, 257, offsets), AEGIS_E_BUG);
    end_with_segment();
}
