/* The store as a whole where memory runs out: every single allocation of a workload refused, once and from then on. */
#include <pthread.h>

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

static _Atomic uint64_t asked, refused;
static uint64_t refused_at;    /* 0: nothing is refused */
static bool for_ever;

static bool refuses(void) {
    if (refused_at == 0) return false;
    uint64_t now = atomic_fetch_add(&asked, 1) + 1;
    bool refuse = for_ever ? now >= refused_at : now == refused_at;
    if (refuse) atomic_fetch_add(&refused, 1);
    return refuse;
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

/* A store that was killed with a record under way, opened again; then a reader beside the writer. */
static outcome recover(const char *path) {
    outcome made = {{0}, {0}};
    aegis_store *store = NULL, *reader = NULL;
    aegis_record record;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    uint64_t at = refused_at;
    refused_at = 0;
    if (!EXPECT_OK(aegis_open(path, &o, &store, NULL))) return made;
    for (; made.submitted[SESSION] < 420; made.submitted[SESSION]++) EXPECT_OK(append_record(store, SESSION, made.submitted[SESSION], PAYLOAD));
    EXPECT_OK(aegis_commit(store, SESSION, 419));
    EXPECT_OK(aegis_abandon(store));
    made.acknowledged[SESSION] = 420;
    refused_at = at;
    store = NULL;
    int code = aegis_open(path, &o, &store, NULL);
    EXPECT(clear_code(code));
    if (code != AEGIS_OK) return made;
    append(store, SESSION, &made, true);
    o.mode = AEGIS_MODE_READ;
    code = aegis_open(path, &o, &reader, NULL);
    EXPECT(clear_code(code));
    append(store, SESSION, &made, true);
    if (code == AEGIS_OK) {
        EXPECT(clear_code(aegis_refresh(reader)));
        EXPECT(clear_code(aegis_read(reader, SESSION, 300, buffer, sizeof buffer, &record)));
        refused_at = 0;    /* what was refused in the middle of a refresh misleads nobody after it */
        EXPECT_OK(aegis_refresh(reader));
        EXPECT_EQ_U64(size_of(reader, SESSION), made.acknowledged[SESSION]);
        EXPECT(has_record(reader, SESSION, made.acknowledged[SESSION] - 1, PAYLOAD));
        EXPECT_OK(aegis_close(reader));
        refused_at = at;
    }
    EXPECT(clear_code(aegis_close(store)));
    return made;
}

/* A sealed segment is rewritten, the first record with the payload that it has, and a reader beside follows. */
static outcome compact(const char *path) {
    outcome made = {{0}, {0}};
    aegis_store *store = NULL, *reader = NULL;
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    test_record r;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    uint64_t at = refused_at;
    refused_at = 0;
    if (!EXPECT_OK(aegis_open(path, &o, &store, NULL))) return made;
    for (; made.submitted[SESSION] < 420; made.submitted[SESSION]++) EXPECT_OK(append_record(store, SESSION, made.submitted[SESSION], PAYLOAD));
    EXPECT_OK(aegis_rotate(store, SESSION));
    made.acknowledged[SESSION] = 420;
    o.mode = AEGIS_MODE_READ;
    EXPECT_OK(aegis_open(path, &o, &reader, NULL));
    make_record(SESSION, 0, PAYLOAD, &r);
    const aegis_change change = {.index = 0, .cause = AEGIS_NO_CAUSE, .payload_length = r.payload_length};
    refused_at = at;
    EXPECT(clear_code(aegis_seal(store, SESSION)));
    int code = aegis_compact_start(store, SESSION, 0, &change, 1, r.payload, r.payload_length, &compactor);
    EXPECT(code == AEGIS_E_ARGUMENT || clear_code(code));    /* its footer was refused */
    bool started = code == AEGIS_OK;
    while (code == AEGIS_OK && !progress.done) EXPECT(clear_code(code = aegis_compact_step(compactor, 20000, &progress)));
    if (started) aegis_compact_end(compactor);
    append(store, SESSION, &made, true);
    EXPECT(clear_code(aegis_refresh(reader)));
    refused_at = 0;
    EXPECT_OK(aegis_refresh(reader));
    for (uint64_t i = 0; i < 420; i += 7) EXPECT(has_record(reader, SESSION, i, PAYLOAD) && has_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(verify_whole(reader, SESSION));
    EXPECT_OK(aegis_close(reader));
    EXPECT(clear_code(aegis_close(store)));
    return made;
}

/* ---- threads ---------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 30 };

static void *append_beside_others(void *context) {
    aegis_store *store = context;
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t index = UINT64_MAX;
        int code = aegis_append(store, SESSION, 1, large, 100, large, 30000, &index);
        EXPECT(clear_code(code));
        if (code == AEGIS_OK) EXPECT(clear_code(aegis_commit(store, SESSION, index)));
    }
    return NULL;
}

/* Threads that append, and one that does the upkeep, share the refusals; who is refused tries the next record. */
static outcome work_in_threads(const char *path) {
    outcome made = {{0}, {0}};
    pthread_t threads[THREADS];
    aegis_store *store = NULL;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_tier_stats stats;
    o.flags = 0;
    int code = aegis_open(path, &o, &store, NULL);
    EXPECT(clear_code(code));
    if (code != AEGIS_OK) return made;
    uint64_t at = refused_at;
    refused_at = 0;    /* starting a thread is the test's own affair */
    for (unsigned i = 0; i < THREADS; i++) EXPECT(pthread_create(&threads[i], NULL, append_beside_others, store) == 0);
    refused_at = at;
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    refused_at = 0;
    /* Usable, or poisoned: a handle is never half of both. */
    code = aegis_append(store, SESSION, 1, large, 10, NULL, 0, &at);
    if (aegis_stats(store, SESSION, &stats) == AEGIS_OK && stats.poisoned) EXPECT_CODE(code, AEGIS_E_POISONED);
    else EXPECT(code == AEGIS_OK && aegis_commit(store, SESSION, at) == AEGIS_OK);
    EXPECT(clear_code(aegis_close(store)));
    return made;
}

/* ---- each in turn ----------------------------------------------------------------------------------------------------- */

typedef outcome (*workload)(const char *path);

static bool reopens(const char *path, const outcome *made, bool known) {
    aegis_store *store = NULL;
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    bool right = EXPECT_OK(aegis_open(path, &o, &store, NULL));
    for (uint32_t tier = AEGIS_TIER_MEMORY; right && tier <= SESSION; tier++) {
        uint64_t size = size_of(store, tier);
        if (known) {
            right = EXPECT(size >= made->acknowledged[tier] && size <= made->submitted[tier]);
            for (uint64_t i = 0; i < size && right; i++) right = has_record(store, tier, i, PAYLOAD);
        }
        right = right && EXPECT_OK(append_committed(store, tier, size, PAYLOAD)) && EXPECT_OK(verify_whole(store, tier));
    }
    if (right && known) right = EXPECT(size_of(store, AEGIS_TIER_AUDIT) >= made->acknowledged[AEGIS_TIER_AUDIT]);
    if (store != NULL) EXPECT_OK(aegis_close(store));
    return right;
}

/* `step`: each so many allocations where there are very many; from the first on in any case. */
static void refuse_each(workload run, const char *name, bool forever, uint64_t step, uint64_t most, uint64_t least) {
    uint64_t nth = 1, tries = 0, total = 0;
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);    /* syncs cost nothing there */
    for (;; nth += step, tries++) {
        char kept[512];
        if (!begin()) return;
        snprintf(kept, sizeof kept, "%s", under("store"));
        atomic_store(&asked, 0);
        atomic_store(&refused, 0);
        for_ever = forever;
        refused_at = nth;
        const outcome made = run(kept);
        refused_at = 0;
        EXPECT_EQ_U64((unsigned)descriptors_here(false), 1);    /* the place itself */
        bool right = reopens(kept, &made, run != work_in_threads);
        end();
        total += atomic_load(&refused);
        if (!right) printf("    allocation %llu\n", (unsigned long long)nth);
        if (atomic_load(&refused) == 0 || nth >= most || atomic_load(&check_failures) > 20) break;
    }
    EXPECT(nth > least);
    printf("    %s, %s: %llu allocations, %llu refused in %llu trials\n", name, forever ? "for ever" : "once", (unsigned long long)nth - 1,
           (unsigned long long)total, (unsigned long long)tries);
}

TEST(every_allocation_may_be_refused_once) { refuse_each(work, "work", false, 1, UINT64_MAX, 50); }
TEST(every_allocation_may_be_refused_from_some_time_on) { refuse_each(work, "work", true, 1, UINT64_MAX, 50); }
TEST(every_allocation_of_a_recovery_may_be_refused_once) { refuse_each(recover, "recover", false, 1, UINT64_MAX, 30); }
TEST(every_allocation_of_a_recovery_may_be_refused_from_some_time_on) { refuse_each(recover, "recover", true, 1, UINT64_MAX, 30); }
TEST(every_allocation_of_a_compaction_may_be_refused_once) { refuse_each(compact, "compact", false, 1, UINT64_MAX, 15); }
TEST(every_allocation_of_a_compaction_may_be_refused_from_some_time_on) { refuse_each(compact, "compact", true, 1, UINT64_MAX, 15); }
TEST(threads_share_the_refusals_and_none_is_left_waiting) { refuse_each(work_in_threads, "threads", false, 1, 60, 20); }
TEST(threads_that_are_refused_everything_are_told_and_none_is_left_waiting) { refuse_each(work_in_threads, "threads", true, 1, 60, 20); }
