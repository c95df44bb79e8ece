/* sha256: plain code after FIPS 180-4, the choice of path, and what the store builds on it.
 *
 * Everything here is one loop of compress() over whole 64-byte blocks and one function, finish(), that pads the rest:
 *
 *   | whole blocks, read where they lie | rest (0-63 bytes) 80 00 … 00 length in bits, 8 bytes big-endian |
 *                                                                           ends one or two blocks
 *
 * The tree's hashes put one byte before their input, which shifts it against the blocks. A leaf therefore copies its first 63
 * bytes behind the 0x00 and reads all others in place. A node is always 65 bytes, two blocks, of which the second is constant
 * but for its first byte:
 *
 *   | 01 left[0..31] right[0..30] | right[31] 80 00 … 00 02 08 |                                        520 bits = 0x208
 *
 * HMAC(secret, m) = SHA-256(secret ^ 5c… || SHA-256(secret ^ 36… || m)), the secret padded with zeros to a block: the states
 * after those two pad blocks depend on the secret alone, and are the prepared key.
 */
#include "sha256.h"

#include "cpu.h"

#define BLOCK_SIZE 64
#define LENGTH_SIZE 8
_Static_assert(sizeof(((sha256 *)0)->block) == BLOCK_SIZE, "a block is 64 bytes");
_Static_assert(HASH_SIZE == 32, "a digest is 32 bytes");

/* Each path takes `count` blocks into the state. */
#if defined(__x86_64__)
#define FAST_NAME "sha-ni"
void sha256_compress_shani(uint32_t state[8], const uint8_t *blocks, size_t count);
#define compress_fast sha256_compress_shani
void sha256_compress_two_shani(uint32_t state_a[8], const uint8_t *blocks_a, uint32_t state_b[8], const uint8_t *blocks_b, size_t count);
#define compress_two_fast sha256_compress_two_shani
#elif defined(__AARCH64EL__)
#define FAST_NAME "armv8-sha2"
void sha256_compress_armv8(uint32_t state[8], const uint8_t *blocks, size_t count);
#define compress_fast sha256_compress_armv8
#endif

/* FIPS 180-4 section 4.2.2; the fast paths read it too, 16 bytes at a time. */
extern const uint32_t sha256_k[64];
_Alignas(16) const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count);
static void finish(uint32_t state[8], const uint8_t *rest, size_t rest_length, uint64_t length, uint8_t digest[HASH_SIZE]);
static void put_digest(const uint32_t state[8], uint8_t digest[HASH_SIZE]);
static void store_length_bits(uint8_t *p, uint64_t length_bytes);

void sha256_start(sha256 *s) {
    memcpy(s->state, initial, sizeof s->state);
    s->length = 0;
}

void sha256_add(sha256 *s, const void *bytes, size_t length) {
    if (length == 0) return;
    const uint8_t *next = bytes;
    size_t held = (size_t)(s->length % BLOCK_SIZE);
    s->length += length;
    if (held > 0) {
        size_t fits = BLOCK_SIZE - held;
        if (length < fits) {
            memcpy(s->block + held, next, length);
            return;
        }
        memcpy(s->block + held, next, fits);
        compress(s->state, s->block, 1);
        next += fits;
        length -= fits;
    }
    size_t whole = length / BLOCK_SIZE;
    if (whole > 0) compress(s->state, next, whole);
    memcpy(s->block, next + whole * BLOCK_SIZE, length % BLOCK_SIZE);
}

#ifdef compress_two_fast
/* Up to the next block's beginning; how many bytes that were. */
static size_t add_up_to_block(sha256 *s, const uint8_t *bytes, size_t length) {
    size_t missing = (size_t)(-s->length % BLOCK_SIZE), part = length < missing ? length : missing;
    sha256_add(s, bytes, part);
    return part;
}
#endif

