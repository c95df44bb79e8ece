/* fuzz_segment: one segment's file: header, watermark slots, frames.
 *
 *   mode 1 | header: its first 68 bytes and its checksum | slot 0: 88 | slot 1: 88 | frames …
 *
 * The bytes are put where the format has them. MODE_OTHER: zeros to a sector's end follow the frames, as in an active segment.
 * Demanded: what is accepted is what docs/FORMAT.md says of a header, a slot and a frame; frames follow one another; a search always
 * goes on and ends; the digest of a scan is that of the bytes; and a slot that is written next is the one that is found.
 */
#include "mend.h"
#include "scan.h"

FUZZ_WITHOUT(NO_SLOT_CHECKSUM)

enum { HEADER_SHORT = 72, SLOT_SHORT = 88, NUMBER = 0, GENERATION = 2 };

/* The file as the input has it. */
static uint8_t *lay_out(const scope *s, unsigned mode, input *in, size_t *length) {
    size_t frames = in->left > HEADER_SHORT + 2 * SLOT_SHORT ? in->left - HEADER_SHORT - 2 * SLOT_SHORT : 0;
    *length = SEGMENT_FRAMES + frames + (mode & MODE_OTHER ? 512 - frames % 512 : 0);
    uint8_t *bytes = calloc(1, *length);
    DEMAND(bytes != NULL);
    take(in, bytes, 68);
    take(in, bytes + 508, 4);
    take(in, bytes + SEGMENT_SLOT_AT(0), SLOT_SHORT);
    take(in, bytes + SEGMENT_SLOT_AT(1), SLOT_SHORT);
    take(in, bytes + SEGMENT_FRAMES, frames);
    mend_segment(s, mode, bytes, *length);
    return bytes;
}

static void demand_header(const scope *s, const segment *seg, const uint8_t *bytes) {
    DEMAND(memcmp(bytes, "AEGISSEG", 8) == 0 && load_u32(bytes + 8) == FORMAT_VERSION && load_u32(bytes + 12) == s->tier);
    DEMAND(memcmp(bytes + 16, s->store_id, STORE_ID_SIZE) == 0 && load_u64(bytes + 32) == NUMBER);
    DEMAND(load_u64(bytes + 40) == GENERATION && memcmp(bytes + 48, seg->nonce, NONCE_SIZE) == 0 && load_u32(bytes + 64) == s->align);
    DEMAND(load_u32(bytes + 508) == crc32c(0, bytes, 508));
}

/* The slot that was taken is one of the two, valid, and the other one is older or not valid. */
static void demand_slot(const scope *s, const segment *seg, const uint8_t *bytes) {
    uint64_t newest = 0;
    const uint8_t *best = NULL;
    for (unsigned n = 0; n < 2; n++) {
        const uint8_t *each = bytes + SEGMENT_SLOT_AT(n);
        uint8_t right[96];
        memcpy(right, each, sizeof right);
        mend_slot(s, MODE_SUMS | (s->keyed ? MODE_CODES : 0), right, seg->nonce, SEGMENT_SLOT_AT(n));
        if (memcmp(each, "AEGISWMK", 8) != 0 || memcmp(right, each, sizeof right) != 0 || load_u64(each + 8) <= newest) continue;
        newest = load_u64(each + 8);
        best = each;
    }
    DEMAND(seg->last_slot.sequence == newest);
    if (best == NULL) return;
    DEMAND(seg->last_slot.size == load_u64(best + 16) && seg->last_slot.offset == load_u64(best + 24));
    DEMAND(memcmp(seg->last_slot.root, best + 32, HASH_SIZE) == 0 && seg->last_slot.flags == load_u32(best + 64));
}

