/* Every call to the operating system fails, one after another, once and from then on: what must hold is in trials.h. */
#include "trials.h"

typedef struct workload {
    const char *name;
    uint32_t payload_max;
    unsigned ways;
    /* Makes the machine and what is on it; says what was submitted and acknowledged. */
    void (*prepare)(trial *t);
    void (*run)(trial *t);
} workload;

typedef struct way {
    int system_errno;
    bool forever;
    uint64_t written_bytes;
} way;

/* The first three are followed by power cuts: what the others change is the answer. */
static const way WAYS[] = {{EIO, false, 0}, {ENOSPC, true, 0}, {EIO, true, 0}, {ENOSPC, false, 0}, {EIO, false, 333}, {EDQUOT, true, 100},
                           {ENOMEM, false, 0}, {EMFILE, false, 0}, {EINTR, false, 0}};

/* Under a sanitizer, which costs tenfold, or counted, each call fails in the first two. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(AEGIS_COUNTED)
enum { WAY_COUNT = 2 };
#else
enum { WAY_COUNT = sizeof WAYS / sizeof WAYS[0] };
#endif

/* ---- what is on the machine ------------------------------------------------------------------------------------------- */

static void start(trial *t) {
    t->sim = vfs_sim_new(7);
    t->v = vfs_sim_vfs(t->sim);
}

static void store_with(trial *t, uint64_t audit, uint64_t session) {
    start(t);
    aegis_store *store = open_test(t->v, AEGIS_MODE_APPEND, NULL);
    if (store == NULL) return;
    for (uint64_t i = 0; i < audit; i++) EXPECT_OK(append_record(store, AEGIS_TIER_AUDIT, i, t->payload_max));
    for (uint64_t i = 0; i < session; i++) EXPECT_OK(append_record(store, SESSION, i, t->payload_max));
    EXPECT_OK(aegis_close(store));
    t->submitted[AEGIS_TIER_AUDIT] = t->acknowledged[AEGIS_TIER_AUDIT] = audit;
    t->submitted[SESSION] = t->acknowledged[SESSION] = session;
}

static void a_store(trial *t) { store_with(t, 0, 7); }
static void two_segments(trial *t) { store_with(t, 5, 75); }
/* Of its first segment. */
static void nearly_full(trial *t) { store_with(t, 0, 50); }
static void nearly_a_tile(trial *t) { store_with(t, 0, 248); }

/* Killed in the middle of a group, with garbage behind what it left. */
static void a_crashed_store(trial *t) {
    static const uint8_t garbage[64] = "garbage that a torn write left";
    two_segments(t);
    vfs_sim *image = NULL;
    uint64_t size = t->submitted[SESSION];
    aegis_store *store = open_test(t->v, AEGIS_MODE_WRITE, NULL);
    for (uint64_t i = 0; i < 6; i++) EXPECT_OK(append_committed(store, SESSION, size++, t->payload_max));
    t->acknowledged[SESSION] = size;
    for (uint64_t i = 0; i < 6; i++) EXPECT_OK(append_record(store, SESSION, size++, t->payload_max));
    vfs_sim_fail(t->sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_commit(store, SESSION, size - 1), AEGIS_E_UNKNOWN);
    vfs_sim_fail(t->sim, NULL);
    uint64_t tail = store->logs[SESSION].segments[1]->tail + 4000;
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_image(t->sim, vfs_sim_op_count(t->sim), VFS_SIM_KEEP_ALL, 1, &image));
    EXPECT_OK(vfs_sim_patch(image, "session/00000001.seg", tail, garbage, sizeof garbage));
    vfs_sim_free(t->sim);
    t->sim = image;
    t->v = vfs_sim_vfs(image);
    t->submitted[SESSION] = size;
}

static void a_store_without_a_manifest(trial *t) {
    two_segments(t);
    EXPECT_OK(vfs_sim_remove(t->sim, "MANIFEST"));
}

/* ---- what is done to it ----------------------------------------------------------------------------------------------- */

static void first_open(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_APPEND);
    if (store == NULL) return;
    usable_or_poisoned(t, store);
    close_store(t, store);
}

