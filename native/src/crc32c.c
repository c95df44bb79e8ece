/* crc32c: the maths, the plain code, and the choice of path.
 *
 * A message is a polynomial over GF(2), first bit highest; its CRC is the remainder of message * x^32 by
 *
 *   P = x^32 + x^28 + x^27 + x^26 + x^25 + x^23 + x^22 + x^20 + x^19 + x^18 + x^14 + x^13 + x^11 + x^10 + x^9 + x^8 + x^6 + 1
 *
 * "Reflected" means that the lowest bit of a byte comes first, so the register holds its polynomial backwards: bit b stands
 * for x^(31-b), P without its x^32 is 0x82f63b78, and to multiply by x is to shift right and add P if a bit fell out:
 *
 *   step(c) = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0)                         c = 0x80000000 is 1, step^n(0x80000000) is x^n
 *
 * One byte: add it to the low end of the register, then step eight times. Since a remainder of a sum is the sum of the
 * remainders, those eight steps can be looked up by the low byte alone (the other 24 bits only move), and eight bytes at once
 * can be looked up in eight tables, where table[k][v] is the byte v followed by k zero bytes, stepped 8 (k + 1) times
 * ("slicing by eight"). The tables are sums too: bit b of v stands for x^(31-b), so
 *
 *   table[k][1 << b] = x^(39 - b + 8k) mod P,   table[k][v] = the sum of table[k][1 << b] over the bits b of v,
 *
 * and the 64 powers x^32 … x^95 below are all that has to be written down. The compiler adds them up: the tables are
 * constants, nothing is built at run time and no thread can see them half-made.
 *
 * The register starts as all ones and is inverted at the end, so that leading and trailing zeros count. crc32c() undoes and
 * redoes the inversion, hence crc32c(crc32c(0, a), b) == crc32c(0, a then b).
 */
#include "crc32c.h"

#include "cpu.h"

/* The paths take and return the register, not inverted. */
#if defined(__x86_64__)
#define FAST_NAME "sse4.2"
uint32_t crc32c_sse42(uint32_t state, const uint8_t *bytes, size_t length);
#define crc32c_fast crc32c_sse42
#elif defined(__AARCH64EL__)
#define FAST_NAME "armv8-crc"
uint32_t crc32c_armv8(uint32_t state, const uint8_t *bytes, size_t length);
#define crc32c_fast crc32c_armv8
#endif

#define BIT(v, b, power) ((v) >> (b) & 1 ? (power) : 0u)
#define SUM(v, p7, p6, p5, p4, p3, p2, p1, p0)                                                                        \
    (BIT(v, 7, p7) ^ BIT(v, 6, p6) ^ BIT(v, 5, p5) ^ BIT(v, 4, p4) ^ BIT(v, 3, p3) ^ BIT(v, 2, p2) ^ BIT(v, 1, p1) ^ \
     BIT(v, 0, p0))
#define SUM_4(v, ...) SUM(v, __VA_ARGS__), SUM(v + 1, __VA_ARGS__), SUM(v + 2, __VA_ARGS__), SUM(v + 3, __VA_ARGS__)
#define SUM_16(v, ...) SUM_4(v, __VA_ARGS__), SUM_4(v + 4, __VA_ARGS__), SUM_4(v + 8, __VA_ARGS__), SUM_4(v + 12, __VA_ARGS__)
#define SUM_64(v, ...) \
    SUM_16(v, __VA_ARGS__), SUM_16(v + 16, __VA_ARGS__), SUM_16(v + 32, __VA_ARGS__), SUM_16(v + 48, __VA_ARGS__)
#define TABLE(...) \
    { SUM_64(0, __VA_ARGS__), SUM_64(64, __VA_ARGS__), SUM_64(128, __VA_ARGS__), SUM_64(192, __VA_ARGS__) }

static const uint32_t table[8][256] = {
    TABLE(0x82f63b78, 0x417b1dbc, 0x20bd8ede, 0x105ec76f, 0x8ad958cf, 0xc79a971f, 0xe13b70f7, 0xf26b8303), /* x^32 … */
    TABLE(0xfbc3faf9, 0xff17c604, 0x7f8be302, 0x3fc5f181, 0x9d14c3b8, 0x4e8a61dc, 0x274530ee, 0x13a29877), /* x^40 … */
    TABLE(0x8b277743, 0xc76580d9, 0xe144fb14, 0x70a27d8a, 0x38513ec5, 0x9edea41a, 0x4f6f520d, 0xa541927e),
    TABLE(0x52a0c93f, 0xaba65fe7, 0xd725148b, 0xe964b13d, 0xf64463e6, 0x7b2231f3, 0xbf672381, 0xdd45aab8),
    TABLE(0x6ea2d55c, 0x37516aae, 0x1ba8b557, 0x8f2261d3, 0xc5670b91, 0xe045beb0, 0x7022df58, 0x38116fac),
    TABLE(0x1c08b7d6, 0x0e045beb, 0x85f4168d, 0xc00c303e, 0x6006181f, 0xb2f53777, 0xdb8ca0c3, 0xef306b19),
    TABLE(0xf56e0ef4, 0x7ab7077a, 0x3d5b83bd, 0x9c5bfaa6, 0x4e2dfd53, 0xa5e0c5d1, 0xd0065990, 0x68032cc8),
    TABLE(0x34019664, 0x1a00cb32, 0x0d006599, 0x847609b4, 0x423b04da, 0x211d826d, 0x9278fa4e, 0x493c7d27), /* … x^95 */
};

static uint32_t crc32c_portable(uint32_t state, const uint8_t *bytes, size_t length);

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length) {
#ifdef FAST_NAME
    if (cpu()->crc32c) return ~crc32c_fast(~crc, bytes, length);
#endif
    return ~crc32c_portable(~crc, bytes, length);
}

const char *crc32c_path(void) {
#ifdef FAST_NAME
    if (cpu()->crc32c) return FAST_NAME;
#endif
    return "portable";
}

static uint32_t crc32c_portable(uint32_t state, const uint8_t *bytes, size_t length) {
    while (length >= 8) {
        /* The first byte has the most zero bytes behind it, so it takes the highest table. */
        uint32_t low = state ^ load_u32(bytes);
        uint32_t high = load_u32(bytes + 4);
        state = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
                table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
        bytes += 8;
        length -= 8;
    }
    while (length-- > 0) state = state >> 8 ^ table[0][(state ^ *bytes++) & 0xff];
    return state;
}
