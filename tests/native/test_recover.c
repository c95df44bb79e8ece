/* recover.c on the active segment: what is cut, saved, written again, and never comes back. What is damage and no tear is in
 * test_recover_damage.c, full and sealed segments are in test_recover_sealed.c. */
#include "recoveries.h"

/* ---- tears ------------------------------------------------------------------------------------------------------------ */

/* The bytes that were cut off stand in the file that the report names. */
static void check_saved(const uint8_t *bytes, size_t length) {
    static uint8_t saved[300000];
    size_t got = 0;
    const aegis_verdict *verdict = &report.tiers[0];
    while (length > 0 && bytes[length - 1] == 0) length--;
    EXPECT_EQ_U64(verdict->cut_bytes, length);
    EXPECT_EQ_U64(verdict->flags & (AEGIS_VERDICT_TAIL_CUT | AEGIS_VERDICT_TAIL_AMBIGUOUS | AEGIS_VERDICT_UNCLEAN),
                  length > 0 ? AEGIS_VERDICT_TAIL_CUT | AEGIS_VERDICT_TAIL_AMBIGUOUS | AEGIS_VERDICT_UNCLEAN : AEGIS_VERDICT_UNCLEAN);
    if (length == 0) EXPECT_STRING(verdict->saved, "");
    if (length == 0 || !EXPECT_OK(vfs_sim_get(sim, verdict->saved, 0, saved, sizeof saved, &got))) return;
    EXPECT_EQ_U64(got, length);
    EXPECT_BYTES(saved, bytes, length);
}

/* After a cut: a shorter group, another kill, another open. What was cut off does not come back. */
static void append_and_reopen(aegis_store *store, uint64_t size) {
    EXPECT_OK(append_committed(store, SESSION, size, 1));
    EXPECT_OK(aegis_abandon(store));
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE, &store))) return;
    EXPECT_EQ_U64(size_of(store, SESSION), size + 1);
    EXPECT(has_record(store, SESSION, size, 1));
    EXPECT(!(report.tiers[0].flags & AEGIS_VERDICT_TAIL_CUT));
    EXPECT_OK(aegis_close(store));
}

/* Behind it the rest of its block is no part of the group. */
static uint64_t last_frame_end(void) {
    test_record r;
    make_record(SESSION, COUNT - 1, PAYLOAD, &r);
    return ends[COUNT - 1] + frame_size(r.entry_length, r.payload_length);
}

static void tear_everywhere(uint32_t align) {
    static uint8_t bytes[16384];
    size_t got = 0;
    if (!begin_base(align, false)) return;
    const uint64_t from = ends[COUNT - GROUP], end = align == 8 ? ends[COUNT] : last_frame_end();
    for (enum tear how = 0; how < TEARS; how++) {
        for (uint64_t at = from; at <= end; at += align == 8 ? 1 : 13) {
            use_copy();
            tear_at(how, from, at, end);
            EXPECT_OK(vfs_sim_get(sim, PATH, from, bytes, (size_t)(end - from), &got));
            /* Whole or not at all. The padding of the last frame and what is behind it on the block are zeros anyway. */
            uint8_t whole[16384];
            size_t whole_got = 0;
            EXPECT_OK(vfs_sim_get(base, PATH, from, whole, (size_t)(end - from), &whole_got));
            bool all = got == whole_got && memcmp(bytes, whole, got) == 0;
            aegis_store *store = recovers_to(all ? COUNT : COUNT - GROUP);
            if (store == NULL) {
                printf("    tear %d at %llu\n", (int)how, (unsigned long long)(at - from));
            } else {
                if (!all) check_saved(bytes, got);
                append_and_reopen(store, all ? COUNT : COUNT - GROUP);
            }
            drop_copy();
        }
    }
    vfs_sim_free(base);
}

TEST(a_torn_last_group_is_cut_at_every_byte_and_the_prefix_kept) { tear_everywhere(8); }
TEST(a_torn_last_group_on_block_boundaries_is_cut_too) { tear_everywhere(4096); }

