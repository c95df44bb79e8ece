/* rebuild.c: both copies of the manifest gone, and what the segments alone say. */
#include "rebuild.h"
#include "compactions.h"
#include "scopes.h"

#define PAYLOAD 900u

static aegis_store *store;
static aegis_report report;

static int open_code(uint32_t mode) {
    const aegis_options o = test_options(mode);
    store = NULL;
    return store_open(v, "store", &o, &store, &report);
}

/* `count` records in groups of three; full segments sealed if asked; killed, or closed. */
static bool begin_with(uint64_t count, bool sealed, bool closed) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, 8);
    EXPECT_OK(vfs_sim_settle(sim, false));
    if (!EXPECT_OK(open_code(AEGIS_MODE_APPEND))) return false;
    for (uint64_t i = 0; i < count; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i % 3 == 2 || i + 1 == count) EXPECT_OK(aegis_commit(store, SESSION, i));
    }
    if (sealed) upkeep_until_idle(store);
    return closed ? EXPECT_OK(aegis_close(store)) : EXPECT_OK(aegis_abandon(store));
}

static void end_store(void) {
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static bool has_all(uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) return false;
    return EXPECT_EQ_U64(size_of(store, SESSION), size);
}

static void lose_manifest(void) {
    uint8_t zeros[2048] = {0};
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST", 0, zeros, sizeof zeros));
}

/* Opened without a manifest: all is there, the manifest is whole again, and the store goes on. */
static void rebuilds_to(uint64_t size) {
    uint8_t id[STORE_ID_SIZE];
    bool damaged = true;
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE))) return;
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT);
    has_all(size);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    scope reader = scope_of(v, 0, 8);
    manifest m;
    EXPECT_OK(v->open_root(v, "store", VFS_READ, &root));
    manifest_init(&m, &reader, root);
    EXPECT_OK(manifest_load(&m, id, &damaged));
    EXPECT(!damaged);
    EXPECT_BYTES(id, TEST_ID, STORE_ID_SIZE);
    EXPECT_STRING(m.name, "test");
    EXPECT_EQ_U64(m.segment_bytes, SMALL_SEGMENT);
    manifest_free(&m);
    v->close_dir(v, root);
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE))) return;
    EXPECT(!(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT));
    has_all(size + 1);
    EXPECT_OK(aegis_close(store));
}

/* Over a frame, so that it no longer proves which record it was; true puts it back. */
static void blot(const char *path, uint64_t offset, bool back) {
    static const uint8_t zeros[64];
    static uint8_t kept[64];
    size_t got = 0;
    if (!back) EXPECT_OK(vfs_sim_get(sim, path, offset, kept, sizeof kept, &got));
    EXPECT_OK(vfs_sim_patch(sim, path, offset, back ? kept : zeros, sizeof zeros));
}

static void refused(int code, const char *message) {
    for (uint32_t mode = AEGIS_MODE_READ; mode <= AEGIS_MODE_APPEND; mode++) {
        if (!EXPECT_CODE(open_code(mode), code) && store != NULL) EXPECT_OK(aegis_abandon(store));
        EXPECT(message_has(message));
    }
}

/* The number of the last segment that holds records, and the first one that does not exist. */
static unsigned last_segment(void) {
    unsigned n = 0;
    char path[40];
    uint64_t size = 0;
    do snprintf(path, sizeof path, "session/%08x.seg", ++n);
    while (vfs_sim_file_size(sim, path, &size) == AEGIS_OK);
    return n - 1;
}

/* ---- every shape ------------------------------------------------------------------------------------------------------ */

TEST(segments_of_every_shape_are_listed_again) {
    /* Few records: an active segment alone. 61 to 64: around the first rotation, the last segment with few records or none. */
    static const uint64_t counts[] = {1, 2, 3, 50, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 110, 130, 200};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (unsigned how = 0; how < 4; how++) {
            if (!begin_with(counts[i], how & 1, how & 2)) return;
            if (how & 1) lose_manifest();
            else EXPECT_OK(vfs_sim_remove(sim, "MANIFEST"));
            rebuilds_to(counts[i]);
            if (atomic_load(&check_failures) > 0) printf("    %llu records, %u\n", (unsigned long long)counts[i], how);
            end_store();
            if (atomic_load(&check_failures) > 0) return;
        }
    }
}

