/* compactions: a store with full segments, and what compaction does to some of their records. */
#ifndef AEGIS_TESTS_COMPACTIONS_H
#define AEGIS_TESTS_COMPACTIONS_H

#include "footer.h"
#include "stores.h"

#define COMPACTED_PAYLOAD 900u

/* Records in groups of one to three, over a little more than `segments` segments; how many there are. All full ones are sealed. */
static inline uint64_t fill_segments(aegis_store *store, uint32_t tier, uint64_t segments) {
    uint64_t i = size_of(store, tier);
    const log *l = NULL;
    while (l == NULL || l->segment_count <= segments) {
        for (uint64_t n = 1 + i % 3; n > 0; n--, i++) if (!EXPECT_OK(append_record(store, tier, i, COMPACTED_PAYLOAD))) return i;
        if (!EXPECT_OK(aegis_commit(store, tier, i - 1))) return i;
        l = store_log(store, tier);
    }
    EXPECT_OK(aegis_seal(store, tier));
    return i;
}

static inline aegis_footer segment_at(aegis_store *store, uint32_t tier, uint64_t position) {
    aegis_footer f = {.count = 0};
    EXPECT_OK(aegis_segment(store, tier, position, &f));
    return f;
}

static inline aegis_change gap(uint64_t index, uint64_t cause) { return (aegis_change){.index = index, .cause = cause}; }

static inline aegis_change replacement(uint64_t index, uint64_t payload_at, uint32_t length) {
    return (aegis_change){.index = index, .cause = AEGIS_NO_CAUSE, .payload_at = payload_at, .payload_length = length};
}

/* In steps of `budget` bytes; *steps of them, if asked. */
static inline int compact_by(aegis_store *store, uint32_t tier, uint64_t position, const aegis_change *changes, uint32_t count,
                             const uint8_t *payloads, uint64_t length, uint64_t budget, unsigned *steps) {
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    TRY(aegis_compact_start(store, tier, position, changes, count, payloads, length, &compactor));
    int code = AEGIS_OK;
    unsigned n = 0;
    for (; code == AEGIS_OK && !progress.done; n++) code = aegis_compact_step(compactor, budget, &progress);
    aegis_error cause;
    aegis_last_error(&cause);
    aegis_compact_end(compactor);
    if (code != AEGIS_OK) fail_again(&cause);
    if (steps != NULL) *steps = n;
    return code;
}

static inline int compact_all(aegis_store *store, uint32_t tier, uint64_t position, const aegis_change *changes, uint32_t count,
                              const uint8_t *payloads, uint64_t length) {
    return compact_by(store, tier, position, changes, count, payloads, length, UINT64_MAX / 2, NULL);
}

/* Record `i` as it was appended, but for its payload: a gap by `cause`. */
static inline bool is_gap(aegis_store *store, uint32_t tier, uint64_t i, uint64_t cause) {
    test_record r;
    uint8_t buffer[4096];
    aegis_record found;
    make_record(tier, i, COMPACTED_PAYLOAD, &r);
    return EXPECT_OK(aegis_read(store, tier, i, buffer, sizeof buffer, &found)) && EXPECT((found.flags & AEGIS_RECORD_GAP) != 0) &&
           EXPECT_EQ_U64(found.kind, 1 + i % 9) && EXPECT_EQ_U64(found.entry_length, r.entry_length) &&
           EXPECT_BYTES(buffer + found.entry_at, r.entry, r.entry_length) && EXPECT_EQ_U64(found.payload_length, 8) &&
           EXPECT_EQ_U64(load_u64(buffer + found.payload_at), cause);
}

static inline bool has_payload(aegis_store *store, uint32_t tier, uint64_t i, const uint8_t *payload, uint32_t length) {
    test_record r;
    static uint8_t buffer[AEGIS_PAYLOAD_MAX + 4096];
    aegis_record found;
    make_record(tier, i, COMPACTED_PAYLOAD, &r);
    return EXPECT_OK(aegis_read(store, tier, i, buffer, sizeof buffer, &found)) && EXPECT((found.flags & AEGIS_RECORD_GAP) == 0) &&
           EXPECT_EQ_U64(found.entry_length, r.entry_length) && EXPECT_BYTES(buffer + found.entry_at, r.entry, r.entry_length) &&
           EXPECT_EQ_U64(found.payload_length, length) && EXPECT_BYTES(buffer + found.payload_at, payload, length);
}

/* Whether a file of this name lies in the simulated machine's session folder. */
static inline bool lies_there(vfs_sim *sim, const char *name) {
    uint64_t size = 0;
    char path[96];
    snprintf(path, sizeof path, "session/%s", name);
    return vfs_sim_file_size(sim, path, &size) == AEGIS_OK;
}

/* Turns a bit of a byte; turned again it is mended. */
static inline void turn_bit(vfs_sim *sim, const char *path, uint64_t at) {
    uint8_t byte = 0;
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, path, at, &byte, 1, &got));
    byte ^= 1;
    EXPECT_OK(vfs_sim_patch(sim, path, at, &byte, 1));
}

#endif
