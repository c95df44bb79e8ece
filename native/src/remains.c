/* remains: see remains.h. */
#include "remains.h"

/* A frame that is no longer taken at its word: the bytes of its entry, and the header with what the caller knows put in. */
typedef struct reading {
    const scope *s;
    const uint8_t *nonce;
    uint64_t offset;
    uint64_t index;
    frame head;
} reading;

/* How many bits of the link are others than this reading gives. */
static unsigned bits_apart(const reading *r, uint64_t watermark, uint32_t body, const uint8_t leaf[HASH_SIZE]) {
    uint8_t link[MAC_SIZE];
    unsigned apart = 0;
    frame_link(r->s, r->nonce, r->offset, r->index, watermark, leaf, body, link);
    for (unsigned i = 0; i < MAC_SIZE; i++) apart += (unsigned)__builtin_popcount(link[i] ^ r->head.link[i]);
    return MUTANT(NO_REMAINS_TEST) ? 0 : apart;
}

static bool holds(const reading *r, const uint8_t leaf[HASH_SIZE]) { return bits_apart(r, r->head.watermark, r->head.body, leaf) == 0; }

static bool holds_with_a_bit_of_the_header(const reading *r, const uint8_t leaf[HASH_SIZE]) {
    for (unsigned bit = 0; bit < 64; bit++)
        if (bits_apart(r, r->head.watermark ^ 1ull << bit, r->head.body, leaf) == 0) return true;
    for (unsigned bit = 0; bit < 32; bit++)
        if (bits_apart(r, r->head.watermark, r->head.body ^ 1u << bit, leaf) == 0) return true;
    return false;
}

/* The same with another length of the entry. */
static bool holds_with_a_bit_of_the_length(const reading *r, const uint8_t *bytes, uint64_t available, uint8_t leaf[HASH_SIZE]) {
    for (unsigned bit = 0; bit < 16; bit++) {
        uint32_t length = r->head.entry_length ^ 1u << bit;
        if (length == 0 || length > available - FRAME_HEADER) continue;
        leaf_hash(frame_entry(bytes), length, leaf);
        if (holds(r, leaf)) return true;
    }
    return false;
}

static bool holds_with_a_bit_of_the_entry(const reading *r, const uint8_t *bytes, uint8_t leaf[HASH_SIZE]) {
    uint8_t entry[REMAINS_ENTRY_MAX];
    uint32_t length = r->head.entry_length;
    if (length > sizeof entry) return false;
    memcpy(entry, frame_entry(bytes), length);
    for (uint32_t bit = 0; bit < 8 * length; bit++) {
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
        leaf_hash(entry, length, leaf);
        if (holds(r, leaf)) return true;
        entry[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return false;
}

int remains_leaf(const scope *s, const uint8_t nonce[NONCE_SIZE], uint64_t offset, uint64_t index, const uint8_t *bytes,
                 uint64_t available, const uint8_t *hint, uint8_t leaf[HASH_SIZE]) {
    reading r = {.s = s, .nonce = nonce, .offset = offset, .index = index};
    if (!s->keyed || available < FRAME_HEADER) return AEGIS_E_PROOF;
    frame_fields(bytes, &r.head);
    bool fits = r.head.entry_length > 0 && r.head.entry_length <= available - FRAME_HEADER;
    if (fits) {
        leaf_hash(frame_entry(bytes), r.head.entry_length, leaf);
        if (bits_apart(&r, r.head.watermark, r.head.body, leaf) <= 1) return AEGIS_OK;
    }
    if (hint != NULL && holds(&r, hint)) {
        memcpy(leaf, hint, HASH_SIZE);
        return AEGIS_OK;
    }
    if (fits && holds_with_a_bit_of_the_header(&r, leaf)) return AEGIS_OK;
    if (holds_with_a_bit_of_the_length(&r, bytes, available, leaf)) return AEGIS_OK;
    return fits && holds_with_a_bit_of_the_entry(&r, bytes, leaf) ? AEGIS_OK : AEGIS_E_PROOF;
}
