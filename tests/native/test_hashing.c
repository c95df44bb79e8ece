/* hashing.c: digests that another thread makes are those of the bytes in their order, whichever piece is for which. */
#include "hashing.h"

#include "check.h"

enum { BYTES = 1 << 20, DIGESTS = 3 };

static uint8_t bytes[BYTES];

static void hash_in_pieces(hashing *h, uint64_t seed, size_t most) {
    sha256 states[DIGESTS], expected[DIGESTS];
    uint64_t last = 0;
    for (int i = 0; i < DIGESTS; i++) sha256_start(&states[i]), sha256_start(&expected[i]);
    for (size_t at = 0; at < BYTES;) {
        size_t first = (size_t)(next_random(&seed) % most), second = (size_t)(next_random(&seed) % most), which = (size_t)(next_random(&seed) % DIGESTS);
        size_t other = (which + 1 + (size_t)(next_random(&seed) % (DIGESTS - 1))) % DIGESTS;
        if (next_random(&seed) % 7 == 0) second = 0;
        if (first > BYTES - at) first = BYTES - at;
        if (second > BYTES - at - first) second = BYTES - at - first;
        last = hashing_give(h, (hashing_part){&states[which], bytes + at, first}, (hashing_part){&states[other], bytes + at + first, second});
        sha256_add(&expected[which], bytes + at, first);
        sha256_add(&expected[other], bytes + at + first, second);
        if (next_random(&seed) % 5 == 0) hashing_wait(h, last);
        at += first + second + (first + second == 0);
    }
    hashing_wait(h, last);
    hashing_wait(h, last);    /* it stays true */
    for (int i = 0; i < DIGESTS; i++) {
        uint8_t found[HASH_SIZE], right[HASH_SIZE];
        sha256_end(&states[i], found);
        sha256_end(&expected[i], right);
        EXPECT_BYTES(found, right, HASH_SIZE);
    }
}

TEST(digests_are_those_of_the_bytes_in_their_order) {
    hashing h;
    uint64_t seed = 1;
    fill_random(&seed, bytes, sizeof bytes);
    hashing_start(&h);
    EXPECT(h.threaded);
    for (uint64_t round = 1; round < 8; round++) hash_in_pieces(&h, round, round % 2 == 0 ? 3000 : 200000);
    hashing_stop(&h);
}

TEST(what_was_given_is_taken_in_before_the_end) {
    for (int round = 0; round < 50; round++) {
        hashing h;
        sha256 state, nothing;
        uint8_t found[HASH_SIZE], right[HASH_SIZE];
        sha256_start(&state);
        sha256_start(&nothing);
        hashing_start(&h);
        for (int i = 0; i < 10; i++) hashing_give(&h, (hashing_part){&state, bytes + 1000 * i, 1000}, (hashing_part){&nothing, NULL, 0});
        hashing_stop(&h);
        sha256_end(&state, found);
        sha256_whole(bytes, 10000, right);
        EXPECT_BYTES(found, right, HASH_SIZE);
    }
}

TEST(without_a_thread_the_caller_hashes) {
    hashing h;
    hashing_start(&h);
    hashing_stop(&h);
    memset(&h, 0, sizeof h);    /* as where none could be started */
    pthread_mutex_init(&h.mutex, NULL);
    pthread_cond_init(&h.given, NULL);
    pthread_cond_init(&h.taken, NULL);
    hash_in_pieces(&h, 3, 5000);
    EXPECT_EQ_U64(h.given_count, 0);
    hashing_stop(&h);
}
