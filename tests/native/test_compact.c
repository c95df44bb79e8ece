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
    for (int again = 0; again < 2; again++) {
        const aegis_head after = head_now();
        const aegis_footer made = segment_at(store, SESSION, 0);
        EXPECT_BYTES(&after, &before, sizeof before);
        EXPECT(made.sealed && !made.is_signed && made.first == old.first && made.count == old.count);
        EXPECT_EQ_U64(made.segment, (uint64_t)1 << 32 | old.segment);
        EXPECT_BYTES(made.root, old.root, 32);
        look_at_all(old.count, before.size - 1);
        EXPECT_OK(verify_whole(store, SESSION));
        EXPECT(!lies_there(sim, ORIGINAL) && lies_there(sim, REWRITTEN));
        if (again == 0) reopen();
    }
    /* Killed after one more record. */
    EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    store = open_with(v, &o, NULL);
    EXPECT_EQ_U64(size_of(store, SESSION), size);
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
    EXPECT_CODE(aegis_compact_start(store, SESSION, 1, &good, 1, NULL, 0, &compactor), AEGIS_E_ARGUMENT);
    EXPECT(message_has("is of another segment"));
    EXPECT_CODE(aegis_compact_start(store, 9, 0, &good, 1, NULL, 0, &compactor), AEGIS_E_ARGUMENT);
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 0);
    end_store();
}

TEST(the_audit_tier_is_never_compacted) {
    if (!begin_store(1)) return;
    fill_segments(store, AEGIS_TIER_AUDIT, 1);
    const aegis_change change = gap(1, 5);
    EXPECT_CODE(compact_all(store, AEGIS_TIER_AUDIT, 0, &change, 1, NULL, 0), AEGIS_E_WRITEONCE);
    EXPECT(message_has("the audit tier is never compacted"));
    end_store();
}

/* Whether a segment's file opens for writing, on the machine that the store runs on. */
static int opens_for_writing(uint32_t tier, const char *name) {
    vfs_dir *root = NULL, *dir = NULL;
    vfs_file *file = NULL;
    TRY(v->open_root(v, "store", 0, &root));
    int code = v->open_dir(v, root, tier_name(tier), 0, &dir);
    if (code == AEGIS_OK) code = v->open(v, dir, name, VFS_WRITE, &file);
    if (file != NULL) v->close(v, file);
    if (dir != NULL) v->close_dir(v, dir);
    v->close_dir(v, root);
    return code;
}

TEST(a_segment_of_the_audit_tier_is_read_only_once_it_is_signed) {
    uint8_t signature[64];
    aegis_footer footer;
    memset(signature, 1, sizeof signature);
    if (!begin_store(2)) return;
    fill_segments(store, AEGIS_TIER_AUDIT, 2);
    EXPECT_OK(opens_for_writing(AEGIS_TIER_AUDIT, "00000000.seg"));
    EXPECT_OK(aegis_sign_segment(store, AEGIS_TIER_AUDIT, 0, 0, signature));
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, 0, signature));
    EXPECT_CODE(opens_for_writing(AEGIS_TIER_AUDIT, "00000000.seg"), AEGIS_E_READONLY);
    EXPECT_OK(opens_for_writing(AEGIS_TIER_AUDIT, "00000001.seg"));
    EXPECT_OK(opens_for_writing(SESSION, "00000000.seg"));
    /* A store that holds such files is opened for writing all the same, and appended to; what is not signed yet is signed then. */
    reopen();
    EXPECT_OK(aegis_segment(store, AEGIS_TIER_AUDIT, 0, &footer));
    EXPECT(footer.sealed && footer.is_signed);
    EXPECT_OK(aegis_sign_segment(store, AEGIS_TIER_AUDIT, 0, 0, signature));
    EXPECT_OK(aegis_sign_segment(store, AEGIS_TIER_AUDIT, 1, 1, signature));
    EXPECT_CODE(opens_for_writing(AEGIS_TIER_AUDIT, "00000001.seg"), AEGIS_E_READONLY);
    size = size_of(store, AEGIS_TIER_AUDIT);
    EXPECT_OK(append_record(store, AEGIS_TIER_AUDIT, size, 10));
    EXPECT_OK(aegis_commit(store, AEGIS_TIER_AUDIT, size));
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

/* ---- in which order --------------------------------------------------------------------------------------------------- */

