/* verify: every byte of a log read again, and its tree made anew from the entries, independently of every cache. */
#ifndef AEGIS_VERIFY_H
#define AEGIS_VERIFY_H

#include "footer.h"
#include "log.h"
#include "scan.h"

typedef struct verify {
    log *l;
    uint64_t size;           /* records that were readable when it began: what is verified */
    uint64_t bytes_total;
    uint64_t position;       /* of the segment at work */
    segment *seg;            /* taken while it is scanned */
    bool scanning;
    uint64_t end;            /* index behind the last record to verify in this segment */
    scan sc;
    bool sealed;
    bool footer_bad;
    footer f;
    sha256 frames;
    bool holes;              /* a record was damaged: roots behind it cannot be recomputed */
    bool done;
    merkle_range range;
    aegis_gap_run *gaps;     /* not yet told; taken from `gaps_told` on */
    uint32_t gaps_count;
    uint32_t gaps_capacity;
    uint32_t gaps_told;
    aegis_progress progress;
} verify;

void verify_start(verify *v, log *l);
/* Verifies about `budget` bytes. An error names one finding; calling again goes on behind it, so that all can be listed. */
int verify_step(verify *v, uint64_t budget, aegis_progress *progress);
/* Runs of gaps that the steps so far came by, and were not told yet. */
void verify_gaps(verify *v, aegis_gap_run *out, uint32_t capacity, uint32_t *count);
void verify_end(verify *v);

#endif
