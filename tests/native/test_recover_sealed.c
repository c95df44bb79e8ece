/* recover.c on full and sealed segments, on what a rotation leaves, and on readers that follow. */
#include <pthread.h>

#include "scopes.h"

#define PAYLOAD 900u

enum { COUNT = 260 };

static aegis_store *store;
static aegis_report report;

static int open_code(uint32_t mode) {
    const aegis_options o = test_options(mode);
    store = NULL;
    return store_open(v, "store", &o, &store, &report);
}

static bool reopen(uint32_t mode) { return EXPECT_OK(open_code(mode)); }

/* Records 0 to COUNT - 1 over several segments, killed, or sealed and closed. */
static bool begin_segments(bool sealed) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, 8);
    EXPECT_OK(vfs_sim_settle(sim, false));
    if (!reopen(AEGIS_MODE_APPEND)) return false;
    for (uint64_t i = 0; i < COUNT; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i % 3 == 0) EXPECT_OK(aegis_commit(store, SESSION, i));
    }
    EXPECT_OK(aegis_commit(store, SESSION, COUNT - 1));
    return sealed ? EXPECT_OK(aegis_close(store)) : EXPECT_OK(aegis_abandon(store));
}

static void end_segments(void) {
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static bool has_all(uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) return false;
    return EXPECT_EQ_U64(size_of(store, SESSION), size);
}

static uint64_t sealed_count(void) {
    uint64_t count = 0;
    aegis_footer f;
    for (uint64_t i = 0; aegis_segment(store, SESSION, i, &f) == AEGIS_OK; i++) count += f.sealed;
    return count;
}

static uint64_t segment_count(void) {
    aegis_tier_stats stats;
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    return stats.segments;
}

static uint64_t file_size(const char *path) {
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, path, &size));
    return size;
}

/* Refused in every mode, with that code, about that file, and nothing changed. */
static void refused(int code, const char *path, const char *message) {
    char text[200];
    for (uint32_t mode = AEGIS_MODE_READ; mode <= AEGIS_MODE_APPEND; mode++) {
        vfs_sim *before = vfs_sim_clone(sim);
        if (!EXPECT_CODE(open_code(mode), code) && store != NULL) EXPECT_OK(aegis_abandon(store));
        EXPECT(message_has(message));
        EXPECT(said_path(path));
        EXPECT(vfs_sim_same(before, sim, text, sizeof text));
        vfs_sim_free(before);
    }
}

/* ---- full segments ---------------------------------------------------------------------------------------------------- */

TEST(a_full_segment_without_a_footer_is_scanned_and_later_sealed) {
    if (!begin_segments(false) || !reopen(AEGIS_MODE_WRITE)) return;
    EXPECT_EQ_U64(sealed_count(), 0);
    EXPECT(segment_count() >= 3);
    has_all(COUNT);
    EXPECT_OK(verify_whole(store, SESSION));
    upkeep_until_idle(store);
    EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
    has_all(COUNT);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_abandon(store));
    if (!reopen(AEGIS_MODE_READ)) return;
    EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
    has_all(COUNT);
    EXPECT_OK(aegis_close(store));
    end_segments();
}

TEST(of_a_full_segment_without_a_footer_a_damaged_record_is_refused_alone_and_a_missing_one_with_the_store) {
    aegis_error error;
    if (!begin_segments(false) || !reopen(AEGIS_MODE_READ)) return;
    const segment *first = store_log(store, SESSION)->segments[0];
    uint64_t count = first->count, offsets[3] = {8ull * first->offsets[0], 8ull * first->offsets[7], 8ull * first->offsets[count - 1]};
    const uint64_t indexes[3] = {0, 7, count - 1};
    EXPECT_OK(aegis_close(store));
    for (int i = 0; i < 3; i++) {
        vfs_sim *whole = vfs_sim_clone(sim);
        uint8_t buffer[4096];
        aegis_record found;
        flip("session/00000000.seg", 8 * (offsets[i] + 50));
        if (!reopen(AEGIS_MODE_WRITE)) return;
        EXPECT_EQ_U64(report.tiers[0].first_damaged, indexes[i]);
        upkeep_until_idle(store);    /* sealing it changes nothing */
        EXPECT_OK(aegis_close(store));
        if (!reopen(AEGIS_MODE_READ)) return;
        EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
        for (uint64_t n = 0; n < COUNT; n++)
            if (n != indexes[i]) has_record(store, SESSION, n, PAYLOAD);
        EXPECT_CODE(aegis_read(store, SESSION, indexes[i], buffer, sizeof buffer, &found), AEGIS_E_CORRUPT);
        aegis_last_error(&error);
        EXPECT_EQ_U64(error.first, indexes[i]);
        EXPECT_CODE(verify_whole(store, SESSION), AEGIS_E_CORRUPT);
        EXPECT_OK(aegis_close(store));
        /* The frame is gone, and what it proved with it. */
        vfs_sim_free(sim);
        sim = whole;
        v = vfs_sim_vfs(sim);
        static const uint8_t zeros[64];
        whole = vfs_sim_clone(sim);
        EXPECT_OK(vfs_sim_patch(sim, "session/00000000.seg", offsets[i], zeros, sizeof zeros));
        refused(AEGIS_E_CORRUPT, "00000000.seg", "durable and");
        aegis_last_error(&error);
        EXPECT_EQ_U64(error.first, indexes[i]);
        EXPECT_EQ_U64(error.end, count);
        vfs_sim_free(sim);
        sim = whole;
        v = vfs_sim_vfs(sim);
    }
    EXPECT_OK(vfs_sim_resize(sim, "session/00000000.seg", offsets[2] + 20));
    refused(AEGIS_E_CORRUPT, "00000000.seg", "durable and");
    end_segments();
}

