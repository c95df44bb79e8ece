/* stores: what the tests of the upper floors share: options, records that can be told apart, and opening over any backend. */
#ifndef AEGIS_TESTS_STORES_H
#define AEGIS_TESTS_STORES_H

#include "check.h"
#include "store.h"
#include "vfs_sim.h"

#define SESSION AEGIS_TIER_SESSION
#define SMALL_SEGMENT 65536u

static const uint8_t TEST_SECRET[32] = "a secret of thirty-two bytes ..";
static const uint8_t TEST_ID[16] = "a store's own id";

static inline aegis_options test_options(uint32_t mode) {
    aegis_options o = {.struct_size = sizeof o, .mode = mode, .flags = AEGIS_OPEN_NO_THREAD, .secret = TEST_SECRET,
                       .store_id = TEST_ID, .name = "test", .segment_bytes = SMALL_SEGMENT};
    return o;
}

static inline aegis_store *open_with(vfs *v, const aegis_options *o, aegis_report *report) {
    aegis_store *store = NULL;
    return EXPECT_OK(store_open(v, "store", o, &store, report)) ? store : NULL;
}

static inline aegis_store *open_test(vfs *v, uint32_t mode, aegis_report *report) {
    const aegis_options o = test_options(mode);
    return open_with(v, &o, report);
}

/* The bytes of record `i` of a tier: lengths and content follow from the number, so that any record can be recognised. */
typedef struct test_record {
    uint8_t entry[200];
    uint32_t entry_length;
    uint8_t payload[2000];
    uint32_t payload_length;
} test_record;

static inline void make_record(uint32_t tier, uint64_t i, uint32_t payload_max, test_record *r) {
    uint64_t seed = i * 1000003 + tier;
    r->entry_length = 20 + (uint32_t)(next_random(&seed) % 180);
    r->payload_length = payload_max == 0 ? 0 : (uint32_t)(next_random(&seed) % payload_max);
    fill_random(&seed, r->entry, r->entry_length);
    fill_random(&seed, r->payload, r->payload_length);
}

static inline int append_record(aegis_store *store, uint32_t tier, uint64_t i, uint32_t payload_max) {
    test_record r;
    uint64_t index = 0;
    make_record(tier, i, payload_max, &r);
    TRY(aegis_append(store, tier, 1 + (uint32_t)(i % 9), r.entry, r.entry_length, r.payload, r.payload_length, &index));
    return index == i ? AEGIS_OK : AEGIS_E_BUG;
}

static inline int append_committed(aegis_store *store, uint32_t tier, uint64_t i, uint32_t payload_max) {
    TRY(append_record(store, tier, i, payload_max));
    return aegis_commit(store, tier, i);
}

static inline bool has_record(aegis_store *store, uint32_t tier, uint64_t i, uint32_t payload_max) {
    test_record r;
    uint8_t buffer[4096];
    aegis_record found;
    make_record(tier, i, payload_max, &r);
    return EXPECT_OK(aegis_read(store, tier, i, buffer, sizeof buffer, &found)) && EXPECT_EQ_U64(found.index, i) &&
           EXPECT_EQ_U64(found.entry_length, r.entry_length) && EXPECT_EQ_U64(found.payload_length, r.payload_length) &&
           EXPECT_BYTES(buffer + found.entry_at, r.entry, r.entry_length) &&
           EXPECT_BYTES(buffer + found.payload_at, r.payload, r.payload_length);
}

static inline uint64_t size_of(aegis_store *store, uint32_t tier) {
    uint64_t size = UINT64_MAX;
    EXPECT_OK(aegis_size(store, tier, &size));
    return size;
}

static inline void upkeep_until_idle(aegis_store *store) {
    uint64_t wait = 0;
    for (int turn = 0; turn < 1000 && wait == 0; turn++) EXPECT_OK(aegis_background(store, &wait));
}

static inline int verify_whole(aegis_store *store, uint32_t tier) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    TRY(aegis_verify_start(store, tier, &verifier));
    int code = AEGIS_OK;
    while (code == AEGIS_OK && !progress.done) code = aegis_verify_step(verifier, 4096, &progress);
    aegis_verify_end(verifier);
    return code;
}

#endif
