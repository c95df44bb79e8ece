/* unlisted.c: files that no manifest lists: what a rotation left, what a compaction left, and what must not be there. */
#include "compactions.h"
#include "scopes.h"
#include "unlisted.h"

static manifest m;
static lockfile held;
static log opened;
static bool left;

static bool begin_directory(void) {
    if (!begin(1)) return false;
    manifest_init(&m, &s, root);
    held = (lockfile){.vfs = v, .writer = true};
    return true;
}

static void end_directory(void) {
    manifest_free(&m);
    end();
}

TEST(an_unlisted_segment_without_records_is_removed_and_one_with_records_refused) {
    segment seg[4];
    char text[200];
    if (!begin_directory() || !EXPECT_OK(log_init(&opened, &s, root, true, &m, &held, 0))) return;
    for (uint64_t i = 0; i < 4; i++) EXPECT_OK(segment_create(&s, opened.dir, i, 1, 20000, &seg[i]));
    for (unsigned i = 0; i < 4; i++) segment_close(&s, &seg[i]);
    EXPECT_OK(vfs_sim_patch(sim, "session/tail-00000003.cut", 0, "kept", 4));
    const manifest_segment listed = {1, 1, 0};
    EXPECT_OK(manifest_add_segment(&m, SESSION, &listed));
    const manifest_segment elsewhere = {2, 1, 0};
    EXPECT_OK(manifest_add_segment(&m, AEGIS_TIER_AUDIT, &elsewhere));
    /* A single byte of a frame is a record that may be there. */
    for (uint64_t at = SEGMENT_FRAMES; at < SEGMENT_FRAMES + FRAME_HEADER; at += 47) {
        static const char *const paths[] = {"session/00000000.seg", "session/00000002.seg", "session/00000003.seg"};
        for (int i = 0; i < 3; i++) {
            EXPECT_OK(vfs_sim_patch(sim, paths[i], at, "A", 1));
            vfs_sim *before = vfs_sim_clone(sim);
            EXPECT_CODE(unlisted_remove_empty(&opened, &left), AEGIS_E_CORRUPT);
            EXPECT(message_has("holds records and the manifest does not name it"));
            EXPECT(said_path(paths[i] + strlen("session/")));
            EXPECT(vfs_sim_same(sim, before, text, sizeof text));
            vfs_sim_free(before);
            EXPECT_OK(vfs_sim_patch(sim, paths[i], at, "", 1));
        }
    }
    EXPECT_OK(unlisted_remove_empty(&opened, &left));
    uint64_t size = 0;
    EXPECT_CODE(vfs_sim_file_size(sim, "session/00000000.seg", &size), AEGIS_E_NOTFOUND);
    EXPECT_OK(vfs_sim_file_size(sim, "session/00000001.seg", &size));
    EXPECT_CODE(vfs_sim_file_size(sim, "session/00000002.seg", &size), AEGIS_E_NOTFOUND);
    EXPECT_CODE(vfs_sim_file_size(sim, "session/00000003.seg", &size), AEGIS_E_NOTFOUND);
    EXPECT_OK(vfs_sim_file_size(sim, "session/tail-00000003.cut", &size));
    EXPECT_OK(unlisted_remove_empty(&opened, &left));
    log_free(&opened);
    end_directory();
}

/* ---- what a compaction left ------------------------------------------------------------------------------------------- */

static aegis_store *store;
static uint64_t size;

static void copy_to(const char *from, const char *to) { EXPECT_OK(vfs_sim_copy_file(sim, from, sim, to)); }

/* A store whose first segment was rewritten once; closed, or given up. */
static bool begin_rewritten(bool closed) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    if (store == NULL) return false;
    size = fill_segments(store, SESSION, 1);
    const aegis_change change = gap(1, size - 1);
    copy_to("session/00000000.seg", "kept");
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    return EXPECT_OK(closed ? aegis_close(store) : aegis_abandon(store)) && EXPECT_OK(vfs_sim_settle(sim, true));
}

static size_t op_of(enum vfs_sim_kind kind, const char *path) {
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        const char *name = kind == VFS_SIM_RENAME ? op->to : op->path;
        if (op->kind == kind && name != NULL && strcmp(name, path) == 0) return i;
    }
    return SIZE_MAX;
}