static void groups(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_WRITE);
    aegis_watcher *watcher = NULL;
    int fd = 0;
    if (store == NULL) return;
    if (answered(t, aegis_watch_start(store, &watcher, &fd)) != AEGIS_OK) watcher = NULL;
    for (unsigned turn = 0; turn < 4; turn++) {
        append(t, store, SESSION, 3);
        commit(t, store, SESSION);
        background(t, store, 2);
    }
    append(t, store, SESSION, 2);
    if (watcher != NULL && t->submitted[SESSION] > 0) EXPECT_OK(aegis_request(store, SESSION, t->submitted[SESSION] - 1, watcher));
    later(t, 80);
    background(t, store, 2);
    later(t, 80);
    background(t, store, 2);
    usable_or_poisoned(t, store);
    close_store(t, store);
    if (watcher == NULL) return;
    /* Whoever asked has an answer, and it is the one that commit gives. */
    int code = aegis_watch_result(watcher, SESSION, t->acknowledged[SESSION] - 1);
    EXPECT(code == AEGIS_OK || code == AEGIS_E_UNKNOWN);
    aegis_watch_end(watcher);
}

static void two_tiers(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_APPEND);
    if (store == NULL) return;
    for (unsigned turn = 0; turn < 2; turn++) {
        append(t, store, AEGIS_TIER_AUDIT, 2);
        append(t, store, SESSION, 2);
        commit(t, store, AEGIS_TIER_AUDIT);
        background(t, store, 1);
        commit(t, store, SESSION);
    }
    usable_or_poisoned(t, store);
    close_store(t, store);
}

static void rotation(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_WRITE);
    if (store == NULL) return;
    for (unsigned turn = 0; turn < 4; turn++) {
        append(t, store, SESSION, 4);
        commit(t, store, SESSION);
        background(t, store, turn % 3);
    }
    background(t, store, 4);
    usable_or_poisoned(t, store);
    close_store(t, store);
}

/* The next segment when it is asked for, and footers at once. */
static void asked_rotation(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_WRITE);
    if (store == NULL) return;
    for (unsigned turn = 0; turn < 2; turn++) {
        append(t, store, SESSION, 2);
        if (answered(t, aegis_rotate(store, SESSION)) == AEGIS_OK) t->acknowledged[SESSION] = t->submitted[SESSION];
        (void)answered(t, aegis_seal(store, SESSION));
    }
    usable_or_poisoned(t, store);
    close_store(t, store);
}

/* The first segment anew, twice, the first record with the payload that it has: whatever fails, each record is what it was. */
static void compacting(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_WRITE);
    if (store == NULL) return;
    const test_record *r = record_of(SESSION, 0, t->payload_max);
    const aegis_change change = {.index = 0, .cause = AEGIS_NO_CAUSE, .payload_length = r->payload_length};
    for (unsigned turn = 0; turn < 2; turn++) {
        aegis_compactor *compactor = NULL;
        aegis_progress progress = {0};
        int code = answered(t, aegis_compact_start(store, SESSION, 0, &change, 1, r->payload, r->payload_length, &compactor));
        if (code != AEGIS_OK) continue;
        while (code == AEGIS_OK && !progress.done) {
            code = answered(t, aegis_compact_step(compactor, 30000, &progress));
            append(t, store, SESSION, 1);
        }
        aegis_compact_end(compactor);
        commit(t, store, SESSION);
        (void)answered(t, aegis_set_swept(store, SESSION, turn + 1));
    }
    usable_or_poisoned(t, store);
    close_store(t, store);
}

/* With files that compactions left. */
static void a_store_with_leftovers(trial *t) {
    two_segments(t);
    pause_fault(t);
    aegis_store *store = open_test(t->v, AEGIS_MODE_WRITE, NULL);
    const test_record *r = record_of(SESSION, 0, t->payload_max);
    const aegis_change change = {.index = 0, .cause = AEGIS_NO_CAUSE, .payload_length = r->payload_length};
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    EXPECT_OK(vfs_sim_copy_file(t->sim, "session/00000000.seg", t->sim, "kept"));
    EXPECT_OK(aegis_compact_start(store, SESSION, 0, &change, 1, r->payload, r->payload_length, &compactor));
    EXPECT_OK(aegis_compact_step(compactor, UINT64_MAX / 2, &progress));
    aegis_compact_end(compactor);
    EXPECT_OK(aegis_abandon(store));
    EXPECT_OK(vfs_sim_copy_file(t->sim, "kept", t->sim, "session/00000000.seg"));
    EXPECT_OK(vfs_sim_copy_file(t->sim, "kept", t->sim, "session/00000000-00000002.seg"));
    EXPECT_OK(vfs_sim_remove(t->sim, "kept"));
    EXPECT_OK(vfs_sim_settle(t->sim, true));
}

static void closing(trial *t) {
    pause_fault(t);
    aegis_store *store = open_test(t->v, AEGIS_MODE_APPEND, NULL);
    for (unsigned i = 0; i < 12; i++) {    /* over the end of a segment */
        EXPECT_OK(append_record(store, SESSION, t->submitted[SESSION]++, t->payload_max));
        if (i % 2 == 0) EXPECT_OK(append_record(store, AEGIS_TIER_AUDIT, t->submitted[AEGIS_TIER_AUDIT]++, t->payload_max));
    }
    resume(t);
    close_store(t, store);
}

