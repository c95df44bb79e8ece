/* vfs_sim.c, vfs_sim_machine.c and vfs_sim_outside.c: the simulated machine while it runs. What a power cut leaves of it is in
 * test_vfs_sim_crash.c. */
#include "check.h"

#include <errno.h>
#include <pthread.h>

#include "vfs_sim.h"

static vfs_sim *sim;
static vfs *v;
static vfs_dir *root;

static bool begin(void) {
    sim = vfs_sim_new(1);
    if (!EXPECT(sim != NULL)) return false;
    v = vfs_sim_vfs(sim);
    return EXPECT_OK(v->open_root(v, "store", VFS_CREATE, &root));
}

/* Everything that was opened was closed again. */
static void end(void) {
    v->close_dir(v, root);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static vfs_file *file_named(const char *name, unsigned flags) {
    vfs_file *file = NULL;
    EXPECT_OK(v->open(v, root, name, flags, &file));
    return file;
}

static vfs_file *new_file(const char *name) { return file_named(name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE); }

static bool holds(vfs_sim *where, const char *path, const char *text) {
    char in[256] = "";
    size_t got = 0;
    if (!EXPECT_OK(vfs_sim_get(where, path, 0, in, sizeof in - 1, &got))) return false;
    in[got] = '\0';
    return EXPECT_STRING(in, text);
}

/* ---- the same contract as vfs_posix ----------------------------------------------------------------------------------- */

TEST(what_is_written_is_read) {
    uint8_t out[9000], in[9000];
    uint64_t seed = 1, size = 0;
    size_t got = 0;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    fill_random(&seed, out, sizeof out);
    EXPECT_OK(v->write(v, file, 1000, out, sizeof out));
    EXPECT_OK(v->read(v, file, 1000, in, sizeof in, &got));
    EXPECT_EQ_U64(got, sizeof in);
    EXPECT_BYTES(in, out, sizeof in);
    EXPECT_OK(v->read(v, file, 0, in, 1000, &got));
    EXPECT(all_zero(in, 1000));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 10000);
    EXPECT_OK(v->read(v, file, 9990, in, 100, &got));
    EXPECT_EQ_U64(got, 10);
    EXPECT_OK(v->read(v, file, 10000, in, 100, &got));
    EXPECT_EQ_U64(got, 0);
    EXPECT_OK(v->truncate(v, file, 5000));
    EXPECT_OK(v->allocate(v, file, 4000, 4000));
    EXPECT_OK(v->read(v, file, 4990, in, 4000, &got));
    EXPECT_EQ_U64(got, 3010);
    EXPECT_BYTES(in, out + 3990, 10);
    EXPECT(all_zero(in + 10, 3000));
    EXPECT_OK(v->allocate(v, file, 0, 10));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 8000);
    v->close(v, file);
    file = file_named("a", VFS_READ);
    EXPECT_CODE(v->write(v, file, 0, "a", 1), AEGIS_E_READONLY);
    EXPECT_CODE(v->truncate(v, file, 0), AEGIS_E_READONLY);
    EXPECT_CODE(v->allocate(v, file, 0, 1), AEGIS_E_READONLY);
    EXPECT_CODE(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_READONLY);
    v->close(v, file);
    end();
}

static int count_names(void *context, const char *name) {
    (void)name;
    return ++*(int *)context == 3 ? AEGIS_E_RANGE : AEGIS_OK;
}

