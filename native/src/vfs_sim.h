/* vfs_sim: a machine in memory whose power can be cut (tests only).
 *
 * It stands in for vfs_posix, records every operation that a disk would see together with what the workload says about itself,
 * fails what it is told to fail, and makes disks out of the record: what a power cut after any operation may leave behind.
 *
 * What a cut may leave, and nothing else:
 *
 *   (1) data is durable after a successful sync of its file, and not before;
 *   (2) a name is durable after a successful sync of its directory, and not before; the root's own name after sync_parent;
 *   (3) of what was not synced, any subset: writes by sectors of 512 bytes, a name made, renamed or removed as a whole;
 *   (4) a sector holds the durable bytes or those after any one of the pending writes to it, never a mixture;
 *   (5) a file's size persists apart from its data: a tail may read as zeros, or data may lie past the end and be gone. A
 *       write that grows the file may also have been a shorter one, up to a sector's end;
 *   (6) truncation is of the size: the bytes past it go when the new size persists;
 *   (7) a sync that fails leaves every pending sector of the file in doubt for ever: later syncs say OK and mean only what was
 *       written since (Linux marks the pages clean). A size that grew by writes shares that fate until a write reaches the
 *       end again. The view of the running system (the page cache) shows the newest bytes all the time;
 *   (8) a rename or removal acts on the file's entry, under whatever name the disk has it;
 *   (9) only where asked for (vfs_sim_limits.garbage), against (4): a sector that was being changed may hold garbage. One that was
 *       written again as it was does not.
 *
 * (1)-(9) each have a test of that number in tests/native/test_vfs_sim_disk.c.
 *
 * A simulator has one store: the path given to open_root is a label. All calls on one simulator may come from any thread, but
 * nothing may run on a recording while images are made from it. Functions return AEGIS_OK or a code unless they say otherwise.
 */
#ifndef AEGIS_VFS_SIM_H
#define AEGIS_VFS_SIM_H

#include "vfs.h"

#define VFS_SIM_SECTOR 512

typedef struct vfs_sim vfs_sim;

/* ---- life ------------------------------------------------------------------------------------------------------------- */

/* An empty machine that records; the seed is of its random numbers. NULL: no memory. */
vfs_sim *vfs_sim_new(uint64_t seed);
/* Handles that are still open go with it. */
void vfs_sim_free(vfs_sim *sim);
vfs *vfs_sim_vfs(vfs_sim *sim);
/* What the running system shows now, all of it durable, nothing open, recording. NULL: no memory. */
vfs_sim *vfs_sim_clone(vfs_sim *sim);
/* Forgets the record: what the running system shows now is durable. Recording goes on from here, or is off (faster). */
int vfs_sim_settle(vfs_sim *sim, bool record);

/* ---- the record ------------------------------------------------------------------------------------------------------- */

/* The first eleven are recorded; the others are kinds of calls that a fault can name. A file is made by an OPEN, a directory by
 * an OPEN_DIR or OPEN_ROOT; CREATE and MKDIR stand on record only. */
enum vfs_sim_kind {
    VFS_SIM_CREATE, VFS_SIM_MKDIR, VFS_SIM_RENAME, VFS_SIM_UNLINK, VFS_SIM_WRITE, VFS_SIM_ALLOCATE, VFS_SIM_TRUNCATE,
    VFS_SIM_SYNC, VFS_SIM_SYNC_DIR, VFS_SIM_SYNC_PARENT, VFS_SIM_MARK,
    VFS_SIM_OPEN_ROOT, VFS_SIM_OPEN_DIR, VFS_SIM_OPEN, VFS_SIM_READ, VFS_SIM_SIZE, VFS_SIM_LIST, VFS_SIM_PLACE, VFS_SIM_LOCK,
    VFS_SIM_RANDOM,
    VFS_SIM_KINDS
};

enum vfs_sim_mark_kind { VFS_SIM_SUBMIT = 1, VFS_SIM_ACK = 2 };     /* larger numbers are the workload's own */