static void recovering(trial *t) {
    aegis_store *store = opened(t, AEGIS_MODE_WRITE);
    if (store == NULL) return;
    /* What was not acknowledged may have been cut off. */
    uint64_t size = size_of(store, SESSION);
    EXPECT(size >= t->acknowledged[SESSION] && size <= t->submitted[SESSION]);
    t->submitted[SESSION] = size;
    usable_or_poisoned(t, store);
    close_store(t, store);
}

/* Every question that a reader can ask; what is answered is right. */
static void ask(trial *t, aegis_store *store) {
    static uint8_t buffer[1 << 19], hashes[64 * 32];
    static aegis_record records[256];
    aegis_head head, old;
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    uint64_t size = 0;
    uint32_t count = 0;
    if (answered(t, aegis_size(store, SESSION, &size)) != AEGIS_OK || size < 40) return;
    for (uint64_t i = 0; i < size; i += 1 + size / 3) {
        if (answered(t, aegis_read(store, SESSION, i, buffer, sizeof buffer, records)) == AEGIS_OK) EXPECT_EQ_U64(records[0].index, i);
        if (answered(t, aegis_read_entries(store, SESSION, i, 256, 0, buffer, sizeof buffer, records, &count)) == AEGIS_OK)
            EXPECT(count > 0 && records[count - 1].index == i + count - 1);
    }
    if (answered(t, aegis_head_at(store, SESSION, 37, &old)) == AEGIS_OK && answered(t, aegis_head_at(store, SESSION, size, &head)) == AEGIS_OK) {
        uint8_t leaf[32];
        const test_record *r = record_of(SESSION, 33, t->payload_max);
        EXPECT_OK(aegis_leaf_hash(r->entry, r->entry_length, leaf));
        if (answered(t, aegis_inclusion(store, SESSION, 33, size, hashes, &count)) == AEGIS_OK)
            EXPECT_OK(aegis_check_inclusion(leaf, 33, size, hashes, count, head.root));
        if (answered(t, aegis_consistency(store, SESSION, 37, size, hashes, &count)) == AEGIS_OK)
            EXPECT_OK(aegis_check_consistency(37, old.root, size, head.root, hashes, count));
    }
    if (answered(t, aegis_verify_start(store, SESSION, &verifier)) != AEGIS_OK) return;
    int code = AEGIS_OK;
    while (code == AEGIS_OK && !progress.done) code = answered(t, aegis_verify_step(verifier, 1 << 14, &progress));
    aegis_verify_end(verifier);
}

/* What a fault left behind in memory misleads nobody once it is over. */
static void sees_everything(trial *t, aegis_store *store) {
    pause_fault(t);
    EXPECT_OK(aegis_refresh(store));
    EXPECT_EQ_U64(size_of(store, SESSION), t->acknowledged[SESSION]);
    EXPECT(holds_records(store, SESSION, t->acknowledged[SESSION], t->payload_max));
    EXPECT_OK(verify_whole(store, SESSION));
    resume(t);
}

static void reading(trial *t) {
    t->reads_only = true;
    aegis_store *store = opened(t, AEGIS_MODE_READ);
    if (store == NULL) return;
    ask(t, store);
    (void)answered(t, aegis_refresh(store));
    sees_everything(t, store);
    EXPECT_OK(aegis_close(store));
}

/* A reader beside a writer to whom nothing happens. */
static void beside(trial *t) {
    pause_fault(t);
    aegis_store *live = open_test(t->v, AEGIS_MODE_WRITE, NULL);
    EXPECT_OK(append_committed(live, SESSION, t->submitted[SESSION]++, t->payload_max));
    t->acknowledged[SESSION]++;
    resume(t);
    aegis_store *store = opened(t, AEGIS_MODE_READ);
    for (unsigned turn = 0; turn < 3 && store != NULL; turn++) {
        pause_fault(t);
        for (unsigned i = 0; i < 4; i++) EXPECT_OK(append_record(live, SESSION, t->submitted[SESSION]++, t->payload_max));
        if (turn == 1) EXPECT_OK(append_committed(live, AEGIS_TIER_AUDIT, t->submitted[AEGIS_TIER_AUDIT]++, t->payload_max));
        t->acknowledged[AEGIS_TIER_AUDIT] = t->submitted[AEGIS_TIER_AUDIT];
        EXPECT_OK(aegis_commit(live, SESSION, t->submitted[SESSION] - 1));
        t->acknowledged[SESSION] = t->submitted[SESSION];
        resume(t);
        if (answered(t, aegis_refresh(store)) == AEGIS_OK) EXPECT_EQ_U64(size_of(store, SESSION), t->acknowledged[SESSION]);
        ask(t, store);
    }
    if (store != NULL) {
        sees_everything(t, store);
        pause_fault(t);
        EXPECT_OK(aegis_close(store));
    }
    pause_fault(t);
    EXPECT_OK(aegis_close(live));
}