TEST(names_behave) {
    vfs_file *file = NULL;
    vfs_dir *dir = NULL;
    uint8_t in[8];
    size_t got = 0;
    int count = 0;
    if (!begin()) return;
    EXPECT_CODE(v->open(v, root, "a", VFS_WRITE, &file), AEGIS_E_NOTFOUND);
    vfs_file *a = new_file("a"), *b = new_file("b");
    EXPECT_CODE(v->open(v, root, "a", VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file), AEGIS_E_EXISTS);
    EXPECT_CODE(v->open(v, root, "x/y", VFS_READ, &file), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->open(v, root, "..", VFS_READ, &file), AEGIS_E_ARGUMENT);
    EXPECT_OK(v->write(v, a, 0, "old", 3));
    EXPECT_OK(v->write(v, b, 0, "new", 3));
    EXPECT_OK(v->rename(v, root, "b", "a"));
    EXPECT(holds(sim, "a", "new"));
    EXPECT_CODE(v->rename(v, root, "b", "a"), AEGIS_E_NOTFOUND);
    /* Who has a file open keeps it. */
    EXPECT_OK(v->read(v, a, 0, in, 3, &got));
    EXPECT_BYTES(in, "old", 3);
    EXPECT_OK(v->unlink(v, root, "a"));
    EXPECT_CODE(v->unlink(v, root, "a"), AEGIS_E_NOTFOUND);
    EXPECT_OK(v->write(v, b, 3, "er", 2));
    EXPECT_OK(v->read(v, b, 0, in, 5, &got));
    EXPECT_BYTES(in, "newer", 5);
    v->close(v, a);
    v->close(v, b);
    EXPECT_CODE(v->open_dir(v, root, "d", VFS_READ, &dir), AEGIS_E_NOTFOUND);
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    EXPECT_OK(v->open(v, dir, "c", VFS_WRITE | VFS_CREATE, &file));
    v->close(v, file);
    EXPECT_CODE(v->open(v, root, "d", VFS_READ, &file), AEGIS_E_NOTSTORE);
    v->close(v, new_file("e"));
    v->close(v, new_file("f"));
    EXPECT_CODE(v->list(v, root, count_names, &count), AEGIS_E_RANGE);
    EXPECT_EQ_U64((uint64_t)count, 3);
    v->close_dir(v, dir);
    end();
}

TEST(the_root_is_made_only_where_asked) {
    vfs_dir *again = NULL;
    vfs_sim *empty = vfs_sim_new(2);
    vfs *e = vfs_sim_vfs(empty);
    EXPECT_CODE(e->open_root(e, "store", VFS_READ, &again), AEGIS_E_NOTFOUND);
    EXPECT_OK(e->open_root(e, "store", VFS_CREATE | VFS_EXCLUSIVE, &again));
    e->close_dir(e, again);
    EXPECT_CODE(e->open_root(e, "store", VFS_CREATE | VFS_EXCLUSIVE, &again), AEGIS_E_EXISTS);
    vfs_sim_set_place(empty, false, true);
    EXPECT_OK(e->open_root(e, "store", VFS_READ, &again));
    EXPECT_EQ_U64(vfs_sim_open_count(empty), 1);
    /* A handle that a broken workload left open goes with the machine. */
    vfs_sim_free(empty);
}

