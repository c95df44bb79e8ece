/* The enumeration of crash states must be able to fail: each of these takes a safeguard away and demands that a promise breaks. An
 * enumeration that finds nothing then would prove nothing. See test_crash_states.c.
 */
#include "crash_run.h"

/* A few subsets show what is missing; the first violation ends it. */
static const plan FAST = {.limits = {64, 8, 4, 1, false, false, false, NULL}, .deeper = {64, 8, 4, 1, false, false, false, NULL},
                          .deeper_every = 13, .seed = 1, .wanted = 400, .stop_at_violation = true};

/* Whether any workload shows it; the one named `first` is tried before the others. */
static bool is_noticed(const plan *how, const char *first) {
    for (size_t turn = 0; turn <= WORKLOAD_COUNT; turn++) {
        for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
            static oracle o;
            bool is_first = first != NULL && strcmp(WORKLOADS[i].name, first) == 0;
            if (turn == 0 ? !is_first : turn - 1 != i || is_first) continue;
            run_workload(&WORKLOADS[i], how, &o);
            oracle_free(&o);
            if (o.violations == 0) continue;
            printf("    %.300s\n", o.first);
            return true;
        }
    }
    return false;
}

TEST(a_missing_sync_of_segments_is_noticed) {
    plan how = FAST;
    how.drop_sync = "*.seg";
    EXPECT(is_noticed(&how, NULL));
}

TEST(a_missing_sync_of_the_manifest_is_noticed) {
    plan how = FAST;
    how.drop_sync = "MANIFEST*";
    EXPECT(is_noticed(&how, NULL));
}

TEST(a_missing_sync_of_directories_is_noticed) {
    plan how = FAST;
    how.drop_dir_sync = true;
    EXPECT(is_noticed(&how, NULL));
}

#ifdef AEGIS_MUTANTS
/* What mutants.c runs, with and without a safeguard: the same, a workload at a time. */
static void keeps_its_promises(const char *name) {
    for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
        static oracle o;
        if (strcmp(WORKLOADS[i].name, name) != 0) continue;
        run_workload(&WORKLOADS[i], &FAST, &o);
        oracle_free(&o);
        if (o.violations > 0) printf("    %.300s\n", o.first);
        EXPECT_EQ_U64(o.violations, 0);
        return;
    }
    EXPECT(false);
}

TEST(cuts_of_a_first_open) { keeps_its_promises("first open"); }
TEST(cuts_of_steady_appends) { keeps_its_promises("steady appends"); }
TEST(cuts_of_groups) { keeps_its_promises("groups"); }
TEST(cuts_of_rotations) { keeps_its_promises("rotation"); }
TEST(cuts_of_manifest_swaps) { keeps_its_promises("manifest swap"); }
TEST(cuts_of_closes) { keeps_its_promises("close"); }
TEST(cuts_of_closes_with_an_outline) { keeps_its_promises("closed with an outline"); }
TEST(cuts_of_opens_after_a_crash) { keeps_its_promises("reopen after a crash"); }
TEST(cuts_of_two_tiers) { keeps_its_promises("two tiers"); }
TEST(cuts_of_asked_rotations) { keeps_its_promises("asked rotations"); }
TEST(cuts_of_compactions) { keeps_its_promises("compaction"); }
TEST(cuts_of_blocks_with_garbage) { keeps_its_promises("blocks, with garbage"); }
#endif
