/* vfs_sim_disk.c and vfs_sim_cut.c: what a power cut may leave. The rules (1)-(9) are those of vfs_sim.h. */
#include "check.h"

#include "vfs_letters.h"

/* ---- the rules -------------------------------------------------------------------------------------------------------- */

TEST(rule_1_synced_data_stays_and_unsynced_data_may_vanish) {
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    put(file, 0, "B");
    expect_now("a:A|a:B");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:B");
    put(file, 0, "C");
    expect_now("a:B|a:C");
    /* The sync of another file, or of the directory, is none of this one. */
    vfs_file *other = open_file("b");
    EXPECT_OK(v->sync(v, other));
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("a:B b:|a:C b:");
    expect_at(0, "a:A");
    v->close(v, file);
    v->close(v, other);
    end();
}

TEST(rule_2_names_are_durable_after_a_sync_of_their_directory) {
    vfs_dir *dir = NULL;
    vfs_file *below = NULL;
    if (!begin()) return;
    vfs_file *file = open_file("a");
    put(file, 0, "A");
    EXPECT_OK(v->sync(v, file));
    expect_now("-|a:A");
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("a:A");
    EXPECT_OK(v->unlink(v, root, "a"));
    expect_now("-|a:A");
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("-");
    v->close(v, file);
    /* A name below a directory whose own name is not durable. */
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    EXPECT_OK(v->open(v, dir, "b", VFS_WRITE | VFS_CREATE, &below));
    EXPECT_OK(v->sync_dir(v, dir));
    expect_now("-|d/ d/b:");
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("d/ d/b:");
    v->close(v, below);
    v->close_dir(v, dir);
    end();
}

TEST(rule_2_the_roots_own_name_waits_for_the_directory_above) {
    vfs_sim *whole = vfs_sim_new(3);
    sim = whole;
    v = vfs_sim_vfs(sim);
    EXPECT_OK(v->open_root(v, "store", VFS_CREATE, &root));
    vfs_file *file = open_file("a");
    EXPECT_OK(v->sync_dir(v, root));
    expect_at(0, "none");
    expect_at(1, "none|-");
    expect_now("none|a:");
    EXPECT_OK(v->sync_parent(v, root));
    expect_now("a:");
    v->close(v, file);
    end();
}

TEST(rule_3_any_subset_of_what_was_not_synced_may_be_there) {
    if (!begin()) return;
    vfs_file *a = durable_file("a", "AB"), *b = durable_file("b", "C");
    put(a, 0, "XY");
    put(b, 0, "Z");
    expect_now("a:AB b:C|a:XB b:C|a:AY b:C|a:XY b:C|a:AB b:Z|a:XB b:Z|a:AY b:Z|a:XY b:Z");
    EXPECT_OK(v->sync(v, a));
    EXPECT_OK(v->sync(v, b));
    v->close(v, b);
    EXPECT_OK(v->unlink(v, root, "b"));
    b = open_file("c");
    expect_now("a:XY b:Z|a:XY|a:XY b:Z c:|a:XY c:");
    /* A rename happened or did not: never both names, never neither. */
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_OK(v->rename(v, root, "c", "a"));
    expect_now("a:XY c:|a:");
    v->close(v, a);
    v->close(v, b);
    end();
}

TEST(rule_4_a_sector_holds_one_of_its_versions_whole) {
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    put(file, 0, "B");
    put(file, 0, "C");
    expect_now("a:A|a:B|a:C");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:C");
    /* The same bytes again are nothing new, and no more to try. */
    put(file, 0, "C");
    expect_now("a:C");
    vfs_sim_counts counts;
    images found = all_images(vfs_sim_op_count(sim), SIZE_MAX, NULL, &counts);
    EXPECT_EQ_U64(counts.combinations, 1);
    free(found.texts);
    /* A write inside a sector brings the rest of it along. */
    EXPECT_OK(v->write(v, file, 0, "D", 1));
    EXPECT_OK(v->write(v, file, 1, "D", 1));
    expect_now("a:C|a:?|a:?");
    v->close(v, file);
    end();
}

TEST(rule_5_size_and_data_persist_apart) {
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    put(file, 1, "BC");
    /* Short size: the data is gone. Full size: zeros where the data is not. And a write that stopped half-way. */
    expect_now("a:A|a:A..|a:AB.|a:A.C|a:ABC|a:AB");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:ABC");
    put_short(file, 3, "D", 412);
    expect_now("a:ABC|a:ABC.+100|a:ABCD+100");
    EXPECT_OK(v->sync(v, file));
    EXPECT_OK(v->allocate(v, file, 0, 5 * SECTOR));
    /* Two sizes pending: the disk has one of three. */
    put(file, 5, "E");
    expect_now("a:ABCD+100|a:ABC?.|a:ABC?..|a:ABC?.E");
    v->close(v, file);
    end();
}

