/* fuzz_outline: the outline beside an active segment.
 *
 *   mode 1 | nonce 16 | first 8 | the segment's end mark: sequence 8, size 8, offset 8, root 32, flags 4 | the file …
 *
 * MODE_OTHER: the mark's root is made to follow from the frontier in the file. Demanded: only who has the secret believes one; its
 * code is that of docs/FORMAT.md; what is believed is written again as the same bytes; what is not leaves the segment as it was.
 */
#include "mend.h"
#include "outline.h"

FUZZ_WITHOUT(NO_OUTLINE_CODE)

static void take_mark(input *in, segment *seg) {
    take(in, seg->nonce, NONCE_SIZE);
    seg->first = take_u64(in);
    seg->last_slot.sequence = take_u64(in);
    seg->last_slot.size = take_u64(in);
    seg->last_slot.offset = take_u64(in);
    take(in, seg->last_slot.root, HASH_SIZE);
    seg->last_slot.flags = take_u32(in);
}

static void mend_root(segment *seg, const uint8_t *bytes, size_t length) {
    merkle_range range = {.size = seg->last_slot.size};
    size_t peaks = (size_t)merkle_peak_count(range.size) * HASH_SIZE;
    if (length < peaks + HASH_SIZE) return;
    memcpy(range.peaks, bytes + length - HASH_SIZE - peaks, peaks);
    merkle_root(&range, seg->last_slot.root);
}

static void demand_same_again(const scope *s, vfs_dir *root, vfs_sim *sim, const segment *seg, const merkle_range *range,
                              const uint8_t *bytes, size_t length) {
    uint8_t code[HASH_SIZE], *again = malloc(length);
    uint64_t size = 0;
    size_t got = 0;
    DEMAND(again != NULL && vfs_sim_remove(sim, OUTLINE_NAME) == AEGIS_OK);
    DEMAND(outline_write(s, root, seg, range) == AEGIS_OK);
    DEMAND(vfs_sim_file_size(sim, OUTLINE_NAME, &size) == AEGIS_OK && size == length);
    DEMAND(vfs_sim_get(sim, OUTLINE_NAME, 0, again, length, &got) == AEGIS_OK && got == length);
    DEMAND(memcmp(again, bytes, length) == 0);
    mend_long_code(s, 'O', seg->nonce, NONCE_SIZE, bytes, length - HASH_SIZE, code);
    DEMAND(memcmp(code, bytes + length - HASH_SIZE, HASH_SIZE) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    vfs_dir *root = NULL;
    segment seg = {.number = 0, .generation = 2, .tail = SEGMENT_FRAMES};
    merkle_range range = {.size = 0};
    uint8_t tip[HASH_SIZE];
    unsigned mode = take_u8(&in);
    take_mark(&in, &seg);
    vfs_sim *sim = fuzz_machine(&root);
    const scope s = fuzz_scope(vfs_sim_vfs(sim), mode);
    size_t length = in.left;
    uint8_t *bytes = own(in.at, length);
    if (mode & MODE_OTHER) mend_root(&seg, bytes, length);
    mend_outline(&s, mode, seg.nonce, bytes, length);
    DEMAND(vfs_sim_patch(sim, OUTLINE_NAME, 0, bytes, length) == AEGIS_OK);

    if (outline_read(&s, root, &seg, &range)) {
        DEMAND(s.keyed && (seg.last_slot.flags & SLOT_END) && seg.first + seg.count == seg.last_slot.size && range.size == seg.last_slot.size);
        DEMAND(seg.tail == seg.last_slot.offset && seg.count > 0 && seg.count <= seg.offsets_capacity);
        merkle_root(&range, tip);
        DEMAND(memcmp(tip, seg.last_slot.root, HASH_SIZE) == 0);
        demand_same_again(&s, root, sim, &seg, &range, bytes, length);
    } else {
        DEMAND(seg.count == 0 && seg.tail == SEGMENT_FRAMES && range.size == 0);
    }
    segment_close(&s, &seg);
    free(bytes);
    fuzz_end(sim, root);
    return 0;
}
