/* recoveries: what the tests of recovery share: one store of five groups, killed or closed, and what an open of a copy of it comes to. */
#ifndef AEGIS_TESTS_RECOVERIES_H
#define AEGIS_TESTS_RECOVERIES_H

#include "scopes.h"

#define PATH "session/00000000.seg"
#define PAYLOAD 100u

enum { GROUPS = 5, GROUP = 3, COUNT = GROUPS * GROUP };

static vfs_sim *base;            /* the store that each test starts from a copy of */
static uint64_t ends[COUNT + 2]; /* ends[n]: where record n starts, or the frames end */
static aegis_report report;

/* Five groups of three records, killed; or closed. No idle watermark: the last group is vouched for by nothing. */
static inline bool begin_base(uint32_t align, bool closed) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = align;
    base = vfs_sim_new(1);
    v = vfs_sim_vfs(base);
    s = scope_of(v, SESSION, align);
    aegis_store *store = open_with(v, &o, NULL);
    if (store == NULL) return false;
    for (uint64_t i = 0; i < COUNT; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i % GROUP == GROUP - 1) EXPECT_OK(aegis_commit(store, SESSION, i));
    }
    const segment *seg = store_log(store, SESSION)->segments[0];
    for (unsigned i = 0; i < COUNT; i++) ends[i] = 8ull * seg->offsets[i];
    ends[COUNT] = seg->tail;
    return closed ? EXPECT_OK(aegis_close(store)) : EXPECT_OK(aegis_abandon(store));
}

static inline void use_copy(void) {
    sim = vfs_sim_clone(base);
    EXPECT(sim != NULL);
    v = vfs_sim_vfs(sim);
}

static inline void drop_copy(void) {
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static inline bool has_all(aegis_store *store, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        if (!has_record(store, SESSION, i, PAYLOAD)) return false;
    return EXPECT_EQ_U64(size_of(store, SESSION), size);
}

static inline int open_code(uint32_t mode, aegis_store **store) {
    const aegis_options o = test_options(mode);
    *store = NULL;
    return store_open(v, "store", &o, store, &report);
}

/* Opens the copy for writing: `size` records are there, and the rest of the file is zeros or gone. */
static inline aegis_store *recovers_to(uint64_t size) {
    static uint8_t rest[300000];
    aegis_store *store = NULL;
    size_t got = 0;
    if (!EXPECT_OK(open_code(AEGIS_MODE_WRITE, &store))) return NULL;
    has_all(store, size);
    EXPECT_EQ_U64(report.tiers[0].size, size);
    EXPECT_OK(vfs_sim_get(sim, PATH, ends[size], rest, sizeof rest, &got));
    EXPECT(all_zero(rest, got));
    return store;
}

/* Refused as damage of records [first, end), and nothing on the disk is another than before. */
static inline bool refused(uint64_t first, uint64_t end) {
    aegis_store *store = NULL;
    aegis_error error;
    char text[200];
    bool right = true;
    for (uint32_t mode = AEGIS_MODE_READ; mode <= AEGIS_MODE_APPEND; mode++) {
        vfs_sim *before = vfs_sim_clone(sim);
        if (!EXPECT_CODE(open_code(mode, &store), AEGIS_E_CORRUPT)) {
            if (store != NULL) EXPECT_OK(aegis_abandon(store));
            right = false;
        } else {
            aegis_last_error(&error);
            right = EXPECT_EQ_U64(error.first, first) && EXPECT_EQ_U64(error.end, end) && EXPECT_EQ_U64(error.tier, SESSION) &&
                    EXPECT_STRING(error.path, "00000000.seg") && EXPECT_EQ_U64(error.segment, 0);
            if (!EXPECT(vfs_sim_same(before, sim, text, sizeof text))) printf("    %s\n", text);
        }
        vfs_sim_free(before);
    }
    return right;
}

enum tear { CUT_SHORT, ZEROS_FROM, GARBAGE_FROM, ZEROS_UP_TO, TEARS };

static inline void tear_at(enum tear how, uint64_t from, uint64_t at, uint64_t end) {
    static uint8_t bytes[16384];
    uint64_t seed = at;
    memset(bytes, 0, sizeof bytes);
    if (how == GARBAGE_FROM) fill_random(&seed, bytes, sizeof bytes);
    if (how == CUT_SHORT) EXPECT_OK(vfs_sim_resize(sim, PATH, at));
    else if (how == ZEROS_UP_TO) EXPECT_OK(vfs_sim_patch(sim, PATH, from, bytes, (size_t)(at - from)));
    else EXPECT_OK(vfs_sim_patch(sim, PATH, at, bytes, (size_t)(end - at)));
}

#endif
