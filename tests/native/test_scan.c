/* scan.c: frames in order, what ends them, finding frames again behind damage, and how much is read for it. */
#include "scan.h"
#include "scopes.h"

#define PATH "00000000.seg"

static segment seg;
static merkle_range range;

static bool begin_with(unsigned groups) {
    merkle_clear(&range);
    return begin(1) && new_segment(&s, root, 0, &range, groups, &seg);
}

static void end_with_segment(void) {
    segment_close(&s, &seg);
    end();
}

static uint64_t file_size(void) {
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, PATH, &size));
    return size;
}

static void start(scan *sc) { scan_start(sc, &s, seg.file, seg.nonce, SEGMENT_FRAMES, file_size(), seg.first); }

/* Scans to the first thing that is no frame; returns how many there were before it. */
static uint64_t scan_all(int *code) {
    scan sc;
    scanned found;
    uint64_t count = 0;
    start(&sc);
    while ((*code = scan_next(&sc, &found)) == AEGIS_OK) count++;
    scan_stop(&sc);
    return count;
}

/* The index of the next frame that a search from byte `from` finds, or UINT64_MAX. */
static uint64_t find_from(uint64_t from) {
    scan sc;
    scanned found;
    scan_start(&sc, &s, seg.file, seg.nonce, from, file_size(), 0);
    int code = scan_find(&sc, &found);
    EXPECT(code == AEGIS_OK || code == AEGIS_E_TORN);
    if (code == AEGIS_OK) EXPECT_EQ_U64(found.offset, 8ull * seg.offsets[found.head.index]);
    uint64_t index = code == AEGIS_OK ? found.head.index : UINT64_MAX;
    scan_stop(&sc);
    return index;
}

static uint64_t bytes_read;
static int (*real_read)(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got);

static int counting_read(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got) {
    int code = real_read(self, file, offset, bytes, length, got);
    bytes_read += *got;
    return code;
}

static void count_reads(void) {
    real_read = v->read;
    v->read = counting_read;
    bytes_read = 0;
}

TEST(frames_come_in_order_with_their_places_and_leaves) {
    scan sc;
    scanned found;
    if (!begin_with(6)) return;
    start(&sc);
    for (uint64_t i = 0; i < 18; i++) {
        test_record r;
        uint8_t leaf[HASH_SIZE];
        make_record(SESSION, i, 300, &r);
        leaf_hash(r.entry, r.entry_length, leaf);
        if (!EXPECT_OK(scan_next(&sc, &found))) return;
        EXPECT_EQ_U64(found.head.index, i);
        EXPECT_EQ_U64(found.offset, 8ull * seg.offsets[i]);
        EXPECT_EQ_U64(found.head.watermark, i / 3 * 3);
        EXPECT_EQ_U64(found.head.flags, i % 3 == 2 ? FRAME_LAST : 0);
        EXPECT_BYTES(found.leaf, leaf, HASH_SIZE);
        EXPECT_BYTES(frame_payload(&found.head, found.bytes), r.payload, r.payload_length);
        EXPECT_EQ_U64(sc.index, i + 1);
    }
    EXPECT_EQ_U64(sc.offset, seg.tail);
    for (int again = 0; again < 2; again++) {
        EXPECT_CODE(scan_next(&sc, &found), AEGIS_E_TORN);
        EXPECT_EQ_U64(sc.offset, seg.tail);
        EXPECT_EQ_U64(sc.index, 18);
    }
    scan_stop(&sc);
    end_with_segment();
}

TEST(the_last_frame_of_a_group_leads_to_the_next_block) {
    scan sc;
    scanned found;
    if (!begin(2)) return;
    s.align = 4096;
    merkle_clear(&range);
    if (!new_segment(&s, root, 0, &range, 4, &seg)) return;
    start(&sc);
    for (uint64_t i = 0; i < 12; i++) {
        EXPECT_OK(scan_next(&sc, &found));
        EXPECT((found.offset % 4096 == 0) == (i % 3 == 0));
    }
    EXPECT_EQ_U64(sc.offset, seg.tail);
    EXPECT_EQ_U64(seg.tail, SEGMENT_FRAMES + 4 * 4096);
    scan_stop(&sc);
    end_with_segment();
}

