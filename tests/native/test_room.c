/* room.c, and the turns that are asked for (commit.c, upkeep.c): the next segment before the active one is full, and footers at once. */
#include <pthread.h>

#include "compactions.h"

static vfs_sim *sim;
static vfs *v;
static aegis_store *store;
static uint64_t size;

static bool begin_store(uint64_t segment_bytes, uint32_t flags) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = segment_bytes;
    o.flags = flags;
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_with(v, &o, NULL);
    size = 0;
    return store != NULL;
}

static void end_store(void) {
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static uint64_t segments(void) { return store->logs[SESSION].segment_count; }

TEST(a_turn_commits_what_was_queued_and_begins_the_next_segment) {
    if (!begin_store(1 << 20, AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_OK(aegis_rotate(store, SESSION));    /* no record at all */
    for (; size < 3; size++) EXPECT_OK(append_record(store, SESSION, size, 500));
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_EQ_U64(size_of(store, SESSION), 3);
    EXPECT_EQ_U64(segments(), 2);
    const aegis_footer first = segment_at(store, SESSION, 0);
    EXPECT(first.first == 0 && first.count == 3 && !first.sealed);
    EXPECT_OK(aegis_seal(store, SESSION));
    EXPECT(segment_at(store, SESSION, 0).sealed);
    /* The active one has no record. */
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_OK(aegis_seal(store, SESSION));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    EXPECT_OK(append_committed(store, SESSION, size++, 500));
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_EQ_U64(segments(), 3);
    EXPECT_CODE(aegis_rotate(store, 7), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_seal(store, 7), AEGIS_E_ARGUMENT);
    EXPECT_OK(aegis_seal(store, AEGIS_TIER_AUDIT));
    /* Killed: all of it is there. */
    EXPECT_OK(aegis_abandon(store));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(segments(), 3);
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_EQ_U64(segments(), 3);
    for (uint64_t i = 0; i < size; i++) EXPECT(has_record(store, SESSION, i, 500));
    EXPECT_OK(append_committed(store, SESSION, size++, 500));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

/* Nothing was promised before there is space for it. */
TEST(a_turn_without_space_changes_nothing) {
    if (!begin_store(1 << 20, AEGIS_OPEN_NO_THREAD)) return;
    for (; size < 3; size++) EXPECT_OK(append_committed(store, SESSION, size, 500));
    vfs_sim_set_space(sim, 0);
    EXPECT_CODE(aegis_rotate(store, SESSION), AEGIS_E_NOSPACE);
    EXPECT(!store->writers[SESSION].turn_asked);
    EXPECT_OK(append_committed(store, SESSION, size++, 500));
    EXPECT_EQ_U64(segments(), 1);
    vfs_sim_set_space(sim, UINT64_MAX / 2);
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_EQ_U64(segments(), 2);
    EXPECT_OK(append_committed(store, SESSION, size++, 500));
    end_store();
}

/* Behind the manifest it is too late to go back: poisoned, as any rotation. */
TEST(a_turn_that_fails_behind_the_point_of_no_return_poisons) {
    aegis_tier_stats stats;
    uint64_t poisoned = 0, refused = 0;
    for (uint64_t nth = 1;; nth++) {
        if (!begin_store(1 << 20, AEGIS_OPEN_NO_THREAD)) return;
        for (size = 0; size < 3; size++) EXPECT_OK(append_committed(store, SESSION, size, 500));
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        int code = aegis_rotate(store, SESSION);
        uint64_t hits = vfs_sim_fault_hits(sim);
        vfs_sim_fail(sim, NULL);
        EXPECT_OK(aegis_stats(store, SESSION, &stats));
        if (hits > 0) EXPECT_CODE(code, stats.poisoned ? AEGIS_E_POISONED : AEGIS_E_IO);
        poisoned += stats.poisoned;
        refused += hits > 0 && !stats.poisoned;
        EXPECT_CODE(append_record(store, SESSION, 3, 500), stats.poisoned ? AEGIS_E_POISONED : AEGIS_OK);
        EXPECT_OK(aegis_abandon(store));
        store = open_test(v, AEGIS_MODE_WRITE, NULL);
        EXPECT(size_of(store, SESSION) == 3 && has_record(store, SESSION, 2, 500));
        EXPECT_OK(append_committed(store, SESSION, 3, 500));
        end_store();
        if (hits == 0) break;
    }
    EXPECT(poisoned >= 3 && refused >= 3);
}

TEST(a_footer_that_cannot_be_written_is_said_and_written_later) {
    if (!begin_store(1 << 20, AEGIS_OPEN_NO_THREAD)) return;
    EXPECT_OK(append_committed(store, SESSION, size++, 500));
    EXPECT_OK(aegis_rotate(store, SESSION));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_WRITE, .code = AEGIS_E_NOSPACE});
    EXPECT_CODE(aegis_seal(store, SESSION), AEGIS_E_NOSPACE);
    vfs_sim_fail(sim, NULL);
    EXPECT(!segment_at(store, SESSION, 0).sealed);
    EXPECT_OK(aegis_seal(store, SESSION));
    EXPECT(segment_at(store, SESSION, 0).sealed);
    end_store();
}

/* With `write` durability the full segment is synced first. */
TEST(a_turn_of_write_durability_syncs_what_it_leaves) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.durability[SESSION] = AEGIS_DURABILITY_WRITE;
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_with(v, &o, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, 500));
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(append_committed(store, SESSION, 1, 500));
    EXPECT_OK(aegis_rotate(store, SESSION));
    vfs_sim *image = NULL;
    EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), VFS_SIM_KEEP_NOTHING, 1, &image));
    aegis_store *found = open_test(vfs_sim_vfs(image), AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(found, SESSION), 2);
    EXPECT_OK(aegis_close(found));
    vfs_sim_free(image);
    end_store();
}

