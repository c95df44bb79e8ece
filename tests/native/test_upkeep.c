/* upkeep.c: idle watermarks on a fake clock, zeros ahead of need, footers, tiles; and none of it twice. */
#include "stores.h"
#include "upkeep.h"

#define PAYLOAD 900u
#define SEGMENT "session/00000000.seg"

static vfs_sim *sim;
static vfs *v;
static aegis_store *store;

static bool begin_store(uint64_t segment_bytes) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = segment_bytes;
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_with(v, &o, NULL);
    return store != NULL;
}

static void end_store(void) {
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static uint64_t turn(void) {
    uint64_t wait = 0;
    EXPECT_OK(aegis_background(store, &wait));
    return wait;
}

static slot slot_now(void) { return store_log(store, SESSION)->segments[store_log(store, SESSION)->segment_count - 1]->last_slot; }

static aegis_tier_stats stats(void) {
    aegis_tier_stats s;
    EXPECT_OK(aegis_stats(store, SESSION, &s));
    return s;
}

static uint64_t file_size(const char *path) {
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, path, &size));
    return size;
}

/* ---- idle watermarks -------------------------------------------------------------------------------------------------- */

TEST(an_idle_watermark_is_written_once_an_idle_period_and_after_fifty_milliseconds) {
    aegis_head head;
    if (!begin_store(1 << 20)) return;
    uint64_t now = 1000, size = 0;
    EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);    /* no tier has a record */
    for (int period = 0; period < 5; period++) {
        vfs_sim_set_clock(sim, now);
        EXPECT_OK(append_committed(store, SESSION, size++, PAYLOAD));
        upkeep_until_idle(store);
        uint64_t sequence = slot_now().sequence;
        EXPECT(slot_now().size < size);
        EXPECT_EQ_U64(turn(), 50);
        vfs_sim_set_clock(sim, now + 20);
        EXPECT_EQ_U64(turn(), 30);
        vfs_sim_set_clock(sim, now + 49);
        EXPECT_EQ_U64(turn(), 1);
        EXPECT_EQ_U64(slot_now().sequence, sequence);
        vfs_sim_set_clock(sim, now + 50);
        EXPECT_OK(vfs_sim_settle(sim, true));
        EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);
        if (!EXPECT_EQ_U64(vfs_sim_op_count(sim), 2)) return;
        EXPECT(vfs_sim_op_at(sim, 0)->kind == VFS_SIM_WRITE && vfs_sim_op_at(sim, 0)->length == 96);
        EXPECT(vfs_sim_op_at(sim, 1)->kind == VFS_SIM_SYNC);
        EXPECT_OK(aegis_head_at(store, SESSION, size, &head));
        EXPECT_EQ_U64(slot_now().sequence, sequence + 1);
        EXPECT_EQ_U64(slot_now().size, size);
        EXPECT_EQ_U64(slot_now().flags, 0);
        EXPECT_BYTES(slot_now().root, head.root, 32);
        EXPECT_EQ_U64(slot_now().offset, SEGMENT_FRAMES + stats().frame_bytes);
        for (uint64_t later = 51; later < 5000; later += 700) {
            vfs_sim_set_clock(sim, now + later);
            EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);
        }
        EXPECT_EQ_U64(vfs_sim_op_count(sim), 2);
        now += 10000;
    }
    end_store();
}

TEST(work_puts_the_idle_watermark_off) {
    if (!begin_store(1 << 20)) return;
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    uint64_t sequence = slot_now().sequence;
    for (uint64_t i = 1; i < 20; i++) {
        vfs_sim_set_clock(sim, 40 * i);
        EXPECT_EQ_U64(turn(), 10);
        EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        EXPECT_EQ_U64(turn(), 50);
    }
    /* What is queued and not yet committed is work too. */
    EXPECT_OK(append_record(store, SESSION, 20, PAYLOAD));
    vfs_sim_set_clock(sim, 5000);
    EXPECT_EQ_U64(turn(), 50);
    EXPECT_EQ_U64(slot_now().sequence, sequence);
    end_store();
}

