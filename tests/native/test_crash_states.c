/* Every disk that a power cut may leave: open it, and hold what is found against what was promised.
 *
 * A workload runs on the simulated machine and says what it submits and what was acknowledged. Then the power is cut after each of
 * its operations; of what was not synced any subset may have reached the disk (vfs_sim.h lists the rules). Each disk is opened as
 * any store is, and must keep the promises of docs/DURABILITY.md:
 *
 *   (1) it opens; (2) what was acknowledged before the cut is there; (3) what is there was submitted, unchanged and in order;
 *   (4) groups are there whole or not at all; (5) the root at every size is the right one; (6) the whole verifies;
 *   (7) it takes another record, which is there after the next crash; (8) opening it twice finds the same.
 *
 * The last tests take a safeguard away and demand that a promise breaks: an enumeration that finds nothing then would prove nothing.
 */
#include "stores.h"

#include "merkle.h"

#define TIERS_USED 2
#define RECORDS_MAX 256

static const uint32_t TIER[TIERS_USED] = {SESSION, AEGIS_TIER_AUDIT};

enum { MARK_GROUP = 3 };     /* id = tier << 32 | size at the end of a group */

typedef struct workload {
    const char *name;
    void (*run)(vfs_sim *sim);
    uint32_t payload;
} workload;

/* What a workload had said after its first k operations, for one tier. */
typedef struct said {
    uint64_t submitted;
    uint64_t acknowledged;
} said;

typedef struct oracle {
    const workload *work;
    vfs_sim *recording;
    said (*after)[TIERS_USED];
    bool group_end[TIERS_USED][RECORDS_MAX + 1];
    uint8_t roots[TIERS_USED][RECORDS_MAX + 1][32];
    bool deeper;             /* cut recovery's own operations, too */
    uint64_t images;
    uint64_t deeper_images;
    uint64_t violations;
    char first[512];
} oracle;

static uint32_t current_payload;

/* ---- workloads -------------------------------------------------------------------------------------------------------- */

static void submit(vfs_sim *sim, aegis_store *store, uint32_t t, uint64_t i) {
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_SUBMIT, (uint64_t)t << 32 | (i + 1), NULL, 0));
    EXPECT_OK(append_record(store, TIER[t], i, current_payload));
}

/* A group: everything that was submitted since the last one. */
static void commit(vfs_sim *sim, aegis_store *store, uint32_t t, uint64_t last) {
    EXPECT_OK(vfs_sim_mark(sim, MARK_GROUP, (uint64_t)t << 32 | (last + 1), NULL, 0));
    EXPECT_OK(aegis_commit(store, TIER[t], last));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_ACK, (uint64_t)t << 32 | (last + 1), NULL, 0));
}

static void appends(vfs_sim *sim, aegis_store *store, uint32_t t, uint64_t first, uint64_t end, uint64_t group) {
    for (uint64_t i = first; i < end; i++) {
        submit(sim, store, t, i);
        if ((i + 1 - first) % group == 0 || i + 1 == end) commit(sim, store, t, i);
    }
}

static void first_open(vfs_sim *sim) {
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    appends(sim, store, 0, 0, 2, 1);
    aegis_abandon(store);
}

static void steady_appends(vfs_sim *sim) {
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    appends(sim, store, 0, 0, 12, 1);
    aegis_abandon(store);
}

static void groups(vfs_sim *sim) {
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    appends(sim, store, 0, 0, 15, 5);
    vfs_sim_set_clock(sim, 1000);
    upkeep_until_idle(store);    /* an idle watermark between groups */
    appends(sim, store, 0, 15, 21, 3);
    aegis_abandon(store);
}

static void rotation(vfs_sim *sim) {
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    appends(sim, store, 0, 0, 60, 3);
    upkeep_until_idle(store);
    appends(sim, store, 0, 60, 66, 2);
    aegis_abandon(store);
}

