/* outline.c: (1)-(4) of its head, each by its number, and what an open makes of a log whose outline is believed.
 *
 * Whether an open scanned the frames shows in what it does with one that is damaged: a scan refuses the store, an outline leaves
 * it to whoever reads that record. */
#include "outline.h"

#include "scopes.h"

#define PATH "session/00000000.seg"
#define OUTLINE "session/" OUTLINE_NAME
#define PAYLOAD 100u

/* More than the tree's edge: the first records are read by nothing but a scan, or a reader. */
enum { COUNT = 300 };

static uint64_t ends[COUNT + 1];
static aegis_report report;

static aegis_store *open_again(uint32_t mode) {
    const aegis_options o = test_options(mode);
    aegis_store *store = NULL;
    return EXPECT_OK(store_open(v, "store", &o, &store, &report)) ? store : NULL;
}

static void begin_closed(void) {
    sim = vfs_sim_new(3);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, FRAME_ALIGN);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 1 << 20;
    aegis_store *store = open_with(v, &o, NULL);
    if (store == NULL) return;
    for (uint64_t i = 0; i < COUNT; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_commit(store, SESSION, COUNT - 1));
    const segment *seg = store_log(store, SESSION)->segments[0];
    for (unsigned i = 0; i < COUNT; i++) ends[i] = 8ull * seg->offsets[i];
    ends[COUNT] = seg->tail;
    EXPECT_OK(aegis_close(store));
}

