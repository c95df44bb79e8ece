/* trials: a store on a simulated machine whose nth call fails, and what must hold whatever was being done.
 *
 * A trial is one run of a workload with one fault. While it runs, each code that the engine returns goes through `answered`; the
 * fault can be taken away and put back (pause, resume) for what must work beside it. What holds afterwards, in this order:
 *
 *   (1) every code is the fault's own, or UNKNOWN or POISONED; the detail belongs to it and names what failed;
 *   (2) the handle is usable or poisoned: it takes a record and commits it, or refuses all; either way it reads what it acknowledged;
 *   (3) a poisoned log says so in LOCK for the next process, unless LOCK itself could not be written;
 *   (4) every handle that was opened is closed;
 *   (5) a reader of what is left serves only what is durable;
 *   (6) the next writer finds what was acknowledged, byte for byte, of the rest a prefix, and what it serves survives a power cut;
 *   (7) so does every disk that a power cut before the next open leaves;
 *   (8) who only reads has changed nothing.
 */
#ifndef AEGIS_TESTS_TRIALS_H
#define AEGIS_TESTS_TRIALS_H

#include <errno.h>

#include "stores.h"

#define CODES (1 - AEGIS_E_BUG)

typedef struct trial {
    vfs_sim *sim;
    vfs *v;
    const char *workload;
    vfs_sim_fault fault;            /* nth as counted over all the stretches that are not paused */
    int code;                       /* that the fault's number stands for */
    uint32_t payload_max;
    uint64_t submitted[AEGIS_TIERS + 1];
    uint64_t acknowledged[AEGIS_TIERS + 1];
    uint64_t used, mark, hits;      /* calls, of this workload alone; failed ones */
    bool armed;
    uint64_t codes[CODES];          /* answers by code */
    bool poisoned;
    bool reads_only;                /* what was done may have changed nothing */
    bool without_cuts;              /* to save time, where the same call failed with another number before */
} trial;

static void resume(trial *t) {
    vfs_sim_fault rest = t->fault;
    rest.nth = t->fault.nth > t->used ? t->fault.nth - t->used : t->fault.forever ? 1 : 0;
    vfs_sim_fail(t->sim, t->fault.nth == 0 || rest.nth == 0 ? NULL : &rest);
    t->mark = vfs_sim_calls(t->sim);
    t->armed = true;
}

static void pause_fault(trial *t) {
    if (!t->armed) return;
    t->hits += vfs_sim_fault_hits(t->sim);
    t->used += vfs_sim_calls(t->sim) - t->mark;
    vfs_sim_fail(t->sim, NULL);
    t->armed = false;
}

/* (1) */
static int answered(trial *t, int code) {
    aegis_error error;
    if (!EXPECT(code <= 0 && -code < CODES)) return code;
    t->codes[-code]++;
    if (code == AEGIS_OK) return code;
    aegis_last_error(&error);
    if (!EXPECT(code == t->code || code == AEGIS_E_UNKNOWN || code == AEGIS_E_POISONED) || !EXPECT_EQ_U64((uint32_t)error.code, (uint32_t)code))
        printf("    %s: call %" PRIu64 " (errno %d): %s: %s\n", t->workload, t->fault.nth, t->fault.system_errno,
               aegis_error_name(code), error.message);
    /* The words of the system, whoever passed them on. */
    if (!EXPECT(strstr(error.message, strerror(t->fault.system_errno)) != NULL)) printf("    message: %s\n", error.message);
    return code;
}

/* A small cache: an open clears it, and there are tens of thousands. */
static aegis_options trial_options(uint32_t mode) {
    aegis_options o = test_options(mode);
    o.cache_bytes = 1;
    return o;
}

/* ---- the steps of workloads ------------------------------------------------------------------------------------------- */

static aegis_store *opened(trial *t, uint32_t mode) {
    aegis_store *store = NULL;
    const aegis_options o = trial_options(mode);
    return answered(t, store_open(t->v, "store", &o, &store, NULL)) == AEGIS_OK ? store : NULL;
}

static void append(trial *t, aegis_store *store, uint32_t tier, unsigned count) {
    for (; count > 0; count--)
        if (answered(t, append_record(store, tier, t->submitted[tier], t->payload_max)) == AEGIS_OK) t->submitted[tier]++;
}

static void commit(trial *t, aegis_store *store, uint32_t tier) {
    uint64_t size = t->submitted[tier];
    if (size > 0 && answered(t, aegis_commit(store, tier, size - 1)) == AEGIS_OK) t->acknowledged[tier] = size;
}