static void close_and_reopen(vfs_sim *sim) {
    for (uint64_t round = 0; round < 3; round++) {
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        appends(sim, store, 0, round * 4, round * 4 + 4, 2);
        EXPECT_OK(aegis_close(store));
    }
}

/* Enough in each round that a close leaves an outline; the last round is killed, with an outline there of the one before. */
static void closed_with_an_outline(vfs_sim *sim) {
    for (uint64_t round = 0; round < 3; round++) {
        uint64_t outline = 0;
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        appends(sim, store, 0, round * 8, round * 8 + 8, 4);
        if (round == 2) EXPECT_OK(aegis_abandon(store));
        else EXPECT_OK(aegis_close(store));
        EXPECT_OK(vfs_sim_file_size(sim, "session/outline", &outline));
    }
}

static void killed_and_reopened(vfs_sim *sim) {
    for (uint64_t round = 0; round < 3; round++) {
        aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
        appends(sim, store, 0, round * 4, round * 4 + 4, 2);
        aegis_abandon(store);
    }
}

static void two_tiers(vfs_sim *sim) {
    aegis_store *store = open_test(vfs_sim_vfs(sim), AEGIS_MODE_APPEND, NULL);
    for (uint64_t i = 0; i < 6; i++) {
        appends(sim, store, 0, i, i + 1, 1);
        appends(sim, store, 1, i, i + 1, 1);
    }
    EXPECT_OK(aegis_close(store));
}

static const workload WORKLOADS[] = {
    {"first open", first_open, 300},
    {"steady appends", steady_appends, 600},
    {"groups", groups, 400},
    {"rotation", rotation, 2000},
    {"close and reopen", close_and_reopen, 500},
    {"closed with an outline", closed_with_an_outline, 600},
    {"killed and reopened", killed_and_reopened, 500},
    {"two tiers", two_tiers, 300},
};

/* ---- the oracle ------------------------------------------------------------------------------------------------------- */

static void violation(oracle *o, size_t cut, vfs_sim *image, const char *what) {
    char kept[256] = "";
    aegis_error error;
    if (o->violations++ > 0) return;
    aegis_last_error(&error);
    vfs_sim_explain(image, kept, sizeof kept);
    snprintf(o->first, sizeof o->first, "%s, cut after operation %zu: %s (%s); kept: %s", o->work->name, cut, what, error.message, kept);
}

static void prepare(oracle *o) {
    size_t ops = vfs_sim_op_count(o->recording);
    said now[TIERS_USED] = {{0, 0}};
    o->after = calloc(ops + 1, sizeof *o->after);
    for (uint32_t t = 0; t < TIERS_USED; t++) o->group_end[t][0] = true;
    for (size_t k = 0; k < ops; k++) {
        const vfs_sim_op *op = vfs_sim_op_at(o->recording, k);
        if (op->kind == VFS_SIM_MARK) {
            said *of = &now[op->id >> 32];
            uint64_t size = op->id & UINT32_MAX;
            if (op->mark == VFS_SIM_SUBMIT) of->submitted = size;
            if (op->mark == VFS_SIM_ACK) of->acknowledged = size;
            if (op->mark == MARK_GROUP) o->group_end[op->id >> 32][size] = true;
        }
        memcpy(o->after[k + 1], now, sizeof now);
    }
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        merkle_range range;
        merkle_clear(&range);
        merkle_root(&range, o->roots[t][0]);
        for (uint64_t i = 0; i < RECORDS_MAX; i++) {
            test_record r;
            uint8_t leaf[32];
            make_record(TIER[t], i, o->work->payload, &r);
            aegis_leaf_hash(r.entry, r.entry_length, leaf);
            merkle_append(&range, leaf);
            merkle_root(&range, o->roots[t][i + 1]);
        }
    }
}