TEST(what_stands_behind_the_frames_of_a_full_segment_is_no_matter) {
    uint8_t garbage[3000];
    uint64_t seed = 3;
    if (!begin_segments(false) || !reopen(AEGIS_MODE_READ)) return;
    uint64_t tail = store_log(store, SESSION)->segments[0]->tail;
    EXPECT_OK(aegis_close(store));
    fill_random(&seed, garbage, sizeof garbage);    /* a footer that the power cut short */
    EXPECT_OK(vfs_sim_patch(sim, "session/00000000.seg", tail, garbage, sizeof garbage));
    if (!reopen(AEGIS_MODE_WRITE)) return;
    has_all(COUNT);
    upkeep_until_idle(store);
    EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    end_segments();
}

/* ---- sealed segments -------------------------------------------------------------------------------------------------- */

TEST(a_missing_segment_is_refused_by_name) {
    static const char *const names[] = {"00000000.seg", "00000001.seg", "00000002.seg"};
    if (!begin_segments(true)) return;
    vfs_sim *whole = vfs_sim_clone(sim);
    for (int i = 0; i < 3; i++) {
        char path[32], message[64];
        snprintf(path, sizeof path, "session/%s", names[i]);
        snprintf(message, sizeof message, "segment %s is missing", names[i]);
        EXPECT_OK(vfs_sim_remove(sim, path));
        refused(AEGIS_E_CORRUPT, names[i], message);
        EXPECT_OK(vfs_sim_copy_file(whole, path, sim, path));
    }
    if (reopen(AEGIS_MODE_READ)) EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_remove(sim, "session"));
    for (uint32_t mode = AEGIS_MODE_READ; mode <= AEGIS_MODE_APPEND; mode++) {
        EXPECT_CODE(open_code(mode), AEGIS_E_CORRUPT);
        EXPECT(message_has("the directory of tier session is missing"));
    }
    vfs_sim_free(whole);
    end_segments();
}

TEST(a_truncated_sealed_segment_is_whole_by_its_frames_or_refused_by_name) {
    if (!begin_segments(true) || !reopen(AEGIS_MODE_READ)) return;
    uint64_t tail = store_log(store, SESSION)->segments[1]->tail, size = file_size("session/00000001.seg");
    EXPECT_OK(aegis_close(store));
    vfs_sim *whole = vfs_sim_clone(sim);
    for (uint64_t length = 0; length < size; length += length < 600 || length + 900 > size ? 97 : 4001) {
        EXPECT_OK(vfs_sim_resize(sim, "session/00000001.seg", length));
        if (length < 512) {
            refused(AEGIS_E_CORRUPT, "00000001.seg", "cut off within its header");
        } else if (length < SEGMENT_FRAMES) {
            refused(AEGIS_E_CORRUPT, "00000001.seg", "cut off before its frames");
        } else if (length < tail) {
            refused(AEGIS_E_CORRUPT, "00000001.seg", "durable and");
        } else if (reopen(AEGIS_MODE_WRITE)) {
            has_all(COUNT);
            upkeep_until_idle(store);
            EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
            EXPECT_OK(aegis_close(store));
            /* Sealed again, to the same bytes. */
            vfs_sim_copy_file(sim, "session/00000001.seg", whole, "copy");
            uint8_t one[1000], two[1000];
            size_t got = 0;
            EXPECT_OK(vfs_sim_get(whole, "session/00000001.seg", tail, one, sizeof one, &got));
            EXPECT_OK(vfs_sim_get(whole, "copy", tail, two, sizeof two, &got));
            EXPECT_BYTES(two, one, got);
        }
        EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000001.seg"));
    }
    vfs_sim_free(whole);
    end_segments();
}

