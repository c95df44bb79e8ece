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
 */
#include "base.h"

#if defined(__x86_64__)

#include <immintrin.h>

extern const uint32_t sha256_k[64]; /* 16-byte aligned */
void sha256_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count);

__attribute__((target("sha,sse4.1,ssse3")))
void sha256_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count) {
    const __m128i swap_bytes = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(badc, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, badc, 0xf0);

    for (; count > 0; count--, blocks += 64) {
        const __m128i abef_before = abef;
        const __m128i cdgh_before = cdgh;
        __m128i w[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(blocks + 16 * i)), swap_bytes);
        }
        /* Unrolled, so that w stays in registers. */
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m128i now = w[i % 4];
            const __m128i k = _mm_load_si128((const __m128i *)(const void *)(sha256_k + 4 * i));
            const __m128i wk = _mm_add_epi32(now, k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
            if (i < 12) {
                const __m128i next = w[(i + 1) % 4], third = w[(i + 2) % 4], fourth = w[(i + 3) % 4];
                const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(fourth, third, 4));
                w[i % 4] = _mm_sha256msg2_epu32(sum, fourth);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }

    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#endif
