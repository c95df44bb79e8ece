/* segment: see segment.h and docs/FORMAT.md.
 *
 * A header is valid if and only if (1) magic and checksum match, (2) the format version is known, (3) store id and tier are
 * ours, (4) number and generation are those that the manifest gives it, (5) the alignment is the store's.
 * A slot is valid if and only if (6) magic and checksum match, (7) for who has the secret, its code matches.
 * (1)-(7) each have a test of that number in tests/native/test_segment.c.
 */
#include "segment.h"

#include <stdlib.h>

#include "crc32c.h"

#define HEADER_SIZE 512
#define SLOT_SIZE 96
#define ZERO_CHUNK 65536

static const uint8_t HEADER_MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'S', 'E', 'G'};
static const uint8_t SLOT_MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'W', 'M', 'K'};
static const uint8_t ZEROS[ZERO_CHUNK];

enum { H_VERSION = 8, H_TIER = 12, H_STORE = 16, H_NUMBER = 32, H_GENERATION = 40, H_NONCE = 48, H_ALIGN = 64, H_CRC = 508 };
enum { S_SEQUENCE = 8, S_SIZE = 16, S_OFFSET = 24, S_ROOT = 32, S_FLAGS = 64, S_CRC = 68, S_MAC = 72 };
_Static_assert(SEGMENT_SLOT_AT(SEGMENT_SLOT_COUNT) == SEGMENT_FRAMES, "frames start where the last slot's block ends");

static void digits_of(uint32_t number, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 7; i >= 0; i--, number >>= 4) out[i] = digits[number & 15];
}

static bool number_of(const char *text, uint32_t *number) {
    *number = 0;
    for (int i = 0; i < 8; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9') *number = *number << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f') *number = *number << 4 | (uint32_t)(c - 'a' + 10);
        else return false;
    }
    return true;
}

void segment_name(uint64_t number, char out[SEGMENT_NAME_SIZE]) {
    uint32_t rewrites = segment_rewrites(number);
    digits_of(segment_place(number), out);
    out += 8;
    if (rewrites > 0) {
        *out++ = '-';
        digits_of(rewrites, out);
        out += 8;
    }
    memcpy(out, ".seg", 5);
}

bool segment_number(const char *name, uint64_t *number) {
    uint32_t place = 0, rewrites = 0;
    if (!number_of(name, &place)) return false;
    name += 8;
    /* A segment has one name: that of no rewrite has no second number. */
    if (*name == '-') {
        if (!number_of(name + 1, &rewrites) || rewrites == 0) return false;
        name += 9;
    }
    *number = (uint64_t)rewrites << 32 | place;
    return strcmp(name, ".seg") == 0;
}

static void header_encode(const scope *s, const segment *seg, uint8_t header[HEADER_SIZE]) {
    memset(header, 0, HEADER_SIZE);
    memcpy(header, HEADER_MAGIC, 8);
    store_u32(header + H_VERSION, FORMAT_VERSION);
    store_u32(header + H_TIER, s->tier);
    memcpy(header + H_STORE, s->store_id, STORE_ID_SIZE);
    store_u64(header + H_NUMBER, seg->number);
    store_u64(header + H_GENERATION, seg->generation);
    memcpy(header + H_NONCE, seg->nonce, NONCE_SIZE);
    store_u32(header + H_ALIGN, s->align);
    store_u32(header + H_CRC, crc32c(0, header, H_CRC));
}

static int under_another_name(uint64_t number, const place *where) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(number, name);
    *strchr(name, '.') = 0;
    return fail_at(AEGIS_E_FOREIGN, where, "the file holds segment %s under another's name", name);
}

static int header_check(const scope *s, const segment *seg, const uint8_t header[HEADER_SIZE], const place *where) {
    if (!MUTANT(NO_HEADER_CHECKSUM) && (memcmp(header, HEADER_MAGIC, 8) != 0 || load_u32(header + H_CRC) != crc32c(0, header, H_CRC)))
        return fail_at(AEGIS_E_CORRUPT, where, "the header of the segment is damaged");
    if (!MUTANT(NO_HEADER_VERSION_TEST) && load_u32(header + H_VERSION) != FORMAT_VERSION)
        return fail_at(AEGIS_E_VERSION, where, "the segment has format %u; this engine reads %u",
                       (unsigned)load_u32(header + H_VERSION), (unsigned)FORMAT_VERSION);
    if (!MUTANT(NO_HEADER_STORE_TEST) && memcmp(header + H_STORE, s->store_id, STORE_ID_SIZE) != 0)
        return fail_at(AEGIS_E_FOREIGN, where, "the segment belongs to another store");
    if (!MUTANT(NO_HEADER_TIER_TEST) && load_u32(header + H_TIER) != s->tier)
        return fail_at(AEGIS_E_FOREIGN, where, "the segment belongs to tier %u", (unsigned)load_u32(header + H_TIER));
    if (!MUTANT(NO_HEADER_NUMBER_TEST) && load_u64(header + H_NUMBER) != seg->number)
        return under_another_name(load_u64(header + H_NUMBER), where);
    if (!MUTANT(NO_HEADER_GENERATION_TEST) && load_u64(header + H_GENERATION) != seg->generation)
        return fail_at(AEGIS_E_FOREIGN, where, "the segment is of generation %llu, the manifest names %llu",
                       (unsigned long long)load_u64(header + H_GENERATION), (unsigned long long)seg->generation);
    if (!MUTANT(NO_HEADER_ALIGN_TEST) && load_u32(header + H_ALIGN) != s->align)
        return fail_at(AEGIS_E_FOREIGN, where, "the segment has another alignment than the store");
    return AEGIS_OK;
}

