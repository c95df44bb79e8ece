/* footer.c: the conditions of a valid footer, each by its number; writing, signing, damage, and a power cut in the middle. */
#include "scopes.h"

#define PATH "00000001.seg"

enum { NUMBER = 1, GENERATION = 7, FIRST = 11 };

static segment seg;
static merkle_range range;
static uint64_t file_size;
static footer good;

/* A full segment of records 11 to 25, not sealed. */
static bool begin_unsealed(uint64_t seed) {
    uint8_t leaf[HASH_SIZE];
    if (!begin(seed)) return false;
    merkle_clear(&range);
    for (uint64_t i = 0; i < FIRST; i++) {
        test_record r;
        make_record(SESSION, i, 300, &r);
        leaf_hash(r.entry, r.entry_length, leaf);
        merkle_append(&range, leaf);
    }
    return new_segment(&s, root, NUMBER, &range, 5, &seg);
}

static bool begin_sealed(void) {
    uint8_t top[HASH_SIZE];
    if (!begin_unsealed(1) || !EXPECT_OK(footer_write(&s, &seg, top))) return false;
    memcpy(seg.root, top, HASH_SIZE);
    seg.sealed = true;
    return EXPECT_OK(vfs_sim_file_size(sim, PATH, &file_size)) && EXPECT_OK(footer_read(&s, &seg, &good));
}

static void end_with_segment(void) {
    segment_close(&s, &seg);
    end();
}

static int read_again(void) {
    footer f;
    return footer_read(&s, &seg, &f);
}

/* Changes a field of the fixed part, under a checksum and, if asked, a code that fit. */
static void forge(const scope *as, unsigned at, uint64_t value, size_t size) {
    uint8_t fixed[FOOTER_FIXED], word[8], message[1 + FOOTER_MESSAGE];
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, PATH, file_size - FOOTER_FIXED, fixed, sizeof fixed, &got));
    store_u64(word, value);
    memcpy(fixed + at, word, size);
    message[0] = 'F';
    memcpy(message + 1, fixed, FOOTER_MESSAGE);
    if (as != NULL) scope_mac(as, message, sizeof message, fixed + 208);
    store_u32(fixed + 252, crc32c(0, fixed, FOOTER_MESSAGE));
    EXPECT_OK(vfs_sim_patch(sim, PATH, file_size - FOOTER_FIXED, fixed, sizeof fixed));
}

TEST(footer_condition_1_magic_version_and_both_checksums_match) {
    if (!begin_sealed()) return;
    const uint64_t fixed = (file_size - FOOTER_FIXED) * 8;
    for (uint64_t bit = 0; bit < FOOTER_MESSAGE * 8; bit++) {
        flip(PATH, fixed + bit);
        if (!EXPECT_CODE(read_again(), AEGIS_E_TORN)) printf("    bit %llu\n", (unsigned long long)bit);
        flip(PATH, fixed + bit);
    }
    for (uint64_t bit = 252 * 8; bit < 256 * 8; bit++) {
        flip(PATH, fixed + bit);
        EXPECT_CODE(read_again(), AEGIS_E_TORN);
        flip(PATH, fixed + bit);
    }
    EXPECT_OK(read_again());
    /* The second checksum is that of table and frontier. */
    for (uint64_t bit = good.frames_end * 8; bit < fixed; bit += 3) {
        flip(PATH, bit);
        EXPECT_CODE(footer_check_table(&s, &seg, &good), AEGIS_E_CORRUPT);
        flip(PATH, bit);
    }
    EXPECT_OK(footer_check_table(&s, &seg, &good));
    forge(&s, 8, 1, 4);
    EXPECT_CODE(read_again(), AEGIS_E_VERSION);
    EXPECT(said_path(PATH));
    end_with_segment();
}

TEST(footer_condition_2_store_tier_number_and_generation_are_those_of_the_header) {
    if (!begin_sealed()) return;
    const struct field {
        unsigned at;
        size_t size;
        uint64_t value;
    } fields[] = {{12, 4, 1}, {16, 1, 'x'}, {31, 1, 'x'}, {32, 8, 2}, {40, 8, 8}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint64_t old = 0;
        size_t got = 0;
        EXPECT_OK(vfs_sim_get(sim, PATH, file_size - FOOTER_FIXED + fields[i].at, &old, fields[i].size, &got));
        forge(&s, fields[i].at, fields[i].value, fields[i].size);
        EXPECT_CODE(read_again(), AEGIS_E_FOREIGN);
        EXPECT(message_has("another segment"));
        forge(&s, fields[i].at, old, fields[i].size);
        EXPECT_OK(read_again());
    }
    end_with_segment();
}

