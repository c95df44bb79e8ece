/* A power cut and one thing more: a call that failed before it, a process that was killed, syncs that were saved (durability `write`),
 * damage to what the cut left. test_crash_states.c has the cuts alone, test_flips.c the bits alone.
 *
 * A scene runs on the simulated machine and says what it submits and what was promised; then the power is cut after each of its
 * operations, and each disk is opened. It must open; what was promised is there; what is there was submitted, in order; a second
 * open finds the same; and it takes another record.
 */
#include "footer.h"
#include "stores.h"

enum { MARK_PROVEN = 3 };    /* so many records are vouched for by what is on the disk: damage in them is no unfinished end */

#define PAYLOAD 700u

/* The sanitizers look at every path, not at every state: with them, which cost tenfold, one disk in so many is opened. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVERY 16
#else
#define EVERY 1
#endif

typedef struct scene {
    vfs_sim *sim;
    uint32_t tier;
    aegis_options options;
    size_t from;             /* cuts before this operation say nothing new */
    uint64_t images;
    bool broken;
    char how[600];
} scene;

static void scene_begin(scene *s, uint32_t tier) {
    *s = (scene){.sim = vfs_sim_new(5), .tier = tier, .options = test_options(AEGIS_MODE_APPEND)};
}

static void scene_end(scene *s) {
    if (s->broken) printf("    %s\n", s->how);
    EXPECT(!s->broken);
    vfs_sim_free(s->sim);
}

static void mark(scene *s, uint32_t kind, uint64_t size) { EXPECT_OK(vfs_sim_mark(s->sim, kind, size, NULL, 0)); }

/* What the last mark of a kind before the cut said. */
static uint64_t said_before(const scene *s, size_t cut, uint32_t kind) {
    uint64_t size = 0;
    for (size_t i = 0; i < cut; i++) {
        const vfs_sim_op *op = vfs_sim_op_at(s->sim, i);
        if (op->kind == VFS_SIM_MARK && op->mark == kind) size = op->id;
    }
    return size;
}

/* Keeps the first; the enumeration ends with it. */
static int break_promise(scene *s, vfs_sim *image, size_t cut, const char *what) {
    char kept[256] = "", last[128] = "";
    aegis_error error;
    aegis_last_error(&error);
    vfs_sim_explain(image, kept, sizeof kept);
    if (cut > 0) vfs_sim_op_text(s->sim, cut - 1, last, sizeof last);
    bool refused = strstr(what, "does not open") != NULL;    /* else the last error is of another call */
    snprintf(s->how, sizeof s->how, "%s%s%s, cut after %s; %s", what, refused ? ": " : "", refused ? error.message : "", last, kept);
    s->broken = true;
    return AEGIS_E_BUG;
}

static bool same_record(aegis_store *store, uint32_t tier, uint64_t i) {
    test_record r;
    uint8_t buffer[4096];
    aegis_record found;
    make_record(tier, i, PAYLOAD, &r);
    return aegis_read(store, tier, i, buffer, sizeof buffer, &found) == AEGIS_OK && found.entry_length == r.entry_length &&
           found.payload_length == r.payload_length && memcmp(buffer + found.entry_at, r.entry, r.entry_length) == 0 &&
           memcmp(buffer + found.payload_at, r.payload, r.payload_length) == 0;
}

static const char *look(const scene *s, vfs_sim *image, size_t cut, bool more, uint64_t *size) {
    const char *what = NULL;
    aegis_store *store = NULL;
    if (store_open(vfs_sim_vfs(image), "store", &s->options, &store, NULL) != AEGIS_OK) return "it does not open";
    if (aegis_size(store, s->tier, size) != AEGIS_OK) what = "the size cannot be read";
    else if (*size < said_before(s, cut, VFS_SIM_ACK)) what = "a record that was promised is gone";
    else if (*size > said_before(s, cut, VFS_SIM_SUBMIT)) what = "a record is there that was not submitted";
    for (uint64_t i = 0; i < *size && what == NULL; i++)
        if (!same_record(store, s->tier, i)) what = "a record is not the one that was submitted";
    if (what == NULL && more && append_committed(store, s->tier, *size, PAYLOAD) != AEGIS_OK) what = "it takes no more records";
    aegis_abandon(store);
    return what;
}