static void slot_mac(const scope *s, const segment *seg, uint64_t at, const uint8_t *bytes, uint8_t out[MAC_SIZE]) {
    uint8_t message[1 + NONCE_SIZE + 8 + S_CRC];
    message[0] = MAC_SLOT;
    memcpy(message + 1, seg->nonce, NONCE_SIZE);
    store_u64(message + 1 + NONCE_SIZE, at);
    memcpy(message + 1 + NONCE_SIZE + 8, bytes, S_CRC);
    scope_mac(s, message, sizeof message, out);
}

static bool slot_decode(const scope *s, const segment *seg, uint64_t at, const uint8_t *bytes, slot *out) {
    bool whole = memcmp(bytes, SLOT_MAGIC, 8) == 0 && load_u32(bytes + S_CRC) == crc32c(0, bytes, S_CRC);
    if (!whole && !MUTANT(NO_SLOT_CHECKSUM)) return false;
    if (s->keyed && !MUTANT(NO_SLOT_CODE)) {
        uint8_t expected[MAC_SIZE];
        slot_mac(s, seg, at, bytes, expected);
        if (!equal_secret(expected, bytes + S_MAC, MAC_SIZE)) return false;
    }
    out->sequence = load_u64(bytes + S_SEQUENCE);
    out->size = load_u64(bytes + S_SIZE);
    out->offset = load_u64(bytes + S_OFFSET);
    memcpy(out->root, bytes + S_ROOT, HASH_SIZE);
    out->flags = load_u32(bytes + S_FLAGS);
    return true;
}

static int read_slots(const scope *s, segment *seg) {
    for (unsigned n = 0; n < SEGMENT_SLOT_COUNT; n++) {
        uint8_t bytes[SLOT_SIZE];
        size_t got = 0;
        slot found;
        TRY(s->vfs->read(s->vfs, seg->file, SEGMENT_SLOT_AT(n), bytes, sizeof bytes, &got));
        if (got < sizeof bytes || !slot_decode(s, seg, SEGMENT_SLOT_AT(n), bytes, &found)) continue;
        if (found.sequence > seg->last_slot.sequence || MUTANT(NO_NEWEST_SLOT)) seg->last_slot = found;
    }
    return AEGIS_OK;
}

static int write_zeros(const scope *s, vfs_file *file, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to;) {
        size_t length = (size_t)min_u64(ZERO_CHUNK, to - at);
        TRY(s->vfs->write(s->vfs, file, at, ZEROS, length));
        at += length;
    }
    return MUTANT(NO_ZERO_SYNC) ? AEGIS_OK : s->vfs->sync(s->vfs, file);
}

int segment_create(const scope *s, vfs_dir *dir, uint64_t number, uint64_t generation, uint64_t zeroed, segment *out) {
    char name[SEGMENT_NAME_SIZE];
    uint8_t header[HEADER_SIZE];
    memset(out, 0, sizeof *out);
    out->number = number;
    out->generation = generation;
    out->tail = SEGMENT_FRAMES;
    segment_name(number, name);
    TRY(s->vfs->random(s->vfs, out->nonce, NONCE_SIZE));
    TRY(s->vfs->open(s->vfs, dir, name, VFS_WRITE | VFS_CREATE | (MUTANT(NO_EXCLUSIVE_SEGMENT) ? 0u : VFS_EXCLUSIVE), &out->file));
    header_encode(s, out, header);
    int code = s->vfs->write(s->vfs, out->file, 0, header, sizeof header);
    if (code == AEGIS_OK) code = write_zeros(s, out->file, HEADER_SIZE, max_u64(zeroed, SEGMENT_FRAMES));
    if (code != AEGIS_OK) {
        aegis_error cause;
        aegis_last_error(&cause);
        s->vfs->close(s->vfs, out->file);
        out->file = NULL;
        (void)s->vfs->unlink(s->vfs, dir, name);
        fail_again(&cause);
    }
    return code;
}