static bool same_record(aegis_store *store, uint32_t tier, uint64_t i, uint32_t payload) {
    test_record r;
    uint8_t buffer[4096];
    aegis_record found;
    make_record(tier, i, payload, &r);
    return aegis_read(store, tier, i, buffer, sizeof buffer, &found) == AEGIS_OK && found.entry_length == r.entry_length &&
           found.payload_length == r.payload_length && memcmp(buffer + found.entry_at, r.entry, r.entry_length) == 0 &&
           memcmp(buffer + found.payload_at, r.payload, r.payload_length) == 0;
}

/* The promises, on an open store. `more` records were added to tier 0 after the recovery. */
static const char *broken_promise(const oracle *o, aegis_store *store, size_t cut, uint64_t more, uint64_t sizes[TIERS_USED]) {
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        uint64_t size = 0, extra = t == 0 ? more : 0;
        aegis_head head;
        if (aegis_size(store, TIER[t], &size) != AEGIS_OK || size < extra) return "the size cannot be read";
        sizes[t] = size - extra;
        if (sizes[t] < o->after[cut][t].acknowledged) return "an acknowledged record is gone";
        if (sizes[t] > o->after[cut][t].submitted) return "a record is there that was not submitted";
        if (!o->group_end[t][sizes[t]]) return "a part of a group is there";
        for (uint64_t i = 0; i < size; i++)
            if (!same_record(store, TIER[t], i, o->work->payload)) return "a record is not the one that was submitted";
        for (uint64_t n = size; n <= size; n -= 1 + n / 9)    /* all small sizes, some of the others; past 0 it wraps */
            if (aegis_head_at(store, TIER[t], n, &head) != AEGIS_OK || memcmp(head.root, o->roots[t][n], 32) != 0)
                return "a root is wrong";
        if (verify_whole(store, TIER[t]) != AEGIS_OK) return "the store does not verify";
    }
    return NULL;
}

static int check_deeper(void *context, vfs_sim *image, size_t cut);

typedef struct deeper {
    oracle *o;
    size_t cut;              /* of the workload */
} deeper;

static int check_image(void *context, vfs_sim *image, size_t cut) {
    oracle *o = context;
    const aegis_options options = test_options(AEGIS_MODE_APPEND);
    uint64_t sizes[TIERS_USED], again[TIERS_USED];
    aegis_store *store = NULL;
    const char *broken = NULL;
    o->images++;
    if (store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) != AEGIS_OK) {
        violation(o, cut, image, "it does not open");
        return AEGIS_OK;
    }
    broken = broken_promise(o, store, cut, 0, sizes);
    aegis_abandon(store);
    if (broken == NULL && o->deeper && o->images % 61 == 0) {
        deeper d = {o, cut};
        vfs_sim_limits limits = {256, 16, 8, 1, false, false};
        vfs_sim_enumerate(image, 0, SIZE_MAX, &limits, check_deeper, &d, NULL);
    }
    if (broken == NULL && store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) != AEGIS_OK) broken = "it opens only once";
    else if (broken == NULL) {
        broken = broken_promise(o, store, cut, 0, again);
        if (broken == NULL && memcmp(sizes, again, sizeof sizes) != 0) broken = "opened twice, it is not the same";
        if (broken == NULL && append_committed(store, SESSION, sizes[0], o->work->payload) != AEGIS_OK) broken = "it takes no more records";
        aegis_abandon(store);
        store = NULL;
        if (broken == NULL && store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) != AEGIS_OK) broken = "it does not open after one more record";
        else if (broken == NULL) {
            broken = same_record(store, SESSION, sizes[0], o->work->payload) && size_of(store, SESSION) == sizes[0] + 1
                         ? NULL : "the record that was added is not there";
            aegis_abandon(store);
        }
    }
    if (broken != NULL) violation(o, cut, image, broken);
    return AEGIS_OK;
}

