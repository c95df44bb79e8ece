/* commit.c where the machine fails it: poison, no space, a process that is killed before any change. Every single call of many workloads
 * fails in test_every_call.c. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "stores.h"

#define PAYLOAD 1500u

static uint8_t buffer[600000];

static bool lock_says_poisoned(vfs_sim *sim) {
    char word[9] = "";
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, "LOCK", 8, word, 8, &got));
    return strcmp(word, "POISONED") == 0;
}

/* Records 0 to size - 1 as make_record makes them. */
static bool has_all(aegis_store *store, uint32_t tier, uint64_t size) {
    static aegis_record records[256];
    for (uint64_t i = 0; i < size;) {
        uint32_t count = 0;
        if (!EXPECT_OK(aegis_read_range(store, tier, i, 256, buffer, sizeof buffer, records, &count))) return false;
        for (uint32_t n = 0; n < count; n++, i++) {
            test_record r;
            make_record(tier, i, PAYLOAD, &r);
            if (!EXPECT_EQ_U64(records[n].payload_length, r.payload_length) ||
                !EXPECT_BYTES(buffer + records[n].entry_at, r.entry, r.entry_length) ||
                !EXPECT_BYTES(buffer + records[n].payload_at, r.payload, r.payload_length))
                return false;
        }
    }
    return true;
}

/* ---- poison ----------------------------------------------------------------------------------------------------------- */

typedef struct failure {
    enum vfs_sim_kind kind;
    int code;
    uint64_t written_bytes;
} failure;

TEST(a_failed_write_or_sync_of_a_group_poisons_and_reopening_recovers) {
    static const failure failures[] = {
        {VFS_SIM_WRITE, AEGIS_E_IO, 0},     {VFS_SIM_WRITE, AEGIS_E_IO, 700},   {VFS_SIM_WRITE, AEGIS_E_NOSPACE, 100},
        {VFS_SIM_WRITE, AEGIS_E_IO, 100000}, {VFS_SIM_SYNC, AEGIS_E_IO, 0},      {VFS_SIM_SYNC, AEGIS_E_NOSPACE, 0},
    };
    for (size_t n = 0; n < sizeof failures / sizeof failures[0]; n++) {
        vfs_sim *sim = vfs_sim_new(1);
        aegis_report report;
        aegis_tier_stats stats;
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        for (uint64_t i = 0; i < 10; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
        upkeep_until_idle(store);
        for (uint64_t i = 10; i < 15; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << failures[n].kind, .code = failures[n].code,
                                          .written_bytes = failures[n].written_bytes});
        EXPECT_CODE(aegis_commit(store, SESSION, 12), AEGIS_E_UNKNOWN);
        EXPECT(message_has("record 12 is stored"));
        EXPECT(message_has(aegis_error_name(failures[n].code)));
        vfs_sim_fail(sim, NULL);
        /* Everybody of that group is told the same; nothing is tried again. */
        uint64_t calls = vfs_sim_calls(sim);
        for (uint64_t i = 10; i < 15; i++) EXPECT_CODE(aegis_commit(store, SESSION, i), AEGIS_E_UNKNOWN);
        EXPECT_CODE(append_record(store, SESSION, 15, PAYLOAD), AEGIS_E_POISONED);
        EXPECT(message_has("close the store and open it again"));
        upkeep_until_idle(store);
        EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
        EXPECT_OK(aegis_commit(store, SESSION, 9));
        EXPECT_EQ_U64(size_of(store, SESSION), 10);
        EXPECT(has_all(store, SESSION, 10));
        EXPECT_OK(aegis_stats(store, SESSION, &stats));
        EXPECT_EQ_U64(stats.poisoned, 1);
        EXPECT(lock_says_poisoned(sim));
        /* Another tier goes on. */
        EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
        vfs_sim *before = vfs_sim_clone(sim);
        EXPECT_CODE(aegis_close(store), AEGIS_E_UNKNOWN);    /* of what was queued */
        EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
        /* Closing wrote no end mark to what was poisoned. */
        uint8_t one[SEGMENT_FRAMES], two[SEGMENT_FRAMES];
        size_t got = 0;
        EXPECT_OK(vfs_sim_get(before, "session/00000000.seg", 0, one, sizeof one, &got));
        EXPECT_OK(vfs_sim_get(sim, "session/00000000.seg", 0, two, sizeof two, &got));
        EXPECT_BYTES(two, one, sizeof one);
        vfs_sim_free(before);
        EXPECT(lock_says_poisoned(sim));
        store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, &report);
        if (store == NULL) return;
        EXPECT(!lock_says_poisoned(sim));
        EXPECT(report.tiers[1].flags & AEGIS_VERDICT_POISON);
        EXPECT(!(report.tiers[1].flags & AEGIS_VERDICT_CLEAN));
        uint64_t size = size_of(store, SESSION);
        EXPECT(size == 10 || size == 15);
        EXPECT(has_all(store, SESSION, size));
        EXPECT(has_all(store, AEGIS_TIER_AUDIT, 1));
        EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
        EXPECT_OK(aegis_close(store));
        vfs_sim_free(sim);
    }
}