static void demand_frame(const scope *s, const scanned *found, const uint8_t *bytes, size_t length, const uint8_t *nonce) {
    const frame *f = &found->head;
    const uint8_t *there = bytes + found->offset;
    uint8_t link[MAC_SIZE];
    DEMAND(found->offset >= SEGMENT_FRAMES && f->size >= FRAME_HEADER && f->size <= length - found->offset);
    DEMAND(memcmp(found->bytes, there, (size_t)f->size) == 0);
    DEMAND(load_u32(there + 12) == plain_body(s, there) && f->watermark <= f->index);
    plain_link(s, there, nonce, found->offset, link);
    DEMAND(!s->keyed || memcmp(link, there + 32, MAC_SIZE) == 0);
    for (uint64_t at = (uint64_t)FRAME_HEADER + f->entry_length + f->payload_length; at < f->size; at++) DEMAND(there[at] == 0);
}

static void scan_all(const scope *s, const segment *seg, const uint8_t *bytes, size_t length) {
    scan sc;
    scanned found;
    uint64_t index = 0, at = SEGMENT_FRAMES;
    uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
    bool whole = false, zeros = false;
    sha256 hash;
    int code;
    sha256_start(&hash);
    scan_start(&sc, s, seg->file, seg->nonce, SEGMENT_FRAMES, length, 0);
    scan_digest(&sc, &hash);
    while ((code = scan_next(&sc, &found)) == AEGIS_OK) {
        demand_frame(s, &found, bytes, length, seg->nonce);
        DEMAND(found.head.index == index && found.offset == at && sc.offset >= at + found.head.size);
        index++;
        at = sc.offset;
    }
    DEMAND(code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT);
    DEMAND(scan_digest_rest(&sc, &whole) == AEGIS_OK);
    sha256_end(&hash, digest);
    sha256_whole(bytes + SEGMENT_FRAMES, length - SEGMENT_FRAMES, expected);
    DEMAND(whole && memcmp(digest, expected, HASH_SIZE) == 0);

    scan_stop(&sc);
    scan_start(&sc, s, seg->file, seg->nonce, min_u64(at, length), length, index);
    for (uint64_t last = 0; (code = scan_find(&sc, &found)) == AEGIS_OK; last = found.offset + 1) {
        DEMAND(found.offset >= last && found.offset >= at);
        demand_frame(s, &found, bytes, length, seg->nonce);
    }
    DEMAND(code == AEGIS_E_TORN);
    uint64_t from = min_u64(at, length);
    DEMAND(scan_zeros(&sc, from, length, &zeros) == AEGIS_OK && zeros == all_zero(bytes + from, (size_t)(length - from)));
    scan_stop(&sc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    vfs_dir *root = NULL;
    segment seg, again;
    size_t length = 0;
    unsigned mode = take_u8(&in);
    vfs_sim *sim = fuzz_machine(&root);
    const scope s = fuzz_scope(vfs_sim_vfs(sim), mode);
    uint8_t *bytes = lay_out(&s, mode, &in, &length);
    DEMAND(vfs_sim_patch(sim, "00000000.seg", 0, bytes, length) == AEGIS_OK);

    int code = segment_open(&s, root, NUMBER, GENERATION, true, &seg);
    DEMAND(is_judgement(code));
    if (code == AEGIS_OK) {
        uint64_t generation = 0;
        uint32_t align = 0;
        uint8_t head[HASH_SIZE] = {1};
        DEMAND(segment_probe(&s, root, NUMBER, &generation, &align) == AEGIS_OK && generation == GENERATION && align == s.align);
        demand_header(&s, &seg, bytes);
        demand_slot(&s, &seg, bytes);
        scan_all(&s, &seg, bytes, length);
        if (s.keyed && seg.last_slot.sequence < UINT64_MAX) {
            DEMAND(segment_write_slot(&s, &seg, 5, head, SLOT_END) == AEGIS_OK);
            DEMAND(segment_open(&s, root, NUMBER, GENERATION, false, &again) == AEGIS_OK);
            DEMAND(again.last_slot.sequence == seg.last_slot.sequence && again.last_slot.size == 5 && again.last_slot.flags == SLOT_END);
            DEMAND(again.last_slot.offset == SEGMENT_FRAMES && memcmp(again.last_slot.root, head, HASH_SIZE) == 0);
            segment_close(&s, &again);
        }
        segment_close(&s, &seg);
    }
    free(bytes);
    fuzz_end(sim, root);
    return 0;
}