/* ---- each call in turn ------------------------------------------------------------------------------------------------ */

typedef struct tally {
    uint64_t calls, trials, failed, refused, poisoned, went_on;
} tally;

static bool try_one(const workload *w, const trial *base, const way *how, bool cuts, uint64_t nth, tally *sum) {
    trial t = *base;
    unsigned before = atomic_load(&check_failures);
    t.sim = vfs_sim_clone(base->sim);
    t.v = vfs_sim_vfs(t.sim);
    t.workload = w->name;
    t.without_cuts = !cuts;
    t.fault = (vfs_sim_fault){.nth = nth, .forever = how->forever, .system_errno = how->system_errno, .written_bytes = how->written_bytes};
    t.code = fail_system(how->system_errno, "", "");
    resume(&t);
    w->run(&t);
    pause_fault(&t);
    reckon(&t);
    vfs_sim_free(t.sim);
    sum->trials++;
    sum->failed += t.hits;
    if (t.poisoned) sum->poisoned++;
    else if (t.codes[-t.code] > 0) sum->refused++;
    else sum->went_on++;
    if (atomic_load(&check_failures) > before)
        printf("    ^ %s: call %" PRIu64 " fails %s with errno %d after %" PRIu64 " bytes\n", w->name, nth, how->forever ? "for ever" : "once",
               how->system_errno, how->written_bytes);
    sum->calls = max_u64(sum->calls, nth - 1);
    return t.hits > 0 && atomic_load(&check_failures) < 20;
}

static void fail_each(const workload *w, uint64_t calls_min) {
    tally sum = {0};
    trial base = {.payload_max = w->payload_max};
    w->prepare(&base);
    if (!EXPECT(base.sim != NULL)) return;
    for (unsigned i = 0; i < WAY_COUNT && i < w->ways; i++)
        for (uint64_t nth = 1; try_one(w, &base, &WAYS[i], i < 3, nth, &sum); nth++) {}
    vfs_sim_free(base.sim);
    EXPECT(sum.calls >= calls_min);
    printf("    %s: %" PRIu64 " calls, %" PRIu64 " trials, %" PRIu64 " calls failed: %" PRIu64 " refused, %" PRIu64 " poisoned, %" PRIu64
           " went on\n", w->name, sum.calls, sum.trials, sum.failed, sum.refused, sum.poisoned, sum.went_on);
}