TEST(damage_in_the_last_group_of_a_killed_store_is_ambiguous_and_its_bytes_are_saved) {
    static uint8_t bytes[16384];
    size_t got = 0;
    if (!begin_base(8, false)) return;
    const uint64_t from = ends[COUNT - GROUP], end = ends[COUNT];
    for (uint64_t bit = from * 8; bit < end * 8; bit += 5) {
        use_copy();
        flip(PATH, bit);
        EXPECT_OK(vfs_sim_get(sim, PATH, from, bytes, (size_t)(end - from), &got));
        aegis_store *store = recovers_to(COUNT - GROUP);
        if (store == NULL) printf("    bit %llu\n", (unsigned long long)bit - from * 8);
        else check_saved(bytes, got);
        if (store != NULL) EXPECT_OK(aegis_close(store));
        drop_copy();
    }
    vfs_sim_free(base);
}

TEST(garbage_behind_the_frames_is_cut_and_saved) {
    uint8_t garbage[700];
    uint64_t seed = 9;
    if (!begin_base(8, false)) return;
    for (uint64_t gap = 0; gap < 200000; gap = gap * 3 + 8) {
        use_copy();
        fill_random(&seed, garbage, sizeof garbage);
        EXPECT_OK(vfs_sim_patch(sim, PATH, ends[COUNT] + gap, garbage, sizeof garbage));
        static uint8_t all[300000];
        memset(all, 0, sizeof all);
        memcpy(all + gap, garbage, sizeof garbage);
        aegis_store *store = recovers_to(COUNT);
        if (store != NULL) check_saved(all, gap + sizeof garbage);
        if (store != NULL) append_and_reopen(store, COUNT);
        drop_copy();
    }
    vfs_sim_free(base);
}

