/* watch.c, and requests in commit.c: who leads for those who do not wait, who is told, and what they are told at the end. */
#include <poll.h>
#include <pthread.h>

#include "stores.h"
#include "upkeep.h"
#include "vfs_place.h"

#define PAYLOAD 300u

static vfs_sim *sim;
static aegis_store *store;
static aegis_watcher *watcher;
static int ear;

/* A store of some records in memory, where nothing is led unless `turn` does it, and a watcher. */
static bool begin_watching(uint64_t records) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.segment_bytes = 1 << 20;
    sim = vfs_sim_new(1);
    store = open_with(vfs_sim_vfs(sim), &o, NULL);
    for (uint64_t i = 0; store != NULL && i < records; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    if (store != NULL) upkeep_until_idle(store);
    return store != NULL && EXPECT_OK(aegis_watch_start(store, &watcher, &ear));
}

static void end_watching(void) {
    aegis_watch_end(watcher);
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static uint64_t turn(void) {
    uint64_t wait = 0;
    EXPECT_OK(aegis_background(store, &wait));
    return wait;
}

static aegis_landed look(void) {
    aegis_landed landed = {.closed = 9};
    EXPECT_OK(aegis_watch_look(watcher, &landed));
    return landed;
}

static aegis_tier_stats stats(void) {
    aegis_tier_stats s;
    EXPECT_OK(aegis_stats(store, SESSION, &s));
    return s;
}

/* ---- who leads -------------------------------------------------------------------------------------------------------- */

TEST(what_was_requested_lands_in_the_next_turn_though_nobody_waits) {
    for (unsigned watched = 0; watched < 2; watched++) {
        if (!begin_watching(1)) return;
        EXPECT_OK(append_record(store, SESSION, 1, PAYLOAD));
        (void)turn();
        EXPECT_EQ_U64(size_of(store, SESSION), 1);    /* nobody asked */
        EXPECT_OK(aegis_request(store, SESSION, 1, watched ? watcher : NULL));
        EXPECT_EQ_U64(size_of(store, SESSION), 1);    /* a request writes nothing itself */
        EXPECT_EQ_U64(turn(), 0);
        EXPECT_EQ_U64(size_of(store, SESSION), 2);
        EXPECT(has_record(store, SESSION, 1, PAYLOAD));
        EXPECT_EQ_U64(vfs_sim_rings(sim), watched);
        end_watching();
    }
}

TEST(what_was_queued_by_then_travels_along_in_one_group) {
    if (!begin_watching(1)) return;
    aegis_tier_stats before = stats();
    for (uint64_t i = 1; i <= 500; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        if (i <= 400) EXPECT_OK(aegis_request(store, SESSION, i, watcher));
    }
    (void)turn();
    EXPECT_EQ_U64(size_of(store, SESSION), 501);
    EXPECT_EQ_U64(stats().groups - before.groups, 1);
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    EXPECT_EQ_U64(look().sizes[SESSION], 501);
    end_watching();
}

TEST(a_thread_that_waits_takes_requested_records_along) {
    if (!begin_watching(1)) return;
    for (uint64_t i = 1; i <= 3; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_request(store, SESSION, 1, watcher));
    EXPECT_OK(aegis_commit(store, SESSION, 2));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    EXPECT_EQ_U64(look().sizes[SESSION], 4);
    EXPECT_OK(aegis_watch_result(watcher, SESSION, 1));
    aegis_tier_stats before = stats();
    upkeep_until_idle(store);
    EXPECT_EQ_U64(stats().groups, before.groups);
    end_watching();
}

TEST(the_rest_of_upkeep_has_its_turn_between_requests) {
    vfs_sim *one = vfs_sim_new(3);
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_store *busy = open_with(vfs_sim_vfs(one), &o, NULL);
    uint64_t wait = 0;
    EXPECT_OK(vfs_sim_settle(one, false));
    for (uint64_t i = 0; i < 3000; i++) {
        EXPECT_OK(append_record(busy, SESSION, i, PAYLOAD));
        EXPECT_OK(aegis_request(busy, SESSION, i, NULL));
        EXPECT_OK(aegis_background(busy, &wait));
        EXPECT_EQ_U64(size_of(busy, SESSION), i + 1);
    }
    aegis_tier_stats s;
    EXPECT_OK(aegis_stats(busy, SESSION, &s));
    EXPECT(s.rotations >= 10);
    /* Every full segment but the last has its footer, though each turn had a group to lead. */
    for (uint64_t i = 0; i + 2 < s.segments; i++) {
        aegis_footer footer;
        EXPECT_OK(aegis_segment(busy, SESSION, i, &footer));
        EXPECT(footer.sealed);
    }
    EXPECT_OK(aegis_close(busy));
    vfs_sim_free(one);
}

/* What happens while a file is being synced: one more record is queued and requested. */
static int (*real_sync)(vfs *self, vfs_file *file);
static uint64_t meanwhile;
static bool woken_at_once;

static int sync_meanwhile(vfs *self, vfs_file *file) {
    if (meanwhile > 0) {
        store->work = false;
        EXPECT_OK(append_record(store, SESSION, meanwhile, PAYLOAD));
        EXPECT_OK(aegis_request(store, SESSION, meanwhile, watcher));
        woken_at_once = store->work;
        meanwhile = 0;
    }
    return real_sync(self, file);
}

static bool begin_meanwhile(void) {
    if (!begin_watching(1)) return false;
    real_sync = vfs_sim_vfs(sim)->sync;
    vfs_sim_vfs(sim)->sync = sync_meanwhile;
    woken_at_once = true;
    return true;
}

TEST(upkeep_is_woken_by_a_request_or_by_whoever_was_in_its_way) {
    if (!begin_meanwhile()) return;
    store->work = false;
    EXPECT_OK(append_record(store, SESSION, 1, PAYLOAD));
    EXPECT(!store->work);
    EXPECT_OK(aegis_request(store, SESSION, 1, watcher));
    EXPECT(store->work);
    upkeep_until_idle(store);
    /* By a leader, when its group has landed: until then upkeep could do nothing. */
    EXPECT_OK(append_record(store, SESSION, 2, PAYLOAD));
    meanwhile = 3;
    EXPECT_OK(aegis_commit(store, SESSION, 2));
    EXPECT_EQ_U64(size_of(store, SESSION), 3);
    EXPECT(!woken_at_once && store->work);
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);    /* of 1; 2 was not asked for, and 3 is to come */
    upkeep_until_idle(store);
    EXPECT_EQ_U64(size_of(store, SESSION), 4);
    EXPECT_EQ_U64(look().sizes[SESSION], 4);
    /* By an idle watermark. */
    vfs_sim_set_clock(sim, 1000);
    EXPECT_OK(append_committed(store, SESSION, 4, PAYLOAD));
    upkeep_until_idle(store);
    vfs_sim_set_clock(sim, 2000);
    meanwhile = 5;
    woken_at_once = true;
    (void)turn();
    EXPECT_EQ_U64(meanwhile, 0);
    EXPECT(!woken_at_once && store->work);
    (void)turn();
    EXPECT_EQ_U64(size_of(store, SESSION), 6);
    end_watching();
}