TEST(zeros_garbage_and_the_end_of_the_file_end_a_scan_as_torn) {
    uint8_t garbage[512];
    uint64_t seed = 3;
    int code = AEGIS_OK;
    if (!begin_with(3)) return;
    EXPECT_EQ_U64(scan_all(&code), 9);
    EXPECT_CODE(code, AEGIS_E_TORN);
    fill_random(&seed, garbage, sizeof garbage);
    EXPECT_OK(vfs_sim_patch(sim, PATH, seg.tail, garbage, sizeof garbage));
    EXPECT_EQ_U64(scan_all(&code), 9);
    EXPECT_CODE(code, AEGIS_E_TORN);
    for (uint64_t cut = seg.tail; cut > SEGMENT_FRAMES; cut -= 7) {
        uint64_t whole = 0;
        while (whole < 8 && 8ull * seg.offsets[whole + 1] <= cut) whole++;
        if (whole == 8 && cut >= seg.tail) whole = 9;
        EXPECT_OK(vfs_sim_resize(sim, PATH, cut));
        EXPECT_EQ_U64(scan_all(&code), whole);
        EXPECT_CODE(code, AEGIS_E_TORN);
        if (cut < 7) break;
    }
    end_with_segment();
}

TEST(a_frame_that_is_not_valid_ends_a_scan_as_corrupt) {
    int code = AEGIS_OK;
    if (!begin_with(3)) return;
    const uint64_t at = 8ull * seg.offsets[4];
    const uint64_t bits[] = {4, 5, 12, 16, 24, 32, 47, FRAME_HEADER, FRAME_HEADER + 19};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        flip(PATH, (at + bits[i]) * 8);
        EXPECT_EQ_U64(scan_all(&code), 4);
        EXPECT_CODE(code, AEGIS_E_CORRUPT);
        flip(PATH, (at + bits[i]) * 8);
    }
    EXPECT_EQ_U64(scan_all(&code), 9);
    end_with_segment();
}

TEST(a_frame_of_another_index_ends_a_scan_as_corrupt) {
    uint8_t bytes[512];
    if (!begin_with(2)) return;
    for (uint64_t index = 4; index < 9; index++) {
        int code = AEGIS_OK;
        uint64_t size = put_frame(&s, bytes, index, FRAME_LAST, 3, seg.nonce, seg.tail, (const uint8_t *)"entry", 5, NULL, 0);
        EXPECT_OK(vfs_sim_patch(sim, PATH, seg.tail, bytes, (size_t)size));
        EXPECT_EQ_U64(scan_all(&code), index == 6 ? 7 : 6);
        EXPECT_CODE(code, index == 6 ? AEGIS_E_TORN : AEGIS_E_CORRUPT);
    }
    end_with_segment();
}

TEST(links_are_not_asked_where_there_is_no_nonce) {
    scan sc;
    scanned found;
    if (!begin_with(3)) return;
    flip(PATH, (8ull * seg.offsets[4] + 32) * 8);
    scan_start(&sc, &s, seg.file, NULL, SEGMENT_FRAMES, seg.tail, 0);
    for (int i = 0; i < 9; i++) EXPECT_OK(scan_next(&sc, &found));
    scan_stop(&sc);
    end_with_segment();
}

TEST(stubs_stand_where_links_are_not_asked_and_where_the_caller_says_so) {
    uint8_t bytes[512], cause[8];
    scan sc;
    scanned found;
    if (!begin_with(4)) return;
    const uint64_t at = 8ull * seg.offsets[4];
    store_u64(cause, 9);
    put_frame(&s, bytes, 4, FRAME_GAP, 3, seg.nonce, at, (const uint8_t *)"an entry", 8, cause, 8);
    EXPECT_OK(v->write(v, seg.file, at, bytes, 64));
    for (int how = 0; how < 3; how++) {
        scan_start(&sc, &s, seg.file, how == 0 ? seg.nonce : NULL, at, file_size(), 4);
        if (how == 2) sc.stubs = false;
        EXPECT_CODE(scan_next(&sc, &found), how == 1 ? AEGIS_OK : AEGIS_E_CORRUPT);
        if (how == 1) EXPECT(frame_is_stub(&found.head) && frame_cause(&found.head, found.bytes) == 9);
        scan_stop(&sc);
    }
    end_with_segment();
}