TEST(footer_condition_3_first_and_count_do_not_overflow_and_fit_the_file) {
    if (!begin_sealed()) return;
    const uint64_t firsts[] = {UINT64_MAX, UINT64_MAX - 14, FIRST - 3, FIRST + 5}, counts[] = {0, 14, 16, UINT64_MAX / 4, UINT64_MAX};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        forge(&s, 48, firsts[i], 8);
        EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
    }
    forge(&s, 48, FIRST, 8);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        forge(&s, 56, counts[i], 8);
        EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
        EXPECT(message_has("does not fit its file"));
    }
    forge(&s, 56, 15, 8);
    EXPECT_OK(read_again());
    end_with_segment();
}

/* As tests/fuzz/fuzz_footer.c demands: more records than there are can make room for themselves by frames that end before they start. */
TEST(footer_condition_3_frames_end_behind_where_they_start) {
    if (!begin_sealed()) return;
    unsigned tried = 0;
    for (uint64_t count = 1; 4 * count + FOOTER_FIXED < file_size; count++) {
        uint64_t behind = 4 * count + (uint64_t)merkle_peak_count(FIRST + count) * HASH_SIZE + FOOTER_FIXED;
        if (behind > file_size || file_size - behind >= SEGMENT_FRAMES) continue;
        forge(&s, 56, count, 8);
        forge(&s, 64, file_size - behind, 8);
        EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
        tried++;
    }
    EXPECT(tried > 0);
    end_with_segment();
}

