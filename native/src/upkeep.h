/* upkeep: what a writer does off the commit path: groups of requested records that no thread waits for, zeroing ahead, footers of
 * full segments, tiles, idle watermarks. */
#ifndef AEGIS_UPKEEP_H
#define AEGIS_UPKEEP_H

#include "commit.h"

#define IDLE_WATERMARK_MS 50u
#define UPKEEP_NOTHING UINT64_MAX

/* One turn: leads a group that was asked for, then does one piece of other work, if there is any. *wait_ms is when the next turn is due: 0 at once, UPKEEP_NOTHING when woken. */
void upkeep_turn(writer *w, uint64_t *wait_ms);
/* Footers of all full segments that have none; waits for one that is being written. */
int upkeep_seal(writer *w);
/* Footers, tiles and the outline that are still to be written, behind the end mark of a close. Footers first; the others are a
 * cache, so theirs is no error. */
int upkeep_finish(writer *w);

#endif