TEST(an_incomplete_last_group_is_there_to_see_and_not_flagged) {
    scan sc;
    scanned found;
    if (!begin_with(2)) return;
    /* The third group, less its last frame. */
    put_group(&s, &seg, 3, 300, &range);
    EXPECT_OK(vfs_sim_resize(sim, PATH, 8ull * seg.offsets[8]));
    start(&sc);
    for (uint64_t i = 0; i < 8; i++) {
        EXPECT_OK(scan_next(&sc, &found));
        EXPECT_EQ_U64(found.head.flags, i == 2 || i == 5 ? FRAME_LAST : 0);
    }
    EXPECT_CODE(scan_next(&sc, &found), AEGIS_E_TORN);
    EXPECT_EQ_U64(sc.offset, 8ull * seg.offsets[8]);
    scan_stop(&sc);
    end_with_segment();
}

/* ---- searching -------------------------------------------------------------------------------------------------------- */

TEST(a_search_finds_the_next_valid_frame_from_anywhere) {
    if (!begin_with(4)) return;
    for (uint64_t from = SEGMENT_FRAMES; from < seg.tail + 100; from++) {
        uint64_t next = 0;
        while (next < 12 && 8ull * seg.offsets[next] < from) next++;
        if (!EXPECT_EQ_U64(find_from(from), next < 12 ? next : UINT64_MAX)) return;
    }
    end_with_segment();
}

TEST(a_search_passes_over_damage_and_garbage) {
    uint8_t garbage[40];
    uint64_t seed = 3;
    if (!begin_with(4)) return;
    for (unsigned i = 0; i < 12; i++) {
        flip(PATH, 8 * (8ull * seg.offsets[i] + FRAME_HEADER + 3));
        EXPECT_EQ_U64(find_from(8ull * seg.offsets[i]), i + 1 < 12 ? i + 1 : UINT64_MAX);
        flip(PATH, 8 * (8ull * seg.offsets[i] + FRAME_HEADER + 3));
    }
    fill_random(&seed, garbage, sizeof garbage);
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8ull * seg.offsets[2] + 5, garbage, sizeof garbage));
    EXPECT_EQ_U64(find_from(8ull * seg.offsets[2]), 3);
    /* A magic just before a frame hides it no more than anything else. */
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8ull * seg.offsets[3] - 8, "AFR0", 4));
    EXPECT_EQ_U64(find_from(8ull * seg.offsets[3] - 8), 3);
    end_with_segment();
}

/* A payload may hold a frame, even one of this very log: its link says that it stands elsewhere. */
TEST(a_search_is_not_fooled_by_frames_inside_payloads) {
    uint8_t bytes[4096], inner[1024], leaf[HASH_SIZE];
    scan sc;
    scanned found;
    if (!begin_with(1)) return;
    uint64_t inner_size = put_frame(&s, inner, 3, FRAME_LAST, 3, seg.nonce, seg.tail, (const uint8_t *)"inner", 5, (const uint8_t *)"x", 1);
    uint64_t size = put_frame(&s, bytes, 3, FRAME_LAST, 3, seg.nonce, seg.tail, (const uint8_t *)"entry of sixteen", 16, inner, (uint32_t)inner_size);
    EXPECT_OK(v->write(v, seg.file, seg.tail, bytes, (size_t)size));
    EXPECT(frame_may_start(bytes + 64));
    EXPECT_OK(vfs_sim_settle(sim, true));
    scan_start(&sc, &s, seg.file, seg.nonce, seg.tail, file_size(), 0);
    EXPECT_OK(scan_find(&sc, &found));
    EXPECT_EQ_U64(found.offset, seg.tail);
    EXPECT_EQ_U64(sc.offset, seg.tail + size);
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_TORN);
    scan_stop(&sc);
    flip(PATH, 8 * (seg.tail + FRAME_HEADER));
    scan_start(&sc, &s, seg.file, seg.nonce, seg.tail, file_size(), 0);
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_TORN);
    scan_stop(&sc);
    /* Without links (a sealed segment) it cannot be told: such a search is never made there. */
    scan_start(&sc, &s, seg.file, NULL, seg.tail, file_size(), 0);
    EXPECT_OK(scan_find(&sc, &found));
    leaf_hash("inner", 5, leaf);
    EXPECT_BYTES(found.leaf, leaf, HASH_SIZE);
    scan_stop(&sc);
    end_with_segment();
}

