/* vfs_posix_fork: the list of every descriptor of the posix backend, and what becomes of them in a forked child.
 *
 * Every descriptor is enrolled in one list, under one mutex, in the same breath as it is opened. fork() waits for that mutex, so
 * a child finds each descriptor that it inherited and closes it at once. Closing releases no lock there: an OFD lock belongs to
 * the open file, which the parent still holds. Unlocking would take it from the parent.
 */
#ifndef AEGIS_VFS_POSIX_FORK_H
#define AEGIS_VFS_POSIX_FORK_H

#include <dirent.h>

#include "vfs.h"

struct descriptor {
    int fd;                                 /* -1 in a forked child */
    struct descriptor *previous, *next;
};

/* Before the first descriptor. The number of the error, or 0, as below. */
int prepare_for_fork(void);
/* Opens and enrols; never a descriptor below 3. */
int enrol(struct descriptor *d, int at, const char *name, int flags);
/* The same for what no openat opens: begin, open, enrol what came of it (`fd` < 0: errno says why not), end. */
void enrolment_begin(void);
int enrol_opened(struct descriptor *d, int fd);
void enrolment_end(void);
/* Lets go of what was opened while the number stays taken, so that nobody waits who opens or forks meanwhile: the last one to close
 * a removed file frees its blocks. To be dismissed then. */
void let_go(struct descriptor *d);
/* Closes it, through the stream that reads it if there is one, and takes it from the list. Does nothing to one that died in a
 * fork. */
void dismiss(struct descriptor *d, DIR *stream);

#endif
