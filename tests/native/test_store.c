/* The store as a whole, over the simulator: create, append, rotate, close, reopen, be killed, be read by others. */
#include "stores.h"

#define PAYLOAD 900u

TEST(a_new_store_is_empty_and_says_so) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, &report);
    EXPECT_EQ_U64(report.created, 1);
    EXPECT_EQ_U64(size_of(store, SESSION), 0);
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, &report);
    EXPECT_EQ_U64(report.created, 0);
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(records_are_there_after_close_and_reopen_over_many_segments) {
    vfs_sim *sim = vfs_sim_new(2);
    aegis_report report;
    uint64_t count = 0;
    for (int round = 0; round < 4; round++) {
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, &report);
        if (store == NULL) return;
        if (round > 0) EXPECT(report.tiers[0].flags & AEGIS_VERDICT_CLEAN);
        EXPECT_EQ_U64(size_of(store, SESSION), count);
        for (uint64_t i = 0; i < count; i++)
            if (!has_record(store, SESSION, i, PAYLOAD)) return;
        for (int i = 0; i < 300; i++, count++)
            if (!EXPECT_OK(append_committed(store, SESSION, count, PAYLOAD))) return;
        if (round == 1) upkeep_until_idle(store);
        for (uint64_t i = 0; i < count; i += 7)
            if (!has_record(store, SESSION, i, PAYLOAD)) return;
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_close(store));
    }
    vfs_sim_free(sim);
}

TEST(what_was_committed_is_there_after_a_kill) {
    vfs_sim *sim = vfs_sim_new(3);
    aegis_report report;
    uint64_t count = 0;
    for (int round = 0; round < 5; round++) {
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, &report);
        if (store == NULL) return;
        if (round > 0) EXPECT(report.tiers[0].flags & AEGIS_VERDICT_UNCLEAN);
        if (!EXPECT_EQ_U64(size_of(store, SESSION), count)) return;
        for (uint64_t i = 0; i < count; i++)
            if (!has_record(store, SESSION, i, PAYLOAD)) return;
        for (int i = 0; i < 150; i++, count++)
            if (!EXPECT_OK(append_committed(store, SESSION, count, PAYLOAD))) return;
        EXPECT_OK(append_record(store, SESSION, count, PAYLOAD));    /* queued only */
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_abandon(store));
    }
    vfs_sim_free(sim);
}

TEST(tiers_do_not_mix) {
    vfs_sim *sim = vfs_sim_new(4);
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 40; i++)
        for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) EXPECT_OK(append_committed(store, tier, i, 100));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, &report);
    EXPECT_EQ_U64(report.tier_count, 4);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        EXPECT_EQ_U64(size_of(store, tier), 40);
        for (uint64_t i = 0; i < 40; i++)
            if (!has_record(store, tier, i, 100)) return;
    }
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(a_second_writer_is_told_who_holds_it) {
    vfs_sim *sim = vfs_sim_new(5);
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_store *first = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL), *second = NULL;
    aegis_error error;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &second, NULL), AEGIS_E_LOCKED);
    aegis_last_error(&error);
    EXPECT(strstr(error.message, "pid") != NULL);
    EXPECT_OK(aegis_close(first));
    vfs_sim_free(sim);
}

TEST(a_reader_follows_a_live_writer) {
    vfs_sim *sim = vfs_sim_new(6);
    aegis_store *writer = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 10; i++) EXPECT_OK(append_committed(writer, SESSION, i, PAYLOAD));
    aegis_store *reader = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    if (reader == NULL) return;
    EXPECT_EQ_U64(size_of(reader, SESSION), 10);
    for (uint64_t i = 10; i < 400; i++) EXPECT_OK(append_committed(writer, SESSION, i, PAYLOAD));
    EXPECT_OK(append_committed(writer, AEGIS_TIER_AUDIT, 0, 10));
    upkeep_until_idle(writer);
    EXPECT_EQ_U64(size_of(reader, SESSION), 10);
    EXPECT_OK(aegis_refresh(reader));
    EXPECT_EQ_U64(size_of(reader, SESSION), 400);
    EXPECT_EQ_U64(size_of(reader, AEGIS_TIER_AUDIT), 1);
    for (uint64_t i = 0; i < 400; i++)
        if (!has_record(reader, SESSION, i, PAYLOAD)) return;
    EXPECT_OK(verify_whole(reader, SESSION));
    EXPECT_CODE(append_record(reader, SESSION, 400, 10), AEGIS_E_READONLY);
    EXPECT_OK(aegis_close(reader));
    EXPECT_OK(aegis_close(writer));
    vfs_sim_free(sim);
}

