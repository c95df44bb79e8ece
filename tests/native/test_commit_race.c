/* commit.c, watch.c, upkeep.c, log.c, compact.c under many threads that meet everywhere (delays.h): who appends and waits, who asks and
 * watches, who reads, proves, signs, verifies, rewrites what is full, follows from beside, and the end of it all. AEGIS_RACES: how many seeds, 2 unless told.
 *
 * Whatever the order, what an appender was told is there at the index that it was given, once, in its own order; sizes never go
 * back; every head is a prefix of every later one. Under SAN=tsan the sanitizer looks for races besides. */
#include <poll.h>
#include <semaphore.h>

#include "delays.h"
#include "stores.h"
#include "vfs_place.h"

enum { APPENDERS = 16, EACH = 60, READERS = 3, HANGS_SECONDS = 300 };

/* Two syncing tiers, one of them busier, and one that does not sync; the first appenders make them. */
static const uint32_t TIERS[] = {SESSION, AEGIS_TIER_AUDIT, SESSION, AEGIS_TIER_TELEMETRY};

enum way { EACH_ONE, EVERY_FIFTH, ASKED_FOR, ASKED_FOR_TOGETHER, WAYS };

typedef struct race {
    aegis_store *store;
    aegis_store *beside;     /* a reader over the same files */
    uint64_t seed;
    bool fails;              /* the disk will, from somewhere on the way on */
    atomic_bool over;
} race;

typedef struct appender {
    race *race;
    uint32_t number;
    uint32_t tier;
    aegis_watcher *watcher;
    int ear;
    uint32_t count;              /* of indexes */
    uint32_t told;               /* how many of them are durable, as it was told */
    uint64_t indexes[EACH];
} appender;

static uint32_t payload_of(uint64_t seed, uint32_t number, uint32_t i, uint8_t *payload) {
    uint64_t state = seed * 1000000 + number * 1000 + i;
    uint32_t length = (uint32_t)(next_random(&state) % (i % 20 == 7 ? 9000 : 1500));
    fill_random(&state, payload, length);
    return length;
}

/* A record that any appender made: its entry says whose it is, its payload follows from that. */
static bool is_ours(const race *r, const uint8_t *buffer, const aegis_record *record, uint32_t *number, uint32_t *i) {
    uint8_t expected[9000];
    if (!EXPECT_EQ_U64(record->entry_length, 8)) return false;
    memcpy(number, buffer + record->entry_at, 4);
    memcpy(i, buffer + record->entry_at + 4, 4);
    if (!EXPECT(*number < APPENDERS && *i < EACH)) return false;
    uint32_t length = payload_of(r->seed, *number, *i, expected);
    return EXPECT_EQ_U64(record->payload_length, length) && EXPECT_BYTES(buffer + record->payload_at, expected, length);
}

/* ---- appending -------------------------------------------------------------------------------------------------------- */

/* Sleeps as an event loop does until the record has an answer. */
static int wait_as_a_loop(appender *a, uint64_t index) {
    aegis_landed landed;
    for (;;) {
        struct pollfd ear = {.fd = a->ear, .events = POLLIN};
        if (a->ear >= 0) (void)poll(&ear, 1, 10000);
        else delay();
        TRY(aegis_watch_look(a->watcher, &landed));
        if (landed.sizes[a->tier] > index || landed.failed[a->tier] != AEGIS_OK || landed.closed)
            return aegis_watch_result(a->watcher, a->tier, index);
    }
}

/* With odd seeds all wait in a commit, and are woken by each other or never: upkeep leads where somebody asks. */
static enum way way_of(const appender *a) { return (enum way)(a->number / 4 % (a->race->seed % 2 == 1 ? ASKED_FOR : WAYS)); }

