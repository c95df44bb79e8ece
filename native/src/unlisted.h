/* unlisted: segment files that the manifest does not list, as a crash between two steps leaves them.
 *
 * A rotation makes the next segment before the manifest lists it: such a file holds no record. A compaction makes another file of a listed
 * segment's records, and removes the old one behind the manifest: such a file has the place of a listed segment and was rewritten more
 * often (unfinished, or not published) or less often (replaced) than the one that is listed. Any other file with records means that
 * the manifest is older than the segments.
 */
#ifndef AEGIS_UNLISTED_H
#define AEGIS_UNLISTED_H

#include "log.h"

/* Removes what a rotation left. CORRUPT where a file holds records and has the place of no listed segment: then nothing is removed.
 * *left: there are files that a compaction left, and they are not touched. */
int unlisted_remove_empty(log *l, bool *left);
/* Removes what compactions left. The caller has made sure that the manifest in memory is the durable one: before that a replaced file
 * might be the one that the next open needs. */
int unlisted_remove_replaced(log *l);

#endif