/* The manifest is recovery's to ask: a whole store, with a footer of the right length that names other records. */
TEST(footer_condition_3_first_and_count_are_what_the_manifest_says) {
    sim = vfs_sim_new(2);
    s = scope_of(vfs_sim_vfs(sim), SESSION, FRAME_ALIGN);
    aegis_store *store = open_test(s.vfs, AEGIS_MODE_APPEND, NULL);
    aegis_footer f;
    uint8_t fixed[FOOTER_FIXED], message[1 + FOOTER_MESSAGE] = "F";
    size_t got = 0;
    for (uint64_t i = 0; i < 120; i++) EXPECT_OK(append_committed(store, SESSION, i, 900));
    upkeep_until_idle(store);
    EXPECT_OK(aegis_segment(store, SESSION, 0, &f));
    EXPECT(f.sealed);
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_file_size(sim, "session/00000000.seg", &file_size));
    EXPECT_OK(vfs_sim_get(sim, "session/00000000.seg", file_size - FOOTER_FIXED, fixed, sizeof fixed, &got));
    /* first + 2^40 has one perfect subtree more; the file is as long again where one hash goes. */
    store_u64(fixed + 48, 1ull << 40);
    store_u64(fixed + 64, f.first + load_u64(fixed + 64) - HASH_SIZE);
    memcpy(message + 1, fixed, FOOTER_MESSAGE);
    scope_mac(&s, message, sizeof message, fixed + 208);
    store_u32(fixed + 252, crc32c(0, fixed, FOOTER_MESSAGE));
    EXPECT_OK(vfs_sim_patch(sim, "session/00000000.seg", file_size - FOOTER_FIXED, fixed, sizeof fixed));
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    EXPECT_CODE(store_open(s.vfs, "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    EXPECT(message_has("the footer of 00000000.seg says records 1099511627776"));
    vfs_sim_free(sim);
}

/* Puts another table in place, under a checksum that fits. */
static void put_table(const uint32_t *offsets) {
    uint8_t bytes[4096];
    size_t got = 0, length = (size_t)(file_size - FOOTER_FIXED - good.frames_end);
    EXPECT_OK(vfs_sim_get(sim, PATH, good.frames_end, bytes, length, &got));
    for (size_t i = 0; i < 15; i++) store_u32(bytes + 4 * i, offsets[i]);
    EXPECT_OK(vfs_sim_patch(sim, PATH, good.frames_end, bytes, length));
    good.table_crc = crc32c(0, bytes, length);
}

TEST(footer_condition_4_the_offset_table_is_increasing_and_ends_before_where_the_frames_end) {
    uint32_t offsets[15];
    uint64_t places[SEGMENT_LOCATE_MAX + 1];
    if (!begin_sealed()) return;
    memcpy(offsets, seg.offsets, sizeof offsets);
    put_table(offsets);
    EXPECT_OK(footer_check_table(&s, &seg, &good));
    for (unsigned i = 0; i < 15; i++) {
        const uint32_t before = i == 0 ? SEGMENT_FRAMES / 8 : offsets[i - 1], was = offsets[i];
        const uint32_t wrong[] = {before - (i == 0), (uint32_t)(seg.tail / 8), UINT32_MAX, 0};
        for (unsigned j = 0; j < 4; j++) {
            offsets[i] = wrong[j];
            put_table(offsets);
            EXPECT_CODE(footer_check_table(&s, &seg, &good), AEGIS_E_CORRUPT);
            EXPECT_CODE(footer_offsets(&s, &seg, i == 0 ? 0 : i - 1, 2, places), AEGIS_E_CORRUPT);
            EXPECT_CODE(footer_offsets(&s, &seg, 0, 15, places), AEGIS_E_CORRUPT);
        }
        offsets[i] = was;
    }
    put_table(offsets);
    EXPECT_OK(footer_offsets(&s, &seg, 0, 15, places));
    end_with_segment();
}

TEST(footer_condition_5_the_frontier_gives_the_root) {
    merkle_range found;
    if (!begin_sealed()) return;
    EXPECT_OK(footer_frontier(&s, &seg, &good, &found));
    EXPECT_EQ_U64(found.size, FIRST + 15);
    EXPECT_BYTES(found.peaks, range.peaks, HASH_SIZE * merkle_peak_count(range.size));
    const uint64_t at = good.frames_end + 4 * 15;
    EXPECT_EQ_U64(at + HASH_SIZE * merkle_peak_count(range.size), file_size - FOOTER_FIXED);
    for (uint64_t bit = at * 8; bit < (file_size - FOOTER_FIXED) * 8; bit += 5) {
        flip(PATH, bit);
        EXPECT_CODE(footer_frontier(&s, &seg, &good, &found), AEGIS_E_CORRUPT);
        flip(PATH, bit);
    }
    EXPECT(message_has("frontier"));
    EXPECT(said_path(PATH));
    end_with_segment();
}

TEST(footer_condition_6_the_code_matches_for_who_has_the_secret) {
    if (!begin_sealed()) return;
    forge(NULL, 80, 1, 8);    /* another root, under a checksum that fits */
    EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
    EXPECT(message_has("not written by this store"));
    s.keyed = false;
    EXPECT_OK(read_again());
    s.keyed = true;
    scope other = s;
    hmac_prepare(&other.key, "another secret", 14);
    forge(&other, 80, 1, 8);
    EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
    forge(&s, 80, 1, 8);
    EXPECT_OK(read_again());
    for (uint64_t bit = 208 * 8; bit < 224 * 8; bit++) {
        flip(PATH, (file_size - FOOTER_FIXED) * 8 + bit);
        EXPECT_CODE(read_again(), AEGIS_E_CORRUPT);
        flip(PATH, (file_size - FOOTER_FIXED) * 8 + bit);
    }
    end_with_segment();
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

TEST(a_footer_says_what_the_segment_holds) {
    static uint8_t bytes[65536];
    uint8_t digest[HASH_SIZE], top[HASH_SIZE];
    uint64_t places[SEGMENT_LOCATE_MAX + 1];
    size_t got = 0;
    if (!begin_sealed()) return;
    EXPECT_EQ_U64(good.first, FIRST);
    EXPECT_EQ_U64(good.count, 15);
    EXPECT_EQ_U64(good.frames_end, seg.tail);
    EXPECT(!good.is_signed);
    merkle_root(&range, top);
    EXPECT_BYTES(good.root, top, HASH_SIZE);
    EXPECT_BYTES(seg.root, top, HASH_SIZE);
    EXPECT_OK(vfs_sim_get(sim, PATH, SEGMENT_FRAMES, bytes, (size_t)(seg.tail - SEGMENT_FRAMES), &got));
    sha256_whole(bytes, got, digest);
    EXPECT_BYTES(good.frames_sha256, digest, HASH_SIZE);
    EXPECT_OK(vfs_sim_get(sim, PATH, file_size - FOOTER_FIXED, bytes, FOOTER_FIXED, &got));
    EXPECT_BYTES(bytes, "AEGISFTR", 8);
    EXPECT_BYTES(good.message, bytes, FOOTER_MESSAGE);
    EXPECT(all_zero(bytes + 144, 64) && all_zero(bytes + 224, 28));
    for (unsigned n = 0; n < 15; n++) {
        for (unsigned count = 1; n + count <= 15; count++) {
            EXPECT_OK(segment_locate(&s, &seg, n, count, places));
            for (unsigned i = 0; i < count; i++) EXPECT_EQ_U64(places[i], 8ull * seg.offsets[n + i]);
            EXPECT_EQ_U64(places[count], n + count == 15 ? seg.tail : 8ull * seg.offsets[n + count]);
        }
    }
    end_with_segment();
}

TEST(a_footer_written_twice_is_the_same) {
    uint8_t top[HASH_SIZE];
    char text[200];
    if (!begin_sealed()) return;
    vfs_sim *before = vfs_sim_clone(sim);
    seg.sealed = false;
    EXPECT_OK(footer_write(&s, &seg, top));
    EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    EXPECT_BYTES(top, seg.root, HASH_SIZE);
    vfs_sim_free(before);
    end_with_segment();
}

TEST(what_is_not_a_full_segment_is_not_sealed) {
    uint8_t top[HASH_SIZE];
    if (!begin_unsealed(3)) return;
    seg.frontier->size--;
    EXPECT_CODE(footer_write(&s, &seg, top), AEGIS_E_BUG);
    seg.frontier->size++;
    seg.sealed = true;
    EXPECT_CODE(footer_write(&s, &seg, top), AEGIS_E_BUG);
    seg.sealed = false;
    EXPECT_CODE(read_again(), AEGIS_E_TORN);
    EXPECT_OK(footer_write(&s, &seg, top));
    end_with_segment();
}

TEST(sealing_that_fails_anywhere_can_be_done_again) {
    uint8_t top[HASH_SIZE];
    char text[200];
    if (!begin_unsealed(4)) return;
    vfs_sim *whole = NULL;
    for (uint64_t nth = 1; whole == NULL; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_NOSPACE, .written_bytes = 50});
        int code = footer_write(&s, &seg, top);
        uint64_t hits = vfs_sim_fault_hits(sim);
        vfs_sim_fail(sim, NULL);
        EXPECT_CODE(code, hits == 0 ? AEGIS_OK : AEGIS_E_NOSPACE);
        if (hits == 0) whole = vfs_sim_clone(sim);
        EXPECT(nth < 50);
    }
    EXPECT_OK(read_again());
    EXPECT_OK(footer_write(&s, &seg, top));
    EXPECT(vfs_sim_same(whole, sim, text, sizeof text));
    vfs_sim_free(whole);
    end_with_segment();
}