TEST(without_the_secret_only_what_the_manifest_vouches_for_is_served) {
    vfs_sim *sim = vfs_sim_new(7);
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, i, 50));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 20; i < 30; i++) EXPECT_OK(append_committed(store, SESSION, i, 50));
    EXPECT_OK(aegis_abandon(store));
    aegis_options o = test_options(AEGIS_MODE_READ);
    o.secret = NULL;
    store = open_with(vfs_sim_vfs(sim), &o, &report);
    if (store == NULL) return;
    EXPECT_EQ_U64(size_of(store, SESSION), 20);
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_UNAUTHENTICATED);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(another_secret_opens_nothing) {
    vfs_sim *sim = vfs_sim_new(8);
    uint8_t other[32] = "another secret";
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, 50));
    EXPECT_OK(aegis_close(store));
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.secret = other;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_SECRET);
    vfs_sim_free(sim);
}

TEST(old_heads_and_proofs_hold_for_ever) {
    vfs_sim *sim = vfs_sim_new(9);
    aegis_head heads[701];
    uint8_t proof[64][32];
    uint32_t count = 0;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(aegis_head_at(store, SESSION, 0, &heads[0]));
    for (uint64_t i = 0; i < 700; i++) {
        EXPECT_OK(append_committed(store, SESSION, i, 60));
        EXPECT_OK(aegis_head_at(store, SESSION, i + 1, &heads[i + 1]));
    }
    upkeep_until_idle(store);
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    for (uint64_t size = 0; size <= 700; size += 13) {
        aegis_head now;
        EXPECT_OK(aegis_head_at(store, SESSION, size, &now));
        EXPECT_BYTES(now.root, heads[size].root, 32);
        EXPECT_OK(aegis_consistency(store, SESSION, size, 700, proof[0], &count));
        EXPECT_OK(aegis_check_consistency(size, heads[size].root, 700, heads[700].root, proof[0], count));
        for (uint64_t i = 0; i < size; i += 17) {
            test_record r;
            uint8_t leaf[32];
            make_record(SESSION, i, 60, &r);
            aegis_leaf_hash(r.entry, r.entry_length, leaf);
            EXPECT_OK(aegis_inclusion(store, SESSION, i, size, proof[0], &count));
            EXPECT_OK(aegis_check_inclusion(leaf, i, size, proof[0], count, heads[size].root));
        }
    }
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(an_anchor_that_the_store_does_not_reach_is_a_rollback) {
    vfs_sim *sim = vfs_sim_new(10);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    aegis_head kept;
    for (uint64_t i = 0; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, i, 50));
    EXPECT_OK(aegis_head_at(store, SESSION, 20, &kept));
    EXPECT_OK(aegis_close(store));
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.anchors = &kept;
    o.anchor_count = 1;
    store = open_with(vfs_sim_vfs(sim), &o, NULL);
    EXPECT_OK(aegis_close(store));
    kept.size = 21;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_ROLLBACK);
    kept.size = 19;
    EXPECT_CODE(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL), AEGIS_E_ROLLBACK);
    vfs_sim_free(sim);
}

TEST(both_copies_of_the_manifest_lost_are_made_again_from_the_segments) {
    vfs_sim *sim = vfs_sim_new(11);
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 400; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_remove(sim, "MANIFEST"));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, &report);
    if (store == NULL) return;
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT);
    EXPECT_EQ_U64(size_of(store, SESSION), 400);
    EXPECT_OK(append_committed(store, SESSION, 400, PAYLOAD));
    for (uint64_t i = 0; i <= 400; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) return;
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(a_record_larger_than_a_segment_gets_one_of_its_own) {
    vfs_sim *sim = vfs_sim_new(12);
    enum { LARGE = 300000 };
    uint8_t *payload = malloc(LARGE), *buffer = malloc(LARGE + 4096);
    uint64_t seed = 1, index = 0;
    aegis_record record;
    fill_random(&seed, payload, LARGE);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 30; i++) {
        EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)"entry", 5, payload, i % 3 == 0 ? LARGE : 500, &index));
        EXPECT_OK(aegis_commit(store, SESSION, index));
    }
    EXPECT_CODE(aegis_read(store, SESSION, 3, buffer, 100, &record), AEGIS_E_SPACE);
    EXPECT_EQ_U64(record.payload_length, LARGE);
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT_EQ_U64(size_of(store, SESSION), 30);
    EXPECT_OK(aegis_read(store, SESSION, 27, buffer, LARGE + 4096, &record));
    EXPECT_BYTES(buffer + record.payload_at, payload, LARGE);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    free(payload);
    free(buffer);
    vfs_sim_free(sim);
}

TEST(groups_on_block_boundaries_read_the_same) {
    vfs_sim *sim = vfs_sim_new(13);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = 4096;
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    for (uint64_t i = 0; i < 60; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    store = open_with(vfs_sim_vfs(sim), &o, NULL);
    if (store == NULL) return;
    EXPECT_EQ_U64(size_of(store, SESSION), 60);
    for (uint64_t i = 60; i < 100; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    for (uint64_t i = 0; i < 100; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) return;
    upkeep_until_idle(store);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}