TEST(what_is_cut_off_a_second_time_is_saved_beside_the_first) {
    static uint8_t first[4096], second[4096], saved[4096];
    size_t first_length = 0, second_length = 0, got = 0;
    char first_path[64];
    if (!begin_base(8, false)) return;
    use_copy();
    flip(PATH, ends[COUNT - GROUP] * 8);
    EXPECT_OK(vfs_sim_get(sim, PATH, ends[COUNT - GROUP], first, (size_t)(ends[COUNT] - ends[COUNT - GROUP]), &first_length));
    aegis_store *store = recovers_to(COUNT - GROUP);
    if (store == NULL) return;
    check_saved(first, first_length);
    memcpy(first_path, report.tiers[0].saved, sizeof first_path);
    first_length = report.tiers[0].cut_bytes;
    EXPECT_OK(append_committed(store, SESSION, COUNT - GROUP, PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    flip(PATH, (ends[COUNT - GROUP] + 50) * 8);
    EXPECT_OK(vfs_sim_get(sim, PATH, ends[COUNT - GROUP], second, (size_t)(ends[COUNT - GROUP + 1] - ends[COUNT - GROUP]), &second_length));
    store = recovers_to(COUNT - GROUP);
    if (store == NULL) return;
    check_saved(second, second_length);
    EXPECT(strcmp(first_path, report.tiers[0].saved) != 0);
    EXPECT_OK(vfs_sim_get(sim, first_path, 0, saved, sizeof saved, &got));
    EXPECT_EQ_U64(got, first_length);
    EXPECT_BYTES(saved, first, first_length);
    EXPECT_OK(aegis_close(store));
    drop_copy();
    vfs_sim_free(base);
}

TEST(a_tail_that_cannot_be_saved_is_not_cut) {
    char text[200];
    aegis_store *store = NULL;
    if (!begin_base(8, false)) return;
    use_copy();
    flip(PATH, ends[COUNT - 1] * 8);
    vfs_sim_set_space(sim, 0);
    vfs_sim *before = vfs_sim_clone(sim);
    for (int again = 0; again < 3; again++) {
        EXPECT_CODE(open_code(AEGIS_MODE_WRITE, &store), AEGIS_E_NOSPACE);
        if (!EXPECT(vfs_sim_same(before, sim, text, sizeof text))) printf("    %s\n", text);
    }
    vfs_sim_set_space(sim, UINT64_MAX);
    store = recovers_to(COUNT - GROUP);
    if (store != NULL) EXPECT_OK(aegis_close(store));
    vfs_sim_free(before);
    drop_copy();
    vfs_sim_free(base);
}

/* After a power cut in the middle of a recovery: what it was about to cut stands where it stood, or in the file beside. */
static int see_cut(void *context, vfs_sim *image, size_t cut) {
    static uint8_t bytes[4096];
    const vfs_sim *damaged = context;
    size_t got = 0, saved_got = 0;
    uint8_t tail[4096], saved[4096];
    const uint64_t from = ends[COUNT - GROUP], length = ends[COUNT] - from;
    (void)cut;
    EXPECT_OK(vfs_sim_get((vfs_sim *)(uintptr_t)damaged, PATH, from, bytes, (size_t)length, &got));
    EXPECT_OK(vfs_sim_get(image, PATH, from, tail, (size_t)length, &got));
    if (got < length || memcmp(tail, bytes, (size_t)length) != 0) {
        EXPECT_OK(vfs_sim_get(image, "session/tail-00000003.cut", 0, saved, sizeof saved, &saved_got));
        while (saved_got < length) saved[saved_got++] = 0;
        EXPECT_BYTES(saved, bytes, (size_t)length);
    }
    sim = image;
    v = vfs_sim_vfs(image);
    aegis_store *store = recovers_to(COUNT - GROUP);
    if (store != NULL) append_and_reopen(store, COUNT - GROUP);
    return atomic_load(&check_failures) > 20;
}

TEST(a_recovery_that_is_interrupted_loses_nothing_and_is_done_again) {
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    vfs_sim_counts counts;
    if (!begin_base(8, false)) return;
    use_copy();
    flip(PATH, 8 * (ends[COUNT - GROUP] + 60));
    vfs_sim *damaged = vfs_sim_clone(sim), *recovered = sim;
    EXPECT_OK(vfs_sim_settle(sim, true));
    aegis_store *store = recovers_to(COUNT - GROUP);
    if (store != NULL) EXPECT_OK(aegis_abandon(store));
    limits.torn_bytes = true;
    limits.random = 16;
    EXPECT(vfs_sim_enumerate(recovered, 0, SIZE_MAX, &limits, see_cut, damaged, &counts) == 0);
    EXPECT(counts.images > 20);
    vfs_sim_free(damaged);
    vfs_sim_free(recovered);
    vfs_sim_free(base);
}

/* ---- what recovery writes --------------------------------------------------------------------------------------------- */

/* The index of the first operation of that kind on the segment at or behind `from`, or SIZE_MAX. */
static size_t op_after(size_t from, enum vfs_sim_kind kind) {
    for (size_t i = from; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        if (op->kind == kind && strcmp(op->path, PATH) == 0) return i;
    }
    return SIZE_MAX;
}

TEST(after_an_unclean_end_the_tail_is_written_again_and_synced_before_it_is_served) {
    static const uint8_t poison[8] = {'P', 'O', 'I', 'S', 'O', 'N', 'E', 'D'};
    for (int poisoned = 0; poisoned < 2; poisoned++) {
        uint8_t bytes[4096];
        size_t got = 0;
        if (!begin_base(8, false)) return;
        use_copy();
        if (poisoned == 1) EXPECT_OK(vfs_sim_patch(sim, "LOCK", 8, poison, 8));
        EXPECT_OK(vfs_sim_settle(sim, true));
        aegis_store *store = recovers_to(COUNT);
        EXPECT(!!(report.tiers[0].flags & AEGIS_VERDICT_POISON) == (poisoned == 1));
        /* What is known to be durable ends where the last group starts. */
        size_t at = op_after(0, VFS_SIM_WRITE), synced = op_after(0, VFS_SIM_SYNC), marked = op_after(at + 1, VFS_SIM_WRITE);
        const vfs_sim_op *again = vfs_sim_op_at(sim, at);
        if (!EXPECT(at != SIZE_MAX && synced != SIZE_MAX && marked != SIZE_MAX)) return;
        EXPECT_EQ_U64(again->offset, ends[COUNT - GROUP]);
        EXPECT_EQ_U64(again->length, ends[COUNT] - ends[COUNT - GROUP]);
        EXPECT_OK(vfs_sim_get(base, PATH, again->offset, bytes, (size_t)again->length, &got));
        EXPECT_BYTES(again->bytes, bytes, (size_t)again->length);
        EXPECT(at < synced && synced < marked);
        EXPECT_EQ_U64(vfs_sim_op_at(sim, marked)->length, 96);
        EXPECT_OK(aegis_close(store));
        drop_copy();
        vfs_sim_free(base);
    }
}

TEST(after_a_clean_end_nothing_is_written_but_the_watermark) {
    if (!begin_base(8, true)) return;
    use_copy();
    EXPECT_OK(vfs_sim_settle(sim, true));
    aegis_store *store = recovers_to(COUNT);
    size_t at = op_after(0, VFS_SIM_WRITE);
    EXPECT(at != SIZE_MAX && vfs_sim_op_at(sim, at)->length == 96);
    EXPECT(op_after(at + 1, VFS_SIM_WRITE) == SIZE_MAX);
    EXPECT(op_after(0, VFS_SIM_TRUNCATE) == SIZE_MAX);
    /* The end mark no longer says that nothing follows: a kill now is an unclean end. */
    EXPECT_OK(aegis_abandon(store));
    store = recovers_to(COUNT);
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_UNCLEAN);
    EXPECT_OK(aegis_close(store));
    /* So is a clean one of this tier where the poison word says that a write to another one failed. */
    EXPECT_OK(vfs_sim_patch(sim, "LOCK", 8, "POISONED", 8));
    store = recovers_to(COUNT);
    EXPECT_EQ_U64(report.tiers[0].flags, AEGIS_VERDICT_UNCLEAN | AEGIS_VERDICT_POISON);
    EXPECT_OK(aegis_close(store));
    drop_copy();
    vfs_sim_free(base);
}

TEST(recovery_gives_the_same_files_every_time_and_a_second_one_changes_only_the_watermark) {
    char text[200];
    static uint8_t one[300000], two[300000];
    size_t one_got = 0, two_got = 0;
    if (!begin_base(8, false)) return;
    for (uint64_t at = ends[COUNT - GROUP]; at < ends[COUNT]; at += 37) {
        vfs_sim *copies[2];
        for (int i = 0; i < 2; i++) {
            use_copy();
            tear_at(GARBAGE_FROM, 0, at, ends[COUNT]);
            aegis_store *store = recovers_to(COUNT - GROUP);
            if (store != NULL) EXPECT_OK(aegis_abandon(store));
            copies[i] = sim;
        }
        EXPECT(vfs_sim_same(copies[0], copies[1], text, sizeof text));
        aegis_store *store = recovers_to(COUNT - GROUP);
        if (store != NULL) EXPECT_OK(aegis_abandon(store));
        EXPECT_OK(vfs_sim_get(copies[0], PATH, SEGMENT_FRAMES, one, sizeof one, &one_got));
        EXPECT_OK(vfs_sim_get(sim, PATH, SEGMENT_FRAMES, two, sizeof two, &two_got));
        EXPECT_EQ_U64(two_got, one_got);
        EXPECT_BYTES(two, one, one_got);
        EXPECT_STRING(report.tiers[0].saved, "");
        vfs_sim_free(copies[0]);
        drop_copy();
    }
    vfs_sim_free(base);
}

/* ---- anchors ---------------------------------------------------------------------------------------------------------- */

TEST(heads_that_were_kept_outside_must_be_prefixes_of_what_is_found) {
    aegis_head heads[COUNT + 1];
    aegis_store *store = NULL;
    char text[200];
    if (!begin_base(8, false)) return;
    use_copy();
    store = recovers_to(COUNT);
    for (uint64_t n = 0; n <= COUNT; n++) EXPECT_OK(aegis_head_at(store, SESSION, n, &heads[n]));
    EXPECT_OK(aegis_abandon(store));
    drop_copy();
    use_copy();
    aegis_options o = test_options(AEGIS_MODE_WRITE);
    o.anchors = heads;
    o.anchor_count = COUNT + 1;
    EXPECT_OK(store_open(v, "store", &o, &store, NULL));
    EXPECT_OK(aegis_abandon(store));
    drop_copy();
    for (uint64_t n = 1; n <= COUNT; n++) {
        use_copy();
        vfs_sim *before = vfs_sim_clone(sim);
        heads[n].root[n] ^= 1;
        EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_ROLLBACK);
        EXPECT(vfs_sim_same(before, sim, text, sizeof text));
        heads[n].root[n] ^= 1;
        vfs_sim_free(before);
        drop_copy();
    }
    /* The last group lost, which nothing else would notice. */
    use_copy();
    flip(PATH, 8 * ends[COUNT - GROUP]);
    vfs_sim *before = vfs_sim_clone(sim);
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_ROLLBACK);
    EXPECT(message_has("a head that was kept outside says 13"));
    EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    vfs_sim_free(before);
    o.anchor_count = COUNT - GROUP + 1;
    EXPECT_OK(store_open(v, "store", &o, &store, NULL));
    EXPECT_OK(aegis_close(store));
    /* A tier that has no record at all. */
    aegis_head audit = {.tier = AEGIS_TIER_AUDIT, .size = 1};
    o.anchors = &audit;
    o.anchor_count = 1;
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_ROLLBACK);
    drop_copy();
    vfs_sim_free(base);
}