/* An empty segment at the end: listed, if a rotation got so far, or only prepared. */
TEST(an_empty_last_segment_is_listed_where_its_start_is_known_and_else_removed) {
    for (unsigned sealed = 0; sealed < 2; sealed++) {
        segment seg;
        vfs_dir *dir = NULL;
        if (!begin_with(200, sealed == 1, false)) return;
        unsigned last = last_segment() + (sealed == 1 ? 0 : 1);
        char path[40];
        snprintf(path, sizeof path, "session/%08x.seg", last);
        EXPECT_OK(v->open_root(v, "store", VFS_READ, &root));
        EXPECT_OK(v->open_dir(v, root, "session", VFS_READ, &dir));
        if (sealed == 0) {
            EXPECT_OK(segment_create(&s, dir, last, 9, 20000, &seg));
            segment_close(&s, &seg);
        }
        v->close_dir(v, dir);
        v->close_dir(v, root);
        lose_manifest();
        rebuilds_to(200);
        end_store();
    }
}

/* ---- several files of one place --------------------------------------------------------------------------------------- */

#define FIRST "session/00000000.seg"
#define SECOND "session/00000000-00000001.seg"
#define THIRD "session/00000000-00000002.seg"

/* Two sealed segments; of the first one all three files that two compactions made. */
static uint64_t begin_with_three_files(void) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(vfs_sim_settle(sim, false));
    if (!EXPECT_OK(open_code(AEGIS_MODE_APPEND))) return 0;
    uint64_t size = fill_segments(store, SESSION, 2);
    const aegis_change one = gap(1, size - 1), two = gap(2, size - 1);
    EXPECT_OK(vfs_sim_copy_file(sim, FIRST, sim, "kept"));
    EXPECT_OK(compact_all(store, SESSION, 0, &one, 1, NULL, 0));
    EXPECT_OK(vfs_sim_copy_file(sim, SECOND, sim, "kept again"));
    EXPECT_OK(compact_all(store, SESSION, 0, &two, 1, NULL, 0));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_copy_file(sim, "kept", sim, FIRST));
    EXPECT_OK(vfs_sim_copy_file(sim, "kept again", sim, SECOND));
    EXPECT_OK(vfs_sim_remove(sim, "kept"));
    EXPECT_OK(vfs_sim_remove(sim, "kept again"));
    lose_manifest();
    return size;
}

static void damage_footer(const char *path) {
    uint64_t end = 0;
    EXPECT_OK(vfs_sim_file_size(sim, path, &end));
    turn_bit(sim, path, end - 250);
}

/* Which of them is taken: records 1 and 2 say so; and no other is left. */
static void takes(uint64_t size, unsigned rewrites) {
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE))) return;
    EXPECT(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT);
    EXPECT_EQ_U64(segment_at(store, SESSION, 0).segment, (uint64_t)rewrites << 32);
    EXPECT(rewrites >= 1 ? is_gap(store, SESSION, 1, size - 1) : has_record(store, SESSION, 1, COMPACTED_PAYLOAD));
    EXPECT(rewrites >= 2 ? is_gap(store, SESSION, 2, size - 1) : has_record(store, SESSION, 2, COMPACTED_PAYLOAD));
    EXPECT_EQ_U64(lies_there(sim, "00000000.seg"), rewrites == 0);
    EXPECT_EQ_U64(lies_there(sim, "00000000-00000001.seg"), rewrites == 1);
    EXPECT_EQ_U64(lies_there(sim, "00000000-00000002.seg"), rewrites == 2);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE))) return;
    EXPECT(!(report.tiers[0].flags & AEGIS_VERDICT_MANIFEST_REBUILT));
    EXPECT_OK(aegis_close(store));
    end_store();
}

TEST(of_several_files_of_a_place_the_newest_whole_one_is_taken) {
    takes(begin_with_three_files(), 2);
    uint64_t size = begin_with_three_files();
    damage_footer(THIRD);
    takes(size, 1);
    /* An unfinished one has its header, or not even that. */
    size = begin_with_three_files();
    EXPECT_OK(vfs_sim_resize(sim, THIRD, SEGMENT_FRAMES + 1000));
    takes(size, 1);
    size = begin_with_three_files();
    EXPECT_OK(vfs_sim_resize(sim, THIRD, 10));
    EXPECT_OK(vfs_sim_remove(sim, SECOND));
    takes(size, 0);
    size = begin_with_three_files();
    turn_bit(sim, THIRD, 3);
    takes(size, 1);
    /* Where no footer holds, the first one that was written is whole, for others are made of it. */
    size = begin_with_three_files();
    damage_footer(FIRST);
    damage_footer(SECOND);
    damage_footer(THIRD);
    takes(size, 0);
    /* One alone is what there is. */
    size = begin_with_three_files();
    EXPECT_OK(vfs_sim_remove(sim, FIRST));
    EXPECT_OK(vfs_sim_remove(sim, SECOND));
    damage_footer(THIRD);
    takes(size, 2);
}