/* A disk that a power cut left while recovery was at work on a disk that a power cut had left. */
static int check_deeper(void *context, vfs_sim *image, size_t cut) {
    deeper *d = context;
    const aegis_options options = test_options(AEGIS_MODE_APPEND);
    uint64_t sizes[TIERS_USED];
    aegis_store *store = NULL;
    const char *broken = "it does not open after a recovery that was interrupted";
    (void)cut;
    d->o->deeper_images++;
    if (store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) == AEGIS_OK) {
        broken = broken_promise(d->o, store, d->cut, 0, sizes);
        aegis_abandon(store);
    }
    if (broken != NULL) violation(d->o, d->cut, image, broken);
    return AEGIS_OK;
}

/* ---- running it ------------------------------------------------------------------------------------------------------- */

typedef struct plan {
    size_t all_subsets;
    size_t random;
    bool deeper;
    const char *drop_sync;
    bool drop_dir_sync;
} plan;

static void enumerate(const workload *work, const plan *how, oracle *o, vfs_sim_counts *counts) {
    vfs_sim *sim = vfs_sim_new(7);
    *o = (oracle){.work = work, .recording = sim, .deeper = how->deeper};
    current_payload = work->payload;
    EXPECT_OK(vfs_sim_drop_sync(sim, how->drop_sync));
    vfs_sim_drop_dir_sync(sim, how->drop_dir_sync);
    work->run(sim);
    prepare(o);
    vfs_sim_limits limits = {how->all_subsets, 64, how->random, 11, false, how->deeper};
    EXPECT_OK(vfs_sim_enumerate(sim, 0, SIZE_MAX, &limits, check_image, o, counts));
    free(o->after);
    vfs_sim_free(sim);
}

/* The sanitizers look at every path, not at every state: with them, which cost tenfold, fewer disks are made. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALL_SUBSETS 24
#else
#define ALL_SUBSETS 512
#endif

TEST(no_crash_state_breaks_a_promise) {
    const plan how = {.all_subsets = ALL_SUBSETS, .random = ALL_SUBSETS / 32, .deeper = true};
    uint64_t images = 0, deeper_images = 0;
    for (size_t i = 0; i < sizeof WORKLOADS / sizeof WORKLOADS[0]; i++) {
        static oracle o;
        vfs_sim_counts counts;
        enumerate(&WORKLOADS[i], &how, &o, &counts);
        printf("    %-20s %7" PRIu64 " images of %" PRIu64 " cuts, %" PRIu64 " of recovery's own\n", WORKLOADS[i].name, o.images,
               counts.cuts, o.deeper_images);
        images += o.images;
        deeper_images += o.deeper_images;
        if (!EXPECT_EQ_U64(o.violations, 0)) printf("    %s\n", o.first);
        EXPECT(o.images >= 50);
    }
    printf("    %" PRIu64 " crash states, and %" PRIu64 " of recoveries that were interrupted\n", images, deeper_images);
}

/* Violations over the workloads, enough to say that the suite would have noticed. */
static uint64_t violations_with(const plan *how, char first[512]) {
    uint64_t violations = 0;
    for (size_t i = 0; i < sizeof WORKLOADS / sizeof WORKLOADS[0] && violations == 0; i++) {
        static oracle o;
        enumerate(&WORKLOADS[i], how, &o, NULL);
        violations += o.violations;
        memcpy(first, o.first, sizeof o.first);
    }
    return violations;
}

TEST(a_missing_sync_of_segments_is_noticed) {
    const plan how = {.all_subsets = 64, .random = 4, .drop_sync = "*.seg"};
    char first[512];
    EXPECT(violations_with(&how, first) > 0);
    printf("    %.200s\n", first);
}

TEST(a_missing_sync_of_the_manifest_is_noticed) {
    const plan how = {.all_subsets = 64, .random = 4, .drop_sync = "MANIFEST*"};
    char first[512];
    EXPECT(violations_with(&how, first) > 0);
    printf("    %.200s\n", first);
}

TEST(a_missing_sync_of_directories_is_noticed) {
    const plan how = {.all_subsets = 64, .random = 4, .drop_dir_sync = true};
    char first[512];
    EXPECT(violations_with(&how, first) > 0);
    printf("    %.200s\n", first);
}
