/* outline: see outline.h and docs/FORMAT.md.
 *
 *   offset  size  field
 *        0     8  magic "AEGISOUT"
 *        8     4  format version
 *       12     4  tier
 *       16    16  store id
 *       32     8  number of the segment
 *       40     8  generation
 *       48     8  sequence of the slot with the end mark
 *       56     8  first index
 *       64     8  count of records
 *       72     8  offset where the frames end
 *       80        offset table, u32 each | frontier, one hash a peak
 *      end    32  HMAC of SHA-256(O || nonce of the segment || all bytes before)
 *
 * An outline is believed if and only if (1) the secret is known and the newest valid slot of the segment is an end mark, (2) the
 * head is byte for byte the one that this segment and this slot give, and the file ends where its counts say, (3) the code at
 * its end matches, (4) the frontier gives the slot's root. (1)-(4) each have a test of that number in tests/native/test_outline.c.
 * That nothing but zeros follows the last frame is recovery's to ask.
 */
#include "outline.h"

#include <stdlib.h>

static const uint8_t MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'O', 'U', 'T'};

enum {
    O_VERSION = 8, O_TIER = 12, O_STORE = 16, O_NUMBER = 32, O_GENERATION = 40, O_SEQUENCE = 48, O_FIRST = 56, O_COUNT = 64,
    O_END = 72, O_HEAD = 80,
};

/* The head of the outline that belongs to the segment's end mark. */
static void encode_head(const scope *s, const segment *seg, uint8_t head[O_HEAD]) {
    const slot *mark = &seg->last_slot;
    memcpy(head, MAGIC, 8);
    store_u32(head + O_VERSION, FORMAT_VERSION);
    store_u32(head + O_TIER, s->tier);
    memcpy(head + O_STORE, s->store_id, STORE_ID_SIZE);
    store_u64(head + O_NUMBER, seg->number);
    store_u64(head + O_GENERATION, seg->generation);
    store_u64(head + O_SEQUENCE, mark->sequence);
    store_u64(head + O_FIRST, seg->first);
    store_u64(head + O_COUNT, mark->size - seg->first);
    store_u64(head + O_END, mark->offset);
}

static void outline_mac(const scope *s, const segment *seg, const uint8_t *bytes, size_t length, uint8_t out[HASH_SIZE]) {
    const uint8_t domain = MAC_OUTLINE;
    uint8_t digest[HASH_SIZE];
    sha256 inner;
    sha256_start(&inner);
    sha256_add(&inner, &domain, 1);
    sha256_add(&inner, seg->nonce, NONCE_SIZE);
    sha256_add(&inner, bytes, length);
    sha256_end(&inner, digest);
    hmac_whole(&s->key, digest, sizeof digest, out);
}

int outline_write(const scope *s, vfs_dir *dir, const segment *seg, const merkle_range *range) {
    const slot *mark = &seg->last_slot;
    vfs_file *file = NULL;
    CHECK((mark->flags & SLOT_END) && mark->size == seg->first + seg->count && mark->offset == seg->tail && range->size == mark->size);
    size_t table = (size_t)seg->count * 4, peaks = (size_t)merkle_peak_count(range->size) * HASH_SIZE;
    size_t covered = O_HEAD + table + peaks;
    uint8_t *bytes = malloc(covered + HASH_SIZE);
    if (bytes == NULL) return fail(AEGIS_E_NOMEM, "no memory for the outline of %llu records", (unsigned long long)seg->count);
    encode_head(s, seg, bytes);
    for (size_t i = 0; i < seg->count; i++) store_u32(bytes + O_HEAD + 4 * i, seg->offsets[i]);
    memcpy(bytes + O_HEAD + table, range->peaks, peaks);
    outline_mac(s, seg, bytes, covered, bytes + covered);
    int code = s->vfs->open(s->vfs, dir, OUTLINE_NAME, VFS_WRITE | VFS_CREATE, &file);
    if (code == AEGIS_OK) code = s->vfs->write(s->vfs, file, 0, bytes, covered + HASH_SIZE);
    if (code == AEGIS_OK) code = s->vfs->truncate(s->vfs, file, covered + HASH_SIZE);
    if (file != NULL) s->vfs->close(s->vfs, file);
    free(bytes);
    return code;
}

/* All bytes of the file, if it has the length that is expected. */
static uint8_t *read_whole(const scope *s, vfs_dir *dir, uint64_t length) {
    vfs_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    if (s->vfs->open(s->vfs, dir, OUTLINE_NAME, VFS_READ, &file) != AEGIS_OK) return NULL;
    uint8_t *bytes = NULL;
    if (s->vfs->size(s->vfs, file, &size) == AEGIS_OK && size == length) bytes = malloc((size_t)length);
    bool whole = bytes != NULL && s->vfs->read(s->vfs, file, 0, bytes, (size_t)length, &got) == AEGIS_OK && got == length;
    s->vfs->close(s->vfs, file);
    if (whole) return bytes;
    free(bytes);
    return NULL;
}

static bool matches(const scope *s, const segment *seg, const uint8_t *bytes, size_t covered, merkle_range *range) {
    uint8_t head[O_HEAD], expected[HASH_SIZE], root[HASH_SIZE];
    size_t peaks = (size_t)merkle_peak_count(seg->last_slot.size) * HASH_SIZE;
    encode_head(s, seg, head);
    outline_mac(s, seg, bytes, covered, expected);
    if ((memcmp(bytes, head, O_HEAD) != 0 && !MUTANT(NO_OUTLINE_OWNER_TEST)) ||
        (!equal_secret(expected, bytes + covered, HASH_SIZE) && !MUTANT(NO_OUTLINE_CODE)))
        return false;
    range->size = seg->last_slot.size;
    memcpy(range->peaks, bytes + covered - peaks, peaks);
    merkle_root(range, root);
    return memcmp(root, seg->last_slot.root, HASH_SIZE) == 0 || MUTANT(NO_OUTLINE_ROOT_TEST);
}

bool outline_read(const scope *s, vfs_dir *dir, segment *seg, merkle_range *range) {
    const slot *mark = &seg->last_slot;
    /* The slot was written under the secret. That it names more records than its file has room for is a mistake of ours then, and
     * no reason for a large allocation. */
    if (!s->keyed || (!(mark->flags & SLOT_END) && !MUTANT(NO_END_MARK_TEST)) || mark->size <= seg->first || mark->offset <= SEGMENT_FRAMES) return false;
    uint64_t count = mark->size - seg->first;
    if (count > (mark->offset - SEGMENT_FRAMES) / FRAME_HEADER) return false;
    merkle_range found;
    size_t covered = O_HEAD + (size_t)count * 4 + (size_t)merkle_peak_count(mark->size) * HASH_SIZE;
    uint8_t *bytes = read_whole(s, dir, covered + HASH_SIZE);
    bool believed = bytes != NULL && matches(s, seg, bytes, covered, &found) && segment_reserve_offsets(seg, count) == AEGIS_OK;
    if (believed) {
        for (size_t i = 0; i < count; i++) seg->offsets[i] = load_u32(bytes + O_HEAD + 4 * i);
        seg->count = count;
        seg->tail = mark->offset;
        *range = found;
    }
    free(bytes);
    return believed;
}
