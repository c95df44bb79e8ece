/* follow: a reader whose segment was rewritten since it opened it takes the new file in its place. */
#ifndef AEGIS_FOLLOW_H
#define AEGIS_FOLLOW_H

#include "log.h"

/* Opens what the manifest lists at `position`, up to record `end`, and puts it there; records of it that were not known yet become readable.
 * Who reads the old file goes on with it. CORRUPT: the new one does not lead to the tree that is known; then nothing has changed. */
int follow_replaced(log *l, uint32_t position, uint64_t end);

#endif
