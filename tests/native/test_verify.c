/* verify: everything is read again, damage is named record by record, and what is undamaged counts. */
#include "stores.h"

#include "footer.h"

#define PAYLOAD 900u
#define RECORDS 200u

/* A closed store of several sealed segments and an active one. */
static vfs_sim *filled(void) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < RECORDS; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_settle(sim, false));
    return sim;
}

/* Where record `index` lies: its segment's path and the offset of its frame. */
static uint64_t place_of(aegis_store *store, uint64_t index, char path[32]) {
    log *l = store_log(store, SESSION);
    for (uint64_t i = 0; i < l->segment_count; i++) {
        segment *seg = l->segments[i];
        uint64_t offsets[2];
        if (index < seg->first || index >= seg->first + seg->count) continue;
        char name[SEGMENT_NAME_SIZE];
        segment_name(seg->number, name);
        snprintf(path, 32, "session/%s", name);
        EXPECT_OK(segment_locate(&l->s, seg, index - seg->first, 1, offsets));
        return offsets[0];
    }
    EXPECT(!"the record is in a segment");
    return 0;
}

static void flip(vfs_sim *sim, const char *path, uint64_t offset) {
    uint8_t byte = 0;
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, path, offset, &byte, 1, &got));
    byte ^= 1;
    EXPECT_OK(vfs_sim_patch(sim, path, offset, &byte, 1));
}

typedef struct outcome {
    uint64_t findings;
    uint64_t first[8];
    aegis_progress progress;
} outcome;

static outcome verify_all(aegis_store *store, uint64_t budget) {
    outcome o = {0};
    aegis_verifier *verifier = NULL;
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    for (int step = 0; step < 100000 && !o.progress.done; step++) {
        aegis_error error;
        int code = aegis_verify_step(verifier, budget, &o.progress);
        if (code == AEGIS_OK) continue;
        EXPECT_CODE(code, AEGIS_E_CORRUPT);
        aegis_last_error(&error);
        if (o.findings < 8) o.first[o.findings] = error.first;
        o.findings++;
    }
    aegis_verify_end(verifier);
    return o;
}

TEST(a_whole_store_verifies_to_its_root_and_counts_everything) {
    vfs_sim *sim = filled();
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    aegis_head head;
    EXPECT_OK(aegis_head_at(store, SESSION, RECORDS, &head));
    const uint64_t budgets[] = {1, 4096, UINT64_MAX / 2};
    for (size_t i = 0; i < 3; i++) {
        outcome o = verify_all(store, budgets[i]);
        EXPECT_EQ_U64(o.findings, 0);
        EXPECT_EQ_U64(o.progress.records, RECORDS);
        EXPECT_EQ_U64(o.progress.records_total, RECORDS);
        EXPECT_EQ_U64(o.progress.bytes, o.progress.bytes_total);
        EXPECT_BYTES(o.progress.root, head.root, 32);
    }
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(each_damaged_record_is_named_and_the_rest_is_verified) {
    vfs_sim *sim = filled();
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    const uint64_t hit[] = {3, 4, 60, 199};
    for (size_t i = 0; i < 4; i++) {
        char path[32];
        uint64_t at = place_of(store, hit[i], path);
        flip(sim, path, at + 60);
    }
    /* Patching settles the machine: handles of before see it too. */
    outcome o = verify_all(store, 10000);
    EXPECT_EQ_U64(o.findings >= 4, true);
    EXPECT_EQ_U64(o.progress.records, RECORDS);
    for (size_t i = 0; i < 4; i++) {
        bool named = false;
        for (size_t k = 0; k < o.findings && k < 8; k++) named = named || o.first[k] == hit[i];
        EXPECT(named);
    }
    for (uint64_t i = 0; i < RECORDS; i++) {
        uint8_t buffer[4096];
        aegis_record record;
        bool damaged = i == 3 || i == 4 || i == 60 || i == 199;
        EXPECT_CODE(aegis_read(store, SESSION, i, buffer, sizeof buffer, &record), damaged ? AEGIS_E_CORRUPT : AEGIS_OK);
    }
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}

TEST(a_header_that_is_gone_does_not_hide_the_records_behind_it) {
    vfs_sim *sim = filled();
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    char path[32];
    uint8_t zeros[FRAME_HEADER] = {0};
    EXPECT_OK(vfs_sim_patch(sim, path, place_of(store, 10, path), zeros, 0));
    uint64_t at = place_of(store, 10, path);
    EXPECT_OK(vfs_sim_patch(sim, path, at, zeros, sizeof zeros));
    outcome o = verify_all(store, 10000);
    EXPECT_EQ_U64(o.findings, 1);
    EXPECT_EQ_U64(o.first[0], 10);
    EXPECT_EQ_U64(o.progress.records, RECORDS);
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}

TEST(a_footer_that_is_damaged_under_an_open_store_is_a_finding) {
    vfs_sim *sim = filled();
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, "session/00000000.seg", &size));
    flip(sim, "session/00000000.seg", size - FOOTER_FIXED + 85);    /* in the root */
    outcome o = verify_all(store, 10000);
    EXPECT_EQ_U64(o.findings, 1);
    EXPECT_EQ_U64(o.first[0], 0);
    EXPECT_EQ_U64(o.progress.records, RECORDS);
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}

TEST(an_offset_table_that_is_damaged_is_a_finding) {
    vfs_sim *sim = filled();
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    segment *seg = store_log(store, SESSION)->segments[0];
    flip(sim, "session/00000000.seg", seg->tail + 4 * 5);
    outcome o = verify_all(store, 10000);
    EXPECT_EQ_U64(o.findings, 1);
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}

TEST(records_that_come_while_verifying_are_left_for_the_next_time) {
    vfs_sim *sim = vfs_sim_new(2);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    uint64_t next = 0;
    while (next < 50) EXPECT_OK(append_committed(store, SESSION, next++, PAYLOAD));
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    while (!progress.done && next < 400) {
        EXPECT_OK(aegis_verify_step(verifier, 500, &progress));
        EXPECT_OK(append_committed(store, SESSION, next++, PAYLOAD));
        upkeep_until_idle(store);
    }
    EXPECT(progress.done);
    EXPECT_EQ_U64(progress.records, 50);
    aegis_verify_end(verifier);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(a_tier_without_records_verifies_to_the_empty_root) {
    vfs_sim *sim = vfs_sim_new(3);
    uint8_t empty[32];
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    outcome o = verify_all(store, 1);
    sha256_whole("", 0, empty);
    EXPECT_BYTES(o.progress.root, empty, 32);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}