static void leftovers(bool closed) {
    if (!begin_rewritten(closed)) return;
    copy_to("kept", "session/00000000.seg");
    copy_to("kept", "session/00000000-00000002.seg");
    for (unsigned i = 3; i < 100; i++) {    /* more than one listing holds */
        char path[64];
        snprintf(path, sizeof path, "session/00000000-%08x.seg", i);
        EXPECT_OK(vfs_sim_patch(sim, path, 0, "half", 4));
    }
    EXPECT_OK(vfs_sim_remove(sim, "kept"));
    EXPECT_OK(vfs_sim_settle(sim, true));
    /* Who reads removes nothing. */
    store = open_test(v, AEGIS_MODE_READ, NULL);
    EXPECT(is_gap(store, SESSION, 1, size - 1));
    aegis_abandon(store);
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT(is_gap(store, SESSION, 1, size - 1));
    EXPECT(!lies_there(sim, "00000000.seg") && lies_there(sim, "00000000-00000001.seg"));
    for (unsigned i = 2; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof name, "00000000-%08x.seg", i);
        EXPECT(!lies_there(sim, name));
    }
    /* Not before a manifest is durable that has no use for them, though the store was closed in order. */
    EXPECT(op_of(VFS_SIM_RENAME, "MANIFEST") < op_of(VFS_SIM_UNLINK, "session/00000000.seg"));
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(what_a_compaction_left_goes_at_the_next_open_for_writing) {
    leftovers(true);
    leftovers(false);
}

/* Where there is no space for a manifest, nobody is kept out, and nothing goes that an older one may name. */
TEST(on_a_full_disk_the_store_opens_and_replaced_files_stay) {
    if (!begin_rewritten(false)) return;
    copy_to("kept", "session/00000000.seg");
    EXPECT_OK(vfs_sim_settle(sim, true));
    vfs_sim_set_space(sim, 0);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT(store != NULL && lies_there(sim, "00000000.seg"));
    aegis_abandon(store);
    vfs_sim_set_space(sim, UINT64_MAX / 2);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT(store != NULL && !lies_there(sim, "00000000.seg"));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* A failure on the way is the open's, and the next one goes on. */
TEST(what_cannot_be_removed_is_said) {
    if (!begin_rewritten(false)) return;
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    copy_to("kept", "session/00000000.seg");
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_UNLINK, .code = AEGIS_E_IO});
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
    EXPECT(store != NULL && !lies_there(sim, "00000000.seg"));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* Nor is what cannot be looked at taken for empty. */
TEST(what_cannot_be_looked_at_is_not_removed) {
    segment seg;
    if (!begin_directory() || !EXPECT_OK(log_init(&opened, &s, root, true, &m, &held, 0))) return;
    EXPECT_OK(segment_create(&s, opened.dir, 5, 1, 20000, &seg));
    segment_close(&s, &seg);
    for (int kind = 0; kind < 3; kind++) {
        const uint32_t kinds[] = {VFS_SIM_LIST, VFS_SIM_OPEN, VFS_SIM_READ};
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << kinds[kind], .code = AEGIS_E_IO});
        EXPECT_CODE(unlisted_remove_empty(&opened, &left), AEGIS_E_IO);
        if (kind == 0) vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_LIST, .code = AEGIS_E_IO});
        if (kind == 0) EXPECT_CODE(unlisted_remove_replaced(&opened), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
        EXPECT(lies_there(sim, "00000005.seg"));
    }
    EXPECT_OK(unlisted_remove_empty(&opened, &left));
    EXPECT(!lies_there(sim, "00000005.seg") && !left);
    log_free(&opened);
    end_directory();
}

/* The active segment has a place as well: a file of it that was rewritten is nothing that anybody made. It goes, like all of a listed place. */
TEST(a_file_of_another_place_with_records_is_still_refused) {
    if (!begin_rewritten(false)) return;
    const aegis_options o = test_options(AEGIS_MODE_WRITE);
    copy_to("kept", "session/00000007-00000001.seg");
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_CODE(store_open(v, "store", &o, &store, NULL), AEGIS_E_CORRUPT);
    EXPECT(message_has("00000007-00000001.seg holds records and the manifest does not name it"));
    EXPECT(lies_there(sim, "00000007-00000001.seg"));
    vfs_sim_free(sim);
}
