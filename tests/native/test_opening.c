/* What an open believes, and what it leaves alone: heads that were kept, marks of a writer that failed, a writer that goes on meanwhile. */
#include "crc32c.h"
#include "stores.h"

#define PAYLOAD 900u

static void append_all(aegis_store *store, uint32_t tier, uint64_t first, uint64_t end, uint64_t group) {
    for (uint64_t i = first; i < end; i++) {
        EXPECT_OK(append_record(store, tier, i, PAYLOAD));
        if ((i + 1 - first) % group == 0 || i + 1 == end) EXPECT_OK(aegis_commit(store, tier, i));
    }
}

static int try_open(vfs_sim *sim, const aegis_options *o, aegis_report *report) {
    aegis_store *store = NULL;
    int code = store_open(vfs_sim_vfs(sim), "store", o, &store, report);
    if (code == AEGIS_OK) aegis_abandon(store);
    return code;
}

/* ---- heads that were kept --------------------------------------------------------------------------------------------- */

TEST(a_head_kept_outside_vouches_for_the_last_group_of_a_killed_store) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_options o = test_options(AEGIS_MODE_READ);
    aegis_head head;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 6, 2);
    EXPECT_OK(aegis_head_at(store, SESSION, 6, &head));
    aegis_abandon(store);
    o.anchors = &head;
    o.anchor_count = 1;
    store = open_with(vfs_sim_vfs(sim), &o, NULL);
    if (store != NULL) EXPECT_EQ_U64(size_of(store, SESSION), 6);
    aegis_abandon(store);
    vfs_sim_free(sim);
}

TEST(a_head_of_a_tier_without_a_record_is_a_rollback) {
    vfs_sim *sim = vfs_sim_new(1);
    const aegis_head head = {.tier = AEGIS_TIER_AUDIT, .size = 3};
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 2, 1);
    EXPECT_OK(aegis_close(store));
    for (uint32_t mode = AEGIS_MODE_READ; mode <= AEGIS_MODE_APPEND; mode++) {
        aegis_options o = test_options(mode);
        o.anchors = &head;
        o.anchor_count = 1;
        if (mode == AEGIS_MODE_CREATE) continue;
        EXPECT_CODE(try_open(sim, &o, NULL), AEGIS_E_ROLLBACK);
    }
    vfs_sim_free(sim);
}

/* Without the secret nobody can check the manifest's code, and anybody can make its checksum. */
TEST(a_manifest_with_another_root_is_refused_without_the_secret_too) {
    vfs_sim *sim = vfs_sim_new(1);
    uint8_t bytes[2048];
    size_t got = 0;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 5, 1);
    EXPECT_OK(aegis_close(store));
    aegis_options o = test_options(AEGIS_MODE_READ);
    o.secret = NULL;
    EXPECT_OK(try_open(sim, &o, NULL));
    EXPECT_OK(vfs_sim_get(sim, "MANIFEST", 0, bytes, sizeof bytes, &got));
    for (int copy = 0; copy < 2; copy++) {
        uint8_t *at = bytes + (size_t)copy * got / 2;
        uint32_t length = load_u32(at + 12);
        at[72 + 8 + 16] ^= 1;    /* the tier's root, behind a header, a name of four letters and no meta block */
        store_u32(at + length - 8, crc32c(0, at, length - 8));
    }
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST", 0, bytes, got));
    EXPECT_CODE(try_open(sim, &o, NULL), AEGIS_E_CORRUPT);
    EXPECT(message_has("the manifest was made for"));
    vfs_sim_free(sim);
}

TEST(a_watermark_with_another_root_is_refused) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 5, 1);
    const log *l = &store->logs[SESSION];
    uint8_t root[HASH_SIZE] = "a root of nothing";
    EXPECT_OK(segment_write_slot(&l->s, l->segments[0], 5, root, 0));
    aegis_abandon(store);
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    EXPECT_CODE(try_open(sim, &o, NULL), AEGIS_E_CORRUPT);
    EXPECT(message_has("the watermark was made for"));
    vfs_sim_free(sim);
}

