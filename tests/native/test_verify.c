/* verify.c: every byte read again; each finding by name, and the work goes on behind it. */
#include "compactions.h"
#include "scopes.h"

#define PAYLOAD 900u

enum { COUNT = 260 };

static aegis_store *store;
static log *l;

static bool begin_log(uint32_t align, bool sealed) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, align);
    EXPECT_OK(vfs_sim_settle(sim, false));
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = align;
    store = open_with(v, &o, NULL);
    if (store == NULL) return false;
    for (uint64_t i = 0; i < COUNT; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i % 5 == 4) EXPECT_OK(aegis_commit(store, SESSION, i));
    }
    if (sealed) upkeep_until_idle(store);
    l = store_log(store, SESSION);
    return EXPECT(l->segment_count >= 3);
}

static void end_log(void) {
    EXPECT_OK(aegis_abandon(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static uint64_t segment_end_of(uint64_t position) { return l->segments[position]->first + l->segments[position]->count; }

static uint64_t place_of(uint64_t index, char path[32]) {
    uint64_t i = 0, offsets[2];
    while (segment_end_of(i) <= index) i++;
    snprintf(path, 32, "session/%08x.seg", (unsigned)l->segments[i]->number);
    EXPECT_OK(segment_locate(&s, l->segments[i], index - l->segments[i]->first, 1, offsets));
    return offsets[0];
}

typedef struct findings {
    unsigned count;
    aegis_error errors[64];
    aegis_progress progress;
} findings;

/* All findings of one verification. */
static findings *verify_all(uint64_t budget) {
    static findings found;
    aegis_verifier *verifier = NULL;
    memset(&found, 0, sizeof found);
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    for (int steps = 0; !found.progress.done && steps < 100000; steps++) {
        int code = aegis_verify_step(verifier, budget, &found.progress);
        if (code == AEGIS_OK) continue;
        EXPECT_CODE(code, AEGIS_E_CORRUPT);
        if (found.count < 64) aegis_last_error(&found.errors[found.count++]);
    }
    EXPECT(found.progress.done);
    aegis_verify_end(verifier);
    return &found;
}

static bool finding_is(const aegis_error *e, uint64_t first, uint64_t end, const char *path, const char *message) {
    bool right = EXPECT_EQ_U64(e->first, first) && EXPECT_EQ_U64(e->end, end) && EXPECT_STRING(e->path, path) && EXPECT_EQ_U64(e->tier, SESSION);
    if (!EXPECT(strstr(e->message, message) != NULL)) printf("    %s\n", e->message);
    return right;
}

/* ---- a whole log ------------------------------------------------------------------------------------------------------ */

static void verify_undamaged(uint32_t align, bool sealed, uint64_t budget) {
    aegis_head head;
    if (!begin_log(align, sealed)) return;
    const findings *found = verify_all(budget);
    EXPECT_EQ_U64(found->count, 0);
    EXPECT_OK(aegis_head_at(store, SESSION, COUNT, &head));
    EXPECT_BYTES(found->progress.root, head.root, 32);
    EXPECT_EQ_U64(found->progress.records, COUNT);
    EXPECT_EQ_U64(found->progress.records_total, COUNT);
    EXPECT_EQ_U64(found->progress.bytes, found->progress.bytes_total);
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < l->segment_count; i++) bytes += l->segments[i]->tail - SEGMENT_FRAMES;
    EXPECT_EQ_U64(found->progress.bytes_total, bytes);
    end_log();
}

TEST(a_whole_log_has_no_findings_and_its_totals_and_root) { verify_undamaged(8, false, 4096); }
TEST(a_sealed_log_has_no_findings_and_its_totals_and_root) { verify_undamaged(8, true, 1); }
TEST(a_log_on_block_boundaries_has_no_findings_and_its_totals_and_root) { verify_undamaged(4096, true, 1 << 20); }

TEST(work_is_done_in_steps_of_about_the_budget) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0}, before;
    unsigned steps = 0;
    if (!begin_log(8, true)) return;
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    do {
        before = progress;
        EXPECT_OK(aegis_verify_step(verifier, 10000, &progress));
        EXPECT(progress.bytes >= before.bytes && progress.bytes - before.bytes < 10000 + 1300);
        EXPECT(progress.done || progress.bytes > before.bytes);
        steps++;
    } while (!progress.done && steps < 1000);
    EXPECT(steps >= progress.bytes_total / 12000);
    EXPECT_OK(aegis_verify_step(verifier, 10000, &before));    /* once done, it is done */
    EXPECT(before.done);
    EXPECT_EQ_U64(before.records, COUNT);
    aegis_verify_end(verifier);
    /* One that is given up in the middle leaves nothing behind. */
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    EXPECT_OK(aegis_verify_step(verifier, 1, &progress));
    aegis_verify_end(verifier);
    aegis_verify_end(NULL);
    end_log();
}