static size_t op_of(enum vfs_sim_kind kind, const char *path, size_t from) {
    for (size_t i = from; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        const char *name = kind == VFS_SIM_RENAME ? op->to : op->path;
        if (op->kind == kind && !op->failed && name != NULL && strcmp(name, path) == 0) return i;
    }
    return SIZE_MAX;
}

/* (2): with `write` durability the cause may be in the page cache only. */
TEST(compact_rule_2_what_authorises_a_gap_is_durable_before_the_new_file_is_whole) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.durability[SESSION] = AEGIS_DURABILITY_WRITE;
    if (!begin_with(&o, 1)) return;
    EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT(op_of(VFS_SIM_SYNC, "session/00000001.seg", 0) < op_of(VFS_SIM_CREATE, "session/" REWRITTEN, 0));
    EXPECT_EQ_U64(store->manifest.tiers[SESSION].size, size);
    /* Whatever the power leaves, who finds the gap finds its cause. */
    for (size_t cut = 0; cut <= vfs_sim_op_count(sim); cut++) {
        vfs_sim *image = NULL;
        aegis_store *found = NULL;
        EXPECT_OK(vfs_sim_image(sim, cut, VFS_SIM_KEEP_NOTHING, 1, &image));
        if (EXPECT_OK(store_open(vfs_sim_vfs(image), "store", &o, &found, NULL))) {
            uint8_t buffer[4096];
            aegis_record record;
            EXPECT_OK(aegis_read(found, SESSION, 1, buffer, sizeof buffer, &record));
            EXPECT((record.flags & AEGIS_RECORD_GAP) == 0 || size_of(found, SESSION) == size);
            EXPECT_OK(aegis_close(found));
        }
        vfs_sim_free(image);
    }
    end_store();
}

/* … and where that sync fails, the log is poisoned as by any other of the active file. */
TEST(a_sync_of_causes_that_fails_poisons) {
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    aegis_tier_stats stats;
    o.durability[SESSION] = AEGIS_DURABILITY_WRITE;
    if (!begin_with(&o, 1)) return;
    const aegis_change change = gap(1, size - 1);
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO});
    EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    EXPECT_OK(aegis_stats(store, SESSION, &stats));
    EXPECT_EQ_U64(stats.poisoned, 1);
    EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_POISONED);
    EXPECT_CODE(aegis_set_swept(store, SESSION, 1), AEGIS_E_POISONED);
    EXPECT_CODE(aegis_rotate(store, SESSION), AEGIS_E_POISONED);
    EXPECT(has_record(store, SESSION, 1, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}

/* (3) and (4) */
TEST(compact_rules_3_and_4_the_new_file_is_durable_before_it_is_listed_and_the_old_one_goes_last) {
    if (!begin_store(2)) return;
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(vfs_sim_settle(sim, true));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    size_t synced = 0;
    for (size_t i = 0; i < vfs_sim_op_count(sim) && op_of(VFS_SIM_SYNC, "session/" REWRITTEN, i) < SIZE_MAX; i = synced + 1)
        synced = op_of(VFS_SIM_SYNC, "session/" REWRITTEN, i);
    size_t named = op_of(VFS_SIM_SYNC_DIR, "session", synced), listed = op_of(VFS_SIM_RENAME, "MANIFEST", 0), gone = op_of(VFS_SIM_UNLINK, "session/" ORIGINAL, 0);
    EXPECT(synced > 0 && synced < named && named < listed && listed < gone && gone < SIZE_MAX);
    EXPECT(op_of(VFS_SIM_SYNC_DIR, "session", gone) < SIZE_MAX);
    /* No write of the active file, or of the old one. */
    for (size_t i = 0; i < vfs_sim_op_count(sim); i++) {
        const vfs_sim_op *op = vfs_sim_op_at(sim, i);
        EXPECT(op->kind != VFS_SIM_WRITE || strcmp(op->path, "session/" REWRITTEN) == 0 || strncmp(op->path, "MANIFEST", 8) == 0);
    }
    end_store();
}

/* Every call on the way fails in turn: the store goes on, whether it has the old file or the new one, and finds what it had. */
TEST(a_failure_on_the_way_leaves_the_segment_as_it_was_or_rewritten) {
    static const int codes[] = {AEGIS_E_IO, AEGIS_E_NOSPACE};
    uint64_t published = 0, untouched = 0;
    for (uint64_t nth = 1;; nth++) {
        if (!begin_store(1)) return;
        const aegis_change change = gap(1, size - 1), again = gap(2, size - 1);
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = codes[nth % 2]});
        int code = compact_all(store, SESSION, 0, &change, 1, NULL, 0);
        uint64_t hits = vfs_sim_fault_hits(sim);
        vfs_sim_fail(sim, NULL);
        bool rewritten = segment_at(store, SESSION, 0).segment != 0;
        if (hits > 0) EXPECT_CODE(code, codes[nth % 2]);
        published += hits > 0 && rewritten;
        untouched += hits > 0 && !rewritten;
        EXPECT(rewritten ? is_gap(store, SESSION, 1, size - 1) : has_record(store, SESSION, 1, COMPACTED_PAYLOAD));
        EXPECT(lies_there(sim, rewritten ? REWRITTEN : ORIGINAL));
        EXPECT(rewritten || !lies_there(sim, REWRITTEN));
        EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
        if (nth % 3 == 0) EXPECT_OK(compact_all(store, SESSION, 0, &again, 1, NULL, 0));
        EXPECT_OK(verify_whole(store, SESSION));
        if (nth % 2 == 0) EXPECT_OK(aegis_close(store));
        else EXPECT_OK(aegis_abandon(store));
        store = open_test(v, AEGIS_MODE_WRITE, NULL);
        EXPECT(rewritten ? is_gap(store, SESSION, 1, size - 2) : has_record(store, SESSION, 1, COMPACTED_PAYLOAD));
        EXPECT(nth % 3 != 0 || is_gap(store, SESSION, 2, size - 2));
        EXPECT(!lies_there(sim, ORIGINAL) || (!rewritten && nth % 3 != 0));
        end_store();
        if (hits == 0) break;
    }
    EXPECT(published >= 3 && untouched >= 10);
}