TEST(an_idle_watermark_of_write_durability_syncs_the_frames_first) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.durability[SESSION] = AEGIS_DURABILITY_WRITE;
    sim = vfs_sim_new(2);
    v = vfs_sim_vfs(sim);
    store = open_with(v, &o, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    vfs_sim_set_clock(sim, 100);
    EXPECT_OK(vfs_sim_settle(sim, true));
    turn();
    if (!EXPECT_EQ_U64(vfs_sim_op_count(sim), 3)) return;
    EXPECT(vfs_sim_op_at(sim, 0)->kind == VFS_SIM_SYNC && vfs_sim_op_at(sim, 1)->kind == VFS_SIM_WRITE);
    EXPECT(vfs_sim_op_at(sim, 2)->kind == VFS_SIM_SYNC);
    EXPECT_EQ_U64(slot_now().size, 1);
    /* The frames of the next group may say so. */
    EXPECT_EQ_U64(store->writers[SESSION].synced, 1);
    EXPECT_OK(append_committed(store, SESSION, 1, PAYLOAD));
    EXPECT_EQ_U64(store->writers[SESSION].synced, 1);
    end_store();
}

TEST(an_idle_watermark_that_fails_poisons) {
    for (uint64_t nth = 1; nth <= 2; nth++) {
        if (!begin_store(1 << 20)) return;
        EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
        upkeep_until_idle(store);
        vfs_sim_set_clock(sim, 100);
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(stats().poisoned, 1);
        EXPECT_CODE(append_record(store, SESSION, 1, PAYLOAD), AEGIS_E_POISONED);
        EXPECT_OK(aegis_commit(store, SESSION, 0));
        uint64_t calls = vfs_sim_calls(sim);
        EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);
        EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
        EXPECT_CODE(aegis_close(store), AEGIS_E_POISONED);
        store = open_test(v, AEGIS_MODE_WRITE, NULL);
        EXPECT_EQ_U64(size_of(store, SESSION), 1);
        end_store();
    }
}

/* ---- zeros ------------------------------------------------------------------------------------------------------------ */