TEST(a_renamed_duplicated_or_swapped_segment_is_refused_by_name) {
    if (!begin_segments(true)) return;
    vfs_sim *whole = vfs_sim_clone(sim);
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000000.seg"));
    refused(AEGIS_E_FOREIGN, "00000000.seg", "the file holds segment 00000001 under another's name");
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000000.seg", sim, "session/00000001.seg"));
    refused(AEGIS_E_FOREIGN, "00000000.seg", "the file holds segment 00000001 under another's name");
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000000.seg", sim, "session/00000000.seg"));
    refused(AEGIS_E_FOREIGN, "00000001.seg", "the file holds segment 00000000 under another's name");
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000001.seg"));
    /* A copy under a number that nobody lists holds records: something is wrong with the manifest then, or with the copy. */
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000077.seg"));
    EXPECT_CODE(open_code(AEGIS_MODE_WRITE), AEGIS_E_CORRUPT);
    EXPECT(message_has("00000077.seg holds records and the manifest does not name it"));
    EXPECT_OK(vfs_sim_remove(sim, "session/00000077.seg"));
    if (reopen(AEGIS_MODE_READ)) EXPECT_OK(aegis_close(store));
    vfs_sim_free(whole);
    end_segments();
}

TEST(a_segment_of_another_store_or_tier_is_refused_by_name) {
    if (!begin_segments(true)) return;
    vfs_sim *whole = sim;
    vfs_sim *other = vfs_sim_new(77);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.store_id = (const uint8_t *)"another identity";
    v = vfs_sim_vfs(other);
    if (!EXPECT_OK(store_open(v, "store", &o, &store, NULL))) return;
    for (uint64_t i = 0; i < COUNT; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    for (uint64_t i = 0; i < COUNT; i++) EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    sim = vfs_sim_clone(whole);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(vfs_sim_copy_file(other, "session/00000001.seg", sim, "session/00000001.seg"));
    refused(AEGIS_E_FOREIGN, "00000001.seg", "belongs to another store");
    vfs_sim_free(sim);
    sim = vfs_sim_clone(other);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(vfs_sim_copy_file(other, "audit/00000001.seg", sim, "session/00000001.seg"));
    o.mode = AEGIS_MODE_WRITE;
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_FOREIGN);
    EXPECT(message_has("belongs to tier 1"));
    vfs_sim_free(sim);
    /* The keys are for one store: a directory of another is refused as a whole. */
    v = vfs_sim_vfs(other);
    EXPECT_CODE(open_code(AEGIS_MODE_WRITE), AEGIS_E_FOREIGN);
    EXPECT(said_path("MANIFEST"));
    vfs_sim_free(other);
    sim = whole;
    end_segments();
}

/* An older file under the right name: the same store, tier, number and generation, another history. */
TEST(a_sealed_segment_of_another_history_is_refused) {
    if (!begin_segments(true)) return;
    vfs_sim *whole = sim;
    sim = vfs_sim_new(2);
    v = vfs_sim_vfs(sim);
    if (!reopen(AEGIS_MODE_APPEND)) return;
    for (uint64_t i = 0; i < COUNT; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD - 1));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_copy_file(sim, "session/00000000.seg", whole, "session/00000000.seg"));
    vfs_sim_free(sim);
    sim = whole;
    v = vfs_sim_vfs(sim);
    EXPECT(open_code(AEGIS_MODE_WRITE) == AEGIS_E_CORRUPT);
    EXPECT(message_has("says records") || message_has("damaged"));
    end_segments();
}