TEST(rule_5_a_shorter_write_never_shrinks_the_file) {
    if (!begin()) return;
    vfs_file *file = durable_file("a", "AB");
    put(file, 0, "XYZ");
    expect_now("a:AB|a:XB|a:AY|a:XY|a:AB.|a:XB.|a:AY.|a:XY.|a:ABZ|a:XBZ|a:AYZ|a:XYZ");
    v->close(v, file);
    end();
}

TEST(rule_6_truncation_takes_the_data_when_the_size_persists) {
    if (!begin()) return;
    vfs_file *file = durable_file("a", "ABC");
    EXPECT_OK(v->truncate(v, file, SECTOR));
    expect_now("a:ABC|a:A");
    /* What lay there does not come back by growing; what is written after the cut is no more durable than ever. */
    EXPECT_OK(v->truncate(v, file, 3 * SECTOR));
    expect_now("a:ABC|a:A|a:A..");
    put(file, 2, "D");
    expect_now("a:ABC|a:ABD|a:A|a:A..|a:A.D");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:A.D");
    /* A write before the cut is pending too: the cut takes it where both persist. */
    put(file, 2, "E");
    EXPECT_OK(v->truncate(v, file, 2 * SECTOR + 100));
    expect_now("a:A.D|a:A.E|a:A.D+100|a:A.E+100");
    EXPECT_OK(v->sync(v, file));
    EXPECT_OK(v->truncate(v, file, 3 * SECTOR));
    EXPECT_OK(v->sync(v, file));
    expect_now("a:A.?");
    v->close(v, file);
    end();
}

TEST(rule_7_a_failed_sync_loses_the_data_silently) {
    uint8_t in[1];
    size_t got = 0;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "AB");
    put(file, 0, "X");
    fail_next_sync(file);
    put(file, 1, "Y");
    /* The running system shows the bytes, and the next sync says OK, but means the second sector only. */
    EXPECT_OK(v->read(v, file, 0, in, 1, &got));
    EXPECT_BYTES(in, "X", 1);
    EXPECT_OK(v->sync(v, file));
    expect_now("a:AY|a:XY");
    /* Written again, it is durable after a sync. */
    put(file, 0, "X");
    expect_now("a:AY|a:XY");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:XY");
    /* A size that grew shares the fate of the write until the end is reached again. */
    put(file, 2, "Z");
    fail_next_sync(file);
    EXPECT_OK(v->sync(v, file));
    expect_now("a:XY|a:XY.|a:XYZ");
    put(file, 2, "Z");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:XYZ");
    /* A truncation is not data: the next sync that succeeds has it. */
    EXPECT_OK(v->truncate(v, file, SECTOR + 100));
    fail_next_sync(file);
    expect_now("a:XYZ|a:XY+100");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:XY+100");
    v->close(v, file);
    end();
}

TEST(rule_7_data_may_be_durable_past_a_size_that_is_in_doubt) {
    if (!begin()) return;
    vfs_file *file = open_file("a");
    put_short(file, 0, "A", 412);
    EXPECT_OK(vfs_sim_settle(sim, true));
    put(file, 0, "BCD");
    fail_next_sync(file);
    /* The first two sectors are written again, the end is not. */
    put(file, 0, "BC");
    EXPECT_OK(v->sync(v, file));
    expect_now("a:B+100|a:B|a:BC|a:BC.|a:BCD");
    exact = true;
    expect_distinct(0, SIZE_MAX);
    exact = false;
    v->close(v, file);
    end();
}

TEST(what_no_disk_can_name_is_not_tried) {
    vfs_sim_counts counts;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    EXPECT_OK(v->unlink(v, root, "a"));
    EXPECT_OK(v->sync_dir(v, root));
    put(file, 0, "BCDEF");
    images found = all_images(vfs_sim_op_count(sim), SIZE_MAX, NULL, &counts);
    EXPECT_EQ_U64(found.count, 1);
    EXPECT_EQ_U64(counts.combinations, 1);
    free(found.texts);
    v->close(v, file);
    end();
}

