/* fuzz_frame: one frame at some place of some segment.
 *
 *   mode 1 | nonce 16 | offset 8 | frame …
 *
 * MODE_OTHER: another index than the frame's own is expected. Demanded of what is accepted: the checksum is the one of docs/FORMAT.md,
 * computed bit by bit; the watermark is at most the index; whoever has the secret sees the right link; and encoding the same record
 * again gives the same bytes.
 */
#include "mend.h"

FUZZ_WITHOUT(NO_FRAME_END_TEST)

static void demand_same_again(const scope *s, const frame *f, const uint8_t *bytes, const uint8_t *nonce, uint64_t offset) {
    uint8_t *again = malloc((size_t)f->size), leaf[HASH_SIZE];
    DEMAND(again != NULL);
    leaf_hash(frame_entry(bytes), f->entry_length, leaf);
    uint32_t open_body = frame_body_open(s, f->kind, frame_entry(bytes), f->entry_length, frame_payload(f, bytes), f->payload_length);
    frame_begin(again, f->kind, open_body, f->index, frame_entry(bytes), f->entry_length, frame_payload(f, bytes), f->payload_length);
    frame_finish(s, again, f->flags, f->watermark, nonce, offset, leaf);
    DEMAND(memcmp(again, bytes, 32) == 0);
    DEMAND(!s->keyed || memcmp(again + 32, bytes + 32, MAC_SIZE) == 0);
    DEMAND(memcmp(again + FRAME_HEADER, bytes + FRAME_HEADER, (size_t)f->size - FRAME_HEADER) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    uint8_t nonce[NONCE_SIZE], leaf[HASH_SIZE];
    unsigned mode = take_u8(&in);
    take(&in, nonce, sizeof nonce);
    uint64_t offset = take_u64(&in), length = in.left;
    const scope s = fuzz_scope(NULL, mode);
    uint8_t *bytes = own(in.at, in.left);
    mend_frame(&s, mode, bytes, length, nonce, offset);

    frame f;
    int code = frame_parse(bytes, length, &f);
    DEMAND(code == AEGIS_OK || code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT);
    if (code == AEGIS_OK) {
        DEMAND(f.entry_length > 0 && f.payload_length <= AEGIS_PAYLOAD_MAX);
        code = frame_check_body(&s, &f, bytes, mode & MODE_OTHER ? f.index + 1 : f.index);
        DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT);
        DEMAND(!(mode & MODE_OTHER) || code == AEGIS_E_CORRUPT);
    }
    if (code == AEGIS_OK) {
        uint8_t head[27], last[9];
        memcpy(head, s.store_id, 16);
        store_u32(head + 16, s.tier);
        head[20] = f.kind;
        store_u16(head + 21, (uint16_t)f.entry_length);
        store_u32(head + 23, f.payload_length);
        store_u64(last, f.index);
        last[8] = f.flags;
        uint32_t crc = plain_crc32c(0, head, sizeof head);
        crc = plain_crc32c(crc, bytes + FRAME_HEADER, (size_t)f.entry_length + f.payload_length);
        DEMAND(plain_crc32c(crc, last, sizeof last) == f.body);
        DEMAND(f.watermark <= f.index && f.size % FRAME_ALIGN == 0 && f.size <= length);
        leaf_hash(frame_entry(bytes), f.entry_length, leaf);
        if (frame_check_link(&s, &f, nonce, offset, leaf) == AEGIS_OK) demand_same_again(&s, &f, bytes, nonce, offset);
        else DEMAND(s.keyed && !(mode & MODE_CODES));
    }
    free(bytes);
    return 0;
}