TEST(locks_exclude_handles) {
    bool held = true;
    if (!begin()) return;
    vfs_file *a = new_file("LOCK"), *b = file_named("LOCK", VFS_WRITE), *reader = file_named("LOCK", VFS_READ);
    EXPECT_OK(v->lock(v, a, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_OK(v->lock(v, a, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_CODE(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_CODE(v->lock(v, b, 0, VFS_SHARED), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, reader, 0, &held));
    EXPECT(held);
    EXPECT_OK(v->lock_held(v, a, 0, &held));
    EXPECT(!held);
    EXPECT_OK(v->lock(v, b, 1, VFS_SHARED));
    EXPECT_OK(v->lock(v, reader, 1, VFS_SHARED));
    EXPECT_CODE(v->lock(v, a, 1, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, a, 1, &held));
    EXPECT(!held);
    v->close(v, a);
    EXPECT_OK(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_OK(v->lock(v, b, 0, VFS_UNLOCK));
    EXPECT_OK(v->lock_held(v, reader, 0, &held));
    EXPECT(!held);
    v->close(v, b);
    v->close(v, reader);
    end();
}

TEST(the_machine_is_what_it_was_told_to_be) {
    uint8_t a[20] = {0}, b[20] = {0}, c[20];
    char text[64];
    vfs_place_info info;
    vfs_file *file = NULL;
    if (!begin()) return;
    EXPECT_EQ_U64(v->clock_ms(v), 0);
    vfs_sim_set_clock(sim, 1234);
    EXPECT_EQ_U64(v->clock_ms(v), 1234);
    EXPECT_OK(v->random(v, a, sizeof a));
    EXPECT_OK(v->random(v, b, sizeof b));
    EXPECT(memcmp(a, b, sizeof a) != 0 && memcmp(a, a + 8, 8) != 0);
    vfs_sim *twin = vfs_sim_new(1), *other = vfs_sim_new(2);
    EXPECT_OK(vfs_sim_vfs(twin)->random(vfs_sim_vfs(twin), c, sizeof c));
    EXPECT_BYTES(c, a, sizeof a);
    EXPECT_OK(vfs_sim_vfs(other)->random(vfs_sim_vfs(other), c, sizeof c));
    EXPECT(memcmp(a, c, sizeof a) != 0);
    vfs_sim_free(twin);
    vfs_sim_free(other);
    v->identify(v, text, sizeof text);
    EXPECT_STRING(text, "pid 1 on a simulated machine");
    v->close(v, new_file("a"));
    vfs_sim_set_place(sim, true, true);
    EXPECT_OK(v->place(v, root, &info));
    EXPECT(info.network && info.read_only && info.free_bytes == UINT64_MAX);
    EXPECT_CODE(v->open(v, root, "a", VFS_WRITE, &file), AEGIS_E_READONLY);
    EXPECT_CODE(v->unlink(v, root, "a"), AEGIS_E_READONLY);
    v->close(v, file_named("a", VFS_READ));
    end();
}

/* ---- the record ------------------------------------------------------------------------------------------------------- */

TEST(every_operation_is_on_record_with_its_bytes) {
    vfs_dir *dir = NULL;
    vfs_file *file = NULL;
    char text[200];
    static const char *const expected[] = {
        "0 make directory ", "1 sync above ", "2 make directory session", "3 create session/a", "4 mark 1 of 7",
        "5 write session/a 3+5", "6 allocate session/a 0+4096", "7 sync session/a", "8 mark 2 of 7", "9 truncate session/a to 8",
        "10 rename session/a to session/b", "11 sync directory session", "12 remove session/b",
    };
    if (!begin()) return;
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_OK(v->open_dir(v, root, "session", VFS_CREATE, &dir));
    EXPECT_OK(v->open(v, dir, "a", VFS_WRITE | VFS_CREATE, &file));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_SUBMIT, 7, NULL, 0));
    EXPECT_OK(v->write(v, file, 3, "hello", 5));
    EXPECT_OK(v->write(v, file, 3, "", 0));
    EXPECT_OK(v->allocate(v, file, 0, 4096));
    EXPECT_OK(v->sync(v, file));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_ACK, 7, "root", 4));
    EXPECT_OK(v->truncate(v, file, 8));
    EXPECT_OK(v->rename(v, dir, "a", "b"));
    EXPECT_OK(v->sync_dir(v, dir));
    EXPECT_OK(v->unlink(v, dir, "b"));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        vfs_sim_op_text(sim, i, text, sizeof text);
        EXPECT_STRING(text, expected[i]);
    }
    EXPECT_BYTES(vfs_sim_op_at(sim, 5)->bytes, "hello", 5);
    EXPECT_BYTES(vfs_sim_op_at(sim, 8)->bytes, "root", 4);
    EXPECT(vfs_sim_op_at(sim, 13) == NULL);
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    EXPECT_OK(vfs_sim_settle(sim, false));
    EXPECT_OK(v->sync_dir(v, dir));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    v->close(v, file);
    v->close_dir(v, dir);
    end();
}

/* ---- faults ----------------------------------------------------------------------------------------------------------- */

TEST(the_nth_call_fails_once_or_for_ever) {
    if (!begin()) return;
    vfs_file *file = new_file("a");
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 2, .code = AEGIS_E_IO});
    EXPECT_OK(v->write(v, file, 0, "a", 1));
    EXPECT_CODE(v->sync(v, file), AEGIS_E_IO);
    EXPECT_OK(v->sync(v, file));
    EXPECT_EQ_U64(vfs_sim_fault_hits(sim), 1);
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 2, .system_errno = EMFILE, .forever = true, .kinds = 1u << VFS_SIM_OPEN});
    v->close(v, file_named("a", VFS_READ));
    EXPECT_OK(v->sync(v, file));
    vfs_file *other = NULL;
    EXPECT_CODE(v->open(v, root, "a", VFS_READ, &other), AEGIS_E_DESCRIPTORS);
    EXPECT_CODE(v->open(v, root, "b", VFS_WRITE | VFS_CREATE, &other), AEGIS_E_DESCRIPTORS);
    EXPECT_EQ_U64(vfs_sim_fault_hits(sim), 2);
    vfs_sim_fail(sim, NULL);
    EXPECT_CODE(v->open(v, root, "b", VFS_READ, &other), AEGIS_E_NOTFOUND);
    v->close(v, file);
    end();
}

