/* Every bit of every file: flip it, open the store, ask it everything, and hold what comes back against flips.h's list.
 *
 * AEGIS_FLIPS says how many: "few" (unless said otherwise, a walk in steps), "ci" (every bit of what has structure, one bit of each byte
 * of zeros and payloads; in a large store one bit of each byte), "all". The table at the end of each store is what docs/evidence/flips.txt shows.
 */
#include "flips.h"

/* Small enough that every bit can be tried: sealed segments, the active one, in "tiles" a whole tile as well. In "blocks" each group
 * starts a block, in "two tiers" the active segment has an outline; in "rewritten" there are stubs and other payloads in both sealed segments. */
static const flip_plan TILES = {"tiles", 1, 258, 4, 28672, 8, CLOSED, false}, CLOSED_STORE = {"closed", 1, 26, 50, 14336, 8, CLOSED, false},
                       KILLED_STORE = {"killed", 1, 26, 50, 14336, 8, KILLED, false}, IDLE = {"idle", 1, 20, 50, 14336, 8, KILLED_IDLE, false},
                       BLOCKS = {"blocks", 1, 10, 50, 20480, 4096, KILLED, false}, TWO = {"two tiers", 2, 13, 50, 13824, 8, CLOSED, false},
                       REWRITTEN = {"rewritten", 1, 20, 50, 13824, 8, CLOSED, true};

enum amount { FEW, CI, ALL };

static enum amount amount_wanted(void) {
    const char *text = getenv("AEGIS_FLIPS");
    return text == NULL || strcmp(text, "few") == 0 ? FEW : strcmp(text, "ci") == 0 ? CI : ALL;
}

typedef struct row {
    char what[64];
    uint64_t bytes, tried;
    uint64_t by[2][OUTCOMES + 1];    /* by mode and outcome; the last: failures */
} row;

typedef struct table {
    size_t count;
    row rows[64];
    uint64_t failures;
} table;

static row *row_of(table *t, const char *what) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].what, what) == 0) return &t->rows[i];
    row *made = &t->rows[t->count++];
    snprintf(made->what, sizeof made->what, "%s", what);
    return made;
}

static unsigned place_of(unsigned outcome) {
    unsigned n = 0;
    while (n < OUTCOMES && outcome != 1u << n) n++;
    return n;
}

static void print_table(const char *name, const table *t, uint64_t seconds) {
    printf("    %s\n    %-20s %8s %9s", name, "", "bytes", "flips x2");
    for (unsigned n = 0; n < OUTCOMES; n++) printf(" %9s", OUTCOME_WORDS[n]);
    printf("    failed\n");
    for (size_t i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        printf("    %-20s %8" PRIu64 " %9" PRIu64, r->what, r->bytes, r->tried);
        for (unsigned n = 0; n <= OUTCOMES; n++) printf(" %9" PRIu64, r->by[0][n] + r->by[1][n]);
        printf("\n");
    }
    (void)seconds;
}

/* One bit, in both modes. The undamaged disk is flipped in place for a reader, which changes nothing; a writer gets a copy. */
static void flip_bit(const flip_store *f, const char *path, const flip_range *r, uint64_t offset, unsigned bit, table *t) {
    uint8_t byte = 0, flipped;
    size_t got = 0;
    row *to = row_of(t, r->what);
    EXPECT_OK(vfs_sim_get(f->sim, path, offset, &byte, 1, &got));
    flipped = (uint8_t)(byte ^ 1u << bit);
    EXPECT_OK(vfs_sim_patch(f->sim, path, offset, &flipped, 1));
    to->tried++;
    for (int appending = 0; appending < 2; appending++) {
        answer a;
        /* In CI zeros and payloads are tried by a reader and a writer in turn. */
        if (amount_wanted() == CI && !r->structured && offset % 2 != (unsigned)appending) continue;
        vfs_sim *sim = appending ? vfs_sim_clone(f->sim) : f->sim;
        if (!EXPECT(sim != NULL)) return;
        if (appending) EXPECT_OK(vfs_sim_settle(sim, false));
        flip_try(f, sim, appending, r->structured && bit == offset % 8, &a);
        unsigned outcome = flip_judge(f, path, r, appending, &a);
        if (appending) vfs_sim_free(sim);
        if (outcome != 0 && (outcome & r->allowed[appending])) {
            to->by[appending][place_of(outcome)]++;
            continue;
        }
        to->by[appending][OUTCOMES]++;
        if (t->failures++ < 12)
            printf("    %s byte %" PRIu64 " bit %u (%s, record %lld), %s: %s; %s, %s\n", path, offset, bit, r->what, (long long)r->record,
                   appending ? "appending" : "reading", outcome != 0 ? OUTCOME_WORDS[place_of(outcome)] : "failed", a.wrong,
                   a.error.message);
    }
    EXPECT_OK(vfs_sim_patch(f->sim, path, offset, &byte, 1));
}