#define WORKLOAD(test_name, prepare_, run_, payload_max_, ways_, calls_min)                         \
    TEST(test_name) {                                                                               \
        static const workload w = {#run_, payload_max_, ways_, prepare_, run_};                     \
        fail_each(&w, calls_min);                                                                   \
    }

WORKLOAD(every_call_of_a_first_open_may_fail, start, first_open, 1500, 9, 15)
WORKLOAD(every_call_of_appends_and_groups_may_fail, a_store, groups, 1500, 9, 50)
WORKLOAD(every_call_of_a_rotation_may_fail, nearly_full, rotation, 1500, 9, 80)
WORKLOAD(every_call_of_an_asked_rotation_may_fail, a_store, asked_rotation, 1500, 9, 50)
WORKLOAD(every_call_of_a_compaction_may_fail, two_segments, compacting, 1500, 9, 60)
WORKLOAD(every_call_of_a_recovery_behind_compactions_may_fail, a_store_with_leftovers, recovering, 1500, 9, 30)
WORKLOAD(every_call_of_a_tile_may_fail, nearly_a_tile, rotation, 0, 2, 200)
WORKLOAD(every_call_of_two_new_tiers_may_fail, start, two_tiers, 1500, 9, 60)
WORKLOAD(every_call_of_a_close_may_fail, nearly_full, closing, 1500, 9, 20)
WORKLOAD(every_call_of_a_recovery_may_fail, a_crashed_store, recovering, 1500, 9, 40)
WORKLOAD(every_call_of_making_a_manifest_again_may_fail, a_store_without_a_manifest, recovering, 1500, 9, 40)
WORKLOAD(every_call_of_reading_may_fail, two_segments, reading, 1500, 9, 50)
WORKLOAD(every_call_of_a_reader_beside_a_writer_may_fail, nearly_full, beside, 1500, 4, 60)

/* ---- between the failure and the end ---------------------------------------------------------------------------------- */

typedef struct later_cuts {
    size_t acknowledged_at;         /* operations on record by then */
    uint64_t images;
} later_cuts;

static int opens_after_cut(void *context, vfs_sim *image, size_t cut) {
    later_cuts *c = context;
    aegis_store *store = NULL;
    const aegis_options o = trial_options(AEGIS_MODE_APPEND);
    c->images++;
    if (!EXPECT_OK(store_open(vfs_sim_vfs(image), "store", &o, &store, NULL))) return 1;
    if (cut >= c->acknowledged_at) EXPECT(size_of(store, AEGIS_TIER_AUDIT) == 1 && has_record(store, AEGIS_TIER_AUDIT, 0, 100));
    EXPECT_OK(aegis_close(store));
    return atomic_load(&check_failures) > 0;
}

/* A second attempt after one that failed between its rename and the end: whenever the power goes, what the manifest names is there. */
TEST(a_new_tier_that_is_tried_again_survives_a_cut_at_any_time) {
    uint64_t tried = 0;
    for (uint64_t nth = 1;; nth++) {
        later_cuts c = {0};
        trial t = {.payload_max = 100};
        start(&t);
        aegis_store *store = open_test(t.v, AEGIS_MODE_APPEND, NULL);
        EXPECT_OK(vfs_sim_settle(t.sim, true));
        vfs_sim_fail(t.sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_SYNC_DIR | 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
        int code = append_record(store, AEGIS_TIER_AUDIT, 0, 100);
        bool hit = vfs_sim_fault_hits(t.sim) > 0;
        vfs_sim_fail(t.sim, NULL);
        if (hit && EXPECT_CODE(code, AEGIS_E_IO)) EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, 100));
        c.acknowledged_at = vfs_sim_op_count(t.sim);
        EXPECT_OK(aegis_close(store));
        if (hit && !directory_in_doubt(t.sim)) {
            tried++;
            (void)vfs_sim_enumerate(t.sim, 0, SIZE_MAX, NULL, opens_after_cut, &c, NULL);
            EXPECT(c.images > 20);
        }
        if (atomic_load(&check_failures) > 0) printf("    sync %" PRIu64 "\n", nth);
        vfs_sim_free(t.sim);
        if (!hit || atomic_load(&check_failures) > 0) break;
    }
    EXPECT(tried >= 3);
}

/* What was queued for a tier lands at the close, whatever became of another. */
TEST(a_close_lands_what_one_tier_has_though_another_is_poisoned) {
    trial t = {.payload_max = 100};
    store_with(&t, 3, 3);
    aegis_store *store = open_test(t.v, AEGIS_MODE_WRITE, NULL);
    EXPECT_OK(append_record(store, AEGIS_TIER_AUDIT, 3, 100));
    vfs_sim_fail(t.sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_commit(store, AEGIS_TIER_AUDIT, 3), AEGIS_E_UNKNOWN);
    vfs_sim_fail(t.sim, NULL);
    EXPECT_OK(append_record(store, SESSION, 3, 100));
    EXPECT_CODE(aegis_close(store), AEGIS_E_UNKNOWN);
    store = open_test(t.v, AEGIS_MODE_WRITE, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), 4);
    EXPECT_OK(aegis_close(store));
    vfs_sim_free(t.sim);
}

/* Removing a half-made segment may fail as well; what is said is why it was half-made. */
TEST(what_failed_first_is_what_is_named) {
    trial t = {.payload_max = 1500};
    aegis_error error;
    store_with(&t, 0, 50);
    aegis_store *store = open_test(t.v, AEGIS_MODE_WRITE, NULL);
    EXPECT_OK(append_committed(store, SESSION, 50, 1500));    /* zeroes this segment to its end */
    vfs_sim_fail(t.sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_WRITE | 1u << VFS_SIM_UNLINK, .forever = true, .system_errno = ENOSPC});
    int code = AEGIS_OK;
    for (uint64_t i = 51; i < 80 && code == AEGIS_OK; i++) code = append_record(store, SESSION, i, 1500);
    vfs_sim_fail(t.sim, NULL);
    EXPECT_CODE(code, AEGIS_E_NOSPACE);
    aegis_last_error(&error);
    EXPECT(strstr(error.message, "write session/") != NULL);
    EXPECT(strstr(error.message, "remove") == NULL);
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(t.sim);
}
