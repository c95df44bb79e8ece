/* compact.c: a sealed segment written anew: what survives, what is gone, what is refused; and when which file is there. */
#include "compactions.h"

#define ORIGINAL "00000000.seg"
#define REWRITTEN "00000000-00000001.seg"

static vfs_sim *sim;
static vfs *v;
static aegis_store *store;
static uint64_t size;

static bool begin_with(const aegis_options *o, uint64_t segments) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_with(v, o, NULL);
    if (store == NULL) return false;
    size = fill_segments(store, SESSION, segments);
    return size > 0;
}

static bool begin_store(uint64_t segments) {
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    return begin_with(&o, segments);
}

static void reopen(void) {
    EXPECT_OK(aegis_close(store));
    store = open_test(v, AEGIS_MODE_WRITE, NULL);
}

static void end_store(void) {
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static aegis_head head_now(void) {
    aegis_head head;
    EXPECT_OK(aegis_head_at(store, SESSION, size_of(store, SESSION), &head));
    return head;
}

static bool message_has(const char *text) {
    aegis_error error;
    aegis_last_error(&error);
    if (strstr(error.message, text) != NULL) return true;
    printf("    message: %s\n", error.message);
    return false;
}

/* ---- what comes of it ------------------------------------------------------------------------------------------------- */

static const uint8_t SHORT[] = "another encoding of the same state";

/* Every third record a gap, every seventh another payload. */
static uint32_t some_changes(uint64_t count, uint64_t cause, aegis_change *changes) {
    uint32_t n = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (i % 3 == 1) changes[n++] = gap(i, cause);
        else if (i % 7 == 0) changes[n++] = replacement(i, i % 5, sizeof SHORT - (uint32_t)(i % 5));
    }
    return n;
}

static void look_at_all(uint64_t count, uint64_t cause) {
    for (uint64_t i = 0; i < size; i++) {
        bool right = i < count && i % 3 == 1   ? is_gap(store, SESSION, i, cause)
                     : i < count && i % 7 == 0 ? has_payload(store, SESSION, i, SHORT + i % 5, sizeof SHORT - (uint32_t)(i % 5))
                                               : has_record(store, SESSION, i, COMPACTED_PAYLOAD);
        if (!right) return;
    }
}