TEST(a_tier_without_records_is_whole) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress;
    uint8_t empty[HASH_SIZE];
    if (!begin_log(8, false)) return;
    EXPECT_OK(aegis_verify_start(store, AEGIS_TIER_AUDIT, &verifier));
    EXPECT_OK(aegis_verify_step(verifier, 1, &progress));
    EXPECT_EQ_U64(progress.done, 1);
    EXPECT_EQ_U64(progress.records_total, 0);
    sha256_whole("", 0, empty);
    EXPECT_BYTES(progress.root, empty, HASH_SIZE);
    aegis_verify_end(verifier);
    end_log();
}

/* What is appended, filled and sealed meanwhile is for the next time, and no finding. */
TEST(a_log_that_grows_while_it_is_verified_is_whole) {
    for (uint64_t start = 1; start < 120; start += 17) {
        aegis_verifier *verifier = NULL;
        aegis_progress progress = {0};
        aegis_head head;
        uint64_t next = 0;
        sim = vfs_sim_new(2);
        v = vfs_sim_vfs(sim);
        EXPECT_OK(vfs_sim_settle(sim, false));
        store = open_test(v, AEGIS_MODE_APPEND, NULL);
        while (next < start) EXPECT_OK(append_committed(store, SESSION, next, PAYLOAD)), next++;
        EXPECT_OK(aegis_head_at(store, SESSION, start, &head));
        EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
        for (int steps = 0; !progress.done && steps < 1000; steps++) {
            for (int i = 0; i < 25; i++) EXPECT_OK(append_committed(store, SESSION, next, PAYLOAD)), next++;
            if (start % 2 == 0 || steps % 3 == 0) upkeep_until_idle(store);
            EXPECT_OK(aegis_verify_step(verifier, start % 3 == 0 ? 100 : 8000, &progress));
        }
        EXPECT_EQ_U64(progress.records, start);
        EXPECT_EQ_U64(progress.bytes, progress.bytes_total);
        EXPECT_BYTES(progress.root, head.root, 32);
        aegis_verify_end(verifier);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_close(store));
        vfs_sim_free(sim);
    }
}

/* ---- damage ----------------------------------------------------------------------------------------------------------- */

static void damage_several(bool sealed) {
    static const uint64_t hit[] = {0, 3, 4, 77, 78, 79, 130, COUNT - 1};
    enum { HITS = sizeof hit / sizeof hit[0] };
    char path[32];
    uint64_t at[HITS];
    if (!begin_log(8, sealed)) return;
    for (unsigned i = 0; i < HITS; i++) {
        at[i] = place_of(hit[i], path);
        /* Payload, entry, magic, lengths, index: whatever it is, it is that record. */
        const uint64_t bytes[] = {FRAME_HEADER + 21, FRAME_HEADER, 0, 6, 16, 12, 9, 4};
        flip(path, 8 * (at[i] + bytes[i]));
    }
    const findings *found = verify_all(3000);
    EXPECT_EQ_U64(found->count, HITS);
    for (unsigned i = 0; i < HITS; i++) {
        place_of(hit[i], path);
        if (!finding_is(&found->errors[i], hit[i], hit[i] + 1, path + strlen("session/"), "is damaged")) break;
        EXPECT_EQ_U64(found->errors[i].offset, at[i]);
    }
    EXPECT_EQ_U64(found->progress.records, COUNT);
    EXPECT_EQ_U64(found->progress.bytes, found->progress.bytes_total);
    EXPECT(all_zero(found->progress.root, 32));
    end_log();
}

TEST(each_damaged_record_is_named_and_the_work_goes_on) { damage_several(false); }
TEST(each_damaged_record_of_a_sealed_segment_is_named_and_the_work_goes_on) { damage_several(true); }