enum { THREADS = 8, EACH = 60 };

typedef struct worker {
    aegis_store *store;
    uint64_t acknowledged[EACH];
    uint32_t count, unknown, poisoned;
} worker;

static void *append_until_poisoned(void *context) {
    worker *w = context;
    for (uint32_t i = 0; i < EACH; i++) {
        uint64_t index = 0;
        int code = aegis_append(w->store, SESSION, 1, (const uint8_t *)&index, 8, buffer, 100, &index);
        if (code == AEGIS_OK) code = aegis_commit(w->store, SESSION, index);
        if (code == AEGIS_OK) w->acknowledged[w->count++] = index;
        else if (code == AEGIS_E_UNKNOWN) w->unknown++;
        else if (EXPECT_CODE(code, AEGIS_E_POISONED)) w->poisoned++;
    }
    return NULL;
}

TEST(every_thread_is_told_when_the_log_is_poisoned) {
    for (uint64_t nth = 3; nth < 60; nth += 7) {
        static worker workers[THREADS];
        pthread_t threads[THREADS];
        uint32_t unknown = 0;
        uint64_t last = 0;
        vfs_sim *sim = vfs_sim_new(nth);
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        EXPECT_OK(aegis_append(store, SESSION, 1, buffer, 8, NULL, 0, &last));
        EXPECT_OK(aegis_commit(store, SESSION, 0));
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
        for (unsigned t = 0; t < THREADS; t++) {
            workers[t] = (worker){.store = store};
            EXPECT(pthread_create(&threads[t], NULL, append_until_poisoned, &workers[t]) == 0);
        }
        for (unsigned t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
        if (vfs_sim_fault_hits(sim) == 0) nth = 60;    /* so few syncs were needed */
        vfs_sim_fail(sim, NULL);
        for (unsigned t = 0; t < THREADS; t++) {
            unknown += workers[t].unknown;
            if (nth < 60) EXPECT(workers[t].unknown <= 1 && (workers[t].count == EACH || workers[t].unknown + workers[t].poisoned > 0));
            for (uint32_t i = 0; i < workers[t].count; i++) last = max_u64(last, workers[t].acknowledged[i]);
        }
        if (nth < 60) EXPECT(unknown > 0);
        EXPECT_EQ_U64(size_of(store, SESSION), last + 1);
        EXPECT_OK(aegis_abandon(store));
        store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
        if (store == NULL) return;
        EXPECT(size_of(store, SESSION) > last);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_close(store));
        vfs_sim_free(sim);
    }
}

/* ---- a rotation fails while others wait for room ------------------------------------------------------------------------ */

/* Their room is to be in the new segment, which does not come: what is zeroed then must not be the full one, whose records are
 * acknowledged. The rename of the manifest fails, once everybody else has come as far as they can. */
enum { ROOM_PAYLOAD = 90000, ROOM_EACH = 40 };

static vfs honest;
static _Atomic bool rename_fails;

static int rename_late(vfs *self, vfs_dir *dir, const char *from, const char *to) {
    if (!atomic_load(&rename_fails)) return honest.rename(self, dir, from, to);
    for (unsigned turn = 0; turn < 2000; turn++) sched_yield();
    return fail(AEGIS_E_IO, "rename %s: told to fail", from);
}

static void *append_much(void *context) {
    aegis_store *store = context;
    static uint8_t payload[ROOM_PAYLOAD];
    uint64_t index = 0;
    int code = AEGIS_OK;
    for (unsigned i = 0; i < ROOM_EACH && code == AEGIS_OK; i++) {
        code = aegis_append(store, SESSION, 1, (const uint8_t *)"an entry", 8, payload, ROOM_PAYLOAD, &index);
        if (code == AEGIS_OK && i % 3 == 2) code = aegis_commit(store, SESSION, index);
    }
    EXPECT(code == AEGIS_OK || code == AEGIS_E_POISONED || code == AEGIS_E_UNKNOWN || code == AEGIS_E_IO);
    return NULL;
}