/* Valid until the next operation. A failed call is recorded only where it left something: a sync, a part of a write. */
typedef struct vfs_sim_op {
    enum vfs_sim_kind kind;
    bool failed;                /* syncs: returned an error, see (7) */
    bool dropped;               /* syncs: ignored by vfs_sim_drop_sync */
    uint32_t node;              /* the file or directory acted on */
    uint32_t dir;               /* the directory that holds its name */
    const char *path;           /* "session/00000000.seg" */
    const char *to;             /* renames */
    uint64_t offset;            /* truncations: the new size */
    uint64_t length;
    const uint8_t *bytes;       /* writes and marks */
    uint32_t mark;              /* marks: submit, ack, … */
    uint64_t id;                /* marks: of what */
} vfs_sim_op;

/* A word of the workload, put between the operations: `id` was submitted, was acknowledged with `bytes`, … */
int vfs_sim_mark(vfs_sim *sim, uint32_t kind, uint64_t id, const void *bytes, size_t length);
size_t vfs_sim_op_count(const vfs_sim *sim);
const vfs_sim_op *vfs_sim_op_at(const vfs_sim *sim, size_t index);
/* "17 write session/00000000.seg 4096+512", for people. */
void vfs_sim_op_text(const vfs_sim *sim, size_t index, char *text, size_t capacity);

/* ---- faults ----------------------------------------------------------------------------------------------------------- */

typedef struct vfs_sim_fault {
    uint64_t nth;               /* the nth matching call from now on, from 1; 0: none */
    uint32_t kinds;             /* which calls count: bits 1u << enum vfs_sim_kind; 0: every kind */
    bool forever;               /* and every matching call after it */
    int code;                   /* what it returns, unless */
    int system_errno;           /* … this is given, which says it as the system would */
    uint64_t written_bytes;     /* a failing write puts that many of its bytes first */
} vfs_sim_fault;

/* One fault at a time; NULL takes it away. */
void vfs_sim_fail(vfs_sim *sim, const vfs_sim_fault *fault);
/* How often it struck. */
uint64_t vfs_sim_fault_hits(vfs_sim *sim);
/* Calls so far that could have failed: run a workload once to learn how many there are to fail in turn. */
uint64_t vfs_sim_calls(vfs_sim *sim);
/* Files can grow by that many bytes from now on; shrinking gives back. A write puts what fits, then fails. UINT64_MAX: no end. */
void vfs_sim_set_space(vfs_sim *sim, uint64_t bytes);
/* Syncs of files whose path or last name matches the pattern (as of fnmatch) say OK and do nothing. NULL: none. */
int vfs_sim_drop_sync(vfs_sim *sim, const char *pattern);
/* The same for all syncs of directories. */
void vfs_sim_drop_dir_sync(vfs_sim *sim, bool drop);

/* ---- the rest of the machine ------------------------------------------------------------------------------------------ */

void vfs_sim_set_clock(vfs_sim *sim, uint64_t ms);
void vfs_sim_set_place(vfs_sim *sim, bool network, bool read_only);
/* Handles and bells there are now: a leak shows here. */
size_t vfs_sim_open_count(vfs_sim *sim);
/* How often any bell was rung so far. */
uint64_t vfs_sim_rings(vfs_sim *sim);

/* ---- power cuts ------------------------------------------------------------------------------------------------------- */

/* The content of a disk: names, sizes and bytes. Two that differ share one once in 2^128. */
typedef struct vfs_sim_id {
    uint64_t a, b;
} vfs_sim_id;

/* Asked before an image is made: whether the caller knows it and needs no other. The disk can be wrong after an acknowledgement that
 * was right before it, so who remembers images has to remember what they were found to hold. */
typedef bool (*vfs_sim_known_fn)(void *context, vfs_sim_id id, size_t cut);

typedef struct vfs_sim_limits {
    size_t all_subsets;         /* a cut with at most so many combinations is tried with all of them */
    size_t all_names;           /* the same for subsets of pending names alone; else prefixes, each missing, each alone */
    size_t random;              /* random subsets of a cut that has too many */
    uint64_t seed;              /* of these */
    bool torn_bytes;            /* tear the newest write at every byte, against (4) */
    bool record;                /* images record, so that recovery's own operations can be cut in turn */
    bool garbage;               /* spoil sectors: see (9) */
    vfs_sim_known_fn known;     /* instead of seeing each distinct image once between two marks */
} vfs_sim_limits;