static void end_closed(void) {
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

/* The segment as recovery opens it. */
static bool open_segment(segment *seg) {
    vfs_dir *dir = NULL;
    manifest m;
    uint8_t id[STORE_ID_SIZE];
    bool copy_damaged = false;
    if (!EXPECT_OK(v->open_root(v, "store", VFS_READ, &root))) return false;
    manifest_init(&m, &s, root);
    bool right = EXPECT_OK(manifest_load(&m, id, &copy_damaged)) && EXPECT_OK(v->open_dir(v, root, "session", VFS_READ, &dir)) &&
                 EXPECT_OK(segment_open(&s, dir, 0, m.tiers[SESSION].segments[0].generation, false, seg));
    manifest_free(&m);
    v->close_dir(v, root);
    root = dir;
    return right;
}

static void close_segment(segment *seg) {
    segment_close(&s, seg);
    v->close_dir(v, root);
}

static bool believed(const scope *in, segment *seg) {
    merkle_range range;
    merkle_clear(&range);
    bool taken = outline_read(in, root, seg, &range);
    if (taken) EXPECT_EQ_U64(range.size, COUNT);
    else EXPECT(seg->count == 0 && seg->tail == SEGMENT_FRAMES && range.size == 0);
    return taken;
}

static bool refused(segment *seg) { return !believed(&s, seg); }

/* A damaged frame that no tree edge is made of goes unseen by this open, and is reported where it is scanned. */
static bool open_scans(void) {
    const aegis_options o = test_options(AEGIS_MODE_READ);
    aegis_store *store = NULL;
    flip(PATH, 8 * (ends[1] + 60));
    int code = store_open(v, "store", &o, &store, &report);
    flip(PATH, 8 * (ends[1] + 60));
    if (!EXPECT_OK(code)) return false;
    EXPECT_OK(aegis_close(store));
    return report.tiers[0].flags & AEGIS_VERDICT_DAMAGED;
}

/* ---- what is believed ------------------------------------------------------------------------------------------------- */

TEST(an_outline_gives_what_a_scan_would) {
    segment seg;
    begin_closed();
    if (!open_segment(&seg)) return;
    EXPECT(believed(&s, &seg));
    EXPECT_EQ_U64(seg.count, COUNT);
    EXPECT_EQ_U64(seg.tail, ends[COUNT]);
    for (unsigned i = 0; i < COUNT; i++) EXPECT_EQ_U64(8ull * seg.offsets[i], ends[i]);
    close_segment(&seg);
    end_closed();
}

TEST(rule_1_the_secret_is_known_and_the_newest_slot_is_an_end_mark) {
    segment seg;
    begin_closed();
    if (!open_segment(&seg)) return;
    scope stranger = s;
    stranger.keyed = false;
    EXPECT(!believed(&stranger, &seg));
    seg.last_slot.flags = 0;
    EXPECT(refused(&seg));
    close_segment(&seg);
    end_closed();
}

TEST(rule_2_the_head_is_the_one_of_this_segment_and_this_slot) {
    segment seg;
    begin_closed();
    if (!open_segment(&seg)) return;
    const segment right = seg;
    seg.number++;
    EXPECT(refused(&seg));
    seg = right;
    seg.generation++;
    EXPECT(refused(&seg));
    seg = right;
    seg.last_slot.sequence++;
    EXPECT(refused(&seg));
    seg = right;
    seg.last_slot.size--;
    EXPECT(refused(&seg));
    seg = right;
    seg.last_slot.offset += FRAME_ALIGN;
    EXPECT(refused(&seg));
    seg = right;
    seg.first = 1;
    EXPECT(refused(&seg));
    seg = right;
    seg.last_slot.size = UINT64_MAX / 8;
    EXPECT(refused(&seg));
    seg = right;
    scope other = s;
    other.tier = AEGIS_TIER_AUDIT;
    EXPECT(!believed(&other, &seg));
    other = s;
    other.store_id[0] ^= 1;
    EXPECT(!believed(&other, &seg));
    EXPECT(believed(&s, &seg));
    close_segment(&seg);
    end_closed();
}

TEST(rule_2_the_file_ends_where_its_counts_say) {
    segment seg;
    uint64_t size = 0;
    begin_closed();
    EXPECT_OK(vfs_sim_file_size(sim, OUTLINE, &size));
    if (!open_segment(&seg)) return;
    EXPECT_OK(vfs_sim_resize(sim, OUTLINE, size + 1));
    EXPECT(refused(&seg));
    EXPECT_OK(vfs_sim_resize(sim, OUTLINE, size - 1));
    EXPECT(refused(&seg));
    EXPECT_OK(vfs_sim_resize(sim, OUTLINE, 0));
    EXPECT(refused(&seg));
    EXPECT_OK(vfs_sim_remove(sim, OUTLINE));
    EXPECT(refused(&seg));
    close_segment(&seg);
    end_closed();
}

TEST(rule_3_any_flipped_bit_makes_the_code_wrong) {
    segment seg;
    uint64_t size = 0;
    begin_closed();
    EXPECT_OK(vfs_sim_file_size(sim, OUTLINE, &size));
    if (!open_segment(&seg)) return;
    for (uint64_t byte = 0; byte < size; byte++) {
        flip(OUTLINE, 8 * byte + byte % 8);
        EXPECT(refused(&seg));
        flip(OUTLINE, 8 * byte + byte % 8);
    }
    scope other = s;
    hmac_prepare(&other.key, "another secret of thirty-two b..", 32);
    EXPECT(!believed(&other, &seg));
    seg.nonce[0] ^= 1;
    EXPECT(refused(&seg));
    close_segment(&seg);
    end_closed();
}

TEST(rule_4_the_frontier_gives_the_root_of_the_slot) {
    segment seg;
    begin_closed();
    if (!open_segment(&seg)) return;
    seg.last_slot.root[31] ^= 1;
    EXPECT(refused(&seg));
    close_segment(&seg);
    end_closed();
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

TEST(an_open_after_a_clean_close_scans_nothing_and_goes_on_from_there) {
    begin_closed();
    EXPECT(!open_scans());
    for (uint64_t round = 0; round < 3; round++) {
        aegis_store *store = open_again(AEGIS_MODE_WRITE);
        if (store == NULL) return;
        EXPECT_EQ_U64(report.tiers[0].flags, AEGIS_VERDICT_CLEAN);
        EXPECT_EQ_U64(report.tiers[0].size, COUNT + round);
        for (uint64_t i = 0; i < COUNT + round; i++) has_record(store, SESSION, i, PAYLOAD);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(append_committed(store, SESSION, COUNT + round, PAYLOAD));
        EXPECT_OK(aegis_close(store));
    }
    EXPECT(!open_scans());
    end_closed();
}

TEST(a_damaged_outline_is_no_damage) {
    begin_closed();
    flip(OUTLINE, 8 * 100);
    aegis_store *store = open_again(AEGIS_MODE_WRITE);
    if (store == NULL) return;
    EXPECT_EQ_U64(report.tiers[0].flags, AEGIS_VERDICT_CLEAN);
    for (uint64_t i = 0; i < COUNT; i++) has_record(store, SESSION, i, PAYLOAD);
    EXPECT_OK(aegis_close(store));
    EXPECT(!open_scans());
    end_closed();
}

/* What frame bytes 24 to 47 say, watermark and link, is for a scan alone; only it looks at them. */
TEST(a_damaged_record_is_refused_when_it_is_read_and_the_others_are_there) {
    begin_closed();
    for (uint64_t i = 0; i < 40; i += 13) {
        for (uint64_t byte = 0; byte < ends[i + 1] - ends[i]; byte++) {
            uint8_t buffer[4096];
            aegis_record found;
            aegis_error error;
            flip(PATH, 8 * (ends[i] + byte) + byte % 8);
            aegis_store *store = open_again(AEGIS_MODE_READ);
            if (store == NULL) return;
            if (byte < 24 || byte >= 48) {
                EXPECT_CODE(aegis_read(store, SESSION, i, buffer, sizeof buffer, &found), AEGIS_E_CORRUPT);
                aegis_last_error(&error);
                EXPECT_EQ_U64(error.first, i);
                EXPECT_EQ_U64(error.end, i + 1);
            }
            has_record(store, SESSION, i + 1, PAYLOAD);
            EXPECT_CODE(verify_whole(store, SESSION), AEGIS_E_CORRUPT);
            aegis_last_error(&error);
            EXPECT_EQ_U64(error.first, i);
            EXPECT_OK(aegis_close(store));
            flip(PATH, 8 * (ends[i] + byte) + byte % 8);
        }
    }
    end_closed();
}

/* The entries of the edge are what the tree is made from; the link of a damaged one still says what it was. */
TEST(a_damaged_entry_of_the_trees_edge_is_refused_alone) {
    uint8_t buffer[4096];
    aegis_record found;
    begin_closed();
    flip(PATH, 8 * (ends[COUNT - 2] + 60));
    aegis_store *store = open_again(AEGIS_MODE_WRITE);
    if (store == NULL) return;
    EXPECT_EQ_U64(report.tiers[0].flags, AEGIS_VERDICT_CLEAN | AEGIS_VERDICT_DAMAGED);
    EXPECT_EQ_U64(report.tiers[0].first_damaged, COUNT - 2);
    for (uint64_t i = 0; i < COUNT; i++)
        if (i != COUNT - 2) has_record(store, SESSION, i, PAYLOAD);
    EXPECT_CODE(aegis_read(store, SESSION, COUNT - 2, buffer, sizeof buffer, &found), AEGIS_E_CORRUPT);
    EXPECT_OK(append_committed(store, SESSION, COUNT, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    store = open_again(AEGIS_MODE_READ);
    if (store != NULL) EXPECT_OK(aegis_close(store));
    end_closed();
}

TEST(an_entry_of_the_trees_edge_that_proves_nothing_refuses_the_store_and_is_named) {
    static const uint8_t zeros[16];
    aegis_store *store = NULL;
    aegis_error error;
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    begin_closed();
    EXPECT_OK(vfs_sim_patch(sim, PATH, ends[COUNT - 2] + 50, zeros, sizeof zeros));
    EXPECT_CODE(store_open(v, "store", &o, &store, &report), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    EXPECT_EQ_U64(error.first, COUNT - 2);
    EXPECT_EQ_U64(error.end, COUNT);
    end_closed();
}

TEST(a_segment_that_lost_its_end_is_scanned_and_refused) {
    aegis_store *store = NULL;
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    begin_closed();
    EXPECT_OK(vfs_sim_resize(sim, PATH, ends[COUNT] - 8));
    EXPECT_CODE(store_open(v, "store", &o, &store, &report), AEGIS_E_CORRUPT);
    end_closed();
}

/* The slot that took the end mark back is damaged, so the end mark is the newest one again, and its outline is still there. */
TEST(records_behind_an_end_mark_that_was_taken_back_are_not_lost_with_the_slot_that_did_it) {
    static const uint8_t zeros[96];
    begin_closed();
    for (uint32_t slot = 0; slot < SEGMENT_SLOT_COUNT; slot++) {
        vfs_sim *kept = sim;
        sim = vfs_sim_clone(kept);
        v = vfs_sim_vfs(sim);
        aegis_store *store = open_again(AEGIS_MODE_WRITE);
        if (store == NULL) return;
        EXPECT_OK(append_committed(store, SESSION, COUNT, PAYLOAD));
        EXPECT_OK(aegis_abandon(store));
        EXPECT_OK(vfs_sim_patch(sim, PATH, SEGMENT_SLOT_AT(slot), zeros, sizeof zeros));
        store = open_again(AEGIS_MODE_WRITE);
        if (store == NULL) return;
        EXPECT_EQ_U64(size_of(store, SESSION), COUNT + 1);
        has_record(store, SESSION, COUNT, PAYLOAD);
        EXPECT_OK(aegis_close(store));
        vfs_sim_free(sim);
        sim = kept;
    }
    end_closed();
}

TEST(an_outline_of_an_earlier_close_is_not_believed_and_a_small_segment_has_none) {
    uint64_t size = 0;
    begin_closed();
    aegis_store *store = open_again(AEGIS_MODE_WRITE);
    if (store == NULL) return;
    EXPECT_OK(append_committed(store, SESSION, COUNT, PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_file_size(sim, OUTLINE, &size));
    EXPECT(open_scans());
    end_closed();

    sim = vfs_sim_new(3);
    v = vfs_sim_vfs(sim);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    EXPECT_CODE(vfs_sim_file_size(sim, OUTLINE, &size), AEGIS_E_NOTFOUND);
    end_closed();
}

/* Its own records were read before it was opened for writing again; what it serves then is what was closed. */
TEST(a_reader_beside_a_live_writer_scans) {
    begin_closed();
    aegis_store *writer = open_again(AEGIS_MODE_WRITE);
    if (writer == NULL) return;
    EXPECT_OK(append_committed(writer, SESSION, COUNT, PAYLOAD));
    aegis_store *reader = open_again(AEGIS_MODE_READ);
    if (reader == NULL) return;
    EXPECT_EQ_U64(size_of(reader, SESSION), COUNT + 1);
    has_record(reader, SESSION, COUNT, PAYLOAD);
    EXPECT_OK(aegis_close(reader));
    EXPECT_OK(aegis_close(writer));
    end_closed();
}

TEST(a_reader_that_opened_by_an_outline_follows_the_next_writer) {
    begin_closed();
    aegis_store *reader = open_again(AEGIS_MODE_READ);
    aegis_store *writer = open_again(AEGIS_MODE_WRITE);
    if (reader == NULL || writer == NULL) return;
    for (uint64_t i = COUNT; i < COUNT + 20; i++) EXPECT_OK(append_committed(writer, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_refresh(reader));
    EXPECT_EQ_U64(size_of(reader, SESSION), COUNT + 20);
    for (uint64_t i = COUNT - 2; i < COUNT + 20; i++) has_record(reader, SESSION, i, PAYLOAD);
    EXPECT_OK(aegis_close(reader));
    EXPECT_OK(aegis_close(writer));
    end_closed();
}