static void gaps_and_payloads(uint32_t align, uint64_t budget) {
    aegis_change changes[512];
    unsigned steps = 0;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = align;
    if (!begin_with(&o, 2)) return;
    const aegis_head before = head_now();
    const aegis_footer old = segment_at(store, SESSION, 0);
    uint32_t n = some_changes(old.count, size - 1, changes);
    EXPECT_OK(compact_by(store, SESSION, 0, changes, n, SHORT, sizeof SHORT, budget, &steps));
    EXPECT(budget < 65536 ? steps > 5 : steps == 1);
    for (int again = 0; again < 3; again++) {
        const aegis_head after = head_now();
        const aegis_footer made = segment_at(store, SESSION, 0);
        EXPECT_BYTES(&after, &before, sizeof before);
        EXPECT(made.sealed && !made.is_signed && made.first == old.first && made.count == old.count);
        EXPECT_EQ_U64(made.segment, (uint64_t)1 << 32 | old.segment);
        EXPECT_BYTES(made.root, old.root, 32);
        look_at_all(old.count, size - 1);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT(!lies_there(sim, ORIGINAL) && lies_there(sim, REWRITTEN));
        if (again == 0) reopen();
        if (again == 1) EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
        if (again == 1) size--, EXPECT_OK(aegis_abandon(store)), store = open_test(v, AEGIS_MODE_WRITE, NULL), size = size_of(store, SESSION);
        if (again == 1) break;
    }
    look_at_all(old.count, before.size - 1);
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

TEST(entries_stay_and_payloads_go_or_are_replaced) { gaps_and_payloads(8, UINT64_MAX / 2); }
TEST(it_makes_no_difference_in_how_many_steps) { gaps_and_payloads(8, 1000); }
TEST(groups_that_begin_blocks_still_begin_blocks) {
    gaps_and_payloads(4096, UINT64_MAX / 2);
    gaps_and_payloads(4096, 5000);
}

TEST(a_segment_is_rewritten_again_and_a_gap_gets_another_cause) {
    if (!begin_store(2)) return;
    const aegis_change first[] = {gap(3, size - 2), gap(5, size - 2)}, second[] = {gap(3, size - 1), replacement(4, 0, 10), gap(9, size - 1)};
    const aegis_change impossible = replacement(5, 0, 10);
    aegis_tier_stats stats;
    EXPECT_OK(compact_all(store, SESSION, 0, first, 2, NULL, 0));
    EXPECT_OK(compact_all(store, SESSION, 0, second, 3, SHORT, sizeof SHORT));
    EXPECT(is_gap(store, SESSION, 3, size - 1) && is_gap(store, SESSION, 5, size - 2) && is_gap(store, SESSION, 9, size - 1));
    EXPECT(has_payload(store, SESSION, 4, SHORT, 10) && has_record(store, SESSION, 6, COMPACTED_PAYLOAD));
    EXPECT_CODE(compact_all(store, SESSION, 0, &impossible, 1, SHORT, sizeof SHORT), AEGIS_E_ARGUMENT);
    EXPECT(message_has("whose payload is gone"));
    EXPECT_EQ_U64(segment_at(store, SESSION, 0).segment, (uint64_t)2 << 32);
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    EXPECT_EQ_U64(stats.rewrites, 2);
    EXPECT(!lies_there(sim, ORIGINAL) && !lies_there(sim, REWRITTEN) && lies_there(sim, "00000000-00000002.seg"));
    EXPECT(!lies_there(sim, "00000000-00000003.seg"));
    end_store();
}

TEST(a_payload_may_grow_to_the_largest_one) {
    static uint8_t large[AEGIS_PAYLOAD_MAX];
    uint64_t seed = 5;
    if (!begin_store(1)) return;
    fill_random(&seed, large, sizeof large);
    const aegis_change changes[] = {replacement(2, 0, sizeof large), replacement(3, 1, 3000001), gap(4, size - 1), replacement(5, 0, 0)};
    EXPECT_OK(compact_all(store, SESSION, 0, changes, 4, large, sizeof large));
    reopen();
    EXPECT(has_payload(store, SESSION, 2, large, sizeof large) && has_payload(store, SESSION, 3, large + 1, 3000001));
    EXPECT(is_gap(store, SESSION, 4, size - 1) && has_payload(store, SESSION, 5, large, 0));
    EXPECT_OK(verify_whole(store, SESSION));
    /* … and large frames are copied, and shrink. */
    const aegis_change second = gap(2, size - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &second, 1, NULL, 0));
    EXPECT(is_gap(store, SESSION, 2, size - 1) && has_payload(store, SESSION, 3, large + 1, 3000001));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

/* ---- what is refused -------------------------------------------------------------------------------------------------- */

TEST(changes_that_cannot_be_meant_are_refused_and_change_nothing) {
    if (!begin_store(2)) return;
    uint64_t count = segment_at(store, SESSION, 0).count, last = size - 1;
    aegis_compactor *compactor = NULL;
    EXPECT_OK(append_record(store, SESSION, size, COMPACTED_PAYLOAD));    /* queued, so not durable */
    const struct {
        aegis_change changes[2];
        uint32_t count;
        int code;
        const char *why;
    } cases[] = {
        {{{0}}, 0, AEGIS_E_ARGUMENT, "changes nothing"},
        {{gap(4, last), gap(4, last)}, 2, AEGIS_E_ARGUMENT, "does not come behind"},
        {{gap(4, last), gap(3, last)}, 2, AEGIS_E_ARGUMENT, "does not come behind"},
        {{gap(3, last), gap(count, last)}, 2, AEGIS_E_ARGUMENT, "is of another segment"},
        {{gap(4, 4)}, 1, AEGIS_E_ARGUMENT, "came before it"},
        {{gap(4, 3)}, 1, AEGIS_E_ARGUMENT, "came before it"},
        {{gap(4, size)}, 1, AEGIS_E_ARGUMENT, "is not durable"},
        {{gap(4, UINT64_MAX - 1)}, 1, AEGIS_E_ARGUMENT, "is not durable"},
        {{replacement(4, sizeof SHORT, 1)}, 1, AEGIS_E_ARGUMENT, "is not there"},
        {{replacement(4, 1, sizeof SHORT)}, 1, AEGIS_E_ARGUMENT, "is not there"},
        {{replacement(4, UINT64_MAX, 2)}, 1, AEGIS_E_ARGUMENT, "is not there"},
        {{replacement(4, 0, AEGIS_PAYLOAD_MAX + 1)}, 1, AEGIS_E_LIMIT, "at most"},
    };
    EXPECT_OK(vfs_sim_settle(sim, true));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        EXPECT_CODE(aegis_compact_start(store, SESSION, 0, cases[i].changes, cases[i].count, SHORT, sizeof SHORT, &compactor), cases[i].code);
        if (!message_has(cases[i].why)) printf("    case %zu\n", i);
    }
    const aegis_change good = gap(4, last);
    EXPECT_CODE(aegis_compact_start(store, SESSION, 3, &good, 1, NULL, 0, &compactor), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_compact_start(store, SESSION, UINT64_MAX, &good, 1, NULL, 0, &compactor), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_compact_start(store, AEGIS_TIER_MEMORY, 0, &good, 1, NULL, 0, &compactor), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_compact_start(store, SESSION, 2, &good, 1, NULL, 0, &compactor), AEGIS_E_ARGUMENT);
    EXPECT(message_has("is not sealed"));
    EXPECT_CODE(aegis_compact_start(store, SESSION, 0, NULL, 1, NULL, 0, &compactor), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_compact_start(store, SESSION, 0, &good, 1, NULL, 1, &compactor), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_compact_start(store, SESSION, 0, &good, 1, NULL, 0, NULL), AEGIS_E_ARGUMENT);
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    end_store();
}

