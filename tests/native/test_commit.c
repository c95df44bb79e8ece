/* commit.c: groups, durability, room, rotation, threads. What a failure does is in test_commit_fail.c. */
#include <pthread.h>

#include "stores.h"
#include "vfs_place.h"

#define PAYLOAD 900u

static uint8_t buffer[600000];

static const uint8_t *large_payload(void) {
    static uint8_t *bytes;
    uint64_t seed = 77;
    if (bytes == NULL && (bytes = malloc(AEGIS_PAYLOAD_MAX)) != NULL) fill_random(&seed, bytes, AEGIS_PAYLOAD_MAX);
    return bytes;
}

static unsigned count_ops(vfs_sim *sim, enum vfs_sim_kind kind, const char *path) {
    unsigned count = 0;
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        if (op->kind == kind && (path == NULL || strcmp(op->path, path) == 0)) count++;
    }
    return count;
}

static aegis_tier_stats stats_of(aegis_store *store, uint32_t tier) {
    aegis_tier_stats stats;
    EXPECT_OK(aegis_stats(store, tier, &stats));
    return stats;
}

/* ---- groups ----------------------------------------------------------------------------------------------------------- */

TEST(several_appends_are_one_write_and_one_sync) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 1 << 20;
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    for (uint64_t next = 1, size = 1; size <= 64; next += size, size *= 2) {
        aegis_tier_stats before = stats_of(store, SESSION);
        EXPECT_OK(vfs_sim_settle(sim, true));
        for (uint64_t i = next; i < next + size; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);    /* appending writes nothing */
        EXPECT_EQ_U64(size_of(store, SESSION), next);
        EXPECT_OK(aegis_commit(store, SESSION, next));
        EXPECT_EQ_U64(count_ops(sim, VFS_SIM_WRITE, "session/00000000.seg"), 1);
        EXPECT_EQ_U64(count_ops(sim, VFS_SIM_SYNC, "session/00000000.seg"), 1);
        EXPECT_EQ_U64(count_ops(sim, VFS_SIM_SYNC, NULL), 1);
        EXPECT_EQ_U64(count_ops(sim, VFS_SIM_WRITE, "LOCK"), 1);
        aegis_tier_stats after = stats_of(store, SESSION);
        EXPECT_EQ_U64(after.groups - before.groups, 1);
        EXPECT_EQ_U64(after.syncs - before.syncs, 1);
        EXPECT_EQ_U64(after.appends - before.appends, size);
        EXPECT_EQ_U64(size_of(store, SESSION), next + size);
        /* All of the group is durable by then: asking for the others costs nothing. */
        uint64_t calls = vfs_sim_calls(sim);
        for (uint64_t i = 0; i < next + size; i++) EXPECT_OK(aegis_commit(store, SESSION, i));
        EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
        for (uint64_t i = next; i < next + size; i++) EXPECT(has_record(store, SESSION, i, PAYLOAD));
    }
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(what_is_not_committed_is_not_readable) {
    vfs_sim *sim = vfs_sim_new(2);
    aegis_record record;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_CODE(aegis_commit(store, SESSION, 0), AEGIS_E_RANGE);
    EXPECT_OK(append_record(store, SESSION, 0, PAYLOAD));
    EXPECT_EQ_U64(size_of(store, SESSION), 0);
    EXPECT_CODE(aegis_read(store, SESSION, 0, buffer, sizeof buffer, &record), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_commit(store, SESSION, 1), AEGIS_E_RANGE);
    EXPECT(message_has("the next one is 1"));
    EXPECT_CODE(aegis_commit(store, SESSION, UINT64_MAX), AEGIS_E_RANGE);
    EXPECT_OK(aegis_commit(store, SESSION, 0));
    EXPECT(has_record(store, SESSION, 0, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(closing_commits_what_was_queued) {
    vfs_sim *sim = vfs_sim_new(3);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 200; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), 200);
    for (uint64_t i = 0; i < 200; i++) EXPECT(has_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* The frames of a group: its last one flagged, each with the size that was durable before, in the order of the appends. */
TEST(the_frames_of_a_group_say_so) {
    vfs_sim *sim = vfs_sim_new(4);
    uint64_t at = SEGMENT_FRAMES, index = 0;
    size_t got = 0;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 1 << 20;
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    for (uint64_t size = 1; size < 12; size++) {
        for (uint64_t i = 0; i < size; i++) EXPECT_OK(append_record(store, SESSION, index + i, PAYLOAD));
        EXPECT_OK(aegis_commit(store, SESSION, index + size - 1));
        for (uint64_t i = 0; i < size; i++) {
            frame f;
            EXPECT_OK(vfs_sim_get(sim, "session/00000000.seg", at, buffer, 4096, &got));
            if (!EXPECT_OK(frame_parse(buffer, got, &f))) return;
            EXPECT_EQ_U64(f.index, index + i);
            EXPECT_EQ_U64(f.watermark, index);
            EXPECT_EQ_U64(f.flags, i + 1 == size ? FRAME_LAST : 0);
            at += f.size;
        }
        index += size;
    }
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(more_than_a_group_can_hold_goes_out_by_itself) {
    vfs_sim *sim = vfs_sim_new(5);
    uint64_t index = 0;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 16 << 20;
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    const uint8_t *payload = large_payload();
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (uint64_t i = 0; i <= 2 * GROUP_FRAMES_MAX; i++) EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)&i, 8, NULL, 0, &index));
    EXPECT_EQ_U64(size_of(store, SESSION), 2 * GROUP_FRAMES_MAX);
    EXPECT_OK(aegis_commit(store, SESSION, index));
    /* The same by bytes: a group has 4 MiB. */
    uint64_t first = index + 1;
    for (unsigned i = 0; i < 41; i++) EXPECT_OK(aegis_append(store, SESSION, 1, payload, 10, payload, 104000, &index));
    EXPECT_EQ_U64(size_of(store, SESSION), first + 40);
    EXPECT_OK(aegis_commit(store, SESSION, index));
    EXPECT_EQ_U64(stats_of(store, SESSION).groups, 5);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* ---- durability ------------------------------------------------------------------------------------------------------- */

TEST(write_durability_syncs_nothing_until_idle_and_a_segment_before_the_next_one) {
    vfs_sim *sim = vfs_sim_new(6);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    EXPECT_OK(append_committed(store, AEGIS_TIER_TELEMETRY, 0, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_OK(vfs_sim_settle(sim, true));
    for (uint64_t i = 1; i < 40; i++) EXPECT_OK(append_committed(store, AEGIS_TIER_TELEMETRY, i, PAYLOAD));
    EXPECT_EQ_U64(count_ops(sim, VFS_SIM_SYNC, NULL), 0);
    EXPECT_EQ_U64(size_of(store, AEGIS_TIER_TELEMETRY), 40);
    EXPECT_EQ_U64(stats_of(store, AEGIS_TIER_TELEMETRY).durability, AEGIS_DURABILITY_WRITE);
    /* Rotation: the full segment is synced before the manifest says that it is full. */
    for (uint64_t i = 40; stats_of(store, AEGIS_TIER_TELEMETRY).rotations == 0; i++)
        EXPECT_OK(append_committed(store, AEGIS_TIER_TELEMETRY, i, PAYLOAD));
    size_t synced = SIZE_MAX, renamed = SIZE_MAX;
    for (size_t i = vfs_sim_op_count(sim); i > 0; i--) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i - 1);
        if (op->kind == VFS_SIM_SYNC && strcmp(op->path, "telemetry/00000000.seg") == 0) synced = i;
        if (op->kind == VFS_SIM_RENAME) renamed = i;
    }
    EXPECT(synced < renamed && renamed != SIZE_MAX);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
    /* Any tier can be asked for the other one. */
    sim = vfs_sim_new(7);
    o.durability[SESSION] = AEGIS_DURABILITY_WRITE;
    o.durability[AEGIS_TIER_TELEMETRY] = AEGIS_DURABILITY_COMMIT;
    store = open_with(vfs_sim_vfs(sim), &o, NULL);
    for (uint32_t tier = SESSION; tier <= AEGIS_TIER_TELEMETRY; tier++) {
        EXPECT_OK(append_committed(store, tier, 0, 10));
        EXPECT_OK(vfs_sim_settle(sim, true));
        EXPECT_OK(append_committed(store, tier, 1, 10));
        EXPECT_EQ_U64(count_ops(sim, VFS_SIM_SYNC, NULL), tier == SESSION ? 0 : 1);
    }
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* ---- room ------------------------------------------------------------------------------------------------------------- */

/* From the record: how long each segment was made, and how long it was when it was synced last. */
static void check_zeros_before_frames(vfs_sim *sim) {
    uint64_t made[16] = {0}, synced[16] = {0};
    unsigned groups = 0;
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        uint64_t number = 0;
        if (op->path == NULL || strncmp(op->path, "session/", 8) != 0 || !segment_number(op->path + 8, &number) || number >= 16) continue;
        if (op->kind == VFS_SIM_SYNC) synced[number] = made[number];
        if (op->kind != VFS_SIM_WRITE) continue;
        bool frames = op->offset >= SEGMENT_FRAMES && op->length >= FRAME_HEADER && frame_may_start(op->bytes);
        if (frames) EXPECT(op->offset + op->length <= synced[number]);
        else EXPECT(op->offset <= max_u64(made[number], SEGMENT_FRAMES));    /* no gap in the zeros */
        if (!frames) made[number] = max_u64(made[number], op->offset + op->length);
        groups += frames;
    }
    EXPECT(groups >= 25);
}

TEST(a_group_goes_to_bytes_that_were_zeroed_and_synced_before) {
    static const uint64_t segments[] = {SMALL_SEGMENT, 600000, 8 << 20};
    for (int i = 0; i < 3; i++) {
        vfs_sim *sim = vfs_sim_new(8);
        aegis_options o = test_options(AEGIS_MODE_APPEND);
        o.segment_bytes = segments[i];
        aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
        for (uint64_t n = 0; n < (i == 0 ? 800 : 3000); n++) {
            EXPECT_OK(append_record(store, SESSION, n, PAYLOAD));
            if (n % 29 == 28) EXPECT_OK(aegis_commit(store, SESSION, n));
            if (i == 1 && n % 500 == 0) upkeep_until_idle(store);
        }
        EXPECT(stats_of(store, SESSION).rotations >= (i == 0 ? 6 : i == 1 ? 2 : 0));
        check_zeros_before_frames(sim);
        EXPECT_OK(aegis_close(store));
        vfs_sim_free(sim);
    }
}

/* Payload lengths whose frames end at, before and behind the end of a segment, and of a group. */
TEST(records_of_every_size_around_that_of_a_segment) {
    const uint8_t *payload = large_payload();
    for (uint32_t around = 0; around < 2; around++) {
        vfs_sim *sim = vfs_sim_new(9);
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        uint32_t lengths[64], count = 0;
        uint64_t index = 0;
        uint32_t border = around == 0 ? SMALL_SEGMENT - SEGMENT_FRAMES - FRAME_HEADER - 8 : SMALL_SEGMENT - FRAME_HEADER - 8;
        EXPECT_OK(vfs_sim_settle(sim, false));
        for (uint32_t n = border - 16; n <= border + 16; n += 4) {
            lengths[count++] = n;
            lengths[count++] = 10;
        }
        for (uint32_t i = 0; i < count; i++) {
            EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)&i, 4, payload, lengths[i], &index));
            if (i % 3 != 1) EXPECT_OK(aegis_commit(store, SESSION, index));
        }
        EXPECT_OK(aegis_commit(store, SESSION, index));
        for (int reopened = 0; reopened < 2; reopened++) {
            EXPECT_OK(verify_whole(store, SESSION));
            for (uint32_t i = 0; i < count; i++) {
                aegis_record record;
                EXPECT_OK(aegis_read(store, SESSION, i, buffer, sizeof buffer, &record));
                EXPECT_EQ_U64(record.payload_length, lengths[i]);
                EXPECT_BYTES(buffer + record.payload_at, payload, lengths[i]);
            }
            EXPECT_OK(reopened == 0 ? aegis_abandon(store) : aegis_close(store));
            if (reopened == 0) store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
        }
        EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
        vfs_sim_free(sim);
    }
}