TEST(every_flipped_byte_of_a_record_is_found) {
    char path[32];
    if (!begin_log(8, true)) return;
    for (unsigned which = 0; which < 2; which++) {
        uint64_t index = which == 0 ? 50 : COUNT - 2, at = place_of(index, path), end = place_of(index + 1, path);
        for (uint64_t byte = at; byte < end; byte += byte < at + FRAME_HEADER ? 1 : 23) {
            bool link = byte >= at + 32 && byte < at + FRAME_HEADER, sealed = which == 0;
            bool watermark = byte >= at + 24 && byte < at + 32;
            flip(path, 8 * byte);
            const findings *found = verify_all(1 << 20);
            EXPECT(found->count >= 1);
            /* In a sealed segment watermark and link are bytes like any other: the digest of its frames says so. */
            if (sealed && (link || (watermark && found->errors[0].end - found->errors[0].first > 1)))
                finding_is(&found->errors[0], 0, segment_end_of(0), path + 8, "are not those that the footer was made for");
            else
                finding_is(&found->errors[0], index, index + 1, path + 8, "is damaged");
            flip(path, 8 * byte);
        }
    }
    EXPECT_EQ_U64(verify_all(1 << 20)->count, 0);
    end_log();
}

TEST(what_stands_between_groups_on_block_boundaries_is_read_too) {
    char path[32];
    test_record r;
    if (!begin_log(4096, true)) return;
    make_record(SESSION, 4, PAYLOAD, &r);
    uint64_t gap = place_of(4, path) + frame_size(r.entry_length, r.payload_length), next = place_of(5, path);
    EXPECT(next % 4096 == 0 && next > gap);
    for (uint64_t byte = gap; byte < next; byte += 97) {
        flip(path, 8 * byte);
        const findings *found = verify_all(1 << 20);
        EXPECT_EQ_U64(found->count, 1);
        finding_is(&found->errors[0], 0, segment_end_of(0), path + 8, "are not those that the footer was made for");
        flip(path, 8 * byte);
    }
    end_log();
}

TEST(a_wrong_footer_is_named_and_the_records_verified_all_the_same) {
    if (!begin_log(8, true)) return;
    const segment *seg = l->segments[1];
    const char *path = "session/00000001.seg";
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, path, &size));
    const struct {
        uint64_t byte;
        const char *message;
    } hits[] = {{size - FOOTER_FIXED, "the footer is damaged"}, {size - 1, "the footer is damaged"},
                {size - FOOTER_FIXED + 80, "the footer is damaged"}, {size - FOOTER_FIXED + 210, "not written by this store"},
                {seg->tail + 4, "offset table"}, {size - FOOTER_FIXED - 1, "offset table"}};
    for (size_t i = 0; i < sizeof hits / sizeof hits[0]; i++) {
        flip(path, 8 * hits[i].byte);
        const findings *found = verify_all(5000);
        EXPECT_EQ_U64(found->count, 1);
        EXPECT_STRING(found->errors[0].path, "00000001.seg");
        if (!EXPECT(strstr(found->errors[0].message, hits[i].message) != NULL)) printf("    %s\n", found->errors[0].message);
        EXPECT_EQ_U64(found->progress.records, COUNT);
        EXPECT(!all_zero(found->progress.root, 32));
        flip(path, 8 * hits[i].byte);
    }
    end_log();
}

/* Where a record is damaged and the table does not say where the next one is, the rest of the segment is one finding. */
TEST(records_that_cannot_be_told_apart_are_named_together) {
    char path[32];
    if (!begin_log(8, true)) return;
    const segment *seg = l->segments[1];
    uint64_t index = seg->first + 10;
    flip(path, 8 * (place_of(index, path) + 7));
    flip(path, 8 * (seg->tail + 4 * 11) + 31);
    const findings *found = verify_all(5000);
    EXPECT_EQ_U64(found->count, 2);
    EXPECT(strstr(found->errors[0].message, "offset table") != NULL);
    finding_is(&found->errors[1], index, segment_end_of(1), path + 8, "cannot be told apart");
    EXPECT_EQ_U64(found->progress.records, COUNT);
    end_log();
}

