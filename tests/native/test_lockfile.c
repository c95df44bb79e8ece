/* lockfile.c: who writes, who reads, how far readers may serve, and what the next process must know. */
#include "lockfile.h"
#include "scopes.h"

static lockfile held;
static bool poisoned;

static const uint64_t SIZES[AEGIS_TIERS + 1] = {0, 10, 0, UINT64_MAX / 3, 1};

static bool begin_writing(void) {
    return begin(1) && EXPECT_OK(lockfile_open_writer(&held, v, root, &poisoned)) && EXPECT_OK(lockfile_begin(&held, SIZES));
}

static lock_view view_now(void) {
    lockfile reader;
    lock_view seen = {.live = false};
    EXPECT_OK(lockfile_open_reader(&reader, v, root));
    EXPECT_OK(lockfile_view(&reader, &seen));
    lockfile_close(&reader);
    return seen;
}

static void end_writing(void) {
    lockfile_close(&held);
    end();
}

TEST(a_reader_sees_the_writer_and_its_sizes) {
    if (!begin_writing()) return;
    EXPECT(!poisoned);
    lock_view seen = view_now();
    EXPECT(seen.live && !seen.poisoned);
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) EXPECT_EQ_U64(seen.sizes[t], SIZES[t]);
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) lockfile_publish(&held, t, 1000 * t);
    lockfile_publish(&held, 2, 77);
    seen = view_now();
    EXPECT(seen.live);
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) EXPECT_EQ_U64(seen.sizes[t], t == 2 ? 77 : 1000 * t);
    lockfile_close(&held);
    seen = view_now();
    EXPECT(!seen.live);
    EXPECT_EQ_U64(seen.sizes[1], 1000);
    end();
}

TEST(the_file_is_what_the_format_shows) {
    uint8_t bytes[300];
    size_t got = 0;
    if (!begin_writing()) return;
    EXPECT_OK(vfs_sim_get(sim, "LOCK", 0, bytes, sizeof bytes, &got));
    EXPECT_EQ_U64(got, 256);
    EXPECT_BYTES(bytes, "AEGISLCK", 8);
    EXPECT(all_zero(bytes + 8, 8));
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) {
        EXPECT_EQ_U64(load_u64(bytes + 16 * t), SIZES[t]);
        EXPECT_EQ_U64(load_u64(bytes + 16 * t + 8), ~SIZES[t]);
    }
    EXPECT_STRING((char *)bytes + 80, "pid 1 on a simulated machine");
    lockfile_poison(&held);
    EXPECT_OK(vfs_sim_get(sim, "LOCK", 0, bytes, sizeof bytes, &got));
    EXPECT_BYTES(bytes + 8, "POISONED", 8);
    end_writing();
}

TEST(a_second_writer_is_told_who_holds_the_store) {
    lockfile second;
    uint8_t holder[176];
    if (!begin_writing()) return;
    size_t handles = vfs_sim_open_count(sim);
    EXPECT_CODE(lockfile_open_writer(&second, v, root, &poisoned), AEGIS_E_LOCKED);
    EXPECT(message_has("pid 1 on a simulated machine"));
    EXPECT(said_path("LOCK"));
    EXPECT(second.file == NULL);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    /* A holder without an end is cut, one that is empty is somebody. The lock itself goes with no file's content. */
    memset(holder, 'h', sizeof holder);
    EXPECT_OK(vfs_sim_patch(sim, "LOCK", 80, holder, sizeof holder));
    EXPECT_CODE(lockfile_open_writer(&second, v, root, &poisoned), AEGIS_E_LOCKED);
    EXPECT(message_has("hhhhhhhh"));
    EXPECT_OK(vfs_sim_resize(sim, "LOCK", 0));
    EXPECT_CODE(lockfile_open_writer(&second, v, root, &poisoned), AEGIS_E_LOCKED);
    EXPECT(message_has("another process"));
    lockfile_close(&held);
    EXPECT_OK(lockfile_open_writer(&second, v, root, &poisoned));
    lockfile_close(&second);
    end();
}

TEST(a_stale_file_locks_nobody_out) {
    lockfile next;
    if (!begin_writing()) return;
    lockfile_close(&held);    /* as a kill leaves it: everything but the lock */
    EXPECT_OK(lockfile_open_writer(&next, v, root, &poisoned));
    EXPECT(!poisoned);
    lockfile_close(&next);
    end();
}