static void background(trial *t, aegis_store *store, unsigned turns) {
    uint64_t wait = 0;
    (void)t;
    for (; turns > 0; turns--) EXPECT_OK(aegis_background(store, &wait));
}

static void later(trial *t, uint64_t ms) {
    vfs *v = t->v;
    vfs_sim_set_clock(t->sim, v->clock_ms(v) + ms);
}

/* A record as make_record makes it; made once, since thousands of trials compare with the same. */
static const test_record *record_of(uint32_t tier, uint64_t i, uint32_t payload_max) {
    enum { KEPT = 512 };
    static test_record kept[AEGIS_TIERS + 1][KEPT], other;
    static uint32_t made_for[AEGIS_TIERS + 1][KEPT];    /* 0: not made yet */
    test_record *r = i < KEPT ? &kept[tier][i] : &other;
    if (i < KEPT && made_for[tier][i] == payload_max + 1) return r;
    make_record(tier, i, payload_max, r);
    if (i < KEPT) made_for[tier][i] = payload_max + 1;
    return r;
}

/* Records [0, size) of the tier are those of make_record. */
static bool holds_records(aegis_store *store, uint32_t tier, uint64_t size, uint32_t payload_max) {
    static uint8_t buffer[1 << 20];
    static aegis_record records[256];
    for (uint64_t i = 0; i < size;) {
        uint32_t count = 0;
        if (!EXPECT_OK(aegis_read_range(store, tier, i, 256, buffer, sizeof buffer, records, &count))) return false;
        for (uint32_t n = 0; n < count; n++, i++) {
            const test_record *r = record_of(tier, i, payload_max);
            if (!EXPECT_EQ_U64(records[n].entry_length, r->entry_length) || !EXPECT_EQ_U64(records[n].payload_length, r->payload_length) ||
                !EXPECT_BYTES(buffer + records[n].entry_at, r->entry, r->entry_length) ||
                !EXPECT_BYTES(buffer + records[n].payload_at, r->payload, r->payload_length))
                return false;
        }
    }
    return true;
}

/* (2) and (3), of a handle that writes. */
static void usable_or_poisoned(trial *t, aegis_store *store) {
    pause_fault(t);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        aegis_tier_stats stats;
        uint64_t size = 0;
        if (t->submitted[tier] == 0) continue;
        EXPECT_OK(aegis_size(store, tier, &size));
        EXPECT(size >= t->acknowledged[tier] && size <= t->submitted[tier]);
        EXPECT(holds_records(store, tier, size, t->payload_max));
        if (store_log(store, tier) == NULL) continue;
        EXPECT_OK(aegis_stats(store, tier, &stats));
        int code = append_record(store, tier, t->submitted[tier], t->payload_max);
        if (stats.poisoned) {
            uint8_t word[8] = {0};
            size_t got = 0;
            t->poisoned = true;
            EXPECT_CODE(code, AEGIS_E_POISONED);
            EXPECT_CODE(aegis_commit(store, tier, t->submitted[tier] - 1), t->submitted[tier] > size ? AEGIS_E_UNKNOWN : AEGIS_OK);
            EXPECT_OK(vfs_sim_get(t->sim, "LOCK", 8, word, sizeof word, &got));
            if (!t->fault.forever) EXPECT_BYTES(word, "POISONED", 8);
        } else if (EXPECT_OK(code)) {
            t->submitted[tier]++;
            if (EXPECT_OK(aegis_commit(store, tier, t->submitted[tier] - 1))) t->acknowledged[tier] = t->submitted[tier];
        }
    }
    resume(t);
}

static void close_store(trial *t, aegis_store *store) {
    if (answered(t, aegis_close(store)) != AEGIS_OK) return;
    memcpy(t->acknowledged, t->submitted, sizeof t->acknowledged);
}

/* ---- what must hold afterwards ---------------------------------------------------------------------------------------- */

/* A directory that was made, and whose name a failed sync put in doubt, is so for ever by the simulator's rule (7): no disk says more
 * about the engine then. */
static bool directory_in_doubt(vfs_sim *sim) {
    uint64_t pending = 0;    /* a bit for each directory that holds such a name */
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        uint64_t bit = (uint64_t)1 << (op->kind == VFS_SIM_MKDIR ? op->dir : op->kind == VFS_SIM_SYNC_PARENT ? 0 : op->node) % 64;
        if (op->kind == VFS_SIM_MKDIR) pending |= bit;
        if (op->kind != VFS_SIM_SYNC_DIR && op->kind != VFS_SIM_SYNC_PARENT) continue;
        if (op->failed && (pending & bit) != 0) return true;
        pending &= ~bit;
    }
    return false;
}

