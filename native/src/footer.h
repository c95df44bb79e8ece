/* footer: what makes a full segment sealed. docs/FORMAT.md, "Footer".
 *
 *   frames | offset table, u32 each | frontier, one hash a peak | fixed part, 256 bytes | end of the file
 */
#ifndef AEGIS_FOOTER_H
#define AEGIS_FOOTER_H

#include "segment.h"

#define FOOTER_FIXED 256
#define FOOTER_MESSAGE 144   /* what checksum, code and signature cover */
#define SIGNATURE_SIZE 64

typedef struct footer {
    uint64_t first;
    uint64_t count;
    uint64_t frames_end;
    uint32_t table_crc;
    uint8_t root[HASH_SIZE];
    uint8_t frames_sha256[HASH_SIZE];
    uint8_t message[FOOTER_MESSAGE];
    uint8_t signature[SIGNATURE_SIZE];
    bool is_signed;
} footer;

/* Reads and checks the fixed part. AEGIS_E_TORN, without detail: the file does not end with a footer. CORRUPT or FOREIGN: it ends
 * with one that is not this segment's. */
int footer_read(const scope *s, const segment *seg, footer *out);
/* The tree at the end of the segment, checked against the footer's root. */
int footer_frontier(const scope *s, const segment *seg, const footer *f, merkle_range *out);
/* Offset table and frontier against their checksum, and the table's order. */
int footer_check_table(const scope *s, const segment *seg, const footer *f);
/* Where the records `n` to n + count - 1 of the segment lie: count + 1 offsets, the last one being where the next record starts or
 * the frames end. From memory, or from the footer (count <= SEGMENT_LOCATE_MAX). */
#define SEGMENT_LOCATE_MAX 256
int segment_locate(const scope *s, const segment *seg, uint64_t n, unsigned count, uint64_t *offsets);

/* The same for a sealed segment, from its table; CORRUPT where they cannot be right. */
int footer_offsets(const scope *s, const segment *seg, uint64_t n, unsigned count, uint64_t *offsets);
/* Seals a full segment: hashes its frames, writes the footer unsigned, cuts the file behind it, syncs. The caller then takes
 * seg->sealed and seg->root over. Writing it twice gives the same bytes. */
int footer_write(const scope *s, const segment *seg, uint8_t root[HASH_SIZE]);
/* The same for a file whose frames the caller has hashed while it wrote them. */
int footer_put(const scope *s, const segment *seg, const uint8_t frames_sha256[HASH_SIZE], uint8_t root[HASH_SIZE]);
/* Writes the signature where there is none, or a part of it that a crash left; EXISTS if another one stands there. Synced. A segment of
 * the audit tier is complete then, and nobody is to write to it. */
int footer_sign(const scope *s, segment *seg, const uint8_t signature[SIGNATURE_SIZE]);

#endif
