/* rebuild: a manifest made again from the segments, where both of its copies are damaged. */
#ifndef AEGIS_REBUILD_H
#define AEGIS_REBUILD_H

#include "manifest.h"

/* Lists every tier's segments by their headers, footers and first frames into *m, whose name, meta block and sizes the caller has
 * set. Needs the secret: without it anybody's files would do. Reads only; the caller writes the manifest once the logs were
 * recovered under it. CORRUPT where a number is missing in the middle. */
int rebuild_manifest(manifest *m, vfs_dir *root, const scope *s);

#endif
