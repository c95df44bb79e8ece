/* recover.c on records that were durable and are damaged: refused alone where they still prove which they were, else with the store. */
#include "recoveries.h"

/* The flipped byte is in record i: opens as a reader, who finds `proven` records, and as a writer, who finds `size`, and that record alone
 * is refused. Where only its watermark or link is damaged it may be served. A writer goes on appending, and what it leaves is the
 * same again. */
static bool damaged_alone(uint64_t i, uint64_t byte, uint64_t proven, uint64_t size) {
    vfs_sim *kept = sim;
    bool right = true, link_only = byte - ends[i] >= 24 && byte - ends[i] < 48;
    for (int round = 0; round < 3; round++) {
        aegis_store *store = NULL;
        aegis_error error;
        uint8_t buffer[4096];
        aegis_record found;
        uint64_t there = round == 0 ? proven : size + (round == 2 ? 1 : 0);
        if (round == 1) sim = vfs_sim_clone(kept);
        v = vfs_sim_vfs(sim);
        right = EXPECT_OK(open_code(round == 0 ? AEGIS_MODE_READ : AEGIS_MODE_WRITE, &store)) && right;
        if (store == NULL) break;
        right = EXPECT(report.tiers[0].flags & AEGIS_VERDICT_DAMAGED) && EXPECT_EQ_U64(report.tiers[0].damaged, 1) &&
                EXPECT_EQ_U64(report.tiers[0].first_damaged, i) && EXPECT_EQ_U64(size_of(store, SESSION), there) && right;
        for (uint64_t n = 0; n < there; n++)
            if (n != i) right = has_record(store, SESSION, n, PAYLOAD) && right;
        if (aegis_read(store, SESSION, i, buffer, sizeof buffer, &found) == AEGIS_OK) {
            right = EXPECT(link_only) && has_record(store, SESSION, i, PAYLOAD) && right;
        } else {
            aegis_last_error(&error);
            right = EXPECT_EQ_U64(error.first, i) && EXPECT_EQ_U64(error.end, i + 1) && EXPECT_EQ_U64(error.offset, ends[i]) &&
                    EXPECT_STRING(error.path, "00000000.seg") && right;
        }
        right = EXPECT_CODE(verify_whole(store, SESSION), AEGIS_E_CORRUPT) && right;
        if (round == 1) right = EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD)) && right;
        right = EXPECT_OK(round == 1 ? aegis_abandon(store) : aegis_close(store)) && right;
    }
    if (sim != kept) vfs_sim_free(sim);
    sim = kept;
    v = vfs_sim_vfs(sim);
    if (!right) printf("    byte %llu of record %llu\n", (unsigned long long)(byte - ends[i]), (unsigned long long)i);
    return right;
}

/* ---- damage ----------------------------------------------------------------------------------------------------------- */

TEST(a_damaged_record_below_the_watermark_of_a_later_frame_is_refused_alone) {
    if (!begin_base(8, false)) return;
    for (uint64_t i = 0; i < COUNT - GROUP; i++) {
        for (uint64_t byte = ends[i]; byte < ends[i + 1]; byte += byte < ends[i] + FRAME_HEADER ? 3 : 29) {
            use_copy();
            flip(PATH, 8 * byte + byte % 8);
            /* The frames of the last group say that all before it was durable. */
            damaged_alone(i, byte, COUNT - GROUP, COUNT);
            drop_copy();
        }
    }
    vfs_sim_free(base);
}

TEST(neighbours_that_are_damaged_are_refused_each_and_no_others) {
    if (!begin_base(8, false)) return;
    use_copy();
    for (uint64_t i = 4; i < 7; i++) flip(PATH, 8 * (ends[i] + 50));
    aegis_store *store = NULL;
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE, &store))) return;
    EXPECT_EQ_U64(report.tiers[0].damaged, 3);
    EXPECT_EQ_U64(report.tiers[0].first_damaged, 4);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint8_t buffer[4096];
        aegis_record found;
        if (i < 4 || i > 6) has_record(store, SESSION, i, PAYLOAD);
        else EXPECT_CODE(aegis_read(store, SESSION, i, buffer, sizeof buffer, &found), AEGIS_E_CORRUPT);
    }
    EXPECT_OK(aegis_close(store));
    drop_copy();
    /* In the last group nothing vouches for what is damaged, however well its link holds. */
    use_copy();
    flip(PATH, 8 * (ends[2] + 50));
    flip(PATH, 8 * (ends[COUNT - 1] - 9));
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE, &store))) return;
    EXPECT_EQ_U64(report.tiers[0].damaged, 1);
    EXPECT_EQ_U64(report.tiers[0].size, COUNT - GROUP);
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_TAIL_AMBIGUOUS);
    EXPECT_OK(aegis_close(store));
    drop_copy();
    vfs_sim_free(base);
}