TEST(who_waits_for_room_while_a_rotation_fails_zeroes_nothing_that_was_acknowledged) {
    for (unsigned trial = 0; trial < 12 && atomic_load(&check_failures) == 0; trial++) {
        pthread_t threads[THREADS];
        vfs_sim *sim = vfs_sim_new(trial);
        vfs *v = vfs_sim_vfs(sim);
        aegis_options o = test_options(AEGIS_MODE_APPEND);
        o.segment_bytes = 2u << 20;
        aegis_store *store = open_with(v, &o, NULL);
        EXPECT_OK(vfs_sim_settle(sim, false));
        EXPECT_OK(append_committed(store, SESSION, 0, 0));
        honest = *v;
        v->rename = rename_late;
        atomic_store(&rename_fails, true);
        for (unsigned t = 0; t < THREADS; t++) EXPECT(pthread_create(&threads[t], NULL, append_much, store) == 0);
        for (unsigned t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
        atomic_store(&rename_fails, false);
        uint64_t size = size_of(store, SESSION);
        EXPECT(size > 0);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT_OK(aegis_abandon(store));
        EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
        store = open_with(v, &o, NULL);
        if (store != NULL) {
            EXPECT(size_of(store, SESSION) >= size);
            EXPECT_OK(aegis_close(store));
        }
        vfs_sim_free(sim);
    }
}

/* ---- no space --------------------------------------------------------------------------------------------------------- */

/* Appends and commits until there is no space; returns how many records there are then. */
static uint64_t fill_up(aegis_store *store, uint64_t from) {
    for (uint64_t i = from; i < from + 20000; i++) {
        int code = append_record(store, SESSION, i, PAYLOAD);
        if (code != AEGIS_OK) {
            EXPECT_CODE(code, AEGIS_E_NOSPACE);
            return i;
        }
        if (i % 3 == 0 && !EXPECT_OK(aegis_commit(store, SESSION, i))) return i;
    }
    EXPECT(!"the disk is never full");
    return from;
}

static void run_out_of_space(uint64_t segment_bytes, uint64_t first_space) {
    vfs_sim *sim = vfs_sim_new(3);
    aegis_tier_stats stats;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = segment_bytes;
    aegis_store *store = open_with(vfs_sim_vfs(sim), &o, NULL);
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_settle(sim, false));
    EXPECT_OK(append_committed(store, SESSION, size++, PAYLOAD));
    for (int round = 0; round < 4; round++) {
        vfs_sim_set_space(sim, first_space * (uint64_t)round);
        size = fill_up(store, size);
        for (int again = 0; again < 3; again++) EXPECT_CODE(append_record(store, SESSION, size, PAYLOAD), AEGIS_E_NOSPACE);
        upkeep_until_idle(store);
        /* What was accepted goes through, what was stored is read, and nothing is poisoned. */
        EXPECT_OK(aegis_commit(store, SESSION, size - 1));
        EXPECT(has_all(store, SESSION, size));
        EXPECT_OK(aegis_stats(store, SESSION, &stats));
        EXPECT_EQ_U64(stats.poisoned, 0);
        EXPECT(!lock_says_poisoned(sim));
        vfs_sim_set_space(sim, UINT64_MAX);
        for (int i = 0; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, size++, PAYLOAD));
        upkeep_until_idle(store);
        EXPECT_OK(verify_whole(store, SESSION));
    }
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT_EQ_U64(size_of(store, SESSION), size);
    EXPECT(has_all(store, SESSION, size));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

TEST(no_space_for_more_of_a_segment_rejects_the_append_and_nothing_else) { run_out_of_space(32u << 20, 300000); }
/* Space for some more segments; the manifest of each rotation takes a little of it. */
TEST(no_space_for_the_next_segment_rejects_the_append_and_nothing_else) { run_out_of_space(SMALL_SEGMENT, 150000); }