/* What is left to be done after the i-th append, in the way of this appender; how many are durable then, or 0: nothing was asked. */
static int settle(appender *a, uint32_t i, uint32_t *told) {
    bool now = i % 5 == 4;
    *told = 0;
    switch (way_of(a)) {
    case EACH_ONE:
        TRY(aegis_commit(a->race->store, a->tier, a->indexes[i]));
        break;
    case EVERY_FIFTH:
        if (!now) return AEGIS_OK;
        TRY(aegis_commit(a->race->store, a->tier, a->indexes[i]));
        break;
    case ASKED_FOR:
        TRY(aegis_request(a->race->store, a->tier, a->indexes[i], a->watcher));
        TRY(wait_as_a_loop(a, a->indexes[i]));
        break;
    case ASKED_FOR_TOGETHER:
        TRY(aegis_request(a->race->store, a->tier, a->indexes[i], a->watcher));
        if (!now) return AEGIS_OK;
        TRY(wait_as_a_loop(a, a->indexes[i]));
        break;
    case WAYS:
        break;
    }
    *told = i + 1;
    return AEGIS_OK;
}

/* Poison, once a group has failed; the failure itself where space was to be zeroed ahead. */
static bool refused_for_the_disk(int code) { return code == AEGIS_E_POISONED || code == AEGIS_E_UNKNOWN || code == AEGIS_E_IO; }

static void *append_all(void *context) {
    appender *a = context;
    race *r = a->race;
    uint8_t payload[9000], buffer[16000];
    for (uint32_t i = 0; i < EACH; i++) {
        const uint32_t entry[2] = {a->number, i};
        uint32_t told = 0, number = 0, which = 0, length = payload_of(r->seed, a->number, i, payload);
        uint64_t size = 0;
        aegis_record record;
        int code = aegis_append(r->store, a->tier, 1, (const uint8_t *)entry, 8, payload, length, &a->indexes[i]);
        if (code == AEGIS_OK) a->count = i + 1;
        if (code == AEGIS_OK) code = settle(a, i, &told);
        if (r->fails && refused_for_the_disk(code)) return NULL;
        if (!EXPECT_OK(code)) return NULL;
        if (told == 0) continue;
        a->told = told;
        EXPECT_OK(aegis_size(r->store, a->tier, &size));
        EXPECT(size > a->indexes[i]);
        if (!EXPECT_OK(aegis_read(r->store, a->tier, a->indexes[i], buffer, sizeof buffer, &record))) return NULL;
        EXPECT(is_ours(r, buffer, &record, &number, &which) && number == a->number && which == i);
    }
    return NULL;    /* some leave their last records to the close */
}

/* ---- looking on ------------------------------------------------------------------------------------------------------- */

/* The tree at `size` has the tree of the head before as a prefix, and the record in it. */
static void prove(aegis_store *store, uint32_t tier, aegis_head *before, uint64_t size, uint64_t index, const uint8_t *leaf) {
    aegis_head head;
    uint8_t proof[64 * 32];
    uint32_t count = 0;
    EXPECT_OK(aegis_head_at(store, tier, size, &head));
    EXPECT_OK(aegis_inclusion(store, tier, index, size, proof, &count));
    EXPECT_OK(aegis_check_inclusion(leaf, index, size, proof, count, head.root));
    if (before->size > 0) {
        EXPECT_OK(aegis_consistency(store, tier, before->size, size, proof, &count));
        EXPECT_OK(aegis_check_consistency(before->size, before->root, size, head.root, proof, count));
    }
    *before = head;
}

static void sign_what_is_sealed(const race *r, uint32_t tier) {
    uint8_t signature[64];
    aegis_footer footer;
    for (uint64_t at = 0; aegis_segment(r->store, tier, at, &footer) == AEGIS_OK; at++) {
        memset(signature, (int)at + 1, sizeof signature);
        int code = footer.sealed ? aegis_sign_segment(r->store, tier, at, footer.segment, signature) : AEGIS_OK;
        /* Another file may have taken its place since. */
        EXPECT(code == AEGIS_OK || code == AEGIS_E_NOTFOUND || code == AEGIS_E_EXISTS || (r->fails && code == AEGIS_E_IO));
    }
}