TEST(rule_7_a_failed_sync_of_a_directory_leaves_its_names_in_doubt) {
    if (!begin()) return;
    vfs_file *a = durable_file("a", "A"), *b = open_file("b");
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC_DIR, .system_errno = EIO});
    EXPECT_CODE(v->sync_dir(v, root), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    vfs_file *c = open_file("c");
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("a:A c:|a:A b: c:");
    /* What is done to the name afterwards decides. */
    EXPECT_OK(v->rename(v, root, "b", "d"));
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("a:A c: d:");
    v->close(v, a);
    v->close(v, b);
    v->close(v, c);
    end();
}

TEST(rule_8_a_rename_takes_the_file_under_whatever_name_the_disk_has_it) {
    if (!begin()) return;
    vfs_file *file = open_file("a");
    EXPECT_OK(v->rename(v, root, "a", "b"));
    EXPECT_OK(v->rename(v, root, "b", "c"));
    expect_now("-|a:|b:|c:");
    EXPECT_OK(v->unlink(v, root, "c"));
    expect_now("-|a:|b:|c:");
    v->close(v, file);
    end();
}

/* ---- planted bugs ----------------------------------------------------------------------------------------------------- */

/* Writes, syncs, then says that it did. */
static void write_and_acknowledge(vfs_file *file) {
    put(file, 0, "B");
    EXPECT_OK(v->sync(v, file));
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_ACK, 1, NULL, 0));
}

/* Each of two sectors that were being changed may be what it was, what it was to be, or garbage. */
TEST(rule_9_a_sector_that_was_being_changed_may_hold_garbage_where_asked_for) {
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "AB");
    put(file, 0, "XY");
    limits.garbage = true;
    images found = all_images(1, 1, &limits, NULL);
    EXPECT_EQ_U64(found.count, 9);
    const char *wanted[] = {"a:AB", "a:XB", "a:AY", "a:XY", "a:?B", "a:?Y", "a:A?", "a:X?", "a:??"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) EXPECT(has(&found, wanted[i]));
    free(found.texts);
    /* Written again as it was, and synced: neither is in doubt. */
    EXPECT_OK(v->sync(v, file));
    put(file, 0, "XY");
    found = all_images(3, 3, &limits, NULL);
    EXPECT_EQ_U64(found.count, 1);
    free(found.texts);
    v->close(v, file);
    end();
}

TEST(a_missing_sync_shows_after_the_acknowledgement) {
    if (!begin()) return;
    vfs_file *file = durable_file("a.seg", "A");
    write_and_acknowledge(file);
    expect_now("a.seg:B");
    EXPECT_OK(vfs_sim_drop_sync(sim, "b*"));
    put(file, 0, "C");
    write_and_acknowledge(file);
    expect_now("a.seg:B");
    EXPECT_OK(vfs_sim_drop_sync(sim, "*.seg"));
    put(file, 0, "C");
    write_and_acknowledge(file);
    expect_now("a.seg:B|a.seg:C");
    /* The whole interval too: the disk that was right before the acknowledgement is shown again after it. */
    images found = all_images(0, SIZE_MAX, NULL, NULL);
    EXPECT_EQ_U64(found.count, 2 + 2 + 2 + 2);
    free(found.texts);
    EXPECT_OK(vfs_sim_drop_sync(sim, NULL));
    EXPECT_OK(v->sync(v, file));
    expect_now("a.seg:B");
    v->close(v, file);
    end();
}

TEST(a_pattern_is_of_the_path_or_of_the_last_name) {
    vfs_dir *dir = NULL;
    vfs_file *file = NULL;
    if (!begin()) return;
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    EXPECT_OK(v->open(v, dir, "a", VFS_WRITE | VFS_CREATE, &file));
    EXPECT_OK(vfs_sim_settle(sim, true));
    static const char *const patterns[] = {"a", "d/a", "?/a"};
    for (size_t i = 0; i < 3; i++) {
        char letters[2] = {(char)('B' + i), 0};
        EXPECT_OK(vfs_sim_drop_sync(sim, patterns[i]));
        put(file, i, letters);
        EXPECT_OK(v->sync(v, file));
        EXPECT(vfs_sim_op_at(sim, vfs_sim_op_count(sim) - 1)->dropped);
    }
    v->close(v, file);
    v->close_dir(v, dir);
    end();
}

TEST(a_missing_sync_of_a_directory_shows) {
    if (!begin()) return;
    vfs_sim_drop_dir_sync(sim, true);
    vfs_file *file = open_file("a");
    write_and_acknowledge(file);
    expect_now("-|a:B");
    vfs_sim_drop_dir_sync(sim, false);
    EXPECT_OK(v->sync_dir(v, root));
    expect_now("a:B");
    v->close(v, file);
    end();
}
