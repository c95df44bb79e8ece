/* outline: what a scan of the active segment would find, kept beside it at a clean close. docs/FORMAT.md, "Outline".
 *
 * A cache in the file <tier>/outline: with it an open reads offsets and frontier, without it every frame. It vouches for nothing by
 * itself: it belongs to one end mark of one segment, and says nothing once a later slot was written.
 */
#ifndef AEGIS_OUTLINE_H
#define AEGIS_OUTLINE_H

#include "segment.h"

#define OUTLINE_NAME "outline"
/* An active segment with less than this part of a full one is scanned in no time, and its bytes are then looked at early. */
#define OUTLINE_PART 32

/* Writes the outline of the segment whose newest slot is its end mark; the tree there is `range`. Not synced: it is whole, or not
 * believed. */
int outline_write(const scope *s, vfs_dir *dir, const segment *seg, const merkle_range *range);
/* Takes count, tail and offsets of an opened segment, and the tree at its end, from the outline that its end mark was written with.
 * False, with nothing changed: there is none, and the frames have to be scanned. */
bool outline_read(const scope *s, vfs_dir *dir, segment *seg, merkle_range *range);

#endif
