/* rebuild: a store whose manifest is gone comes back from its segments, or says why it cannot. */
#include "stores.h"

#define PAYLOAD 900u

static void damage_both_copies(vfs_sim *sim) {
    uint64_t size = 0;
    uint8_t zeros[8] = {0};
    EXPECT_OK(vfs_sim_file_size(sim, "MANIFEST", &size));
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST", 0, zeros, sizeof zeros));
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST", size / 2, zeros, sizeof zeros));
}

static vfs_sim *store_of(uint64_t records, bool sealed, bool closed) {
    vfs_sim *sim = vfs_sim_new(records);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < records; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    if (sealed) upkeep_until_idle(store);
    EXPECT_OK(closed ? aegis_close(store) : aegis_abandon(store));
    EXPECT_OK(vfs_sim_settle(sim, false));
    damage_both_copies(sim);
    return sim;
}

static void comes_back_with(vfs_sim *sim, uint64_t records) {
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, &report);
    if (store == NULL) return;
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT);
    EXPECT_EQ_U64(size_of(store, SESSION), records);
    for (uint64_t i = 0; i < records; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) break;
    EXPECT_OK(append_committed(store, SESSION, records, PAYLOAD));
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, &report);
    if (store == NULL) return;
    EXPECT(!(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT));
    EXPECT_EQ_U64(size_of(store, SESSION), records + 1);
    EXPECT_OK(aegis_close(store));
}

TEST(one_active_segment) {
    vfs_sim *sim = store_of(5, false, true);
    comes_back_with(sim, 5);
    vfs_sim_free(sim);
}

TEST(sealed_segments_and_an_active_one_after_a_close) {
    vfs_sim *sim = store_of(300, true, true);
    comes_back_with(sim, 300);
    vfs_sim_free(sim);
}

TEST(full_segments_without_footers_after_a_kill) {
    vfs_sim *sim = store_of(300, false, false);
    comes_back_with(sim, 300);
    vfs_sim_free(sim);
}

/* The upkeep has made the next segment ahead: it holds no record, and is listed or not by what is before it. */
TEST(a_last_segment_without_a_record) {
    for (int sealed = 0; sealed < 2; sealed++) {
        uint64_t records = 0, size = 0;
        vfs_sim *sim = vfs_sim_new(9);
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        while (vfs_sim_file_size(sim, "session/00000001.seg", &size) != AEGIS_OK && records < 400) {
            EXPECT_OK(append_committed(store, SESSION, records++, PAYLOAD));
            if (sealed) upkeep_until_idle(store);
        }
        EXPECT_OK(aegis_abandon(store));
        EXPECT_OK(vfs_sim_settle(sim, false));
        damage_both_copies(sim);
        comes_back_with(sim, records);
        vfs_sim_free(sim);
    }
}

TEST(a_segment_that_is_missing_in_the_middle_is_named) {
    vfs_sim *sim = store_of(300, true, true);
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    aegis_store *store = NULL;
    aegis_error error;
    EXPECT_OK(vfs_sim_remove(sim, "session/00000001.seg"));
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    EXPECT(strstr(error.message, "00000001.seg") != NULL);
    vfs_sim_free(sim);
}

TEST(another_secret_rebuilds_nothing) {
    vfs_sim *sim = store_of(300, true, true);
    uint8_t other[32] = "another secret";
    aegis_options o = test_options(AEGIS_MODE_WRITE);
    aegis_store *store = NULL;
    o.secret = other;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    o = test_options(AEGIS_MODE_READ);
    o.secret = NULL;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    comes_back_with(sim, 300);
    vfs_sim_free(sim);
}

TEST(a_segment_of_another_store_is_refused) {
    vfs_sim *sim = store_of(300, true, true), *stranger = vfs_sim_new(77);
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    aegis_options theirs = test_options(AEGIS_MODE_APPEND);
    static const uint8_t id[16] = "another store id";
    aegis_store *store = NULL;
    theirs.store_id = id;
    store = open_with(vfs_sim_vfs(stranger), &theirs, NULL);
    for (uint64_t i = 0; i < 300; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_copy_file(stranger, "session/00000001.seg", sim, "session/00000001.seg"));
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_FOREIGN);
    vfs_sim_free(sim);
    vfs_sim_free(stranger);
}

TEST(nothing_to_rebuild_from_is_no_empty_store) {
    vfs_sim *sim = vfs_sim_new(5);
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(aegis_close(store));
    damage_both_copies(sim);
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    vfs_sim_free(sim);
}