/* Frames that are all valid, and a footer that is: only the digest, or the root, knows better. */
TEST(a_record_exchanged_under_a_checksum_that_fits_is_found_by_the_footer) {
    char path[32];
    uint8_t bytes[4096];
    for (int what = 0; what < 2; what++) {
        test_record r;
        if (!begin_log(8, true)) return;
        make_record(SESSION, 20, PAYLOAD, &r);
        uint64_t at = place_of(20, path);
        if (what == 0) r.payload[0] ^= 1;
        else r.entry[0] ^= 1;
        uint64_t size = put_frame(&s, bytes, 20, 0, 0, l->segments[0]->nonce, at, r.entry, r.entry_length, r.payload, r.payload_length);
        EXPECT_OK(vfs_sim_patch(sim, path, at, bytes, (size_t)size));
        const findings *found = verify_all(5000);
        EXPECT(found->count >= 1);
        finding_is(&found->errors[0], 0, segment_end_of(0), path + 8, "are not those that the footer was made for");
        end_log();
    }
}

TEST(an_entry_exchanged_in_an_active_segment_is_found_by_the_root) {
    char path[32];
    uint8_t bytes[4096];
    test_record r;
    if (!begin_log(8, false)) return;
    make_record(SESSION, COUNT - 2, PAYLOAD, &r);
    uint64_t at = place_of(COUNT - 2, path);
    r.entry[0] ^= 1;
    const segment *active = l->segments[l->segment_count - 1];
    uint64_t size = put_frame(&s, bytes, COUNT - 2, 0, COUNT - 5, active->nonce, at, r.entry, r.entry_length, r.payload, r.payload_length);
    EXPECT_OK(vfs_sim_patch(sim, path, at, bytes, (size_t)size));
    const findings *found = verify_all(5000);
    EXPECT_EQ_U64(found->count, 1);
    EXPECT(strstr(found->errors[0].message, "do not lead to its root") != NULL);
    EXPECT_EQ_U64(found->errors[0].end, COUNT);
    end_log();
}

/* ---- gaps ------------------------------------------------------------------------------------------------------------- */

static uint32_t gaps_of(aegis_verifier *verifier, aegis_gap_run *runs, uint32_t capacity) {
    uint32_t count = 0;
    EXPECT_OK(aegis_verify_gaps(verifier, runs, capacity, &count));
    return count;
}

TEST(gaps_are_told_in_runs_each_once) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    aegis_gap_run runs[64], all[64];
    uint32_t found = 0;
    if (!begin_log(8, true)) return;
    const aegis_change changes[] = {gap(2, COUNT - 1), gap(3, COUNT - 1), gap(4, COUNT - 2), gap(6, COUNT - 2), gap(7, COUNT - 2), gap(8, COUNT - 2)};
    EXPECT_OK(compact_all(store, SESSION, 0, changes, 6, NULL, 0));
    const aegis_gap_run expected[] = {{2, 2, COUNT - 1}, {4, 1, COUNT - 2}, {6, 3, COUNT - 2}};
    /* All at once, a few at a time, and asked after each record, when a run may come in parts. */
    for (uint64_t budget = 1; budget <= 1 << 20; budget <<= 20) {
        for (uint32_t capacity = 1; capacity <= 64; capacity <<= 6) {
            EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
            found = 0;
            progress.done = 0;
            while (!progress.done && EXPECT_OK(aegis_verify_step(verifier, budget, &progress))) {
                for (uint32_t n = 0; (n = gaps_of(verifier, runs, capacity)) > 0;) {
                    for (uint32_t i = 0; i < n; i++) {
                        aegis_gap_run *last = found > 0 ? &all[found - 1] : NULL;
                        if (last != NULL && last->cause == runs[i].cause && last->first + last->count == runs[i].first) last->count += runs[i].count;
                        else all[found++] = runs[i];
                    }
                }
            }
            EXPECT_EQ_U64(found, 3);
            EXPECT_BYTES(all, expected, sizeof expected);
            aegis_verify_end(verifier);
        }
    }
    /* Who never asks has them kept, and then freed. */
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_verify_start(store, AEGIS_TIER_MEMORY, &verifier));
    EXPECT_EQ_U64(gaps_of(verifier, runs, 64), 0);
    EXPECT_CODE(aegis_verify_gaps(verifier, NULL, 1, &found), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_verify_gaps(verifier, runs, 1, NULL), AEGIS_E_ARGUMENT);
    aegis_verify_end(verifier);
    end_log();
}