/* One call of each kind; the number of them that failed. */
static unsigned call_everything(void) {
    unsigned failed = 0;
    uint8_t in[4];
    size_t got;
    uint64_t size;
    bool held;
    int names = 10;
    vfs_place_info info;
    vfs_dir *again = NULL, *dir = NULL;
    vfs_file *file = NULL;
    failed += v->open_root(v, "store", VFS_READ, &again) != AEGIS_OK;
    failed += v->open_dir(v, root, "d", VFS_CREATE, &dir) != AEGIS_OK;
    if (v->open(v, root, "a", VFS_WRITE | VFS_CREATE, &file) != AEGIS_OK) failed++;
    else {
        failed += v->write(v, file, 0, "abc", 3) != AEGIS_OK;
        failed += v->read(v, file, 0, in, 3, &got) != AEGIS_OK;
        failed += v->allocate(v, file, 0, 3) != AEGIS_OK;
        failed += v->sync(v, file) != AEGIS_OK;
        failed += v->truncate(v, file, 2) != AEGIS_OK;
        failed += v->size(v, file, &size) != AEGIS_OK;
        failed += v->lock(v, file, 0, VFS_SHARED) != AEGIS_OK;
        failed += v->lock_held(v, file, 0, &held) != AEGIS_OK;
        bool renamed = v->rename(v, root, "a", "b") == AEGIS_OK;
        failed += !renamed;
        failed += v->unlink(v, root, renamed ? "b" : "a") != AEGIS_OK;
    }
    failed += v->sync_dir(v, root) != AEGIS_OK;
    failed += v->sync_parent(v, root) != AEGIS_OK;
    failed += v->list(v, root, count_names, &names) != AEGIS_OK;
    failed += v->place(v, root, &info) != AEGIS_OK;
    failed += v->random(v, in, 4) != AEGIS_OK;
    v->close(v, file);
    v->close_dir(v, dir);
    v->close_dir(v, again);
    return failed;
}

TEST(every_call_can_be_failed_in_turn) {
    if (!begin()) return;
    uint64_t before = vfs_sim_calls(sim);
    EXPECT_EQ_U64(call_everything(), 0);
    uint64_t calls = vfs_sim_calls(sim) - before;
    EXPECT_EQ_U64(calls, 18);
    for (uint64_t n = 1; n <= calls; n++) {
        (void)v->unlink(v, root, "a");
        (void)v->unlink(v, root, "b");
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = n, .code = AEGIS_E_IO});
        EXPECT_EQ_U64(call_everything(), 1);
        EXPECT_EQ_U64(vfs_sim_fault_hits(sim), 1);
        vfs_sim_fail(sim, NULL);
    }
    end();
}

TEST(a_failing_write_may_put_a_part) {
    if (!begin()) return;
    vfs_file *file = new_file("a");
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_WRITE, .code = AEGIS_E_IO, .written_bytes = 2});
    EXPECT_CODE(v->write(v, file, 0, "abcd", 4), AEGIS_E_IO);
    EXPECT(holds(sim, "a", "ab"));
    EXPECT_EQ_U64(vfs_sim_op_at(sim, vfs_sim_op_count(sim) - 1)->length, 2);
    v->close(v, file);
    end();
}

TEST(a_full_disk_takes_what_fits_and_works_again_with_space) {
    uint64_t size = 0;
    vfs_place_info info;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    vfs_sim_set_space(sim, 6);
    EXPECT_OK(v->write(v, file, 0, "abcd", 4));
    EXPECT_OK(v->write(v, file, 0, "wxyz", 4));
    EXPECT_CODE(v->allocate(v, file, 0, 7), AEGIS_E_NOSPACE);
    EXPECT_CODE(v->write(v, file, 2, "123456", 6), AEGIS_E_NOSPACE);
    EXPECT(holds(sim, "a", "wx1234"));
    EXPECT_CODE(v->write(v, file, 20, "x", 1), AEGIS_E_NOSPACE);
    EXPECT_OK(v->place(v, root, &info));
    EXPECT_EQ_U64(info.free_bytes, 0);
    EXPECT_OK(v->truncate(v, file, 5));
    EXPECT_OK(v->write(v, file, 5, "!", 1));
    EXPECT(holds(sim, "a", "wx123!"));
    /* Removing gives back once the last handle is gone. */
    EXPECT_OK(v->unlink(v, root, "a"));
    EXPECT_OK(v->place(v, root, &info));
    EXPECT_EQ_U64(info.free_bytes, 0);
    v->close(v, file);
    EXPECT_OK(v->place(v, root, &info));
    EXPECT_EQ_U64(info.free_bytes, 6);
    file = new_file("b");
    vfs_sim_set_space(sim, 100);
    EXPECT_OK(v->allocate(v, file, 0, 100));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 100);
    v->close(v, file);
    end();
}