/* ---- while others append ---------------------------------------------------------------------------------------------- */

enum { APPENDERS = 4, EACH = 150 };

static atomic_bool over;

static void *append_many(void *context) {
    static _Thread_local uint8_t payload[6000];
    uint64_t seed = (uint64_t)(uintptr_t)context, index = 0;
    for (int i = 0; i < EACH; i++) {
        uint8_t entry[16] = {(uint8_t)seed, (uint8_t)i};
        uint32_t length = (uint32_t)(next_random(&seed) % sizeof payload);
        memset(payload, (int)length, sizeof payload);
        if (!EXPECT_OK(aegis_append(store, SESSION, 1, entry, sizeof entry, payload, length, &index))) break;
        if (i % 10 == 9 && !EXPECT_OK(aegis_rotate(store, SESSION))) break;
        if (i % 3 != 0 && !EXPECT_OK(aegis_commit(store, SESSION, index))) break;
    }
    return NULL;
}

static void *turn_many(void *context) {
    (void)context;
    for (int i = 0; !atomic_load(&over); i++) {
        if (!EXPECT_OK(aegis_rotate(store, SESSION)) || (i % 2 == 0 && !EXPECT_OK(aegis_seal(store, SESSION)))) break;
    }
    return NULL;
}

/* Each group goes to bytes that are zeros on the disk by then. */
static void to_zeroed_bytes(void) {
    static uint64_t zeroed[4096];
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        uint64_t number = 0;
        if (op->kind != VFS_SIM_WRITE || op->path == NULL || strncmp(op->path, "session/", 8) != 0) continue;
        if (!segment_number(op->path + 8, &number) || number >= 4096 || op->offset < SEGMENT_FRAMES) continue;
        if (op->length >= 4 && memcmp(op->bytes, "AFR0", 4) == 0) {
            if (!EXPECT(op->offset + op->length <= zeroed[number])) return;
        } else if (all_zero(op->bytes, (size_t)op->length)) zeroed[number] = max_u64(zeroed[number], op->offset + op->length);
    }
}

TEST(appends_go_on_while_turns_are_asked_for) {
    pthread_t threads[APPENDERS + 2];
    if (!begin_store(1 << 20, 0)) return;
    EXPECT_OK(vfs_sim_settle(sim, true));
    for (uintptr_t t = 0; t < APPENDERS; t++) EXPECT(pthread_create(&threads[t], NULL, append_many, (void *)(t + 1)) == 0);
    for (int t = 0; t < 2; t++) EXPECT(pthread_create(&threads[APPENDERS + t], NULL, turn_many, NULL) == 0);
    for (int t = 0; t < APPENDERS; t++) pthread_join(threads[t], NULL);
    atomic_store(&over, true);
    for (int t = 0; t < 2; t++) pthread_join(threads[APPENDERS + t], NULL);
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_EQ_U64(size_of(store, SESSION), APPENDERS * EACH);
    EXPECT(segments() > 10);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    to_zeroed_bytes();
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), APPENDERS * EACH);
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}