void sha256_add_two(sha256 *a, const uint8_t *bytes_a, size_t length_a, sha256 *b, const uint8_t *bytes_b, size_t length_b) {
#ifdef compress_two_fast
    if (cpu()->sha256 && length_a >= 2 * BLOCK_SIZE && length_b >= 2 * BLOCK_SIZE) {
        size_t part_a = add_up_to_block(a, bytes_a, length_a), part_b = add_up_to_block(b, bytes_b, length_b);
        size_t count = (size_t)min_u64(length_a - part_a, length_b - part_b) / BLOCK_SIZE;
        compress_two_fast(a->state, bytes_a + part_a, b->state, bytes_b + part_b, count);
        a->length += count * BLOCK_SIZE;
        b->length += count * BLOCK_SIZE;
        part_a += count * BLOCK_SIZE;
        part_b += count * BLOCK_SIZE;
        bytes_a += part_a;
        bytes_b += part_b;
        length_a -= part_a;
        length_b -= part_b;
    }
#endif
    sha256_add(a, bytes_a, length_a);
    sha256_add(b, bytes_b, length_b);
}

void sha256_end(sha256 *s, uint8_t digest[HASH_SIZE]) {
    finish(s->state, s->block, (size_t)(s->length % BLOCK_SIZE), s->length, digest);
}

void sha256_whole(const void *bytes, size_t length, uint8_t digest[HASH_SIZE]) {
    uint32_t state[8];
    memcpy(state, initial, sizeof state);
    size_t whole = length / BLOCK_SIZE;
    if (whole > 0) compress(state, bytes, whole);
    const uint8_t *rest = length > 0 ? (const uint8_t *)bytes + whole * BLOCK_SIZE : NULL;
    finish(state, rest, length % BLOCK_SIZE, length, digest);
}

void leaf_hash(const void *entry, size_t length, uint8_t out[HASH_SIZE]) {
    const uint8_t *next = entry;
    uint64_t hashed = (uint64_t)length + 1;
    uint32_t state[8];
    uint8_t first[BLOCK_SIZE];
    memcpy(state, initial, sizeof state);
    first[0] = 0x00;
    if (length < BLOCK_SIZE - 1) {
        if (length > 0) memcpy(first + 1, next, length);
        finish(state, first, length + 1, hashed, out);
        return;
    }
    memcpy(first + 1, next, BLOCK_SIZE - 1);
    compress(state, first, 1);
    next += BLOCK_SIZE - 1;
    length -= BLOCK_SIZE - 1;
    size_t whole = length / BLOCK_SIZE;
    if (whole > 0) compress(state, next, whole);
    finish(state, next + whole * BLOCK_SIZE, length % BLOCK_SIZE, hashed, out);
}

void node_hash(const uint8_t left[HASH_SIZE], const uint8_t right[HASH_SIZE], uint8_t out[HASH_SIZE]) {
    uint32_t state[8];
    uint8_t blocks[2 * BLOCK_SIZE];
    memcpy(state, initial, sizeof state);
    blocks[0] = 0x01;
    memcpy(blocks + 1, left, HASH_SIZE);
    memcpy(blocks + 1 + HASH_SIZE, right, HASH_SIZE);
    blocks[BLOCK_SIZE + 1] = 0x80;
    memset(blocks + BLOCK_SIZE + 2, 0, BLOCK_SIZE - 4);
    blocks[2 * BLOCK_SIZE - 2] = 0x02;
    blocks[2 * BLOCK_SIZE - 1] = 0x08;
    compress(state, blocks, 2);
    put_digest(state, out);
}

void hmac_prepare(hmac_key *key, const void *secret, size_t length) {
    uint8_t pad[BLOCK_SIZE] = {0};
    if (length > BLOCK_SIZE) {
        sha256_whole(secret, length, pad);
    } else if (length > 0) {
        memcpy(pad, secret, length);
    }
    for (size_t i = 0; i < BLOCK_SIZE; i++) pad[i] ^= 0x36;
    memcpy(key->inner, initial, sizeof key->inner);
    compress(key->inner, pad, 1);
    for (size_t i = 0; i < BLOCK_SIZE; i++) pad[i] ^= 0x36 ^ 0x5c;
    memcpy(key->outer, initial, sizeof key->outer);
    compress(key->outer, pad, 1);
}