TEST(the_largest_records_are_taken_and_come_back) {
    vfs_sim *sim = vfs_sim_new(10);
    const uint8_t *payload = large_payload();
    uint8_t *back = malloc(FRAME_MAX);
    uint64_t index = 0;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (uint8_t i = 0; i < 4; i++) {
        uint32_t length = i == 1 ? 100 : AEGIS_PAYLOAD_MAX;
        EXPECT_OK(aegis_append(store, SESSION, 1, payload + i, i == 3 ? AEGIS_ENTRY_MAX : 5, payload, length, &index));
    }
    EXPECT_CODE(aegis_append(store, SESSION, 1, payload, 5, payload, AEGIS_PAYLOAD_MAX + 1, &index), AEGIS_E_LIMIT);
    EXPECT_OK(aegis_commit(store, SESSION, 3));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    if (store == NULL || back == NULL) return;
    for (uint8_t i = 0; i < 4; i++) {
        aegis_record record;
        EXPECT_OK(aegis_read(store, SESSION, i, back, FRAME_MAX, &record));
        EXPECT_EQ_U64(record.payload_length, i == 1 ? 100 : AEGIS_PAYLOAD_MAX);
        EXPECT_BYTES(back + record.payload_at, payload, record.payload_length);
    }
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    free(back);
    vfs_sim_free(sim);
}