TEST(a_rewritten_segment_is_never_the_last) {
    begin_with_three_files();
    EXPECT_OK(vfs_sim_remove(sim, "session/00000002.seg"));
    EXPECT_OK(vfs_sim_remove(sim, "session/00000001.seg"));
    EXPECT_CODE(open_code(AEGIS_MODE_WRITE), AEGIS_E_CORRUPT);
    EXPECT(message_has("is missing"));
    end_store();
}

/* What cannot be read is no file that is not whole. */
TEST(a_footer_that_cannot_be_read_is_no_unfinished_one) {
    begin_with_three_files();
    for (uint64_t nth = 1; nth < 8; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_READ, .code = AEGIS_E_IO});
        EXPECT_CODE(open_code(AEGIS_MODE_READ), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
    }
    EXPECT_OK(open_code(AEGIS_MODE_READ));
    EXPECT_EQ_U64(segment_at(store, SESSION, 0).segment, (uint64_t)2 << 32);
    aegis_abandon(store);
    end_store();
}

TEST(all_tiers_are_found_again) {
    sim = vfs_sim_new(3);
    v = vfs_sim_vfs(sim);
    if (!EXPECT_OK(open_code(AEGIS_MODE_APPEND))) return;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier += tier == 1 ? 2 : 1)
        for (uint64_t i = 0; i < 70 * tier; i++) EXPECT_OK(append_committed(store, tier, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    lose_manifest();
    EXPECT_OK(open_code(AEGIS_MODE_WRITE));
    EXPECT_EQ_U64(report.tier_count, 3);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) EXPECT_EQ_U64(size_of(store, tier), tier == 2 ? 0 : 70 * tier);
    EXPECT_OK(aegis_close(store));
    end_store();
}

TEST(generation_and_alignment_come_from_the_headers) {
    aegis_info before, after;
    sim = vfs_sim_new(4);
    v = vfs_sim_vfs(sim);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = 4096;
    store = open_with(v, &o, NULL);
    for (uint64_t i = 0; i < 90; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_describe(store, &before));
    EXPECT_OK(aegis_close(store));
    lose_manifest();
    o.align = 0;    /* whoever opens it does not know */
    store = open_with(v, &o, NULL);
    if (store == NULL) return;
    EXPECT_OK(aegis_describe(store, &after));
    EXPECT_EQ_U64(after.align, 4096);
    EXPECT(after.generation >= before.generation);
    has_all(90);
    EXPECT_OK(aegis_close(store));
    end_store();
}

TEST(a_reader_rebuilds_in_memory_and_writes_nothing) {
    char text[200];
    if (!begin_with(200, true, true)) return;
    lose_manifest();
    vfs_sim *before = vfs_sim_clone(sim);
    if (!EXPECT_OK(open_code(AEGIS_MODE_READ))) return;
    has_all(200);
    EXPECT_OK(aegis_close(store));
    EXPECT(vfs_sim_same(before, sim, text, sizeof text));
    vfs_sim_free(before);
    end_store();
}

/* ---- what cannot be made again ---------------------------------------------------------------------------------------- */

TEST(a_number_missing_in_the_middle_is_refused_by_name) {
    if (!begin_with(200, true, true)) return;
    EXPECT(last_segment() >= 2);
    vfs_sim *whole = vfs_sim_clone(sim);
    lose_manifest();
    EXPECT_OK(vfs_sim_remove(sim, "session/00000001.seg"));
    refused(AEGIS_E_CORRUPT, "segment 00000001.seg is missing");
    EXPECT(said_path("00000001.seg"));
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000001.seg"));
    EXPECT_OK(vfs_sim_remove(sim, "session/00000000.seg"));
    refused(AEGIS_E_CORRUPT, "segment 00000000.seg is missing");
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000000.seg", sim, "session/00000000.seg"));
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000009.seg"));
    refused(AEGIS_E_CORRUPT, "is missing");
    EXPECT_OK(vfs_sim_remove(sim, "session/00000009.seg"));
    EXPECT_OK(vfs_sim_copy_file(whole, "session/00000001.seg", sim, "session/00000000.seg"));
    refused(AEGIS_E_FOREIGN, "under another's name");
    vfs_sim_free(whole);
    end_store();
}

TEST(nothing_is_made_again_without_the_secret_or_the_identity_or_from_nothing) {
    aegis_options o = test_options(AEGIS_MODE_READ);
    if (!begin_with(70, true, true)) return;
    lose_manifest();
    o.secret = NULL;
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    o.secret = TEST_SECRET;
    o.store_id = NULL;
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    uint8_t other[16] = "another id";
    o.store_id = other;
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_FOREIGN);
    EXPECT_OK(vfs_sim_remove(sim, "session"));
    refused(AEGIS_E_CORRUPT, "there is no segment to make it again from");
    scope unkeyed = scope_of(v, 0, 8);
    unkeyed.keyed = false;
    manifest m;
    EXPECT_OK(v->open_root(v, "store", VFS_READ, &root));
    manifest_init(&m, &unkeyed, root);
    EXPECT_CODE(rebuild_manifest(&m, root, &unkeyed), AEGIS_E_SECRET);
    manifest_free(&m);
    v->close_dir(v, root);
    end_store();
}