static void flip_file(const flip_store *f, const char *path, enum amount amount, uint64_t *seed, table *t) {
    static flip_layout layout;
    /* In a large store a trial costs ten times as much; its frames are those of the small ones. */
    const bool large = f->tiers[0].count > TILE_WIDTH;
    flip_describe(f, path, &layout);
    for (size_t i = 0; i < layout.count; i++) {
        const flip_range *r = &layout.ranges[i];
        row_of(t, r->what)->bytes += r->to - r->from;
        for (uint64_t at = r->from; at < r->to; at++) {
            unsigned drawn = (unsigned)(next_random(seed) % 8);
            if (amount == FEW && next_random(seed) % ((r->structured ? 64 : 512) * FLIP_STRIDE) != 0) continue;
            if (large && amount == CI && (r->record != NO_RECORD || !r->structured) && next_random(seed) % 8 != 0) continue;
            for (unsigned bit = 0; bit < 8; bit++)
                if (amount == ALL || (amount == CI && r->structured && !large) || bit == drawn) flip_bit(f, path, r, at, bit, t);
        }
    }
}

static void flip_all(const flip_plan *plan) {
    static flip_store f;
    static table t;
    uint64_t seed = 5;
    answer whole;
    memset(&t, 0, sizeof t);
    if (!flip_make(plan, 1, TEST_ID, &f)) return;
    for (int appending = 0; appending < 2; appending++) {
        /* What no flip did is no outcome of one. */
        vfs_sim *sim = vfs_sim_clone(f.sim);
        flip_try(&f, sim, appending, true, &whole);
        EXPECT_OK(whole.code);
        EXPECT_STRING(whole.wrong, "");
        EXPECT_EQ_U64(whole.bad_records + whole.findings, 0);
        f.flags[appending] = whole.flags;
        vfs_sim_free(sim);
    }
    for (unsigned n = 0; n < f.file_count; n++) flip_file(&f, f.files[n], amount_wanted(), &seed, &t);
    print_table(plan->name, &t, 0);
    EXPECT_EQ_U64(t.failures, 0);
    flip_end(&f);
}

TEST(a_flipped_bit_of_a_closed_store_is_what_the_format_says) { flip_all(&CLOSED_STORE); }
TEST(a_flipped_bit_of_a_killed_store_is_what_the_format_says) { flip_all(&KILLED_STORE); }
TEST(a_flipped_bit_of_a_store_killed_at_rest_is_what_the_format_says) { flip_all(&IDLE); }
TEST(a_flipped_bit_of_a_killed_store_in_blocks_is_what_the_format_says) { flip_all(&BLOCKS); }
TEST(a_flipped_bit_of_one_of_two_tiers_is_what_the_format_says) { flip_all(&TWO); }
TEST(a_flipped_bit_beside_whole_tiles_is_what_the_format_says) { flip_all(&TILES); }
TEST(a_flipped_bit_of_a_rewritten_store_is_what_the_format_says) { flip_all(&REWRITTEN); }