static int check_image(void *context, vfs_sim *image, size_t cut) {
    scene *s = context;
    uint64_t size = 0, again = 0;
    if (s->images++ % EVERY != 0) return AEGIS_OK;
    const char *what = look(s, image, cut, false, &size);
    if (what == NULL) what = look(s, image, cut, true, &again);
    if (what == NULL && size != again) what = "opened twice, it is not the same";
    if (what != NULL) return break_promise(s, image, cut, what);
    aegis_store *store = NULL;
    if (store_open(vfs_sim_vfs(image), "store", &s->options, &store, NULL) != AEGIS_OK)
        return break_promise(s, image, cut, "it does not open after one more record");
    if (size_of(store, s->tier) != size + 1 || !same_record(store, s->tier, size)) what = "one more record made another number of them";
    aegis_abandon(store);
    return what == NULL ? AEGIS_OK : break_promise(s, image, cut, what);
}

static void enumerate(scene *s, size_t from, size_t subsets, vfs_sim_image_fn check) {
    vfs_sim_limits limits = {.all_subsets = subsets, .all_names = 8, .random = subsets / 4, .seed = 3};
    int code = vfs_sim_enumerate(s->sim, from, SIZE_MAX, &limits, check, s, NULL);
    EXPECT(code == AEGIS_OK || s->broken);
}

/* Appends and commits a group of `count` records from *next on, promised where the commit says so. False: a call failed. */
static bool commit_group(scene *s, aegis_store *store, uint64_t *next, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        mark(s, VFS_SIM_SUBMIT, *next + 1);
        if (append_record(store, s->tier, *next, PAYLOAD) != AEGIS_OK) return false;
        ++*next;
    }
    if (aegis_commit(store, s->tier, *next - 1) != AEGIS_OK) return false;
    if (s->options.durability[s->tier] != AEGIS_DURABILITY_WRITE) mark(s, VFS_SIM_ACK, *next);
    return true;
}

/* What is found by an open is promised as well: a reader may have seen it. */
static aegis_store *reopen(scene *s, uint64_t *next) {
    aegis_store *store = open_with(vfs_sim_vfs(s->sim), &s->options, NULL);
    if (store == NULL) return NULL;
    *next = size_of(store, s->tier);
    mark(s, VFS_SIM_ACK, *next);
    return store;
}

/* ---- a call that fails ------------------------------------------------------------------------------------------------ */

/* Until a call fails, and a little on: who was told of no failure goes on. */
static void until_failure(scene *s) {
    uint64_t next = 0;
    aegis_store *store = NULL;
    if (store_open(vfs_sim_vfs(s->sim), "store", &s->options, &store, NULL) != AEGIS_OK) return;
    for (unsigned groups = 0, failed = 0; groups < 5 && failed < 2; groups++)
        if (!commit_group(s, store, &next, groups == 1 ? 90 : 12)) failed++;
    aegis_abandon(store);
}

/* What a failure left is opened, written to, and cut. False: nothing failed, or a promise is broken. */
static bool after_failure(scene *s, bool struck, bool closes, uint64_t *images) {
    uint64_t next = 0;
    size_t from = vfs_sim_op_count(s->sim);
    aegis_store *store = reopen(s, &next);
    if (store != NULL && commit_group(s, store, &next, 1) && closes) EXPECT_OK(aegis_close(store));
    else if (store != NULL) aegis_abandon(store);
    enumerate(s, from, 8, check_image);
    *images += s->images / EVERY;
    bool goes_on = struck && store != NULL && !s->broken;
    scene_end(s);
    return goes_on;
}