int segment_open(const scope *s, vfs_dir *dir, uint64_t number, uint64_t generation, bool writable, segment *out) {
    char name[SEGMENT_NAME_SIZE];
    uint8_t header[HEADER_SIZE];
    uint64_t size = 0;
    size_t got = 0;
    memset(out, 0, sizeof *out);
    out->number = number;
    out->generation = generation;
    out->tail = SEGMENT_FRAMES;
    segment_name(number, name);
    const place where = {.tier = s->tier, .segment = number, .path = name};
    int code = s->vfs->open(s->vfs, dir, name, writable ? VFS_WRITE : VFS_READ, &out->file);
    /* One that is sealed and signed: nothing is written to it. To one that is not nothing can be, and that is said then. */
    if (code == AEGIS_E_READONLY && writable && s->tier == AEGIS_TIER_AUDIT)
        code = s->vfs->open(s->vfs, dir, name, VFS_READ, &out->file);
    if (code == AEGIS_E_NOTFOUND) return fail_at(AEGIS_E_CORRUPT, &where, "segment %s is missing", name);
    if (code != AEGIS_OK) return code;
    code = s->vfs->read(s->vfs, out->file, 0, header, sizeof header, &got);
    if (code == AEGIS_OK && got < sizeof header)
        code = fail_at(AEGIS_E_CORRUPT, &where, "segment %s is cut off within its header", name);
    if (code == AEGIS_OK) code = header_check(s, out, header, &where);
    if (code == AEGIS_OK) code = s->vfs->size(s->vfs, out->file, &size);
    /* It was made with room for its slots, and that was durable before anything named it. */
    if (code == AEGIS_OK && size < SEGMENT_FRAMES)
        code = fail_at(AEGIS_E_CORRUPT, &where, "segment %s is cut off before its frames", name);
    if (code == AEGIS_OK) {
        memcpy(out->nonce, header + H_NONCE, NONCE_SIZE);
        code = read_slots(s, out);
    }
    if (code != AEGIS_OK) segment_close(s, out);
    return code;
}

int segment_probe(const scope *s, vfs_dir *dir, uint64_t number, uint64_t *generation, uint32_t *align) {
    char name[SEGMENT_NAME_SIZE];
    uint8_t header[HEADER_SIZE];
    vfs_file *file = NULL;
    size_t got = 0;
    segment_name(number, name);
    const place where = {.tier = s->tier, .segment = number, .path = name};
    TRY(s->vfs->open(s->vfs, dir, name, VFS_READ, &file));
    int code = s->vfs->read(s->vfs, file, 0, header, sizeof header, &got);
    s->vfs->close(s->vfs, file);
    TRY(code);
    if (got < sizeof header) return fail_at(AEGIS_E_CORRUPT, &where, "segment %s is cut off within its header", name);
    *generation = load_u64(header + H_GENERATION);
    *align = load_u32(header + H_ALIGN) == 4096 ? 4096 : FRAME_ALIGN;
    scope own = *s;
    own.align = *align;
    const segment expected = {.number = number, .generation = *generation};
    return header_check(&own, &expected, header, &where);
}

void segment_close(const scope *s, segment *seg) {
    if (seg->file != NULL) s->vfs->close(s->vfs, seg->file);
    free(seg->offsets);
    free(seg->frontier);
    memset(seg, 0, sizeof *seg);
}

void segment_forget(segment *seg) {
    seg->count = 0;
    seg->tail = SEGMENT_FRAMES;
}

int segment_reserve_offsets(segment *seg, uint64_t count) {
    if (count <= seg->offsets_capacity) return AEGIS_OK;
    uint64_t capacity = max_u64(count, max_u64(1024, seg->offsets_capacity * 2));
    uint32_t *grown = realloc(seg->offsets, (size_t)capacity * sizeof *grown);
    if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for the offsets of %llu records", (unsigned long long)capacity);
    seg->offsets = grown;
    seg->offsets_capacity = capacity;
    return AEGIS_OK;
}

int segment_zero(const scope *s, vfs_dir *dir, const segment *seg, uint64_t from, uint64_t to) {
    char name[SEGMENT_NAME_SIZE];
    vfs_file *own = NULL;
    segment_name(seg->number, name);
    TRY(s->vfs->open(s->vfs, dir, name, VFS_WRITE, &own));
    int code = write_zeros(s, own, from, to);
    s->vfs->close(s->vfs, own);
    return code;
}

int segment_write_slot(const scope *s, segment *seg, uint64_t size, const uint8_t root[HASH_SIZE], uint32_t flags) {
    uint8_t bytes[SLOT_SIZE] = {0};
    slot next = {.sequence = seg->last_slot.sequence + 1, .size = size, .offset = seg->tail, .flags = flags};
    memcpy(next.root, root, HASH_SIZE);
    uint64_t at = SEGMENT_SLOT_AT(MUTANT(NO_SLOT_TURN) ? 0 : next.sequence % SEGMENT_SLOT_COUNT);
    memcpy(bytes, SLOT_MAGIC, 8);
    store_u64(bytes + S_SEQUENCE, next.sequence);
    store_u64(bytes + S_SIZE, next.size);
    store_u64(bytes + S_OFFSET, next.offset);
    memcpy(bytes + S_ROOT, root, HASH_SIZE);
    store_u32(bytes + S_FLAGS, flags);
    store_u32(bytes + S_CRC, crc32c(0, bytes, S_CRC));
    slot_mac(s, seg, at, bytes, bytes + S_MAC);
    TRY(s->vfs->write(s->vfs, seg->file, at, bytes, sizeof bytes));
    if (!MUTANT(NO_SLOT_SYNC)) TRY(s->vfs->sync(s->vfs, seg->file));
    seg->last_slot = next;
    return AEGIS_OK;
}