TEST(with_another_secret_no_frame_is_believed) {
    static const uint8_t other[32] = "a secret of another store ......";
    char text[200];
    static const uint64_t counts[] = {1, 3, 40, 200};
    for (unsigned i = 0; i < 8; i++) {
        if (!begin_with(counts[i / 2], i % 2 == 1, false)) return;
        lose_manifest();
        vfs_sim *before = vfs_sim_clone(sim);
        aegis_options o = test_options(AEGIS_MODE_READ);
        o.secret = other;
        int code = store_open(v, "store", &o, &store, NULL);
        EXPECT(code == AEGIS_E_CORRUPT || code == AEGIS_E_SECRET);
        o.mode = AEGIS_MODE_WRITE;
        code = store_open(v, "store", &o, &store, NULL);
        EXPECT(code == AEGIS_E_CORRUPT || code == AEGIS_E_SECRET);
        EXPECT_OK(vfs_sim_remove(sim, "LOCK"));
        EXPECT_OK(vfs_sim_copy_file(before, "LOCK", sim, "LOCK"));
        EXPECT(vfs_sim_same(before, sim, text, sizeof text));
        vfs_sim_free(before);
        end_store();
    }
}

/* The manifest lost and a record damaged besides: it is named, and nothing is cut off. */
TEST(damage_is_found_under_a_manifest_that_was_made_again) {
    for (unsigned sealed = 0; sealed < 2; sealed++) {
        char text[200];
        if (!begin_with(200, sealed == 1, false) || !EXPECT_OK(open_code(AEGIS_MODE_READ))) return;
        const log *l = store_log(store, SESSION);
        uint64_t last = l->segment_count - 1, places[4], offsets[2];
        EXPECT_OK(segment_locate(&s, l->segments[last], 0, 1, offsets));
        places[0] = offsets[0];
        EXPECT_OK(segment_locate(&s, l->segments[last], 1, 1, offsets));
        places[1] = offsets[0];
        EXPECT_OK(aegis_close(store));
        lose_manifest();
        for (unsigned i = 0; i < 2; i++) {
            char path[40];
            snprintf(path, sizeof path, "session/%08x.seg", (unsigned)last);
            blot(path, places[i], false);
            vfs_sim *before = vfs_sim_clone(sim);
            refused(AEGIS_E_CORRUPT, "damaged");
            EXPECT(vfs_sim_same(before, sim, text, sizeof text));
            vfs_sim_free(before);
            blot(path, places[i], true);
        }
        rebuilds_to(200);
        end_store();
    }
}

TEST(the_first_record_of_all_is_not_forgotten) {
    for (uint64_t count = 2; count < 5; count++) {
        sim = vfs_sim_new(count);
        v = vfs_sim_vfs(sim);
        if (!EXPECT_OK(open_code(AEGIS_MODE_APPEND))) return;
        for (uint64_t i = 0; i < count; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        EXPECT_OK(aegis_abandon(store));
        lose_manifest();
        blot("session/00000000.seg", SEGMENT_FRAMES, false);
        aegis_error error;
        refused(AEGIS_E_CORRUPT, "durable and");
        aegis_last_error(&error);
        EXPECT_EQ_U64(error.first, 0);
        EXPECT_EQ_U64(error.end, count - 1);
        blot("session/00000000.seg", SEGMENT_FRAMES, true);
        rebuilds_to(count);
        end_store();
    }
}

TEST(a_segment_of_another_store_is_not_listed) {
    if (!begin_with(200, true, true)) return;
    vfs_sim *ours = sim, *stranger = vfs_sim_new(77);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.store_id = (const uint8_t *)"another identity";
    store = open_with(vfs_sim_vfs(stranger), &o, NULL);
    for (uint64_t i = 0; i < 200; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    lose_manifest();
    EXPECT_OK(vfs_sim_copy_file(stranger, "session/00000001.seg", ours, "session/00000001.seg"));
    refused(AEGIS_E_FOREIGN, "belongs to another store");
    vfs_sim_free(stranger);
    end_store();
}

TEST(a_store_without_a_record_is_not_made_again_from_nothing) {
    sim = vfs_sim_new(5);
    v = vfs_sim_vfs(sim);
    EXPECT_OK(open_code(AEGIS_MODE_APPEND));
    EXPECT_OK(aegis_close(store));
    lose_manifest();
    refused(AEGIS_E_CORRUPT, "there is no segment to make it again from");
    end_store();
}