TEST(a_call_that_failed_and_a_cut_break_no_promise) {
    static const uint32_t kinds[] = {1u << VFS_SIM_SYNC, 1u << VFS_SIM_WRITE, 1u << VFS_SIM_RENAME | 1u << VFS_SIM_TRUNCATE};
    uint64_t images = 0, tried = 0;
    for (unsigned k = 0; k < 3; k++) {
        bool goes_on = true;
        for (uint64_t nth = 1; goes_on; nth++) {
            scene s;
            scene_begin(&s, SESSION);
            vfs_sim_fail(s.sim, &(vfs_sim_fault){.nth = nth, .kinds = kinds[k], .code = AEGIS_E_IO, .written_bytes = nth % 3 * 600});
            until_failure(&s);
            bool struck = vfs_sim_fault_hits(s.sim) > 0;
            vfs_sim_fail(s.sim, NULL);
            goes_on = after_failure(&s, struck, nth % 2 == 0, &images);
            tried++;
        }
    }
    printf("    %" PRIu64 " failed calls, %" PRIu64 " crash states after them\n", tried, images);
}

/* The process is killed before its nth sync of a directory: what it made, renamed or removed is in the page cache alone. */
static int (*real_sync_dir)(vfs *, vfs_dir *);
static int (*real_sync_parent)(vfs *, vfs_dir *);
static uint64_t syncs_left;

static int killed(void) { return fail(AEGIS_E_IO, "the process was killed"); }

static int mortal_sync_dir(vfs *self, vfs_dir *dir) { return syncs_left > 0 && --syncs_left > 0 ? real_sync_dir(self, dir) : killed(); }

static int mortal_sync_parent(vfs *self, vfs_dir *dir) { return syncs_left > 0 && --syncs_left > 0 ? real_sync_parent(self, dir) : killed(); }

TEST(names_that_a_killed_process_left_in_the_page_cache_and_a_cut_break_no_promise) {
    uint64_t images = 0, tried = 0;
    for (bool goes_on = true; goes_on; tried++) {
        scene s;
        scene_begin(&s, SESSION);
        vfs *v = vfs_sim_vfs(s.sim);
        real_sync_dir = v->sync_dir, real_sync_parent = v->sync_parent;
        v->sync_dir = mortal_sync_dir, v->sync_parent = mortal_sync_parent;
        syncs_left = tried + 1;
        until_failure(&s);
        v->sync_dir = real_sync_dir, v->sync_parent = real_sync_parent;
        goes_on = after_failure(&s, syncs_left == 0, false, &images);
    }
    printf("    killed %" PRIu64 " times, %" PRIu64 " crash states after that\n", tried, images);
}

/* ---- syncs that were saved -------------------------------------------------------------------------------------------- */

/* With `write` a record is promised when an open finds it, when it is marked, and by a close. */
static void saved_syncs(scene *s) {
    uint64_t next = 0;
    aegis_store *store = reopen(s, &next);
    for (unsigned i = 0; i < 3; i++) commit_group(s, store, &next, 2);
    vfs_sim_set_clock(s->sim, 1000);
    upkeep_until_idle(store);    /* an idle watermark */
    mark(s, VFS_SIM_ACK, next);
    for (unsigned i = 0; i < 4; i++) commit_group(s, store, &next, 2);
    aegis_abandon(store);
    store = reopen(s, &next);
    for (unsigned i = 0; i < 2; i++) commit_group(s, store, &next, 3);
    EXPECT_OK(aegis_close(store));
    mark(s, VFS_SIM_ACK, next);
    store = reopen(s, &next);
    commit_group(s, store, &next, 2);
    aegis_abandon(store);
}

/* Few and large groups: a segment is full after the second one. */
static void saved_syncs_and_a_rotation(scene *s) {
    uint64_t next = 0;
    aegis_store *store = reopen(s, &next);
    commit_group(s, store, &next, 90);
    s->from = vfs_sim_op_count(s->sim);
    commit_group(s, store, &next, 40);
    aegis_abandon(store);
}

/* The same with a sync each, and sealed. Nothing else fails: it is here for the size of its groups. */
TEST(a_rotation_that_is_cut_breaks_no_promise) {
    scene s;
    uint64_t next = 0;
    scene_begin(&s, SESSION);
    aegis_store *store = reopen(&s, &next);
    commit_group(&s, store, &next, 100);
    size_t from = vfs_sim_op_count(s.sim);
    commit_group(&s, store, &next, 12);
    commit_group(&s, store, &next, 2);
    upkeep_until_idle(store);
    aegis_abandon(store);
    enumerate(&s, from, 6, check_image);
    if (!s.broken) printf("    %" PRIu64 " crash states\n", s.images / EVERY);
    scene_end(&s);
}