/* A payload larger than what is held back is written on the way. */
TEST(a_write_that_fails_on_the_way_is_said) {
    static uint8_t large[3 << 20];
    if (!begin_store(1)) return;
    const aegis_change change = replacement(2, 0, sizeof large), second = gap(1, size - 1);
    for (int again = 0; again < 2; again++) {
        for (uint64_t nth = 3; nth < 6; nth++) {
            vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .kinds = 1u << VFS_SIM_WRITE, .code = AEGIS_E_NOSPACE});
            EXPECT_CODE(compact_all(store, SESSION, 0, again == 0 ? &change : &second, 1, large, sizeof large), AEGIS_E_NOSPACE);
            vfs_sim_fail(sim, NULL);
        }
        EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, large, sizeof large));
    }
    EXPECT(has_payload(store, SESSION, 2, large, sizeof large));
    end_store();
}

TEST(a_signature_is_for_the_file_that_it_was_made_for) {
    static const uint8_t one[64] = "a signature", two[64] = "another one";
    if (!begin_store(1)) return;
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, 0, one));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT_CODE(aegis_sign_segment(store, SESSION, 0, 0, one), AEGIS_E_NOTFOUND);
    EXPECT(!segment_at(store, SESSION, 0).is_signed);
    EXPECT_OK(aegis_sign_segment(store, SESSION, 0, (uint64_t)1 << 32, two));
    EXPECT(segment_at(store, SESSION, 0).is_signed);
    end_store();
}

/* The unfinished file cannot be removed: the next attempt takes its place, and so does the next open. */
TEST(what_an_attempt_left_is_in_the_way_of_nobody) {
    for (int again = 0; again < 2; again++) {
        if (!begin_store(1)) return;
        const aegis_change change = gap(1, size - 1);
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_UNLINK | 1u << VFS_SIM_TRUNCATE, .forever = true, .code = AEGIS_E_IO});
        EXPECT_CODE(compact_all(store, SESSION, 0, &change, 1, NULL, 0), AEGIS_E_IO);
        vfs_sim_fail(sim, NULL);
        EXPECT(lies_there(sim, REWRITTEN));
        if (again == 0) reopen();
        EXPECT_EQ_U64(lies_there(sim, REWRITTEN), (uint64_t)again);
        EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
        EXPECT(is_gap(store, SESSION, 1, size - 1));
        end_store();
    }
}

/* ---- who reads meanwhile ---------------------------------------------------------------------------------------------- */