TEST(a_damaged_footer_leaves_the_records_readable_and_is_written_again) {
    if (!begin_segments(true) || !reopen(AEGIS_MODE_READ)) return;
    uint64_t tail = store_log(store, SESSION)->segments[0]->tail, count = store_log(store, SESSION)->segments[0]->count;
    EXPECT_OK(aegis_close(store));
    const char *path = "session/00000000.seg";
    uint64_t size = file_size(path);
    vfs_sim *whole = vfs_sim_clone(sim);
    uint8_t one[2000], two[2000];
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(whole, path, tail, one, sizeof one, &got));
    for (uint64_t byte = tail + 4 * count; byte < size; byte++) {
        uint64_t fixed = byte + FOOTER_FIXED - size;    /* where in the fixed part, if it is there */
        bool in_fixed = byte >= size - FOOTER_FIXED, signature = in_fixed && fixed >= 144 && fixed < 208, reserved = in_fixed && fixed >= 224 && fixed < 252;
        flip(path, 8 * byte + byte % 8);
        if (!reopen(AEGIS_MODE_WRITE)) {
            printf("    byte %llu of %llu\n", (unsigned long long)(byte - tail), (unsigned long long)(size - tail));
        } else {
            if (byte % 16 == 0) has_all(COUNT);
            upkeep_until_idle(store);
            EXPECT_EQ_U64(sealed_count(), segment_count() - 1);
            EXPECT_OK(verify_whole(store, SESSION));
            EXPECT_OK(aegis_abandon(store));
            if (!signature && !reserved) {
                EXPECT_OK(vfs_sim_get(sim, path, tail, two, sizeof two, &got));
                EXPECT_EQ_U64(got, size - tail);
                if (!EXPECT_BYTES(two, one, got)) printf("    byte %llu\n", (unsigned long long)(byte - tail));
            }
        }
        EXPECT_OK(vfs_sim_copy_file(whole, path, sim, path));
    }
    vfs_sim_free(whole);
    end_segments();
}

/* ---- what a rotation leaves ------------------------------------------------------------------------------------------- */

TEST(the_next_segment_that_nobody_listed_is_removed_and_made_anew) {
    if (!begin_segments(false) || !reopen(AEGIS_MODE_WRITE)) return;
    upkeep_until_idle(store);
    char path[32];
    snprintf(path, sizeof path, "session/%08x.seg", (unsigned)segment_count());
    EXPECT_EQ_U64(file_size(path), SMALL_SEGMENT);
    EXPECT_OK(aegis_abandon(store));
    /* A reader leaves it; the next writer takes it away. */
    if (!reopen(AEGIS_MODE_READ)) return;
    EXPECT_OK(aegis_close(store));
    file_size(path);
    if (!reopen(AEGIS_MODE_WRITE)) return;
    uint64_t size = 0;
    EXPECT_CODE(vfs_sim_file_size(sim, path, &size), AEGIS_E_NOTFOUND);
    for (uint64_t i = COUNT; i < COUNT + 200; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    has_all(COUNT + 200);
    EXPECT_OK(aegis_close(store));
    end_segments();
}

/* The manifest put back to an older one: it names fewer segments than hold records. */
TEST(a_manifest_older_than_the_segments_is_refused) {
    sim = vfs_sim_new(4);
    v = vfs_sim_vfs(sim);
    if (!reopen(AEGIS_MODE_APPEND)) return;
    uint64_t i = 0;
    for (; segment_count() < 3 || i == 0; i++) {
        EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        if (i == 0) EXPECT_OK(vfs_sim_copy_file(sim, "MANIFEST", sim, "session/old"));
    }
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_copy_file(sim, "session/old", sim, "MANIFEST"));
    EXPECT_CODE(open_code(AEGIS_MODE_WRITE), AEGIS_E_CORRUPT);
    EXPECT(message_has("holds records and the manifest does not name it"));
    end_segments();
}