static void with_saved_syncs(void (*play)(scene *), size_t subsets) {
    scene s;
    scene_begin(&s, AEGIS_TIER_TELEMETRY);
    s.options.durability[s.tier] = AEGIS_DURABILITY_WRITE;
    play(&s);
    enumerate(&s, s.from, subsets, check_image);
    if (!s.broken) printf("    %" PRIu64 " crash states\n", s.images / EVERY);
    scene_end(&s);
}

TEST(syncs_that_were_saved_and_a_cut_break_no_promise) { with_saved_syncs(saved_syncs, 16); }
TEST(syncs_that_were_saved_before_a_rotation_and_a_cut_break_no_promise) { with_saved_syncs(saved_syncs_and_a_rotation, 4); }

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

/* A bit of the record's entry flips, or a stretch of its frame is lost as a whole. The open may refuse; it may not find less than what is
 * proven, nor serve the damage. */
static void try_damaged(scene *s, vfs_sim *image, size_t cut, uint64_t i, uint64_t offset, bool lost, uint64_t proven) {
    vfs_sim *damaged = vfs_sim_clone(image);
    aegis_store *store = NULL;
    uint8_t bytes[FRAME_HEADER + 1] = {0};
    uint64_t size = 0;
    size_t got = 0;
    if (!lost) {
        EXPECT_OK(vfs_sim_get(damaged, "session/00000000.seg", offset, bytes, sizeof bytes, &got));
        bytes[FRAME_HEADER] ^= 1;
    }
    EXPECT_OK(vfs_sim_patch(damaged, "session/00000000.seg", offset, bytes, sizeof bytes));
    s->images++;
    if (store_open(vfs_sim_vfs(damaged), "store", &s->options, &store, NULL) == AEGIS_OK) {
        if (aegis_size(store, s->tier, &size) != AEGIS_OK || size < proven)
            break_promise(s, image, cut, "a damaged record was taken for an unfinished one");
        else if (same_record(store, s->tier, i)) break_promise(s, image, cut, "a damaged record was served");
        aegis_abandon(store);
    }
    vfs_sim_free(damaged);
}

/* Damages the last two proven records, each in two ways. */
static int check_damaged(void *context, vfs_sim *image, size_t cut) {
    scene *s = context;
    uint64_t proven = said_before(s, cut, MARK_PROVEN), offsets[64], count = 0;
    aegis_store *store = NULL;
    if (proven == 0 || cut % EVERY != 0) return AEGIS_OK;
    vfs_sim *whole = vfs_sim_clone(image);
    if (store_open(vfs_sim_vfs(whole), "store", &s->options, &store, NULL) != AEGIS_OK)
        return break_promise(s, image, cut, "it does not open");
    const segment *seg = store->logs[s->tier].segments[0];
    for (; count < min_u64(seg->count, 64); count++) offsets[count] = (uint64_t)seg->offsets[count] * FRAME_ALIGN;
    aegis_abandon(store);
    vfs_sim_free(whole);
    if (count < proven) return break_promise(s, image, cut, "a record that was promised is gone");
    for (uint64_t n = proven > 2 ? 2 * proven - 4 : 0; n < 2 * proven && !s->broken; n++)
        try_damaged(s, image, cut, n / 2, offsets[n / 2], n % 2 == 1, proven);
    return s->broken ? AEGIS_E_BUG : AEGIS_OK;
}

static void idle(scene *s, aegis_store *store, uint64_t clock, uint64_t next) {
    vfs_sim_set_clock(s->sim, clock);
    upkeep_until_idle(store);
    mark(s, MARK_PROVEN, next);
}

