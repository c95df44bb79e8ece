/* vfs_posix_bell: the bells of the posix backend: an eventfd, or a pipe where there is none. vfs.h says what a bell is. */
#ifndef AEGIS_VFS_POSIX_BELL_H
#define AEGIS_VFS_POSIX_BELL_H

#include "vfs.h"

int posix_bell_new(vfs *self, vfs_bell **out, int *fd);
void posix_bell_ring(vfs *self, vfs_bell *bell);
void posix_bell_mute(vfs *self, vfs_bell *bell);
void posix_bell_free(vfs *self, vfs_bell *bell);

#endif
