/* frame: one record on disk. Pure: bytes in, bytes out. docs/FORMAT.md, "Frame", is the specification.
 *
 *   | magic 4 | kind 1 | flags 1 | entry length 2 | payload length 4 | body checksum 4 | index 8 | watermark 8 | link 16 |
 *   | entry | payload | zeros to a multiple of 8 |
 *
 * A frame is made in two steps. When a record is appended, its index is known, but neither its place nor whether it ends its
 * group: frame_begin fills what is known and leaves the checksum open. When its group is written, frame_finish closes it. The
 * checksum takes index and flags last for that reason, so that closing costs nine bytes and not the payload again.
 *
 * A stub is a frame whose payload is gone: flagged so, it has the index of the record that authorises the gap in its place (its cause, a
 * later record). Stubs, and other frames that are made anew under an old entry, stand in rewritten segments only and have no link.
 */
#ifndef AEGIS_FRAME_H
#define AEGIS_FRAME_H

#include "scope.h"

#define FRAME_HEADER 48
#define FRAME_ALIGN 8
#define FRAME_LAST AEGIS_RECORD_LAST
#define FRAME_GAP AEGIS_RECORD_GAP
#define FRAME_CAUSE_SIZE 8   /* the payload of a stub */
#define FRAME_MAX ((uint64_t)FRAME_HEADER + AEGIS_ENTRY_MAX + AEGIS_PAYLOAD_MAX + FRAME_ALIGN)
_Static_assert(AEGIS_ENTRY_MAX == 0xffff, "the entry's length has two bytes in the frame");

typedef struct frame {
    uint8_t kind;
    uint8_t flags;
    uint32_t entry_length;
    uint32_t payload_length;
    uint32_t body;           /* checksum */
    uint64_t index;
    uint64_t watermark;
    uint8_t link[MAC_SIZE];
    uint64_t size;           /* in the file, padding included */
} frame;

/* Bytes that a record takes in the file. */
static inline uint64_t frame_size(uint32_t entry_length, uint32_t payload_length) {
    return align_up((uint64_t)FRAME_HEADER + entry_length + payload_length, FRAME_ALIGN);
}

/* The checksum of all but index and flags: the expensive part, done by the appending thread before it takes any lock. */
uint32_t frame_body_open(const scope *s, uint8_t kind, const uint8_t *entry, uint32_t entry_length, const uint8_t *payload,
                         uint32_t payload_length);
/* `to` has frame_size() bytes. */
void frame_begin(uint8_t *to, uint8_t kind, uint32_t open_body, uint64_t index, const uint8_t *entry, uint32_t entry_length,
                 const uint8_t *payload, uint32_t payload_length);
/* Closes a frame that frame_begin made: flags, checksum, watermark, link. `offset` is its place in the segment. */
void frame_finish(const scope *s, uint8_t *bytes, uint8_t flags, uint64_t watermark, const uint8_t nonce[NONCE_SIZE],
                  uint64_t offset, const uint8_t leaf[HASH_SIZE]);

/* A whole frame anew for the record of an old one: its kind, index and watermark, another payload, no link. */
void frame_remake(const scope *s, uint8_t *to, const frame *old, const uint8_t *entry, uint8_t flags, const uint8_t *payload,
                  uint32_t payload_length);

/* Reads a header at the start of `available` bytes that end where the file ends. AEGIS_E_TORN: nothing here is a frame (zeros,
 * another magic, or past the end). AEGIS_E_CORRUPT: it says that it is one, and cannot be. No detail is set: the caller knows
 * what it means. `bytes` needs FRAME_HEADER readable bytes at most. */
int frame_parse(const uint8_t *bytes, uint64_t available, frame *out);
/* What the fields of a header say, right or not. `bytes` has FRAME_HEADER of them. */
void frame_fields(const uint8_t *bytes, frame *out);
/* Whether the magic stands there: for searching. */
static inline bool frame_may_start(const uint8_t *bytes) {
    return bytes[0] == 'A' && bytes[1] == 'F' && bytes[2] == 'R' && bytes[3] == '0';
}
/* With all frame->size bytes present: index, watermark, checksum and padding; AEGIS_E_CORRUPT if one is wrong. */
int frame_check_body(const scope *s, const frame *f, const uint8_t *bytes, uint64_t expected_index);
/* The link of a frame in an active segment; AEGIS_OK where the scope has no key. */
int frame_check_link(const scope *s, const frame *f, const uint8_t nonce[NONCE_SIZE], uint64_t offset,
                     const uint8_t leaf[HASH_SIZE]);
/* The link that such a frame has. */
void frame_link(const scope *s, const uint8_t nonce[NONCE_SIZE], uint64_t offset, uint64_t index, uint64_t watermark,
                const uint8_t leaf[HASH_SIZE], uint32_t body, uint8_t out[MAC_SIZE]);

static inline const uint8_t *frame_entry(const uint8_t *bytes) { return bytes + FRAME_HEADER; }
static inline const uint8_t *frame_payload(const frame *f, const uint8_t *bytes) { return bytes + FRAME_HEADER + f->entry_length; }
static inline bool frame_is_stub(const frame *f) { return (f->flags & FRAME_GAP) != 0; }
/* The cause of a stub. */
static inline uint64_t frame_cause(const frame *f, const uint8_t *bytes) { return load_u64(frame_payload(f, bytes)); }

#endif
