/* The store as a whole where memory runs out: every single allocation of a workload refused, once and from then on. */
#include "stores.h"
#include "vfs_place.h"

#define PAYLOAD 300u

/* The linker puts these between the core and the allocator (see Makefile). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static uint64_t asked, refused_at;    /* 0: nothing is refused */
static bool for_ever;

static bool refuses(void) {
    if (refused_at == 0) return false;
    asked++;
    return for_ever ? asked >= refused_at : asked == refused_at;
}

void *__wrap_malloc(size_t size) { return refuses() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return refuses() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return refuses() ? NULL : __real_realloc(old, size); }

typedef struct outcome {
    uint64_t submitted[AEGIS_TIERS + 1];
    uint64_t acknowledged[AEGIS_TIERS + 1];
} outcome;

static uint8_t large[400000], buffer[500000];

static bool clear_code(int code) {
    return code == AEGIS_OK || code == AEGIS_E_NOMEM || code == AEGIS_E_POISONED || code == AEGIS_E_UNKNOWN;
}

static void append(aegis_store *store, uint32_t tier, outcome *made, bool commit) {
    uint64_t i = made->submitted[tier];
    int code = append_record(store, tier, i, PAYLOAD);
    EXPECT(clear_code(code));
    if (code == AEGIS_OK) made->submitted[tier]++;
    i = made->submitted[tier];
    if (!commit || i == 0) return;
    code = aegis_commit(store, tier, i - 1);
    EXPECT(clear_code(code));
    if (code == AEGIS_OK) made->acknowledged[tier] = i;
}

/* All that allocates: opening, two tiers, rotations, upkeep, tiles, reading, proofs, verifying, closing. */
static outcome work(const char *path) {
    outcome made = {{0}, {0}};
    aegis_store *store = NULL;
    aegis_head head;
    aegis_record record;
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    int code = aegis_open(path, &o, &store, NULL);
    EXPECT(code == AEGIS_OK || code == AEGIS_E_NOMEM);
    if (code != AEGIS_OK) return made;
    for (uint64_t turn = 0; turn < 300; turn++) {
        uint64_t wait = 0;
        append(store, SESSION, &made, turn % 10 == 9);
        if (turn % 50 == 20) append(store, AEGIS_TIER_MEMORY, &made, true);
        if (turn % 100 == 60)
            for (int n = 0; n < 5; n++) EXPECT_OK(aegis_background(store, &wait));
    }
    /* A group of more bytes than any before; the record is of another kind than append_record's. */
    uint64_t index = 0;
    code = aegis_append(store, AEGIS_TIER_AUDIT, 1, large, 10, large, sizeof large, &index);
    EXPECT(clear_code(code));
    if (code == AEGIS_OK && aegis_commit(store, AEGIS_TIER_AUDIT, index) == AEGIS_OK) made.acknowledged[AEGIS_TIER_AUDIT] = 1;
    for (uint64_t i = 0; i < made.acknowledged[SESSION]; i += 40)
        EXPECT(clear_code(aegis_read(store, SESSION, i, buffer, sizeof buffer, &record)));
    if (made.acknowledged[SESSION] > 100) EXPECT(clear_code(aegis_head_at(store, SESSION, 77, &head)));
    code = aegis_verify_start(store, SESSION, &verifier);
    EXPECT(clear_code(code));
    for (int steps = 0; code == AEGIS_OK && !progress.done && steps < 100; steps++)
        EXPECT(clear_code(aegis_verify_step(verifier, 1 << 20, &progress)));
    if (verifier != NULL) aegis_verify_end(verifier);
    code = aegis_close(store);
    EXPECT(clear_code(code));
    return made;
}

static void refuse_every_allocation(bool forever) {
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);    /* syncs cost nothing there */
    for (uint64_t nth = 1;; nth++) {
        const char *path = NULL;
        if (!begin()) return;
        path = under("store");
        char kept[512];
        snprintf(kept, sizeof kept, "%s", path);
        asked = 0;
        for_ever = forever;
        refused_at = nth;
        const outcome made = work(kept);
        refused_at = 0;
        EXPECT_EQ_U64((unsigned)descriptors_here(false), 1);    /* the place itself */
        aegis_store *store = NULL;
        const aegis_options o = test_options(AEGIS_MODE_APPEND);
        bool right = EXPECT_OK(aegis_open(kept, &o, &store, NULL));
        for (uint32_t tier = AEGIS_TIER_MEMORY; right && tier <= SESSION; tier++) {
            uint64_t size = size_of(store, tier);
            right = EXPECT(size >= made.acknowledged[tier] && size <= made.submitted[tier]);
            for (uint64_t i = 0; i < size && right; i++) right = has_record(store, tier, i, PAYLOAD);
            right = right && EXPECT_OK(append_committed(store, tier, size, PAYLOAD)) && EXPECT_OK(verify_whole(store, tier));
        }
        if (right) right = EXPECT(size_of(store, AEGIS_TIER_AUDIT) >= made.acknowledged[AEGIS_TIER_AUDIT]);
        if (store != NULL) EXPECT_OK(aegis_close(store));
        end();
        if (!right) printf("    allocation %llu\n", (unsigned long long)nth);
        if (asked < nth || atomic_load(&check_failures) > 20) {
            EXPECT(nth > 50);
            return;
        }
    }
}

TEST(every_allocation_may_be_refused_once) { refuse_every_allocation(false); }
TEST(every_allocation_may_be_refused_from_some_time_on) { refuse_every_allocation(true); }
