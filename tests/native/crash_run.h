/* crash_run: a workload under seeds, until enough distinct disks were seen. */
#ifndef AEGIS_TESTS_CRASH_RUN_H
#define AEGIS_TESTS_CRASH_RUN_H

#include "crash_oracle.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

typedef struct plan {
    vfs_sim_limits limits, deeper;
    uint32_t deeper_every;
    uint64_t seed;
    uint64_t wanted;         /* distinct disks of the workload, and twice as many normalised ones; 0: those of one seed */
    void (*report)(const oracle *o);     /* now and then; NULL: never */
    bool stop_at_violation;
    const char *drop_sync;
    bool drop_dir_sync;
} plan;

/* One seed of the workload: what it does, and every disk that this may leave. */
static inline void run_seed(oracle *o, const plan *how, uint64_t seed) {
    static script s;
    play p = {.sim = vfs_sim_new(seed), .script = &s, .work = o->work, .turn = seed, .seed = seed};
    vfs_sim_limits limits = how->limits, deeper = how->deeper;
    s.payload_max = o->work->payload_max;
    s.large = o->work->large;
    script_write(&s, seed);
    o->script = &s;
    o->seed = seed;
    for (uint32_t t = 0; t < TIERS_USED; t++) p.start[t] = said_all(0);
    EXPECT_OK(vfs_sim_drop_sync(p.sim, how->drop_sync));
    vfs_sim_drop_dir_sync(p.sim, how->drop_dir_sync);
    o->work->run(&p);
    limits.seed = deeper.seed = seed;
    limits.garbage = deeper.garbage = o->work->align > 8;
    EXPECT(enumerate_record(o, 0, p.sim, p.start, &limits, &deeper) >= 0);
    vfs_sim_free(p.sim);
}

/* Seeds one after another: the first one to its end, the last one perhaps not. */
static inline void run_workload(const workload *work, const plan *how, oracle *o) {
    *o = (oracle){.work = work, .deeper_every = how->deeper_every, .stop_at_violation = how->stop_at_violation,
                  .wanted = how->wanted, .report = how->report};
#ifdef __GLIBC__
    /* What a store gives back the next one takes: nearly half of the time would go into asking the system for fresh pages. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
#endif
    do {
        run_seed(o, how, how->seed + o->seeds);
        o->seeds++;
    } while (how->wanted > 0 && !has_enough(o) && o->violations == 0);
}

static inline void oracle_free(oracle *o) {
    free(o->seen.places);
    free(o->normal.places);
}

#endif