TEST(a_tier_that_the_manifest_does_not_list_must_hold_no_record) {
    if (!begin_segments(true)) return;
    s.tier = AEGIS_TIER_AUDIT;
    EXPECT_OK(v->open_root(v, "store", VFS_READ, &root));
    vfs_dir *dir = NULL;
    segment seg;
    EXPECT_OK(v->open_dir(v, root, "audit", VFS_CREATE, &dir));
    EXPECT_OK(segment_create(&s, dir, 0, 1, 20000, &seg));
    segment_close(&s, &seg);
    EXPECT_OK(vfs_sim_patch(sim, "audit/00000000.seg", SEGMENT_FRAMES, "AFR0", 4));
    EXPECT_CODE(open_code(AEGIS_MODE_WRITE), AEGIS_E_CORRUPT);
    EXPECT_OK(vfs_sim_patch(sim, "audit/00000000.seg", SEGMENT_FRAMES, "\0\0\0\0", 4));
    if (!reopen(AEGIS_MODE_WRITE)) return;
    EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
    EXPECT(has_record(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    v->close_dir(v, dir);
    v->close_dir(v, root);
    end_segments();
}

/* ---- followers -------------------------------------------------------------------------------------------------------- */

static aegis_store *followed;
static atomic_bool stop;

static void *read_on(void *context) {
    uint64_t seed = (uint64_t)(uintptr_t)context;
    uint8_t own[4096];
    while (!atomic_load(&stop)) {
        uint64_t size = 0;
        aegis_record record;
        test_record r;
        EXPECT_OK(aegis_size(followed, SESSION, &size));
        if (size == 0) continue;
        uint64_t i = size - 1 - next_random(&seed) % min_u64(size, 40);
        make_record(SESSION, i, PAYLOAD, &r);
        if (!EXPECT_OK(aegis_read(followed, SESSION, i, own, sizeof own, &record))) break;
        EXPECT_BYTES(own + record.payload_at, r.payload, r.payload_length);
    }
    return NULL;
}

/* A reader takes in what is new while other threads read: nothing that they look at moves away under them. */
TEST(a_reader_may_refresh_while_other_threads_read) {
    pthread_t threads[3];
    sim = vfs_sim_new(5);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(vfs_sim_settle(sim, false));
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 8 << 20;
    store = open_with(v, &o, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    o.mode = AEGIS_MODE_READ;
    followed = open_with(v, &o, NULL);
    atomic_store(&stop, false);
    for (int t = 0; t < 3; t++) EXPECT(pthread_create(&threads[t], NULL, read_on, (void *)(uintptr_t)(t + 1)) == 0);
    for (uint64_t i = 1; i < 6000; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i % 20 != 0) continue;
        EXPECT_OK(aegis_commit(store, SESSION, i));
        if (!EXPECT_OK(aegis_refresh(followed))) break;
        EXPECT_EQ_U64(size_of(followed, SESSION), i + 1);
    }
    atomic_store(&stop, true);
    for (int t = 0; t < 3; t++) pthread_join(threads[t], NULL);
    EXPECT_OK(aegis_close(followed));
    EXPECT_OK(aegis_close(store));
    end_segments();
}

TEST(a_follower_sees_rotations_and_seals_and_refuses_damage) {
    sim = vfs_sim_new(6);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(vfs_sim_settle(sim, false));
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    followed = open_test(v, AEGIS_MODE_READ, NULL);
    for (uint64_t i = 1; i < 400; i++) {
        EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        if (i % 90 == 0) upkeep_until_idle(store);
        if (i % 7 != 0) continue;
        EXPECT_OK(aegis_refresh(followed));
        EXPECT_EQ_U64(size_of(followed, SESSION), i + 1);
        EXPECT(has_record(followed, SESSION, i, PAYLOAD) && has_record(followed, SESSION, i / 2, PAYLOAD));
    }
    EXPECT_OK(verify_whole(followed, SESSION));
    EXPECT_OK(aegis_refresh(followed));
    uint64_t size = size_of(store, SESSION);
    EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
    const log *l = store_log(store, SESSION);
    char path[32];
    const segment *seg = l->segments[l->segment_count - 1];
    snprintf(path, sizeof path, "session/%08x.seg", (unsigned)seg->number);
    flip(path, 8 * (8ull * seg->offsets[seg->count - 1] + 50));
    uint8_t buffer[4096];
    aegis_record found;
    EXPECT_OK(aegis_refresh(followed));
    EXPECT_EQ_U64(size_of(followed, SESSION), size + 1);
    EXPECT_CODE(aegis_read(followed, SESSION, size, buffer, sizeof buffer, &found), AEGIS_E_CORRUPT);
    flip(path, 8 * (8ull * seg->offsets[seg->count - 1] + 50));
    EXPECT(has_record(followed, SESSION, size, PAYLOAD));
    /* One that proves nothing is waited for. */
    static const uint8_t zeros[64];
    size_t got = 0;
    uint8_t kept[64];
    EXPECT_OK(append_committed(store, SESSION, size + 1, PAYLOAD));
    const uint64_t at = 8ull * seg->offsets[seg->count - 1];
    EXPECT_OK(vfs_sim_get(sim, path, at, kept, sizeof kept, &got));
    EXPECT_OK(vfs_sim_patch(sim, path, at, zeros, sizeof zeros));
    EXPECT_CODE(aegis_refresh(followed), AEGIS_E_CORRUPT);
    EXPECT_EQ_U64(size_of(followed, SESSION), size + 1);
    EXPECT_OK(vfs_sim_patch(sim, path, at, kept, sizeof kept));
    EXPECT_OK(aegis_refresh(followed));
    EXPECT_EQ_U64(size_of(followed, SESSION), size + 2);
    EXPECT_OK(aegis_close(followed));
    EXPECT_OK(aegis_close(store));
    end_segments();
}
