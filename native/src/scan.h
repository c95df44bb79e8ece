/* scan: frames of one segment in order, from a window of the file that grows to its largest frame. */
#ifndef AEGIS_SCAN_H
#define AEGIS_SCAN_H

#include "segment.h"

typedef struct scan {
    const scope *s;
    vfs_file *file;
    const uint8_t *nonce;    /* for links; NULL: links are not checked (sealed segments) */
    bool stubs;              /* whether they may stand here; at first, where no links are checked */
    uint64_t offset;         /* of the next frame */
    uint64_t end;            /* no frame reaches past this */
    uint64_t index;          /* of the next frame */
    uint8_t *window;
    size_t capacity;
    uint64_t window_at;
    size_t window_length;
    sha256 *digest;          /* takes in what is read, each byte once and in order; NULL: nobody asks */
    uint64_t digested;       /* offset up to which it did */
} scan;

/* A frame as scanned; `bytes` lives until the next call. */
typedef struct scanned {
    frame head;
    uint64_t offset;
    const uint8_t *bytes;
    uint8_t leaf[HASH_SIZE];
} scanned;

/* From `offset`, where record `index` should start, to `end`. */
void scan_start(scan *sc, const scope *s, vfs_file *file, const uint8_t *nonce, uint64_t offset, uint64_t end, uint64_t index);
/* The next frame, all its checks made. AEGIS_E_TORN: no frame starts here (zeros, garbage, the end). AEGIS_E_CORRUPT: one starts
 * here and is not valid. Neither sets a detail nor moves on; what it means is recovery's to say. Other codes: could not read. */
int scan_next(scan *sc, scanned *out);
/* From the current place, by steps of FRAME_ALIGN, to the next frame that is valid by itself, whatever its index. TORN: none. */
int scan_find(scan *sc, scanned *out);
/* What the damaged frame at the current place still proves, as the one of the current index: its leaf hash, and its size by its own word,
 * which may be damaged as well. `hint`: see remains.h. AEGIS_E_PROOF: nothing. Does not move on. */
int scan_remains(scan *sc, const uint8_t *hint, uint8_t leaf[HASH_SIZE], uint64_t *size);
/* Whether all bytes from `offset` to `end` are zero, as pre-zeroed space is. */
int scan_zeros(scan *sc, uint64_t offset, uint64_t end, bool *zeros);
/* From here on *digest takes in every byte up to the scan's end, frames and what lies between. Whoever jumps ahead loses it. */
void scan_digest(scan *sc, sha256 *digest);
/* Takes in what is left. *whole: there was no jump, and the digest is that of all bytes. */
int scan_digest_rest(scan *sc, bool *whole);
void scan_stop(scan *sc);

#endif
