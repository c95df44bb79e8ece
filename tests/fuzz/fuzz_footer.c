/* fuzz_footer: the end of a sealed segment.
 *
 *   mode 1 | frames: their length in units of 8 bytes, 2 | offset table, frontier, fixed part …
 *
 * The frames are zeros, which no footer is asked about but for their hash. MODE_OTHER: the root is made to follow from the frontier.
 * Demanded of what is accepted: its parts fill the file; table, frontier and root are what their checksums and each other say; offsets
 * ascend within the frames; and sealing a segment of these records gives the same bytes.
 */
#include "mend.h"

FUZZ_WITHOUT(NO_FOOTER_FIT_TEST)

enum { NUMBER = 0, GENERATION = 2 };

/* Offsets one by one and in runs. */
static void read_offsets(const scope *s, segment *seg, uint32_t *offsets) {
    uint64_t run[SEGMENT_LOCATE_MAX + 1], one[2], before = 0;
    for (uint64_t n = 0; n < seg->count;) {
        unsigned count = (unsigned)min_u64(seg->count - n, SEGMENT_LOCATE_MAX);
        int code = segment_locate(s, seg, n, count, run);
        DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT);
        for (unsigned i = 0; i < count && code == AEGIS_OK; i++) {
            DEMAND(run[i] >= SEGMENT_FRAMES && run[i] > before && run[i] + FRAME_HEADER < run[i + 1] && run[i + 1] <= seg->tail);
            DEMAND(segment_locate(s, seg, n + i, 1, one) == AEGIS_OK && one[0] == run[i] && one[1] == run[i + 1]);
            before = run[i];
        }
        for (unsigned i = 0; i < count && offsets != NULL; i++) offsets[n + i] = (uint32_t)(run[i] / FRAME_ALIGN);
        n += count;
    }
}

/* Seals a segment that has the same records: the same bytes, but for the signature, which is not there yet, and what is reserved. */
static void seal_again(const scope *s, const footer *f, const merkle_range *range, segment *seg, const uint8_t *tail, size_t length) {
    uint8_t root[HASH_SIZE], *sealed = malloc(length);
    size_t got = 0;
    seg->offsets = malloc((size_t)f->count * sizeof *seg->offsets);
    seg->frontier = malloc(sizeof *seg->frontier);
    DEMAND(seg->offsets != NULL && seg->frontier != NULL && sealed != NULL);
    *seg->frontier = *range;
    read_offsets(s, seg, seg->offsets);
    seg->sealed = false;
    DEMAND(s->vfs->truncate(s->vfs, seg->file, f->frames_end) == AEGIS_OK);
    DEMAND(footer_write(s, seg, root) == AEGIS_OK && memcmp(root, f->root, HASH_SIZE) == 0);
    DEMAND(s->vfs->read(s->vfs, seg->file, f->frames_end, sealed, length, &got) == AEGIS_OK && got == length);
    size_t fixed = length - FOOTER_FIXED;
    DEMAND(memcmp(sealed, tail, fixed + 76) == 0);
    DEMAND(memcmp(sealed + fixed + 80, tail + fixed + 80, 32) == 0);
    free(sealed);
}

static void read_footer(const scope *s, segment *seg, const uint8_t *tail, size_t length) {
    footer f;
    merkle_range range;
    uint8_t root[HASH_SIZE];
    int code = footer_read(s, seg, &f);
    DEMAND(is_judgement(code));
    if (code != AEGIS_OK) return;
    const uint8_t *fixed = tail + length - FOOTER_FIXED;
    uint64_t peaks = (uint64_t)merkle_peak_count(f.first + f.count) * HASH_SIZE;
    DEMAND(length >= FOOTER_FIXED && memcmp(fixed, f.message, FOOTER_MESSAGE) == 0 && load_u32(fixed + 252) == crc32c(0, fixed, 144));
    DEMAND(f.count > 0 && f.first + f.count > f.first && f.frames_end >= SEGMENT_FRAMES);
    DEMAND(f.frames_end + 4 * f.count + peaks + FOOTER_FIXED == seg->tail + length);
    bool framed = f.frames_end == seg->tail;    /* the frames end where the input says so */

    code = footer_frontier(s, seg, &f, &range);
    DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT);
    bool rooted = code == AEGIS_OK;
    if (rooted) {
        merkle_root(&range, root);
        DEMAND(range.size == f.first + f.count && memcmp(root, f.root, HASH_SIZE) == 0);
    }
    seg->sealed = true;
    seg->first = f.first;
    seg->count = f.count;
    seg->tail = f.frames_end;
    code = footer_check_table(s, seg, &f);
    DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT);
    if (code == AEGIS_OK && framed) DEMAND(crc32c(0, tail, (size_t)(4 * f.count + peaks)) == load_u32(fixed + 72));
    read_offsets(s, seg, NULL);
    uint64_t run[SEGMENT_LOCATE_MAX + 1];
    bool located = f.count <= SEGMENT_LOCATE_MAX && segment_locate(s, seg, 0, (unsigned)f.count, run) == AEGIS_OK;
    if (code == AEGIS_OK && rooted && located && framed) seal_again(s, &f, &range, seg, tail, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    vfs_dir *root = NULL;
    unsigned mode = take_u8(&in);
    uint64_t frames_end = SEGMENT_FRAMES + 8 * (uint64_t)take_u16(&in);
    vfs_sim *sim = fuzz_machine(&root);
    vfs *v = vfs_sim_vfs(sim);
    const scope s = fuzz_scope(v, mode);
    size_t length = in.left;
    uint8_t *tail = own(in.at, length);
    mend_footer(&s, mode, tail, length);
    segment seg = {.number = NUMBER, .generation = GENERATION, .tail = frames_end};
    DEMAND(v->open(v, root, "00000000.seg", VFS_WRITE | VFS_CREATE, &seg.file) == AEGIS_OK);
    DEMAND(v->truncate(v, seg.file, frames_end) == AEGIS_OK);
    DEMAND(v->write(v, seg.file, frames_end, tail, length) == AEGIS_OK);
    read_footer(&s, &seg, tail, length);
    segment_close(&s, &seg);
    free(tail);
    fuzz_end(sim, root);
    return 0;
}