/* ---- from outside ----------------------------------------------------------------------------------------------------- */

static int join_names(void *context, const char *path) {
    strcat(strcat(context, path), " ");
    return AEGIS_OK;
}

TEST(the_disk_can_be_read_and_changed_from_outside) {
    char list[200] = "", text[200];
    uint64_t size = 0;
    size_t got = 0;
    vfs_dir *dir = NULL;
    if (!begin()) return;
    EXPECT_OK(v->open_dir(v, root, "session", VFS_CREATE, &dir));
    v->close_dir(v, dir);
    EXPECT_OK(vfs_sim_patch(sim, "session/00.seg", 2, "abc", 3));
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST", 0, "m", 1));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    EXPECT_CODE(vfs_sim_patch(sim, "gone/a", 0, "m", 1), AEGIS_E_NOTFOUND);
    EXPECT_CODE(vfs_sim_patch(sim, "MANIFEST/a", 0, "m", 1), AEGIS_E_NOTSTORE);
    EXPECT_CODE(vfs_sim_patch(sim, "session", 0, "m", 1), AEGIS_E_NOTSTORE);
    EXPECT_OK(vfs_sim_files(sim, join_names, list));
    EXPECT_STRING(list, "MANIFEST session/ session/00.seg ");
    EXPECT_OK(vfs_sim_file_size(sim, "session/00.seg", &size));
    EXPECT_EQ_U64(size, 5);
    EXPECT_OK(vfs_sim_get(sim, "session/00.seg", 1, text, 3, &got));
    EXPECT_BYTES(text, "\0ab", 3);
    EXPECT_OK(vfs_sim_resize(sim, "session/00.seg", 3));

    vfs_sim *copy = vfs_sim_clone(sim);
    EXPECT(vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_OK(vfs_sim_patch(copy, "session/00.seg", 2, "A", 1));
    EXPECT(!vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_STRING(text, "session/00.seg: byte 2 is 61 and 41");
    EXPECT_OK(vfs_sim_copy_file(sim, "session/00.seg", copy, "session/00.seg"));
    EXPECT(vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_OK(vfs_sim_copy_file(copy, "MANIFEST", copy, "session/M"));
    EXPECT(!vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_STRING(text, "only one has session/M");
    /* Patching the copy leaves the source alone. */
    EXPECT_OK(vfs_sim_patch(copy, "session/M", 0, "n", 1));
    EXPECT(holds(copy, "MANIFEST", "m"));
    EXPECT_OK(vfs_sim_remove(copy, "session/M"));
    EXPECT(vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_OK(vfs_sim_resize(copy, "MANIFEST", 3));
    EXPECT(!vfs_sim_same(sim, copy, text, sizeof text));
    EXPECT_STRING(text, "MANIFEST: 1 and 3 bytes");
    EXPECT_OK(vfs_sim_remove(copy, "session"));
    EXPECT_CODE(vfs_sim_remove(copy, "session"), AEGIS_E_NOTFOUND);
    list[0] = '\0';
    EXPECT_OK(vfs_sim_files(copy, join_names, list));
    EXPECT_STRING(list, "MANIFEST ");
    vfs_sim_free(copy);
    end();
}

static int note_path(void *context, const char *path, uint64_t sector) {
    char *text = context;
    size_t used = strlen(text);
    if (sector == UINT64_MAX) snprintf(text + used, 200 - used, "%s ", path);
    else snprintf(text + used, 200 - used, "%s:%" PRIu64 " ", path, sector);
    return AEGIS_OK;
}

TEST(two_disks_differ_by_sectors_sizes_and_names) {
    char found[200] = "";
    uint8_t letters[5000];
    vfs_sim *one = vfs_sim_new(1);
    vfs_dir *dir = NULL;
    EXPECT_OK(vfs_sim_vfs(one)->open_root(vfs_sim_vfs(one), "store", VFS_CREATE, &dir));
    memset(letters, 'a', sizeof letters);
    EXPECT_OK(vfs_sim_patch(one, "same", 0, letters, sizeof letters));
    EXPECT_OK(vfs_sim_patch(one, "other", 0, letters, sizeof letters));
    EXPECT_OK(vfs_sim_patch(one, "short", 0, letters, 100));
    vfs_sim *two = vfs_sim_clone(one);
    EXPECT_OK(vfs_sim_differences(one, two, note_path, found));
    EXPECT_STRING(found, "");
    EXPECT_OK(vfs_sim_patch(two, "other", 511, "b", 1));
    EXPECT_OK(vfs_sim_patch(two, "other", 4999, "b", 1));
    EXPECT_OK(vfs_sim_resize(two, "short", 200));
    EXPECT_OK(vfs_sim_patch(two, "new", 0, "b", 1));
    EXPECT_OK(vfs_sim_remove(one, "same"));
    EXPECT_OK(vfs_sim_differences(one, two, note_path, found));
    EXPECT_STRING(found, "new other:0 other:9 same short ");
    vfs_sim_vfs(one)->close_dir(vfs_sim_vfs(one), dir);
    vfs_sim_free(two);
    vfs_sim_free(one);
}

TEST(a_clone_has_a_life_of_its_own) {
    uint8_t a[16], b[16];
    if (!begin()) return;
    vfs_file *file = new_file("a");
    EXPECT_OK(v->write(v, file, 0, "one", 3));
    EXPECT_OK(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK));
    vfs_sim *copy = vfs_sim_clone(sim);
    vfs *c = vfs_sim_vfs(copy);
    EXPECT_EQ_U64(vfs_sim_open_count(copy), 0);
    EXPECT_OK(v->write(v, file, 0, "two", 3));
    EXPECT(holds(copy, "a", "one"));
    vfs_dir *dir = NULL;
    vfs_file *other = NULL;
    EXPECT_OK(c->open_root(c, "store", VFS_READ, &dir));
    EXPECT_OK(c->open(c, dir, "a", VFS_WRITE, &other));
    EXPECT_OK(c->lock(c, other, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_OK(c->unlink(c, dir, "a"));
    EXPECT(holds(sim, "a", "two"));
    EXPECT_OK(c->random(c, a, sizeof a));
    EXPECT_OK(v->random(v, b, sizeof b));
    EXPECT(memcmp(a, b, sizeof a) != 0);
    c->close(c, other);
    c->close_dir(c, dir);
    vfs_sim_free(copy);
    v->close(v, file);
    end();
}

static void *append_many(void *number) {
    char name[16];
    uint8_t byte = (uint8_t) * (int *)number;
    vfs_file *file = NULL;
    snprintf(name, sizeof name, "t%d", *(int *)number);
    EXPECT_OK(v->open(v, root, name, VFS_WRITE | VFS_CREATE, &file));
    for (uint64_t i = 0; i < 500; i++) {
        EXPECT_OK(v->write(v, file, i * 100, &byte, 1));
        if (i % 50 == 0) EXPECT_OK(v->sync(v, file));
        if (i % 100 == 0) {
            vfs_sim *copy = vfs_sim_clone(sim);
            EXPECT_OK(vfs_sim_patch(copy, name, 0, "xyz", 3));
            vfs_sim_free(copy);
        }
    }
    v->close(v, file);
    return NULL;
}

TEST(threads_may_share_a_machine) {
    pthread_t threads[4];
    int numbers[4] = {1, 2, 3, 4};
    if (!begin()) return;
    for (int i = 0; i < 4; i++) EXPECT(pthread_create(&threads[i], NULL, append_many, &numbers[i]) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        char name[16];
        uint8_t byte = 0;
        size_t got = 0;
        uint64_t size = 0;
        snprintf(name, sizeof name, "t%d", numbers[i]);
        EXPECT_OK(vfs_sim_file_size(sim, name, &size));
        EXPECT_EQ_U64(size, 49901);
        EXPECT_OK(vfs_sim_get(sim, name, 49900, &byte, 1, &got));
        EXPECT_EQ_U64(byte, (uint64_t)numbers[i]);
    }
    end();
}
