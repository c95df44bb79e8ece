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
/* Safeguards that only a crash can show; the others of base.h are shown by the tests of the files that have them. */
static const struct { int mutant; const char *name, *workload; } MUTANTS[] = {
    {MUTANT_NO_GROUP_SYNC, "no sync of a group", "first open"},
    {MUTANT_NO_MANIFEST_SYNC, "no sync of the manifest", "first open"},
    {MUTANT_NO_DIRECTORY_SYNC, "no sync of directories", "first open"},
    {MUTANT_MANIFEST_AFTER_FRAME, "a frame before the manifest that lists its segment", "rotation"},
    {MUTANT_NO_GROUP_FLAG, "every frame ends a group", "groups"},
    {MUTANT_NO_BODY_CHECKSUM, "no body checksum", "groups"},
    {MUTANT_NO_NEW_SEGMENT_SYNC, "no sync of a new segment", "rotation"},
    {MUTANT_NO_ZERO_PAST_CUT, "nothing zeroed past a cut", "first open"},
    {MUTANT_NO_TAIL_REWRITE, "no tail written again", "reopen after a crash"},
};

TEST(every_safeguard_that_is_taken_out_is_missed) {
    for (size_t i = 0; i < sizeof MUTANTS / sizeof MUTANTS[0]; i++) {
        printf("    - %s\n", MUTANTS[i].name);
        aegis_mutant = MUTANTS[i].mutant;
        bool noticed = is_noticed(&FAST, MUTANTS[i].workload);
        aegis_mutant = MUTANT_NONE;
        EXPECT(noticed);
    }
}
#endif