/* What is refused may be the wrong store, or one to be looked into: it is left as it is. */
TEST(an_open_that_is_refused_changes_no_segment) {
    vfs_sim *sim = vfs_sim_new(1);
    char difference[200] = "";
    aegis_head head = {.tier = SESSION, .size = 4, .root = {1}};
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 6, 2);
    const uint64_t tail = store->logs[SESSION].segments[0]->tail;
    aegis_abandon(store);
    EXPECT_OK(vfs_sim_patch(sim, "session/00000000.seg", tail, "not zero", 8));    /* what a recovery would cut off */
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.anchors = &head;
    o.anchor_count = 1;
    vfs_sim *before = vfs_sim_clone(sim);
    EXPECT_CODE(try_open(sim, &o, NULL), AEGIS_E_ROLLBACK);
    if (!EXPECT(vfs_sim_same(before, sim, difference, sizeof difference))) printf("    %s\n", difference);
    vfs_sim_free(before);
    vfs_sim_free(sim);
}

/* ---- writers that failed, and that go on ------------------------------------------------------------------------------- */

/* One tier was closed with its end mark and outline; the next one had failed before. What the failed writer leaves is looked at. */
TEST(behind_a_poisoned_writer_no_end_mark_is_believed) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_report report;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, AEGIS_TIER_AUDIT, 0, 12, 3);
    append_all(store, SESSION, 0, 2, 1);
    EXPECT_OK(append_record(store, SESSION, 2, PAYLOAD));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_commit(store, SESSION, 2), AEGIS_E_UNKNOWN);
    vfs_sim_fail(sim, NULL);
    EXPECT_CODE(aegis_close(store), AEGIS_E_UNKNOWN);
    uint64_t outline = 0;
    EXPECT_OK(vfs_sim_file_size(sim, "audit/outline", &outline));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, &report);
    aegis_abandon(store);
    for (uint32_t i = 0; i < report.tier_count; i++) {
        EXPECT((report.tiers[i].flags & AEGIS_VERDICT_POISON) != 0);
        EXPECT((report.tiers[i].flags & AEGIS_VERDICT_CLEAN) == 0);
    }
    vfs_sim_free(sim);
}

/* The outline alone tells of a scan that was not made: its frames are damaged, and are not looked at where it is taken. */
TEST(behind_a_poisoned_writer_no_outline_is_used) {
    vfs_sim *sim = vfs_sim_new(1);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    append_all(store, SESSION, 0, 12, 3);
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(vfs_sim_patch(sim, "LOCK", 8, "POISONED", 8));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    if (store == NULL) return;
    EXPECT(store->logs[SESSION].segments[0]->offsets != NULL);
    aegis_report report;
    aegis_abandon(store);
    const aegis_options o = test_options(AEGIS_MODE_READ);
    uint8_t byte = 0xff;
    EXPECT_OK(vfs_sim_patch(sim, "session/00000000.seg", SEGMENT_FRAMES, &byte, 1));
    int code = try_open(sim, &o, &report);
    EXPECT(code == AEGIS_E_CORRUPT || (report.tiers[0].flags & AEGIS_VERDICT_CLEAN) == 0);
    vfs_sim_free(sim);
}

static aegis_store *going_on;
static void (*real_close)(vfs *, vfs_file *);

/* The first file that a reader closes is the manifest: it has read it. */
static void close_and_let_the_writer_go_on(vfs *self, vfs_file *file) {
    aegis_store *writer = going_on;
    going_on = NULL;
    real_close(self, file);
    if (writer != NULL) append_all(writer, SESSION, 90, 150, 30);
}

TEST(a_writer_that_rotates_while_a_reader_opens_makes_it_miss_nothing) {
    vfs_sim *sim = vfs_sim_new(1);
    vfs *v = vfs_sim_vfs(sim);
    aegis_store *writer = open_test(v, AEGIS_MODE_APPEND, NULL);
    append_all(writer, SESSION, 0, 90, 30);
    real_close = v->close;
    v->close = close_and_let_the_writer_go_on;
    going_on = writer;
    aegis_store *reader = open_test(v, AEGIS_MODE_READ, NULL);
    v->close = real_close;
    EXPECT(going_on == NULL && writer->manifest.tiers[SESSION].count > 1);
    if (reader != NULL) {
        EXPECT_EQ_U64(size_of(reader, SESSION), 90);
        EXPECT_OK(aegis_refresh(reader));
        EXPECT_EQ_U64(size_of(reader, SESSION), 150);
    }
    aegis_abandon(reader);
    aegis_abandon(writer);
    vfs_sim_free(sim);
}