TEST(a_tier_that_need_not_be_synced_is_not) {
    if (!begin_watching(1)) return;
    EXPECT_OK(append_committed(store, AEGIS_TIER_TELEMETRY, 0, PAYLOAD));
    upkeep_until_idle(store);
    EXPECT_OK(append_record(store, AEGIS_TIER_TELEMETRY, 1, PAYLOAD));
    EXPECT_OK(aegis_request(store, AEGIS_TIER_TELEMETRY, 1, watcher));
    EXPECT_OK(vfs_sim_settle(sim, true));
    (void)turn();
    EXPECT_EQ_U64(look().sizes[AEGIS_TIER_TELEMETRY], 2);
    EXPECT_EQ_U64(look().sizes[SESSION], 0);    /* nobody asked for that tier */
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) EXPECT(vfs_sim_op_at(sim, i)->kind != VFS_SIM_SYNC);
    end_watching();
}

/* ---- who is told ------------------------------------------------------------------------------------------------------ */

TEST(nobody_is_told_who_did_not_ask) {
    aegis_watcher *other = NULL;
    int fd = 0;
    if (!begin_watching(1)) return;
    EXPECT_OK(aegis_watch_start(store, &other, &fd));
    for (uint64_t i = 1; i < 20; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 0);
    EXPECT_OK(append_record(store, SESSION, 20, PAYLOAD));
    EXPECT_OK(aegis_request(store, SESSION, 20, other));
    (void)turn();
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    /* Later groups are nothing to either of them. */
    aegis_landed landed;
    EXPECT_OK(aegis_watch_look(other, &landed));
    EXPECT_EQ_U64(landed.sizes[SESSION], 21);
    for (uint64_t i = 21; i < 30; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    aegis_watch_end(other);
    end_watching();
}

TEST(a_watcher_is_told_once_until_it_looks_and_of_every_group_of_its_requests) {
    if (!begin_watching(1)) return;
    for (uint64_t i = 1; i <= 3; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        EXPECT_OK(aegis_request(store, SESSION, i, watcher));
        (void)turn();
        EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    }
    EXPECT_EQ_U64(look().sizes[SESSION], 4);
    for (uint64_t i = 4; i <= 6; i++) {
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        EXPECT_OK(aegis_request(store, SESSION, i, watcher));
        (void)turn();
        EXPECT_EQ_U64(vfs_sim_rings(sim), i - 2);
        EXPECT_EQ_U64(look().sizes[SESSION], i + 1);
    }
    end_watching();
}

TEST(a_request_that_has_its_answer_already_is_answered_at_once) {
    if (!begin_watching(5)) return;
    EXPECT_OK(aegis_request(store, SESSION, 2, watcher));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    EXPECT_EQ_U64(look().sizes[SESSION], 5);
    /* And again, though the size was seen before. */
    EXPECT_OK(aegis_request(store, SESSION, 4, watcher));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 2);
    EXPECT_OK(aegis_watch_result(watcher, SESSION, 4));
    end_watching();
}