void hmac_whole(const hmac_key *key, const void *message, size_t length, uint8_t code[HASH_SIZE]) {
    uint32_t state[8];
    uint8_t inner[HASH_SIZE];
    memcpy(state, key->inner, sizeof state);
    size_t whole = length / BLOCK_SIZE;
    if (whole > 0) compress(state, message, whole);
    const uint8_t *rest = length > 0 ? (const uint8_t *)message + whole * BLOCK_SIZE : NULL;
    finish(state, rest, length % BLOCK_SIZE, BLOCK_SIZE + (uint64_t)length, inner);
    memcpy(state, key->outer, sizeof state);
    finish(state, inner, HASH_SIZE, BLOCK_SIZE + HASH_SIZE, code);
}

const char *sha256_path(void) {
#ifdef FAST_NAME
    if (cpu()->sha256) return FAST_NAME;
#endif
    return "portable";
}

/* Takes the last `rest_length` < 64 bytes of a message of `length` bytes, and the padding. */
static void finish(uint32_t state[8], const uint8_t *rest, size_t rest_length, uint64_t length, uint8_t digest[HASH_SIZE]) {
    uint8_t blocks[2 * BLOCK_SIZE];
    size_t size = rest_length + 1 + LENGTH_SIZE <= BLOCK_SIZE ? BLOCK_SIZE : 2 * BLOCK_SIZE;
    if (rest_length > 0) memcpy(blocks, rest, rest_length);
    blocks[rest_length] = 0x80;
    memset(blocks + rest_length + 1, 0, size - rest_length - 1 - LENGTH_SIZE);
    store_length_bits(blocks + size - LENGTH_SIZE, length);
    compress(state, blocks, size / BLOCK_SIZE);
    put_digest(state, digest);
}

/* Not written as shifts of bytes: of those gcc 12 makes a digest in so many steps that a node takes a fifth longer. */
static inline uint32_t big_endian(uint32_t v) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap32(v);
#else
    return v;
#endif
}

static inline void store_u32_big(uint8_t *p, uint32_t v) {
    v = big_endian(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t load_u32_big(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return big_endian(v);
}

static void store_length_bits(uint8_t *p, uint64_t length_bytes) {
    store_u32_big(p, (uint32_t)(length_bytes >> 29));
    store_u32_big(p + 4, (uint32_t)(length_bytes << 3));
}

static void put_digest(const uint32_t state[8], uint8_t digest[HASH_SIZE]) {
    for (size_t i = 0; i < 8; i++) store_u32_big(digest + 4 * i, state[i]);
}

static inline uint32_t rotate(uint32_t v, unsigned by) { return v >> by | v << (32 - by); }

/* The eight working variables never move: each round names them one place further instead. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                                             \
    do {                                                                                                             \
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + sha256_k[t] + w[t]; \
        d += t1;                                                                                                     \
        h = t1 + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));                         \
    } while (0)

static inline uint32_t next_word(const uint32_t w[64], size_t t) {
    uint32_t near = w[t - 2];
    uint32_t far = w[t - 15];
    return w[t - 16] + w[t - 7] + (rotate(near, 17) ^ rotate(near, 19) ^ near >> 10) +
           (rotate(far, 7) ^ rotate(far, 18) ^ far >> 3);
}

static void compress_portable(uint32_t state[8], const uint8_t *blocks, size_t count) {
    for (; count > 0; count--, blocks += BLOCK_SIZE) {
        uint32_t w[64];
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (size_t t = 0; t < 16; t++) w[t] = load_u32_big(blocks + 4 * t);
        for (size_t t = 16; t < 64; t++) w[t] = next_word(w, t);
        for (size_t t = 0; t < 64; t += 8) {
            ROUND(a, b, c, d, e, f, g, h, t);
            ROUND(h, a, b, c, d, e, f, g, t + 1);
            ROUND(g, h, a, b, c, d, e, f, t + 2);
            ROUND(f, g, h, a, b, c, d, e, t + 3);
            ROUND(e, f, g, h, a, b, c, d, t + 4);
            ROUND(d, e, f, g, h, a, b, c, t + 5);
            ROUND(c, d, e, f, g, h, a, b, t + 6);
            ROUND(b, c, d, e, f, g, h, a, t + 7);
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count) {
#ifdef FAST_NAME
    if (cpu()->sha256) {
        compress_fast(state, blocks, count);
        return;
    }
#endif
    compress_portable(state, blocks, count);
}