TEST(damage_that_proves_nothing_below_a_watermark_is_refused_and_named) {
    if (!begin_base(8, false)) return;
    /* Zeros, garbage, a gap. */
    for (enum tear how = ZEROS_FROM; how < TEARS; how++) {
        use_copy();
        tear_at(how, ends[4], ends[5], ends[6]);
        refused(how == ZEROS_UP_TO ? 4 : 5, COUNT - GROUP);
        drop_copy();
    }
    vfs_sim_free(base);
}

TEST(below_a_watermark_slot_a_damaged_record_is_refused_alone_and_a_missing_one_with_the_store) {
    uint64_t wait = 0;
    if (!begin_base(8, false)) return;
    use_copy();
    aegis_store *store = recovers_to(COUNT);    /* recovery writes one: all of it is durable */
    EXPECT_OK(append_committed(store, SESSION, COUNT, PAYLOAD));
    upkeep_until_idle(store);
    vfs_sim_set_clock(sim, 1000);
    EXPECT_OK(aegis_background(store, &wait));
    uint64_t end = store_log(store, SESSION)->segments[0]->tail;
    EXPECT_OK(aegis_abandon(store));
    for (uint64_t byte = ends[COUNT]; byte < end; byte++) {
        flip(PATH, 8 * byte);
        damaged_alone(COUNT, byte, COUNT + 1, COUNT + 1);
        flip(PATH, 8 * byte);
    }
    EXPECT_OK(vfs_sim_resize(sim, PATH, end - 1));
    refused(COUNT, COUNT + 1);
    EXPECT_OK(vfs_sim_resize(sim, PATH, ends[COUNT - 2]));
    refused(COUNT - 2, COUNT + 1);
    drop_copy();
    vfs_sim_free(base);
}

TEST(a_damaged_record_below_the_size_in_the_manifest_is_refused_alone) {
    uint8_t zeros[96] = {0};
    if (!begin_base(8, true)) return;
    use_copy();
    EXPECT_OK(vfs_sim_patch(sim, PATH, 4096, zeros, sizeof zeros));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8192, zeros, sizeof zeros));
    aegis_store *store = recovers_to(COUNT);
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_UNCLEAN);
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 4096, zeros, sizeof zeros));
    EXPECT_OK(vfs_sim_patch(sim, PATH, 8192, zeros, sizeof zeros));
    flip(PATH, 8 * (ends[COUNT - 1] + 60));
    damaged_alone(COUNT - 1, ends[COUNT - 1] + 60, COUNT, COUNT);
    /* Its length is damaged, and nothing says where it ended. */
    flip(PATH, 8 * (ends[COUNT - 1] + 60));
    flip(PATH, 8 * (ends[COUNT - 1] + 8) + 5);
    refused(COUNT - 1, COUNT);
    drop_copy();
    vfs_sim_free(base);
}

/* Without an outline: with one the frames are not read at open, and test_outline.c says what becomes of damage then. */
TEST(after_a_clean_close_any_flipped_byte_of_a_frame_is_damage) {
    if (!begin_base(8, true)) return;
    EXPECT_OK(vfs_sim_remove(base, "session/outline"));
    use_copy();
    aegis_store *store = recovers_to(COUNT);
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_CLEAN);
    EXPECT_OK(aegis_close(store));
    drop_copy();
    use_copy();
    for (uint64_t i = 0; i < COUNT; i++) {
        for (uint64_t byte = ends[i]; byte < ends[i + 1]; byte += byte < ends[i] + FRAME_HEADER ? 1 : 7) {
            flip(PATH, 8 * byte + byte % 8);
            damaged_alone(i, byte, COUNT, COUNT);
            flip(PATH, 8 * byte + byte % 8);
        }
    }
    drop_copy();
    for (uint64_t less = 1; less < ends[COUNT] - ends[0]; less += 31) {
        uint64_t size = ends[COUNT] - less, first = COUNT;
        use_copy();
        EXPECT_OK(vfs_sim_resize(sim, PATH, size));
        while (ends[first] > size) first--;
        refused(first, COUNT);
        drop_copy();
    }
    vfs_sim_free(base);
}
