/* compact.c: what the next open, and a damaged footer, make of a segment that was rewritten; and what is noted as swept. */
#include "compactions.h"

#define REWRITTEN "00000000-00000001.seg"

static vfs_sim *sim;
static vfs *v;
static aegis_store *store;
static uint64_t size;

static bool begin_store(uint64_t segments) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    if (store == NULL) return false;
    size = fill_segments(store, SESSION, segments);
    return size > 0;
}

static void reopen(void) {
    EXPECT_OK(aegis_close(store));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
}

static void end_store(void) {
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

/* ---- what recovery makes of it ---------------------------------------------------------------------------------------- */

/* A footer that is damaged leaves the frames, whose links say nothing here: they are scanned without, and the root is the check. */
TEST(a_rewritten_segment_without_its_footer_is_scanned_and_sealed_again) {
    uint64_t end = 0;
    if (!begin_store(2)) return;
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    const aegis_footer before = segment_at(store, SESSION, 0);
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_file_size(sim, "session/" REWRITTEN, &end));
    turn_bit(sim, "session/" REWRITTEN, end - 100);
    turn_bit(sim, "session/" REWRITTEN, end - 250);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT(is_gap(store, SESSION, 1, size - 1) && has_record(store, SESSION, 2, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_seal(store, SESSION));
    const aegis_footer after = segment_at(store, SESSION, 0);
    EXPECT_BYTES(&after, &before, sizeof before);
    EXPECT_OK(verify_whole(store, SESSION));
    reopen();
    EXPECT(is_gap(store, SESSION, 1, size - 1));
    end_store();
}

/* No link proves what a damaged record was there: the open is refused, and names it. */
TEST(a_damaged_record_of_a_rewritten_segment_without_its_footer_is_refused) {
    uint64_t end = 0;
    aegis_error error;
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    if (!begin_store(2)) return;
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_file_size(sim, "session/" REWRITTEN, &end));
    turn_bit(sim, "session/" REWRITTEN, end - 250);
    turn_bit(sim, "session/" REWRITTEN, SEGMENT_FRAMES + FRAME_HEADER + 1);
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    EXPECT_EQ_U64(error.first, 0);
    EXPECT_STRING(error.path, REWRITTEN);
    turn_bit(sim, "session/" REWRITTEN, SEGMENT_FRAMES + FRAME_HEADER + 1);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT(store != NULL && is_gap(store, SESSION, 1, size - 1));
    end_store();
}

/* Behind a footer that holds, damage is met when it is read, or verified. */
TEST(a_damaged_record_of_a_rewritten_segment_is_refused_alone) {
    uint8_t buffer[4096];
    aegis_record record;
    if (!begin_store(2)) return;
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    turn_bit(sim, "session/" REWRITTEN, SEGMENT_FRAMES + FRAME_HEADER + 1);
    EXPECT_CODE(aegis_read(store, SESSION, 0, buffer, sizeof buffer, &record), AEGIS_E_CORRUPT);
    EXPECT(is_gap(store, SESSION, 1, size - 1));
    EXPECT_CODE(verify_whole(store, SESSION), AEGIS_E_CORRUPT);
    end_store();
}

/* ---- swept ------------------------------------------------------------------------------------------------------------ */

static uint64_t swept_now(void) {
    aegis_tier_stats stats;
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    return stats.swept;
}

TEST(what_is_swept_is_durable_never_lowered_and_at_most_what_is_durable) {
    if (!begin_store(1)) return;
    EXPECT_EQ_U64(swept_now(), 0);
    EXPECT_OK(append_record(store, SESSION, size, COMPACTED_PAYLOAD));
    EXPECT_CODE(aegis_set_swept(store, SESSION, size + 1), AEGIS_E_ARGUMENT);
    EXPECT(message_has("cannot be swept"));
    EXPECT_OK(aegis_set_swept(store, SESSION, size));
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(aegis_set_swept(store, SESSION, 3));
    EXPECT_OK(aegis_set_swept(store, SESSION, 0));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    EXPECT_OK(aegis_set_swept(store, AEGIS_TIER_MEMORY, 0));
    EXPECT_CODE(aegis_set_swept(store, AEGIS_TIER_MEMORY, 1), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_set_swept(store, 9, 1), AEGIS_E_ARGUMENT);
    EXPECT_EQ_U64(swept_now(), size);
    EXPECT_OK(aegis_commit(store, SESSION, size++));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_WRITE, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_set_swept(store, SESSION, size), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    EXPECT_EQ_U64(swept_now(), size - 1);
    EXPECT_OK(aegis_abandon(store));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(swept_now(), size - 1);
    /* A manifest that is made again knows nothing of it. */
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_remove(sim, "MANIFEST"));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(swept_now(), 0);
    end_store();
}
