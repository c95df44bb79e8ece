/* vfs: the only door to the operating system.
 *
 * Two backends stand behind it: vfs_posix.c, and vfs_sim.c, which keeps files in memory, records every operation and can
 * fail any of them (tests only). What the engine may rely on:
 *
 *   - write puts all bytes or fails; read returns fewer bytes than asked only at the end of the file; EINTR and short
 *     transfers are handled inside; a transfer that makes no progress is AEGIS_E_IO;
 *   - written data is durable only after a successful sync of that file, a created, renamed or removed name only after a
 *     sync of its directory; nothing else orders anything;
 *   - a failed sync says nothing about which bytes are durable, and a later sync that succeeds says nothing about them either;
 *   - names are single path components; opening never follows a symbolic link (only the store's root path may);
 *   - every descriptor is close-on-exec; in a forked child all descriptors of this backend are closed at once, before
 *     fork() returns there, without releasing any lock; vfs_fork_count() has changed then.
 *
 * All functions return AEGIS_OK or a negative AEGIS_E_ code with the detail set. Functions may be called from any thread;
 * one file's size-changing calls are serialised by the caller.
 */
#ifndef AEGIS_VFS_H
#define AEGIS_VFS_H

#include "base.h"

typedef struct vfs vfs;
typedef struct vfs_dir vfs_dir;
typedef struct vfs_file vfs_file;
typedef struct vfs_bell vfs_bell;

enum vfs_open_flags {
    VFS_READ = 0,
    VFS_WRITE = 1,          /* read and write */
    VFS_CREATE = 2,         /* make it where it is missing (files 0600 minus umask's wish for less, directories 0700) */
    VFS_EXCLUSIVE = 4,      /* with VFS_CREATE: it must not exist, else AEGIS_E_EXISTS */
};

enum vfs_lock_mode { VFS_UNLOCK, VFS_SHARED, VFS_EXCLUSIVE_LOCK };

/* What a directory lies on. */
typedef struct vfs_place_info {
    bool network;            /* NFS, CIFS/SMB, FUSE-based sshfs and the like, 9p, Ceph, Lustre, GFS2, OCFS2 */
    bool read_only;
    uint64_t free_bytes;     /* for an unprivileged user */
    char type[24];           /* "ext4", "nfs", or the magic number in hexadecimal */
} vfs_place_info;

/* Called for each name of a directory but "." and ".."; in no order; a non-zero result ends the listing and is returned. */
typedef int (*vfs_name_fn)(void *context, const char *name);

struct vfs {
    /* directories */
    int (*open_root)(vfs *self, const char *path, unsigned flags, vfs_dir **out);   /* missing without CREATE: AEGIS_E_NOTFOUND */
    int (*open_dir)(vfs *self, vfs_dir *parent, const char *name, unsigned flags, vfs_dir **out);
    void (*close_dir)(vfs *self, vfs_dir *dir);
    int (*sync_dir)(vfs *self, vfs_dir *dir);
    int (*sync_parent)(vfs *self, vfs_dir *root);                    /* the directory that holds the store's own name */
    int (*list)(vfs *self, vfs_dir *dir, vfs_name_fn fn, void *context);
    int (*rename)(vfs *self, vfs_dir *dir, const char *from, const char *to);        /* replaces `to` */
    int (*unlink)(vfs *self, vfs_dir *dir, const char *name);
    int (*place)(vfs *self, vfs_dir *dir, vfs_place_info *out);

    /* files */
    int (*open)(vfs *self, vfs_dir *dir, const char *name, unsigned flags, vfs_file **out);
    void (*close)(vfs *self, vfs_file *file);
    int (*read)(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got);
    int (*write)(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length);
    int (*allocate)(vfs *self, vfs_file *file, uint64_t offset, uint64_t length);   /* space for it, reading as zeros; grows the file */
    int (*sync)(vfs *self, vfs_file *file);                          /* data and what is needed to read it */
    void (*push)(vfs *self, vfs_file *file, uint64_t offset, uint64_t length);      /* advice: a sync of this comes soon; promises nothing */
    void (*protect)(vfs *self, vfs_file *file);                      /* nobody is to write to it any more; who has it open may. Advice, as push */
    int (*truncate)(vfs *self, vfs_file *file, uint64_t size);
    int (*size)(vfs *self, vfs_file *file, uint64_t *out);
    int (*lock)(vfs *self, vfs_file *file, uint64_t byte, enum vfs_lock_mode mode); /* never waits: AEGIS_E_LOCKED */
    int (*lock_held)(vfs *self, vfs_file *file, uint64_t byte, bool *held);          /* exclusively, by somebody else */

    /* bells: any thread rings one; an event loop that polls *fd finds it readable until the bell is muted */
    int (*bell_new)(vfs *self, vfs_bell **out, int *fd);
    void (*bell_ring)(vfs *self, vfs_bell *bell);                    /* never waits, never fails */
    void (*bell_mute)(vfs *self, vfs_bell *bell);
    void (*bell_free)(vfs *self, vfs_bell *bell);

    /* the rest of the machine */
    uint64_t (*clock_ms)(vfs *self);                                 /* monotonic */
    void (*yield)(vfs *self);                                        /* lets other threads run */
    int (*random)(vfs *self, void *bytes, size_t length);
    void (*identify)(vfs *self, char *text, size_t capacity);        /* "pid 4711 on host", a hint for people */
};

vfs *vfs_posix(void);
/* Changes in a forked child: a handle made under another count must refuse. */
uint64_t vfs_fork_count(void);

#endif