TEST(a_store_with_one_record_takes_less_than_a_mebibyte) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 0;
    sim = vfs_sim_new(3);
    v = vfs_sim_vfs(sim);
    store = open_with(v, &o, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT(file_size(SEGMENT) <= SEGMENT_FRAMES + ZERO_STEP_MIN);
    EXPECT_EQ_U64(stats().bytes, file_size(SEGMENT));
    EXPECT_OK(aegis_close(store));
    EXPECT(file_size(SEGMENT) < SEGMENT_FRAMES + 2000);    /* a clean close cuts the zeros off */
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_OK(append_committed(store, SESSION, 1, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT(file_size(SEGMENT) <= SEGMENT_FRAMES + 2 * ZERO_STEP_MIN);
    EXPECT_OK(aegis_abandon(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(zeros_are_written_ahead_in_steps_that_grow_with_the_log) {
    uint64_t largest = 0, done = 0, index = 0;
    static uint8_t payload[50000];
    if (!begin_store(64 << 20)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    while (done < (40u << 20)) {
        EXPECT_OK(aegis_append(store, SESSION, 1, payload, 8, payload, sizeof payload, &index));
        EXPECT_OK(aegis_commit(store, SESSION, index));
        upkeep_until_idle(store);
        done = stats().frame_bytes;
        uint64_t ahead = file_size(SEGMENT) - SEGMENT_FRAMES - done;
        uint64_t step = max_u64(ZERO_STEP_MIN, min_u64((done + SEGMENT_FRAMES) / 8, ZERO_STEP_MAX));
        if (!EXPECT(ahead >= step / 2 && ahead <= step + 4096)) break;
        largest = max_u64(largest, ahead);
    }
    EXPECT(largest >= (9u << 19));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

TEST(upkeep_goes_by_chunks_and_rests_when_enough_is_zeroed) {
    static uint8_t payload[1 << 20];
    uint64_t index = 0, before = 0;
    if (!begin_store(64 << 20)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (int i = 0; i < 24; i++) EXPECT_OK(aegis_append(store, SESSION, 1, payload, 8, payload, sizeof payload, &index));
    EXPECT_OK(aegis_commit(store, SESSION, index));
    before = stats().zeroed_bytes;
    for (int turns = 0;; turns++) {
        uint64_t wait = turn(), now = stats().zeroed_bytes;
        if (wait != 0) {
            EXPECT_EQ_U64(now, before);
            EXPECT(turns >= 3);
            break;
        }
        EXPECT(now > before && now - before <= ZERO_CHUNK_MAX + 4096);
        before = now;
    }
    end_store();
}

TEST(between_two_steps_commits_are_not_followed_by_zeros) {
    uint64_t index = 0, before = 0;
    uint32_t steps = 0;
    static uint8_t payload[1000];
    if (!begin_store(64 << 20)) return;
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    before = stats().zeroed_bytes;
    for (int i = 0; i < 200; i++) {
        EXPECT_OK(aegis_append(store, SESSION, 1, payload, 8, payload, sizeof payload, &index));
        EXPECT_OK(aegis_commit(store, SESSION, index));
        (void)turn();
        steps += stats().zeroed_bytes != before;
        before = stats().zeroed_bytes;
    }
    /* 200 kB: half of a step is taken before the next one begins. */
    EXPECT(steps >= 1 && steps <= 2 * 210000 / ZERO_STEP_MIN + 1);
    end_store();
}

TEST(the_next_segment_is_made_ahead_and_taken_away_at_a_close) {
    uint64_t size = 0;
    if (!begin_store(SMALL_SEGMENT)) return;
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_EQ_U64(file_size("session/00000001.seg"), SMALL_SEGMENT);
    EXPECT_CODE(vfs_sim_file_size(sim, "session/00000002.seg", &size), AEGIS_E_NOTFOUND);
    EXPECT_EQ_U64(stats().segments, 1);
    /* A rotation then makes none: it is a manifest and a group. */
    uint64_t i = 1;
    for (; stats().rotations == 0; i++) {
        EXPECT_OK(vfs_sim_settle(sim, true));
        EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    }
    EXPECT_EQ_U64(stats().segments, 2);
    for (size_t n = 0; n < vfs_sim_op_count(sim); n++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, n);
        EXPECT(op->kind != VFS_SIM_CREATE || strcmp(op->path, "MANIFEST.new") == 0);
    }
    upkeep_until_idle(store);
    EXPECT_EQ_U64(file_size("session/00000002.seg"), SMALL_SEGMENT);
    EXPECT_OK(aegis_close(store));
    EXPECT_CODE(vfs_sim_file_size(sim, "session/00000002.seg", &size), AEGIS_E_NOTFOUND);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), i);
    end_store();
}

TEST(zeroing_that_fails_is_tried_again_and_poisons_nothing) {
    if (!begin_store(SMALL_SEGMENT)) return;
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    for (uint64_t nth = 1; nth <= 6; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        turn();
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(stats().poisoned, 0);
    }
    upkeep_until_idle(store);
    for (uint64_t i = 1; i < 200; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

/* ---- footers and tiles ------------------------------------------------------------------------------------------------ */

TEST(full_segments_are_sealed_one_a_turn) {
    aegis_footer f;
    uint64_t next = 0;
    if (!begin_store(SMALL_SEGMENT)) return;
    for (uint64_t i = 0; i < 400; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    uint64_t segments = stats().segments;
    EXPECT(segments >= 4);
    for (uint64_t i = 0; i < segments; i++) {
        EXPECT_OK(aegis_segment(store, SESSION, i, &f));
        EXPECT_EQ_U64(f.sealed, 0);
    }
    upkeep_until_idle(store);
    for (uint64_t i = 0; i < segments; i++) {
        aegis_head head;
        EXPECT_OK(aegis_segment(store, SESSION, i, &f));
        EXPECT_EQ_U64(f.first, next);
        next += f.count;
        if (!EXPECT_EQ_U64(f.sealed, i + 1 < segments) || !f.sealed) continue;
        EXPECT_OK(aegis_head_at(store, SESSION, next, &head));
        EXPECT_BYTES(f.root, head.root, 32);
    }
    EXPECT_EQ_U64(next, 400);
    for (uint64_t i = 0; i < 400; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) break;
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

TEST(a_footer_without_space_waits_for_the_next_rotation) {
    aegis_footer f;
    uint64_t i = 0;
    if (!begin_store(SMALL_SEGMENT)) return;
    for (; stats().rotations == 0; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_TRUNCATE, .forever = true, .code = AEGIS_E_NOSPACE});
    upkeep_until_idle(store);
    EXPECT(vfs_sim_fault_hits(sim) == 1);    /* not again and again */
    vfs_sim_fail(sim, NULL);
    upkeep_until_idle(store);
    EXPECT_OK(aegis_segment(store, SESSION, 0, &f));
    EXPECT_EQ_U64(f.sealed, 0);
    EXPECT_EQ_U64(stats().poisoned, 0);
    EXPECT_OK(verify_whole(store, SESSION));
    for (; stats().rotations == 1; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_OK(aegis_segment(store, SESSION, 0, &f));
    EXPECT_EQ_U64(f.sealed, 1);
    EXPECT_OK(aegis_segment(store, SESSION, 1, &f));
    EXPECT_EQ_U64(f.sealed, 1);
    end_store();
}

TEST(a_close_seals_and_writes_tiles_and_edges) {
    uint64_t size = 0;
    aegis_footer f;
    if (!begin_store(SMALL_SEGMENT)) return;
    for (uint64_t i = 0; i < 600; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(file_size("session/tiles/0/000"), 8192);
    EXPECT_EQ_U64(file_size("session/tiles/0/001"), 8192);
    EXPECT_CODE(vfs_sim_file_size(sim, "session/tiles/0/002", &size), AEGIS_E_NOTFOUND);
    EXPECT_EQ_U64(file_size("session/tiles/1/000.p/2"), 64);
    aegis_options o = test_options(AEGIS_MODE_READ);
    store = open_with(v, &o, NULL);
    for (uint64_t i = 0; i + 1 < stats().segments; i++) {
        EXPECT_OK(aegis_segment(store, SESSION, i, &f));
        EXPECT_EQ_U64(f.sealed, 1);
    }
    end_store();
}

TEST(tiles_are_written_as_they_are_finished) {
    if (!begin_store(1 << 20)) return;
    for (uint64_t i = 0; i < 255; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_EQ_U64(stats().tiles_written, 0);
    EXPECT_OK(append_committed(store, SESSION, 255, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_EQ_U64(stats().tiles_written, 1);
    EXPECT_EQ_U64(file_size("session/tiles/0/000"), 8192);
    /* One that cannot be written is no error: it is made again when it is needed. */
    for (uint64_t i = 256; i < 512; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    vfs_sim_set_space(sim, 0);
    upkeep_until_idle(store);
    EXPECT_EQ_U64(stats().poisoned, 0);
    EXPECT_EQ_U64(stats().tiles_rebuilt, 0);
    vfs_sim_set_space(sim, UINT64_MAX);
    end_store();
}

/* ---- who is woken ----------------------------------------------------------------------------------------------------- */

static unsigned woken;

static void count_wake(void *context) {
    (void)context;
    woken++;
}

TEST(the_first_commit_after_an_idle_time_wakes_upkeep_and_the_next_ones_do_not) {
    if (!begin_store(32 << 20)) return;
    EXPECT_OK(append_committed(store, SESSION, 0, 10));
    store->writers[SESSION].wake = count_wake;
    for (uint64_t period = 1; period < 4; period++) {
        vfs_sim_set_clock(sim, 1000 * period);
        upkeep_until_idle(store);
        vfs_sim_set_clock(sim, 1000 * period + 500);
        EXPECT_EQ_U64(turn(), UPKEEP_NOTHING);
        woken = 0;
        for (uint64_t i = 0; i < 10; i++) EXPECT_OK(append_committed(store, SESSION, 10 * period - 9 + i, 10));
        EXPECT_EQ_U64(woken, 1);
    }
    end_store();
}