TEST(no_space_for_a_tier_leaves_the_others_alone) {
    vfs_sim *sim = vfs_sim_new(4);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD));
    upkeep_until_idle(store);
    vfs_sim_set_space(sim, 5000);
    for (int i = 0; i < 3; i++) EXPECT_CODE(append_record(store, AEGIS_TIER_AUDIT, 0, PAYLOAD), AEGIS_E_NOSPACE);
    for (uint64_t i = 1; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_EQ_U64(size_of(store, AEGIS_TIER_AUDIT), 0);
    vfs_sim_set_space(sim, UINT64_MAX);
    EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    EXPECT(has_all(store, AEGIS_TIER_AUDIT, 1) && has_all(store, SESSION, 20));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* Neither the next segment's bytes nor the removal of what was begun reach the disk, which then comes back to itself. */
TEST(a_segment_that_could_not_be_made_nor_taken_away_is_made_again) {
    const vfs_sim_fault broken = {.nth = 1, .kinds = 1u << VFS_SIM_WRITE | 1u << VFS_SIM_UNLINK, .code = AEGIS_E_IO, .forever = true};
    vfs_sim *sim = vfs_sim_new(6);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    uint64_t size = 0, left = 0;
    bool begun = false;
    for (; size < 1000 && !begun; size++) {
        vfs_sim_fail(sim, &broken);
        int code = append_record(store, SESSION, size, PAYLOAD);
        begun = code == AEGIS_E_IO && vfs_sim_file_size(sim, "session/00000001.seg", &left) == AEGIS_OK;
        /* As long as the disk does not work each attempt says so. */
        if (begun) EXPECT_CODE(append_record(store, SESSION, size, PAYLOAD), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
        if (code != AEGIS_OK) EXPECT_OK(append_record(store, SESSION, size, PAYLOAD));
        EXPECT_OK(aegis_commit(store, SESSION, size));
    }
    EXPECT(begun);
    for (int i = 0; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, size++, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), size);
    EXPECT(has_all(store, SESSION, size));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* The space for its manifest was taken when the segment was made: on a full disk what was accepted goes through, and the append
 * that would need a segment more is rejected. */
TEST(a_rotation_has_space_for_its_manifest) {
    vfs_sim *sim = vfs_sim_new(5);
    aegis_tier_stats stats;
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    uint64_t size = 0;
    int code = AEGIS_OK;
    for (; size < 20; size++) EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
    EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
    upkeep_until_idle(store);    /* the next segment is there */
    vfs_sim_set_space(sim, 0);
    for (; code == AEGIS_OK && size < 1000; size += code == AEGIS_OK) code = append_committed(store, SESSION, size, PAYLOAD);
    EXPECT_CODE(code, AEGIS_E_NOSPACE);
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    EXPECT_EQ_U64(stats.rotations, 1);
    EXPECT_EQ_U64(stats.poisoned, 0);
    EXPECT(has_all(store, SESSION, size));
    vfs_sim_set_space(sim, UINT64_MAX);
    EXPECT_OK(append_committed(store, SESSION, size++, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), size);
    EXPECT(has_all(store, SESSION, size));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* A rotation whose manifest cannot be written is a group that could not be: the outcome is unknown, and the next open tells. */
TEST(a_rotation_whose_manifest_fails_poisons) {
    vfs_sim *sim = vfs_sim_new(5);
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    uint64_t size = 0;
    int code = AEGIS_OK;
    for (; size < 20; size++) EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
    upkeep_until_idle(store);    /* the next segment is there */
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_RENAME, .code = AEGIS_E_IO});
    for (; code == AEGIS_OK && size < 1000; size += code == AEGIS_OK) code = append_committed(store, SESSION, size, PAYLOAD);
    EXPECT_CODE(code, AEGIS_E_UNKNOWN);
    EXPECT_CODE(append_record(store, SESSION, size + 1, PAYLOAD), AEGIS_E_POISONED);
    EXPECT(has_all(store, SESSION, size));
    EXPECT_CODE(aegis_close(store), AEGIS_E_UNKNOWN);    /* of what was queued */
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    /* Recovery needs no space. */
    vfs_sim_set_space(sim, 0);
    store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_WRITE, NULL);
    if (store == NULL) return;
    EXPECT_EQ_U64(size_of(store, SESSION), size);
    EXPECT(has_all(store, SESSION, size));
    vfs_sim_set_space(sim, UINT64_MAX);
    EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(sim);
}

/* ---- killed ----------------------------------------------------------------------------------------------------------- */

enum { RECORDS = 110 };

typedef struct outcome {
    uint64_t submitted;
    uint64_t acknowledged;
} outcome;

/* Opens, appends in groups of three over two rotations with upkeep in between, closes. Goes on after what it is told. */
static outcome work(vfs_sim *sim) {
    outcome made = {0, 0};
    aegis_store *store = NULL;
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    if (store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL) != AEGIS_OK) return made;
    for (uint64_t turn = 0; turn < RECORDS; turn++) {
        uint64_t wait = 0, i = made.submitted;
        if (append_record(store, SESSION, i, PAYLOAD) == AEGIS_OK) made.submitted++;
        if (turn % 3 == 2 && i > 0 && aegis_commit(store, SESSION, i - 1) == AEGIS_OK) made.acknowledged = i;
        if (turn == 40 || turn == 95)
            for (int n = 0; n < 6; n++) EXPECT_OK(aegis_background(store, &wait));
        vfs_sim_set_clock(sim, 10 * turn);
        if (turn == 60) {
            vfs_sim_set_clock(sim, 10 * turn + 80);
            EXPECT_OK(aegis_background(store, &wait));
        }
    }
    uint64_t readable = 0;
    EXPECT_OK(aegis_size(store, SESSION, &readable));
    EXPECT(readable >= made.acknowledged && readable <= made.submitted);
    if (aegis_close(store) == AEGIS_OK) made.acknowledged = made.submitted;
    return made;
}

