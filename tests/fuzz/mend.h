/* mend: makes checksums and codes right over bytes that a fuzzer wrote. It follows docs/FORMAT.md and not the engine's encoders, so that
 * a mistake in these shows as a difference. Each function takes the mode and mends what MODE_SUMS and MODE_CODES ask for. */
#ifndef AEGIS_FUZZ_MEND_H
#define AEGIS_FUZZ_MEND_H

#include "footer.h"
#include "frame.h"
#include "fuzz.h"
#include "merkle.h"
#include "segment.h"

/* A code of 16 bytes over a message of up to 256. */
static inline void mend_code(const scope *s, const uint8_t *const parts[], const size_t lengths[], unsigned count, uint8_t *to) {
    uint8_t message[256];
    size_t used = 0;
    for (unsigned i = 0; i < count; i++) {
        DEMAND(used + lengths[i] <= sizeof message);
        memcpy(message + used, parts[i], lengths[i]);
        used += lengths[i];
    }
    scope_mac(s, message, used, to);
}

/* The whole of HMAC(SHA-256(domain ‖ first ‖ second)): manifests and outlines. */
static inline void mend_long_code(const scope *s, uint8_t domain, const uint8_t *first, size_t first_length, const uint8_t *second,
                                  size_t second_length, uint8_t to[HASH_SIZE]) {
    uint8_t digest[HASH_SIZE];
    sha256 inner;
    sha256_start(&inner);
    sha256_add(&inner, &domain, 1);
    if (first_length > 0) sha256_add(&inner, first, first_length);
    sha256_add(&inner, second, second_length);
    sha256_end(&inner, digest);
    hmac_whole(&s->key, digest, sizeof digest, to);
}

/* The body checksum of a frame whose lengths lie within `bytes`. */
static inline uint32_t plain_body(const scope *s, const uint8_t *bytes) {
    uint8_t head[31], last[9];
    memcpy(head, s->store_id, 16);
    store_u32(head + 16, s->tier);
    head[20] = bytes[4];
    memcpy(head + 21, bytes + 6, 6);    /* both lengths */
    memcpy(last, bytes + 16, 8);
    last[8] = bytes[5];
    uint32_t crc = crc32c(0, head, 27);
    crc = crc32c(crc, bytes + FRAME_HEADER, (size_t)load_u16(bytes + 6) + load_u32(bytes + 8));
    return crc32c(crc, last, sizeof last);
}

/* The link of the same frame at `offset` of a segment with this nonce. */
static inline void plain_link(const scope *s, const uint8_t *bytes, const uint8_t *nonce, uint64_t offset, uint8_t to[MAC_SIZE]) {
    uint8_t leaf[HASH_SIZE], place_bytes[8];
    leaf_hash(bytes + FRAME_HEADER, load_u16(bytes + 6), leaf);
    store_u64(place_bytes, offset);
    mend_code(s, (const uint8_t *const[]){(const uint8_t *)"L", nonce, place_bytes, bytes + 16, leaf, bytes + 12},
              (const size_t[]){1, NONCE_SIZE, 8, 16, HASH_SIZE, 4}, 6, to);
}

/* The frame at the start of `available` bytes, if there is one. Its size, or 0. */
static inline uint64_t mend_frame(const scope *s, unsigned mode, uint8_t *bytes, uint64_t available, const uint8_t *nonce, uint64_t offset) {
    if (available < FRAME_HEADER || memcmp(bytes, "AFR0", 4) != 0) return 0;
    uint64_t used = (uint64_t)FRAME_HEADER + load_u16(bytes + 6) + load_u32(bytes + 8), size = (used + 7) / 8 * 8;
    if (size > available) return 0;
    if (mode & MODE_SUMS) store_u32(bytes + 12, plain_body(s, bytes));
    if (mode & MODE_CODES) plain_link(s, bytes, nonce, offset, bytes + 32);
    return size;
}

static inline void mend_slot(const scope *s, unsigned mode, uint8_t slot_bytes[96], const uint8_t *nonce, uint64_t offset) {
    uint8_t place_bytes[8];
    store_u64(place_bytes, offset);
    if (memcmp(slot_bytes, "AEGISWMK", 8) != 0) return;
    if (mode & MODE_SUMS) store_u32(slot_bytes + 68, crc32c(0, slot_bytes, 68));
    if (mode & MODE_CODES)
        mend_code(s, (const uint8_t *const[]){(const uint8_t *)"W", nonce, place_bytes, slot_bytes},
                  (const size_t[]){1, NONCE_SIZE, 8, 68}, 4, slot_bytes + 72);
}

/* The fixed part of a footer, and what stands before it: `tail` bytes that the file ends with. */
static inline void mend_footer(const scope *s, unsigned mode, uint8_t *tail, size_t length) {
    if (length < FOOTER_FIXED) return;
    uint8_t *fixed = tail + length - FOOTER_FIXED;
    if (memcmp(fixed, "AEGISFTR", 8) != 0) return;
    uint64_t count = load_u64(fixed + 56), end = load_u64(fixed + 48) + count;
    uint64_t peaks = (uint64_t)__builtin_popcountll(end) * HASH_SIZE, room = length - FOOTER_FIXED;
    if (peaks <= room && count <= (room - peaks) / 4) {
        merkle_range range = {.size = end};
        memcpy(range.peaks, fixed - peaks, (size_t)peaks);
        if (mode & MODE_OTHER) merkle_root(&range, fixed + 80);
        if (mode & MODE_SUMS) store_u32(fixed + 72, crc32c(0, fixed - peaks - count * 4, (size_t)(peaks + count * 4)));
    }
    if (mode & MODE_SUMS) store_u32(fixed + 252, crc32c(0, fixed, 144));
    if (mode & MODE_CODES)
        mend_code(s, (const uint8_t *const[]){(const uint8_t *)"F", fixed}, (const size_t[]){1, 144}, 2, fixed + 208);
}

/* A whole segment file: header, slots, frames as far as they follow one another, footer. */
static inline void mend_segment(const scope *s, unsigned mode, uint8_t *bytes, size_t length) {
    if (length < SEGMENT_FRAMES) return;
    const uint8_t *nonce = bytes + 48;
    if (mode & MODE_SUMS) store_u32(bytes + 508, crc32c(0, bytes, 508));
    for (unsigned n = 0; n < 2; n++) mend_slot(s, mode, bytes + SEGMENT_SLOT_AT(n), nonce, SEGMENT_SLOT_AT(n));
    for (uint64_t at = SEGMENT_FRAMES; at + FRAME_HEADER <= length;) {
        uint64_t size = mend_frame(s, mode, bytes + at, length - at, nonce, at);
        at += size > 0 ? size : 8;
    }
    mend_footer(s, mode, bytes + SEGMENT_FRAMES, length - SEGMENT_FRAMES);
}

/* A copy of a manifest, without padding. */
static inline void mend_manifest(const scope *s, unsigned mode, uint8_t *copy, size_t length) {
    if (length < 40) return;
    if (mode & MODE_CODES) mend_long_code(s, 'M', NULL, 0, copy, length - 40, copy + length - 40);
    if (mode & MODE_SUMS) store_u32(copy + length - 8, crc32c(0, copy, length - 8));
}

static inline void mend_outline(const scope *s, unsigned mode, const uint8_t *nonce, uint8_t *bytes, size_t length) {
    if (length >= 32 && (mode & MODE_CODES)) mend_long_code(s, 'O', nonce, NONCE_SIZE, bytes, length - 32, bytes + length - 32);
}

#endif