TEST(what_cannot_be_meant_is_refused_and_leaves_nothing_behind) {
    aegis_watcher *none = NULL;
    if (!begin_watching(1)) return;
    EXPECT_CODE(aegis_request(store, SESSION, 1, watcher), AEGIS_E_RANGE);
    EXPECT(message_has("the next one is 1"));
    EXPECT_CODE(aegis_request(store, SESSION, UINT64_MAX, watcher), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_request(store, AEGIS_TIER_AUDIT, 0, watcher), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_request(store, 9, 0, watcher), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_start(store, NULL, &ear), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_start(store, &none, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_look(NULL, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_look(watcher, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_result(NULL, SESSION, 0), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_result(watcher, 0, 0), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_watch_result(watcher, AEGIS_TIERS + 1, 0), AEGIS_E_ARGUMENT);
    aegis_watch_end(NULL);
    EXPECT_CODE(aegis_watch_result(watcher, SESSION, 0), AEGIS_E_ARGUMENT);
    EXPECT(message_has("no answer yet"));
    for (uint64_t i = 1; i < 5; i++) EXPECT_OK(append_committed(store, SESSION, i, PAYLOAD));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 0);
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_OPEN, .code = AEGIS_E_DESCRIPTORS});
    EXPECT_CODE(aegis_watch_start(store, &none, &ear), AEGIS_E_DESCRIPTORS);
    vfs_sim_fail(sim, NULL);
    aegis_store *other = open_test(vfs_sim_vfs(sim), AEGIS_MODE_READ, NULL);
    EXPECT_CODE(aegis_watch_start(other, &none, &ear), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_request(other, SESSION, 0, NULL), AEGIS_E_READONLY);
    EXPECT_OK(aegis_close(other));
    end_watching();
}