TEST(a_cut_and_damage_never_turn_a_durable_record_into_an_unfinished_one) {
    scene s;
    uint64_t next = 0;
    scene_begin(&s, SESSION);
    aegis_store *store = reopen(&s, &next);
    for (unsigned round = 0; round < 2; round++) {
        commit_group(&s, store, &next, 1);
        idle(&s, store, 1000 * (round + 1), next);
    }
    commit_group(&s, store, &next, 1);
    commit_group(&s, store, &next, 1);
    mark(&s, MARK_PROVEN, next - 1);    /* by the watermark of the last one */
    idle(&s, store, 9000, next);
    EXPECT_OK(aegis_close(store));
    mark(&s, MARK_PROVEN, next);
    store = reopen(&s, &next);
    commit_group(&s, store, &next, 2);
    aegis_abandon(store);
    /* A slot is less than a sector, and a device may tear it all the same: the one before must still vouch. */
    vfs_sim_limits limits = {.all_subsets = 4, .all_names = 2, .random = 1, .seed = 3, .torn_bytes = true};
    int code = vfs_sim_enumerate(s.sim, 0, SIZE_MAX, &limits, check_damaged, &s, NULL);
    EXPECT(code == AEGIS_OK || s.broken);
    if (!s.broken) printf("    %" PRIu64 " damaged records on disks that a cut left\n", s.images);
    scene_end(&s);
}

/* ---- what was said to be done is done --------------------------------------------------------------------------------- */

TEST(a_sealed_segment_is_sealed_and_signed_after_a_cut) {
    scene s;
    uint64_t next = 0;
    aegis_report report;
    aegis_footer footer;
    const uint8_t signature[SIGNATURE_SIZE] = "a signature of sixty-four bytes, none of which anybody checks ..";
    scene_begin(&s, SESSION);
    aegis_store *store = reopen(&s, &next);
    while (next < 150) commit_group(&s, store, &next, 10);
    upkeep_until_idle(store);
    EXPECT_OK(aegis_segment(store, SESSION, 0, &footer));
    EXPECT(footer.sealed);
    vfs_sim *sealed = NULL, *both = NULL;
    EXPECT_OK(vfs_sim_image(s.sim, vfs_sim_op_count(s.sim), VFS_SIM_KEEP_NOTHING, 1, &sealed));
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, 0, signature));
    EXPECT_OK(vfs_sim_image(s.sim, vfs_sim_op_count(s.sim), VFS_SIM_KEEP_NOTHING, 1, &both));
    aegis_abandon(store);
    for (int n = 0; n < 2; n++) {
        store = open_with(vfs_sim_vfs(n == 0 ? sealed : both), &s.options, &report);
        if (store == NULL) continue;
        EXPECT_OK(aegis_segment(store, SESSION, 0, &footer));
        EXPECT(footer.sealed && footer.is_signed == (n == 1));
        aegis_abandon(store);
    }
    vfs_sim_free(sealed);
    vfs_sim_free(both);
    scene_end(&s);
}

/* The order in which readers are told: LOCK names a size only when the frames below it are synced. */
TEST(readers_are_told_of_a_group_after_its_sync) {
    scene s;
    uint64_t next = 0, told = 0, synced = 0;
    bool written = false;
    scene_begin(&s, SESSION);
    aegis_store *store = reopen(&s, &next);
    commit_group(&s, store, &next, 1);    /* makes the tier */
    size_t from = vfs_sim_op_count(s.sim);
    for (unsigned i = 0; i < 5; i++) commit_group(&s, store, &next, 2);
    for (size_t i = from; i < vfs_sim_op_count(s.sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(s.sim, i);
        bool of_segment = op->path != NULL && strcmp(op->path, "session/00000000.seg") == 0;
        if (op->kind == VFS_SIM_WRITE && of_segment) written = true;
        if (op->kind == VFS_SIM_SYNC && of_segment && written) synced++, written = false;
        if (op->kind != VFS_SIM_WRITE || strcmp(op->path, "LOCK") != 0) continue;
        told++;
        EXPECT_EQ_U64(synced, told);
    }
    EXPECT_EQ_U64(told, 5);
    aegis_abandon(store);
    scene_end(&s);
}