TEST(the_poison_word_outlives_the_process_until_recovery_is_done) {
    lockfile next;
    vfs_sim *after = NULL;
    vfs_dir *dir = NULL;
    if (!begin_writing()) return;
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_OK(v->sync_dir(v, root));
    lockfile_poison(&held);
    EXPECT(view_now().poisoned);
    EXPECT(!view_now().live);
    EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), VFS_SIM_KEEP_NOTHING, 1, &after));
    vfs *there = vfs_sim_vfs(after);
    EXPECT_OK(there->open_root(there, "store", VFS_READ, &dir));
    EXPECT_OK(lockfile_open_writer(&next, there, dir, &poisoned));
    EXPECT(poisoned);    /* synced */
    lockfile_close(&next);
    there->close_dir(there, dir);
    vfs_sim_free(after);
    lockfile_close(&held);
    for (int again = 0; again < 2; again++) {
        EXPECT_OK(lockfile_open_writer(&next, v, root, &poisoned));
        EXPECT(poisoned);
        if (again == 1) EXPECT_OK(lockfile_begin(&next, SIZES));
        lockfile_close(&next);
    }
    EXPECT_OK(lockfile_open_writer(&next, v, root, &poisoned));
    EXPECT(!poisoned);
    lockfile_close(&next);
    end();
}

TEST(a_size_that_was_read_while_it_was_written_is_ignored) {
    uint8_t old[16], new[16], torn[16];
    if (!begin_writing()) return;
    store_u64(old, 0x1111111111111111);
    store_u64(old + 8, ~0x1111111111111111u);
    store_u64(new, 0x2233445566778899);
    store_u64(new + 8, ~0x2233445566778899u);
    for (unsigned n = 0; n <= 16; n++) {
        memcpy(torn, old, 16);
        memcpy(torn, new, n);
        EXPECT_OK(vfs_sim_patch(sim, "LOCK", 32, torn, 16));
        lock_view seen = view_now();
        EXPECT_EQ_U64(seen.sizes[2], n == 0 ? 0x1111111111111111 : n == 16 ? 0x2233445566778899 : 0);
        EXPECT_EQ_U64(seen.sizes[1], SIZES[1]);
        EXPECT_EQ_U64(seen.sizes[3], SIZES[3]);
    }
    end_writing();
}

TEST(a_file_without_the_magic_or_cut_short_speaks_for_nobody) {
    uint8_t byte = 'B';
    if (!begin_writing()) return;
    for (uint64_t size = 255; size > 0; size--) {
        EXPECT_OK(vfs_sim_resize(sim, "LOCK", size));
        lock_view seen = view_now();
        EXPECT(seen.live == (size >= 8));
        for (uint32_t t = 1; t <= AEGIS_TIERS; t++) EXPECT_EQ_U64(seen.sizes[t], size >= 16 * t + 16 ? SIZES[t] : 0);
    }
    EXPECT_OK(lockfile_begin(&held, SIZES));
    EXPECT_OK(vfs_sim_patch(sim, "LOCK", 0, &byte, 1));
    EXPECT(!view_now().live);
    end_writing();
}

TEST(readers_lock_beside_the_writer_and_each_other) {
    lockfile one, two;
    if (!begin_writing()) return;
    EXPECT_OK(lockfile_open_reader(&one, v, root));
    EXPECT_OK(lockfile_open_reader(&two, v, root));
    /* Whoever wants to know whether somebody still reads asks for byte 1 alone. */
    EXPECT_CODE(v->lock(v, held.file, 1, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    lockfile_close(&one);
    EXPECT_CODE(v->lock(v, held.file, 1, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    lockfile_close(&two);
    EXPECT_OK(v->lock(v, held.file, 1, VFS_EXCLUSIVE_LOCK));
    end_writing();
}

TEST(a_copy_without_the_file_is_read_all_the_same) {
    lockfile reader;
    lock_view seen;
    if (!begin(1)) return;
    EXPECT_OK(lockfile_open_reader(&reader, v, root));
    EXPECT(reader.file == NULL);
    EXPECT_OK(lockfile_view(&reader, &seen));
    EXPECT(!seen.live && !seen.poisoned);
    for (uint32_t t = 0; t <= AEGIS_TIERS; t++) EXPECT_EQ_U64(seen.sizes[t], 0);
    lockfile_close(&reader);
    EXPECT_CODE(vfs_sim_file_size(sim, "LOCK", &(uint64_t){0}), AEGIS_E_NOTFOUND);    /* reading makes none */
    end();
}

TEST(what_the_system_refuses_is_said) {
    lockfile next;
    if (!begin(1)) return;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_IO});
        EXPECT_CODE(lockfile_open_writer(&next, v, root, &poisoned), AEGIS_E_IO);
        EXPECT(next.file == NULL);
        vfs_sim_fail(sim, NULL);
    }
    EXPECT_OK(lockfile_open_writer(&next, v, root, &poisoned));
    for (uint64_t nth = 1; nth <= 2; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_NOSPACE});
        EXPECT_CODE(lockfile_begin(&next, SIZES), AEGIS_E_NOSPACE);
        vfs_sim_fail(sim, NULL);
    }
    EXPECT_OK(lockfile_begin(&next, SIZES));
    /* A size that could not be published keeps readers behind, and nothing else. */
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .code = AEGIS_E_IO});
    lockfile_publish(&next, 1, 500);
    vfs_sim_fail(sim, NULL);
    EXPECT_EQ_U64(view_now().sizes[1], SIZES[1]);
    lockfile_close(&next);
    end();
}