static void look_on(race *r, aegis_store *store, uint64_t seed, bool own) {
    static const uint32_t all[] = {AEGIS_TIER_AUDIT, SESSION, AEGIS_TIER_TELEMETRY};
    static _Thread_local uint8_t buffer[64000];
    aegis_head before[AEGIS_TIERS + 1] = {{0}};
    while (!atomic_load(&r->over)) {
        uint32_t tier = all[next_random(&seed) % 3], number = 0, i = 0, count = 0;
        uint64_t size = 0;
        aegis_record records[32];
        aegis_tier_stats stats;
        if (!own && !EXPECT_OK(aegis_refresh(store))) return;
        if (!EXPECT_OK(aegis_size(store, tier, &size)) || !EXPECT(size >= before[tier].size)) return;
        EXPECT_OK(aegis_stats(store, tier, &stats));
        delay();
        if (size == 0) continue;
        uint64_t index = next_random(&seed) % 4 == 0 ? size - 1 : next_random(&seed) % size;
        if (!EXPECT_OK(aegis_read_range(store, tier, index, 32, buffer, sizeof buffer, records, &count))) return;
        for (uint32_t k = 0; k < count; k++) EXPECT(records[k].index == index + k && is_ours(r, buffer, &records[k], &number, &i));
        prove(store, tier, &before[tier], size, index, records[0].leaf);
        if (!EXPECT_OK(aegis_read_entries(store, tier, index, 32, 0, buffer, sizeof buffer, records, &count))) return;
        if (own && next_random(&seed) % 16 == 0) sign_what_is_sealed(r, tier);
    }
}

static void *read_all(void *context) {
    race *r = context;
    look_on(r, r->store, delays_draw(), true);
    return NULL;
}

static void *follow(void *context) {
    race *r = context;
    look_on(r, r->beside, r->seed, false);
    return NULL;
}

static void *verify_again_and_again(void *context) {
    race *r = context;
    while (!atomic_load(&r->over) && EXPECT_OK(verify_whole(r->store, SESSION))) delay();
    return NULL;
}

static bool went_on(const race *r, int code) { return EXPECT(code == AEGIS_OK || (r->fails && refused_for_the_disk(code))); }

/* The first record of a segment gets the payload that it has: nobody sees a difference. */
static int rewrite(race *r, uint32_t tier, uint64_t position) {
    static uint8_t buffer[64000];
    aegis_footer footer;
    aegis_record record;
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    TRY(aegis_segment(r->store, tier, position, &footer));
    if (!footer.sealed) return AEGIS_OK;
    TRY(aegis_read(r->store, tier, footer.first, buffer, sizeof buffer, &record));
    const aegis_change change = {.index = footer.first, .cause = AEGIS_NO_CAUSE, .payload_at = record.payload_at, .payload_length = record.payload_length};
    TRY(aegis_compact_start(r->store, tier, position, &change, 1, buffer, sizeof buffer, &compactor));
    int code = AEGIS_OK;
    while (code == AEGIS_OK && !progress.done) {
        code = aegis_compact_step(compactor, 5000, &progress);
        delay();
    }
    aegis_compact_end(compactor);
    return code;
}

static void *turn_and_rewrite(void *context) {
    static const uint32_t tiers[] = {SESSION, AEGIS_TIER_TELEMETRY};
    race *r = context;
    uint64_t seed = r->seed;
    while (!atomic_load(&r->over)) {
        uint32_t tier = tiers[next_random(&seed) % 2];
        aegis_tier_stats stats;
        if (!EXPECT_OK(aegis_stats(r->store, tier, &stats))) break;
        if (stats.segments > 1 && !went_on(r, rewrite(r, tier, next_random(&seed) % (stats.segments - 1)))) break;
        if (next_random(&seed) % 4 == 0 && !went_on(r, aegis_rotate(r->store, tier))) break;
        if (next_random(&seed) % 2 == 0 && !went_on(r, aegis_seal(r->store, tier))) break;
        delay();
    }
    return NULL;
}

/* ---- the whole -------------------------------------------------------------------------------------------------------- */

/* Each appender's records are where it was told, in its order, and nothing else is; those that it was told of are all there. */
static void check_all(aegis_store *store, race *r, const appender *appenders) {
    static uint8_t buffer[16000];
    uint64_t found = 0, sizes = 0;
    for (uint32_t t = 0; t < APPENDERS; t++) {
        const appender *a = &appenders[t];
        uint64_t size = size_of(store, a->tier);
        for (uint32_t i = 0; i < a->count; i++) {
            aegis_record record;
            uint32_t number = 0, which = 0;
            EXPECT(i == 0 || a->indexes[i - 1] < a->indexes[i]);
            if (a->indexes[i] >= size && r->fails && i >= a->told) continue;
            if (!EXPECT_OK(aegis_read(store, a->tier, a->indexes[i], buffer, sizeof buffer, &record))) return;
            EXPECT(is_ours(r, buffer, &record, &number, &which) && number == t && which == i);
            found++;
        }
    }
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        sizes += size_of(store, tier);
        if (size_of(store, tier) > 0) EXPECT_OK(verify_whole(store, tier));
    }
    EXPECT_EQ_U64(found, sizes);
}