/* A footer that is there after a power cut is there whole: table and frontier too, or the records could not be found by it. */
static int see_image(void *context, vfs_sim *image, size_t cut) {
    unsigned *sealed = context;
    segment again;
    footer f;
    merkle_range found;
    vfs_dir *dir = NULL;
    (void)cut;
    scope there = scope_of(vfs_sim_vfs(image), SESSION, FRAME_ALIGN);
    EXPECT_OK(there.vfs->open_root(there.vfs, "store", VFS_READ, &dir));
    if (EXPECT_OK(segment_open(&there, dir, NUMBER, GENERATION, false, &again))) {
        int code = footer_read(&there, &again, &f);
        bool ours = code == AEGIS_E_TORN || (EXPECT_OK(code) && EXPECT_OK(footer_check_table(&there, &again, &f)) &&
                                             EXPECT_OK(footer_frontier(&there, &again, &f, &found)));
        if (code == AEGIS_OK && ours) *sealed += 1;
        segment_close(&there, &again);
    }
    there.vfs->close_dir(there.vfs, dir);
    return atomic_load(&check_failures) > 20;
}

TEST(a_footer_is_whole_or_not_there_after_a_power_cut) {
    uint8_t top[HASH_SIZE];
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    vfs_sim_counts counts;
    unsigned sealed = 0;
    limits.torn_bytes = true;
    /* Segments of other lengths, for other places of the sectors' borders in the footer. */
    for (unsigned groups = 5; groups < 60; groups += 9) {
        if (!begin(groups)) return;
        merkle_clear(&range);
        if (!EXPECT_OK(v->sync_parent(v, root)) || !new_segment(&s, root, NUMBER, &range, groups, &seg)) return;
        EXPECT_OK(vfs_sim_settle(sim, true));
        EXPECT_OK(footer_write(&s, &seg, top));
        EXPECT(vfs_sim_enumerate(sim, 0, SIZE_MAX, &limits, see_image, &sealed, &counts) == 0);
        EXPECT(counts.images > 10);
        end_with_segment();
    }
    EXPECT(sealed > 0);
}