TEST(many_runs_of_gaps_are_kept) {
    aegis_change changes[512];
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    aegis_gap_run runs[512];
    if (!begin_log(8, true)) return;
    uint32_t count = (uint32_t)l->segments[0]->count;
    for (uint32_t i = 0; i < count; i++) changes[i] = gap(i, COUNT - 1 - i % 2);
    EXPECT_OK(compact_all(store, SESSION, 0, changes, count, NULL, 0));
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    while (!progress.done && EXPECT_OK(aegis_verify_step(verifier, 1 << 20, &progress))) {}
    EXPECT(count > 64);
    EXPECT_EQ_U64(gaps_of(verifier, runs, 512), count);
    for (uint32_t i = 0; i < count; i++) EXPECT(runs[i].first == i && runs[i].count == 1 && runs[i].cause == COUNT - 1 - i % 2);
    aegis_verify_end(verifier);
    end_log();
}

/* A stub in a file that nobody rewrote, and one by a record that is not there. */
TEST(a_gap_that_nothing_can_authorise_is_found) {
    char path[40];
    uint8_t bytes[4096], cause[8];
    test_record r;
    if (!begin_log(8, true)) return;
    uint64_t at = place_of(20, path);
    make_record(SESSION, 20, PAYLOAD, &r);
    store_u64(cause, COUNT - 1);
    put_frame(&s, bytes, 20, FRAME_GAP, 0, l->segments[0]->nonce, at, r.entry, r.entry_length, cause, 8);
    EXPECT_OK(vfs_sim_patch(sim, path, at, bytes, (size_t)frame_size(r.entry_length, 8)));
    const findings *found = verify_all(5000);
    EXPECT(found->count >= 1);
    finding_is(&found->errors[0], 20, 21, path + 8, "checksum");
    aegis_record record;
    EXPECT_CODE(aegis_read(store, SESSION, 20, bytes, sizeof bytes, &record), AEGIS_E_CORRUPT);
    uint32_t count = 0;
    EXPECT_CODE(aegis_read_entries(store, SESSION, 20, 1, 0, bytes, sizeof bytes, &record, &count), AEGIS_E_CORRUPT);
    end_log();
    if (!begin_log(8, true)) return;
    const aegis_change change = gap(20, COUNT - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    uint64_t offsets[2];
    EXPECT_OK(segment_locate(&s, l->segments[0], 20, 1, offsets));
    make_record(SESSION, 20, PAYLOAD, &r);
    store_u64(cause, COUNT);
    put_frame(&s, bytes, 20, FRAME_GAP, 0, l->segments[0]->nonce, offsets[0], r.entry, r.entry_length, cause, 8);
    EXPECT_OK(vfs_sim_patch(sim, "session/00000000-00000001.seg", offsets[0], bytes, (size_t)frame_size(r.entry_length, 8)));
    found = verify_all(5000);
    EXPECT(found->count >= 1);
    finding_is(&found->errors[0], 20, 21, "00000000-00000001.seg", "a gap by a record that is not there");
    end_log();
}

TEST(tiles_play_no_part) {
    if (!begin_log(8, true)) return;
    EXPECT_OK(vfs_sim_remove(sim, "session/tiles/0/000"));
    EXPECT_EQ_U64(verify_all(5000)->count, 0);
    end_log();
}

TEST(what_cannot_be_read_is_said_and_is_no_damage) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    if (!begin_log(8, true)) return;
    for (uint64_t nth = 1; nth < 12; nth++) {
        unsigned failed = 0;
        EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_READ | 1u << VFS_SIM_SIZE, .code = AEGIS_E_IO});
        progress.done = 0;
        for (int steps = 0; !progress.done && steps < 1000; steps++) {
            int code = aegis_verify_step(verifier, 1 << 20, &progress);
            if (code != AEGIS_OK) EXPECT_CODE(code, AEGIS_E_IO);
            if (code != AEGIS_OK) failed++;
        }
        EXPECT_EQ_U64(failed, vfs_sim_fault_hits(sim));
        EXPECT_EQ_U64(progress.records, COUNT);
        vfs_sim_fail(sim, NULL);
        aegis_verify_end(verifier);
    }
    end_log();
}
