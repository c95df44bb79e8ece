/* sha256 by the SHA extensions of x86.
 *
 * sha256rnds2 does two rounds on the eight working variables, which it wants in this order, highest lane first:
 *
 *   abef = a b e f     cdgh = c d g h                the state in memory is a b c d | e f g h, lowest lane first
 *
 * It returns the new abef; the old abef is the new cdgh. So the two registers take turns, and nothing has to be moved.
 * Message words come four to a register: sha256msg1 and sha256msg2 make words t .. t+3 from the 16 before them,
 *
 *   w[t] = s1(w[t-2]) + w[t-7] + s0(w[t-15]) + w[t-16]
 *          msg2         alignr   msg1
 *
 * Each sha256rnds2 waits for the one before it, four cycles, and the processor could begin another one in the next: two messages side
 * by side take little longer than one.
 */
#include "base.h"

#if defined(__x86_64__)

#include <immintrin.h>

extern const uint32_t sha256_k[64]; /* 16-byte aligned */
void sha256_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count);
void sha256_compress_two_shani(uint32_t state_a[8], const uint8_t *blocks_a, uint32_t state_b[8], const uint8_t *blocks_b, size_t count);

typedef struct lane {
    __m128i abef, cdgh;
    __m128i w[4];
} lane;

#define SHANI __attribute__((target("sha,sse4.1,ssse3")))
#define SHANI_INLINE SHANI __attribute__((always_inline)) static inline

SHANI_INLINE void load_state(lane *l, const uint32_t state[8]) {
    const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    l->abef = _mm_alignr_epi8(badc, efgh, 8);
    l->cdgh = _mm_blend_epi16(efgh, badc, 0xf0);
}

SHANI_INLINE void store_state(const lane *l, uint32_t state[8]) {
    const __m128i feba = _mm_shuffle_epi32(l->abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHANI_INLINE void load_words(lane *l, const uint8_t *block) {
    const __m128i swap_bytes = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) l->w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)), swap_bytes);
}

/* Rounds 4i to 4i + 3, and the words that they leave room for. */
SHANI_INLINE void four_rounds(lane *l, int i) {
    const __m128i now = l->w[i % 4];
    const __m128i k = _mm_load_si128((const __m128i *)(const void *)(sha256_k + 4 * i));
    const __m128i wk = _mm_add_epi32(now, k);
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, wk);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(wk, 0x0e));
    if (i < 12) {
        const __m128i next = l->w[(i + 1) % 4], third = l->w[(i + 2) % 4], fourth = l->w[(i + 3) % 4];
        const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(fourth, third, 4));
        l->w[i % 4] = _mm_sha256msg2_epu32(sum, fourth);
    }
}

SHANI void sha256_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count) {
    lane one;
    load_state(&one, state);
    for (; count > 0; count--, blocks += 64) {
        const __m128i abef = one.abef, cdgh = one.cdgh;
        load_words(&one, blocks);
        /* Unrolled, so that the words stay in registers. */
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) four_rounds(&one, i);
        one.abef = _mm_add_epi32(one.abef, abef);
        one.cdgh = _mm_add_epi32(one.cdgh, cdgh);
    }
    store_state(&one, state);
}

SHANI void sha256_compress_two_shani(uint32_t state_a[8], const uint8_t *blocks_a, uint32_t state_b[8], const uint8_t *blocks_b, size_t count) {
    lane a, b;
    load_state(&a, state_a);
    load_state(&b, state_b);
    for (; count > 0; count--, blocks_a += 64, blocks_b += 64) {
        const __m128i abef_a = a.abef, cdgh_a = a.cdgh, abef_b = b.abef, cdgh_b = b.cdgh;
        load_words(&a, blocks_a);
        load_words(&b, blocks_b);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            four_rounds(&a, i);
            four_rounds(&b, i);
        }
        a.abef = _mm_add_epi32(a.abef, abef_a);
        a.cdgh = _mm_add_epi32(a.cdgh, cdgh_a);
        b.abef = _mm_add_epi32(b.abef, abef_b);
        b.cdgh = _mm_add_epi32(b.cdgh, cdgh_b);
    }
    store_state(&a, state_a);
    store_state(&b, state_b);
}

#endif