static bool served(trial *t, aegis_store *store, const uint64_t *least, const uint64_t *most) {
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        uint64_t size = size_of(store, tier);
        if (!EXPECT(size >= least[tier] && size <= most[tier])) {
            printf("    tier %u: %" PRIu64 " of [%" PRIu64 ", %" PRIu64 "]\n", (unsigned)tier, size, least[tier], most[tier]);
            return false;
        }
        if (!holds_records(store, tier, size, t->payload_max)) return false;
    }
    return true;
}

static void sizes_of(aegis_store *store, uint64_t *sizes) {
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) sizes[tier] = size_of(store, tier);
}

/* A writer opens the disk, finds what it must, goes on, and closes. The image is freed. */
static bool image_holds(trial *t, vfs_sim *image, const uint64_t *least, const uint64_t *most) {
    bool any = false;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) any |= most[tier] > 0;
    aegis_store *store = NULL;
    const aegis_options o = trial_options(AEGIS_MODE_APPEND);
    bool right = EXPECT_OK(store_open(vfs_sim_vfs(image), "store", &o, &store, NULL)) && served(t, store, least, most);
    for (uint32_t tier = 1; right && any && tier <= AEGIS_TIERS; tier++)
        if (most[tier] > 0) right = EXPECT_OK(append_committed(store, tier, size_of(store, tier), t->payload_max));
    if (store != NULL) right = EXPECT_OK(aegis_close(store)) && right;
    vfs_sim_free(image);
    return right;
}

static bool cut_holds(trial *t, vfs_sim *sim, enum vfs_sim_keep keep, const uint64_t *least, const uint64_t *most) {
    vfs_sim *image = NULL;
    return EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), keep, t->fault.nth, &image)) && image_holds(t, image, least, most);
}

/* (4) to (8). */
static bool reckon(trial *t) {
    static const uint64_t none[AEGIS_TIERS + 1];
    uint64_t sizes[AEGIS_TIERS + 1] = {0};
    aegis_store *store = NULL;
    pause_fault(t);
    bool right = EXPECT_EQ_U64(vfs_sim_open_count(t->sim), 0), doubt = t->without_cuts || directory_in_doubt(t->sim);
    const uint64_t *least = t->acknowledged, *most = t->submitted;
    if (t->reads_only) return EXPECT_EQ_U64(vfs_sim_op_count(t->sim), 0) && right;
    if (!doubt) right = cut_holds(t, t->sim, VFS_SIM_KEEP_NOTHING, least, most) && cut_holds(t, t->sim, VFS_SIM_KEEP_RANDOM, least, most) && right;
    aegis_options o = trial_options(AEGIS_MODE_READ);
    int code = store_open(t->v, "store", &o, &store, NULL);
    if (code == AEGIS_OK) {
        sizes_of(store, sizes);
        right = served(t, store, none, most) && right;
        EXPECT_OK(aegis_close(store));
        if (!doubt) right = cut_holds(t, t->sim, VFS_SIM_KEEP_NOTHING, sizes, most) && right;
    } else {
        EXPECT_CODE(code, AEGIS_E_NOTFOUND);    /* there never was one */
        for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) EXPECT_EQ_U64(least[tier], 0);
    }
    store = NULL;
    o = trial_options(AEGIS_MODE_APPEND);
    if (!EXPECT_OK(store_open(t->v, "store", &o, &store, NULL))) return false;
    sizes_of(store, sizes);
    right = served(t, store, least, most) && right;
    if (!doubt) right = cut_holds(t, t->sim, VFS_SIM_KEEP_NOTHING, sizes, sizes) && right;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++)
        if (most[tier] > 0 && EXPECT_OK(append_committed(store, tier, sizes[tier], t->payload_max))) sizes[tier]++;
    if (!doubt) right = cut_holds(t, t->sim, VFS_SIM_KEEP_NOTHING, sizes, sizes) && right;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS && t->fault.nth % 8 == 0; tier++)    /* which reads all that `served` has read */
        if (sizes[tier] > 0) right = EXPECT_OK(verify_whole(store, tier)) && right;
    right = EXPECT_OK(aegis_close(store)) && right;
    return EXPECT_EQ_U64(vfs_sim_open_count(t->sim), 0) && right;
}

#endif
