/* compact: another file of a sealed segment's records, some of them without their payload or with another one.
 *
 *     source   | frame 0 | frame 1 | frame 2 | frame 3 | frame 4 | footer
 *                  |         |                   |         |
 *     new file | frame 0 | frame 1 | stub 2 | remade 3 | frame 4 | footer       00000007.seg -> 00000007-00000001.seg
 *
 * Entries, kinds and indices stay as they are, so first index, count, root and frontier are those of the source. What survives is copied
 * byte for byte, links and all; they were made for another place, and in a rewritten segment nobody looks at them.
 *
 *   (1) what is copied is what stood there: each frame's checksum, and the digest in the source's footer, before anything is published;
 *   (2) what authorises a gap is durable before the new file has a footer: whoever makes a manifest again from the files may take it;
 *   (3) the new file and its name are durable before a manifest lists it;
 *   (4) the old file goes when a manifest that lists the new one, with a head above every cause, is durable; who still reads it goes on.
 *
 * (1)-(4) each have a test of that number in tests/native/test_compact.c. Until (4) any failure leaves the log as it was. Appends never
 * wait for this, but for the moment in which a rotation and a publication want the manifest at once. One compaction of a tier at a time.
 */
#ifndef AEGIS_COMPACT_H
#define AEGIS_COMPACT_H

#include "commit.h"
#include "footer.h"
#include "hashing.h"

typedef struct compaction_buffer {
    uint8_t *bytes;
    size_t capacity;
    uint64_t piece;          /* the last one of hashing's that lies here */
} compaction_buffer;

typedef struct compaction {
    writer *w;
    segment *source;         /* taken; NULL: released */
    uint32_t position;
    footer footer;           /* of the source */
    merkle_range durable;    /* the log as far as it was durable at the start */
    const aegis_change *changes;
    uint32_t change_count;
    uint32_t next_change;
    const uint8_t *payloads;
    segment *made;           /* the new file; NULL: not there, or the log's */
    uint64_t index;          /* of the next record */
    /* reading: two buffers in turn, for the bytes of one may still be hashed while the next ones are read */
    uint64_t at;             /* where it starts in the source: at window->bytes + used */
    compaction_buffer windows[2];
    compaction_buffer *window;
    size_t used;
    size_t filled;
    size_t given;            /* up to there to hashing */
    sha256 read;
    /* writing: the same */
    compaction_buffer pendings[2];
    compaction_buffer *pending;
    size_t pending_length;
    uint64_t written_to;     /* offset in the new file that the first pending byte goes to */
    uint64_t pushed_to;
    sha256 written;
    hashing hashing;
    bool hashes;
    bool holds;              /* it is this tier's compaction */
    bool failed;
    bool published;
    aegis_progress progress;
} compaction;

/* Checks the changes and makes the new file. The changes and payloads are the caller's, and stay until the end. ARGUMENT, RANGE, CORRUPT. */
int compact_start(compaction *c, writer *w, uint64_t position, const aegis_change *changes, uint32_t count, const uint8_t *payloads,
                  uint64_t payloads_length);
/* Copies about `budget` bytes; the last step publishes. After a failure only the end is left. */
int compact_step(compaction *c, uint64_t budget, aegis_progress *progress);
/* Removes what was not published. */
void compact_end(compaction *c);

#endif