static aegis_options options_of(uint32_t mode) {
    aegis_options o = test_options(mode);
    o.flags = 0;
    return o;
}

/* From the first append to what the next open finds. In memory, every sync from the nth on fails, where n is not 0. */
static void run_race(vfs *over, const char *path, uint64_t seed, vfs_sim *sim, uint64_t nth) {
    static appender appenders[APPENDERS];
    pthread_t threads[APPENDERS], others[READERS + 3];
    race r = {.seed = seed, .fails = nth > 0};
    aegis_options o = options_of(AEGIS_MODE_APPEND);
    uint32_t watchers = 0, answered = 0;
    alarm(HANGS_SECONDS);    /* whoever is not woken ends the program */
    delays_begin(over, seed, seed % 2 == 0);
    bool is_open = EXPECT_OK(store_open(over, path, &o, &r.store, NULL));
    o = options_of(AEGIS_MODE_READ);
    if (!is_open || !EXPECT_OK(store_open(over, path, &o, &r.beside, NULL))) return;
    for (uint32_t t = 0; t < APPENDERS; t++) {
        appenders[t] = (appender){.race = &r, .number = t, .tier = TIERS[t % 4], .ear = -1};
        EXPECT_OK(aegis_watch_start(r.store, &appenders[t].watcher, &appenders[t].ear));
        if (sim != NULL) appenders[t].ear = -1;    /* nothing that could be polled */
    }
    if (nth > 0) vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_SYNC, .forever = true, .code = AEGIS_E_IO});
    for (uint32_t t = 0; t < APPENDERS; t++) EXPECT(pthread_create(&threads[t], NULL, append_all, &appenders[t]) == 0);
    for (uint32_t t = 0; t < READERS; t++) EXPECT(pthread_create(&others[t], NULL, read_all, &r) == 0);
    EXPECT(pthread_create(&others[READERS], NULL, follow, &r) == 0);
    EXPECT(pthread_create(&others[READERS + 1], NULL, verify_again_and_again, &r) == 0);
    EXPECT(pthread_create(&others[READERS + 2], NULL, turn_and_rewrite, &r) == 0);
    for (uint32_t t = 0; t < APPENDERS; t++) pthread_join(threads[t], NULL);
    atomic_store(&r.over, true);
    for (uint32_t t = 0; t < READERS + 3; t++) pthread_join(others[t], NULL);
    if (nth > 0) EXPECT(vfs_sim_fault_hits(sim) > 0);
    if (nth > 0) vfs_sim_fail(sim, NULL);
    EXPECT_OK(aegis_close(r.beside));
    int closed = aegis_close(r.store);
    EXPECT(closed == AEGIS_OK || (r.fails && refused_for_the_disk(closed)));
    for (uint32_t t = 0; t < APPENDERS; t++) {
        const appender *a = &appenders[t];
        /* The watcher outlives the store, and whatever was asked for has an answer: there, or nobody knows. */
        for (uint32_t i = 0; i < a->count && way_of(a) >= ASKED_FOR; i++, watchers++) {
            int code = aegis_watch_result(a->watcher, a->tier, a->indexes[i]);
            EXPECT(code == AEGIS_OK || (r.fails && i >= a->told && code == AEGIS_E_UNKNOWN));
            answered += code == AEGIS_OK;
        }
        aegis_watch_end(a->watcher);
    }
    EXPECT(r.fails || (answered == watchers && (watchers > 0) == (seed % 2 == 0)));
    delays_end(over);
    alarm(0);
    o = options_of(AEGIS_MODE_WRITE);
    if (!EXPECT_OK(store_open(over, path, &o, &r.store, NULL))) return;
    check_all(r.store, &r, appenders);
    EXPECT_OK(aegis_close(r.store));
}

static uint64_t races(void) {
    const char *told = getenv("AEGIS_RACES");
    return told == NULL ? 2 : strtoull(told, NULL, 10);
}