/* What was acknowledged is there, what is there was submitted, and the store can be used: what it then acknowledges survives a power
 * cut, though the page cache may have shown at open what the disk did not have. */
static bool holds(vfs_sim *sim, const outcome *made, bool cut, uint64_t nth, const char *how) {
    aegis_store *store = NULL;
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    bool right = EXPECT_OK(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL));
    if (right) {
        uint64_t size = size_of(store, SESSION);
        right = EXPECT(size >= made->acknowledged && size <= made->submitted) && has_all(store, SESSION, size) &&
                EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD)) && EXPECT_OK(verify_whole(store, SESSION));
        if (right && cut) {
            const outcome now = {size + 1, size + 1};
            vfs_sim *image = NULL;
            right = EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), VFS_SIM_KEEP_NOTHING, nth, &image)) &&
                    holds(image, &now, false, nth, "power cut after reopening");
            vfs_sim_free(image);
        }
        right = EXPECT_OK(aegis_close(store)) && right;
        right = EXPECT_EQ_U64(vfs_sim_open_count(sim), 0) && right;
    }
    if (!right) printf("    call %llu, %s: %llu of %llu were acknowledged\n", (unsigned long long)nth, how,
                       (unsigned long long)made->acknowledged, (unsigned long long)made->submitted);
    return right;
}

/* From the call `killed_at` on, nothing that changes the disk happens: what the process had done so far is in the page cache, and
 * what it had synced is durable. */
static vfs real;
static uint64_t changes, killed_at;

static int dead(void) { return ++changes >= killed_at ? AEGIS_E_IO : AEGIS_OK; }

static int k_open_root(vfs *self, const char *path, unsigned flags, vfs_dir **out) {
    if (flags & VFS_CREATE) TRY(dead());
    return real.open_root(self, path, flags, out);
}
static int k_open_dir(vfs *self, vfs_dir *parent, const char *name, unsigned flags, vfs_dir **out) {
    if (flags & VFS_CREATE) TRY(dead());
    return real.open_dir(self, parent, name, flags, out);
}
static int k_open(vfs *self, vfs_dir *dir, const char *name, unsigned flags, vfs_file **out) {
    if (flags & VFS_CREATE) TRY(dead());
    return real.open(self, dir, name, flags, out);
}
static int k_sync_dir(vfs *self, vfs_dir *dir) {
    TRY(dead());
    return real.sync_dir(self, dir);
}
static int k_sync_parent(vfs *self, vfs_dir *dir) {
    TRY(dead());
    return real.sync_parent(self, dir);
}
static int k_rename(vfs *self, vfs_dir *dir, const char *from, const char *to) {
    TRY(dead());
    return real.rename(self, dir, from, to);
}
static int k_unlink(vfs *self, vfs_dir *dir, const char *name) {
    TRY(dead());
    return real.unlink(self, dir, name);
}
static int k_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    TRY(dead());
    return real.write(self, file, offset, bytes, length);
}
static int k_sync(vfs *self, vfs_file *file) {
    TRY(dead());
    return real.sync(self, file);
}
static int k_truncate(vfs *self, vfs_file *file, uint64_t size) {
    TRY(dead());
    return real.truncate(self, file, size);
}

TEST(a_process_may_be_killed_before_every_change_and_the_power_fail_later) {
    for (killed_at = 1;; killed_at++) {
        vfs_sim *sim = vfs_sim_new(killed_at);
        vfs *v = vfs_sim_vfs(sim);
        real = *v;
        changes = 0;
        v->open_root = k_open_root, v->open_dir = k_open_dir, v->open = k_open, v->sync_dir = k_sync_dir;
        v->sync_parent = k_sync_parent, v->rename = k_rename, v->unlink = k_unlink, v->write = k_write;
        v->sync = k_sync, v->truncate = k_truncate;
        const outcome made = work(sim);
        *v = real;
        holds(sim, &made, true, killed_at, "killed");
        vfs_sim_free(sim);
        if (changes < killed_at || atomic_load(&check_failures) > 20) break;
    }
    EXPECT(killed_at > 100);
}