TEST(a_search_goes_on_behind_what_it_found) {
    scan sc;
    scanned found;
    if (!begin_with(4)) return;
    flip(PATH, 8 * (8ull * seg.offsets[5] + 40));
    start(&sc);
    for (uint64_t i = 0; i < 12; i++) {
        if (i == 5) continue;
        EXPECT_OK(scan_find(&sc, &found));
        EXPECT_EQ_U64(found.head.index, i);
        EXPECT_EQ_U64(sc.index, i + 1);
    }
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_TORN);
    scan_stop(&sc);
    end_with_segment();
}

/* ---- frames larger than the window ------------------------------------------------------------------------------------ */

static void put_large(uint64_t index, uint32_t payload_length, uint64_t *at) {
    uint8_t *payload = malloc(payload_length + 1), *bytes = malloc(FRAME_MAX);
    uint64_t seed = index;
    if (EXPECT(payload != NULL && bytes != NULL)) {
        fill_random(&seed, payload, payload_length);
        uint64_t size = put_frame(&s, bytes, index, FRAME_LAST, index, seg.nonce, *at, payload, 30 + (uint32_t)index, payload, payload_length);
        EXPECT_OK(v->write(v, seg.file, *at, bytes, (size_t)size));
        *at += size;
    }
    free(payload);
    free(bytes);
}

TEST(frames_larger_than_the_window_are_read_whole) {
    static const uint32_t lengths[] = {100, 262144 - 48 - 31, 262144, 262145, 1000000, 500, AEGIS_PAYLOAD_MAX, 40};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    scan sc;
    scanned found;
    uint64_t at = SEGMENT_FRAMES;
    if (!begin_with(0)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (unsigned i = 0; i < COUNT; i++) put_large(i, lengths[i], &at);
    start(&sc);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_OK(scan_next(&sc, &found));
        EXPECT_EQ_U64(found.head.payload_length, lengths[i]);
    }
    EXPECT_EQ_U64(sc.offset, at);
    EXPECT_CODE(scan_next(&sc, &found), AEGIS_E_TORN);
    scan_stop(&sc);
    start(&sc);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_OK(scan_find(&sc, &found));
        EXPECT_EQ_U64(found.head.index, i);
    }
    scan_stop(&sc);
    end_with_segment();
}

/* ---- what it costs ---------------------------------------------------------------------------------------------------- */

TEST(zeros_are_passed_once_and_told_from_anything_else) {
    enum { LONG = 8 << 20 };
    scan sc;
    scanned found;
    bool zeros = false;
    if (!begin_with(2)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    EXPECT_OK(vfs_sim_resize(sim, PATH, LONG));
    count_reads();
    scan_start(&sc, &s, seg.file, seg.nonce, seg.tail, LONG, 6);
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_TORN);
    EXPECT(bytes_read <= LONG + (LONG >> 4));
    bytes_read = 0;
    EXPECT_OK(scan_zeros(&sc, seg.tail, LONG, &zeros));
    EXPECT(zeros);
    EXPECT(bytes_read <= LONG + (LONG >> 4));
    EXPECT_OK(scan_zeros(&sc, seg.tail - 1000, LONG, &zeros));
    EXPECT(!zeros);
    scan_stop(&sc);
    const uint64_t places[] = {seg.tail, seg.tail + 1, seg.tail + 262143, seg.tail + 262144, 5000000, LONG - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip(PATH, places[i] * 8 + 7);
        scan_start(&sc, &s, seg.file, seg.nonce, seg.tail, LONG, 6);
        EXPECT_OK(scan_zeros(&sc, seg.tail, LONG, &zeros));
        EXPECT(!zeros);
        EXPECT_OK(scan_zeros(&sc, places[i] + 1, LONG, &zeros));
        EXPECT(zeros);
        EXPECT_OK(scan_zeros(&sc, seg.tail, places[i], &zeros));
        EXPECT(zeros);
        scan_stop(&sc);
        flip(PATH, places[i] * 8 + 7);
    }
    v->read = real_read;
    end_with_segment();
}

