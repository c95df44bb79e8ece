/* frame: see frame.h and docs/FORMAT.md.
 *
 * A frame is valid at an offset if and only if
 *   (1) the magic is there, (2) the lengths are within their bounds and the frame lies inside the file,
 *   (3) its index is the expected one, (4) the body checksum matches, (5) the watermark is at most the index,
 *   (6) in an active segment, for who has the secret, the link matches, (7) the padding is zero,
 *   (8) its flags are known ones, and a stub has eight bytes of payload that name a later record.
 * (1)-(8) each have a test of that number in tests/native/test_frame.c.
 */
#include "frame.h"

#include "crc32c.h"

static const uint8_t MAGIC[4] = {'A', 'F', 'R', '0'};

enum {
    AT_KIND = 4,
    AT_FLAGS = 5,
    AT_ENTRY_LENGTH = 6,
    AT_PAYLOAD_LENGTH = 8,
    AT_BODY = 12,
    AT_INDEX = 16,
    AT_WATERMARK = 24,
    AT_LINK = 32,
};
_Static_assert(AT_LINK + MAC_SIZE == FRAME_HEADER, "FORMAT.md shows 48 bytes");

static uint32_t body_close(uint32_t open_body, uint64_t index, uint8_t flags) {
    uint8_t last[9];
    store_u64(last, index);
    last[8] = flags;
    return crc32c(open_body, last, sizeof last);
}

void frame_link(const scope *s, const uint8_t nonce[NONCE_SIZE], uint64_t offset, uint64_t index, uint64_t watermark,
                const uint8_t leaf[HASH_SIZE], uint32_t body, uint8_t out[MAC_SIZE]) {
    uint8_t message[1 + NONCE_SIZE + 8 + 8 + 8 + HASH_SIZE + 4];
    uint8_t *p = message;
    *p++ = MAC_LINK;
    memcpy(p, nonce, NONCE_SIZE);
    p += NONCE_SIZE;
    store_u64(p, offset);
    store_u64(p + 8, index);
    store_u64(p + 16, watermark);
    memcpy(p + 24, leaf, HASH_SIZE);
    store_u32(p + 24 + HASH_SIZE, body);
    scope_mac(s, message, sizeof message, out);
}

uint32_t frame_body_open(const scope *s, uint8_t kind, const uint8_t *entry, uint32_t entry_length, const uint8_t *payload,
                         uint32_t payload_length) {
    uint8_t first[STORE_ID_SIZE + 4 + 1 + 2 + 4];
    memcpy(first, s->store_id, STORE_ID_SIZE);
    store_u32(first + STORE_ID_SIZE, s->tier);
    first[STORE_ID_SIZE + 4] = kind;
    store_u16(first + STORE_ID_SIZE + 5, (uint16_t)entry_length);
    store_u32(first + STORE_ID_SIZE + 7, payload_length);
    uint32_t crc = crc32c(0, first, sizeof first);
    crc = crc32c(crc, entry, entry_length);
    return crc32c(crc, payload, payload_length);
}

void frame_begin(uint8_t *to, uint8_t kind, uint32_t open_body, uint64_t index, const uint8_t *entry, uint32_t entry_length,
                 const uint8_t *payload, uint32_t payload_length) {
    memcpy(to, MAGIC, sizeof MAGIC);
    to[AT_KIND] = kind;
    to[AT_FLAGS] = 0;
    store_u16(to + AT_ENTRY_LENGTH, (uint16_t)entry_length);
    store_u32(to + AT_PAYLOAD_LENGTH, payload_length);
    store_u32(to + AT_BODY, open_body);
    store_u64(to + AT_INDEX, index);
    memset(to + AT_WATERMARK, 0, 8 + MAC_SIZE);
    memcpy(to + FRAME_HEADER, entry, entry_length);
    if (payload_length > 0) memcpy(to + FRAME_HEADER + entry_length, payload, payload_length);
    uint64_t used = (uint64_t)FRAME_HEADER + entry_length + payload_length;
    memset(to + used, 0, (size_t)(frame_size(entry_length, payload_length) - used));
}

