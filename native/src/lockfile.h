/* lockfile: LOCK, where processes meet: the writer's lock, the readers' locks, and advice that is never truth. docs/FORMAT.md, "LOCK". */
#ifndef AEGIS_LOCKFILE_H
#define AEGIS_LOCKFILE_H

#include "scope.h"

#define LOCK_NAME "LOCK"

typedef struct lockfile {
    vfs *vfs;
    vfs_file *file;          /* NULL: a reader of a place without one */
    bool writer;
} lockfile;

/* Takes the writer's lock, making the file where it is missing. LOCKED: its detail names the holder. *poisoned: the last writer
 * left the poison word, which stays until lockfile_begin. */
int lockfile_open_writer(lockfile *l, vfs *v, vfs_dir *dir, bool *poisoned);
/* Recovery is done: writes holder and sizes, and takes the poison word away. */
int lockfile_begin(lockfile *l, const uint64_t sizes[AEGIS_TIERS + 1]);
/* Opens for reading and takes a reader's lock where the place allows it. */
int lockfile_open_reader(lockfile *l, vfs *v, vfs_dir *dir);
void lockfile_close(lockfile *l);

/* Writer: how far readers may serve. Not synced; a failure only keeps readers behind, so none is reported. */
void lockfile_publish(lockfile *l, uint32_t tier, uint64_t size);
/* Writer: the next process must know. Synced as far as that still works. */
void lockfile_poison(lockfile *l);

/* Reader: what the writer says of itself. `live` is false where nobody holds the writer's lock, or it is poisoned. */
typedef struct lock_view {
    bool live;
    bool poisoned;
    uint64_t sizes[AEGIS_TIERS + 1];
} lock_view;

int lockfile_view(lockfile *l, lock_view *out);

#endif
