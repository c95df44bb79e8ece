/* follow.c, and the readers of store.c, beside a writer that compacts: each serves one file or the other, whole, and finds the next one. */
#include "compactions.h"

static vfs_sim *sim;
static vfs *v;
static aegis_store *store, *reader;
static uint64_t size;

static bool begin_store(uint64_t segments) {
    sim = vfs_sim_new(1);
    v = vfs_sim_vfs(sim);
    store = open_test(v, AEGIS_MODE_APPEND, NULL);
    if (store == NULL) return false;
    size = segments == 0 ? 0 : fill_segments(store, SESSION, segments);
    return true;
}

static void end_store(void) {
    EXPECT_OK(aegis_abandon(reader));
    EXPECT_OK(aegis_close(store));
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static int compact_one(uint64_t position, uint64_t index) {
    const aegis_change change = gap(index, size - 1);
    return compact_all(store, SESSION, position, &change, 1, NULL, 0);
}

TEST(a_reader_serves_the_old_file_until_it_refreshes_and_the_new_one_then) {
    if (!begin_store(3)) return;
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    EXPECT_OK(compact_one(0, 1));
    EXPECT_OK(compact_one(0, 2));
    EXPECT_OK(compact_one(2, segment_at(store, SESSION, 2).first));
    for (uint64_t i = 0; i < size; i++) EXPECT(has_record(reader, SESSION, i, COMPACTED_PAYLOAD));
    EXPECT_OK(verify_whole(reader, SESSION));
    EXPECT_OK(aegis_refresh(reader));
    EXPECT(is_gap(reader, SESSION, 1, size - 1) && is_gap(reader, SESSION, 2, size - 1) && has_record(reader, SESSION, 3, COMPACTED_PAYLOAD));
    EXPECT(is_gap(reader, SESSION, segment_at(store, SESSION, 2).first, size - 1));
    EXPECT_OK(verify_whole(reader, SESSION));
    EXPECT_EQ_U64(segment_at(reader, SESSION, 0).segment, (uint64_t)2 << 32);
    EXPECT_OK(aegis_refresh(reader));
    end_store();
}

/* What the reader knows as the active segment, with a part of its records, is full and rewritten when it looks again. */
TEST(a_reader_that_is_behind_takes_the_rest_from_the_rewritten_file) {
    for (uint64_t known = 1; known <= 5; known += 2) {
        if (!begin_store(0)) return;
        for (; size < known; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
        reader = open_test(v, AEGIS_MODE_READ, NULL);
        EXPECT_EQ_U64(size_of(reader, SESSION), known);
        for (; size < 5; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
        EXPECT_OK(aegis_rotate(store, SESSION));
        EXPECT_OK(aegis_seal(store, SESSION));
        for (; size < 8; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
        EXPECT_OK(compact_one(0, 2));
        EXPECT_OK(compact_one(0, 4));
        EXPECT_OK(aegis_refresh(reader));
        EXPECT_EQ_U64(size_of(reader, SESSION), 8);
        for (uint64_t i = 0; i < 8; i++)
            if (!(i == 2 || i == 4 ? is_gap(reader, SESSION, i, 7) : has_record(reader, SESSION, i, COMPACTED_PAYLOAD))) break;
        EXPECT_OK(verify_whole(reader, SESSION));
        end_store();
    }
}

/* ---- damage ----------------------------------------------------------------------------------------------------------- */

#define REWRITTEN "session/00000000-00000001.seg"

static void refused(uint64_t at, const char *what) {
    aegis_error error;
    uint64_t before = size_of(reader, SESSION);
    turn_bit(sim, REWRITTEN, at);
    EXPECT_CODE(aegis_refresh(reader), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    if (!EXPECT(strstr(error.message, what) != NULL)) printf("    message: %s\n", error.message);
    /* It goes on with what it had. */
    EXPECT_EQ_U64(size_of(reader, SESSION), before);
    EXPECT(has_record(reader, SESSION, 0, COMPACTED_PAYLOAD));
    turn_bit(sim, REWRITTEN, at);
}

TEST(damage_of_a_rewritten_file_is_refused_and_the_old_one_goes_on) {
    uint64_t end = 0;
    uint8_t number[8];
    size_t got = 0;
    if (!begin_store(0)) return;
    for (; size < 1; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    for (; size < 5; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_OK(aegis_seal(store, SESSION));
    for (; size < 8; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
    EXPECT_OK(compact_one(0, 2));
    EXPECT_OK(vfs_sim_file_size(sim, REWRITTEN, &end));
    EXPECT_OK(vfs_sim_get(sim, REWRITTEN, end - 256 + 64, number, 8, &got));
    uint64_t frames_end = load_u64(number);
    refused(100, "header of the segment is damaged");
    refused(end - 256 + 10, "its footer is damaged");
    refused(end - 256 + 210, "was not written by this store");
    refused(end - 300, "frontier");
    refused(frames_end + 1, "offset table");
    refused(frames_end - 9, "a record of it is damaged");
    EXPECT_OK(aegis_refresh(reader));
    EXPECT_EQ_U64(size_of(reader, SESSION), 8);
    end_store();
}

/* A file that is whole by its own word, and of another history: what an attacker who has the secret, or a mixed-up copy, would leave. */
TEST(a_rewritten_file_that_leads_to_another_tree_is_refused) {
    if (!begin_store(1)) return;
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    EXPECT_OK(compact_one(0, 1));
    reader->logs[SESSION].tree.range.peaks[0][0] ^= 1;
    /* All of it is known: the root at its end comes from the reader's own tree. */
    int code = aegis_refresh(reader);
    reader->logs[SESSION].tree.range.peaks[0][0] ^= 1;
    EXPECT_CODE(code, AEGIS_E_CORRUPT);
    EXPECT(has_record(reader, SESSION, 1, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_refresh(reader));
    EXPECT(is_gap(reader, SESSION, 1, size - 1));
    end_store();
    /* A part of it is known: with the rest it does not lead to the root in the footer. */
    if (!begin_store(0)) return;
    EXPECT_OK(append_committed(store, SESSION, size++, COMPACTED_PAYLOAD));
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    for (; size < 4; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
    EXPECT_OK(aegis_rotate(store, SESSION));
    EXPECT_OK(aegis_seal(store, SESSION));
    for (; size < 6; size++) EXPECT_OK(append_committed(store, SESSION, size, COMPACTED_PAYLOAD));
    EXPECT_OK(compact_one(0, 1));
    reader->logs[SESSION].tree.range.peaks[0][0] ^= 1;
    EXPECT_CODE(aegis_refresh(reader), AEGIS_E_CORRUPT);
    reader->logs[SESSION].tree.range.peaks[0][0] ^= 1;
    EXPECT_EQ_U64(size_of(reader, SESSION), 1);
    EXPECT_OK(aegis_refresh(reader));
    EXPECT(size_of(reader, SESSION) == 6 && is_gap(reader, SESSION, 1, 5));
    end_store();
}

/* ---- between a look at the manifest and one at the file ---------------------------------------------------------------- */

static unsigned times;
static pthread_t reading;
static uint64_t at_position;
static void (*real_close)(vfs *, vfs_file *);

/* A file that is closed by a reader is the manifest that it has read. What another thread closes is what a compaction has replaced. */
static void close_and_compact(vfs *self, vfs_file *file) {
    real_close(self, file);
    if (!pthread_equal(pthread_self(), reading) || times == 0) return;
    unsigned now = times - 1;
    times = 0;
    EXPECT_OK(compact_one(at_position, 1 + now % 20));
    times = now;
}

static void hook_close(void (*with)(vfs *, vfs_file *)) {
    log_wait_for_removed(&store->logs[SESSION]);    /* a thread that closes looks there */
    reading = pthread_self();
    v->close = with;
}

static int open_beside(unsigned compactions) {
    const aegis_options o = test_options(AEGIS_MODE_READ);
    real_close = v->close;
    hook_close(close_and_compact);
    times = compactions;
    at_position = 0;
    int code = store_open(v, "store", &o, &reader, NULL);
    hook_close(real_close);
    return code;
}

TEST(a_segment_that_is_replaced_while_a_reader_opens_is_looked_for_again) {
    if (!begin_store(2)) return;
    for (unsigned n = 1; n < 6; n++) {
        EXPECT_OK(open_beside(n));
        EXPECT_EQ_U64(times, 0);
        EXPECT_EQ_U64(size_of(reader, SESSION), size);
        EXPECT(is_gap(reader, SESSION, 1, size - 1));
        EXPECT_OK(aegis_abandon(reader));
    }
    /* Another tier was opened by then; it is closed, and opened again. */
    EXPECT_OK(append_committed(store, AEGIS_TIER_AUDIT, 0, COMPACTED_PAYLOAD));
    EXPECT_OK(open_beside(1));
    EXPECT(is_gap(reader, SESSION, 1, size - 1) && has_record(reader, AEGIS_TIER_AUDIT, 0, COMPACTED_PAYLOAD));
    /* Where it never ends, the reader does. */
    EXPECT_OK(aegis_abandon(reader));
    EXPECT_CODE(open_beside(1000), AEGIS_E_CORRUPT);
    EXPECT(times > 0);
    times = 0;
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    end_store();
}

TEST(a_segment_that_is_replaced_while_a_reader_refreshes_is_looked_for_again) {
    if (!begin_store(2)) return;
    reader = open_test(v, AEGIS_MODE_READ, NULL);
    EXPECT_OK(compact_one(0, 1));
    real_close = v->close;
    hook_close(close_and_compact);
    times = 3;
    at_position = 0;
    int code = aegis_refresh(reader);
    hook_close(real_close);
    EXPECT_OK(code);
    EXPECT(is_gap(reader, SESSION, 1, size - 1));
    EXPECT_OK(verify_whole(reader, SESSION));
    EXPECT_OK(compact_one(0, 2));
    hook_close(close_and_compact);
    times = 1000;
    code = aegis_refresh(reader);
    hook_close(real_close);
    EXPECT(times > 0);
    times = 0;
    EXPECT_CODE(code, AEGIS_E_CORRUPT);
    EXPECT_OK(aegis_refresh(reader));
    EXPECT_OK(verify_whole(reader, SESSION));
    end_store();
}

/* Not for ever, and not where the manifest is still the same. */
TEST(a_segment_that_is_missing_for_good_is_missing) {
    const aegis_options o = test_options(AEGIS_MODE_READ);
    aegis_error error;
    if (!begin_store(2)) return;
    EXPECT_OK(compact_one(0, 1));
    EXPECT_OK(vfs_sim_remove(sim, REWRITTEN));
    EXPECT_CODE(store_open(v, "store", &o, &reader, NULL), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    EXPECT_STRING(error.message, "segment 00000000-00000001.seg is missing");
    EXPECT_OK(aegis_abandon(store));
    vfs_sim_free(sim);
}
