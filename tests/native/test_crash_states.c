/* Every disk that a power cut may leave: open it, and hold what is found against what was promised.
 *
 * A workload runs on the simulated machine and says what it submits and what was acknowledged (crash_workloads.h). Then the power is
 * cut after each of its operations; of what was not synced any subset may have reached the disk (vfs_sim.h lists the rules). Each disk is
 * opened as any store is, and must keep the promises of docs/DURABILITY.md (crash_oracle.h). test_crash_safeguards.c takes safeguards
 * away and demands that a promise breaks.
 *
 * A plain run is a short one. In the environment:
 *   AEGIS_CRASH_STATES      distinct disks of each workload, by all rules of vfs_sim_crash.c, under as many seeds as it takes; and twice
 *                           as many when those of interrupted recoveries are counted in and what is past the tails is not
 *   AEGIS_CRASH_WORKLOAD    one workload, by its name; "?" prints the names
 *   AEGIS_CRASH_SEED        the first seed (default 1)
 *   AEGIS_CRASH_PROGRESS    say a line now and then: "progress", the workload's name, distinct disks so far
 * tests/native/crash_states.py runs the workloads side by side with these, and makes a table.
 */
#include "crash_run.h"

/* The sanitizers look at every path, not at every state: with them, which cost tenfold, fewer disks are made. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SUBSETS 16
#define DEEPER_EVERY 509
#else
#define SUBSETS 256
#define DEEPER_EVERY 61
#endif

static uint64_t number_of(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void say_row(const oracle *o) {
    printf("    %-24s %4" PRIu64 " %7" PRIu64 " %7" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %6" PRIu64 "\n",
           o->work->name, o->seeds, o->operations, o->cuts, o->tried[0] + o->tried[1], o->distinct[0], o->recoveries, o->distinct[1],
           (uint64_t)o->normal.count, o->violations);
    fflush(stdout);
}

static void say_progress(const oracle *o) {
    printf("progress %" PRIu64 " %s\n", o->distinct[0] + o->distinct[1], o->work->name);
    fflush(stdout);
}

TEST(no_crash_state_breaks_a_promise) {
    const char *only = getenv("AEGIS_CRASH_WORKLOAD");
    uint64_t wanted = number_of("AEGIS_CRASH_STATES", 0);
    plan how = {.limits = {SUBSETS, 16, SUBSETS / 32, 1, false, false, false, NULL}, .deeper = {64, 8, 2, 1, false, false, false, NULL},
                .deeper_every = DEEPER_EVERY, .seed = number_of("AEGIS_CRASH_SEED", 1), .wanted = wanted};
    if (wanted > 0) {
        how.limits = (vfs_sim_limits)VFS_SIM_LIMITS;
        how.limits.torn_bytes = true;
        how.report = getenv("AEGIS_CRASH_PROGRESS") != NULL ? say_progress : NULL;
        how.deeper_every = 8;
    }
    printf("    %-24s %4s %7s %7s %9s %9s %9s %9s %9s %6s\n", "workload", "seed", "ops", "cuts", "tried", "distinct", "recovered", "theirs",
           "normal", "broken");
    for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
        oracle o;
        if (only != NULL && strcmp(only, "?") == 0) printf("workload %s\n", WORKLOADS[i].name);
        if (only != NULL && strcmp(only, WORKLOADS[i].name) != 0) continue;
        run_workload(&WORKLOADS[i], &how, &o);
        say_row(&o);
        if (!EXPECT_EQ_U64(o.violations, 0)) printf("    %s\n", o.first);
        EXPECT(o.distinct[0] >= 50);
        oracle_free(&o);
    }
}
