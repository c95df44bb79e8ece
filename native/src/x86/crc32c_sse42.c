/* crc32c by the crc32 instruction of SSE4.2: three streams at once.
 *
 * The instruction takes 8 bytes, starts every cycle and answers after three: one stream leaves it idle two cycles of three.
 * So a long buffer is taken in strides of three blocks,
 *
 *   | block a | block b | block c | block a | block b | …        BLOCK bytes each
 *
 * whose registers advance side by side, a from the state so far, b and c from zero. To put a in front of b is to let it pass
 * over BLOCK zero bytes, a multiplication by the constant x^(8 BLOCK), and to add b:
 *
 *   state = past(past(a) ^ b) ^ c
 *
 * The multiplication is linear in the 32 bits of the register and is looked up four bits at a time. Bit b stands for x^(31-b)
 * (crc32c.c has the maths), so the eight tables of 16 are the sums of the 32 powers x^(8 BLOCK) … x^(8 BLOCK + 31) mod P.
 */
#include "base.h"

#if defined(__x86_64__)

#include <nmmintrin.h>

#define BLOCK 512
#define WORDS (BLOCK / 8)
_Static_assert(BLOCK == 512, "the powers below belong to this block size");

#define BIT(v, b, power) ((v) >> (b) & 1 ? (power) : 0u)
#define SUM(v, p3, p2, p1, p0) (BIT(v, 3, p3) ^ BIT(v, 2, p2) ^ BIT(v, 1, p1) ^ BIT(v, 0, p0))
#define SUM_4(v, ...) SUM(v, __VA_ARGS__), SUM(v + 1, __VA_ARGS__), SUM(v + 2, __VA_ARGS__), SUM(v + 3, __VA_ARGS__)
#define TABLE(...) \
    { SUM_4(0, __VA_ARGS__), SUM_4(4, __VA_ARGS__), SUM_4(8, __VA_ARGS__), SUM_4(12, __VA_ARGS__) }

static const uint32_t past_block[8][16] = {
    [7] = TABLE(0x74c360a4, 0x3a61b052, 0x1d30d829, 0x8c6e576c), /* x^4096 … x^4099: the register's top four bits */
    [6] = TABLE(0x46372bb6, 0x231b95db, 0x937bf195, 0xcb4bc3b2),
    [5] = TABLE(0x65a5e1d9, 0xb024cb94, 0x581265ca, 0x2c0932e5),
    [4] = TABLE(0x94f2a20a, 0x4a795105, 0xa7ca93fa, 0x53e549fd),
    [3] = TABLE(0xab049f86, 0x55824fc3, 0xa8371c99, 0xd6edb534),
    [2] = TABLE(0x6b76da9a, 0x35bb6d4d, 0x982b8dde, 0x4c15c6ef),
    [1] = TABLE(0xa4fcd80f, 0xd088577f, 0xeab210c7, 0xf7af331b),
    [0] = TABLE(0xf921a2f5, 0xfe66ea02, 0x7f337501, 0xbd6f81f8), /* x^4124 … x^4127 */
};

static inline uint32_t past(uint32_t v) {
    return past_block[0][v & 15] ^ past_block[1][v >> 4 & 15] ^ past_block[2][v >> 8 & 15] ^ past_block[3][v >> 12 & 15] ^
           past_block[4][v >> 16 & 15] ^ past_block[5][v >> 20 & 15] ^ past_block[6][v >> 24 & 15] ^ past_block[7][v >> 28];
}

uint32_t crc32c_sse42(uint32_t state, const uint8_t *bytes, size_t length);

/* clang has the instruction apart from SSE4.2 since its version 14. */
__attribute__((target("sse4.2,crc32")))
uint32_t crc32c_sse42(uint32_t state, const uint8_t *bytes, size_t length) {
    /* The 64-bit form of the instruction keeps 32 bits of state in a 64-bit register. */
    uint64_t a = state;
    while (length >= 3 * BLOCK) {
        uint64_t b = 0;
        uint64_t c = 0;
        for (const uint8_t *end = bytes + BLOCK; bytes < end; bytes += 8) {
            a = _mm_crc32_u64(a, load_u64(bytes));
            b = _mm_crc32_u64(b, load_u64(bytes + BLOCK));
            c = _mm_crc32_u64(c, load_u64(bytes + 2 * BLOCK));
        }
        a = past(past((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
        bytes += 2 * BLOCK;
        length -= 3 * BLOCK;
    }
    for (; length >= 8; length -= 8, bytes += 8) a = _mm_crc32_u64(a, load_u64(bytes));
    state = (uint32_t)a;
    for (; length > 0; length--, bytes++) state = _mm_crc32_u8(state, *bytes);
    return state;
}

#endif