TEST(a_verification_goes_on_over_the_old_file_which_is_closed_behind_it) {
    if (!begin_store(2)) return;
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    const aegis_change change = gap(1, size - 1);
    size_t handles = vfs_sim_open_count(sim);
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    EXPECT_OK(aegis_verify_step(verifier, 1, &progress));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), handles + 1);
    int code = AEGIS_OK;
    while (code == AEGIS_OK && !progress.done) code = aegis_verify_step(verifier, 1000, &progress);
    EXPECT_OK(code);
    log_wait_for_removed(&store->logs[SESSION]);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    aegis_verify_end(verifier);
    /* One that ends in the middle lets go as well. */
    EXPECT_OK(aegis_verify_start(store, SESSION, &verifier));
    EXPECT_OK(aegis_verify_step(verifier, 1, &progress));
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    aegis_verify_end(verifier);
    log_wait_for_removed(&store->logs[SESSION]);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
    end_store();
}

TEST(an_append_and_a_rotation_go_on_between_steps) {
    if (!begin_store(1)) return;
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    const aegis_change change = gap(1, size - 1);
    uint64_t first = size;
    EXPECT_OK(aegis_compact_start(store, SESSION, 0, &change, 1, NULL, 0, &compactor));
    while (!progress.done && EXPECT_OK(aegis_compact_step(compactor, 4000, &progress))) {
        EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
        if (size % 2 == 0) EXPECT_OK(aegis_rotate(store, SESSION));
    }
    /* A step too many says the same again. */
    EXPECT_OK(aegis_compact_step(compactor, 1, &progress));
    EXPECT(progress.done);
    aegis_compact_end(compactor);
    EXPECT(size > first + 5 && store->logs[SESSION].segment_count > 3);
    reopen();
    EXPECT(is_gap(store, SESSION, 1, first - 1) && has_record(store, SESSION, size - 1, COMPACTED_PAYLOAD));
    EXPECT_OK(verify_whole(store, SESSION));
    end_store();
}

TEST(after_a_failure_only_the_end_is_left) {
    if (!begin_store(1)) return;
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    const aegis_change change = gap(1, size - 1);
    EXPECT_OK(aegis_compact_start(store, SESSION, 0, &change, 1, NULL, 0, &compactor));
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .code = AEGIS_E_IO});
    EXPECT_CODE(aegis_compact_step(compactor, 1, &progress), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
    EXPECT_CODE(aegis_compact_step(compactor, 1, &progress), AEGIS_E_ARGUMENT);
    EXPECT(message_has("the compaction has failed"));
    aegis_compact_end(NULL);
    EXPECT_CODE(aegis_compact_step(NULL, 1, &progress), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_compact_step(compactor, 1, NULL), AEGIS_E_ARGUMENT);
    aegis_compact_end(compactor);
    EXPECT(has_record(store, SESSION, 1, COMPACTED_PAYLOAD));
    end_store();
}

/* A rotation counts on space that was taken for its manifest: a compaction that writes one in between takes it again. */
TEST(a_rotation_on_a_full_disk_still_has_its_space_behind_a_compaction) {
    if (!begin_store(1)) return;
    const aegis_change change = gap(1, size - 1);
    /* Room for one more record than this segment has: the next one is ready. */
    for (int i = 0; i < 100 && !store->writers[SESSION].next_ready; i++) {
        EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
        upkeep_until_idle(store);
    }
    if (!EXPECT(store->writers[SESSION].next_ready)) return;
    EXPECT(store->manifest.reserved > 0);
    EXPECT_OK(compact_all(store, SESSION, 0, &change, 1, NULL, 0));
    EXPECT_OK(aegis_set_swept(store, SESSION, size));
    EXPECT(store->manifest.reserved > 0);
    vfs_sim_set_space(sim, 0);
    uint64_t segments = store->logs[SESSION].segment_count;
    while (store->logs[SESSION].segment_count == segments && EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD))) size++;
    vfs_sim_set_space(sim, UINT64_MAX / 2);
    EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
    end_store();
}

TEST(readers_change_nothing) {
    if (!begin_store(1)) return;
    aegis_store *writer = store;
    aegis_compactor *compactor = NULL;
    const aegis_change change = gap(1, size - 1);
    store = open_test(v, AEGIS_MODE_READ, NULL);
    EXPECT_CODE(aegis_compact_start(store, SESSION, 0, &change, 1, NULL, 0, &compactor), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_rotate(store, SESSION), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_seal(store, SESSION), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_set_swept(store, SESSION, 1), AEGIS_E_READONLY);
    EXPECT_OK(aegis_abandon(store));
    store = writer;
    end_store();
}