/* ---- threads ---------------------------------------------------------------------------------------------------------- */

enum { THREADS = 16, EACH = 120 };

typedef struct worker {
    aegis_store *store;
    uint32_t number;
    uint32_t count;
    uint64_t indexes[EACH];
} worker;

/* A record says whose it is; its length follows from that. */
static uint32_t worker_payload(uint32_t number, uint32_t i, uint8_t *payload) {
    uint64_t seed = number * 1000 + i;
    uint32_t length = (uint32_t)(next_random(&seed) % (i % 40 == 7 ? 9000 : 700));
    fill_random(&seed, payload, length);
    return length;
}

static void *append_many(void *context) {
    worker *w = context;
    uint8_t payload[9000];
    for (uint32_t i = 0; i < EACH; i++) {
        const uint32_t entry[2] = {w->number, i};
        uint32_t length = worker_payload(w->number, i, payload);
        if (!EXPECT_OK(aegis_append(w->store, SESSION, 1, (const uint8_t *)entry, 8, payload, length, &w->indexes[i]))) return NULL;
        w->count++;
        /* Some wait for each record, some for several, some for the one before. */
        uint64_t wanted = w->number % 3 == 2 && i > 0 ? w->indexes[i - 1] : w->indexes[i];
        if ((w->number % 3 != 1 || i % 5 == 4) && !EXPECT_OK(aegis_commit(w->store, SESSION, wanted))) return NULL;
        if (i % 16 == 0) {
            aegis_record record;
            uint8_t own[10000];
            aegis_head head;
            EXPECT_OK(aegis_commit(w->store, SESSION, w->indexes[i]));
            EXPECT_OK(aegis_read(w->store, SESSION, w->indexes[i], own, sizeof own, &record));
            EXPECT_BYTES(own + record.payload_at, payload, length);
            EXPECT_OK(aegis_head_at(w->store, SESSION, w->indexes[i] / 2, &head));
        }
    }
    EXPECT_OK(aegis_commit(w->store, SESSION, w->indexes[EACH - 1]));
    return NULL;
}