void frame_finish(const scope *s, uint8_t *bytes, uint8_t flags, uint64_t watermark, const uint8_t nonce[NONCE_SIZE],
                  uint64_t offset, const uint8_t leaf[HASH_SIZE]) {
    uint64_t index = load_u64(bytes + AT_INDEX);
    uint32_t body = body_close(load_u32(bytes + AT_BODY), index, flags);
    bytes[AT_FLAGS] = flags;
    store_u32(bytes + AT_BODY, body);
    store_u64(bytes + AT_WATERMARK, watermark);
    frame_link(s, nonce, offset, index, watermark, leaf, body, bytes + AT_LINK);
}

void frame_remake(const scope *s, uint8_t *to, const frame *old, const uint8_t *entry, uint8_t flags, const uint8_t *payload,
                  uint32_t payload_length) {
    uint32_t open_body = frame_body_open(s, old->kind, entry, old->entry_length, payload, payload_length);
    frame_begin(to, old->kind, open_body, old->index, entry, old->entry_length, payload, payload_length);
    to[AT_FLAGS] = flags;
    store_u32(to + AT_BODY, body_close(open_body, old->index, flags));
    store_u64(to + AT_WATERMARK, old->watermark);
}

void frame_fields(const uint8_t *bytes, frame *out) {
    out->kind = bytes[AT_KIND];
    out->flags = bytes[AT_FLAGS];
    out->entry_length = load_u16(bytes + AT_ENTRY_LENGTH);
    out->payload_length = load_u32(bytes + AT_PAYLOAD_LENGTH);
    out->body = load_u32(bytes + AT_BODY);
    out->index = load_u64(bytes + AT_INDEX);
    out->watermark = load_u64(bytes + AT_WATERMARK);
    memcpy(out->link, bytes + AT_LINK, MAC_SIZE);
    out->size = frame_size(out->entry_length, out->payload_length);
}

int frame_parse(const uint8_t *bytes, uint64_t available, frame *out) {
    if (available < FRAME_HEADER || !frame_may_start(bytes)) return AEGIS_E_TORN;
    frame_fields(bytes, out);
    if (!MUTANT(NO_LENGTH_LIMIT) && (out->entry_length == 0 || out->payload_length > AEGIS_PAYLOAD_MAX)) return AEGIS_E_CORRUPT;
    bool flags_known = (out->flags & ~(FRAME_LAST | FRAME_GAP)) == 0, stub_fits = !frame_is_stub(out) || out->payload_length == FRAME_CAUSE_SIZE;
    if ((!flags_known || !stub_fits) && !MUTANT(NO_FLAGS_TEST)) return AEGIS_E_CORRUPT;
    return out->size <= available || MUTANT(NO_FRAME_END_TEST) ? AEGIS_OK : AEGIS_E_TORN;
}

int frame_check_body(const scope *s, const frame *f, const uint8_t *bytes, uint64_t expected_index) {
    if ((f->index != expected_index && !MUTANT(NO_READ_INDEX_TEST)) || (f->watermark > f->index && !MUTANT(NO_WATERMARK_LIMIT))) return AEGIS_E_CORRUPT;
    uint32_t open_body = frame_body_open(s, f->kind, frame_entry(bytes), f->entry_length, frame_payload(f, bytes),
                                         f->payload_length);
    if (!MUTANT(NO_BODY_CHECKSUM) && body_close(open_body, f->index, f->flags) != f->body) return AEGIS_E_CORRUPT;
    if (frame_is_stub(f) && frame_cause(f, bytes) <= f->index && !MUTANT(NO_CAUSE_TEST)) return AEGIS_E_CORRUPT;
    uint64_t used = (uint64_t)FRAME_HEADER + f->entry_length + f->payload_length;
    return MUTANT(NO_PADDING_TEST) || all_zero(bytes + used, (size_t)(f->size - used)) ? AEGIS_OK : AEGIS_E_CORRUPT;
}

int frame_check_link(const scope *s, const frame *f, const uint8_t nonce[NONCE_SIZE], uint64_t offset,
                     const uint8_t leaf[HASH_SIZE]) {
    if (!s->keyed || MUTANT(NO_LINK_CHECK)) return AEGIS_OK;
    uint8_t expected[MAC_SIZE];
    frame_link(s, nonce, offset, f->index, f->watermark, leaf, f->body, expected);
    return equal_secret(expected, f->link, MAC_SIZE) ? AEGIS_OK : AEGIS_E_CORRUPT;
}