static void race_in_memory(uint64_t seed, uint64_t nth) {
    vfs_sim *sim = vfs_sim_new(seed);
    EXPECT_OK(vfs_sim_settle(sim, false));
    run_race(vfs_sim_vfs(sim), "store", seed, sim, nth);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

TEST(whoever_meets_whom_each_record_is_there_once_where_its_appender_was_told) {
    for (uint64_t seed = 1; seed <= races(); seed++) race_in_memory(seed, 0);
}

TEST(the_same_on_a_disk_where_loops_are_rung) {
    for (uint64_t seed = 1; seed <= races(); seed++) {
        if (!begin()) return;
        run_race(v, under("store"), seed, NULL, 0);
        EXPECT_EQ_U64((uint64_t)descriptors_here(false), 1);
        end();
    }
}

/* The disk fails among all that: everybody is told, nobody waits for ever, and what was acknowledged before is there. */
TEST(a_failure_among_many_threads_is_told_to_each_of_them) {
    for (uint64_t seed = 1; seed <= races(); seed++) race_in_memory(seed, 20 + 7 * (seed % 7));
}

/* ---- a meeting that is arranged --------------------------------------------------------------------------------------- */

static sem_t held, let_go;
static _Thread_local bool holds;     /* this thread's next write waits for `let_go` */

static int held_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    if (holds) {
        holds = false;
        sem_post(&held);
        sem_wait(&let_go);
    }
    return delays_below.write(self, file, offset, bytes, length);
}

typedef struct guest {
    aegis_store *store;
    uint32_t payload;            /* 0: commits record 1 */
    bool holds;
} guest;

static void *take_part(void *context) {
    static const uint8_t zeros[1 << 20];
    const guest *g = context;
    uint64_t index = 1;
    holds = g->holds;
    if (g->payload == 0) EXPECT_OK(aegis_commit(g->store, SESSION, index));
    else EXPECT_OK(aegis_append(g->store, SESSION, 1, zeros, 100, zeros, g->payload, &index));
    return NULL;
}

static void asleep(uint32_t count) {
    while (atomic_load(&delays_asleep) < count) sched_yield();
}

/* The leader of a full group waits to rotate while room is made, and two wait for that group to be gone: both are woken when it has
 * landed, though neither commits, and nothing else lands after it. */
TEST(who_waits_for_a_leader_that_waits_is_woken_with_all_others) {
    vfs_sim *sim = vfs_sim_new(1);
    vfs *over = vfs_sim_vfs(sim);
    aegis_options o = options_of(AEGIS_MODE_APPEND);
    guest first = {.payload = 700 << 10}, second = {.payload = 400 << 10}, maker = {.payload = 300 << 10, .holds = true}, leader = {0},
          late = {.payload = 700 << 10};
    pthread_t threads[4];
    uint64_t size = 0;
    o.segment_bytes = 1 << 20;
    o.flags = AEGIS_OPEN_NO_THREAD;
    delays_below = *over;
    over->write = held_write;
    sem_init(&held, 0, 0);
    sem_init(&let_go, 0, 0);
    if (!EXPECT_OK(store_open(over, "store", &o, &first.store, NULL))) return;
    second.store = maker.store = leader.store = late.store = first.store;
    alarm(5);    /* a moment is all it takes */
    take_part(&first);
    EXPECT_OK(aegis_commit(first.store, SESSION, 0));
    take_part(&second);                                                     /* goes to the next segment */
    EXPECT(pthread_create(&threads[0], NULL, take_part, &maker) == 0);      /* zeroes more of it */
    sem_wait(&held);
    EXPECT(pthread_create(&threads[1], NULL, take_part, &leader) == 0);
    asleep(1);
    for (int i = 2; i < 4; i++) EXPECT(pthread_create(&threads[i], NULL, take_part, &late) == 0);
    asleep(3);
    sem_post(&let_go);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    alarm(0);
    EXPECT_OK(aegis_commit(first.store, SESSION, 4));
    EXPECT(aegis_size(first.store, SESSION, &size) == AEGIS_OK && size == 5);
    EXPECT_OK(aegis_close(first.store));
    *over = delays_below;
    vfs_sim_free(sim);
}
