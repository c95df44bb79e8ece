/* base: fixed-width integers in the order of the format, sizes that cannot overflow, and the assertion that never aborts.
 *
 * Everything on disk is little-endian and is read and written byte by byte, so that neither the machine's order nor its
 * alignment rules matter. Include this first in every file of the core.
 */
#ifndef AEGIS_BASE_H
#define AEGIS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aegis.h"
#include "error.h"

#define HASH_SIZE 32

/* A test build can take out each safeguard, so that its test is seen to fail without it. A normal build has none of this. */
#ifdef AEGIS_MUTANTS
#include "mutants.h"
#else
#define MUTANT(name) 0
#endif

static inline uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)(p[1] << 8)); }

static inline uint32_t load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load_u64(const uint8_t *p) { return (uint64_t)load_u32(p) | (uint64_t)load_u32(p + 4) << 32; }

static inline void store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void store_u32(uint8_t *p, uint32_t v) {
    store_u16(p, (uint16_t)v);
    store_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void store_u64(uint8_t *p, uint64_t v) {
    store_u32(p, (uint32_t)v);
    store_u32(p + 4, (uint32_t)(v >> 32));
}

/* Checked arithmetic: false where the true result does not fit. */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *sum) { return !__builtin_add_overflow(a, b, sum); }
static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *product) { return !__builtin_mul_overflow(a, b, product); }

/* `power` is a power of two; the caller has checked that v is far from the top of the range. */
static inline uint64_t align_up(uint64_t v, uint64_t power) { return (v + power - 1) & ~(power - 1); }

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static inline bool all_zero(const uint8_t *p, size_t n) {
    /* Each byte equals the next one: the C library compares many at a time, and stops at the first that differs. */
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Equal in constant time: for authentication codes. */
static inline bool equal_secret(const uint8_t *a, const uint8_t *b, size_t n) {
    uint8_t differ = 0;
    for (size_t i = 0; i < n; i++) differ |= (uint8_t)(a[i] ^ b[i]);
    return differ == 0;
}

/* The engine lives in somebody else's process: a broken invariant returns an error and never aborts. Always compiled in. */
#define CHECK(condition)                                                                        \
    do {                                                                                        \
        if (!(condition)) return fail_invariant(#condition, __FILE__, __LINE__);                \
    } while (0)

#define TRY(call)                                                                               \
    do {                                                                                        \
        int try_code_ = (call);                                                                 \
        if (try_code_ != AEGIS_OK) return try_code_;                                            \
    } while (0)

#endif