/* ---- readers ---------------------------------------------------------------------------------------------------------- */

TEST(a_reader_of_a_killed_store_serves_what_is_durable_and_writes_nothing) {
    char text[200];
    aegis_store *store = NULL;
    if (!begin_base(8, false)) return;
    use_copy();
    vfs_sim *before = vfs_sim_clone(sim);
    EXPECT_OK(open_code(AEGIS_MODE_READ, &store));
    has_all(store, COUNT - GROUP);
    EXPECT_OK(aegis_refresh(store));
    EXPECT_EQ_U64(size_of(store, SESSION), COUNT - GROUP);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    flip(PATH, 8 * ends[COUNT - 1]);
    EXPECT_OK(open_code(AEGIS_MODE_READ, &store));
    has_all(store, COUNT - GROUP);
    EXPECT_OK(aegis_close(store));
    flip(PATH, 8 * ends[COUNT - 1]);
    EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    vfs_sim_free(before);
    /* Once somebody has recovered it, all of it is durable. */
    store = recovers_to(COUNT);
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(open_code(AEGIS_MODE_READ, &store));
    has_all(store, COUNT);
    EXPECT_OK(aegis_close(store));
    drop_copy();
    vfs_sim_free(base);
}

TEST(a_reader_beside_a_poisoned_writer_serves_what_is_durable) {
    aegis_store *store = NULL;
    if (!begin_base(8, false)) return;
    use_copy();
    aegis_store *held = recovers_to(COUNT);
    EXPECT_OK(append_committed(held, SESSION, COUNT, PAYLOAD));
    EXPECT_OK(open_code(AEGIS_MODE_READ, &store));
    EXPECT_EQ_U64(size_of(store, SESSION), COUNT + 1);
    EXPECT_OK(append_record(held, SESSION, COUNT + 1, PAYLOAD));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_commit(held, SESSION, COUNT + 1), AEGIS_E_UNKNOWN);
    vfs_sim_fail(sim, NULL);
    EXPECT_OK(aegis_refresh(store));
    EXPECT_EQ_U64(size_of(store, SESSION), COUNT + 1);
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(open_code(AEGIS_MODE_READ, &store));
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_POISON);
    EXPECT_EQ_U64(size_of(store, SESSION), COUNT + 1);    /* the frame that was not acknowledged says that those before it are */
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(aegis_abandon(held));
    drop_copy();
    vfs_sim_free(base);
}