TEST(the_audit_tier_is_never_compacted) {
    if (!begin_store(1)) return;
    fill_segments(store, AEGIS_TIER_AUDIT, 1);
    const aegis_change change = gap(1, 5);
    EXPECT_CODE(compact_all(store, AEGIS_TIER_AUDIT, 0, &change, 1, NULL, 0), AEGIS_E_ARGUMENT);
    EXPECT(message_has("the audit tier is never compacted"));
    end_store();
}

TEST(one_compaction_of_a_tier_at_a_time) {
    if (!begin_store(2)) return;
    aegis_compactor *one = NULL, *two = NULL;
    aegis_progress progress;
    const aegis_change change = gap(4, size - 1);
    EXPECT_OK(aegis_compact_start(store, SESSION, 0, &change, 1, NULL, 0, &one));
    EXPECT_CODE(aegis_compact_start(store, SESSION, 1, &change, 1, NULL, 0, &two), AEGIS_E_ARGUMENT);
    EXPECT(message_has("another compaction of tier session"));
    EXPECT_OK(aegis_compact_step(one, 1, &progress));
    EXPECT(!progress.done && progress.records == 1);
    aegis_compact_end(one);
    EXPECT(!lies_there(sim, REWRITTEN));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT(is_gap(store, SESSION, 4, size - 1));
    end_store();
}

/* (1) */
TEST(compact_rule_1_damage_of_the_source_is_named_and_nothing_is_published) {
    if (!begin_store(2)) return;
    const segment *seg = store->logs[SESSION].segments[0];
    uint64_t offsets[2];
    const aegis_change change = gap(1, size - 1);
    aegis_error error;
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t index = i == 3 ? seg->count - 1 : i * 5;
        EXPECT_OK(segment_locate(&store->logs[SESSION].s, seg, index, 1, offsets));
        /* Its magic, its flags, its entry, its last byte. */
        const uint64_t at[] = {offsets[0], offsets[0] + 5, offsets[0] + FRAME_HEADER + 3, offsets[1] - 1};
        for (size_t n = 0; n < 4; n++) {
            turn_bit(sim, "session/" ORIGINAL, at[n]);
            EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_CORRUPT);
            aegis_last_error(&error);
            EXPECT_EQ_U64(error.first, index);
            EXPECT_EQ_U64(error.end, index + 1);
            EXPECT_STRING(error.path, ORIGINAL);
            EXPECT(lies_there(sim, ORIGINAL) && !lies_there(sim, REWRITTEN));
            turn_bit(sim, "session/" ORIGINAL, at[n]);
        }
        /* What no checksum of a frame covers: its link. */
        turn_bit(sim, "session/" ORIGINAL, (offsets[0] + 40));
        EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_CORRUPT);
        EXPECT(message_has("are not those that its footer was made for"));
        turn_bit(sim, "session/" ORIGINAL, (offsets[0] + 40));
    }
    uint64_t whole = 0;
    EXPECT_OK(vfs_sim_file_size(sim, "session/" ORIGINAL, &whole));
    turn_bit(sim, "session/" ORIGINAL, (whole - 250));
    EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_CORRUPT);
    EXPECT(message_has("the footer of segment"));
    turn_bit(sim, "session/" ORIGINAL, (whole - 250));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}