TEST(a_watcher_is_of_one_store) {
    if (!begin_watching(1)) return;
    vfs_sim *elsewhere = vfs_sim_new(2);
    aegis_store *other = open_test(vfs_sim_vfs(elsewhere), AEGIS_MODE_APPEND, NULL);
    EXPECT_OK(append_record(other, SESSION, 0, PAYLOAD));
    EXPECT_CODE(aegis_request(other, SESSION, 0, watcher), AEGIS_E_ARGUMENT);
    EXPECT_OK(aegis_close(other));
    vfs_sim_free(elsewhere);
    end_watching();
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

TEST(a_failure_is_told_and_named_like_that_of_a_commit) {
    static const enum vfs_sim_kind kinds[] = {VFS_SIM_WRITE, VFS_SIM_SYNC};
    for (int i = 0; i < 2; i++) {
        if (!begin_watching(3)) return;
        EXPECT_OK(aegis_request(store, SESSION, 0, watcher));
        EXPECT_EQ_U64(look().sizes[SESSION], 3);    /* a failure moves nothing past that */
        for (uint64_t n = 3; n < 6; n++) EXPECT_OK(append_record(store, SESSION, n, PAYLOAD));
        EXPECT_OK(aegis_request(store, SESSION, 4, watcher));
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << kinds[i], .code = AEGIS_E_IO});
        (void)turn();
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(vfs_sim_rings(sim), 2);
        aegis_landed landed = look();
        EXPECT_EQ_U64(landed.sizes[SESSION], 3);
        EXPECT(landed.failed[SESSION] == AEGIS_E_IO);
        EXPECT(landed.failed[AEGIS_TIER_MEMORY] == 0);
        for (uint64_t n = 3; n < 6; n++) {
            char said[256];
            aegis_error error;
            EXPECT_CODE(aegis_watch_result(watcher, SESSION, n), AEGIS_E_UNKNOWN);
            aegis_last_error(&error);
            snprintf(said, sizeof said, "%s", error.message);
            EXPECT_CODE(aegis_commit(store, SESSION, n), AEGIS_E_UNKNOWN);
            EXPECT(message_has(said));
        }
        EXPECT_OK(aegis_watch_result(watcher, SESSION, 2));
        /* Who asks only now is told as well, and nothing is written any more. */
        EXPECT_OK(aegis_request(store, SESSION, 5, watcher));
        EXPECT_EQ_U64(vfs_sim_rings(sim), 3);
        (void)turn();
        EXPECT_CODE(append_record(store, SESSION, 6, PAYLOAD), AEGIS_E_POISONED);
        EXPECT_CODE(aegis_close(store), AEGIS_E_UNKNOWN);
        EXPECT_CODE(aegis_watch_result(watcher, SESSION, 5), AEGIS_E_UNKNOWN);
        aegis_watch_end(watcher);
        EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
        vfs_sim_free(sim);
    }
}

TEST(a_close_commits_what_was_requested_and_the_watcher_outlives_it) {
    if (!begin_watching(1)) return;
    for (uint64_t i = 1; i < 4; i++) EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
    EXPECT_OK(aegis_request(store, SESSION, 2, watcher));
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 1);
    aegis_landed landed = look();
    EXPECT_EQ_U64(landed.sizes[SESSION], 4);
    EXPECT_EQ_U64(landed.closed, 1);
    EXPECT_OK(aegis_watch_result(watcher, SESSION, 2));
    EXPECT_OK(aegis_watch_result(watcher, SESSION, 3));
    aegis_watch_end(watcher);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
    /* The same for what nobody had asked for yet. */
    if (!begin_watching(1)) return;
    EXPECT_OK(append_record(store, SESSION, 1, PAYLOAD));
    EXPECT_OK(append_record(store, AEGIS_TIER_AUDIT, 0, PAYLOAD));
    EXPECT_OK(aegis_close(store));
    EXPECT_OK(aegis_watch_result(watcher, SESSION, 1));
    EXPECT_OK(aegis_watch_result(watcher, AEGIS_TIER_AUDIT, 0));
    EXPECT_CODE(aegis_watch_result(watcher, SESSION, 2), AEGIS_E_UNKNOWN);
    aegis_watch_end(watcher);
    vfs_sim_free(sim);
}

TEST(giving_the_store_up_is_told_too) {
    if (!begin_watching(1)) return;
    EXPECT_OK(append_record(store, SESSION, 1, PAYLOAD));
    EXPECT_OK(aegis_request(store, SESSION, 1, watcher));
    EXPECT_OK(aegis_abandon(store));
    EXPECT_EQ_U64(vfs_sim_rings(sim), 1);
    EXPECT_EQ_U64(look().closed, 1);
    EXPECT_CODE(aegis_watch_result(watcher, SESSION, 1), AEGIS_E_UNKNOWN);
    EXPECT(message_has("given up before record 1"));
    aegis_watch_end(watcher);
    vfs_sim_free(sim);
}

/* ---- on a machine ----------------------------------------------------------------------------------------------------- */

static bool readable(int fd, int timeout_ms) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, timeout_ms) == 1 && (one.revents & POLLIN) != 0;
}

static bool begin_on_disk(void) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.flags = 0;
    return begin() && EXPECT_OK(store_open(v, under("store"), &o, &store, NULL)) &&
           EXPECT_OK(append_committed(store, SESSION, 0, PAYLOAD)) && EXPECT_OK(aegis_watch_start(store, &watcher, &ear));
}