#define VFS_SIM_LIMITS {4096, 64, 64, 1, false, false, false, NULL}

typedef struct vfs_sim_counts {
    uint64_t cuts;
    uint64_t sampled_cuts;      /* too many combinations to try all */
    uint64_t combinations;      /* tried */
    uint64_t images;            /* given to the function */
    uint64_t duplicates;
} vfs_sim_counts;

/* `image` is the disk after a power cut when the first `cut` operations of the recording had been issued: a machine just
 * started, to be used like any other and freed by the caller of this function. Non-zero ends the enumeration. */
typedef int (*vfs_sim_image_fn)(void *context, vfs_sim *image, size_t cut);

/* Cuts after each number of operations in [from, to]; `to` may exceed the record. `limits` and `counts` may be NULL. Each
 * distinct image is seen once between two marks: after an acknowledgement the same disk can be wrong that was right before,
 * so it is seen again (a submit doesn't count: it forbids nothing). Returns what the function returned. */
int vfs_sim_enumerate(const vfs_sim *recording, size_t from, size_t to, const vfs_sim_limits *limits, vfs_sim_image_fn fn,
                      void *context, vfs_sim_counts *counts);
/* The disk as it was given, with nothing in the files of `ends` from there on, as though they ended there: what a recovery that
 * cuts tails at these places would leave of it. Only inside the function that was given the image. */
typedef struct vfs_sim_end {
    const char *path;
    uint64_t size;
} vfs_sim_end;
int vfs_sim_image_id(const vfs_sim *image, const vfs_sim_end *ends, size_t count, vfs_sim_id *out);
/* What of the pending this image kept, for people; only inside the function that was given it. */
void vfs_sim_explain(const vfs_sim *image, char *text, size_t capacity);

enum vfs_sim_keep { VFS_SIM_KEEP_NOTHING, VFS_SIM_KEEP_ALL, VFS_SIM_KEEP_RANDOM };

/* One image: of what was pending nothing, everything, or a subset drawn from the seed. The caller frees it. It records. */
int vfs_sim_image(const vfs_sim *recording, size_t cut, enum vfs_sim_keep keep, uint64_t seed, vfs_sim **out);

/* ---- the disk from outside -------------------------------------------------------------------------------------------- */

/* Paths as "session/00000000.seg". What changes something settles first: see vfs_sim_settle. */
int vfs_sim_get(vfs_sim *sim, const char *path, uint64_t offset, void *bytes, size_t length, size_t *got);
int vfs_sim_file_size(vfs_sim *sim, const char *path, uint64_t *size);
/* Writes; makes the file where it is missing and its directory exists. */
int vfs_sim_patch(vfs_sim *sim, const char *path, uint64_t offset, const void *bytes, size_t length);
int vfs_sim_resize(vfs_sim *sim, const char *path, uint64_t size);
/* A file, or a directory with all in it. */
int vfs_sim_remove(vfs_sim *sim, const char *path);
/* Replaces what has the name; the directory must exist. `from` and `to` may be one machine. */
int vfs_sim_copy_file(vfs_sim *from, const char *path, vfs_sim *to, const char *to_path);
/* Every file, with its path, sorted; directories end in "/". */
int vfs_sim_files(vfs_sim *sim, vfs_name_fn fn, void *context);
/* Each sector in which the two differ; UINT64_MAX for sizes, and for a file or directory that only one has. A result that is not zero
 * ends it and is returned. */
typedef int (*vfs_sim_difference_fn)(void *context, const char *path, uint64_t sector);
int vfs_sim_differences(vfs_sim *a, vfs_sim *b, vfs_sim_difference_fn fn, void *context);
/* The same files, directories and bytes; else the first difference in words. */
bool vfs_sim_same(vfs_sim *a, vfs_sim *b, char *difference, size_t capacity);

#endif