/* ---- signing ---------------------------------------------------------------------------------------------------------- */

TEST(a_footer_is_signed_once) {
    uint8_t one[SIGNATURE_SIZE], two[SIGNATURE_SIZE];
    footer f;
    memset(one, 1, sizeof one);
    memset(two, 2, sizeof two);
    if (!begin_sealed()) return;
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(footer_sign(&s, &seg, one));
    EXPECT(seg.is_signed);
    EXPECT(vfs_sim_op_at(sim, vfs_sim_op_count(sim) - 1)->kind == VFS_SIM_SYNC);
    EXPECT_OK(footer_read(&s, &seg, &f));
    EXPECT(f.is_signed);
    EXPECT_BYTES(f.signature, one, sizeof one);
    EXPECT_BYTES(f.message, good.message, FOOTER_MESSAGE);
    EXPECT_OK(footer_sign(&s, &seg, one));
    EXPECT_CODE(footer_sign(&s, &seg, two), AEGIS_E_EXISTS);
    EXPECT_OK(footer_read(&s, &seg, &f));
    EXPECT_BYTES(f.signature, one, sizeof one);
    EXPECT_OK(footer_check_table(&s, &seg, &f));
    flip(PATH, (file_size - FOOTER_FIXED) * 8);
    EXPECT_CODE(footer_sign(&s, &seg, one), AEGIS_E_CORRUPT);
    seg.sealed = false;
    EXPECT_CODE(footer_sign(&s, &seg, one), AEGIS_E_BUG);
    end_with_segment();
}

TEST(a_signature_that_a_crash_cut_short_is_written_again_and_no_other) {
    uint8_t whole[SIGNATURE_SIZE], part[SIGNATURE_SIZE];
    uint64_t seed = 5;
    footer f;
    fill_random(&seed, whole, sizeof whole);
    for (uint32_t i = 0; i < SIGNATURE_SIZE; i++) whole[i] |= 1;    /* so that no part of it is all of it */
    for (uint32_t cut = 1; cut < SIGNATURE_SIZE; cut++) {
        for (int last = 0; last < 2; last++) {
            if (!begin_sealed()) return;
            memset(part, 0, sizeof part);
            memcpy(part + (last ? cut : 0), whole + (last ? cut : 0), last ? SIGNATURE_SIZE - cut : cut);
            EXPECT_OK(footer_sign(&s, &seg, part));
            EXPECT_OK(footer_sign(&s, &seg, whole));
            EXPECT_OK(footer_read(&s, &seg, &f));
            EXPECT_BYTES(f.signature, whole, sizeof whole);
            EXPECT_CODE(footer_sign(&s, &seg, part), AEGIS_E_EXISTS);
            part[last ? SIGNATURE_SIZE - 1 : 0] ^= 1;
            EXPECT_CODE(footer_sign(&s, &seg, part), AEGIS_E_EXISTS);
            end_with_segment();
        }
    }
}

TEST(a_file_that_was_cut_or_lengthened_has_no_footer) {
    uint8_t zeros[600] = {0};
    if (!begin_sealed()) return;
    for (uint64_t more = 1; more <= sizeof zeros; more += 7) {
        EXPECT_OK(vfs_sim_patch(sim, PATH, file_size, zeros, (size_t)more));
        EXPECT_CODE(read_again(), AEGIS_E_TORN);
        EXPECT_OK(vfs_sim_resize(sim, PATH, file_size));
    }
    EXPECT_OK(read_again());
    for (uint64_t less = 1; less < file_size; less += 101) {
        EXPECT_OK(vfs_sim_resize(sim, PATH, file_size - less));
        EXPECT_CODE(read_again(), AEGIS_E_TORN);
    }
    end_with_segment();
}