static void check_workers(aegis_store *store, const worker *workers) {
    uint8_t payload[9000];
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t i = 0; i < EACH; i++) {
            aegis_record record;
            const uint32_t entry[2] = {t, i};
            uint32_t length = worker_payload(t, i, payload);
            if (!EXPECT_OK(aegis_read(store, SESSION, workers[t].indexes[i], buffer, sizeof buffer, &record))) return;
            EXPECT_BYTES(buffer + record.entry_at, entry, 8);
            EXPECT_EQ_U64(record.payload_length, length);
            EXPECT_BYTES(buffer + record.payload_at, payload, length);
        }
    }
    EXPECT_OK(verify_whole(store, SESSION));
}

static void run_threads(vfs *over, const char *path, uint32_t flags) {
    static worker workers[THREADS];
    static bool seen[THREADS * EACH];
    pthread_t threads[THREADS];
    aegis_store *store = NULL;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.flags = flags;
    if (!EXPECT_OK(store_open(over, path, &o, &store, NULL))) return;
    memset(seen, 0, sizeof seen);
    for (uint32_t t = 0; t < THREADS; t++) {
        workers[t] = (worker){.store = store, .number = t};
        EXPECT(pthread_create(&threads[t], NULL, append_many, &workers[t]) == 0);
    }
    for (uint32_t t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), THREADS * EACH);
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t i = 0; i < EACH; i++) {
            uint64_t index = workers[t].indexes[i];
            if (!EXPECT(index < THREADS * EACH)) return;
            EXPECT(!seen[index]);
            seen[index] = true;
            EXPECT(i == 0 || workers[t].indexes[i - 1] < index);
        }
    }
    aegis_tier_stats stats = stats_of(store, SESSION);
    EXPECT_EQ_U64(stats.appends, THREADS * EACH);
    EXPECT(stats.rotations >= 8 && stats.groups <= stats.appends);
    check_workers(store, workers);
    EXPECT_OK(aegis_close(store));
    o.mode = AEGIS_MODE_READ;
    if (!EXPECT_OK(store_open(over, path, &o, &store, NULL))) return;
    check_workers(store, workers);
    EXPECT_OK(aegis_close(store));
}

TEST(sixteen_threads_share_a_store) {
    vfs_sim *sim = vfs_sim_new(11);
    EXPECT_OK(vfs_sim_settle(sim, false));
    run_threads(vfs_sim_vfs(sim), "store", AEGIS_OPEN_NO_THREAD);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(sixteen_threads_share_a_store_with_upkeep_beside_them) {
    vfs_sim *sim = vfs_sim_new(12);
    EXPECT_OK(vfs_sim_settle(sim, false));
    run_threads(vfs_sim_vfs(sim), "store", 0);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(sixteen_threads_share_a_store_on_a_disk) {
    if (!begin()) return;
    run_threads(v, under("store"), 0);
    end();
}
