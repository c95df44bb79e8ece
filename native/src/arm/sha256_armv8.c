/* sha256 by the SHA2 instructions of ARMv8.
 *
 * sha256h and sha256h2 do four rounds on the working variables as they lie in memory, abcd and efgh; each wants the old value
 * of the other. sha256su0 and sha256su1 make the next four message words from the 16 before them.
 */
#include "base.h"

#if defined(__AARCH64EL__)

#include <arm_neon.h>

extern const uint32_t sha256_k[64];
void sha256_compress_armv8(uint32_t state[8], const uint8_t *blocks, size_t count);

/* "+sha2" would say it better, but gcc 12 has these intrinsics under the older name only. */
__attribute__((target("+crypto")))
void sha256_compress_armv8(uint32_t state[8], const uint8_t *blocks, size_t count) {
    uint32x4_t abcd = vld1q_u32(state);
    uint32x4_t efgh = vld1q_u32(state + 4);

    for (; count > 0; count--, blocks += 64) {
        const uint32x4_t abcd_before = abcd;
        const uint32x4_t efgh_before = efgh;
        uint32x4_t w[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(blocks + 16 * i)));
        /* Unrolled, so that w stays in registers. */
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const uint32x4_t now = w[i % 4];
            const uint32x4_t wk = vaddq_u32(now, vld1q_u32(sha256_k + 4 * i));
            const uint32x4_t abcd_old = abcd;
            abcd = vsha256hq_u32(abcd, efgh, wk);
            efgh = vsha256h2q_u32(efgh, abcd_old, wk);
            if (i < 12) {
                const uint32x4_t next = w[(i + 1) % 4], third = w[(i + 2) % 4], fourth = w[(i + 3) % 4];
                w[i % 4] = vsha256su1q_u32(vsha256su0q_u32(now, next), third, fourth);
            }
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }

    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

#endif