TEST(a_search_reads_each_byte_about_once) {
    scan sc;
    scanned found;
    uint64_t count = 0;
    if (!begin_with(0)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (unsigned i = 0; i < 1500; i++) put_group(&s, &seg, 3, 300, &range);
    uint64_t length = seg.tail - SEGMENT_FRAMES;
    count_reads();
    start(&sc);
    while (scan_find(&sc, &found) == AEGIS_OK) count++;
    scan_stop(&sc);
    v->read = real_read;
    EXPECT_EQ_U64(count, 4500);
    EXPECT(length > (1 << 20));
    EXPECT(bytes_read <= 2 * length);
    end_with_segment();
}

/* Whoever writes payloads must not be able to make an open slow: headers that claim sixteen megabytes, one after another. */
TEST(headers_that_claim_much_do_not_make_a_search_slow) {
    enum { LONG = 20 << 20, COUNT = 1000 };
    uint8_t header[FRAME_HEADER] = "AFR0";
    scan sc;
    scanned found;
    if (!begin_with(1)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    EXPECT_OK(vfs_sim_resize(sim, PATH, LONG));
    store_u16(header + 6, 100);
    store_u32(header + 8, AEGIS_PAYLOAD_MAX);
    for (unsigned i = 0; i < COUNT; i++) EXPECT_OK(v->write(v, seg.file, seg.tail + i * sizeof header, header, sizeof header));
    count_reads();
    scan_start(&sc, &s, seg.file, seg.nonce, seg.tail, LONG, 3);
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_TORN);
    scan_stop(&sc);
    v->read = real_read;
    EXPECT(bytes_read <= 2 * (uint64_t)LONG);
    end_with_segment();
}

TEST(what_cannot_be_read_is_no_end) {
    scan sc;
    scanned found;
    bool zeros = false;
    if (!begin_with(2)) return;
    start(&sc);
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_READ, .forever = true, .code = AEGIS_E_IO});
    EXPECT_CODE(scan_next(&sc, &found), AEGIS_E_IO);
    EXPECT_CODE(scan_find(&sc, &found), AEGIS_E_IO);
    EXPECT_CODE(scan_zeros(&sc, seg.tail, file_size(), &zeros), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    EXPECT_OK(scan_next(&sc, &found));
    EXPECT_EQ_U64(found.head.index, 0);
    scan_stop(&sc);
    end_with_segment();
}

/* ---- the digest of what is read ---------------------------------------------------------------------------------------- */

TEST(the_digest_is_that_of_every_byte_once_whatever_the_window_does) {
    static uint8_t bytes[1 << 20];
    for (unsigned groups = 1; groups <= 900; groups += 899) {    /* less than a window, and more than one */
        uint8_t expected[HASH_SIZE], digest[HASH_SIZE];
        scan sc;
        scanned found;
        sha256 hash;
        size_t got = 0;
        bool whole = false;
        if (!begin_with(groups)) return;
        EXPECT_OK(vfs_sim_get(sim, PATH, SEGMENT_FRAMES, bytes, (size_t)(file_size() - SEGMENT_FRAMES), &got));
        sha256_whole(bytes, got, expected);
        start(&sc);
        sha256_start(&hash);
        scan_digest(&sc, &hash);
        while (scan_next(&sc, &found) == AEGIS_OK) {}
        EXPECT_OK(scan_digest_rest(&sc, &whole));
        EXPECT(whole);
        sha256_end(&hash, digest);
        EXPECT_BYTES(digest, expected, HASH_SIZE);
        scan_stop(&sc);
        end_with_segment();
    }
}

TEST(a_jump_past_what_was_read_is_told) {
    scan sc;
    scanned found;
    sha256 hash;
    bool whole = true;
    if (!begin_with(900)) return;
    start(&sc);
    sha256_start(&hash);
    scan_digest(&sc, &hash);
    EXPECT_OK(scan_next(&sc, &found));
    sc.offset = 8ull * seg.offsets[seg.count - 1];
    sc.index = seg.first + seg.count - 1;
    EXPECT_OK(scan_next(&sc, &found));
    EXPECT_OK(scan_digest_rest(&sc, &whole));
    EXPECT(!whole);
    scan_stop(&sc);
    end_with_segment();
}