TEST(the_background_thread_leads_and_the_descriptor_becomes_readable) {
    if (!begin_on_disk()) return;
    for (uint64_t i = 1; i < 200; i++) {
        EXPECT(!readable(ear, 0));
        EXPECT_OK(append_record(store, SESSION, i, PAYLOAD));
        EXPECT_OK(aegis_request(store, SESSION, i, watcher));
        if (!EXPECT(readable(ear, 60000))) break;
        EXPECT_EQ_U64(look().sizes[SESSION], i + 1);
        EXPECT(has_record(store, SESSION, i, PAYLOAD));
    }
    EXPECT_OK(aegis_close(store));
    EXPECT(readable(ear, 0));
    EXPECT_EQ_U64(look().closed, 1);
    EXPECT(!readable(ear, 0));
    aegis_watch_end(watcher);
    EXPECT(fcntl(ear, F_GETFD) < 0);
    end();
}

static void watch_in_child(void) {
    aegis_landed landed;
    (void)alarm(60);    /* instead of waiting for ever for a thread that only the parent has */
    EXPECT(fcntl(ear, F_GETFD) < 0);
    EXPECT_CODE(aegis_watch_look(watcher, &landed), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_watch_result(watcher, SESSION, 0), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_request(store, SESSION, 0, watcher), AEGIS_E_FORKED);
    EXPECT_CODE(aegis_watch_start(store, &watcher, &ear), AEGIS_E_FORKED);
    aegis_watch_end(watcher);
    EXPECT_OK(aegis_abandon(store));
}

TEST(a_forked_child_hears_and_rings_nothing) {
    if (!begin_on_disk()) return;
    pthread_mutex_lock(&store->board->mutex);
    in_child(watch_in_child);
    pthread_mutex_unlock(&store->board->mutex);
    EXPECT(!readable(ear, 0));
    EXPECT_OK(append_record(store, SESSION, 1, PAYLOAD));
    EXPECT_OK(aegis_request(store, SESSION, 1, watcher));
    EXPECT(readable(ear, 60000));
    EXPECT_EQ_U64(look().sizes[SESSION], 2);
    EXPECT_OK(aegis_close(store));
    aegis_watch_end(watcher);
    end();
}

/* ---- loops and threads ------------------------------------------------------------------------------------------------ */

#define LOOPS 4
#define WAITERS 4
#define EACH 400

/* Like an event loop: queues a few, asks for the last of them, and polls until all have landed. */
static void *loop(void *context) {
    aegis_watcher *mine = NULL;
    int fd = 0;
    uint64_t seed = (uint64_t)(uintptr_t)context;
    EXPECT_OK(aegis_watch_start(store, &mine, &fd));
    for (unsigned done = 0; done < EACH;) {
        uint64_t index = 0, wanted = 1 + next_random(&seed) % 9;
        for (uint64_t n = 0; n < wanted; n++, done++)
            EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)&seed, 8, (const uint8_t *)&seed, 8, &index));
        if (!EXPECT_OK(aegis_request(store, SESSION, index, mine))) break;
        aegis_landed landed = {.closed = 0};
        while (landed.sizes[SESSION] <= index) {
            if (!EXPECT(readable(fd, 60000)) || !EXPECT_OK(aegis_watch_look(mine, &landed))) return NULL;
        }
        EXPECT_OK(aegis_watch_result(mine, SESSION, index));
    }
    aegis_watch_end(mine);
    return NULL;
}

static void *waiter(void *context) {
    uint64_t seed = (uint64_t)(uintptr_t)context;
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t index = 0;
        EXPECT_OK(aegis_append(store, SESSION, 1, (const uint8_t *)&seed, 8, NULL, 0, &index));
        EXPECT_OK(i % 3 == 0 ? aegis_request(store, SESSION, index, NULL) : aegis_commit(store, SESSION, index));
    }
    return NULL;
}

TEST(loops_and_waiting_threads_share_a_store) {
    pthread_t threads[LOOPS + WAITERS];
    if (!begin_on_disk()) return;
    for (size_t i = 0; i < LOOPS + WAITERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, i < LOOPS ? loop : waiter, (void *)(uintptr_t)(i + 1)) == 0);
    for (size_t i = 0; i < LOOPS + WAITERS; i++) pthread_join(threads[i], NULL);
    aegis_tier_stats s = stats();
    EXPECT(s.appends >= (LOOPS + WAITERS) * EACH && s.groups <= s.appends);
    EXPECT_OK(aegis_close(store));
    aegis_watch_end(watcher);
    aegis_options o = test_options(AEGIS_MODE_READ);
    EXPECT_OK(store_open(v, under("store"), &o, &store, NULL));
    EXPECT_EQ_U64(size_of(store, SESSION), s.appends);
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
    end();
}
